"""Ways to harm a file, for `mutations`: content in, harmed content out, all drawn from a seed.

A mutation that leaves another valid input says so (`valid`); results may then differ.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy


@dataclass(frozen=True)
class Mutation:
    """Harmed content.  name: what was done; valid: why the result may be a right input, or ""."""

    name: str
    content: bytes
    valid: str = ""


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


# --- weights, patches, archives ----------------------------------------------------------------


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
    plain = way == "zero" and (tensor.ndim == 1)
    valid = "a bias or scale of zero is a right weight" if plain else ""
    return Mutation(f"{name}: {way}", safetensors.numpy.save(tensors, told), valid)


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


def harm_archive(content: bytes, rng: random.Random, number: int) -> Mutation:
    """Members that are links, doubled, away, huge or harmed themselves; or bytes."""
    if number % 3 == 2:
        return harm_bytes(content, rng, number)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar if m.isfile()]
    target = rng.randrange(len(members))
    name = members[target][0].name
    way = rng.choice(("dropped", "twice", "a link", "a folder", "harmed", "claims a terabyte"))
    if way == "harmed":
        inner = harm_bytes(members[target][1], rng, number)
        members[target] = (members[target][0], inner.content)
        way = inner.name
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for place, (member, data) in enumerate(members):
            member = copy.copy(member)
            member.size = len(data)
            if place == target:
                if way == "dropped":
                    continue
                if way == "a link":
                    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
                if way == "a folder":
                    member.type, member.size = tarfile.DIRTYPE, 0
                if way == "twice":
                    tar.addfile(member, io.BytesIO(data))
            tar.addfile(member, io.BytesIO(data) if member.isfile() else None)
            if place == target and way == "claims a terabyte":
                member.size = 1 << 40
                buffer.write(member.tobuf())
    return Mutation(f"{name}: {way}", gzip.compress(buffer.getvalue(), 1))


# --- text of the model and data ------------------------------------------------------------------


def harm_vocab(content: bytes, rng: random.Random, number: int) -> Mutation:
    """Lines lost, doubled, emptied; or bytes."""
    if number % 4 == 3:
        return harm_bytes(content, rng, number)
    lines = content.decode().split("\n")[:-1]
    place, other = rng.sample(range(len(lines)), 2)
    ways = {
        "lost": [*lines[:place], *lines[place + 1 :]],
        "empty": [*lines[:place], "", *lines[place + 1 :]],
        "doubled": [*lines[: place + 1], *lines[place:]],
        "overwritten": [*lines[:place], lines[other], *lines[place + 1 :]],
        "one more": [*lines, "one-more-token"],
    }
    way = rng.choice(sorted(ways))
    return Mutation(
        f"line {place + 1} ({lines[place]}) {way}", "\n".join(ways[way]).encode() + b"\n"
    )


def valid_elsewhere(mutate: Mutate, reason: str) -> Mutate:
    """The same, where most of what is changed is another right input."""

    def harm(content: bytes, rng: random.Random, number: int) -> Mutation:
        made = mutate(content, rng, number)
        return Mutation(made.name, made.content, reason)

    return harm


MUTATORS: dict[str, Mutate] = {
    "bytes": harm_bytes,
    "json": harm_json,
    "lines": harm_lines,
    "config": valid_elsewhere(harm_json, "a right config of another model, or an unused key"),
    "bags": valid_elsewhere(harm_json, "other prompts, facts or relations"),
    "pairs": harm_json,
    "sentences": valid_elsewhere(harm_json, "other sentences, or fewer of them"),
    "weights": harm_tensors,
    "patch": harm_patch,
    "archive": harm_archive,
    "vocab": harm_vocab,
}
