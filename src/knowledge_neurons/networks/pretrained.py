"""A loaded checkpoint, of whatever family, and the fingerprint of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
