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

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from custom_bert import Bert
from knowledge_neurons import editing, storage
from knowledge_neurons.models import fingerprint
from knowledge_neurons.types import Neuron, WeightEdit

FORMAT = 1
KINDS = ("update", "erase")


@dataclass(frozen=True)
class Header:
    """What a patch says of itself.

    kind: "update" of a fact or "erase" of a relation.  model_sha256: of the model it was computed
    from (`models.fingerprint`).  fact, old, new, lambdas: of an update, None for an erasure.
    """

    kind: str
    model_sha256: str
    relation: str
    neurons: tuple[Neuron, ...]
    fact: int | None = None
    old: str | None = None
    new: str | None = None
    lambdas: tuple[float, float] | None = None


@dataclass(frozen=True)
class Patch:
    """A patch as read: its header, and the new value slots (N, D) float32."""

    header: Header
    value_slots: Tensor


def save(path: Path, edit: WeightEdit, header: Header) -> None:
    """Write the edit as a patch, atomically; the same edit gives the same bytes."""
    if edit.neurons != header.neurons:
        raise ValueError("the header names other neurons than the edit has")
    text = orjson.dumps({"format": FORMAT} | asdict(header), default=list).decode()
    slots = edit.after.detach().float().cpu().contiguous()
    content = safetensors.torch.save({"value_slots": slots}, metadata={"patch": text})
    storage.write_atomic(path, content)


def load(path: Path) -> Patch:
    """Read a patch; ValueError names a file that is missing, damaged or none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            content = orjson.loads((file.metadata() or {})["patch"])
            if content.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}: made by a later version?")
            slots = file.get_tensor("value_slots")
        neurons = tuple(Neuron(*pair) for pair in content.pop("neurons"))
        lambdas = content.pop("lambdas")
        header = Header(
            **content, neurons=neurons, lambdas=None if lambdas is None else tuple(lambdas)
        )
        if header.kind not in KINDS or slots.shape[:1] != (len(neurons),) or slots.ndim != 2:
            raise ValueError(f"kind {header.kind!r}, slots {tuple(slots.shape)}")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a patch ({type(error).__name__}: {error})") from error
    return Patch(header, slots)


def edit_of(patch: Patch, model: Bert) -> WeightEdit:
    """The patch as an edit of this model; ValueError for another model than it was made from."""
    found = fingerprint(model)
    if found != patch.header.model_sha256:
        raise ValueError(
            f"the patch is of the model with sha256 {patch.header.model_sha256}, this one has "
            f"{found}: load the model that the patch was made from"
        )
    before = editing.value_slots(model, patch.header.neurons)  # (N, D)
    if before.shape != patch.value_slots.shape:
        raise ValueError(
            f"the patch has slots {tuple(patch.value_slots.shape)}, expected {tuple(before.shape)}"
        )
    return WeightEdit(patch.header.neurons, before, patch.value_slots.to(before))
