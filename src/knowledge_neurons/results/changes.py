"""Stage 3's changes of a probability and of its log-odds: records, Figures 4 and 5, curves.

Records are JSON lines, one a fact; from them every average can be made again.  How averages lie on
disk, ours and the released code's, is in `change_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from knowledge_neurons.results import metrics
from knowledge_neurons.results.adopted import check_kinds, kinds_of
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_keys, check_lengths
from knowledge_neurons.results.log_odds import LogOdds, mean_difference
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.types import KINDS, Count, Index, Number, Share

SUPPRESS, AMPLIFY = 0.0, 2.0
OWN, OTHER = ASKED = ("own", "other")


@dataclass(frozen=True)
class Outcome:
    """Probabilities of the right answer to one fact's prompts, in their order.

    relation, fact: whose prompts.  original: without an edit.
    edited: kind of neurons -> factor -> with these neurons scaled by it.
    log_odds: the same in log-odds; None in records of earlier versions.
    """

    relation: str
    fact: Index
    original: list[Share]
    edited: dict[str, dict[float, list[Share]]]
    log_odds: LogOdds | None = None


@dataclass(frozen=True)
class ChangeRecord:
    """What scaling a fact's neurons did; a line on disk, by the names of the fields.

    neurons: how many it has of each kind, see `adopted.check_kinds`.  own: asked its own prompts;
    None where it cannot be asked, or was not published.  other: asked those of a fact of another
    relation; None where there is no other.
    """

    relation: str
    fact: Index
    answer: str
    neurons: dict[str, Count]
    own: Outcome | None
    other: Outcome | None


def read_changes(path: Path, scales: Sequence[float] = (SUPPRESS, AMPLIFY)) -> list[ChangeRecord]:
    """The records of a relation's facts; scales: factors that each must have been asked with."""
    return list(read_records(path, ChangeRecord, partial(_check, scales=set(scales))))


def _check(record: ChangeRecord, scales: set[float]) -> None:
    kinds = check_kinds(record.neurons, takes_part=bool(record.own or record.other))
    for asked in ASKED:
        check_outcome(asked, getattr(record, asked), kinds, scales)


def check_outcome(
    asked: str, outcome: Outcome | None, kinds: Sequence[str], scales: Collection[float]
) -> None:
    """Raise ValueError unless it has all kinds of neurons, at these factors, of every prompt."""
    if outcome is None:
        return
    if not outcome.original:
        raise ValueError(f"{asked} has no prompts")
    _check_edited(asked, outcome, kinds, scales, len(outcome.original))
    if outcome.log_odds:
        name = f"{asked}.log_odds"
        check_lengths(name, {"original": outcome.log_odds.original}, len(outcome.original))
        _check_edited(name, outcome.log_odds, kinds, scales, len(outcome.original))


def _check_edited(
    name: str,
    found: Outcome | LogOdds,
    kinds: Sequence[str],
    scales: Collection[float],
    prompts: int,
) -> None:
    check_keys(f"{name}.edited", found.edited, kinds)
    for kind, by_factor in found.edited.items():
        place = f"{name}.edited.{kind}"
        if not set(scales) <= by_factor.keys():
            raise ValueError(f"{place} has factors {sorted(by_factor)}, expected {sorted(scales)}")
        check_lengths(place, by_factor, prompts)


# --- averages --------------------------------------------------------------------------------


class ByAsked(TypedDict):
    """Factor -> change, of the facts' own prompts and of those of other relations' facts."""

    own: dict[Number, Estimate]
    other: dict[Number, Estimate]


class Changes(TypedDict):
    """How the right answer changes with the neurons of each kind: its probability, as a share of
    itself, or its log-odds, in nats."""

    neurons: ByAsked
    baseline: ByAsked


class Curve(Changes):
    """The same at many factors, and in log-odds where the records have them."""

    log_odds: NotRequired[Changes]


@dataclass(frozen=True)
class InLogOdds:
    """Figures 4 and 5 in nats: changes of log-odds over all relations and of each."""

    overall: Changes
    relations: dict[str, Changes]


@dataclass(frozen=True)
class Modified:
    """Figures 4 and 5: changes over all relations and of each.

    counts: how many facts took part, and how many did not, by reason.  theirs: the released code's
    files that it was read from, none where it is ours; theirs tell no counts and no intervals.
    log_odds: None where not every record has them; theirs never do.
    """

    overall: Changes
    relations: dict[str, Changes]
    counts: dict[str, int]
    theirs: Sequence[str] = ()
    log_odds: InLogOdds | None = None


