"""Damaged JSON, drawn from a seed: a value of another type, a key gone, a file cut or doubled."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

# Written by hand where json.dumps would not: numbers that JSON does not have, or none can hold.
WRONG = ("null", '"text"', "[]", "[1]", "{}", "-1", "1.5", "true")
WRONG += ("NaN", "1e999", "1e308", "9" * 400)


def mutations(content: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the damaged file): of a JSON file, or of one of the lines of a .jsonl."""
    rng = random.Random(seed)
    lines = content.splitlines() if b"\n" in content.rstrip() and _is_lines(content) else [content]
    for _ in range(count):
        place = rng.randrange(len(lines))
        what, line = _damaged(lines[place], rng)
        yield what, b"\n".join([*lines[:place], line, *lines[place + 1 :]]) + b"\n"


def _is_lines(content: bytes) -> bool:
    try:
        json.loads(content.splitlines()[0])
    except ValueError:
        return False
    return True


def _damaged(line: bytes, rng: random.Random) -> tuple[str, bytes]:
    how = rng.choice(("value", "value", "value", "value", "drop", "double", "cut", "byte"))
    if how == "cut":
        at = rng.randrange(len(line))
        return f"cut at {at}", line[:at]
    if how == "byte":
        at = rng.randrange(len(line))
        return f"byte {at}", line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]
    value = json.loads(line)
    whole, *parts = _places(value)
    holder, key, path = rng.choice(parts or [whole])
    if how == "drop" and key is not None:
        del holder[key]
        return f"drop {path}", json.dumps(value).encode()
    if how == "double" and isinstance(holder, list):
        holder.insert(key, holder[key])
        return f"double {path}", json.dumps(value).encode()
    wrong, mark = rng.choice(WRONG), "@@WRONG@@"
    if key is None:
        return f"all is {wrong[:9]}", wrong.encode()
    holder[key] = mark
    return f"{path} is {wrong[:9]}", json.dumps(value).replace(f'"{mark}"', wrong).encode()


def _places(value: Any, path: str = "$") -> Iterator[tuple[Any, Any, str]]:
    """(holder, key, path) of every value; of the whole (None, None, "$")."""
    if path == "$":
        yield None, None, path
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs if isinstance(value, (dict, list)) else ():
        yield value, key, f"{path}.{key}"
        if isinstance(item, (dict, list)):
            yield from _places(item, f"{path}.{key}")
