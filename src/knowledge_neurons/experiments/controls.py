"""Stage 3's controls: is it the fact that its neurons hold, its relation, or the prompts that found
them?

Beside the facts of other relations (`modify_activation`) a fact's neurons are scaled while another
fact of the *same* relation is asked.  Beside them are set those of them that few facts of the
relation have, and as many random neurons of the same layers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from knowledge_neurons.experiments.modify_activation import Asked, scaled
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons.refine import rare
from knowledge_neurons.results.changes import AMPLIFY, OTHER, OWN, SUPPRESS
from knowledge_neurons.results.controls import RARE, SAME, ControlRecord
from knowledge_neurons.types import CONTROL, KNOWLEDGE, Fact, Neuron, NeuronSets, Prompt


def sets_of(
    model: Network, neurons: Sequence[Sequence[Neuron]], common: float, seed: int, relation: str
) -> NeuronSets:
    """A fact's neurons, those of them that at most a share `common` of the facts have, random ones.

    neurons: of each fact of the relation.  Random neurons have a generator of each fact's own
    (seed, relation, index): layer by layer as many as the fact has there, none of its own.
    """
    asked = sum(1 for own in neurons if own)
    return {
        KNOWLEDGE: [list(own) for own in neurons],
        RARE: rare(neurons, max(1.0, common * asked)),
        CONTROL: [
            random_like(model, own, random.Random(f"{seed} {relation} {index} controls"))
            for index, own in enumerate(neurons)
        ],
    }


def random_like(model: Network, own: Sequence[Neuron], rng: random.Random) -> list[Neuron]:
    """As many other neurons of the same layers."""
    width = model.shape.neurons
    chosen: list[Neuron] = []
    for layer, count in sorted(Counter(neuron.layer for neuron in own).items()):
        free = [i for i in range(width) if Neuron(layer, i) not in own]
        chosen += [Neuron(layer, i) for i in rng.sample(free, min(count, len(free)))]
    return chosen


def draw_same(
    facts: Sequence[Fact], bags: Sequence[Sequence[Prompt]], seed: int
) -> list[int | None]:
    """For each fact another of its relation with another answer, None where there is none.

    Draw order, from a generator of the relation's own (seed, relation, "same"): facts in data
    order, for each one of those that can be asked, uniformly.
    """
    rng = random.Random(f"{seed} {facts[0].relation} same")
    there = [index for index, prompts in enumerate(bags) if prompts]
    drawn: list[int | None] = []
    for fact in facts:
        others = [index for index in there if facts[index].answer != fact.answer]
        drawn.append(rng.choice(others) if others else None)
    return drawn


def control(
    model: Network,
    facts: Sequence[Fact],
    own: Sequence[Sequence[Prompt]],
    same: Sequence[Asked | None],
    others: Sequence[Asked | None],
    neurons: NeuronSets,
    held_out: int | None,
) -> list[ControlRecord]:
    """Scale the neurons of some facts of a relation while their own prompts and others are asked.

    own: the prompts of each, none where it cannot be asked.  same, others: for each a fact of its
    relation and of another one.  neurons: of `sets_of`, for these facts.
    """
    asked: list[dict[str, Asked]] = []
    for fact, prompts, beside, elsewhere in zip(facts, own, same, others, strict=True):
        mine = {OWN: (fact.relation, fact.index, prompts), SAME: beside, OTHER: elsewhere}
        asked.append({name: one for name, one in mine.items() if prompts and one})
    found = scaled(model, asked, neurons, (SUPPRESS, AMPLIFY))
    return [
        ControlRecord(
            fact.relation,
            fact.index,
            {kind: len(neurons[kind][i]) for kind in neurons},
            held_out,
            *(found[i].get(name) for name in (OWN, SAME, OTHER)),
        )
        for i, fact in enumerate(facts)
    ]
