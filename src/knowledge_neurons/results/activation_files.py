"""What stages 3 to 5 write: the shapes of their files.  `artifacts` has paths, `storage` writes.

Records are JSON lines, one a fact, in data order: the fields of the record types, by name.  From
them every average can be made again.  Beside them stand the files of the authors' stages, in their
words (rm, eh, own, oth; th, h, rd); `authors_files` reads those back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, FactActivation
from knowledge_neurons.results.encoding import encode, short_float
from knowledge_neurons.results.modify_summary import (
    AMPLIFY,
    ASKED,
    SUPPRESS,
    FactRecord,
    sums_of,
)
from knowledge_neurons.results.storage import read_records
from knowledge_neurons.types import BASELINE, KINDS, Count, Index, Neuron, Number

if TYPE_CHECKING:
    from knowledge_neurons.experiments.trigger_examples import Triggers


# --- stage 3 ---------------------------------------------------------------------------------


def encode_modified(record: FactRecord) -> bytes:
    """One line: {"relation", "fact", "answer", "neurons": {kind: count}, "own", "other"}.

    own, other: {"relation", "fact", "original": [P of each prompt], "edited": {kind: {factor: the
    same}}}, or null.
    """
    return encode(_float32(record))


def read_modified(path: Path, scales: Sequence[float] = (SUPPRESS, AMPLIFY)) -> list[FactRecord]:
    """The records of a relation's facts; scales: factors that each must have been asked with."""
    return list(read_records(path, FactRecord, partial(_check_modified, scales=set(scales))))


def _check_modified(record: FactRecord, scales: set[float]) -> None:
    _check_kinds("neurons", record.neurons, KINDS)
    for asked in ASKED:
        outcome = getattr(record, asked)
        if outcome is None:
            continue
        if not outcome.original:
            raise ValueError(f"{asked} has no prompts")
        _check_kinds(f"{asked}.edited", outcome.edited, KINDS)
        for kind, by_factor in outcome.edited.items():
            if not scales <= by_factor.keys():
                raise ValueError(
                    f"{asked}.edited.{kind} has factors {sorted(by_factor)}, expected "
                    f"{sorted(scales)}"
                )
            _check_lengths(f"{asked}.edited.{kind}", by_factor, len(outcome.original))


def _check_kinds(name: str, found: Mapping[Any, Any], expected: Sequence[Any] | set[Any]) -> None:
    if found.keys() != set(expected):
        raise ValueError(f"{name} has {sorted(found)}, expected {sorted(expected)}")


def _check_lengths(name: str, lists: Mapping[Any, Sequence[Any]], length: int) -> None:
    for key, values in lists.items():
        if len(values) != length:
            raise ValueError(f"{name}.{key} has {len(values)} numbers, expected {length}")


def authors_averages(
    relations: Mapping[str, Sequence[FactRecord]], kind: str
) -> dict[str, dict[str, float]]:
    """The content of modify_activation_rlt.json; a relation that could not be asked is not in it.

    Means over all prompts of a relation's facts; ave_delta_ratio is ave_delta over ori_prob.
    """
    averages: dict[str, dict[str, float]] = {}
    for relation, records in relations.items():
        values = {}
        for asked, theirs in zip(ASKED, ("own", "oth"), strict=True):
            prompts = sum(len(o.original) for r in records if (o := getattr(r, asked)))
            if not prompts:
                continue
            for factor, verb in ((SUPPRESS, "rm"), (AMPLIFY, "eh")):
                before, after = sums_of(records, asked, kind, factor).sum(axis=0) / prompts
                values[f"{theirs}:ori_prob"] = before
                values[f"{verb}_{theirs}:ave_delta"] = after - before
                values[f"{verb}_{theirs}:ave_delta_ratio"] = (after - before) / before
        if values:
            averages[f"{'base_' * (kind == BASELINE)}kn_bag-{relation}"] = values
    return averages


# --- stage 4 ---------------------------------------------------------------------------------


def encode_activation(record: FactActivation) -> bytes:
    """One line: the fields of FactActivation."""
    return encode(_float32(record))


def read_activations(path: Path) -> list[FactActivation]:
    return list(read_records(path, FactActivation, _check_activation))


def _check_activation(record: FactActivation) -> None:
    _check_kinds("sentences", record.sentences, SENTENCE_KINDS)
    _check_kinds("neurons", record.neurons, KINDS)
    if record.means is None:
        if record.has_sentences and any(record.neurons.values()):
            raise ValueError("means is null, but there are sentences of every kind, and neurons")
    else:
        _check_kinds("means", record.means, KINDS)
        for kind, by_sentences in record.means.items():
            _check_kinds(f"means.{kind}", by_sentences, SENTENCE_KINDS)
            _check_lengths(f"means.{kind}", by_sentences, record.neurons[kind])


def authors_activations(
    relations: Mapping[str, Sequence[FactActivation]],
    neurons: Mapping[str, Sequence[Sequence[Neuron]]],
    kind: str,
) -> dict[str, list]:
    """The content of kn_weights@distant_data.json.

    neurons: relation -> of each fact, of this kind; theirs come in (layer, index) order, since
    their model returns them layer by layer.
    """
    return {
        name: [_th_h_rd(fact, own, kind) for fact, own in zip(facts, neurons[name], strict=True)]
        for name, facts in relations.items()
    }


def _th_h_rd(fact: FactActivation, neurons: Sequence[Neuron], kind: str) -> list[list[float]] | str:
    if not fact.has_sentences:
        return "no_exmp"
    if not fact.neurons[kind]:
        return "no_kn"
    order = sorted(range(len(neurons)), key=neurons.__getitem__)
    means = fact.means[kind]
    return [[means[sentences][place] for place in order] for sentences in SENTENCE_KINDS]


# --- stage 5 ---------------------------------------------------------------------------------


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
    return encode(_float32(record))


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


def _float32(value: Any) -> Any:
    """A record as JSON takes it, its numbers as short as the model's float32 are."""
    if is_dataclass(value):
        return {one.name: _float32(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: _float32(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_float32(item) for item in value]
    return np.float32(value) if isinstance(value, float) else value
