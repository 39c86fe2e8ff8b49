"""Attribution of an answer of several tokens at once by brute force: the twin of the fast one.

One prompt, one layer, one point of the path after the other; a hook on the matrix that reads the
neurons puts alpha times their activations at all k positions, and the whole model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from knowledge_neurons.types import Prompt


class Asked(NamedTuple):
    """A whole model, ids (T,) of one pass, the k positions read, the answer's k tokens.

    run: ids (1, T) -> logits (1, T, V).  matrices: of each layer, what reads its neurons.
    """

    run: Callable[[Tensor], Tensor]
    matrices: Sequence[nn.Module]
    ids: list[int]
    at: list[int]
    tokens: list[int]


def asked(run: Callable, matrices: Sequence[nn.Module], prompt: Prompt, causal: bool) -> Asked:
    """What is read of a prompt: a decoder is given the answer but for its last token."""
    first, answer = prompt.mask_position, list(prompt.answers)
    ids = [*prompt.ids, *(answer[:-1] if causal else [])]
    return Asked(run, matrices, ids, [first + token for token in range(len(answer))], answer)


@contextmanager
def _placed(matrix: nn.Module, at: list[int], w: Tensor | None, seen: list[Tensor]):
    """Inside a `with`, the matrix reads w (k, F) at the positions; what it read goes to seen."""

    def hook(_, arguments):
        x = arguments[0].clone()  # (1, T, F)
        seen.append(x[0, at])
        if w is not None:
            x[0, at] = w
        return (x,)

    handle = matrix.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def probability(of: Asked, layer: int = 0, w: Tensor | None = None) -> Tensor:
    """Of the whole answer, a layer's neurons at the positions being w (k, F)."""
    with _placed(of.matrices[layer], of.at, w, []):
        logits = of.run(torch.tensor([of.ids]))[0, of.at]  # (k, V)
    chosen = logits.softmax(dim=-1)[range(len(of.at)), of.tokens]  # (k,)
    return chosen.prod()


def activations(of: Asked, layer: int) -> Tensor:
    """(k, F) of the unedited model."""
    seen: list[Tensor] = []
    with _placed(of.matrices[layer], of.at, None, seen):
        of.run(torch.tensor([of.ids]))
    return seen[0]


def integrated_gradients(of: Asked, alphas: Sequence[float], weights: Sequence[float]) -> Tensor:
    """w * sum_j c_j dP/dw at alpha_j w of every position and layer: (k, L, F)."""
    scores = []
    for layer in range(len(of.matrices)):
        w = activations(of, layer)
        total = torch.zeros_like(w)
        for alpha, weight in zip(alphas, weights, strict=True):
            point = (float(alpha) * w).requires_grad_(True)
            total += float(weight) * torch.autograd.grad(probability(of, layer, point), point)[0]
        scores.append(w * total)
    return torch.stack(scores, dim=1)
