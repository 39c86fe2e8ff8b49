"""JSON: values -> bytes and files, bytes -> values of a type, errors that say where and what to do.

What is read is of a type, down to the last number: `decode` takes a dataclass, a NamedTuple, a
TypedDict or a container of them, and names the field that is of another one.  NaN and infinity are
no JSON: they are neither written nor read.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from knowledge_neurons.results.atomic import write_atomic


def encode(value: Any) -> bytes:
    """A value as one line of JSON, without its end; dataclasses as objects, by their fields.

    Raises ValueError for a number that is not finite.
    """
    content = _ENCODER.encode(value)
    if b"null" in content:  # how NaN and infinity come out, and None
        check_numbers(value, sys.float_info.max)
    return content


def encode_float32(record: Any) -> bytes:
    """A record as one line, its numbers as short as the model's float32 are."""
    return encode(_float32(record))


def _float32(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _float32(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: _float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_float32(item) for item in value]
    return np.float32(value) if isinstance(value, float) else value


def write_json(path: Path, value: Any, readable: bool = False) -> None:
    """JSON, atomically; readable: indented, for people."""
    with naming(path):
        content = encode(value)
    if readable:
        content = msgspec.json.format(content, indent=2)
    write_atomic(path, content + b"\n")


def short_float(value: float | np.floating) -> float:
    """A float32 as the double with the fewest digits: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def _of_numpy(value: Any) -> Any:
    """What the encoder asks for; TypeError for what is no JSON."""
    if isinstance(value, np.float32):
        return short_float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_of_numpy)


def check_numbers(value: Any, most: float = 1e30, where: str = "$") -> None:
    """Raise ValueError naming the first number in a value that is not finite, or beyond +-most."""
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, (int, float)):
        if value != value or abs(value) > most:
            raise ValueError(f"the number at {where} is not finite, or larger than any can be")
    elif is_dataclass(value):
        for one in fields(value):
            check_numbers(getattr(value, one.name), most, f"{where}.{one.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_numbers(item, most, f"{where}.{key}")
    elif isinstance(value, (list, tuple, np.ndarray)):
        for place, item in enumerate(value):
            check_numbers(item, most, f"{where}[{place}]")


# --- reading ---------------------------------------------------------------------------------


def decode(content: bytes | str, kind: Any, where: str | Path, advice: str = "") -> Any:
    """The JSON content as a value of this type.

    where: the file, and the line where it has several.  advice: what to do, a sentence.
    Raises ValueError: "WHERE: Expected `int`, got `str` - at `$.neurons[0]`.  ADVICE".

        decode(b"[[3, 17]]", list[Neuron], path, "Run stage 2 again")
    """
    with naming(where, advice):
        return _decoder(kind).decode(content)


def convert(value: Any, kind: Any, where: str | Path, advice: str = "") -> Any:
    """The same of content that is decoded already."""
    with naming(where, advice):
        return msgspec.convert(value, kind)


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder:
    return msgspec.json.Decoder(kind)


@contextmanager
def naming(where: str | Path, advice: str = "") -> Iterator[None]:
    """Say of what is wrong with some content where it stands and what to do."""
    try:
        yield
    except RecursionError as error:
        raise _error(where, "nested too deeply", advice) from error
    except msgspec.ValidationError as error:
        raise _error(where, str(error), advice) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _error(where, f"not valid JSON ({error})", advice) from error
    except ValueError as error:
        raise _error(where, str(error), advice) from error


def _error(where: str | Path, what: str, advice: str) -> ValueError:
    return ValueError(f"{where}: {what}" + (f".  {advice}" if advice else ""))


# --- whether the parts of a record fit each other ----------------------------------------------


def check_keys(name: str, found: Mapping[Any, Any], expected: Sequence[Any]) -> None:
    """Raise ValueError unless there is an entry for each of these, and no other."""
    if found.keys() != set(expected):
        raise ValueError(f"{name} has {sorted(found)}, expected {sorted(expected)}")


def check_lengths(name: str, lists: Mapping[Any, Sequence[Any]], length: int) -> None:
    """Raise ValueError unless each list has so many numbers."""
    for key, values in lists.items():
        if len(values) != length:
            raise ValueError(f"{name}.{key} has {len(values)} numbers, expected {length}")
