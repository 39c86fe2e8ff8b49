"""Stage 7's records -> Table 5: accuracy and perplexity before and after, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.metrics import bootstrap_interval, increase, perplexity, top_k

ERASED, RANDOM = EDITS = ("erased", "random")


@dataclass(frozen=True)
class FactRecord:
    """What was read of one fact's prompts, in each state of the model.

    prompts: their indices in the data.  log_p, ranks: state -> right answer's log probability
    (nats) and rank of each prompt; the states are "before" and the names of the edits.
    """

    relation: str
    fact: int
    prompts: list[int]
    log_p: dict[str, list[float]]
    ranks: dict[str, list[int]]


@dataclass(frozen=True)
class Change:
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

    relation: Change
    others: Change | None
    each_other: dict[str, Change]


def summarise(records: Sequence[FactRecord], relation: str, edit: str, seed: int) -> Erased:
    """Table 5 for one of the edits.  seed: of the bootstraps."""
    by_relation: dict[str, list[FactRecord]] = {}
    for record in records:
        by_relation.setdefault(record.relation, []).append(record)
    own = by_relation.pop(relation)
    return Erased(
        _change([own], edit, seed),
        _change(list(by_relation.values()), edit, seed) if by_relation else None,
        {name: _change([facts], edit, seed) for name, facts in by_relation.items()},
    )


def _change(relations: list[list[FactRecord]], edit: str, seed: int) -> Change:
    """The change of all prompts of some relations; facts are drawn again within each relation."""
    facts = [fact for relation in relations for fact in relation]
    log_p = [np.concatenate([fact.log_p[state] for fact in facts]) for state in ("before", edit)]
    ranks = [np.concatenate([fact.ranks[state] for fact in facts]) for state in ("before", edit)]
    before, after = map(perplexity, log_p)
    sums = [
        np.array([[sum(f.log_p["before"]), sum(f.log_p[edit]), len(f.prompts)] for f in relation])
        for relation in relations
    ]
    sizes = np.array([len(group) for group in sums])

    def growth(means: np.ndarray) -> np.ndarray:
        totals = np.einsum("rgk,g->rk", means, sizes)  # (R, 3): sums over all facts drawn
        mean = -totals[:, :2] / totals[:, 2:]
        return np.exp(mean[:, 1] - mean[:, 0]) - 1

    return Change(
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
