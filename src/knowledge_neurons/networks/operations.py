"""How many floating-point operations a piece of work takes, from a network's shape alone.

A product of (R, a) with (a, b) is 2 R a b.  Counted are the products with weights, and the two of
attention; LayerNorm, nonlinearities and softmax are not, nor what a fused attention computes again
on its way back.  Nothing here touches a weight, so a network on the `meta` device will do.

Letters: T tokens, L layers, D hidden, F neurons, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from knowledge_neurons.networks.interface import Network


class Operations(NamedTuple):
    """products: with weights, which are frozen.  attention: of two things that both may change."""

    products: int
    attention: int

    @property
    def up(self) -> int:
        """Without a way back."""
        return self.products + self.attention

    @property
    def back(self) -> int:
        """A frozen matrix needs the gradient of its input alone, attention those of both."""
        return self.products + 2 * self.attention


def whole(network: Network, tokens: int) -> Operations:
    """A row of T tokens in one layer, all of them taken up."""
    return Operations(2 * tokens * network.cost.products, 4 * tokens * tokens * network.shape.width)


def one(network: Network, tokens: int) -> Operations:
    """A causal row: one token, which attends to T."""
    return Operations(2 * network.cost.products, 4 * tokens * network.shape.width)


def last(network: Network, tokens: int) -> Operations:
    """A row in the last layer: keys and values of all its T tokens, the rest of the one read.

    A causal network's own module gives queries with them, and the one read its own three again.
    Keys and values count as wide as the stream; of grouped heads that is more than there is.
    """
    D, products = network.shape.width, network.cost.products
    maps, rest = (3, products) if network.causal else (2, products - 2 * D * D)
    return Operations(2 * tokens * maps * D * D + 2 * rest, 4 * tokens * D)


def head(network: Network) -> int:
    """From the stream at one position to logits; a masked model's has a map of its own before."""
    _, D, _, V = network.shape
    return 2 * D * V + (0 if network.causal else 2 * D * D)


def reading(network: Network, tokens: int) -> int:
    """A prompt all the way up, its logits read at one position."""
    layers = network.shape.layers - 1
    return layers * whole(network, tokens).up + last(network, tokens).up + head(network)


def row(network: Network, tokens: int, layer: int) -> tuple[Operations, int]:
    """What a row that starts in a layer meets: the layers above, and its way through the head."""
    above = network.shape.layers - 1 - layer
    if network.causal:
        met = one(network, tokens)
        return Operations(above * met.products, above * met.attention), head(network)
    full, end = whole(network, tokens), last(network, tokens)
    some, ends = max(0, above - 1), min(1, above)
    products = some * full.products + ends * end.products
    return Operations(products, some * full.attention + ends * end.attention), head(network)


def point(network: Network, tokens: int, layer: int) -> int:
    """One point of a layer's path, there and back."""
    met, logits = row(network, tokens, layer)
    return met.up + met.back + 2 * logits


def edit(network: Network, tokens: int, layer: int) -> int:
    """One edit of neurons in a layer, there alone."""
    met, logits = row(network, tokens, layer)
    return met.up + logits


def scores(network: Network, tokens: int, points: Sequence[float]) -> float:
    """Attribution of a prompt, with so many points for each of L layers, 0 where it has no score.

    The clean pass, the points, and for each layer that has some W2 w and W2^T (sum of gradients).
    """
    _, D, F, _ = network.shape
    total: float = reading(network, tokens)
    for layer, count in enumerate(points):
        if count:
            total += count * point(network, tokens, layer) + 4 * D * F
    return total
