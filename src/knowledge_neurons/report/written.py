"""What neurons write, packed for the browser: a text for each layer, unpacked when one is shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from knowledge_neurons.report.packing import number
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_words import NeuronWords, read_neuron_words
from knowledge_neurons.types import Neuron

SHOWN_WORDS, SHOWN_ALIKE = 8, 5  # of a neuron, at either end


def written_of(results: Results) -> dict[int, dict[str, Any]]:
    """Layer -> its neurons' words; empty where stage 9 has not run."""
    found = read_neuron_words(results) or []
    return {
        layer: _packed(list(own)) for layer, own in groupby(found, key=lambda one: one.neuron.layer)
    }


def _packed(neurons: Sequence[NeuronWords]) -> dict[str, Any]:
    """words: all that occur.  Of each neuron: up, down: [place in words, cosine in percent, ...];
    alike: [number, cosine in percent, ...]."""
    words: dict[str, int] = {}

    def told(some: Sequence[tuple[str, float]]) -> list[int]:
        pairs = ((words.setdefault(word, len(words)), _percent(by)) for word, by in some)
        return [part for pair in pairs for part in pair]

    rows = {}
    for one in neurons:
        alike = [
            part
            for *other, by in one.alike[:SHOWN_ALIKE]
            for part in (number(Neuron(*other)), _percent(by))
        ]
        ends = [told(some[:SHOWN_WORDS]) for some in (one.up, one.down)]
        rows[one.neuron.index] = [*ends, alike]
    return {"words": list(words), "neurons": rows}


def _percent(cosine: float) -> int:
    return round(100 * cosine)
