"""Which facts and prompts stages 3, 9 and 10 can ask, and what decides the outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from knowledge_neurons.experiments.modify_activation import Asked
from knowledge_neurons.neurons.owners import PromptOf
from knowledge_neurons.stages.inputs import Inputs, Relation
from knowledge_neurons.types import Prompt


def askable(inputs: Inputs) -> dict[str, list[int]]:
    """relation -> the facts that can be asked."""
    encoded = {name: inputs.encode(facts, True) for name, facts in inputs.facts.items()}
    return {name: [i for i, own in enumerate(facts) if own] for name, facts in encoded.items()}


def asking(inputs: Inputs, fact: tuple[str, int] | None) -> Asked | None:
    """The prompts of a fact of any relation."""
    if fact is None:
        return None
    (prompts,) = inputs.encode([inputs.facts[fact[0]][fact[1]]])
    return (*fact, prompts)


def prompts_at(inputs: Inputs, places: Iterable[PromptOf]) -> dict[PromptOf, Prompt]:
    """These prompts, sorted, without those that cannot be asked."""
    order = sorted(set(places))
    single = []
    for relation, index, prompt in order:
        fact = inputs.facts[relation][index]
        single.append(replace(fact, prompts=(fact.prompts[prompt],)))
    found = inputs.encode(single, skip_unknown=True)
    return {one: own[0] for one, own in zip(order, found, strict=True) if own}


def identity_of(inputs: Inputs, relation: Relation) -> dict[str, Any]:
    """What decides the records of a relation, but for the factors."""
    settings = inputs.settings
    found = inputs.identity | relation.identity | {"seed": settings.seed}
    found |= {"min_prompts": settings.min_prompts}
    return found | {"max_seq_length": inputs.max_tokens, "oov": settings.oov}
