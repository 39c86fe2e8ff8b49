"""Scores averaged over noisy copies of a model (NoiseGrad), for who has one prompt only.

Bykov et al. 2022 (arXiv 2106.10185): every weight times N(1, S^2), anew for each copy; scores are
the mean over copies.  The same with the embeddings of the prompt's tokens alone (SmoothGrad, with
noise that multiplies).  No copy is made: the weights themselves are changed and put back, to the
bit, also after an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from knowledge_neurons.networks.interface import Network

WEIGHTS, EMBEDDINGS = PLACES = ("weights", "embeddings")
NOISE = 0.05  # S, unless told otherwise
MOST_COPIES = 1000
SEEDS = 2**63  # that a generator takes


@dataclass(frozen=True)
class Smoothing:
    """copies: how many noisy ones are averaged.  noise: S, a share.  place: one of PLACES."""

    copies: int
    noise: float
    place: str = WEIGHTS
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.copies <= MOST_COPIES:
            raise ValueError(f"copies is {self.copies}: expected 1 to {MOST_COPIES:,}")
        if not 0 < self.noise <= 1:
            raise ValueError(f"noise is {self.noise}: expected a share above 0, at most 1")
        if self.place not in PLACES:
            raise ValueError(f"noise on {self.place!r}: expected one of {', '.join(PLACES)}")

    def __str__(self) -> str:
        return f"{self.place} x N(1, {self.noise}^2), {self.copies} copies"


def smoothed(model: Network, smoothing: Smoothing, score: Callable[[Network], Tensor]) -> Tensor:
    """The mean of what `score` gives of each noisy copy.

    score: gives a tensor of its own, in which the copies may be added up.
    The noise of a copy is drawn from (seed, copy) alone, so it is the same for all prompts.
    """
    total: Tensor | None = None
    for copy in range(smoothing.copies):
        seed = (smoothing.seed * MOST_COPIES + copy) % SEEDS
        noise = torch.Generator().manual_seed(seed)
        with noisy(model, smoothing, noise) as other:
            found = score(other)
        total = found if total is None else total.add_(found)
    assert total is not None
    return total.div_(smoothing.copies)


@contextmanager
def noisy(model: Network, smoothing: Smoothing, generator: torch.Generator) -> Iterator[Network]:
    """The model with noise, inside a `with`; afterwards every bit is as before."""
    if smoothing.place == EMBEDDINGS:
        yield cast(Network, _NoisyEmbeddings(model, smoothing.noise, generator))
        return
    tensors = _weights(model)
    saved = [tensor.clone() for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.mul_(_factors(tensor, smoothing.noise, generator))
        yield model
    finally:
        for tensor, before in zip(tensors, saved, strict=True):
            tensor.copy_(before)


class _NoisyEmbeddings:
    """A network whose prompts' embeddings are multiplied by noise; all else is the network's."""

    def __init__(self, model: Network, noise: float, generator: torch.Generator):
        self._model, self._noise = model, noise
        self._seed = generator.initial_seed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, ids: Tensor) -> Tensor:
        x = self._model.embed(ids)  # (B, T, D)
        # The same noise for every prompt of a length, so that a prompt's depends on no other.
        noise = torch.Generator().manual_seed(self._seed)
        return x * _factors(x[:1], self._noise, noise)


def _factors(like: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator)
    return (1 + noise * drawn).to(like)


def _weights(model: Network) -> list[Tensor]:
    """All weights, tied ones once, in the order of their names."""
    found: dict[int, Tensor] = {}
    for _, tensor in sorted(model.published_state().items()):
        if tensor.is_floating_point():
            found.setdefault(tensor.data_ptr(), tensor.detach())
    return list(found.values())
