"""Attribution: how much each FFN neuron's activation at [MASK] adds to the answer's probability.

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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from custom_bert import Bert, BertConfig
from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.types import Batch


@dataclass(frozen=True)
class CleanPass:
    """What one unedited forward pass leaves behind for attribution.

    batch: the prompts.
    attended: L tensors (B, D), the stream at [MASK] after the attention of each layer.
    hidden: L tensors (B, T, D), the stream after each layer; after the last (B, 1, D), at [MASK].
    activations: (B, L, F) neurons at [MASK]: the paper's baseline score.
    probabilities: (B, V) at [MASK].
    """

    batch: Batch
    attended: list[Tensor]
    hidden: list[Tensor]
    activations: Tensor
    probabilities: Tensor

    @property
    def predicted(self) -> Tensor:
        """(B,) the most probable token at [MASK]."""
        return self.probabilities.argmax(dim=-1)


@torch.no_grad()
def clean_pass(model: Bert, batch: Batch) -> CleanPass:
    """Run the model once, keeping the stream of every layer."""
    rows = torch.arange(len(batch.answers), device=batch.ids.device)
    x = model.embed(batch.ids)  # (B, T, D)
    at, attended, hidden, activations = batch.mask_positions, [], [], []
    for layer in model.layers:
        if layer is model.layers[-1]:  # only [MASK] is read from here on
            x, at = layer.attend_at(x, at)[:, None], torch.zeros_like(at)
        else:
            x = layer.attend(x)
        w = layer.ffn_in(x)  # (B, T, F)
        attended.append(x[rows, at])
        activations.append(w[rows, at])
        x = layer.ffn_out(w, x)
        hidden.append(x)
    probabilities = model.head(x[:, 0]).softmax(dim=-1)  # (B, V)
    return CleanPass(batch, attended, hidden, torch.stack(activations, dim=1), probabilities)


# --- scores ----------------------------------------------------------------------------------


def integrated_gradients(
    model: Bert, clean: CleanPass, tokens: Tensor, rule: Rule, memory: int | None = None
) -> Tensor:
    """Scores of all neurons for the probability of one token per prompt (equation 4).

    tokens: (B,) token ids, the answers for the paper's score.  rule: points and weights in alpha.
    memory: bytes that the rows going up together may take; it bounds the work, not the result.
    Returns (B, L, F) in probability; the model's dtype and device.

        clean = clean_pass(model, batch)
        scores = integrated_gradients(model, clean, batch.answers, rule("riemann-left", 20))
    """
    everyone = torch.arange(len(tokens), device=tokens.device)
    alphas, weights = (clean.activations.new_tensor(part) for part in rule)  # (M,) each
    asked = [Paths(layer, everyone, alphas) for layer in range(len(model.layers))]
    gradients = gradients_along(model, clean, tokens, asked, memory)  # L of (B, M, D)
    scores = [
        scores_of(model, clean, path, torch.einsum("m,bmd->bd", weights, g))
        for path, g in zip(asked, gradients, strict=True)
    ]
    return torch.stack(scores, dim=1)


class Paths(NamedTuple):
    """Points on the paths of one layer, the same for some prompts of a batch.

    layer: from 0; prompts: (P,) rows of the batch; alphas: (M,).
    """

    layer: int
    prompts: Tensor
    alphas: Tensor


def scores_of(model: Bert, clean: CleanPass, path: Paths, gradients: Tensor) -> Tensor:
    """Weighted sums of dP/d(FFN output), (P, ..., D), -> of w * dP/dw, (P, ..., F)."""
    w = clean.activations[path.prompts, path.layer]  # (P, F)
    products = gradients @ model.layers[path.layer].output.weight.to(gradients.dtype)
    return products * w.view(len(w), *[1] * (products.dim() - 2), -1)


def gradients_along(
    model: Bert,
    clean: CleanPass,
    tokens: Tensor,
    asked: Sequence[Paths],
    memory: int | None = None,
) -> list[Tensor]:
    """dP(token)/d(FFN output) at points of paths; tokens: (B,), one per prompt.

    asked: in ascending order of layers.  memory: as in `integrated_gradients`.
    Returns for each of asked (P, M, D).
    """
    sizes = [len(path.prompts) * len(path.alphas) for path in asked]
    prompts = torch.cat([path.prompts.repeat_interleave(len(path.alphas)) for path in asked])
    alphas = torch.cat([path.alphas.repeat(len(path.prompts)) for path in asked])  # (R,)
    layers = [path.layer for path, size in zip(asked, sizes, strict=True) for _ in range(size)]
    costs = row_bytes(model.config, clean.batch.ids.shape[1])
    found = alphas.new_empty(len(layers), model.config.hidden_size)
    for some in _slices([costs[layer] for layer in layers], memory):
        counts = [layers[some].count(layer) for layer in range(len(model.layers))]
        found[some] = _gradients(model, clean, tokens, counts, prompts[some], alphas[some])
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
    model: Bert,
    clean: CleanPass,
    tokens: Tensor,
    counts: list[int],
    prompts: Tensor,
    alphas: Tensor,
) -> Tensor:
    """dP(token)/d(FFN output) of rows that all go up together.

    counts: how many rows start in each layer; prompts, alphas: (R,), by layer.  Returns (R, D).
    """
    starts, places = [], clean.batch.mask_positions[prompts]  # (R,)
    x = None  # the rows that have started: (r, T, D)
    with torch.enable_grad():
        for layer, own, alpha in zip(
            range(len(counts)), prompts.split(counts), alphas.split(counts), strict=True
        ):
            if x is not None:
                x = _up(model, layer, x, places[: len(x)])
            if len(own):
                start, new = _start(model, clean, layer, own, alpha)
                starts.append(start)
                x = new if x is None else torch.cat([x, new])
        probabilities = _Probability.apply(model.head(x[:, 0]), tokens[prompts])  # (R,)
        return torch.cat(torch.autograd.grad(probabilities.sum(), starts))


class _Probability(torch.autograd.Function):
    """softmax(logits)[token] of each row: logits (R, V), tokens (R,) -> (R,).

    dP/dlogits is -P p_v, and for the token itself P (1 - P), here the sum of all others with its
    sign turned: the plain difference loses every digit where the answer is certain.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, tokens: Tensor) -> Tensor:
        p = logits.softmax(dim=-1)
        ctx.save_for_backward(p, tokens)
        return p.gather(1, tokens[:, None])[:, 0]

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        p, tokens = ctx.saved_tensors
        own = tokens[:, None]
        gradient = (-upstream[:, None] * p.gather(1, own)) * p  # (R, V)
        gradient.scatter_(1, own, 0.0)
        return gradient.scatter_(1, own, -gradient.sum(dim=1, keepdim=True)), None


