"""What each neuron does alone, on disk: a file a relation, a line for each neuron of its facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.neurons.owners import PromptOf
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.types import Index, Neuron, Number


@dataclass(frozen=True)
class NeuronAlone:
    """What one neuron times 0 does to the right answer of prompts whose facts have it.

    asked: which prompts, of one relation.  random: on each another neuron of the layer, times 0 in
    its place.  probabilities, log_odds (nats): of each prompt as it is, with the neuron off, with
    the other off.
    """

    neuron: Neuron
    asked: list[PromptOf]
    random: list[Index]
    probabilities: list[tuple[Number, Number, Number]]
    log_odds: list[tuple[Number, Number, Number]]


def read_alone(path: Path) -> Iterator[NeuronAlone]:
    """Stage 9's records of a relation, by layer and index."""
    return read_records(path, NeuronAlone, _check)


def _check(record: NeuronAlone) -> None:
    parts = record.random, record.probabilities, record.log_odds
    if any(len(one) != len(record.asked) for one in parts):
        raise ValueError(f"{len(record.asked)} prompts, but not as many numbers of each kind")
