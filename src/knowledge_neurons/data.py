"""PARAREL files -> facts and prompts.

`data_all_allbags.json` is {REL: [fact: [[prompt with [MASK], answer, "REL(label)"], ...]]}; the
authors' `data_all.json` is the same facts as one flat list, and is read too.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from knowledge_neurons.types import Fact

MASK = "[MASK]"
_LABEL = re.compile(r"(?P<relation>[^()]+)\((?P<label>.*)\)")


def read_bags(path: str | Path) -> dict[str, list]:
    """The prompts file as {relation: [bag of each fact]}, whichever of the two shapes it has.

    Raises ValueError naming the file when it is missing, is no JSON or has another shape.
    """
    path = Path(path)
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: no such file.  scripts/get_data.py builds the full PARAREL; the embedded "
            "sample is data/PARAREL/sample_allbags.json"
        ) from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if isinstance(content, list):
        content = _split_by_relation(path, content)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise ValueError(f"{path}: expected {{relation: [bag of each fact]}}")
    return content


def facts_of(
    bags: dict[str, list], relation: str, source: str | Path, max_facts: int | None = None
) -> list[Fact]:
    """The facts of one relation in data order, the first max_facts of them if given.

    source: where the bags were read from, for messages.
    Raises ValueError for an unknown relation (lists the known ones) or a malformed fact.
    """
    if relation not in bags:
        known = ", ".join(sorted(bags, key=_numeric))
        raise ValueError(f"relation {relation!r} is not in {source}.  It has: {known}")
    if not bags[relation]:
        raise ValueError(f"{source}: {relation} has no facts")
    chosen = bags[relation][:max_facts]
    return [_fact(bag, relation, index, source) for index, bag in enumerate(chosen)]


def _fact(bag: list, relation: str, index: int, source: str | Path) -> Fact:
    where = f"{source}: {relation} fact {index}"
    if not isinstance(bag, list) or not bag:
        raise ValueError(f"{where}: expected a list of prompts, got {str(bag)[:80]}")
    for row in bag:
        if not (isinstance(row, list) and len(row) == 3 and all(isinstance(x, str) for x in row)):
            raise ValueError(f"{where}: expected [prompt, answer, relation], got {str(row)[:80]}")
        if row[0].count(MASK) != 1:
            raise ValueError(f"{where}: expected one {MASK} in {row[0]!r}")
        if row[1:] != bag[0][1:]:
            raise ValueError(f"{where}: its prompts differ in answer or relation: {row[1:]}")
    _, answer, name = bag[0]
    match = _LABEL.fullmatch(name)
    if match is None or match["relation"] != relation:
        raise ValueError(f"{where}: expected a relation like '{relation}(label)', got {name!r}")
    return Fact(relation, match["label"], index, answer, tuple(row[0] for row in bag))


def _split_by_relation(path: Path, bags: list) -> dict[str, list]:
    split: dict[str, list] = {}
    for index, bag in enumerate(bags):
        try:
            relation = bag[0][2].split("(")[0]
        except (IndexError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}: fact {index} is no list of [prompt, answer, rel]") from error
        split.setdefault(relation, []).append(bag)
    return split


def _numeric(relation: str) -> tuple[int, str]:
    """Sorts P9 before P10."""
    digits = relation[1:]
    return (int(digits) if digits.isdigit() else 0, relation)
