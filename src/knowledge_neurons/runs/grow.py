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
from knowledge_neurons.runs.executor import Executor, Work, in_this_process


@dataclass(frozen=True)
class Job:
    """A file of records, some of each fact.

    identity: what decides them.  name: for the screen.  facts: how many there are.  group: facts
    worked on together.  work: facts, as a range of places -> their records, in order.
    encode: a record -> its line.  records: of a fact.
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
    beside: tuple[Path, Callable[[Any], bytes]] | None = None
    started: float = field(default_factory=time.perf_counter)


def grow(
    job: Job,
    arguments: Mapping[str, Any],
    under: Mapping[str, Any],
    ending: Callable[[GrowingLines, int], Mapping[str, Any]] | None = None,
    executor: Executor = in_this_process,
) -> bool:
    """Compute the records that are not there yet; returns whether the file was still to be ended.

    arguments, under: of the run, and its device and threads, for the manifest.  Encoding and
    writing have a thread of their own.
    ending: when all records are there, what else the manifest says of them, from the lines and from
    how many of them an earlier run had made.
    """
    if is_done(job.path, job.identity):
        return False
    beside, *_ = job.beside or (None,)
    lines_a_group = job.group * job.records
    with GrowingLines(job.path, job.identity, lines_a_group, beside, under) as lines:
        if lines.finished:
            return False
        resumed = lines.done
        _work(job, lines, executor)
        counted = {"facts": job.facts, "facts_resumed": resumed}
        found = counted if ending is None else ending(lines, resumed)
        seconds = round(time.perf_counter() - job.started, 3)
        lines.finish(arguments=arguments, **under, wall_seconds=seconds, **found)
    return True


def _work(job: Job, lines: GrowingLines, executor: Executor) -> None:
    """Write what is not there yet, showing facts done."""
    first = lines.done // job.records
    starts = range(first, job.facts, job.group)
    groups = [range(start, min(start + job.group, job.facts)) for start in starts]
    encoders = [job.encode, *(job.beside or ())[1:]]

    def write(records: Sequence[Any]) -> None:
        lines.append(*([encode(record) for record in records] for encode in encoders))

    with progress(job.facts, job.name, "fact", first) as bar, Background(write) as writing:
        for group, records in zip(groups, executor(job.work, groups), strict=True):
            writing(records)
            bar.update(len(group))


def progress(total: int, description: str, unit: str, done: int = 0) -> tqdm:
    """A progress bar with what is done and the time left; sparse where nobody watches (a log)."""
    seldom = 0.1 if sys.stderr.isatty() else 15.0  # seconds
    return tqdm(
        total=total, initial=done, desc=description, unit=unit, mininterval=seldom, smoothing=0.05
    )
