"""What neurons write, on disk: their words, and the neurons that write alike; a line a neuron."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.types import Index, Layer, Neuron, Number


@dataclass(frozen=True)
class NeuronWords:
    """The words that a value slot raises most, and lowers most, and the neurons that write alike.

    up, down: (word, cosine of the value slot and the word's direction), strongest first.
    alike: (layer, index, cosine of both value slots), of the neurons that facts have.
    """

    neuron: Neuron
    up: list[tuple[str, Number]]
    down: list[tuple[str, Number]]
    alike: list[tuple[Layer, Index, Number]]


def read_neuron_words(results: Results) -> list[NeuronWords] | None:
    """Stage 9's, by layer and index; None where it has not run."""
    path = results.neuron_words
    return list(read_records(path, NeuronWords)) if path.exists() else None


def write_neuron_words(results: Results, found: Iterable[NeuronWords]) -> None:
    """A line a neuron, in their order."""
    lines = (encode_float32(one) + b"\n" for one in found)
    write_atomic(results.neuron_words, b"".join(lines))
