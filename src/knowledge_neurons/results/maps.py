"""Neuron maps on disk: a record a fact, and what the validation of many comes to.

A line: the fact, its neurons with their drivers, and every change that was predicted and measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_neurons.types import Count, Index, Layer, Neuron, Number


@dataclass(frozen=True)
class Node:
    """A neuron of a fact and what drives it.

    activation: at the position read, its mean over the wordings.  score: of P(answer).
    edges: (layer, index, score) of the drivers kept, strongest first, in units of the activation:
    over a layer all scores sum to what the activation loses with the layer silent there.
    share: of the absolute scores of all drivers that the edges hold.  half: how many drivers hold
    half of them.
    """

    neuron: Neuron
    activation: Number
    score: Number
    edges: list[tuple[Layer, Index, Number]]
    share: Number
    half: Count


@dataclass(frozen=True)
class Checked:
    """The change of a neuron's activation on one prompt with others switched off.

    off: which.  random: whether they are random ones.  predicted, measured: in activation.
    """

    neuron: Neuron
    off: list[Neuron]
    random: bool
    predicted: Number
    measured: Number


@dataclass(frozen=True)
class MapRecord:
    """A fact's map.  wordings: that it is the mean of."""

    relation: str
    fact: Index
    answer: str
    wordings: Count
    nodes: list[Node]
    checked: list[Checked]


@dataclass(frozen=True)
class Validation:
    """How well edges predict, over all drivers switched off one by one.

    count: of them.  r: correlation of predicted and measured; slope: measured on predicted, through
    the origin; sign: share whose sign is right.  r_upper: r without drivers of layer 0.
    together: measured over predicted sum, all that add to a neuron off at once.
    taken: what these take from the activation, as a share of it; random: what random ones do.
    Each None where nothing can tell.
    """

    count: int
    r: float | None
    r_upper: float | None
    slope: float | None
    sign: float | None
    together: float | None
    taken: float | None
    random: float | None


def validation_of(records: Iterable[MapRecord]) -> Validation:
    """Of many maps together; each change as a share of its neuron's activation."""
    single, upper, together, taken, random = [], [], [], [], []
    for record in records:
        of = {node.neuron: abs(node.activation) for node in record.nodes}
        for one in record.checked:
            size = of[one.neuron]
            if not size:
                continue
            pair = one.predicted / size, one.measured / size
            if len(one.off) > 1 and one.random:
                random.append(abs(pair[1]))
            elif len(one.off) > 1:
                together.append(pair)
                taken.append(abs(pair[1]))
            elif not one.random:
                single.append(pair)
                if one.off[0].layer > 0:
                    upper.append(pair)
    predicted, measured = np.array(single).reshape(-1, 2).T
    sums = np.abs(np.array(together).reshape(-1, 2)).sum(0)
    some = len(predicted) > 0
    return Validation(
        len(predicted),
        _correlation(single),
        _correlation(upper),
        float(predicted @ measured / (predicted @ predicted)) if predicted.any() else None,
        float(np.mean(np.sign(predicted) == np.sign(measured))) if some else None,
        float(sums[1] / sums[0]) if sums[0] else None,
        float(np.median(taken)) if taken else None,
        float(np.median(random)) if random else None,
    )


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's r; None of fewer than three, or where nothing varies."""
    if len(pairs) < 3 or not np.array(pairs).std(0).all():
        return None
    return float(np.corrcoef(np.array(pairs).T)[0, 1])
