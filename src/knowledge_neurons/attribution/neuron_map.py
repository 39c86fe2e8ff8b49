"""Which neurons of lower layers drive a neuron: attribution of its activation.

The engine of equation 4 with another target: in place of P(answer), the activation a of neuron i of
layer T at the position read.  For a layer l below T

    score_j = w_j * sum_m c_m * da / dw_j   along activations of layer l = alpha_m * w

so over a layer the scores sum to a minus what a is with that layer silent there (completeness, for
the exact integral).  All neurons of one layer share the walk up to it; each takes its own way down.
Captum calls this neuron attribution; the literal twin is in `tests/reference`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.interface import Network, check_neurons
from knowledge_neurons.networks.passes import CleanPass
from knowledge_neurons.types import Neuron


def drivers(
    model: Network,
    clean: CleanPass,
    neurons: Sequence[Neuron],
    rule: Rule,
    lowest: int = 0,
    memory: int | None = None,
) -> Tensor:
    """Scores of all neurons below each of the neurons, for its activation.

    rule: points and weights in alpha.  lowest: the first layer that is scored.
    memory: bytes that the rows going up together may take.
    Returns (B, N, L, F) in the unit of activations; 0 in its own layer and above, and below
    lowest.
    """
    check_neurons(model, neurons)
    B, L, F = clean.activations.shape
    found = clean.activations.new_zeros(B, len(neurons), L, F)
    for top in sorted({layer for layer, _ in neurons}):
        mine = [place for place, one in enumerate(neurons) if one.layer == top]
        indices = [neurons[place].index for place in mine]
        if top > lowest:
            scores = _drivers_of_layer(model, clean, top, indices, rule, lowest, memory)
            found[:, mine, lowest:top] = scores
    return found


def _drivers_of_layer(
    model: Network,
    clean: CleanPass,
    top: int,
    indices: Sequence[int],
    rule: Rule,
    lowest: int,
    memory: int | None,
) -> Tensor:
    """Scores of layers lowest .. top - 1 for K neurons of layer top: (B, K, top - lowest, F)."""
    B, _, F = clean.activations.shape
    alphas, weights = (clean.activations.new_tensor(part) for part in rule)  # (M,) each
    found = clean.activations.new_zeros(B, len(indices), top - lowest, F)
    for some in _chunks(model, clean, lowest, top, len(alphas), memory):
        ys, a = _activations_along(model, clean, top, indices, some, alphas)  # (R, K)
        for k in range(len(indices)):
            last = k == len(indices) - 1
            gradients = torch.autograd.grad(a[:, k].sum(), ys, retain_graph=not last)
            for layer, g in zip(some, gradients, strict=True):
                summed = torch.einsum("m,bmd->bd", weights, g.view(B, len(alphas), -1))
                product = summed @ model.value_slots(layer).to(summed.dtype)  # (B, F)
                found[:, k, layer - lowest] = product * clean.activations[:, layer]
    return found


def _activations_along(
    model: Network,
    clean: CleanPass,
    top: int,
    indices: Sequence[int],
    layers: Sequence[int],
    alphas: Tensor,
) -> tuple[list[Tensor], Tensor]:
    """FFN outputs (B M, D) of each layer to differentiate by, and the activations (R, K) they make.

    Rows that start in lower layers come first.
    """
    B = len(clean.activations)
    own = torch.arange(B, device=alphas.device).repeat_interleave(len(alphas))  # (B M,)
    along = alphas.repeat(B)[:, None]
    ys: list[Tensor] = []
    x, prompts = None, own[:0]
    with torch.enable_grad():
        for layer in range(layers[0], top):
            if x is not None:
                x = passes.start_up(model, clean, layer, prompts, x)
            if layer in layers:
                w = clean.activations[:, layer]  # (B, F)
                u = w @ model.value_slots(layer).to(w.dtype).T  # (B, D)
                y = (along * u[own] + model.value_bias(layer)).detach().requires_grad_(True)
                ys.append(y)
                new = passes.start(model, clean, layer, own, y)
                x = new if x is None else torch.cat([x, new])
                prompts = torch.cat([prompts, own])
        assert x is not None
        return ys, passes.activations_above(model, clean, top, prompts, x)[:, list(indices)]


def _chunks(
    model: Network, clean: CleanPass, lowest: int, top: int, points: int, memory: int | None
) -> list[list[int]]:
    """Layers whose rows go up together: what memory allows, or one."""
    costs = passes.path_bytes(model, clean.batch.ids.shape[1])
    chunks: list[list[int]] = [[]]
    spent = 0
    for layer in range(lowest, top):
        cost = costs[layer] * points * len(clean.activations)
        if memory is not None and chunks[-1] and spent + cost > memory:
            chunks.append([])
            spent = 0
        chunks[-1].append(layer)
        spent += cost
    return chunks
