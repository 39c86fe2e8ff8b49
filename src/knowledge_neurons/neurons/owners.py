"""Which facts have a neuron, and which of their prompts stand for them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from knowledge_neurons.types import Index, Neuron

PROMPTS = 8  # of a neuron's facts

FactOf = tuple[str, int]  # relation and index


class PromptOf(NamedTuple):
    """A prompt by its place: prompt i of a fact's in the data."""

    relation: str
    fact: Index
    prompt: Index


def owners_of(
    neurons: Mapping[str, Sequence[Sequence[Neuron]]],
) -> dict[Neuron, list[FactOf]]:
    """Every neuron of a fact, by layer and index, with the facts that have it, relations by name.

    neurons: relation -> of each fact its neurons.
    """
    found: dict[Neuron, list[FactOf]] = {}
    for relation in sorted(neurons):
        for fact, own in enumerate(neurons[relation]):
            for neuron in own:
                found.setdefault(neuron, []).append((relation, fact))
    return dict(sorted(found.items()))


def prompts_of(facts: Sequence[FactOf], counts: Mapping[FactOf, int]) -> list[PromptOf]:
    """PROMPTS of these facts' prompts, evenly from all; counts: how many each fact has.

    Of more facts than that one each, fact i's prompt i modulo its count: every wording has its
    turn, and neurons of the same facts have the same prompts.
    """
    if len(facts) > PROMPTS:
        chosen = [facts[len(facts) * i // PROMPTS] for i in range(PROMPTS)]
        return [PromptOf(*fact, fact[1] % counts[fact]) for fact in chosen]
    every = [PromptOf(*fact, place) for fact in facts for place in range(counts[fact])]
    step = max(1.0, len(every) / PROMPTS)
    return [every[int(i * step)] for i in range(min(PROMPTS, len(every)))]
