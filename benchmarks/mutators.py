"""Ways to harm what stages write, for `mutations`: content in, harmed content out, from a seed.

How what stages are given is harmed, `tests/reference/mutations.py` says.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import safetensors.numpy

from tests.reference import mutations as inputs
from tests.reference.mutations import Mutation

Mutate = Callable[[bytes, random.Random, int], Mutation]


# --- bytes -----------------------------------------------------------------------------------


def harm_bytes(content: bytes, rng: random.Random, number: int) -> Mutation:
    """Damage as disks, transfers and editors do it."""
    place = rng.randrange(max(len(content), 1))
    ways = {
        "empty": b"",
        "cut": content[:place],
        "zeros from there": content[:place] + bytes(len(content) - place),
        "a byte that is no UTF-8": content[:place] + b"\xff" + content[place + 1 :],
        "text put in": content[:place] + b"<<<<<<< HEAD\n" + content[place:],
        "twice": content + content,
        "first half away": content[len(content) // 2 :],
        "byte order mark": b"\xef\xbb\xbf" + content,
        "as UTF-16": content.decode("utf-8", "replace").encode("utf-16"),
        "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\nsize 9\n",
    }
    name = rng.choice(list(ways))
    return Mutation(f"{name} (byte {place})", ways[name])


# --- JSON ------------------------------------------------------------------------------------

ODD = (
    *(None, True, "", "text", "\x1b[2J\n", "../../x", -1, 0, 1.5, -0.0, 1e300, 10**30, 2**63),
    *([], {}, [[]], {"a": 1}, [None], "[MASK]", "x" * 100_000),
)
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "1e-999", "00", "'a'", "[" * 3000, '"\\ud800"')


def places_of(value: Any, path: tuple = ()) -> list[tuple]:
    """Where a value lies inside another: every path."""
    if not isinstance(value, dict | list):
        return [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(p for key, one in inside for p in places_of(one, (*path, key)))]


def put(value: Any, path: tuple, new: Any) -> Any:
    """The value with another one at a path."""
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def harm_json(content: bytes, rng: random.Random, number: int) -> Mutation:
    """A value of another kind, a key or an entry that is not there or there twice, or bytes."""
    if number % 4 == 3:
        return harm_bytes(content, rng, number)
    value = json.loads(content)
    path = rng.choice(places_of(value))
    where = "$" + "".join(f"[{key!r}]" for key in path)
    way = rng.choice(("replace", "replace", "raw", "drop", "twice", "swap"))
    if way == "raw":
        token = rng.choice(RAW)
        text = json.dumps(put(value, path, "@raw@")).replace('"@raw@"', token)
        return Mutation(f"{where} is {token[:20]}", text.encode())
    inner = at(value, path)
    if way == "drop" and path:
        holder = copy.copy(at(value, path[:-1]))
        del holder[path[-1]]
        return Mutation(f"{where} dropped", json.dumps(put(value, path[:-1], holder)).encode())
    if way == "twice" and path and isinstance(at(value, path[:-1]), list):
        holder = at(value, path[:-1])
        new = put(value, path[:-1], [*holder, inner])
        return Mutation(f"{where} twice", json.dumps(new).encode())
    if way == "twice" and isinstance(inner, dict) and inner:
        key = json.dumps(next(iter(inner)))
        text = json.dumps(put(value, path, "@raw@"))
        object_ = json.dumps(inner)
        doubled = f"{{{key}: null, {object_[1:]}"
        return Mutation(f"{where} has {key} twice", text.replace('"@raw@"', doubled).encode())
    if way == "swap" and isinstance(inner, list) and len(inner) > 1:
        return Mutation(f"{where} reversed", json.dumps(put(value, path, inner[::-1])).encode())
    new = rng.choice(ODD)
    return Mutation(f"{where} is {str(new)[:30]!r}", json.dumps(put(value, path, new)).encode())


def harm_lines(content: bytes, rng: random.Random, number: int) -> Mutation:
    """A line of JSON harmed, lost, doubled, in another place, or bytes."""
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    way = number % 6
    if way == 0:
        return harm_bytes(content, rng, number)
    if way == 1:
        kept = [*lines[:place], *lines[place + 1 :]]
        return Mutation(f"line {place + 1} lost", b"".join(kept))
    if way == 2:
        both = [*lines[: place + 1], *lines[place:]]
        return Mutation(f"line {place + 1} twice", b"".join(both))
    if way == 3:
        return Mutation("lines reversed", b"".join(lines[::-1]))
    inner = harm_json(lines[place].rstrip(b"\n"), rng, 0)
    lines[place] = inner.content + b"\n"
    return Mutation(f"line {place + 1}: {inner.name}", b"".join(lines))


# --- patches ---------------------------------------------------------------------------------


def harm_tensors(content: bytes, rng: random.Random, number: int) -> Mutation:
    """A tensor of another type, shape or name, not finite, zero; or bytes."""
    if number % 4 == 3:
        return harm_bytes(content, rng, number)
    tensors = safetensors.numpy.load(content)
    size = int.from_bytes(content[:8], "little")
    told = json.loads(content[8 : 8 + size]).get("__metadata__")
    name = rng.choice(sorted(tensors))
    tensor = tensors[name].copy()
    flat = tensor.reshape(-1)
    entry = rng.randrange(len(flat))
    ways: dict[str, Callable[[], Any]] = {
        "int32": lambda: tensor.astype(np.int32),
        "bool": lambda: tensor.astype(bool),
        "complex64": lambda: tensor.astype(np.complex64),
        "zero": lambda: np.zeros_like(tensor),
        "nan": lambda: _with(tensor, entry, np.nan),
        "inf": lambda: _with(tensor, entry, np.inf),
        "another shape": lambda: np.concatenate([tensor, tensor[:1]]),
        "a dimension more": lambda: tensor[None],
        "no entries": lambda: tensor[:0],
    }
    if rng.random() < 0.2:
        tensors[f"{name}.copy"] = tensors.pop(name)
        return Mutation(f"{name} renamed", safetensors.numpy.save(tensors, told))
    if rng.random() < 0.2:
        del tensors[name]
        return Mutation(f"{name} dropped", safetensors.numpy.save(tensors, told))
    way = rng.choice(sorted(ways))
    tensors[name] = ways[way]()
    return Mutation(f"{name}: {way}", safetensors.numpy.save(tensors, told))


def _with(tensor: np.ndarray, entry: int, value: float) -> np.ndarray:
    tensor.reshape(-1)[entry] = value
    return tensor


def harm_patch(content: bytes, rng: random.Random, number: int) -> Mutation:
    """A field of its header, or the slots as `harm_tensors` does."""
    if number % 2:
        return harm_tensors(content, rng, rng.randrange(4))
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    inner = harm_json(head["__metadata__"]["patch"].encode(), rng, 0)
    head["__metadata__"]["patch"] = inner.content.decode("utf-8", "replace")
    text = json.dumps(head).encode()
    return Mutation(inner.name, len(text).to_bytes(8, "little") + text + content[8 + size :])


MUTATORS: dict[str, Mutate] = {"json": harm_json, "lines": harm_lines, "patch": harm_patch}


def mutations(kind: str, content: bytes, seed: int) -> Iterator[Mutation]:
    """Without end: of the kinds above, and, round after round, of those of tests/reference."""
    rng = random.Random(f"{seed} {kind}")
    for number in count():
        if kind in MUTATORS:
            yield MUTATORS[kind](content, rng, number)
        else:
            yield from inputs.mutations(kind, content, seed + number)
