"""Dense scores -> the triplets that are worth storing."""

from __future__ import annotations

import torch
from torch import Tensor


def check_finite(scores: Tensor) -> None:
    """Raise ValueError for infinite scores and those that are no numbers."""
    if not torch.isfinite(scores).all():
        raise ValueError("the model gives scores that are not finite: are its weights damaged?")


def kept_triplets(
    scores: Tensor, keep: float, lowest: int = 0
) -> list[list[tuple[int, int, float]]]:
    """For each prompt the entries of (B, L, F) that reach keep times its largest.

    lowest: the number of the first of the L layers.

    In (layer, index) order, as (layer, index, score); a prompt whose largest score is negative has
    none.  `tests/reference` holds the twin for one prompt.
    """
    flat = scores.flatten(1)
    chosen = flat >= keep * flat.amax(dim=1, keepdim=True)
    rows, places = chosen.nonzero(as_tuple=True)  # (N,) each, in order
    layers = torch.div(places, scores.shape[2], rounding_mode="floor") + lowest
    columns = layers.tolist(), (places % scores.shape[2]).tolist(), flat[rows, places].tolist()
    triplets = list(zip(*columns, strict=True))
    ends = chosen.sum(dim=1).cumsum(0).tolist()
    return [triplets[a:b] for a, b in zip([0, *ends], ends, strict=False)]
