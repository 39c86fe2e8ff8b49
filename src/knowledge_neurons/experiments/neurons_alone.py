"""What each neuron does alone: times 0 on prompts of its facts, beside a random one of its layer.

A single neuron moves little, and so little has to be seen beside what any neuron would do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from knowledge_neurons.experiments.modify_activation import answered
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons.owners import PromptOf
from knowledge_neurons.results.neurons_alone import NeuronAlone
from knowledge_neurons.types import Edit, Neuron, Prompt

GROUP = 64  # neurons switched off together: what an interruption loses


def switched_off(
    model: Network,
    neurons: Sequence[Neuron],
    asked: Sequence[Sequence[PromptOf]],
    prompts: Mapping[PromptOf, Prompt],
    others: Sequence[Sequence[Neuron]],
    seed: int,
) -> list[NeuronAlone]:
    """Switch each neuron off on its own prompts, and a random one of its layer in its place.

    asked: of each neuron which prompts.  others: the neurons that its facts have, none of which is
    drawn.
    """
    drawn = [
        _draw(model, neuron, own, taken, seed)
        for neuron, own, taken in zip(neurons, asked, others, strict=True)
    ]
    rows = [
        (prompts[one], neuron, Neuron(neuron.layer, other))
        for neuron, own, random_ones in zip(neurons, asked, drawn, strict=True)
        for one, other in zip(own, random_ones, strict=True)
    ]
    edits = [[Edit((neuron,), 0.0), Edit((other,), 0.0)] for _, neuron, other in rows]
    found = answered(model, [prompt for prompt, *_ in rows], edits)
    p, odds = ([tuple(row) for row in one.tolist()] for one in found)
    records, start = [], 0
    for neuron, own, random_ones in zip(neurons, asked, drawn, strict=True):
        its = slice(start, start := start + len(own))
        records.append(NeuronAlone(neuron, list(own), random_ones, p[its], odds[its]))
    return records


def _draw(
    model: Network, neuron: Neuron, asked: Sequence[PromptOf], taken: Sequence[Neuron], seed: int
) -> list[int]:
    """Another neuron of the layer for each prompt, uniformly, none of those taken.

    From a generator of the neuron's and relation's own (seed, relation, layer, index).  Where all
    of the layer are taken, any other; of a layer of one neuron itself.
    """
    relation = asked[0].relation if asked else ""
    rng = random.Random(f"{seed} {relation} {neuron.layer} {neuron.index} alone")
    every = [i for i in range(model.shape.neurons) if i != neuron.index]
    free = [i for i in every if Neuron(neuron.layer, i) not in set(taken)]
    return rng.choices(free or every or [neuron.index], k=len(asked))