def sums_of(records: Iterable[ChangeRecord], asked: str, kind: str, factor: float) -> np.ndarray:
    """The sums over each fact's prompts of P before and after: (facts, 2)."""
    outcomes = outcomes_of(records, asked, kind)
    rows = [(sum(o.original), sum(o.edited[kind][factor])) for o in outcomes]
    return np.array(rows).reshape(-1, 2)


def outcomes_of(records: Iterable[ChangeRecord], asked: str, kind: str) -> list[Outcome]:
    """What counts in an average, a fact each.

    Facts that could not be asked are left out, and those that have no such kind of neurons; a fact
    without neurons counts, unchanged.
    """
    return [o for record in records if (o := getattr(record, asked)) and kind in o.edited]


def average_change(
    relations: Mapping[str, Sequence[ChangeRecord]], asked: str, kind: str, factor: float, seed: int
) -> Estimate | None:
    """Figures 4 and 5: `mean_change` over the relations' records."""
    return mean_change(
        [sums_of(records, asked, kind, factor) for records in relations.values()], seed
    )


def mean_change(relations: Sequence[np.ndarray], seed: int) -> Estimate | None:
    """A change as a share: see metrics.mean_relative_change; the interval is over facts.

    relations: of each (facts, 2), P before and after.  Relations of which no fact was asked do not
    count; None where there is no other.
    """
    groups = [rows for rows in relations if len(rows)]
    if not groups:
        return None
    means = np.stack([rows.mean(axis=0) for rows in groups])  # (relations, 2)
    return Estimate(
        float(metrics.mean_relative_change(means)),
        metrics.bootstrap_interval(groups, metrics.mean_relative_change, seed),
    )


def average_difference(
    relations: Mapping[str, Sequence[ChangeRecord]], asked: str, kind: str, factor: float, seed: int
) -> Estimate | None:
    """The change of log-odds: `log_odds.mean_difference` over the relations' records, which must
    have them."""
    return mean_difference(
        [
            [o.log_odds.difference(kind, factor) for o in outcomes_of(records, asked, kind)]
            for records in relations.values()
        ],
        seed,
    )


def changes_of(
    relations: Mapping[str, Sequence[ChangeRecord]],
    factors: Sequence[float],
    seed: int,
    average: Callable[..., Estimate | None] = average_change,
) -> Changes:
    """The average change at every factor that some relation tells of."""
    changes = nothing()
    for kind, asked, factor in product(KINDS, ASKED, factors):
        if change := average(relations, asked, kind, factor, seed):
            changes[kind][asked][factor] = change
    return changes


def has_log_odds(records: Iterable[ChangeRecord]) -> bool:
    """Whether every fact that was asked has them."""
    return all(one.log_odds for record in records for one in (record.own, record.other) if one)


def curve_of(
    relation: str, records: Sequence[ChangeRecord], factors: Sequence[float], seed: int
) -> Curve:
    """The dose-response curve of a relation."""
    asked = {relation: records}, factors, seed
    curve = Curve(**changes_of(*asked))
    if has_log_odds(records):
        curve["log_odds"] = changes_of(*asked, average_difference)
    return curve


def modified_of(relations: Mapping[str, Sequence[ChangeRecord]], seed: int) -> Modified:
    """Figures 4 and 5 from the records."""
    records = [record for own in relations.values() for record in own]
    known = [record for record in records if record.neurons]
    counts = {
        "facts": len(records),
        "cannot_be_asked": sum(record.own is None for record in known),
        "no_other_relation": sum(bool(record.own) and record.other is None for record in records),
    }
    if len(known) < len(records):
        counts["neurons_not_published"] = len(records) - len(known)
    for kind in kinds_of(records):
        counts[f"without_{kind}"] = sum(not record.neurons[kind] for record in known)
    told = has_log_odds(records)
    nats = InLogOdds(*_averaged(relations, seed, average_difference)) if told else None
    return Modified(*_averaged(relations, seed, average_change), counts, log_odds=nats)


def _averaged(
    relations: Mapping[str, Sequence[ChangeRecord]],
    seed: int,
    average: Callable[..., Estimate | None],
) -> tuple[Changes, dict[str, Changes]]:
    """Suppressed and amplified: over all relations, and of each by name."""
    factors = (SUPPRESS, AMPLIFY)
    of_each = {
        name: changes_of({name: relations[name]}, factors, seed, average)
        for name in sorted(relations)
    }
    return changes_of(relations, factors, seed, average), of_each


def nothing() -> Changes:
    """Changes to be filled in."""
    return {kind: {asked: {} for asked in ASKED} for kind in KINDS}
