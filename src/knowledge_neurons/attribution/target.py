"""What an attribution is of: a scalar that each row of a pass comes to.

The gradients ask for no more, so a target is an argument of theirs.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Target(Protocol):
    """A scalar of each row, which gradients can be taken of."""

    def __call__(self, logits: Tensor, prompts: Tensor) -> Tensor:
        """logits: (R, V) at the position read; prompts: (R,) whose row of the batch each is.

        Returns (R,); a row's own depends on no other row.
        """


class Probability:
    """P(token) at the position read, a token per prompt: tokens (B,).  The paper's target."""

    def __init__(self, tokens: Tensor):
        self.tokens = tokens

    def __call__(self, logits: Tensor, prompts: Tensor) -> Tensor:
        return _Probability.apply(logits, self.tokens[prompts])


class LogProbability(Probability):
    """log P(token), in nats: has a slope where P is near 1 or 0 and its own has none."""

    def __call__(self, logits: Tensor, prompts: Tensor) -> Tensor:
        return logits.log_softmax(dim=-1).gather(1, self.tokens[prompts][:, None])[:, 0]


class Logit(Probability):
    """The token's logit, whatever all others do."""

    def __call__(self, logits: Tensor, prompts: Tensor) -> Tensor:
        return logits.gather(1, self.tokens[prompts][:, None])[:, 0]


PROBABILITY = "probability"
TARGETS: dict[str, type[Probability]] = {
    PROBABILITY: Probability,
    "log-probability": LogProbability,
    "logit": Logit,
}


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
