"""Attribution: how much each FFN neuron's activation adds to a target, the answer's probability.

Equation 4 of the paper.  For layer l let w (F,) be the activations at [MASK], W2 (D, F) the second
FFN matrix, y a token:

    score_i = w_i * sum_j c_j * dP(y | activations of layer l set to alpha_j * w) / dw_i

What makes it fast, with the same numbers:

- a path is never formed in F dimensions: W2 (alpha w) = alpha (W2 w), so the FFN output along it is
  alpha u + b with u = W2 w (D,), and with g_j = dP/d(FFN output) at alpha_j

      score = w * (W2^T sum_j c_j g_j);

- below layer l nothing changes, so a path starts at the clean pass's hidden states of layer l, and
  in the last layer only [MASK] is computed;
- the points of all layers, prompts and alphas go up together, one row each: rows of higher layers
  join where their path starts, and one backward pass takes them all back down.

`tests/reference` holds the slow literal twin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.attribution.target import Target
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass

# --- scores ----------------------------------------------------------------------------------


def integrated_gradients(
    model: Network,
    clean: CleanPass,
    target: Target,
    rule: Rule,
    memory: int | None = None,
    layers: Collection[int] | None = None,
) -> Tensor:
    """Scores of all neurons for a target (equation 4).

    target: the answer's `Probability` for the paper's score.  rule: points and weights in alpha.
    memory: bytes that the rows going up together may take; it bounds the work, not the result.
    layers: the only ones to compute; all others' scores are 0.
    Returns (B, L, F) in the target's unit; the dtype and device of the activations.

        clean = clean_pass(model, batch)
        scores = integrated_gradients(
            model, clean, Probability(batch.answers), rule("riemann-left", 20)
        )
    """
    everyone = torch.arange(len(clean.activations), device=clean.activations.device)
    alphas, weights = (clean.activations.new_tensor(part) for part in rule)  # (M,) each
    asked = [
        Paths(layer, everyone, alphas)
        for layer in range(model.shape.layers)
        if layers is None or layer in layers
    ]
    gradients = gradients_along(model, clean, target, asked, memory)  # (B, M, D) each
    scores = torch.zeros_like(clean.activations)
    for path, g in zip(asked, gradients, strict=True):
        summed = torch.einsum("m,bmd->bd", weights, g)
        scores[:, path.layer] = scores_of(model, clean, path, summed)
    return scores


class Paths(NamedTuple):
    """Points on the paths of one layer, the same for some prompts of a batch.

    layer: from 0; prompts: (P,) rows of the batch; alphas: (M,).
    """

    layer: int
    prompts: Tensor
    alphas: Tensor


def scores_of(model: Network, clean: CleanPass, path: Paths, gradients: Tensor) -> Tensor:
    """Weighted sums of d target/d(FFN output), (P, ..., D), -> of w * d/dw, (P, ..., F)."""
    w = clean.activations[path.prompts, path.layer]  # (P, F)
    products = gradients @ model.value_slots(path.layer).to(gradients.dtype)
    return products * w.view(len(w), *[1] * (products.dim() - 2), -1)


def gradients_along(
    model: Network,
    clean: CleanPass,
    target: Target,
    asked: Sequence[Paths],
    memory: int | None = None,
) -> list[Tensor]:
    """d target/d(FFN output) at points of paths.

    asked: in ascending order of layers.  memory: as in `integrated_gradients`.
    Returns for each of asked (P, M, D).
    """
    sizes = [len(path.prompts) * len(path.alphas) for path in asked]
    prompts = torch.cat([path.prompts.repeat_interleave(len(path.alphas)) for path in asked])
    alphas = torch.cat([path.alphas.repeat(len(path.prompts)) for path in asked])  # (R,)
    layers = [path.layer for path, size in zip(asked, sizes, strict=True) for _ in range(size)]
    costs = passes.path_bytes(model, clean.batch.ids.shape[1])
    found = alphas.new_empty(len(layers), model.shape.width)
    for some in _slices([costs[layer] for layer in layers], memory):
        counts = [layers[some].count(layer) for layer in range(model.shape.layers)]
        found[some] = _gradients(model, clean, target, counts, prompts[some], alphas[some])
    return [
        gradients.view(len(path.prompts), len(path.alphas), -1)
        for path, gradients in zip(asked, found.split(sizes), strict=True)
    ]


def _slices(costs: Sequence[int], memory: int | None) -> Iterator[slice]:
    """Cut rows into runs that cost at most memory together, or are a single row."""
    start, spent = 0, 0
    for row, cost in enumerate(costs):
        if memory is not None and row > start and spent + cost > memory:
            yield slice(start, row)
            start, spent = row, 0
        spent += cost
    yield slice(start, len(costs))


def _gradients(
    model: Network,
    clean: CleanPass,
    target: Target,
    counts: list[int],
    prompts: Tensor,
    alphas: Tensor,
) -> Tensor:
    """d target/d(FFN output) of rows that all go up together.

    counts: how many rows start in each layer; prompts, alphas: (R,), by layer.  Returns (R, D).
    """
    starts, x = [], None  # the rows that have started: (r, T, D)
    with torch.enable_grad():
        for layer, own, alpha in zip(
            range(len(counts)), prompts.split(counts), alphas.split(counts), strict=True
        ):
            if x is not None:
                x = passes.start_up(model, clean, layer, prompts[: len(x)], x)
            if len(own):
                start, new = _start(model, clean, layer, own, alpha)
                starts.append(start)
                x = new if x is None else torch.cat([x, new])
        values = target(model.head(x[:, 0]), prompts)  # (R,)
        return torch.cat(torch.autograd.grad(values.sum(), starts))


def _start(
    model: Network, clean: CleanPass, layer: int, own: Tensor, alphas: Tensor
) -> tuple[Tensor, Tensor]:
    """Begin paths: FFN outputs (r, D) to differentiate by, and the stream after the layer.

    own, alphas: (r,).
    """
    w = clean.activations[:, layer]  # (B, F)
    u = w @ model.value_slots(layer).to(w.dtype).T  # (B, D)
    y = (alphas[:, None] * u[own] + model.value_bias(layer)).detach().requires_grad_(True)
    return y, passes.start(model, clean, layer, own, y)


@torch.no_grad()
def completeness_gap(model: Network, clean: CleanPass, target: Target, scores: Tensor) -> Tensor:
    """|sum_i score_i - (T(w) - T(0))| per layer: zero for the exact integral (axiom of IG).

    scores: (B, L, F) of the target T, from `integrated_gradients`.  Returns (B, L), in its unit.
    """
    everyone = torch.arange(len(scores), device=scores.device)
    full = target(clean.logits, everyone)  # (B,)
    gaps = []
    for layer in range(model.shape.layers):
        silent = torch.zeros_like(full)  # alpha = 0
        _, x = _start(model, clean, layer, everyone, silent)
        for above in range(layer + 1, model.shape.layers):
            x = passes.start_up(model, clean, above, everyone, x)
        zero = target(model.head(x[:, 0]), everyone)  # (B,)
        gaps.append(scores[:, layer].sum(-1) - (full - zero))
    return torch.stack(gaps, dim=1).abs()
