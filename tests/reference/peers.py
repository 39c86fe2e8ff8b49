"""What EleutherAI's package computes, step by step: the twin of `compat` on one BERT prompt.

Its own points of the path, every neuron compared with the threshold one by one, and the sets of
prompts counted by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.types import Prompt
from tests.reference.integrated_gradients import integrated_gradients


def scores(model: BertNetwork, prompt: Prompt, steps: int, ends: bool) -> Tensor:
    """(L, F): w times the mean gradient at m points, with both ends of the path or only the low."""
    points = [j / (steps - 1 if ends else steps) for j in range(steps)]
    where = torch.tensor(prompt.ids), prompt.mask_position, prompt.answer
    return torch.stack(
        [
            integrated_gradients(model, *where, layer, points, [1 / steps] * steps)
            for layer in range(len(model.layers))
        ]
    )


def above(of: Tensor, threshold: float) -> list[list[int]]:
    """[layer, index] of each score above it, layer by layer."""
    found = []
    for layer, row in enumerate(of.tolist()):
        for index, score in enumerate(row):
            if score > threshold:
                found.append([layer, index])
    return found


def percentile(of: Tensor, percent: float) -> float:
    """Of all scores, between two neighbours in proportion."""
    ordered = sorted(of.flatten().tolist())
    place = percent / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def in_more_than(sets: Sequence[list[list[int]]], p: float) -> list[list[int]]:
    """The neurons of more than a share p of the sets, in the order in which they first come."""
    order = []
    for one in sets:
        order += [neuron for neuron in one if neuron not in order]
    return [neuron for neuron in order if sum(neuron in one for one in sets) > p * len(sets)]
