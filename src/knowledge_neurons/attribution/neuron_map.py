"""Which neurons of lower layers drive a neuron: attribution of its activation.

The engine of equation 4 with another target: in place of P(answer), the activation a of neuron i of
layer T at the position read.  For a layer l below T

    score_j = w_j * sum_m c_m * da / dw_j   along activations of layer l = alpha_m * w

so over a layer the scores sum to a minus what a is with that layer silent there (completeness, for
the exact integral).  All neurons share the walk up; each takes its own way down.
Captum calls this neuron attribution; the literal twin is in `tests/reference`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

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
    tops: dict[int, list[int]] = {}  # layer -> places of the neurons in it
    for place, one in enumerate(neurons):
        if one.layer > lowest:
            tops.setdefault(one.layer, []).append(place)
    alphas, weights = (clean.activations.new_tensor(part) for part in rule)  # (M,) each
    for some in _chunks(model, clean, lowest, max(tops, default=lowest), len(alphas), memory):
        ys, activations = _activations_along(model, clean, tops.keys(), some, alphas)
        ways = [
            (top, place, activations[top][:, neurons[place].index])
            for top in activations
            for place in tops[top]
        ]
        for number, (top, place, a) in enumerate(ways, start=1):
            below = [layer for layer in some if layer < top]
            gradients = torch.autograd.grad(
                a.sum(), [ys[layer] for layer in below], retain_graph=number < len(ways)
            )
            for layer, g in zip(below, gradients, strict=True):
                summed = torch.einsum("m,bmd->bd", weights, g.view(B, len(alphas), -1))
                product = summed @ model.value_slots(layer).to(summed.dtype)  # (B, F)
                found[:, place, layer] = product * clean.activations[:, layer]
    return found


def _activations_along(
    model: Network,
    clean: CleanPass,
    tops: Collection[int],
    layers: Sequence[int],
    alphas: Tensor,
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Of each layer the FFN outputs (B M, D) to differentiate by; of each top above the lowest of
    them the activations (R, F) that they make there.

    Rows that start in lower layers come first; a top has those that start below it.
    """
    B = len(clean.activations)
    own = torch.arange(B, device=alphas.device).repeat_interleave(len(alphas))  # (B M,)
    along = alphas.repeat(B)[:, None]
    ys: dict[int, Tensor] = {}
    found: dict[int, Tensor] = {}
    x, prompts, highest = None, own[:0], max(tops)
    with torch.enable_grad():
        for layer in range(layers[0], highest + 1):
            if x is not None and layer in tops:
                found[layer] = passes.activations_above(model, clean, layer, prompts, x)
            if layer == highest:
                break
            if x is not None:
                x = passes.start_up(model, clean, layer, prompts, x)
            if layer in layers:
                w = clean.activations[:, layer]  # (B, F)
                u = w @ model.value_slots(layer).to(w.dtype).T  # (B, D)
                y = (along * u[own] + model.value_bias(layer)).detach().requires_grad_(True)
                ys[layer] = y
                new = passes.start(model, clean, layer, own, y)
                x = new if x is None else torch.cat([x, new])
                prompts = torch.cat([prompts, own])
    return ys, found


def _chunks(
    model: Network, clean: CleanPass, lowest: int, top: int, points: int, memory: int | None
) -> list[list[int]]:
    """Layers from lowest to below top whose rows go up together: what memory allows, or one."""
    if top <= lowest:
        return []
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
