"""The engine's view of a model: the few things that attribution, edits and readings ask of it.

A network has L layers, each with F neurons.  At the position read their activations w (F,) and the
layer's value slots W2 (D, F) give the feed-forward output y = W2 w + b (D,), which enters the
stream.  A neuron is an entry of what W2 multiplies; in a gated layer that is the gated product.

Whoever implements this needs no hook that outlives a call.  `passes` walks with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from knowledge_neurons.types import Neuron


class Shape(NamedTuple):
    """L, D, F of a layer, V."""

    layers: int
    width: int
    neurons: int
    vocabulary: int


class Cost(NamedTuple):
    """What a layer takes for one token.

    kept: numbers that a backward pass needs.  widest: numbers held at once where there is none.
    products: multiplications.
    """

    kept: int
    widest: int
    products: int


class Step(NamedTuple):
    """What r rows have become in a layer.

    x: (r, T, D) the stream after it; (r, 1, D) where only the position read was taken up.
    at: (r,) where the position read is in x.
    activations: (r, F) the neurons at the position read.
    attended: (r, ...) what `Network.add` has to know of that position.
    past: (r, ...) each, what that position attends to before itself, where the network is causal.
    """

    x: Tensor
    at: Tensor
    activations: Tensor
    attended: Tensor
    past: tuple[Tensor, ...] = ()


class Network(Protocol):
    """A language model taken apart.

    cost: of one layer.  causal: whether nothing depends on what comes after it; prompts then end
    at the position read.  max_tokens: of a prompt.  device: where the weights are, and batches have
    to be.  words: (V, D) the direction in the stream that stands for each token; directions: which
    where a model has two, "output", what logits are made with, or "input", what is read in.
    Weights may have fewer digits than float32; activations, `attended`, y and logits never do.
    """

    shape: Shape
    cost: Cost
    causal: bool
    max_tokens: int
    device: torch.device
    words: Tensor
    directions: str

    def value_slots(self, layer: int) -> Tensor:
        """(D, F) W2 itself, not a copy: column i is what neuron i writes."""

    def value_bias(self, layer: int) -> Tensor:
        """(D,) b, zeros where the layer has none."""

    def embed(self, ids: Tensor) -> Tensor:
        """The stream below the first layer: ids (B, T) int64 -> (B, T, D)."""

    def through(
        self,
        layer: int,
        x: Tensor,
        at: Tensor,
        only_read: bool,
        change: Callable[[Tensor], Tensor] | None = None,
        past: tuple[Tensor, ...] = (),
    ) -> Step:
        """Take rows x (r, T, D) through a layer, or of each only the position read, at (r,).

        change: what to put in place of the activations (r, F) at the position read.
        past: of a `Step` of whole rows; x then is the position read alone, (r, 1, D).
        """

    def ffn_output(self, layer: int, w: Tensor) -> Tensor:
        """The y of activations: (r, F) -> (r, D)."""

    def add(self, layer: int, y: Tensor, attended: Tensor) -> Tensor:
        """The stream (r, D) at the position read, with this y (r, D); attended: of a `Step`."""

    def head(self, x: Tensor) -> Tensor:
        """The stream after the last layer -> logits: (..., D) -> (..., V)."""

    def published_state(self) -> Mapping[str, Tensor]:
        """All weights under the names they are published by, which make the model's fingerprint."""


def check_neurons(network: Network, neurons: Sequence[Neuron]) -> None:
    """Raise ValueError for a neuron that the network does not have."""
    layers, _, width, _ = network.shape
    for layer, index in neurons:
        if not (0 <= layer < layers and 0 <= index < width):
            raise ValueError(
                f"neuron {index} of layer {layer}: the model has layers 0 to {layers - 1} "
                f"of {width} neurons"
            )
