"""Stage 10's controls: records, a line a fact, and the table of whose neurons change what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from knowledge_neurons.neurons.neuron_statistics import is_held_out
from knowledge_neurons.results.changes import (
    AMPLIFY,
    OTHER,
    OWN,
    SUPPRESS,
    Outcome,
    check_outcome,
    mean_change,
)
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.log_odds import mean_difference
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.types import CONTROL, KNOWLEDGE, Count, Index, Number

SAME = "same"  # asked: another fact of the relation
HELD_OUT = "held_out"  # asked: the prompts that did not help to find REST's neurons
# Kinds of neurons, beside a fact's own: found by the prompts that are not held out; those of its
# own that at most s other facts have, "shared_by_s"; of each kind as many random ones.
REST, SWEPT, RANDOM = "rest", "shared_by_", "random_"
EFFECT_COLUMNS = {
    OWN: "own prompts",
    HELD_OUT: "own, held out",
    SAME: "same relation",
    OTHER: "other relations",
}
RANDOM_COLUMN = "random neurons, own prompts"


def random_of(kind: str) -> str:
    """The kind of as many random neurons."""
    return CONTROL if kind == KNOWLEDGE else RANDOM + kind


def shared_by(kind: str) -> int | None:
    """s of "shared_by_s" or of its random twin."""
    return int(kind.rpartition("_")[2]) if SWEPT in kind else None


def kind_told(kind: str) -> str:
    """A kind of neurons that are not random in words."""
    if (most := shared_by(kind)) is not None:
        return f"those in at most {most} other fact{'s' * (most != 1)}"
    return {KNOWLEDGE: "knowledge neurons", REST: "found without the held out"}.get(kind, kind)


@dataclass(frozen=True)
class ControlRecord:
    """What scaling a fact's neurons, some of them and random ones did; a line on disk.

    neurons: how many of each kind.  held_out: every so manieth of its own prompts found none of
    REST's.
    own, same, other: asked its own prompts, those of a fact of its relation, of another one; None
    where there was none.
    """

    relation: str
    fact: Index
    neurons: dict[str, Count]
    held_out: Count | None
    own: Outcome | None
    same: Outcome | None
    other: Outcome | None


@dataclass(frozen=True)
class Effects:
    """How the right answer's probability changes with the neurons of one kind times a factor.

    neurons: a fact has on the mean.  changes: by EFFECT_COLUMNS, of what was asked, as a share.
    log_odds: the same in nats, empty where not every record has them.
    """

    kind: str
    factor: Number
    neurons: Number
    changes: dict[str, Estimate]
    log_odds: dict[str, Estimate] = field(default_factory=dict)


def read_controls(path: Path) -> list[ControlRecord]:
    """Stage 10's control records; ValueError names file, line and what does not fit."""
    return list(read_records(path, ControlRecord, _check))


def _check(record: ControlRecord) -> None:
    kinds = tuple(record.neurons)
    if not {KNOWLEDGE, CONTROL} <= record.neurons.keys():
        raise ValueError(
            f"neurons has {sorted(kinds)}, expected {KNOWLEDGE} and {CONTROL} at least"
        )
    for asked in (OWN, SAME, OTHER):
        check_outcome(asked, getattr(record, asked), kinds, (SUPPRESS,))


def effects_of(relations: Mapping[str, Sequence[ControlRecord]], seed: int) -> list[Effects]:
    """The table: facts with neurons alone, changes averaged as Figures 4 and 5 are.

    Kinds are those that every relation has, in the order of the records; a fact without neurons of
    a kind counts there, unchanged.
    """
    asked = {
        name: [r for r in own if r.own and r.neurons[KNOWLEDGE]] for name, own in relations.items()
    }
    records = [record for own in asked.values() for record in own]
    kinds = [
        kind
        for kind in dict.fromkeys(kind for record in records for kind in record.neurons)
        if all(kind in record.neurons for record in records)
    ]
    found = []
    for factor in (SUPPRESS, AMPLIFY):
        for kind in kinds:
            changes, log_odds = {}, {}
            for column in EFFECT_COLUMNS:
                groups = [_sums(own, column, kind, factor) for own in asked.values()]
                if change := mean_change(groups, seed):
                    changes[column] = change
                differences = [_differences(own, column, kind, factor) for own in asked.values()]
                if None not in differences and (nats := mean_difference(differences, seed)):
                    log_odds[column] = nats
            if changes:
                mean = float(np.mean([record.neurons[kind] for record in records]))
                found.append(Effects(kind, factor, mean, changes, log_odds))
    return found


def with_twins(found: Sequence[Effects]) -> list[tuple[Effects, Effects | None]]:
    """Effects of neurons that are not random, each with that of as many random ones."""
    by_kind = {(one.kind, one.factor): one for one in found}
    random = {random_of(kind) for kind, _ in by_kind}
    own = [one for one in found if one.kind not in random]
    return [(one, by_kind.get((random_of(one.kind), one.factor))) for one in own]


def _sums(records: Sequence[ControlRecord], column: str, kind: str, factor: float) -> np.ndarray:
    """The sums over each fact's prompts of P before and after: (facts, 2)."""
    rows = [
        [sum(of[place] for place in chosen) for of in (one.original, one.edited[kind][factor])]
        for one, chosen in _asked(records, column)
        if factor in one.edited[kind]
    ]
    return np.array(rows).reshape(-1, 2)


def _differences(
    records: Sequence[ControlRecord], column: str, kind: str, factor: float
) -> list[float] | None:
    """The change of log-odds of each fact; None where a record has none."""
    asked = [pair for pair in _asked(records, column) if factor in pair[0].edited[kind]]
    if not all(one.log_odds for one, _ in asked):
        return None
    return [one.log_odds.difference(kind, factor, chosen) for one, chosen in asked]


def _asked(records: Sequence[ControlRecord], column: str) -> Iterator[tuple[Outcome, list[int]]]:
    """What was asked of each fact, and which of the prompts count; facts without any do not."""
    for record in records:
        outcome = record.own if column in (OWN, HELD_OUT) else getattr(record, column)
        if outcome is None:
            continue
        chosen = [
            place
            for place in range(len(outcome.original))
            if column not in (OWN, HELD_OUT)
            or is_held_out(place, record.held_out) == (column == HELD_OUT)
        ]
        if chosen:
            yield outcome, chosen


def write_effects(path: Path, found: Sequence[Effects]) -> None:
    write_json(path, {"effects": found}, readable=True)


def read_effects(results: Results) -> list[Effects]:
    """The table, empty where stage 10 has not run."""
    path = results.controls_summary
    return read_summary(path, dict[str, list[Effects]], 10)["effects"] if path.exists() else []
