"""What stages 6 and 7 write, read back: a line an edit, a line a fact, each checked.

The record types are those of `edit_summary` and `erase_summary`; `encoding.encode` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta

from knowledge_neurons.results.edit_summary import EditRecord
from knowledge_neurons.results.encoding import convert
from knowledge_neurons.results.erase_summary import EDITS
from knowledge_neurons.results.erase_summary import FactRecord as ErasedRecord
from knowledge_neurons.results.storage import read_records
from knowledge_neurons.types import Index, Neuron, Share

LogP = Annotated[float, Meta(ge=-1e6, le=1e-3)]  # nats; float32 may round a certain answer above 0
Rank = Annotated[int, Meta(ge=1, lt=1 << 40)]
STATES = ("before", *EDITS)


class _Asked(TypedDict):
    """A prompt of an edited fact; each pair is before and after."""

    p_old: Annotated[list[Share], Meta(min_length=2, max_length=2)]
    p_new: Annotated[list[Share], Meta(min_length=2, max_length=2)]
    rank_old: Annotated[list[Rank], Meta(min_length=2, max_length=2)]
    rank_new: Annotated[list[Rank], Meta(min_length=2, max_length=2)]
    predicted: str


class _Watched(TypedDict):
    """The prompts of a fact that should stay as it is: of each before, of each after."""

    log_p: Annotated[
        list[Annotated[list[LogP], Meta(min_length=1)]], Meta(min_length=2, max_length=2)
    ]


class _Edit(TypedDict):
    """What EditRecord leaves open."""

    fact: Index
    asked: Index
    neurons: list[Neuron]
    size: Annotated[float, Meta(ge=0, le=1e30)]
    prompts: list[_Asked]
    same: list[_Watched]
    other: list[_Watched]


class _Erased(TypedDict):
    """What ErasedRecord leaves open."""

    fact: Index
    prompts: Annotated[list[Index], Meta(min_length=1)]
    log_p: dict[str, list[LogP]]
    ranks: dict[str, list[Rank]]


def read_edits(path: Path) -> list[EditRecord]:
    """Stage 6's records; ValueError names file, line and what does not fit."""
    return list(read_records(path, EditRecord, _check_edit))


def _check_edit(record: EditRecord) -> None:
    convert(vars(record), _Edit, "edit")
    if record.asked >= len(record.prompts):
        raise ValueError(f"asked is {record.asked}, there are {len(record.prompts)} prompts")
    for watched in (*record.same, *record.other):
        before, after = map(len, watched["log_p"])
        if before != after:
            raise ValueError(f"log_p has {before} numbers before and {after} after")


def read_erased(path: Path) -> list[ErasedRecord]:
    """Stage 7's records, likewise."""
    return list(read_records(path, ErasedRecord, _check_erased))


def _check_erased(record: ErasedRecord) -> None:
    convert(vars(record), _Erased, "fact")
    for name in ("log_p", "ranks"):
        _check_states(name, getattr(record, name), len(record.prompts))


def _check_states(name: str, by_state: Mapping[str, Sequence[float]], prompts: int) -> None:
    found = {state: len(values) for state, values in by_state.items()}
    if found != dict.fromkeys(STATES, prompts):
        raise ValueError(f"{name} has {found} numbers, expected {prompts} of each of {STATES}")
