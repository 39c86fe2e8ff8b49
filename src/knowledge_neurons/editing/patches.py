"""An edit as a small file that can be kept, shared and applied to the same model later.

A patch is a safetensors file with one tensor, `value_slots` (N, D) float32, the new columns alone,
and a JSON header under the metadata key `patch`:

    {"format": 1, "kind": "update", "model_sha256": "...", "relation": "P36", "fact": 3,
     "old": "Paris", "new": "Rome", "lambdas": [1.0, 8.0], "neurons": [[9, 1941], ...]}

Row i of the tensor belongs in bert.encoder.layer.LAYER.output.dense.weight[:, INDEX] of neuron i.
An erasure has kind "erase", and None where an update has a fact, answers and lambdas.  The slots
that were there are not in the file: they are those of the model whose sha256 the header names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from knowledge_neurons.editing import slots
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.json_files import convert, decode, encode
from knowledge_neurons.types import Index, Neuron, Number, WeightEdit

FORMAT = 1
ADVICE = "Write it again: stage 6 keeps its edits if asked to, stage 7 always"


@dataclass(frozen=True)
class Header:
    """What a patch says of itself.

    kind: "update" of a fact or "erase" of a relation.  model_sha256: of the model it was computed
    from (`checkpoints.fingerprint`).  fact, old, new, lambdas: of an update, None for an erasure.
    """

    kind: Literal["update", "erase"]
    model_sha256: str
    relation: str
    neurons: tuple[Neuron, ...]
    fact: Index | None = None
    old: str | None = None
    new: str | None = None
    lambdas: tuple[Number, Number] | None = None


@dataclass(frozen=True)
class Patch:
    """A patch as read: its header, and the new value slots (N, D) float32."""

    header: Header
    value_slots: Tensor


def save(path: Path, edit: WeightEdit, header: Header) -> None:
    """Write the edit as a patch, atomically; the same edit gives the same bytes.

    Raises ValueError for numbers that are not finite.
    """
    if edit.neurons != header.neurons:
        raise ValueError("the header names other neurons than the edit has")
    text = encode({"format": FORMAT} | asdict(header)).decode()
    slots = edit.after.detach().float().cpu().contiguous()
    _check_finite(path, slots)
    content = safetensors.torch.save({"value_slots": slots}, metadata={"patch": text})
    write_atomic(path, content)


def load(path: Path) -> Patch:
    """Read a patch; ValueError names a file that is missing, damaged or none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("patch")
            slots = file.get_tensor("value_slots") if "value_slots" in file.keys() else None  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a patch ({error}).  {ADVICE}") from error
    if text is None or slots is None:
        raise ValueError(f"{path}: not a patch, it has no header or no value_slots.  {ADVICE}")
    header = _header(path, text)
    if slots.dtype != torch.float32 or slots.ndim != 2 or len(slots) != len(header.neurons):
        raise ValueError(
            f"{path}: not a patch, value_slots is {tuple(slots.shape)} {slots.dtype}, expected "
            f"({len(header.neurons)}, D) float32.  {ADVICE}"
        )
    _check_finite(path, slots)
    return Patch(header, slots)


def _header(path: Path, text: str) -> Header:
    """What the metadata says, checked."""
    where = f"{path}: not a patch, its header"
    content = decode(text, dict[str, Any], where, ADVICE)
    if content.get("format") != FORMAT:
        raise ValueError(f"{where} is not of format {FORMAT}: made by a later version?")
    if unknown := content.keys() - {"format", *(one.name for one in fields(Header))}:
        raise ValueError(f"{where} has unknown fields: {sorted(unknown)}.  {ADVICE}")
    header = convert(content, Header, where, ADVICE)
    if len(set(header.neurons)) < len(header.neurons) or not header.neurons:
        raise ValueError(f"{where} names no neuron, or one twice.  {ADVICE}")
    of_update = [header.fact, header.old, header.new, header.lambdas]
    if (header.kind == "update") != all(value is not None for value in of_update):
        raise ValueError(f"{where} needs fact, old, new and lambdas for an update alone.  {ADVICE}")
    return header


def _check_finite(path: Path, slots: Tensor) -> None:
    if not torch.isfinite(slots).all():
        raise ValueError(f"{path}: its value slots hold NaN or infinity, nothing to put in a model")


def edit_of(patch: Patch, model: Network) -> WeightEdit:
    """The patch as an edit of this model; ValueError for another model than it was made from."""
    found = fingerprint(model)
    if found != patch.header.model_sha256:
        raise ValueError(
            f"the patch is of the model with sha256 {patch.header.model_sha256!r}, this one has "
            f"{found}: load the model that the patch was made from"
        )
    before = slots.value_slots(model, patch.header.neurons)  # (N, D)
    if before.shape != patch.value_slots.shape:
        raise ValueError(
            f"the patch has slots {tuple(patch.value_slots.shape)}, expected {tuple(before.shape)}"
        )
    return WeightEdit(patch.header.neurons, before, patch.value_slots.to(before))
