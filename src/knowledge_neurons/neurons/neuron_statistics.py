"""Stage 2: refined neurons of a relation, and what can be said of neurons across relations.

Section 4.2 and Table 2 of the paper: how many neurons a fact has, how many a pair of facts shares
inside a relation and across relations, and in which layers they lie (Figure 3).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from knowledge_neurons.neurons.refine import (
    BASELINE_THRESHOLDS,
    THRESHOLDS,
    FactCounts,
    Refined,
    Thresholds,
    count_coarse,
    refine_relation,
)
from knowledge_neurons.types import Neuron, PromptScores

Neurons = Mapping[str, Sequence[Sequence[Neuron]]]  # relation -> neurons of each fact


@dataclass(frozen=True)
class RefinedRelation:
    """Both refinements of one relation, and the facts that had no prompts."""

    neurons: Refined
    baseline: Refined
    without_prompts: list[int]


class NoScores(ValueError):
    """A relation lacks the scores that refining needs."""


def refine_scores(
    facts: Iterable[Sequence[PromptScores]],
    settings: Thresholds = THRESHOLDS,
    baseline: Thresholds = BASELINE_THRESHOLDS,
    held_out: int | None = None,
) -> RefinedRelation:
    """Refine a relation, by integrated gradients and by activations, in one pass over its facts.

    held_out: every so manieth prompt of a fact does not help to find its neurons.
    Raises NoScores where no prompt at all has scores of one kind: stage 1 was not asked for them.
    """
    by_score: list[FactCounts] = []
    by_activation: list[FactCounts] = []
    for own in facts:
        prompts = [prompt for place, prompt in enumerate(own) if not is_held_out(place, held_out)]
        by_score.append(count_coarse((p.of_answer for p in prompts), settings.coarse))
        by_activation.append(count_coarse((p.baseline for p in prompts), baseline.coarse))
    for kind, counts in (("attributions", by_score), ("activations", by_activation)):
        if any(fact.prompts for fact in counts) and not any(fact.counts for fact in counts):
            raise NoScores(f"has no {kind}: stage 1 was not asked for them")
    return RefinedRelation(
        refine_relation(by_score, settings),
        refine_relation(by_activation, baseline),
        [index for index, fact in enumerate(by_score) if not fact.prompts],
    )


def is_held_out(place: int, every: int | None) -> bool:
    """Whether a prompt, by its place among the fact's, is kept to measure what the others found."""
    return every is not None and place % every == every - 1


@dataclass(frozen=True)
class Statistics:
    """Table 2 and Figure 3 for one kind of neurons.

    facts: how many; per_fact: neurons a fact has on average.
    shared_within, shared_across: neurons two facts of one relation, of two relations share, the
    mean over all such pairs; None where there is no such pair.
    shared_across_sampled: the same from random pairs, as the released code does it.
    layers: share of the facts' neurons that lies in each layer, from layer 0.
    relations: per relation its facts, per_fact, shared_within and number of distinct neurons.
    """

    facts: int
    per_fact: float
    shared_within: float | None
    shared_across: float | None
    shared_across_sampled: float | None
    layers: list[float]
    relations: dict[str, dict[str, float | None]]


def statistics(neurons: Neurons, layers: int, pairs_per_fact: int, seed: int) -> Statistics:
    """Statistics of neurons, exact over all pairs of facts.

    neurons: relation -> the neurons of each fact that was attributed.  layers: L of the model.
    pairs_per_fact: random partners of each fact in the sampled form (100 in the released code).
    Raises ValueError where there is no fact at all.
    """
    names = sorted(neurons)
    facts = {name: len(neurons[name]) for name in names}
    total = sum(facts.values())
    if not total:
        raise ValueError("no facts to make statistics of")
    if pairs_per_fact < 0:
        raise ValueError(f"{pairs_per_fact} random pairs a fact: expected 0 or more")
    counts = _counts(neurons, names)  # (relations, neurons)
    shared = np.asarray((counts @ counts.T).todense())  # (relations, relations)
    sizes = counts.sum(axis=1)  # neurons of all facts of a relation, with repeats
    n = np.array([facts[name] for name in names])
    within = (shared.diagonal() - sizes) / 2  # a pair of facts once, no fact with itself
    pairs_within = n * (n - 1) / 2
    across, pairs_across = np.triu(shared, 1).sum(), np.triu(np.outer(n, n), 1).sum()
    return Statistics(
        facts=total,
        per_fact=float(sizes.sum() / total),
        shared_within=_ratio(within.sum(), pairs_within.sum()),
        shared_across=_ratio(across, pairs_across),
        shared_across_sampled=_sampled_across(neurons, names, pairs_per_fact, seed),
        layers=_layer_shares(neurons, layers),
        relations={
            name: {
                "facts": facts[name],
                "per_fact": _ratio(sizes[i], n[i]),
                "shared_within": _ratio(within[i], pairs_within[i]),
                "distinct_neurons": int((counts[[i]] > 0).sum()),
            }
            for i, name in enumerate(names)
        },
    )


def _counts(neurons: Neurons, names: Sequence[str]) -> sparse.csr_array:
    """How many facts of each relation have each neuron: sparse int64 (relations, neurons).

    With c the row of a relation, sum over pairs of facts of |A & B| is sum_n c_n (c_n - 1) / 2
    inside the relation, and c . c' between two: one product gives all pairs.
    """
    columns: dict[Neuron, int] = {}
    where = Counter(
        (row, columns.setdefault(neuron, len(columns)))
        for row, name in enumerate(names)
        for fact in neurons[name]
        for neuron in fact
    )
    rows, cols = zip(*where, strict=True) if where else ((), ())
    shape = (len(names), max(len(columns), 1))
    values = np.fromiter(where.values(), np.int64, len(where))
    return sparse.coo_array((values, (rows, cols)), shape=shape, dtype=np.int64).tocsr()


def _ratio(amount: float, count: float) -> float | None:
    return float(amount / count) if count else None


def _sampled_across(
    neurons: Neurons, names: Sequence[str], pairs_per_fact: int, seed: int
) -> float | None:
    """Mean overlap of each fact with random facts of random other relations.

    DEVIATION: seeded, and never alone: the exact mean stands beside it (difference 6).
    Draw order: relations by name, facts in data order; per partner first the relation, uniformly
    among the others that have facts, then the fact, uniformly.
    """
    rng = random.Random(seed)
    sets = {name: [set(fact) for fact in neurons[name]] for name in names if neurons[name]}
    if len(sets) < 2 or not pairs_per_fact:
        return None
    shared = 0
    for name, facts in sets.items():
        others = [other for other in sets if other != name]
        for fact in facts:
            for _ in range(pairs_per_fact):
                shared += len(fact & rng.choice(sets[rng.choice(others)]))
    return shared / (pairs_per_fact * sum(map(len, sets.values())))


def _layer_shares(neurons: Neurons, layers: int) -> list[float]:
    """Share of all facts' neurons in each layer (Figure 3); all zero where there is no neuron."""
    counts = Counter(n.layer for facts in neurons.values() for fact in facts for n in fact)
    total = counts.total() or 1
    return [counts[layer] / total for layer in range(layers)]
