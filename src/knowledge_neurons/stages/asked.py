"""Which facts stages 3 and 10 can ask, with what prompts, and what decides the outcome."""

from __future__ import annotations

from typing import Any

from knowledge_neurons.experiments.modify_activation import Asked
from knowledge_neurons.stages.inputs import Inputs, Relation


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


def identity_of(inputs: Inputs, relation: Relation) -> dict[str, Any]:
    """What decides the records of a relation, but for the factors."""
    settings = inputs.settings
    found = inputs.identity | relation.identity | {"seed": settings.seed}
    found |= {"min_prompts": settings.min_prompts}
    return found | {"max_seq_length": inputs.max_tokens, "oov": settings.oov}
