"""A command and all that it starts: seconds, CPU seconds, the largest process's memory (Linux).

What workers take is nobody's whom this process waits for, so /proc is asked, again and again.  The
process that asks should be small: the peak of a new process begins at its parent's.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from knowledge_neurons import ROOT

PROC = Path("/proc")
EVERY = 0.1  # seconds between looks
TICK = os.sysconf("SC_CLK_TCK")


class Status(NamedTuple):
    """Of a process.  state: "Z" of a zombie.  user, system: CPU time, in ticks."""

    state: str
    parent: int
    user: int
    system: int


@dataclass(frozen=True)
class Use:
    """wall_s, cpu_s: of all processes.  peak_mib: of the largest.  load: before, on the machine."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    load: float


@dataclass
class _Watch:
    """A process and its descendants: CPU seconds and peaks as last seen."""

    root: int
    cpu: dict[int, float] = field(default_factory=dict)
    peak: float = 0.0

    def look(self) -> None:
        for one, (*_, user, system) in family({self.root, *self.cpu}).items():
            self.cpu[one] = (user + system) / TICK
            self.peak = max(self.peak, _peak_mib(one))


def status_of(process: int) -> Status | None:
    """None once it is gone."""
    try:
        told = (PROC / f"{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Status(told[0], int(told[1]), int(told[11]), int(told[12]))


def family(of: Iterable[int]) -> dict[int, Status]:
    """These processes and all below them, as far as they are there."""
    every = (int(folder.name) for folder in PROC.glob("[0-9]*"))
    there = {one: status for one in every if (status := status_of(one))}
    found = set(of)
    while more := {one for one, status in there.items() if status.parent in found} - found:
        found |= more
    return {one: there[one] for one in sorted(found & there.keys())}


def _peak_mib(process: int) -> float:
    try:
        lines = (PROC / f"{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def run(command: Sequence[str], log: Path, own: Mapping[str, str], threads: int = 1) -> Use:
    """Run a command to its end; RuntimeError, naming the log, where it fails.

    own: variables of its environment.  threads: of it, and of its products unless it asks for more.
    """
    many = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    load, started = os.getloadavg()[0], time.perf_counter()
    with log.open("a") as file:
        print(f"\n$ {shlex.join(command)}", file=file, flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | many | own, stdout=file, stderr=file
        )
        watch = _Watch(process.pid)
        while True:
            watch.look()
            ended, status, use = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(EVERY)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}: see {log}")
    wall = time.perf_counter() - started
    cpu = max(sum(watch.cpu.values()), use.ru_utime + use.ru_stime)
    return Use(round(wall, 3), round(cpu, 3), round(watch.peak, 1), round(load, 1))


def python(*words: object) -> list[str]:
    """This Python with these words."""
    return [sys.executable, *map(str, words)]
