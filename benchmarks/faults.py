"""What becomes of a run whose workers, driver or nodes are killed: are its files still the same?

    python -m benchmarks.faults [--workers_killed 20 --drivers_killed 10 --nodes_removed 1]

Stage 1 of the embedded model on one relation of the embedded sample, all points, by two workers of
one thread, against the same by one process.  A worker or driver is killed by signal 9, at a moment
drawn at random from when the first worker works (a driver when some of 42 facts are there); a node
is a second raylet on this machine (`ray.cluster_utils`), removed without warning.  Two workers are
killed in a run.  After a killed driver its workers have to be gone within GONE seconds, all
processes of a local cluster within ALL_GONE (two small ones of Ray's own try for 60 seconds to tell
of it), and the same command has to go on.  The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

from benchmarks.same_results import content_of, differences, files_of
from benchmarks.scale_processes import PROC, family, status_of
from knowledge_neurons import ROOT
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment

RELATION = "P36"
WORKING = "ray::Worker.do"  # what Ray calls a worker's process while it works
GONE, ALL_GONE = 10.0, 90.0  # seconds
STARTING = 120.0  # seconds that a run may take to begin
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


# --- runs ------------------------------------------------------------------------------------


def start(results: Path, *flags: str) -> subprocess.Popen:
    """Stage 1 as users start it; it says what it says to a file beside the results."""
    command = [sys.executable, str(ROOT / "src/1_analyze_mlm.py"), "--pt_relation", RELATION]
    command += ["--get_ig_gold", "--get_ig_pred", "--exact", "--device", "cpu", *flags]
    chosen = {
        "KN_MODEL": str(ROOT / "models/demo-bert"),
        "KN_DATA": str(ROOT / "data/PARAREL/sample_allbags.json"),
        "KN_RESULTS": str(results),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }
    with results.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, env=os.environ | chosen, stdout=log, stderr=log)


def processes_under(root: int) -> dict[int, str]:
    """Every process below this one that is no zombie, and its command line."""
    found = {}
    for pid, status in family([root]).items():
        with suppress(OSError):  # it has ended
            if pid != root and status.state != "Z":
                command = (PROC / f"{pid}/cmdline").read_bytes()
                found[pid] = command.decode(errors="replace")
    return found


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What the condition gives once it gives something."""
    ending = time.monotonic() + seconds
    while time.monotonic() < ending:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not in {seconds:g} seconds")


def workers_of(root: int, run: subprocess.Popen) -> list[int]:
    """The workers that work, wait for one; none when the run has ended."""

    def found() -> list[int] | bool:
        working = [pid for pid, name in processes_under(root).items() if name.startswith(WORKING)]
        return working or run.poll() is not None

    working = wait_for(found, STARTING, "no worker works")
    return [] if working is True else working


def compared(whole: Path, results: Path, manifests: bool = True) -> bool:
    """Whether results are the same bytes; manifests: of these too, times and workers aside."""
    if manifests:
        return not list(differences(whole, results))
    ours, theirs = files_of(whole), files_of(results)
    names = [name for name in ours if "manifest" not in name]
    return all(n in theirs and content_of(ours[n]) == content_of(theirs[n]) for n in names)


# --- faults ----------------------------------------------------------------------------------


@contextmanager
def cluster(nodes: int) -> Iterator[Cluster]:
    """Nodes of one core on loopback."""
    made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


def kill_workers(
    whole: Path, results: Path, made: Cluster, many: int, rng: random.Random
) -> dict[str, Any]:
    """A run in which so many workers are killed, if it lasts."""
    run, killed = start(results, "--workers", "2", "--ray", made.address), []
    began = time.monotonic()
    for _ in range(many):
        if not workers_of(os.getpid(), run):
            break
        time.sleep(rng.uniform(0, 3))
        if working := workers_of(os.getpid(), run):
            os.kill(rng.choice(working), signal.SIGKILL)
            killed.append(round(time.monotonic() - began, 1))
            time.sleep(0.3)
    code = run.wait()
    return {
        "fault": "worker killed",
        "times": len(killed),
        "after_seconds": killed,
        "exit_code": code,
        "same_bytes": compared(whole, results),
    }


