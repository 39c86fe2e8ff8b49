"""Stage 7's erasures: records, a line a fact, and Table 5 of them, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import numpy as np
from msgspec import Meta

from knowledge_neurons.results.edits import LogP, Rank
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_keys, check_lengths
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, read_records, read_summary
from knowledge_neurons.results.metrics import bootstrap_interval, increase, perplexity, top_k
from knowledge_neurons.types import CONTROL, Index

ERASED = "erased"
EDITS = (ERASED, CONTROL)
BEFORE = "before"


@dataclass(frozen=True)
class ErasureRecord:
    """What was read of one fact's prompts, in each state of the model; a line on disk.

    prompts: their indices in the data.  log_p, ranks: state -> right answer's log probability
    (nats) and rank of each prompt; the states are "before" and the names of the edits.
    """

    relation: str
    fact: Index
    prompts: Annotated[list[Index], Meta(min_length=1)]
    log_p: dict[str, list[LogP]]
    ranks: dict[str, list[Rank]]


def read_erasures(path: Path) -> list[ErasureRecord]:
    """Stage 7's records; ValueError names file, line and what does not fit."""
    return list(read_records(path, ErasureRecord, _check))


def _check(record: ErasureRecord) -> None:
    for name in ("log_p", "ranks"):
        by_state = getattr(record, name)
        check_keys(name, by_state, (BEFORE, *EDITS))
        check_lengths(name, by_state, len(record.prompts))


# --- Table 5 ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """Accuracy and perplexity of some prompts before and after an edit.

    perplexity_increase: after / before - 1, positive where it grew, with its bootstrap interval
    over facts.
    """

    facts: int
    prompts: int
    accuracy_before: float
    accuracy_after: float
    perplexity_before: float
    perplexity_after: float
    perplexity_increase: Estimate


@dataclass(frozen=True)
class Erased:
    """One row of Table 5: the erased relation, all others pooled, each other alone."""

    relation: Effect
    others: Effect | None
    each_other: dict[str, Effect]


def summarise_erasure(
    records: Sequence[ErasureRecord], relation: str, edit: str, seed: int
) -> Erased:
    """Table 5 for one of the edits.  seed: of the bootstraps."""
    by_relation: dict[str, list[ErasureRecord]] = {}
    for record in records:
        by_relation.setdefault(record.relation, []).append(record)
    own = by_relation.pop(relation)
    return Erased(
        _effect([own], edit, seed),
        _effect(list(by_relation.values()), edit, seed) if by_relation else None,
        {name: _effect([facts], edit, seed) for name, facts in by_relation.items()},
    )


def both_edits(records: Sequence[ErasureRecord], relation: str, seed: int) -> dict[str, Erased]:
    """Table 5 for the erasure and for the control."""
    return {edit: summarise_erasure(records, relation, edit, seed) for edit in EDITS}


def _effect(relations: list[list[ErasureRecord]], edit: str, seed: int) -> Effect:
    """The effect on all prompts of some relations; facts are drawn again within each relation."""
    facts = [fact for relation in relations for fact in relation]
    log_p = [np.concatenate([fact.log_p[state] for fact in facts]) for state in (BEFORE, edit)]
    ranks = [np.concatenate([fact.ranks[state] for fact in facts]) for state in (BEFORE, edit)]
    before, after = map(perplexity, log_p)
    sums = [
        np.array([[sum(f.log_p[BEFORE]), sum(f.log_p[edit]), len(f.prompts)] for f in relation])
        for relation in relations
    ]
    sizes = np.array([len(group) for group in sums])

    def growth(means: np.ndarray) -> np.ndarray:
        totals = np.einsum("rgk,g->rk", means, sizes)  # (R, 3): sums over all facts drawn
        mean = -totals[:, :2] / totals[:, 2:]
        return np.exp(mean[:, 1] - mean[:, 0]) - 1

    return Effect(
        facts=len(facts),
        prompts=len(log_p[0]),
        accuracy_before=float(top_k(ranks[0]).mean()),
        accuracy_after=float(top_k(ranks[1]).mean()),
        perplexity_before=before,
        perplexity_after=after,
        perplexity_increase=Estimate(
            increase(before, after), bootstrap_interval(sums, growth, seed)
        ),
    )


@dataclass(frozen=True)
class Erasure:
    """One run of stage 7: a row of Table 5, with the control of as many random neurons.

    run: its name, the relation's or such as "P19-unk"; neurons: how many were emptied, where known.
    """

    run: str
    relation: str
    neurons: int | None
    erased: Erased
    random: Erased


class _Summary(TypedDict):
    erased: Erased
    random: Erased


def read_erasure(results: Results, run: str) -> Erasure:
    """The summary of a run."""
    content = read_summary(results.erasure_summary(run), _Summary, 7)
    emptied = (read_manifest(results.erased(run)) or {}).get("neurons", {}).get(ERASED)
    rows = [content[edit] for edit in EDITS]
    return Erasure(run, run.split("-")[0], emptied and len(emptied), *rows)
