"""Damaged input files: seeded changes of a whole file, each refused or harmless for a reason.

    for one in mutations("config", path.read_bytes(), seed=0):
        path.write_bytes(one.content)  # now load it

Changes that leave another valid file (another word in a prompt) are none of these: nobody can tell
that they are damage, and the identity of results is what notices them.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save

HUGE = 10**12


class Mutation(NamedTuple):
    """name: what was done.  harmless: why it may load to the same as before; "" where it must not
    load."""

    name: str
    content: bytes
    harmless: str = ""


def mutations(kind: str, whole: bytes, seed: int) -> Iterator[Mutation]:
    """The changes of one kind of file, whose whole content is given; the same for the same seed."""
    yield from KINDS[kind](whole, random.Random(f"{seed} {kind}"))


# --- any file, any JSON ----------------------------------------------------------------------


def _cut(whole: bytes, rng: random.Random, times: int = 2) -> Iterator[Mutation]:
    yield Mutation("empty", b"")
    for _ in range(times):
        size = rng.randrange(1, len(whole) - 1)
        yield Mutation(f"cut after {size} bytes", whole[:size])


def _json_text(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    """What makes any JSON file none."""
    yield from _cut(whole.rstrip(), rng)
    place = rng.randrange(1, len(whole) - 1)
    yield Mutation("a byte that is no UTF-8", whole[:place] + b"\xff" + whole[place:])
    yield Mutation("a byte order mark", b"\xef\xbb\xbf" + whole)
    yield Mutation("text after the end", whole + b"}")
    yield Mutation("nested a million times", b"[" * 10**6)
    yield Mutation("a number of 10,000 digits", b"7" * 10**4)
    yield Mutation("another JSON", rng.choice([b"null", b"7", b'"text"', b"true"]))
    value = json.loads(whole)
    yield Mutation("indented", json.dumps(value, indent=3).encode(), "white space between values")
    yield Mutation("UTF-16", json.dumps(value).encode("utf-16"))
    if isinstance(value, dict):
        key = rng.choice(list(value))
        twice = f"{json.dumps(key)}: {json.dumps(value[key])}, ".encode()
        yield Mutation(f"the key {key} twice", whole.replace(b"{", b"{" + twice, 1))
        for name, text in (
            ("NaN", b"NaN"),
            ("half a character", b'"\\udc00"'),
            ("NUL", b'"\\u0000"'),
        ):
            extra = b'{"never read": ' + text + b", "
            yield Mutation(f"{name} in a key more", whole.replace(b"{", extra, 1))


def _with(value: Any, change: Callable[[Any], None]) -> bytes:
    """The JSON of a copy of a value, changed in place."""
    copy = json.loads(json.dumps(value))
    change(copy)
    return json.dumps(copy).encode()


# --- checkpoints -----------------------------------------------------------------------------


def _config(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    config = json.loads(whole)
    sizes = [key for key, value in config.items() if isinstance(value, int)]
    wrong = [0, -1, HUGE, True, 2.0, "3", None, [4], {"5": 6}, 1e300, config["vocab_size"] + 1]
    for value in wrong:
        key = rng.choice(sizes)
        yield Mutation(f"{key} = {value!r}", json.dumps(config | {key: value}).encode())
    for eps in (0, 0.0, -1e-12, 0.02, 1e300, "1e-12", None, True):
        changed = json.dumps(config | {"layer_norm_eps": eps})
        yield Mutation(f"layer_norm_eps = {eps!r}", changed.encode())
    for key, value in (
        *(("hidden_act", "tanh"), ("hidden_act", ["gelu"]), ("model_type", "roberta")),
        *(("is_decoder", True), ("tie_word_embeddings", False)),
        ("position_embedding_type", "relative_key"),
    ):
        yield Mutation(f"{key} = {value!r}", json.dumps(config | {key: value}).encode())
    key = rng.choice(["vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"])
    yield Mutation(
        f"without {key}", json.dumps({k: config[k] for k in config if k != key}).encode()
    )
    shuffled = dict(rng.sample(list(config.items()), len(config)))
    yield Mutation("another order", json.dumps(shuffled).encode(), "keys have no order")
    more = json.dumps(config | {"dropout": 0.1})
    yield Mutation("a key more", more.encode(), "no key that is read")
    yield from _json_text(whole, rng)


def _tokenizer_config(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    config = json.loads(whole)
    for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        for value in rng.sample(["yes", 1, 0.0, [], {}, "false"], 2):
            yield Mutation(f"{key} = {value!r}", json.dumps(config | {key: value}).encode())
    other = {"strip_accents": True, "tokenize_chinese_chars": False}
    for key, value in other.items():
        yield Mutation(f"{key} = {value}", json.dumps(config | {key: value}).encode())
    more = json.dumps(config | {"model_max_length": HUGE**2})
    yield Mutation("another length", more.encode(), "the model's positions count, not this")
    yield from _json_text(whole, rng)


def _tokenizer(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    """tokenizer.json, read where there is no vocab.txt."""
    value = json.loads(whole)
    tokens = [token for token in value["model"]["vocab"] if not token.startswith("[")]
    token, other = rng.sample(tokens, 2)

    def in_vocabulary(change: Callable[[dict], None]) -> bytes:
        return _with(value, lambda v: change(v["model"]["vocab"]))

    yield Mutation(f"{token} is lost", in_vocabulary(lambda v: v.pop(token)))
    for wrong in ("7", True, 1.5, -1, HUGE, None, value["model"]["vocab"][other]):
        changed = in_vocabulary(lambda v, wrong=wrong: v.update({token: wrong}))
        yield Mutation(f"the id of {token} is {wrong!r}", changed)
    for part in ("model", "normalizer"):
        for wrong in (None, [], {"type": "BPE"}):
            yield Mutation(f"{part} = {wrong}", json.dumps(value | {part: wrong}).encode())
    added = [{"content": "[MASK]", "id": 0}]
    yield Mutation("[MASK] has another id", json.dumps(value | {"added_tokens": added}).encode())
    yield Mutation(
        "truncates",
        json.dumps(value | {"truncation": {"max_length": 4}}).encode(),
        "not how texts are cut",
    )
    yield from _json_text(whole, rng)


def _vocabulary(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    lines = whole.decode().rstrip("\n").split("\n")
    words = range(5, len(lines))

    def changed(at: int, *instead: str) -> bytes:
        return "\n".join([*lines[:at], *instead, *lines[at + 1 :], ""]).encode()

    yield Mutation("empty", b"")
    for at in (rng.choice(words), len(lines) - 1):
        yield Mutation(f"line {at + 1} is lost", changed(at))
    special = rng.randrange(5)
    yield Mutation(f"{lines[special]} is lost", changed(special))
    cut = rng.choice(words)
    yield Mutation(f"cut after {cut} lines", ("\n".join(lines[:cut]) + "\n").encode())
    at, other = rng.sample(words, 2)
    yield Mutation(f"line {at + 1} is empty", changed(at, ""))
    yield Mutation(f"line {at + 1} is blank", changed(at, "  "))
    yield Mutation(f"line {at + 1} is of zeros", changed(at, "\0" * 7))
    yield Mutation(f"line {at + 1} is that of {other + 1}", changed(at, lines[other]))
    yield Mutation(f"line {at + 1} twice", changed(at, lines[at], lines[at]))
    yield Mutation(f"a line more after {at + 1}", changed(at, lines[at], "never seen before"))
    place = rng.randrange(len(whole) // 2)
    yield Mutation("a byte that is no UTF-8", whole[:place] + b"\xff" + whole[place:])
    yield Mutation("a byte order mark", b"\xef\xbb\xbf" + whole)
    yield Mutation("UTF-16", whole.decode().encode("utf-16"))
    yield Mutation("Windows line ends", whole.replace(b"\n", b"\r\n"), "ends of lines")
    yield Mutation("blank lines at the end", whole + b"\n\n", "no token")
    yield Mutation("no end of the last line", whole.rstrip(b"\n"), "ends of lines")


def _weights(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    """model.safetensors."""
    state = load(whole)
    used = [name for name in state if "pooler" not in name]
    matrices = [name for name in used if state[name].ndim == 2]

    def put(name: str, tensor: torch.Tensor) -> bytes:
        return save(state | {name: tensor.contiguous()})

    def at_random(name: str, value: float) -> torch.Tensor:
        tensor = state[name].clone()
        tensor.view(-1)[rng.randrange(tensor.numel())] = value
        return tensor

    name = rng.choice(used)
    yield Mutation(f"without {name}", save({k: v for k, v in state.items() if k != name}))
    yield Mutation(f"{name} by another name", save(
        {(f"{k}.old" if k == name else k): v for k, v in state.items()}
    ))  # fmt: skip
    yield Mutation("a tensor more", save(state | {"bert.extra.weight": torch.ones(3)}))
    for dtype in (torch.int32, torch.uint8, torch.bool, torch.complex64, torch.float8_e5m2):
        name = rng.choice(used)
        yield Mutation(f"{name} as {dtype}", put(name, state[name].to(dtype)))
    for value in (float("nan"), float("inf"), -float("inf")):
        name = rng.choice(used)
        yield Mutation(f"{value} in {name}", put(name, at_random(name, value)))
    name = rng.choice(used)
    yield Mutation(f"1e300 in {name}", put(name, state[name].double() + 1e300))
    name = rng.choice([name for name in used if name.endswith("weight")])
    yield Mutation(f"{name} is zero", put(name, state[name] * 0))
    name = rng.choice(matrices)
    yield Mutation(f"{name} flat", put(name, state[name].flatten()))
    yield Mutation(f"{name} without a row", put(name, state[name][1:]))
    yield Mutation(f"{name} as float64", put(name, state[name].double()), "float32 holds the same")
    length = int.from_bytes(whole[:8], "little")
    for size in (0, 1 << 40, length - 1, (1 << 64) - 1):
        yield Mutation(f"a header of {size} bytes", size.to_bytes(8, "little") + whole[8:])
    for _ in range(4):
        place = rng.randrange(8, 8 + length)
        flipped = whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :]
        yield Mutation(f"a bit of byte {place} of the header", flipped, "what nobody reads")
    yield Mutation("bytes after the end", whole + b"\0")
    yield from _cut(whole, rng, 3)


def _archive(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    """A tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]
    names = [name for name, _ in members]

    def packed(*more: tuple[str, bytes, dict], without: str = "", prefix: str = "") -> bytes:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w:gz") as tar:
            plain = [(prefix + name, content, {}) for name, content in members if name != without]
            for name, content, fields in (*plain, *more):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                for field, value in fields.items():
                    setattr(info, field, value)
                tar.addfile(info, io.BytesIO(content))
        return target.getvalue()

    name = rng.choice([name for name in names if "tokenizer" not in name])
    yield Mutation(f"without {name}", packed(without=name))
    yield Mutation(f"{name} twice", packed((f"other/{name}", b"other", {})))
    for kind, type_ in (("a link", tarfile.SYMTYPE), ("a pipe", tarfile.FIFOTYPE)):
        fields = {"type": type_, "linkname": "/etc/passwd"}
        yield Mutation(f"{name} is {kind}", packed((name, b"", fields), without=name))
    yield Mutation("a long header", packed(("x", bytes(1 << 21), {"type": tarfile.XHDTYPE})))
    sparse = ("tokenizer.json", bytes(512), {"type": tarfile.GNUTYPE_SPARSE})
    yield Mutation("a sparse member", packed(sparse))
    yield Mutation("2,000 members", packed(*[(f"{i}", b"", {}) for i in range(2000)]))
    yield Mutation("128 MiB of zeros", packed(("zeros", bytes(128 << 20), {})))
    yield Mutation("a file more", packed(("readme", b"text", {})), "not a checkpoint's")
    yield Mutation("paths upwards", packed(prefix="../../"), "read by their base names")
    plain = gzip.decompress(whole)
    yield Mutation("not compressed", plain, "tar by any name")
    yield Mutation("trailing zeros", gzip.compress(plain + bytes(128 << 20), 1))
    for _ in range(6):
        place = rng.randrange(10, len(whole) - 8)
        yield Mutation(f"damage at {place}", whole[:place] + rng.randbytes(4) + whole[place + 4 :])
    yield from _cut(whole, rng, 3)


