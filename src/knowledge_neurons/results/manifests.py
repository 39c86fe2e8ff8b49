"""The manifests that say what each output was made from, and outputs read back whole.

Manifests of before lie beside the output: they are read, and removed when the output is written
again.  What the files hold is the matter of the modules of each kind of result, how they are never
half there that of `atomic` and `growing`.

The same command gives the same bytes on the same machine, device and number of threads; under
others scores agree to 8e-6 of the largest, and a file resumed there says so (`made_under`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

import knowledge_neurons_lab
from knowledge_neurons import CHECKOUT, __version__
from knowledge_neurons.results.companions import manifest_beside, manifest_path, partial_path
from knowledge_neurons.results.json_files import (
    check_numbers,
    convert,
    decode,
    encode,
    naming,
    write_json,
)
from knowledge_neurons.types import Adopted, Count, Index, Layer, Neuron, Number, Share

PINNED = (*("torch", "numpy", "scipy", "matplotlib", "seaborn", "tokenizers", "safetensors"),
          *("huggingface_hub", "msgspec", "jinja2"))  # fmt: skip


def read_json(path: Path, kind: Any, advice: str = "") -> Any:
    """The content of a JSON file as this type, see `json_files.decode`.

    Raises ValueError naming a file that is missing, broken, of another shape, or not what its
    manifest says, and the advice.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    value = decode(content, kind, path, advice)
    check_whole(path)
    return value


def read_summary(path: Path, kind: Any, stage: int) -> Any:
    """The averages that a stage wrote, their numbers within bounds."""
    advice = f"It is not what stage {stage} writes: run stage {stage} again"
    content = read_json(path, kind, advice)
    with naming(path, advice):
        check_numbers(content)
    return content


