"""Stage 3's averages on disk: our summary and curves, and the released code's file.

The released code's file holds averages of relations alone, in its own words (rm suppressed, eh
amplified; own, oth), so there are no intervals where it is read, and no log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, NotRequired, TypedDict

from knowledge_neurons.results.changes import (
    AMPLIFY,
    ASKED,
    SUPPRESS,
    ChangeRecord,
    Changes,
    Curve,
    InLogOdds,
    Modified,
    nothing,
    outcomes_of,
    sums_of,
)
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_json, read_summary
from knowledge_neurons.types import BASELINE, KINDS, Count, Number

VERBS = {SUPPRESS: "rm", AMPLIFY: "eh"}  # of the released code
THEIRS = dict(zip(ASKED, ("own", "oth"), strict=True))


class _Summary(TypedDict):
    change: Changes
    counts: dict[str, Count]
    relations: dict[str, Changes]
    log_odds: NotRequired[InLogOdds]


def write_summary(path: Path, found: Modified) -> None:
    """Figures 4 and 5; log_odds: in nats, not there where the records have none."""
    content = {"change": _on_disk(found.overall), "counts": found.counts}
    content["relations"] = _each_on_disk(found.relations)
    if nats := found.log_odds:
        of_each = _each_on_disk(nats.relations)
        content["log_odds"] = {"overall": _on_disk(nats.overall), "relations": of_each}
    write_json(path, content, readable=True)


def write_curve(path: Path, curve: Curve) -> None:
    """A dose-response curve; log_odds as of `write_summary`."""
    nats = {"log_odds": _on_disk(curve["log_odds"])} if "log_odds" in curve else {}
    write_json(path, _on_disk(curve) | nats, readable=True)


def _each_on_disk(relations: Mapping[str, Changes]) -> dict[str, Any]:
    return {name: _on_disk(own) for name, own in relations.items()}


def _on_disk(changes: Changes) -> dict[str, Any]:
    """Factors as short as they were given: "0.25", "2"."""
    return {
        kind: {asked: {f"{x:g}": e for x, e in of.items()} for asked, of in changes[kind].items()}
        for kind in KINDS
    }


def read_curves(results: Results) -> dict[str, Curve]:
    """Relation -> its dose-response curve."""
    return {name: read_summary(results.curve(name), Curve, 3) for name in results.curves()}


def read_modified(results: Results) -> Modified | None:
    """Ours, else the released code's; None where neither is there."""
    path = results.changes_summary
    if path.exists():
        found = read_summary(path, _Summary, 3)
        relations = dict(sorted(found["relations"].items()))
        nats = found.get("log_odds")
        return Modified(found["change"], relations, found["counts"], log_odds=nats)
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
            prompts = sum(len(o.original) for o in outcomes_of(records, asked, kind))
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
            changes = found.setdefault(key.rsplit("-", 1)[-1], nothing())  # base_kn_bag-P101
            for (asked, theirs), (factor, verb) in product(THEIRS.items(), VERBS.items()):
                if (name := f"{verb}_{theirs}:ave_delta_ratio") in values:
                    changes[kind][asked][factor] = Estimate(values[name], None)
    return dict(sorted(found.items()))


def mean_changes(relations: Sequence[Changes]) -> Changes:
    """Figures 4 and 5: the means over the relations that tell of them."""
    means = nothing()
    for kind, asked, factor in product(KINDS, ASKED, VERBS):
        told = [r[kind][asked][factor].value for r in relations if factor in r[kind][asked]]
        if told:
            means[kind][asked][factor] = Estimate(fmean(told), None)
    return means
