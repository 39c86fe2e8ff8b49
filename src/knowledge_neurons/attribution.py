"""Attribution: how much each FFN neuron's activation at [MASK] adds to the answer's probability.

Equation 4 of the paper.  For layer l let w (F,) be the activations at [MASK], W2 (D, F) the second
FFN matrix, y a token:

    score_i = w_i * sum_j c_j * dP(y | activations of layer l set to alpha_j * w) / dw_i

Computed without ever forming a path in F dimensions: W2 (alpha w) = alpha (W2 w), so the FFN output
along the path is alpha u + b with u = W2 w (D,), and with g_j = dP/d(FFN output) at alpha_j

    score = w * (W2^T sum_j c_j g_j).

Below layer l nothing changes, so a path starts at the clean pass's hidden states of layer l, and in
the last layer only [MASK] is computed.  `tests/reference` holds the slow literal twin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from custom_bert import Bert, BertConfig, Layer
from knowledge_neurons.quadrature import Rule
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
            x, at = layer.attend(x[rows, at][:, None], context=x), torch.zeros_like(at)
        else:
            x = layer.attend(x)
        w = layer.ffn_in(x)  # (B, T, F)
        attended.append(x[rows, at])
        activations.append(w[rows, at])
        x = layer.ffn_out(w, x)
        hidden.append(x)
    probabilities = model.head(x[:, 0]).softmax(dim=-1)  # (B, V)
    return CleanPass(batch, attended, hidden, torch.stack(activations, dim=1), probabilities)


def integrated_gradients(
    model: Bert,
    clean: CleanPass,
    tokens: Tensor,
    rule: Rule,
    points_at_once: int | None = None,
) -> Tensor:
    """Scores of all neurons for the probability of one token per prompt (equation 4).

    tokens: (B,) token ids, the answers for the paper's score.  rule: points and weights in alpha.
    points_at_once: bounds the memory, not the result; None takes all points of a layer together.
    Returns (B, L, F) in probability; the model's dtype and device.

        clean = clean_pass(model, batch)
        scores = integrated_gradients(model, clean, batch.answers, rule("riemann-left", 20))
    """
    alphas = clean.activations.new_tensor(rule.alphas)  # (M,)
    weights = clean.activations.new_tensor(rule.weights)  # (M,)
    at_once = points_at_once or len(alphas)
    scores = []
    for index, layer in enumerate(model.layers):
        w = clean.activations[:, index]  # (B, F)
        u = w @ layer.output.weight.T  # (B, D)
        total = torch.zeros_like(u)
        for some, share in zip(alphas.split(at_once), weights.split(at_once), strict=True):
            path = some[None, :, None] * u[:, None] + layer.output.bias  # (B, M, D)
            gradient = _gradient_along(model, clean, index, path, tokens)  # (B, M, D)
            total += torch.einsum("m,bmd->bd", share, gradient)
        scores.append(w * (total @ layer.output.weight))
    return torch.stack(scores, dim=1)


def _gradient_along(
    model: Bert, clean: CleanPass, index: int, path: Tensor, tokens: Tensor
) -> Tensor:
    """dP(token)/d(FFN output) at each point of path (B, M, D).  Returns (B, M, D)."""
    path.requires_grad_(True)
    with torch.enable_grad():
        probability = _probability_along(model, clean, index, path, tokens)  # (B, M)
        (gradient,) = torch.autograd.grad(probability.sum(), path)
    return gradient


@torch.no_grad()
def completeness_gap(model: Bert, clean: CleanPass, tokens: Tensor, scores: Tensor) -> Tensor:
    """|sum_i score_i - (P(w) - P(0))| per layer: zero for the exact integral (axiom of IG).

    tokens: (B,); scores: (B, L, F) from `integrated_gradients`.  Returns (B, L), in probability.
    """
    p_full = clean.probabilities.gather(1, tokens[:, None])  # (B, 1)
    gaps = []
    for index, layer in enumerate(model.layers):
        silent = layer.output.bias.expand(len(tokens), 1, -1)  # alpha = 0
        p_zero = _probability_along(model, clean, index, silent, tokens)  # (B, 1)
        gaps.append(scores[:, index].sum(-1, keepdim=True) - (p_full - p_zero))
    return torch.cat(gaps, dim=1).abs()


def _probability_along(
    model: Bert, clean: CleanPass, index: int, path: Tensor, tokens: Tensor
) -> Tensor:
    """P(token) when the FFN of layer `index` outputs path (B, M, D) at [MASK].  Returns (B, M)."""
    B, M, D = path.shape
    at_mask = model.layers[index].add_ffn(path, clean.attended[index][:, None])  # (B, M, D)
    above = model.layers[index + 1 :]
    if above:
        at_mask = _run_above(above, clean, index, at_mask)
    logits = model.head(at_mask.reshape(B * M, D))  # (R, V) with R = B * M
    chosen = tokens.repeat_interleave(M)[:, None]  # (R, 1)
    return logits.softmax(dim=-1).gather(1, chosen).view(B, M)


def _run_above(above: list[Layer], clean: CleanPass, index: int, at_mask: Tensor) -> Tensor:
    """Run the layers above with the stream at [MASK] replaced: (B, M, D) -> (R, D)."""
    B, M, D = at_mask.shape
    T = clean.hidden[index].shape[1]
    positions = torch.arange(T, device=at_mask.device)
    is_mask = positions == clean.batch.mask_positions[:, None]  # (B, T)
    others = clean.hidden[index][:, None]  # (B, 1, T, D)
    x = torch.where(is_mask[:, None, :, None], at_mask[:, :, None], others).reshape(B * M, T, D)
    for layer in above[:-1]:
        x = layer(x)
    rows = torch.arange(B * M, device=x.device)
    mask_of_row = clean.batch.mask_positions.repeat_interleave(M)  # (R,)
    x = above[-1].attend(x[rows, mask_of_row][:, None], context=x)  # (R, 1, D)
    return above[-1].ffn_out(above[-1].ffn_in(x), x)[:, 0]


def bytes_per_prompt(config: BertConfig, tokens: int, points: int) -> int:
    """Estimate of what `integrated_gradients` holds at its widest, for one prompt of T tokens.

    Per row and token a layer keeps about 10 D + 3 F numbers for the backward pass; the head keeps
    three times V per row.
    """
    layers = config.num_hidden_layers
    per_token = 10 * config.hidden_size + 3 * config.intermediate_size
    numbers = points * (layers * tokens * per_token + 3 * config.vocab_size)
    return 4 * numbers
