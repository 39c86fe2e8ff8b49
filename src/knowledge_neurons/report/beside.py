"""What the fact browser shows beside a fact's scores, packed: the later stages' records of it.

Columns, an entry a fact, None where its stage has no record of it; numbers have three digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from knowledge_neurons.report.packing import MOST, number, short
from knowledge_neurons.results.activations import SENTENCE_KINDS, ActivationRecord, read_activations
from knowledge_neurons.results.changes import AMPLIFY, SUPPRESS, ChangeRecord, read_changes
from knowledge_neurons.results.edits import CHOSEN, EditRecord, read_edits
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.triggers import TriggerRecord, read_triggers
from knowledge_neurons.types import KINDS, KNOWLEDGE

HIGHEST, LOWEST = 2, 1  # sentences of a fact that are embedded, of either end of their ranking


def baseline_of(results: Results, name: str, facts: int) -> dict[str, list]:
    """`baseline`: the neurons that the baseline finds."""
    path = results.fact_neurons(name, baseline=True)
    found = read_fact_neurons(path) if path.exists() else []
    known = [[number(neuron) for neuron in own] for own in found[:facts]]
    return {"baseline": known + [None] * (facts - len(known))}


def nats_of(records: Iterable[ChangeRecord], facts: int) -> dict[str, list]:
    """`nats`: what suppressing and amplifying do to the log-odds, mean over the prompts."""

    def change(record: ChangeRecord) -> list[float] | None:
        odds = record.own and record.own.log_odds
        factors = (SUPPRESS, AMPLIFY)
        return [short(odds.difference(KNOWLEDGE, x)) for x in factors] if odds else None

    return {"nats": _placed(records, facts, change)}


def doses_of(results: Results, name: str, facts: int) -> dict[str, list]:
    """`doses`: factors, and of each kind of neurons the mean probability at each; nothing where
    stage 3 was not asked for a curve."""
    path = results.curve_records(name)
    return {"doses": _placed(read_changes(path, ()), facts, _dose)} if path.exists() else {}


def _dose(record: ChangeRecord) -> dict[str, list[float]] | None:
    if not record.own:
        return None
    edited = record.own.edited
    factors = sorted(edited[KNOWLEDGE])
    curves = {
        kind: [short(fmean(edited[kind][x])) for x in factors] for kind in KINDS if kind in edited
    }
    return {"factors": factors, **curves}


def activations_of(results: Results, name: str, facts: int) -> dict[str, list]:
    """`activations`: of each neuron of a fact its mean on each of SENTENCE_KINDS."""
    path = results.activations(name)
    if not path.exists():
        return {}

    def means(record: ActivationRecord) -> list[list[float]] | None:
        own = record.means and record.means[KNOWLEDGE]
        kinds = own and [own[kind] for kind in SENTENCE_KINDS]
        return kinds and [[short(x) for x in row] for row in zip(*kinds, strict=True)]

    return {"activations": _placed(read_activations(path), facts, means)}


def sentences_of(results: Results, name: str, facts: int) -> dict[str, list]:
    """`sentences`, of the first MOST facts that have any: how many were ranked, and of both ends
    some, the answer's place marked, with the sum of the fact's neurons' activations there."""
    path = results.triggers(name)
    if not path.exists():
        return {}

    def ends(record: TriggerRecord) -> list[Any]:
        kept = record.top[:HIGHEST], record.bottom[:LOWEST]
        told = [[[short(s["activation"]), s["masked"]] for s in some] for some in kept]
        return [record.sentences, *told]

    ranked = islice((one for one in read_triggers(path) if one.sentences), MOST)
    return {"sentences": _placed(ranked, facts, ends)}


def edits_of(results: Results) -> Mapping[str, dict[int, list[dict[str, Any]]]]:
    """Relation -> fact -> what stage 6's edits of its neurons did, of all runs but those by count.

    old, new: answers.  lambdas.  p_old, p_new: mean over its prompts before and after.  first: of
    how many of its prompts the new answer comes first after it.
    """
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for run in results.edit_runs():
        path: Path = results.edits(run)
        for record in read_edits(path) if path.exists() else ():
            if record.kind == CHOSEN and record.top_k is None:
                found.setdefault(record.relation, {}).setdefault(record.fact, []).append(
                    _edit(record)
                )
    return found


def _edit(record: EditRecord) -> dict[str, Any]:
    def means(key: str) -> list[float]:
        return [short(fmean(prompt[key][i] for prompt in record.prompts)) for i in (0, 1)]

    return {
        "old": record.old,
        "new": record.new,
        "lambdas": [record.lambda_1, record.lambda_2],
        "p_old": means("p_old"),
        "p_new": means("p_new"),
        "first": sum(prompt["rank_new"][1] == 1 for prompt in record.prompts),
    }


def _placed(records: Iterable[Any], facts: int, of: Callable[[Any], Any]) -> list[Any]:
    """A column: of each record what is shown, at the place of its fact."""
    column: list[Any] = [None] * facts
    for record in records:
        if record.fact < facts:
            column[record.fact] = of(record)
    return column
