"""Stage 3's changes of a probability: records, the authors' averages, Figures 4 and 5, curves.

Records are JSON lines, one a fact; from them every average can be made again.  The released code's
file holds averages of relations alone, in its own words (rm suppressed, eh amplified; own, oth), so
there are no intervals where it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

import numpy as np

from knowledge_neurons.results import metrics
from knowledge_neurons.results.adopted import check_kinds, kinds_of
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_keys, check_lengths, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_json, read_records, read_summary
from knowledge_neurons.types import BASELINE, KINDS, Count, Index, Number, Share

SUPPRESS, AMPLIFY = 0.0, 2.0
OWN, OTHER = ASKED = ("own", "other")
VERBS = {SUPPRESS: "rm", AMPLIFY: "eh"}  # of the released code
THEIRS = dict(zip(ASKED, ("own", "oth"), strict=True))


@dataclass(frozen=True)
class Outcome:
    """Probabilities of the right answer to one fact's prompts, in their order.

    relation, fact: whose prompts.  original: without an edit.
    edited: kind of neurons -> factor -> with these neurons scaled by it.
    """

    relation: str
    fact: Index
    original: list[Share]
    edited: dict[str, dict[float, list[Share]]]


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
    check_keys(f"{asked}.edited", outcome.edited, kinds)
    for kind, by_factor in outcome.edited.items():
        name = f"{asked}.edited.{kind}"
        if not set(scales) <= by_factor.keys():
            raise ValueError(f"{name} has factors {sorted(by_factor)}, expected {sorted(scales)}")
        check_lengths(name, by_factor, len(outcome.original))


# --- averages --------------------------------------------------------------------------------


class ByAsked(TypedDict):
    """Factor -> change, of the facts' own prompts and of those of other relations' facts."""

    own: dict[Number, Estimate]
    other: dict[Number, Estimate]


class Changes(TypedDict):
    """How the right answer's probability changes with the neurons of each kind, as a share."""

    neurons: ByAsked
    baseline: ByAsked


@dataclass(frozen=True)
class Modified:
    """Figures 4 and 5: changes over all relations and of each.

    counts: how many facts took part, and how many did not, by reason.  theirs: the released code's
    files that it was read from, none where it is ours; theirs tell no counts and no intervals.
    """

    overall: Changes
    relations: dict[str, Changes]
    counts: dict[str, int]
    theirs: Sequence[str] = ()


def sums_of(records: Iterable[ChangeRecord], asked: str, kind: str, factor: float) -> np.ndarray:
    """The sums over each fact's prompts of P before and after: (facts, 2).

    Facts that could not be asked are left out, and those that have no such kind of neurons; a fact
    without neurons counts, unchanged.
    """
    outcomes = [o for record in records if (o := getattr(record, asked)) and kind in o.edited]
    rows = [(sum(o.original), sum(o.edited[kind][factor])) for o in outcomes]
    return np.array(rows).reshape(-1, 2)


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


def changes_of(
    relations: Mapping[str, Sequence[ChangeRecord]], factors: Sequence[float], seed: int
) -> Changes:
    """The average change at every factor that some relation tells of."""
    changes = _nothing()
    for kind, asked, factor in product(KINDS, ASKED, factors):
        if change := average_change(relations, asked, kind, factor, seed):
            changes[kind][asked][factor] = change
    return changes


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
    of_each = {name: changes_of({name: relations[name]}, tuple(VERBS), seed) for name in relations}
    overall = changes_of(relations, tuple(VERBS), seed)
    return Modified(overall, dict(sorted(of_each.items())), counts)


def _nothing() -> Changes:
    return {kind: {asked: {} for asked in ASKED} for kind in KINDS}


# --- averages on disk ------------------------------------------------------------------------


class _Summary(TypedDict):
    change: Changes
    counts: dict[str, Count]
    relations: dict[str, Changes]


def write_summary(path: Path, found: Modified) -> None:
    relations = {name: _on_disk(own) for name, own in found.relations.items()}
    content = {"change": _on_disk(found.overall), "counts": found.counts, "relations": relations}
    write_json(path, content, readable=True)


def write_curve(path: Path, curve: Changes) -> None:
    write_json(path, _on_disk(curve), readable=True)


def _on_disk(changes: Changes) -> dict[str, Any]:
    """Factors as short as they were given: "0.25", "2"."""
    return {
        kind: {asked: {f"{x:g}": one for x, one in of.items()} for asked, of in by_asked.items()}
        for kind, by_asked in changes.items()
    }


def read_curves(results: Results) -> dict[str, Changes]:
    """Relation -> its dose-response curve."""
    return {name: read_summary(results.curve(name), Changes, 3) for name in results.curves()}


def read_modified(results: Results) -> Modified | None:
    """Ours, else the released code's; None where neither is there."""
    path = results.changes_summary
    if path.exists():
        found = read_summary(path, _Summary, 3)
        return Modified(found["change"], dict(sorted(found["relations"].items())), found["counts"])
    theirs = read_authors_changes(results)
    if not theirs:
        return None
    files = results.names(map(results.modified_averages, (False, True)))
    return Modified(mean_changes(list(theirs.values())), theirs, {}, files)


# --- the authors' file -----------------------------------------------------------------------


def authors_averages(
    relations: Mapping[str, Sequence[ChangeRecord]], kind: str
) -> dict[str, dict[str, float]]:
    """The content of modify_activation_rlt.json; a relation that could not be asked is not in it.

    Means over all prompts of a relation's facts; ave_delta_ratio is ave_delta over ori_prob.
    """
    averages: dict[str, dict[str, float]] = {}
    for relation, records in relations.items():
        values = {}
        for asked, theirs in THEIRS.items():
            outcomes = [o for r in records if (o := getattr(r, asked)) and kind in o.edited]
            prompts = sum(len(o.original) for o in outcomes)
            if not prompts:
                continue
            for factor, verb in VERBS.items():
                before, after = sums_of(records, asked, kind, factor).sum(axis=0) / prompts
                values[f"{theirs}:ori_prob"] = before
                values[f"{verb}_{theirs}:ave_delta"] = after - before
                values[f"{verb}_{theirs}:ave_delta_ratio"] = (after - before) / before
        if values:
            averages[f"{'base_' * (kind == BASELINE)}kn_bag-{relation}"] = values
    return averages


def read_authors_changes(results: Results) -> dict[str, Changes]:
    """Relation -> its changes as the released code averaged them; empty without files."""
    found: dict[str, Changes] = {}
    advice = "Run that stage of the released code again, or ours"
    for kind in KINDS:
        path = results.modified_averages(kind == BASELINE)
        averages = read_json(path, dict[str, dict[str, Number]], advice) if path.exists() else {}
        for key, values in averages.items():
            changes = found.setdefault(key.rsplit("-", 1)[-1], _nothing())  # base_kn_bag-P101
            for (asked, theirs), (factor, verb) in product(THEIRS.items(), VERBS.items()):
                if (name := f"{verb}_{theirs}:ave_delta_ratio") in values:
                    changes[kind][asked][factor] = Estimate(values[name], None)
    return dict(sorted(found.items()))


def mean_changes(relations: Sequence[Changes]) -> Changes:
    """Figures 4 and 5: the means over the relations that tell of them."""
    means = _nothing()
    for kind, asked, factor in product(KINDS, ASKED, VERBS):
        told = [r[kind][asked][factor].value for r in relations if factor in r[kind][asked]]
        if told:
            means[kind][asked][factor] = Estimate(fmean(told), None)
    return means
