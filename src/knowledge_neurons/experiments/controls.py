"""Stage 10: is it the fact that its neurons hold, its relation, or the prompts that found them?

Beside the facts of other relations (`modify_activation`) a fact's neurons are scaled while another
fact of the *same* relation is asked.  Beside them are set those of them that few facts of the
relation have, those that three quarters of the prompts find, and for each as many random neurons of
the same layers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from knowledge_neurons.experiments.modify_activation import Asked, scaled
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.changes import AMPLIFY, OTHER, OWN, SUPPRESS, Outcome
from knowledge_neurons.results.controls import SAME, SWEPT, ControlRecord, random_of
from knowledge_neurons.types import KNOWLEDGE, Fact, Neuron, NeuronSets, Prompt


def sets_of(
    model: Network,
    found: NeuronSets,
    same: Sequence[int | None],
    shared_by: Sequence[int],
    seed: int,
    relation: str,
) -> dict[str, list[list[Neuron]]]:
    """What is scaled of each fact of a relation, by kind.

    found: its neurons, and other sets of them such as those that three quarters of its prompts
    find.  shared_by: s, for those of its neurons that at most s other facts have; the fact that is
    asked beside it (same, of `draw_same`) does not count, or its answer would be chosen for.
    Every kind is followed by its random twin.
    """
    kinds = {kind: [list(own) for own in of_facts] for kind, of_facts in found.items()}
    for most in shared_by:
        kinds[f"{SWEPT}{most}"] = shared_by_few(kinds[KNOWLEDGE], same, most)
    twins = [twin_of(model, kinds, i, seed, relation) for i in range(len(kinds[KNOWLEDGE]))]
    sets: dict[str, list[list[Neuron]]] = {}
    for kind, own in kinds.items():
        sets[kind] = own
        sets[random_of(kind)] = [
            [twin[neuron] for neuron in of_fact if neuron in twin]
            for twin, of_fact in zip(twins, own, strict=True)
        ]
    return sets


def shared_by_few(
    neurons: Sequence[Sequence[Neuron]], same: Sequence[int | None], most: int
) -> list[list[Neuron]]:
    """Of each fact's neurons those that at most so many others have, without the one beside it."""
    counts = Counter(neuron for own in neurons for neuron in own)
    beside = [set() if place is None else set(neurons[place]) for place in same]
    return [
        [one for one in own if counts[one] - 1 - (one in other) <= most]
        for own, other in zip(neurons, beside, strict=True)
    ]


def twin_of(
    model: Network, kinds: NeuronSets, fact: int, seed: int, relation: str
) -> dict[Neuron, Neuron]:
    """For every neuron of a fact, of any kind, a random one of its layer, each of them once.

    None of them is the fact's.  They are drawn from a generator of the fact's own (seed, relation,
    index), layer by layer, for its neurons in order; where a layer has too few, the last have none.
    """
    every = sorted({neuron for of_facts in kinds.values() for neuron in of_facts[fact]})
    rng = random.Random(f"{seed} {relation} {fact} controls")
    twins: dict[Neuron, Neuron] = {}
    for _, own in groupby(every, key=lambda neuron: neuron.layer):
        layer = list(own)
        twins |= zip(layer, random_like(model, layer, rng), strict=False)
    return twins


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
    relation and of another one.  neurons: of `sets_of`, for these facts.  All are suppressed; those
    that were not chosen by how many facts share them are amplified too.
    """
    asked: list[dict[str, Asked]] = []
    for fact, prompts, beside, elsewhere in zip(facts, own, same, others, strict=True):
        mine = {OWN: (fact.relation, fact.index, prompts), SAME: beside, OTHER: elsewhere}
        asked.append({name: one for name, one in mine.items() if prompts and one})
    swept = {kind: of_facts for kind, of_facts in neurons.items() if SWEPT in kind}
    whole = {kind: of_facts for kind, of_facts in neurons.items() if SWEPT not in kind}
    found = scaled(model, asked, whole, (SUPPRESS, AMPLIFY))
    if swept:
        found = list(map(_joined, found, scaled(model, asked, swept, (SUPPRESS,))))
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


def _joined(some: Mapping[str, Outcome], more: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes of the same prompts under other neurons, together."""
    return {
        name: replace(
            one,
            edited=one.edited | more[name].edited,
            log_odds=replace(one.log_odds, edited=one.log_odds.edited | more[name].log_odds.edited),
        )
        for name, one in some.items()
    }
