"""What becomes of neurons and headline numbers as thresholds move: records and averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from knowledge_neurons.neurons.agreement import Cell, overlap
from knowledge_neurons.neurons.neuron_statistics import statistics
from knowledge_neurons.results.changes import mean_change
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.results.metrics import mean_share
from knowledge_neurons.types import Count, Index, Neuron, Number, Share

STABILITY = "stability"  # the question
ByCell = Mapping[Cell, Sequence[Sequence[Neuron]]]  # (t, p) -> the neurons of each fact


@dataclass(frozen=True)
class StabilityRecord:
    """The sums over a fact's prompts of P(answer), a line on disk; empty where it is not asked.

    original: as it is.  suppressed: with its neurons at each pair of thresholds off, in the order
    of the cells.
    """

    relation: str
    fact: Index
    original: Number
    suppressed: list[Number]


@dataclass(frozen=True)
class AtThresholds:
    """What one pair of thresholds gives, over all facts that have prompts.

    neurons: a fact has; without: share of the facts without any; shared: neurons that two facts of
    a relation share; overlap: with stage 2's neurons (Jaccard), over facts with either; change: of
    P(answer) with them off, as a share, of a sample of facts.
    """

    t: Share
    p: Share
    neurons: Number
    without: Share
    shared: Number | None
    overlap: Estimate | None
    change: Estimate | None


@dataclass(frozen=True)
class Against:
    """The neurons of other scores of the same facts.

    folder: of their results.  differs: what of them differs, field -> theirs.  overlap: with stage
    2's here.
    """

    folder: str
    differs: dict[str, str]
    facts: Count
    neurons: Number
    overlap: Estimate | None


@dataclass(frozen=True)
class Stability:
    """controls/stability.json.

    cells: by t, then p.  sampled: facts whose change was measured.  halves: overlap of what two
    random halves of a fact's prompts refine to, at stage 2's thresholds, mean over several draws.
    """

    cells: list[AtThresholds]
    sampled: Count
    halves: Estimate | None
    against: list[Against]


def read_stability_records(path: Path, cells: int) -> list[StabilityRecord]:
    """ValueError names file, line and what does not fit."""
    return list(read_records(path, StabilityRecord, partial(_check, cells=cells)))


def _check(record: StabilityRecord, cells: int) -> None:
    if len(record.suppressed) not in (0, cells):
        raise ValueError(f"suppressed has {len(record.suppressed)} numbers, expected {cells}")


def cells_of(
    refined: Mapping[str, ByCell],
    own: Mapping[str, Sequence[Sequence[Neuron]]],
    asked: Mapping[str, Sequence[bool]],
    records: Mapping[str, Sequence[StabilityRecord]],
    seed: int,
) -> list[AtThresholds]:
    """refined: relation -> by thresholds.  own: stage 2's.  asked: whether a fact has prompts."""
    found = []
    for place, cell in enumerate(next(iter(refined.values()))):
        sets = {
            name: [n for n, has in zip(by_cell[cell], asked[name], strict=True) if has]
            for name, by_cell in refined.items()
        }
        here = {
            name: [n for n, has in zip(own[name], asked[name], strict=True) if has] for name in own
        }
        every = [neurons for facts in sets.values() for neurons in facts]
        told = statistics(sets, 1, 0, seed)
        groups = [
            np.array([(r.original, r.suppressed[place]) for r in rows if r.suppressed])
            for rows in records.values()
        ]
        found.append(
            AtThresholds(
                *cell,
                told.per_fact,
                sum(not neurons for neurons in every) / len(every),
                told.shared_within,
                overlap_of(sets, here, seed),
                mean_change(groups, seed),
            )
        )
    return found


def overlap_of(
    some: Mapping[str, Sequence[Sequence[Neuron]]],
    own: Mapping[str, Sequence[Sequence[Neuron]]],
    seed: int,
) -> Estimate | None:
    """Mean Jaccard index of two refinements of the same facts, over facts with either."""
    values = [
        value
        for name, facts in some.items()
        for a, b in zip(facts, own[name], strict=True)
        if (value := overlap(a, b)) is not None
    ]
    return mean_share(values, seed) if values else None


def mean_halves(facts: Sequence[Sequence[float | None]], seed: int) -> Estimate | None:
    """The mean over facts of the overlap of their halves; facts: of each one value a draw."""
    known = [[value for value in draws if value is not None] for draws in facts]
    means = [float(np.mean(draws)) for draws in known if draws]
    return mean_share(means, seed) if means else None


def write_stability(path: Path, found: Stability) -> None:
    write_json(path, found, readable=True)


def read_stability(results: Results) -> Stability | None:
    """None where stage 10 has not asked for it."""
    path = results.questioned_summary(STABILITY)
    return read_summary(path, Stability, 10) if path.exists() else None
