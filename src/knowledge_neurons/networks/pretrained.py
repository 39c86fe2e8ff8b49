"""A loaded checkpoint, of whatever family, its fingerprint, and the device that it is put on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text.encoding import Tokens


@dataclass(frozen=True)
class Pretrained:
    """A loaded checkpoint: frozen model in eval mode, its tokenizer, the sha256 of its weights.

    layer_norm_eps: of a BERT, which may be told another than its own; None of other families.
    save: writes model, as its weights are then, and tokenizer into a folder that loads again.
    """

    source: str
    model: Network
    tokenizer: Tokens
    sha256: str
    layer_norm_eps: float | None
    save: Callable[[Path], None]

    @property
    def tokenizer_sha256(self) -> str:
        """sha256 of all that decides ids: see the tokenizers' `fingerprint`."""
        return self.tokenizer.fingerprint


def fingerprint(model: Network) -> str:
    """sha256 over names, shapes and float32 values: the same whichever file the weights lay in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.published_state().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def chosen_device(name: str | None) -> torch.device:
    """The device of this name, else KN_DEVICE's, else a GPU where there is one.

    Raises ValueError where it is not there.
    """
    name = name or os.environ.get("KN_DEVICE")
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}") from error
    return device
