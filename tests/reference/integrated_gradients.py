"""Equation 4 of the paper as printed, by brute force: the slow twin of `attribution`.

One prompt, one layer, one point of the path after the other, the whole network run afresh each
time with the activations in F dimensions.  Shares with the fast path only the parts of custom_bert.
"""

from __future__ import annotations

import torch
from torch import Tensor

from custom_bert import Bert


def probability_with(
    model: Bert, ids: Tensor, position: int, token: int, layer: int, activations: Tensor
) -> Tensor:
    """P(token at position) when this layer's activations there are replaced by (F,).  Scalar."""
    x = model.embed(ids[None])  # (1, T, D)
    for index, block in enumerate(model.layers):
        x = block.attend(x)
        w = block.ffn_in(x)  # (1, T, F)
        if index == layer:
            w = w.clone()
            w[0, position] = activations
        x = block.ffn_out(w, x)
    return model.head(x)[0, position].softmax(dim=-1)[token]


def activations_of(model: Bert, ids: Tensor, position: int, layer: int) -> Tensor:
    """w of the unedited model: (F,)."""
    x = model.embed(ids[None])
    for block in model.layers[:layer]:
        x = block(x)
    block = model.layers[layer]
    return block.ffn_in(block.attend(x))[0, position]


def integrated_gradients(
    model: Bert,
    ids: Tensor,
    position: int,
    token: int,
    layer: int,
    alphas: list[float],
    weights: list[float],
) -> Tensor:
    """w * sum_j c_j dP/dw at alpha_j w, for ids (T,).  Returns (F,)."""
    w = activations_of(model, ids, position, layer)
    total = torch.zeros_like(w)
    for alpha, weight in zip(alphas, weights, strict=True):
        point = (alpha * w).requires_grad_(True)
        probability = probability_with(model, ids, position, token, layer, point)
        total += weight * torch.autograd.grad(probability, point)[0]
    return w * total