def _start(
    model: Bert, clean: CleanPass, index: int, own: Tensor, alphas: Tensor
) -> tuple[Tensor, Tensor]:
    """Begin paths: FFN outputs (r, D) to differentiate by, and the stream after the layer.

    own, alphas: (r,).  The stream is (r, T, D), after the last layer (r, 1, D).
    """
    layer = model.layers[index]
    w = clean.activations[:, index]  # (B, F)
    u = w @ layer.output.weight.to(w.dtype).T  # (B, D)
    start = (alphas[:, None] * u[own] + layer.output.bias).detach().requires_grad_(True)
    at_mask = layer.add_ffn(start, clean.attended[index][own])  # (r, D)
    if index == len(model.layers) - 1:
        return start, at_mask[:, None]
    rows = torch.arange(len(own), device=own.device)
    places = clean.batch.mask_positions[own]
    return start, clean.hidden[index][own].index_put((rows, places), at_mask)


def _up(model: Bert, index: int, x: Tensor, places: Tensor) -> Tensor:
    """One layer: (r, T, D) -> the same, in the last layer -> (r, 1, D), at [MASK] only."""
    layer = model.layers[index]
    if index < len(model.layers) - 1:
        return layer(x)
    x = layer.attend_at(x, places)[:, None]
    return layer.ffn_out(layer.ffn_in(x), x)


# --- checks and costs ------------------------------------------------------------------------


@torch.no_grad()
def completeness_gap(model: Bert, clean: CleanPass, tokens: Tensor, scores: Tensor) -> Tensor:
    """|sum_i score_i - (P(w) - P(0))| per layer: zero for the exact integral (axiom of IG).

    tokens: (B,); scores: (B, L, F) from `integrated_gradients`.  Returns (B, L), in probability.
    """
    everyone = torch.arange(len(tokens), device=tokens.device)
    p_full = clean.probabilities.gather(1, tokens[:, None])  # (B, 1)
    gaps = []
    for index in range(len(model.layers)):
        silent = torch.zeros_like(p_full[:, 0])  # alpha = 0
        _, x = _start(model, clean, index, everyone, silent)
        for above in range(index + 1, len(model.layers)):
            x = _up(model, above, x, clean.batch.mask_positions)
        p_zero = model.head(x[:, 0]).softmax(dim=-1).gather(1, tokens[:, None])  # (B, 1)
        gaps.append(scores[:, index].sum(-1, keepdim=True) - (p_full - p_zero))
    return torch.cat(gaps, dim=1).abs()


def row_bytes(config: BertConfig, tokens: int) -> list[int]:
    """Estimate of what one row of a path holds at its widest, for each layer it may start in.

    Per token, each whole layer above keeps 7 D + F numbers for the backward pass (inputs of both
    LayerNorms, queries, keys, values, attention's output, pre-activations); at the widest point one
    layer's temporaries, 4 F, come on top.  The last layer keeps 2 D a token; the head 3 V a row.
    """
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    costs = []
    for layer in range(L):
        whole = max(L - 2 - layer, 0)
        kept = tokens * (whole * (7 * D + F) + (4 * F if whole else 0) + 4 * D)
        costs.append(4 * (kept + 2 * F + 3 * config.vocab_size))
    return costs


def prompt_bytes(config: BertConfig, tokens: int, points: int) -> int:
    """Estimate of what a prompt of T tokens holds while its rows come and go.

    The clean pass keeps L T D numbers and 2 V; gradients take L M D, scores up to 8 L F.
    """
    L, D, F = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    return 4 * (L * ((tokens + points) * D + 8 * F) + 2 * config.vocab_size)
