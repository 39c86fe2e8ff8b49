"""JSON that people give us, read strictly, and how its values are shown in messages.

What another reader could take for something else is an error here: a key that stands twice in one
object, NaN and Infinity, a NUL or half of a surrogate pair in a text.  A message never holds more
than a line of somebody else's file.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SHOWN = 80  # characters of a value in a message
LISTED = 40  # names in a message

_ODD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = SHOWN


def read(path: Path) -> Any:
    """The content of a JSON file; ValueError names the file and says what is wrong with it."""
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """`read` of a file that must hold an object."""
    content = read(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def decode(raw: bytes) -> Any:
    """The value of a JSON text; ValueError "not valid JSON (...)" says why and where it is none."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if _ODD_ESCAPE.search(text):
            _check_texts(value)
        return value
    except RecursionError as error:
        raise ValueError("not valid JSON (nested too deeply)") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, a number too long, ours
        reason = str(error).split(";")[0]  # Python goes on to name its own setting
        raise ValueError(f"not valid JSON ({reason})") from error


def short(value: Any) -> str:
    """A value as Python writes it, on one line, cut at SHOWN characters.

    >>> short("Rome")
    "'Rome'"
    """
    text = repr(value[: SHOWN + 1]) if isinstance(value, str) else _REPR.repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def listed(names: Iterable[str]) -> str:
    """Names one after the other, the first LISTED of them."""
    names = list(names)
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {short(twice)} stands twice in one object")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_texts(value: Any) -> None:
    """ValueError for a text that no file and no tokenizer can hold."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and (found := _NO_TEXT.search(one)):
            around = one[max(0, found.start() - 30) : found.end() + 30]
            raise ValueError(f"a NUL or half a character in the text {short(around)}")
