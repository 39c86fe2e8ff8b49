"""Activation edits as arguments of a call: the model itself is never touched.

Section 4.3 of the paper: the activations of some neurons at the [MASK] position are multiplied by a
factor, 0 to suppress them, 2 to amplify them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from custom_bert import Bert
from knowledge_neurons.types import Batch, Neuron


def neuron_mask(model: Bert, neurons: Sequence[Sequence[Neuron]]) -> Tensor:
    """One set of neurons per prompt -> (B, L, F) bool, True where the neuron is in the set.

    Raises ValueError for a neuron that the model does not have.
    """
    config = model.config
    shape = (len(neurons), config.num_hidden_layers, config.intermediate_size)
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, chosen in enumerate(neurons):
        for layer, index in chosen:
            if not (0 <= layer < shape[1] and 0 <= index < shape[2]):
                raise ValueError(
                    f"neuron {index} of layer {layer}: the model has layers 0 to {shape[1] - 1} "
                    f"of {shape[2]} neurons"
                )
            mask[row, layer, index] = True
    return mask.to(next(model.parameters()).device)


@torch.no_grad()
def probabilities(
    model: Bert, batch: Batch, chosen: Tensor | None = None, factor: float = 1.0
) -> Tensor:
    """Probabilities at [MASK] with the chosen neurons' activations there times factor.

    chosen: (B, L, F) bool from `neuron_mask`, None for the unedited model.
    Returns (B, V).
    """
    rows, at = torch.arange(len(batch.answers), device=batch.ids.device), batch.mask_positions
    x = model.embed(batch.ids)  # (B, T, D)
    for index, layer in enumerate(model.layers):
        x = layer.attend(x)
        w = layer.ffn_in(x)  # (B, T, F)
        if chosen is not None:
            w[rows, at] *= torch.where(chosen[:, index], factor, 1.0)
        x = layer.ffn_out(w, x)
    return model.head(x[rows, at]).softmax(dim=-1)
