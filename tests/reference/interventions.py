"""Scaling and reading neurons one prompt at a time: the slow twin of `interventions`.

The whole network for every prompt and every edit, each neuron's activation multiplied one by one.
Shares with the fast path only the parts of custom_bert.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from custom_bert import Bert
from knowledge_neurons.types import Edit, Neuron, Prompt


def probabilities(model: Bert, prompt: Prompt, edit: Edit) -> Tensor:
    """(V,) at [MASK] with the edit's neurons scaled there."""
    return logits(model, prompt, edit).softmax(-1)


def log_odds(model: Bert, prompt: Prompt, edit: Edit) -> float:
    """ln(P / (1 - P)) of the answer, 1 - P as the sum of all other tokens' probabilities."""
    log_p = logits(model, prompt, edit).double().log_softmax(-1)
    others = [one for token, one in enumerate(log_p) if token != prompt.answer]
    return (log_p[prompt.answer] - torch.stack(others).logsumexp(0)).item()


@torch.no_grad()
def logits(model: Bert, prompt: Prompt, edit: Edit) -> Tensor:
    """(V,) at [MASK] with the edit's neurons scaled there."""
    x = model.embed(torch.tensor([prompt.ids]))
    for index, layer in enumerate(model.layers):
        x = layer.attend(x)
        w = layer.ffn_in(x)  # (1, T, F)
        for neuron in set(edit.neurons):
            if neuron.layer == index:
                w[0, prompt.mask_position, neuron.index] *= edit.factor
        x = layer.ffn_out(w, x)
    return model.head(x)[0, prompt.mask_position]


@torch.no_grad()
def activations(model: Bert, prompt: Prompt, neurons: Sequence[Neuron]) -> list[float]:
    """The activation of each neuron at [MASK]."""
    x = model.embed(torch.tensor([prompt.ids]))
    read = {}
    for index, layer in enumerate(model.layers):
        x = layer.attend(x)
        w = layer.ffn_in(x)  # (1, T, F)
        for neuron in neurons:
            if neuron.layer == index:
                read[neuron] = w[0, prompt.mask_position, neuron.index].item()
        x = layer.ffn_out(w, x)
    return [read[neuron] for neuron in neurons]