# --- prompts, pairs, sentences ---------------------------------------------------------------

NO_RELATIONS = ("", "..", "../P1", "P 1", "P-1", "P1\n", "\x1b[31mP1", "_P1", "P" * 65, "P1/x")


def _bags(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    bags = json.loads(whole)
    relation = rng.choice(list(bags))
    fact = rng.randrange(len(bags[relation]))
    row = rng.randrange(len(bags[relation][fact]))
    prompt, answer, label = bags[relation][fact][row]

    def put(name: str, value: Any) -> Mutation:
        return Mutation(name, _with(bags, lambda b: b[relation].__setitem__(fact, value)))

    def put_row(name: str, value: Any) -> Mutation:
        return put(name, [[prompt, answer, label]] * row + [value] + [[prompt, answer, label]])

    for value in ("text", [], 7, None, {"0": []}, [[]], [[prompt, answer]], [prompt]):
        yield put(f"a fact is {value!r:.20}", value)
    for value in ([prompt, 7, label], [prompt, answer, label, label], [[prompt], answer, label]):
        yield put_row("a prompt of another shape", value)
    yield put_row("a prompt without [MASK]", [prompt.replace("[MASK]", "it"), answer, label])
    yield put_row("a prompt with two [MASK]", [prompt + "[MASK]", answer, label])
    yield put_row("another answer", [prompt, f"{answer}x", label])
    yield put_row("another relation", [prompt, answer, f"{label}x)"])
    for wrong in ("", " ", "[MASK]", "[PAD]", "\x1b[2J", f"{answer}\n"):
        yield put(f"the answer is {wrong!r}", [[prompt, wrong, label]])
    yield put("a label without brackets", [[prompt, answer, relation]])
    yield put("a label of control characters", [[prompt, answer, f"{relation}(\x07)"]])
    for name in rng.sample(NO_RELATIONS, 4):
        yield Mutation(
            f"a relation {name[:9]!r} more", _with(bags, lambda b, n=name: b.update({n: []}))
        )
    yield Mutation("no list", _with(bags, lambda b: b.update({relation: {"0": []}})))
    shuffled = dict(rng.sample(list(bags.items()), len(bags)))
    yield Mutation("another order", json.dumps(shuffled).encode(), "relations are found by name")
    yield Mutation("not escaped", json.dumps(bags, ensure_ascii=False).encode(), "the same texts")
    yield from _json_text(whole, rng)


def _pairs(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    pairs = json.loads(whole)
    relation = rng.choice(list(pairs))
    place = rng.randrange(len(pairs[relation]))
    head, tail = pairs[relation][place]
    for value in (
        *("text", [], [head], [head, tail, tail], [head, 7], [head, " "], ["", tail], None, {}),
        *([head, f"{tail}x"], [f"{head}\n", tail], [f"\x1b[31m{head}", tail]),
        *([f"no {head}", tail], ["[MASK]", tail]),
    ):
        changed = _with(pairs, lambda p, value=value: p[relation].__setitem__(place, value))
        yield Mutation(f"a pair is {value!r:.30}", changed)
    yield Mutation("a pair is lost", _with(pairs, lambda p: p[relation].pop(place)))
    for name in rng.sample(NO_RELATIONS, 3):
        yield Mutation(
            f"a relation {name[:9]!r}", _with(pairs, lambda p, n=name: p.update({n: []}))
        )
    yield from _json_text(whole, rng)


def _sentences(whole: bytes, rng: random.Random) -> Iterator[Mutation]:
    facts = json.loads(whole)
    place = rng.randrange(len(facts))
    for value in ("text", [], None, {}, {"th_bags": []}, {"th_bags": "a", "h_bags": []}):
        changed = _with(facts, lambda f, value=value: f.__setitem__(place, value))
        yield Mutation(f"a fact is {value!r}", changed)
    for wrong in ([7], [None], {"0": "a"}, "a"):
        key = rng.choice(["th_bags", "h_bags"])
        changed = _with(facts, lambda f, key=key, wrong=wrong: f[place].update({key: wrong}))
        yield Mutation(f"{key} is {wrong!r}", changed)
    yield Mutation("a fact is lost", _with(facts, lambda f: f.pop(place)))
    yield Mutation("a fact more", _with(facts, lambda f: f.append(f[place])))
    yield Mutation("an object", json.dumps({"P1": facts}).encode())
    twice = whole.replace(b'"th_bags"', b'"th_bags": [], "th_bags"', 1)
    yield Mutation("the key th_bags twice", twice)
    more = _with(facts, lambda f: f[place].update({"source": "web"}))
    yield Mutation("a key more", more, "no key that is read")
    yield from _json_text(whole, rng)


KINDS: dict[str, Callable[[bytes, random.Random], Iterator[Mutation]]] = {
    "config": _config,
    "tokenizer_config": _tokenizer_config,
    "tokenizer": _tokenizer,
    "vocabulary": _vocabulary,
    "weights": _weights,
    "archive": _archive,
    "bags": _bags,
    "pairs": _pairs,
    "sentences": _sentences,
}
