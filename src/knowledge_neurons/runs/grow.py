"""A file that grows: groups of work -> records -> one writer, and a manifest at its end.

What was whole when a run was interrupted is found again and the rest computed, in the same groups.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.manifests import is_done
from knowledge_neurons.runs.background import Background
from knowledge_neurons.runs.executor import Executor, InThisProcess, NamedWork, Work


@dataclass(frozen=True)
class Job:
    """A file of records, some of each fact.

    identity: what decides them.  name: for the screen.  facts: how many there are.  group: facts
    worked on together.  work: facts, as a range of places -> their records, in order; told: a place
    -> its fact, for people.  keep: writes what else there is of a record, before its line.
    encode: a record -> its line.  records: of a fact.  unit: what `facts` counts.
    beside: a second file that grows with the first, and how a record is encoded there.
    started: when work on it began.
    """

    path: Path
    identity: Mapping[str, Any]
    name: str
    facts: int
    group: int
    work: Work
    encode: Callable[[Any], bytes]
    records: int = 1
    unit: str = "fact"
    told: Callable[[int], str] | None = None
    keep: Callable[[Any], None] | None = None
    beside: tuple[Path, Callable[[Any], bytes]] | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def named(self) -> NamedWork:
        name = self.name  # alone, for workers: a job holds more than they need
        return NamedWork(self.work, self.told or (lambda place: f"{name} fact {place}"))


def grow(
    job: Job,
    arguments: Mapping[str, Any],
    under: Mapping[str, Any],
    ending: Callable[[GrowingLines, int], Mapping[str, Any]] | None = None,
    executor: Executor | None = None,
) -> bool:
    """Compute the records that are not there yet; returns whether the file was still to be ended.

    arguments, under: of the run, and its device and threads, for the manifest.  Encoding and
    writing have a thread of their own.
    ending: when all records are there, what else the manifest says of them, from the lines and from
    how many of them an earlier run had made.  executor: who works; this process, unless told.
    """
    if is_done(job.path, job.identity):
        return False
    beside, *_ = job.beside or (None,)
    lines_a_group = job.group * job.records
    with GrowingLines(job.path, job.identity, lines_a_group, beside, under) as lines:
        if lines.finished:
            return False
        resumed = lines.done
        _work(job, lines, executor or InThisProcess())
        counted = {"facts": job.facts, "facts_resumed": resumed}
        found = counted if ending is None else ending(lines, resumed)
        seconds = round(time.perf_counter() - job.started, 3)
        if executor and executor.workers > 1:
            found = {**found, "workers": executor.workers}
        lines.finish(arguments=arguments, **under, wall_seconds=seconds, **found)
    return True


def _work(job: Job, lines: GrowingLines, executor: Executor) -> None:
    """Write what is not there yet, showing facts done."""
    first = lines.done // job.records
    starts = range(first, job.facts, job.group)
    groups = [range(start, min(start + job.group, job.facts)) for start in starts]
    encoders = [job.encode, *(job.beside or ())[1:]]

    def write(records: Sequence[Any]) -> None:
        for record in records if job.keep else ():
            job.keep(record)
        lines.append(*([encode(record) for record in records] for encode in encoders))

    with progress(job.facts, job.name, job.unit, first) as bar, Background(write) as writing:
        found = executor(job.named, groups)
        for number, (group, records) in enumerate(zip(groups, found, strict=True), start=1):
            writing(records)
            if executor.workers > 1:
                told = f"{executor.workers} workers, group {number} of {len(groups)}"
                bar.set_postfix_str(told, refresh=False)
            bar.update(len(group))


def progress(total: int, description: str, unit: str, done: int = 0) -> tqdm:
    """A progress bar with what is done and the time left; sparse where nobody watches (a log)."""
    seldom = 0.1 if sys.stderr.isatty() else 15.0  # seconds
    return tqdm(
        total=total, initial=done, desc=description, unit=unit, mininterval=seldom, smoothing=0.05
    )
