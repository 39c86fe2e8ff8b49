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

import numpy as np
import torch
from torch import Tensor

from custom_bert import Bert, BertConfig
from knowledge_neurons.networks import batching
from knowledge_neurons.results.metrics import rank
from knowledge_neurons.types import Batch, Prompt

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
        model: Bert,
        prompts: Sequence[Prompt],
        tokens: Sequence[Sequence[int]] | None = None,
        memory: int = MEMORY,
    ):
        """tokens: K token ids for each prompt; by default one, its right answer."""
        device = next(model.parameters()).device
        asked = [[p.answer] for p in prompts] if tokens is None else tokens
        if len(asked) != len(prompts):
            raise ValueError(f"tokens for {len(asked)} prompts, there are {len(prompts)}")
        config = model.config
        plan = batching.plan(prompts, memory, lambda length: bytes_per_prompt(config, length))
        self.model, self.shape = model, (len(prompts), len(asked[0]) if len(asked) else 1)
        self._batches = [
            (
                batching.to_device(batch, device),
                torch.tensor([list(asked[place]) for place in batch.order], device=device),
            )
            for batch in plan
        ]

    @torch.no_grad()
    def read(self) -> Reading:
        """Run the model, as its weights are now, on every prompt."""
        log_p, ranks = np.empty(self.shape), np.empty(self.shape, np.int64)
        predicted = np.empty(self.shape[0], np.int64)
        for batch, tokens in self._batches:  # tokens (B, K)
            logits = mask_logits(self.model, batch)  # (B, V)
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


def mask_logits(model: Bert, batch: Batch) -> Tensor:
    """Logits at [MASK] alone: ids (B, T) -> (B, V)."""
    x = model.embed(batch.ids)  # (B, T, D)
    for layer in model.layers[:-1]:
        x = layer(x)
    last = model.layers[-1]
    x = last.attend_at(x, batch.mask_positions)  # (B, D)
    return model.head(last.ffn_out(last.ffn_in(x), x))


def bytes_per_prompt(config: BertConfig, tokens: int) -> int:
    """Estimate of what `mask_logits` holds at its widest, for one prompt."""
    layer = tokens * (6 * config.hidden_size + 2 * config.intermediate_size)
    return 4 * (layer + 3 * config.vocab_size)
