"""When neurons fire and what each does alone, packed for the browser: a text for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from knowledge_neurons.report.packing import number, short
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_activity import (
    TEXT_KINDS,
    Ends,
    NeuronActivity,
    read_activity,
)
from knowledge_neurons.results.neurons_alone import NeuronAlone, read_alone
from knowledge_neurons.types import Neuron

SHOWN_MOST, SHOWN_LEAST, SHOWN_ALIKE = 4, 2, 5  # texts at either end, and neurons, of a neuron


def active_of(results: Results) -> dict[int, dict[str, Any]]:
    """Layer -> what stage 9 read of its neurons; empty where it has not run."""
    by_itself: dict[Neuron, list[NeuronAlone]] = {}
    for relation in results.mapped_relations():
        path = results.neurons_alone(relation)
        for one in read_alone(path) if path.exists() else ():
            by_itself.setdefault(one.neuron, []).append(one)
    found = groupby(read_activity(results), key=lambda one: one.neuron.layer)
    return {layer: _packed(list(own), by_itself) for layer, own in found}


def _packed(
    neurons: Sequence[NeuronActivity], by_itself: Mapping[Neuron, Sequence[NeuronAlone]]
) -> dict[str, Any]:
    """texts: all that occur, [relation, fact, text].  neurons: of each

    range: low, high of its activations.  kinds: of each of TEXT_KINDS its mean and the counts of
    its histogram, None where there is no such text.  prompts, sentences: of both ends [place in
    texts, activation, ...].  alike: [number, correlation in percent, ...].  alone: see `_alone`.
    """
    texts: dict[tuple[str, int, str], int] = {}

    def ends(found: Ends) -> list[list[float]]:
        cut = found.most[:SHOWN_MOST], found.least[:SHOWN_LEAST]
        return [
            [
                part
                for one in some
                for part in (texts.setdefault(one[:3], len(texts)), _rounded(one.activation))
            ]
            for some in cut
        ]

    rows = {
        one.neuron.index: {
            "range": [_rounded(one.low), _rounded(one.high)],
            "kinds": [
                [_rounded(one.means[kind]), *one.counts[kind]] if kind in one.means else None
                for kind in TEXT_KINDS
            ],
            "prompts": ends(one.prompts),
            "sentences": ends(one.sentences),
            "alike": [
                part
                for *other, by in one.alike[:SHOWN_ALIKE]
                for part in (number(Neuron(*other)), round(100 * by))
            ],
            "alone": _alone(by_itself.get(one.neuron, ())),
        }
        for one in neurons
    }
    return {"texts": [list(text) for text in texts], "neurons": rows}


def _alone(found: Sequence[NeuronAlone]) -> list[float] | None:
    """Of all relations together: how many prompts; mean P as it is, with the neuron off, with the
    random one off; the mean changes of log-odds by both, the random one's lowest and highest; on
    how many prompts the neuron's is the larger in size."""
    probabilities = [row for one in found for row in one.probabilities]
    if not probabilities:
        return None
    p = [short(fmean(column)) for column in zip(*probabilities, strict=True)]
    odds = [row for one in found for row in one.log_odds]
    own, drawn = ([row[place] - row[0] for row in odds] for place in (1, 2))
    nats = [fmean(own), fmean(drawn), min(drawn), max(drawn)]
    larger = sum(abs(a) > abs(b) for a, b in zip(own, drawn, strict=True))
    return [len(probabilities), *p, *(_rounded(x, 3) for x in nats), larger]


def _rounded(value: float, digits: int = 2) -> float:
    """As many as are shown; never minus 0."""
    return round(value, digits) + 0.0
