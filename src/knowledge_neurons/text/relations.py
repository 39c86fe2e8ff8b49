"""Names of relations: the id "P101", with its label "P101(field of work)", and their order."""

from __future__ import annotations

import re
from pathlib import Path

from knowledge_neurons.text.strict_json import short

_FULL = re.compile(r"(?P<relation>[^()]+)\((?P<label>.*)\)")
_RELATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,63}")


def check_relation(name: str, source: str | Path) -> None:
    """Raise ValueError for the name of a relation that could not be part of a file's name.

    source: where it was read, for the message.
    """
    if not _RELATION.fullmatch(name):
        raise ValueError(
            f"{source}: relation {short(name)}: expected a name such as P101, of 1 to 64 letters, "
            "digits and '_' and not starting with '_', for it becomes part of file names"
        )


def full_name(relation: str, label: str) -> str:
    """ "P101(field of work)", as the data files name a relation."""
    return f"{relation}({label})"


def split_name(name: str) -> tuple[str, str] | None:
    """ "P101(field of work)" -> ("P101", "field of work"); None for a name of another shape."""
    match = _FULL.fullmatch(name)
    return match and (match["relation"], match["label"])


def by_number(name: str) -> tuple[str | int, ...]:
    """What names sort by so that P19 comes before P101, whatever stands around the numbers."""
    parts = re.split(r"([0-9]+)", name)  # text and numbers in turn
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))
