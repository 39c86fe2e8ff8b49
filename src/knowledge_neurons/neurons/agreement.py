"""Whether a fact's prompts name the same neurons, and what refining gives at other thresholds.

Chen et al. 2025 (arXiv 2405.14117): of many facts the neurons depend on the wording, so that they
are the query's rather than the fact's.  Overlap is Jaccard's index |A & B| / |A | B| of two
prompts' coarse neurons.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from knowledge_neurons.neurons.refine import coarse, count_coarse, refine_fact
from knowledge_neurons.types import Neuron, Triplet

LAYER = 1 << 24  # more than a layer has neurons: layer * LAYER + index names one
Coarse = list[np.ndarray]  # of each prompt of a fact its neurons, sorted int64 (n,)


@dataclass(frozen=True)
class Overlaps:
    """Of one fact the mean overlap of its prompts' neurons with those of other prompts.

    wordings: of its own other prompts.  same_wording, other_wording: of another fact of its
    relation with another answer, asked by the same prompt of the bag, by another one.
    elsewhere: of a fact of another relation.  None where there is nothing to compare.
    """

    wordings: float | None
    same_wording: float | None
    other_wording: float | None
    elsewhere: float | None


def coarse_of(prompts: Iterable[Sequence[Triplet]], t: float) -> Coarse:
    """The coarse neurons of each prompt of a fact."""
    return [
        np.array(sorted(layer * LAYER + index for layer, index in coarse(prompt, t)), np.int64)
        for prompt in prompts
    ]


def jaccard(a: np.ndarray, b: np.ndarray) -> float | None:
    """|A & B| / |A | B| of two sets of neurons; None of two empty ones."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else None


def overlaps(
    relations: Mapping[str, Sequence[Coarse]],
    answers: Mapping[str, Sequence[str]],
    seed: int,
) -> dict[str, list[Overlaps]]:
    """Relation -> overlaps of each fact.

    relations: of each fact the coarse neurons of its prompts.  answers: of each fact.
    Draw order, from a generator of each relation's own (seed, relation): facts in data order, for
    each another fact with another answer among those that have prompts, then another relation
    that has any, by name, and a fact of it, all uniformly.
    """
    there = {
        name: [place for place, own in enumerate(facts) if own] for name, facts in relations.items()
    }
    found: dict[str, list[Overlaps]] = {}
    for name, facts in relations.items():
        rng = random.Random(f"{seed} {name} overlaps")
        elsewhere = sorted(other for other, some in there.items() if some and other != name)
        found[name] = []
        for own, answer in zip(facts, answers[name], strict=True):
            beside = [place for place in there[name] if answers[name][place] != answer]
            other = facts[rng.choice(beside)] if beside and own else []
            further: Coarse = []
            if elsewhere and own:
                relation = rng.choice(elsewhere)
                further = relations[relation][rng.choice(there[relation])]
            found[name].append(_overlaps(own, other, further))
    return found


def _overlaps(own: Coarse, other: Coarse, further: Coarse) -> Overlaps:
    """other, further: of the facts to compare with, empty where there are none.

    Prompts are the same wording by their place, which says so in bags of as many prompts alone.
    """
    aligned = len(own) == len(other)
    return Overlaps(
        _mean(combinations(own, 2)),
        _mean(zip(own, other, strict=True)) if aligned else None,
        _mean(
            (a, b) for i, a in enumerate(own) for j, b in enumerate(other) if not aligned or i != j
        ),
        _mean((a, b) for a in own for b in further),
    )


def _mean(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    values = [value for a, b in pairs if (value := jaccard(a, b)) is not None]
    return float(np.mean(values)) if values else None


# --- other thresholds ------------------------------------------------------------------------

Cell = tuple[float, float]  # t, p


def refined_at(
    facts: Sequence[Sequence[Sequence[Triplet]]], cells: Sequence[Cell], min_prompts: int
) -> dict[Cell, list[list[Neuron]]]:
    """The neurons of each fact at each pair of thresholds, p fixed: (t, p) -> by fact.

    facts: of each fact the triplets of its prompts.
    """
    counts = {
        t: [count_coarse(prompts, t) for prompts in facts]
        for t in dict.fromkeys(t for t, _ in cells)
    }
    return {(t, p): [refine_fact(one, p, min_prompts) for one in counts[t]] for t, p in cells}


def halves(
    facts: Sequence[Sequence[Sequence[Triplet]]], t: float, p: float, seed: int, relation: str
) -> list[float | None]:
    """Overlap of what two random halves of each fact's prompts refine to; None without any.

    Draw order, from a generator of the relation's own (seed, relation): facts in data order, the
    prompts of each shuffled; the first half and the second are apart, one left over in neither.
    """
    rng = random.Random(f"{seed} {relation} halves")
    found = []
    for prompts in facts:
        order = rng.sample(range(len(prompts)), len(prompts))
        size = len(prompts) // 2
        parts = (order[:size], order[size : 2 * size])
        counted = (count_coarse([prompts[place] for place in part], t) for part in parts)
        found.append(overlap(*(refine_fact(one, p, 1) for one in counted)) if size else None)
    return found


def overlap(a: Sequence[Neuron], b: Sequence[Neuron]) -> float | None:
    """|A & B| / |A | B| of two lists of neurons; None of two empty ones."""
    either = set(a) | set(b)
    return len(set(a) & set(b)) / len(either) if either else None
