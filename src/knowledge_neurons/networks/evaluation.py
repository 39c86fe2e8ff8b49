"""What a model says at [MASK] of many prompts: probability and rank of tokens, the prediction.

Prompts are read in batches of equal length, so nothing is padded; in the last layer and in the head
only [MASK] is computed, and no hidden state is kept.  The time goes into matrix products.

    reader = Reader(model, prompts)                     # batches are made once ...
    before = reader.read()
    with edited(model, edit):
        after = reader.read()                           # ... and read as often as the model changes
    perplexity(after.log_probabilities[:, 0]) - perplexity(before.log_probabilities[:, 0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.types import Prompt

# Bytes that one batch may take.  At bert-base shapes 64 MiB are about 100 prompts of 10 tokens:
# products of a thousand rows, and activations that a cache still holds in part.
MEMORY = 1 << 26


@dataclass(frozen=True)
class Reading:
    """What was read of P prompts about K tokens each, in the order of the prompts.

    log_probabilities: (P, K) float64, in nats; ranks: (P, K) int64, 1 is the most probable token;
    predicted: (P,) int64, the most probable token's id.
    """

    log_probabilities: np.ndarray
    ranks: np.ndarray
    predicted: np.ndarray


class Reader:
    """Prompts made into batches once, to be read under any state of the model's weights."""

    def __init__(
        self,
        model: Network,
        prompts: Sequence[Prompt],
        tokens: Sequence[Sequence[int]] | None = None,
        memory: int = MEMORY,
    ):
        """tokens: K token ids for each prompt; by default one, its right answer."""
        asked = [[p.answer] for p in prompts] if tokens is None else tokens
        if len(asked) != len(prompts):
            raise ValueError(f"tokens for {len(asked)} prompts, there are {len(prompts)}")
        plan = batching.plan(prompts, memory, partial(passes.pass_bytes, model), model.device)
        self.model, self.shape = model, (len(prompts), len(asked[0]) if len(asked) else 1)
        self._batches = [
            (
                batch,
                torch.tensor([list(asked[place]) for place in batch.order], device=model.device),
            )
            for batch in plan
        ]

    @torch.no_grad()
    def read(self) -> Reading:
        """Run the model, as its weights are now, on every prompt."""
        log_p, ranks = np.empty(self.shape), np.empty(self.shape, np.int64)
        predicted = np.empty(self.shape[0], np.int64)
        for batch, tokens in self._batches:  # tokens (B, K)
            logits = passes.logits(self.model, batch)  # (B, V)
            chosen = logits.gather(1, tokens)  # (B, K)
            places = list(batch.order)
            log_p[places] = (chosen - logits.logsumexp(1, keepdim=True)).cpu().numpy()
            ranks[places] = rank(logits, chosen).cpu().numpy()
            predicted[places] = logits.argmax(1).cpu().numpy()
        if not np.isfinite(log_p).all():
            raise ValueError(
                "the model gives probabilities that are zero or not finite: are its weights, or "
                "the edit's lambdas, out of all proportion?"
            )
        return Reading(log_p, ranks, predicted)


def rank(logits: Tensor, chosen: Tensor) -> Tensor:
    """Place of tokens among all by their logits, 1 is the most probable: (B, K) int64.

        rank(t) = 1 + |{v : logit(v) > logit(t)}|

    logits: (B, V); chosen: (B, K), those of the tokens in question.
    """
    return 1 + (logits[:, None, :] > chosen[:, :, None]).sum(-1)
