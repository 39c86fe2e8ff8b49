"""Stage 5's trigger sentences: rankings, the line of a fact, the authors' text file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from knowledge_neurons.results.json_files import encode_float32, short_float
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.types import Count, Index, Neuron, Number


@dataclass(frozen=True)
class Triggered:
    """One sentence and the sum of the neurons' activations at its [MASK].

    tokens: what was read of it, with [CLS] and [SEP].
    """

    activation: float
    sentence: str
    masked: str
    tokens: Sequence[str]


@dataclass(frozen=True)
class Triggers:
    """The sentences of a fact, highest activation first; none where it has no neurons.

    label: the relation's name.  unusable: reason -> sentences that could not be masked.
    """

    relation: str
    fact: int
    head: str
    label: str
    tail: str
    ranked: list[Triggered]
    unusable: dict[str, int]


class Sentence(TypedDict):
    """A sentence and the sum of the neurons' activations at its [MASK]."""

    activation: Number
    sentence: str
    masked: str


@dataclass(frozen=True)
class TriggerRecord:
    """A line of stage 5's records.

    sentences: how many were ranked.  unusable: reason -> sentences that could not be masked.
    top, bottom: the sentences at both ends of the ranking, the end first.
    """

    relation: str
    fact: Index
    head: str
    label: str
    tail: str
    neurons: list[Neuron]
    sentences: Count
    unusable: dict[str, Count]
    top: list[Sentence]
    bottom: list[Sentence]


def read_triggers(path: Path) -> Iterator[TriggerRecord]:
    """The lines of a file of stage 5's records, one at a time."""
    return read_records(path, TriggerRecord)


def encode_triggers(triggers: Triggers, neurons: Sequence[Neuron], top: int) -> bytes:
    """One line: the fact, its neurons, and the `top` sentences at both ends of the ranking."""
    ends = [
        [Sentence(activation=s.activation, sentence=s.sentence, masked=s.masked) for s in some]
        for some in (triggers.ranked[:top], triggers.ranked[::-1][:top])
    ]
    record = TriggerRecord(
        triggers.relation,
        triggers.fact,
        triggers.head,
        triggers.label,
        triggers.tail,
        list(neurons),
        len(triggers.ranked),
        dict(triggers.unusable),
        *ends,
    )
    return encode_float32(record)


def triggers_text(triggers: Triggers, neurons: Sequence[Neuron]) -> str:
    """The authors' text file of a fact: triplet, neurons, then sentences, highest score first.

    As in theirs a sentence stands as the tokens that were read, the tail masked.  Theirs ends after
    twenty of them (its heading says ten), ours has the whole ranking under the same heading.
    """
    lines = [
        "Triplet:",
        f"({triggers.head}, {triggers.relation}, {triggers.tail})",
        "Kneurons:",
        *(f"{neuron.layer} {neuron.index}" for neuron in neurons),
        "Top-10 Trigger examples:",
        *(f"{short_float(s.activation)}\t{' '.join(s.tokens)}" for s in triggers.ranked),
    ]
    return "\n".join(lines) + "\n"
