"""Weight edits and perplexity, number by number: the slow twins of `editing` and `evaluation`.

One slot, one coordinate, one prompt at a time; the whole network over a prompt padded to a fixed
length, as the released code does it.
"""

from __future__ import annotations

import math

import torch

from custom_bert import Bert
from knowledge_neurons.types import Prompt


def updated_slot(
    slot: list[float], old: list[float], new: list[float], lambda_1: float, lambda_2: float
) -> list[float]:
    """v - l1 (|v| / |t|) t + l2 (|v| / |t'|) t', coordinate by coordinate (PAPER, row 12)."""

    def norm(vector: list[float]) -> float:
        return math.sqrt(sum(x * x for x in vector))

    take = lambda_1 * norm(slot) / norm(old)
    put = lambda_2 * norm(slot) / norm(new)
    return [v - take * t + put * n for v, t, n in zip(slot, old, new, strict=True)]


@torch.no_grad()
def log_probabilities(model: Bert, prompt: Prompt, padded_to: int) -> torch.Tensor:
    """Log probability of every token at [MASK], one prompt alone, padded: (V,)."""
    length = len(prompt.ids)
    ids = torch.tensor([[*prompt.ids, *[0] * (padded_to - length)]])  # (1, T)
    mask = torch.arange(padded_to)[None] < length  # (1, T)
    x = model.embed(ids)
    for layer in model.layers:
        x = layer(x, mask)
    return model.head(x[0, prompt.mask_position]).log_softmax(-1)


def perplexity(model: Bert, prompts: list[Prompt], padded_to: int) -> float:
    """exp(-mean(log p)) of the right answers, one after the other."""
    total = 0.0
    for prompt in prompts:
        total += log_probabilities(model, prompt, padded_to)[prompt.answer].item()
    return math.exp(-total / len(prompts))
