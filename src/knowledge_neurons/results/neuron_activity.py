"""When neurons fire, on disk: a line for each neuron that a fact has, of texts of all relations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from knowledge_neurons.results.activations import BOTH, HEAD
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.types import Index, Layer, Neuron, Number

# Kinds of texts: prompts of the neuron's facts, of other facts of their relations, of other
# relations; sentences with head and tail of a fact, the tail masked, and with its head, another
# word masked.
OWN, RELATION, ELSEWHERE = "own", "relation", "elsewhere"
TEXT_KINDS = (OWN, RELATION, ELSEWHERE, BOTH, HEAD)


class Fired(NamedTuple):
    """A text of a fact, with its [MASK], and a neuron's activation at the position read."""

    relation: str
    fact: Index
    text: str
    activation: Number


@dataclass(frozen=True)
class Ends:
    """The texts of the highest activations, highest first, and of the lowest, lowest first."""

    most: list[Fired]
    least: list[Fired]


@dataclass(frozen=True)
class NeuronActivity:
    """A neuron's activation on texts.

    low, high: of all.  means: by kind of text, of kinds that there are.  counts: of each how many
    texts lie in each of as many equal parts from low to high.
    prompts, sentences: both ends of their ranking.  alike: (layer, index, correlation of both
    activations over the texts drawn), of the neurons that facts have.
    """

    neuron: Neuron
    low: Number
    high: Number
    means: dict[str, Number]
    counts: dict[str, list[Index]]
    prompts: Ends
    sentences: Ends
    alike: list[tuple[Layer, Index, Number]]


def read_activity(results: Results) -> list[NeuronActivity]:
    """Stage 9's, by layer and index; none where it has not run."""
    path = results.neuron_activity
    return list(read_records(path, NeuronActivity, _check)) if path.exists() else []


def _check(record: NeuronActivity) -> None:
    if record.means.keys() != record.counts.keys() or not record.means.keys() <= set(TEXT_KINDS):
        kinds = sorted(record.means), sorted(record.counts)
        raise ValueError(f"means of {kinds[0]}, counts of {kinds[1]}: expected the same texts")


def write_activity(results: Results, found: Iterable[NeuronActivity]) -> None:
    """A line a neuron, in their order."""
    lines = (encode_float32(one) + b"\n" for one in found)
    write_atomic(results.neuron_activity, b"".join(lines))
