"""Stage 11's files of records: a line a fact, and what each record cost in a file beside.

A record's seconds are of a processor, and no two runs take the same: without them the same command
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from knowledge_neurons.results.companions import seconds_path
from knowledge_neurons.results.json_files import convert, encode, encode_float32, naming
from knowledge_neurons.results.manifests import read_records, start_over
from knowledge_neurons.types import Count, Fact, Index, Number

OF_LINE, OF_COST = ("relation", "fact"), "seconds"  # fields of a record that it is written without
WITHOUT = "without neurons or prompts"  # why facts are left out
UNKNOWN = "not known"  # P(answer) is too low
ALONE = "too few prompts, or the other wordings share no neuron"

R = TypeVar("R")  # of a fact: with relation, fact and seconds


@dataclass(frozen=True)
class Line:
    """A fact and its records, without OF_LINE and OF_COST; none where it said nothing."""

    relation: str
    fact: Index
    answer: str
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class Seconds:
    """The line beside: processor seconds of each record."""

    fact: Index
    seconds: list[Number]


@dataclass(frozen=True)
class Chosen:
    """How facts were chosen.

    known: P(answer) that each reached in every wording asked.  facts: of a relation, at most.
    left_out: why -> how many of those that were looked at.
    """

    known: Number
    facts: Count
    left_out: dict[str, Count]

    def __str__(self) -> str:
        """What was left out, for people."""
        return ", ".join(f"{count:,} {why}" for why, count in self.left_out.items()) or "none"


def encode_line(fact: Fact, records: Sequence[Any]) -> bytes:
    """A fact's line."""
    kept = [
        {name: value for name, value in vars(one).items() if name not in (*OF_LINE, OF_COST)}
        for one in records
    ]
    return encode_float32(Line(fact.relation, fact.index, fact.answer, kept))


def encode_seconds(fact: Fact, records: Sequence[Any]) -> bytes:
    """The line beside it."""
    return encode(Seconds(fact.index, [round(one.seconds, 9) for one in records]))


def read_ways(
    path: Path, kind: type[R], check: Callable[[Sequence[R]], None]
) -> list[tuple[int, list[R]]]:
    """The index and the records of each fact.

    check: raises ValueError for a fact's records, some, that do not fit each other.
    Raises ValueError naming file, line and what does not fit.
    """
    beside, advice = seconds_path(path), start_over(path)
    if not beside.exists():
        raise ValueError(f"{beside}: no such file, it grows with {path.name}.  {advice}")
    lines = list(read_records(path, Line))
    costs = list(read_records(beside, Seconds))
    told = [(one.fact, len(one.records)) for one in lines]
    with naming(beside, advice):
        if told != [(one.fact, len(one.seconds)) for one in costs]:
            raise ValueError(f"its facts and records are not those of {path.name}")
    found = []
    for number, (line, cost) in enumerate(zip(lines, costs, strict=True), start=1):
        of_line = {name: getattr(line, name) for name in OF_LINE}
        where = f"{path}, line {number}"
        own = [
            convert({**record, **of_line, OF_COST: seconds}, kind, where, advice)
            for record, seconds in zip(line.records, cost.seconds, strict=True)
        ]
        if own:
            with naming(where, advice):
                check(own)
        found.append((line.fact, own))
    return found
