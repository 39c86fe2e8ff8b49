"""Scores -> triplets -> coarse neurons of a prompt -> refined neurons of a fact and of a relation.

Section 3.2 of the paper.  Per prompt keep the neurons whose score reaches t times the prompt's
largest; per fact keep those kept by at least a share p of its prompts.  p moves by 0.05 until the
relation's facts have 2 to 5 neurons on average, or until it was tried six times.  Pure functions;
no tensors, no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knowledge_neurons.types import Neuron, Triplet

# UPSTREAM: triplets below this share of the prompt's largest score are not stored
KEEP = 0.1


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of the refinement; the defaults are the paper's for integrated gradients.

    coarse: t, share of a prompt's largest score.
    shared: p at the start, share of a fact's prompts; step: by how much it moves;
    rounds: how many values of p are tried; fewest, most: the band in which the average should lie.
    min_prompts: never keep a neuron of fewer prompts.
    relation_share: share of a relation's facts that must have a neuron for it to be the relation's.
    max_share: a neuron that more than this share of the facts have counts for none of them, as
    section 5.1 chooses what to edit; 1 keeps all.
    """

    coarse: float = 0.2
    shared: float = 0.7
    step: float = 0.05
    fewest: float = 2.0
    most: float = 5.0
    rounds: int = 6
    min_prompts: int = 3
    relation_share: float = 0.1
    max_share: float = 1.0

    def __post_init__(self):
        for name in ("coarse", "shared", "relation_share", "max_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a share in (0, 1]")
        for name, least in (("rounds", 1), ("min_prompts", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: expected {least} or more")


THRESHOLDS = Thresholds()
# UPSTREAM: t = 0.5 for the activation baseline
BASELINE_THRESHOLDS = Thresholds(coarse=0.5)


@dataclass(frozen=True)
class FactCounts:
    """For one fact: in how many of its prompts each neuron was coarse, first seen first."""

    counts: Counter[Neuron]
    prompts: int


@dataclass(frozen=True)
class Refined:
    """What refining a relation gives.

    facts: the neurons of each fact, in data order; empty where nothing is shared by its prompts.
    relation: the neurons that many of its facts have, whatever max_share.
    shared: the p that gave this result.
    average: neurons per fact, over the facts that have prompts; in_band: whether it lies where the
    settings want it.  rounds: values of p tried, the last of which is `shared`.
    """

    facts: list[list[Neuron]]
    relation: list[Neuron]
    shared: float
    average: float
    in_band: bool
    rounds: int


def coarse(prompt: Sequence[Triplet], t: float) -> list[Neuron]:
    """Neurons of one prompt whose score reaches t times its largest (the paper's coarse set)."""
    if not prompt:
        return []
    threshold = t * max(score for _, _, score in prompt)
    return [Neuron(layer, index) for layer, index, score in prompt if score >= threshold]


def count_coarse(prompts: Iterable[Sequence[Triplet]], t: float) -> FactCounts:
    """How often each neuron is coarse among the prompts of one fact."""
    counts: Counter[Neuron] = Counter()
    total = 0
    for prompt in prompts:
        counts.update(coarse(prompt, t))
        total += 1
    return FactCounts(counts, total)


def at_least(counts: Counter[Neuron], threshold: float) -> list[Neuron]:
    """The neurons counted at least threshold times, first seen first."""
    return [neuron for neuron, count in counts.items() if count >= threshold]


def refine_fact(fact: FactCounts, shared: float, min_prompts: int) -> list[Neuron]:
    """Neurons coarse in at least a share `shared` of the prompts, and in at least min_prompts."""
    # UPSTREAM: at least p, where the text says more than p
    return at_least(fact.counts, max(fact.prompts * shared, min_prompts))


def rare(facts: Sequence[Sequence[Neuron]], at_most: float) -> list[list[Neuron]]:
    """Of each fact's neurons those that at most so many of the facts have."""
    counts = Counter(neuron for neurons in facts for neuron in neurons)
    return [[neuron for neuron in neurons if counts[neuron] <= at_most] for neurons in facts]


def strongest(prompts: Sequence[Sequence[Triplet]]) -> list[Neuron]:
    """All neurons of a fact's triplets, the largest mean score over its prompts first.

    A score that is not stored counts as 0; of equals the lower layer and index come first.
    """
    totals: Counter[Neuron] = Counter()
    for prompt in prompts:
        for layer, index, score in prompt:
            totals[Neuron(layer, index)] += score
    return sorted(totals, key=lambda neuron: (-totals[neuron], neuron))


def refine_relation(facts: Sequence[FactCounts], settings: Thresholds = THRESHOLDS) -> Refined:
    """Refine every fact with one p, which moves until the average lies in the band.

    facts: in data order; a fact without prompts (left out, for it cannot be asked) stays
    empty and does not count in the average.
    """
    with_prompts = sum(fact.prompts > 0 for fact in facts)
    shared, rounds = settings.shared, 1
    while True:
        found = [refine_fact(fact, shared, settings.min_prompts) for fact in facts]
        refined = rare(found, settings.max_share * with_prompts)
        average = sum(map(len, refined)) / with_prompts if with_prompts else 0.0
        in_band = settings.fewest <= average <= settings.most
        # UPSTREAM: six values of p are tried, so five moves count
        if in_band or rounds >= settings.rounds or not with_prompts:
            break
        # UPSTREAM: p adds up in floats, so 18 of 20 prompts miss the p that prints as 0.90
        shared += -settings.step if average < settings.fewest else settings.step
        shared = min(shared, 1.0)  # 0.7 + 6 * 0.05 is a hair above 1: more than all prompts
        rounds += 1
    relation = at_least(
        Counter(neuron for neurons in found for neuron in neurons),
        with_prompts * settings.relation_share,
    )
    return Refined(refined, relation, shared, average, in_band, rounds)
