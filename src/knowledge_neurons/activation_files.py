"""What stages 3 to 5 write: the shapes of their files.  `artifacts` has paths, `storage` writes.

Records are JSON lines, one a fact, in data order: the fields of the record types, by name.  From
them every average can be made again.  Beside them stand the files of the authors' stages, in their
words (rm, eh, own, oth; th, h, rd).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from knowledge_neurons.experiments.distant_summary import SENTENCE_KINDS, FactActivation
from knowledge_neurons.experiments.modify_summary import (
    AMPLIFY,
    ASKED,
    SUPPRESS,
    FactRecord,
    Outcome,
    sums_of,
)
from knowledge_neurons.storage import check_whole, read_json_lines, read_records
from knowledge_neurons.types import Neuron

if TYPE_CHECKING:
    from knowledge_neurons.experiments.trigger_examples import Triggers

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


# --- stage 3 ---------------------------------------------------------------------------------


def encode_modified(record: FactRecord) -> bytes:
    """One line: {"relation", "fact", "answer", "neurons": {kind: count}, "own", "other"}.

    own, other: {"relation", "fact", "original": [P of each prompt], "edited": {kind: {factor: the
    same}}}, or null.
    """
    return orjson.dumps(_float32(record), option=OPTIONS)


def read_modified(path: Path) -> list[FactRecord]:
    return [
        FactRecord(**line | {asked: _outcome(line[asked]) for asked in ASKED})
        for line in read_json_lines(path)
    ]


def _outcome(value: dict[str, Any] | None) -> Outcome | None:
    if value is None:
        return None
    edited = {
        kind: {float(factor): p for factor, p in by_factor.items()}
        for kind, by_factor in value["edited"].items()
    }
    return Outcome(**value | {"edited": edited})


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
            averages[f"kn_bag-{relation}"] = values
    return averages


# --- stage 4 ---------------------------------------------------------------------------------


def encode_activation(record: FactActivation) -> bytes:
    """One line: the fields of FactActivation."""
    return orjson.dumps(_float32(record), option=OPTIONS)


def read_activations(path: Path) -> list[FactActivation]:
    return [FactActivation(**line) for line in read_json_lines(path)]


def authors_activations(
    relations: Mapping[str, Sequence[FactActivation]], kind: str
) -> dict[str, list]:
    """The content of kn_weights@distant_data.json."""
    return {name: [_th_h_rd(fact, kind) for fact in facts] for name, facts in relations.items()}


def _th_h_rd(fact: FactActivation, kind: str) -> list[list[float]] | str:
    if not fact.has_sentences:
        return "no_exmp"
    if not fact.neurons[kind]:
        return "no_kn"
    return [fact.means[kind][sentences] for sentences in SENTENCE_KINDS]


# --- stage 5 ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TriggerRecord:
    """A line of stage 5's records.

    sentences: how many were ranked.  unusable: reason -> sentences that could not be masked.
    top, bottom: the sentences at both ends of the ranking, the end first, each with `activation`
    (summed over the neurons), `sentence` and `masked`.
    """

    relation: str
    fact: int
    head: str
    label: str
    tail: str
    neurons: list[list[int]]
    sentences: int
    unusable: dict[str, int]
    top: list[dict[str, Any]]
    bottom: list[dict[str, Any]]


def read_triggers(path: Path) -> Iterator[TriggerRecord]:
    """The lines of a file of stage 5's records, one at a time."""
    check_whole(path)
    return read_records(path, TriggerRecord)


def encode_triggers(triggers: Triggers, neurons: Sequence[Neuron], top: int) -> bytes:
    """One line: the fact, its neurons, and the `top` sentences at both ends of the ranking."""
    ends = {"top": triggers.ranked[:top], "bottom": triggers.ranked[::-1][:top]}
    return orjson.dumps(
        {
            "relation": triggers.relation,
            "fact": triggers.fact,
            "head": triggers.head,
            "label": triggers.label,
            "tail": triggers.tail,
            "neurons": [list(neuron) for neuron in neurons],
            "sentences": len(triggers.ranked),
            "unusable": triggers.unusable,
            **{name: [_float32(sentence) for sentence in some] for name, some in ends.items()},
        },
        option=OPTIONS,
    )


def triggers_text(triggers: Triggers, neurons: Sequence[Neuron]) -> str:
    """The authors' text file of a fact: triplet, neurons, all sentences from the highest score."""
    lines = [
        f"Triplet: {triggers.head}, {triggers.label}, {triggers.tail}",
        f"Kneurons: {[list(neuron) for neuron in neurons]}",
        "",
        *(f"{s.activation:.4f}\t{' '.join(s.sentence.split())}" for s in triggers.ranked),
    ]
    return "\n".join(lines) + "\n"


def _float32(value: Any) -> Any:
    """A record as JSON takes it, its numbers as short as the model's float32 are."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _float32(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {key: _float32(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_float32(item) for item in value]
    return np.float32(value) if isinstance(value, float) else value