def read_records(
    path: Path, kind: Any, check: Callable[[Any], None] | None = None
) -> Iterator[Any]:
    """The lines of a finished file as this type, one at a time.

    check: raises ValueError for a record whose parts do not fit each other.
    Raises ValueError naming file and line; for a file that was cut, before the first.
    """
    check_whole(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where, advice = f"{path}, line {number}", start_over(path)
            record = decode(line, kind, where, advice)
            if check:
                with naming(where, advice):
                    check(record)
            yield record


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- manifests -------------------------------------------------------------------------------


class Identity(TypedDict, total=False):
    """What is read of an identity, of whatever output; scores: of those that neurons are of."""

    model_sha256: str
    data_sha256: str
    language: str
    seed: Annotated[int, Meta(ge=0)]
    relation: str
    rule: str
    steps: Count
    tolerance: Number | None
    keep: Share
    max_facts: Count
    max_seq_length: Count
    layers: str
    answers: str
    held_out: Count | None
    answer_token: Count
    scores: Identity
    scores_sha256: str
    adopted: Adopted


class Arguments(TypedDict, total=False):
    """What is read of the arguments of a stage."""

    bert_model: str
    data_path: str
    seed: int


class MadeUnder(TypedDict):
    """Device and threads that the lines from this number on, from 0, were computed with."""

    device: str
    threads: Count
    from_line: Count


class Integral(TypedDict):
    """How far the sums of a sample of prompts are from the integral."""

    prompts: Count
    median: Number
    p95: Number
    largest: Number
    coarse_same: Share
    completeness_gap: Number
    layers_far: NotRequired[list[Layer]]


class Quadrature(TypedDict):
    """Stage 1's audit of its integrals."""

    tolerance: Number | None
    points_per_layer: Number
    audited_prompts: Count
    over_tolerance: Count
    worst_error: Number
    coarse_same: Count
    layers_failed: NotRequired[list[Index]]  # not in manifests of before
    integral: NotRequired[Integral]


class Manifest(TypedDict, total=False):
    """What is read of a manifest, of whatever output; it holds more, and is kept whole."""

    complete: bool
    identity: Identity
    arguments: Arguments
    made_with: dict[str, str | None]
    device: str
    wall_seconds: Number
    sha256: str
    bytes: Count  # in manifests of before
    made_under: list[MadeUnder]
    layers: Layer
    neurons_per_layer: Index
    facts: Count
    prompts: Count
    prompts_cut: Count
    skipped_facts: list[Index]
    prompts_left_out: dict[str, Count]  # by reason
    answers_of_several_tokens: dict[str, Count]  # by their number
    facts_without_prompts: list[Index]
    facts_not_published: list[Index]  # of adopted neurons
    quadrature: Quadrature
    in_band: bool
    neurons_per_fact: Number
    shared_used: Number
    neurons: dict[str, list[Neuron]]


def write_manifest(
    path: Path, identity: Mapping[str, Any], complete: bool = True, **facts: Any
) -> None:
    """Write the manifest of an output, in place of any there is.

    identity: what decides the content (arguments, sha256 of model and data): files with different
    identities must not be mixed.  facts: what else is worth knowing (seconds, counts).
    complete: False while the output grows; else its sha256 is kept too, of NAME.partial where it
    has not yet its name.
    """
    content = {"complete": complete, "identity": identity, **facts}
    if complete:
        partial = partial_path(path)
        content["sha256"] = sha256_of(partial if partial.exists() else path)
        content["made_with"] = environment()
    write_json(manifest_path(path), content, readable=True)
    manifest_beside(path).unlink(missing_ok=True)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of an output, None where there is none (a file of the released code).

    Raises ValueError naming the manifest and what in it is of another type.
    """
    for manifest in (manifest_path(path), manifest_beside(path)):
        if manifest.exists():
            content = read_json(manifest, dict[str, Any], start_over(path))
            convert(content, Manifest, manifest, start_over(path))
            return content
    return None


def is_done(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the output is there and was made from the same things; ValueError if from others."""
    if not path.exists():
        return False
    check_identity(path, identity)
    check_whole(path)
    return True


def check_whole(path: Path) -> None:
    """Raise ValueError for a file that is not what its manifest says; one without a manifest is
    somebody's own."""
    manifest = read_manifest(path) or {}
    same = sha256_of(path) == manifest["sha256"] if "sha256" in manifest else True
    if not (same and manifest.get("bytes", path.stat().st_size) == path.stat().st_size):
        raise ValueError(
            f"{path} is not what its manifest says: it was changed or cut.  {start_over(path)}; to "
            f"use it as your own, remove {manifest_path(path)} alone"
        )


def start_over(path: Path) -> str:
    """What to do about an output that cannot be used: the command names all that belongs to it."""
    every = (path, partial_path(path), manifest_path(path), manifest_beside(path))
    there = [shlex.quote(str(one)) for one in every if one.exists()]
    return (
        f"To start over: rm {' '.join(there)} and run the stage that wrote it again; to keep it "
        "choose another folder for the results"
    )


ADDED = ("tokenizer_sha256",)  # to identities: files of before say nothing of it


def check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Raise ValueError naming the fields in which an output differs from what is asked for now."""
    manifest = read_manifest(path)
    if manifest is None:
        raise ValueError(
            f"{path} is there without a manifest, so not from here.  {start_over(path)}"
        )
    there = manifest.get("identity", {})
    asked = decode(encode(dict(identity)), dict[str, Any], "identity")
    differing = [
        f"{key} is {_short(there.get(key))} there and {_short(asked.get(key))} now"
        for key in sorted(there.keys() | asked.keys())
        if there.get(key) != asked.get(key) and (key in there or key not in ADDED)
    ]
    if differing:
        raise ValueError(
            f"{path} was made differently: {'; '.join(differing)}.  {start_over(path)}"
        )


def _short(value: Any, most: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


@functools.cache
def environment() -> dict[str, Any]:
    """Versions, machine and commit, for the manifest."""
    versions = {name: importlib.metadata.version(name) for name in PINNED}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        knowledge_neurons_lab.NAME: __version__,
        **versions,
        "machine": machine,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The checkout's commit, marked where files are changed; None outside our git checkout."""
    if CHECKOUT is None:
        return None
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
