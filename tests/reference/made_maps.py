"""Invented neuron maps that fit together: each neuron has drivers below it, each of them tried."""

from __future__ import annotations

import random
from collections.abc import Sequence

from knowledge_neurons.results.maps import Checked, MapRecord, Node
from knowledge_neurons.types import Neuron

EDGES = 3


def made_map(
    rng: random.Random, relation: str, fact: int, answer: str, own: Sequence[Neuron], width: int
) -> MapRecord:
    """The map of a fact's neurons; those of layer 0 have no drivers."""
    nodes = [_node(rng, neuron, width) for neuron in own]
    checked = [one for node in nodes for one in _checked(rng, node, width)]
    return MapRecord(relation, fact, answer, 2, nodes, checked)


def _node(rng: random.Random, neuron: Neuron, width: int) -> Node:
    top = neuron.layer
    places = rng.sample(range(top * width), EDGES) if top else []
    scores = sorted((rng.uniform(0.1, 1) for _ in places), reverse=True)
    edges = [
        (*divmod(place, width), rng.choice((1, -1)) * score)
        for place, score in zip(places, scores, strict=True)
    ]
    shares = [1 / max(top, 1)] * top
    score, active = rng.uniform(0.01, 0.1), rng.choice((-1, 1)) * rng.uniform(1, 2)
    return Node(neuron, active, score, edges, 0.4 if top else 0.0, 9 if top else 0, shares)


def _checked(rng: random.Random, node: Node, width: int) -> list[Checked]:
    """Every edge off and as many random neurons, then all of either."""
    off = [Neuron(layer, index) for layer, index, _ in node.edges]
    drawn = [Neuron(one.layer, (one.index + 1) % width) for one in off]
    told = [-score for *_, score in node.edges]
    found = [
        Checked(node.neuron, [one], False, p, p * rng.uniform(0.8, 1))
        for one, p in zip(off, told, strict=True)
    ]
    if off:
        found.append(Checked(node.neuron, off, False, sum(told), 0.9 * sum(told)))
        found += [Checked(node.neuron, [one], True, 0.01, 0.008) for one in drawn]
        found.append(Checked(node.neuron, drawn, True, 0.03, 0.02))
    return found