def kill_driver(whole: Path, results: Path, address: str, rng: random.Random) -> dict[str, Any]:
    """A run whose driver is killed; how long its processes live, and the run that goes on."""
    flags = ("--workers", "2", "--ray", address)
    run = start(results, *flags)
    root = run.pid if address == "local" else os.getpid()
    enough, some = rng.choice([0, 8, 16, 24, 32]), rng.uniform(0, 3)  # of 42 lines
    workers_of(root, run)
    wait_for(lambda: lines_in(results) >= enough, STARTING, "lines")
    time.sleep(some)
    below = processes_under(root)
    workers = [pid for pid, name in below.items() if name.startswith("ray::Worker")]
    of_run = list(below) if address == "local" else workers
    run.kill()
    run.wait()
    record = {
        "fault": f"driver killed, --ray {'local' if address == 'local' else 'ADDRESS'}",
        "times": 1,
        "lines_there": lines_in(results),
        "processes": len(of_run),
        "workers_gone_after_seconds": until_gone(workers, GONE),
    }
    record["exit_code"] = start(results, *flags).wait()
    until_gone(of_run, ALL_GONE)
    return record | {"same_bytes": compared(whole, results, manifests=False)}


def lines_in(results: Path) -> int:
    """How many facts are there."""
    return sum(1 for path in results.glob("*.rlt.jsonl*") for _ in path.open("rb"))


def until_gone(processes: list[int], seconds: float) -> float:
    """Wait until none of them is alive; returns how long it took."""
    began = time.monotonic()
    wait_for(lambda: not any(map(alive, processes)), seconds, "processes of a killed driver left")
    return round(time.monotonic() - began, 1)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    status = status_of(pid)
    return status is not None and status.state != "Z"


def remove_node(whole: Path, results: Path, rng: random.Random) -> dict[str, Any]:
    """A run on two nodes, one of which leaves."""
    with cluster(1) as made:
        second = made.add_node(**NODE)
        run = start(results, "--workers", "2", "--ray", made.address)
        wait_for(lambda: len(workers_of(os.getpid(), run)) != 1, STARTING, "two workers")
        time.sleep(rng.uniform(0, 2))
        made.remove_node(second, allow_graceful=False)
        code = run.wait()
    same = compared(whole, results)
    return {"fault": "node removed", "times": 1, "exit_code": code, "same_bytes": same}


def campaign(folder: Path, workers: int, drivers: int, nodes: int, seed: int) -> Iterator[dict]:
    """A record of each run.

    Raises RuntimeError where a run ends before any of its workers could be killed.
    """
    rng, whole = random.Random(seed), folder / "whole"
    if start(whole).wait():
        raise RuntimeError(whole.with_suffix(".log").read_text())
    number = 0
    with cluster(2) as made:
        while workers > 0:
            number += 1
            results = folder / f"{number}"
            found = kill_workers(whole, results, made, min(2, workers), rng)
            workers -= found["times"]
            yield found
            if not found["times"]:  # so would the next one, without end
                log = results.with_suffix(".log").read_text()
                raise RuntimeError(f"run {number} ended before a worker was killed:\n{log}")
        for place in range(drivers):
            number += 1
            address = made.address if place % 2 else "local"
            yield kill_driver(whole, folder / f"{number}", address, rng)
    for _ in range(nodes):
        number += 1
        yield remove_node(whole, folder / f"{number}", rng)


def summary_of(records: list[dict[str, Any]]) -> dict[str, int]:
    """How many runs; those that ended well, with the same bytes; how many faults of each kind."""
    good = sum(record["same_bytes"] and not record["exit_code"] for record in records)
    summary = {"runs": len(records), "same_bytes": good}
    for record in records:
        kind = record["fault"]
        summary[kind] = summary.get(kind, 0) + record["times"]
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers_killed", type=int, default=20)
    parser.add_argument("--drivers_killed", type=int, default=10)
    parser.add_argument("--nodes_removed", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write all records there, with the host")
    args = parser.parse_args()
    asked = args.workers_killed, args.drivers_killed, args.nodes_removed, args.seed
    records: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for record in campaign(Path(folder), *asked):
                print(json.dumps(record), flush=True)
                records.append(record)
    finally:  # also of a campaign that fails
        summary = summary_of(records)
        if args.output:
            command = shlex.join(["python", "-m", "benchmarks.faults", *sys.argv[1:]])
            detail = {"command": command, "made_with": environment()}
            write_json(args.output, summary | detail | {"records": records}, readable=True)
        print(json.dumps(summary))
    return int(summary["same_bytes"] < len(records))


if __name__ == "__main__":
    sys.exit(main())
