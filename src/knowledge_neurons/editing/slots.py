"""Weight edits: new value slots for some neurons, computed here and applied there.

Section 5 of the paper.  The value slot of neuron i is column i of its layer's second FFN matrix,
what the neuron writes when it fires.  To make a fact answer t' instead of t, the word embedding of
t is taken out of the slots of its knowledge neurons and that of t' put in; to erase a relation, the
slots of its neurons are set to zero.

Computing an edit never touches the model; applying one is a context that leaves no bit behind:

    edit = update(model, neurons, old=paris, new=rome, lambda_1=1, lambda_2=8)
    with edited(model, edit):
        ...                                     # the model says Rome
    # the model is what it was, bit for bit, also after an exception

`patches` keeps an edit in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from knowledge_neurons.networks import interface
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.types import Neuron, WeightEdit


@torch.no_grad()
def value_slots(model: Network, neurons: Sequence[Neuron]) -> Tensor:
    """A copy of the neurons' value slots: (N, D), the model's dtype and device.

    Raises ValueError for no neurons, one that the model does not have, or one named twice.
    """
    check_neurons(model, neurons)
    slots = [model.value_slots(layer)[:, index] for layer, index in neurons]
    return torch.stack(slots)


def check_neurons(model: Network, neurons: Sequence[Neuron]) -> None:
    """Raise ValueError unless there are neurons, all of them the model's, and none named twice."""
    if not neurons:
        raise ValueError("an edit needs at least one neuron")
    interface.check_neurons(model, neurons)
    if len(set(neurons)) < len(neurons):
        twice = next(neuron for neuron in neurons if list(neurons).count(neuron) > 1)
        raise ValueError(f"neuron {twice.index} of layer {twice.layer} is named twice")


@torch.no_grad()
def update(
    model: Network,
    neurons: Sequence[Neuron],
    old: int,
    new: int,
    lambda_1: float = 1.0,
    lambda_2: float = 8.0,
) -> WeightEdit:
    """The edit that makes a fact's neurons write the new answer instead of the old (section 5.1).

        v' = v - lambda_1 * (|v| / |t|) * t + lambda_2 * (|v| / |t'|) * t'

    for each value slot v, with t, t' the word embeddings of the answers.  old, new: token ids.
    lambda_1, lambda_2: how much of the old answer is taken out and of the new one put in, ratios.
    Raises ValueError for a neuron or a token that the model does not have.
    """
    # UPSTREAM: both embeddings are scaled to the slot's norm; the text does not say so
    before = value_slots(model, neurons)  # (N, D)
    size = before.norm(dim=1, keepdim=True)  # (N, 1)
    change = lambda_2 * size * _direction(model, new) - lambda_1 * size * _direction(model, old)
    return WeightEdit(tuple(neurons), before, before + change)


def erase(model: Network, neurons: Sequence[Neuron], value: Tensor | None = None) -> WeightEdit:
    """The edit that sets the neurons' value slots to zero, or to a vector (D,) (section 5.2).

    Raises ValueError for a neuron that the model does not have.
    """
    before = value_slots(model, neurons)  # (N, D)
    after = torch.zeros_like(before) if value is None else value.to(before).expand_as(before)
    return WeightEdit(tuple(neurons), before, after.clone())


def combined(edits: Sequence[WeightEdit]) -> WeightEdit:
    """Several edits of the same weights as one: what they do to the same neuron adds up.

    Raises ValueError for none, and for edits that were computed from different weights.
    """
    if not edits:
        raise ValueError("expected at least one edit")
    before: dict[Neuron, Tensor] = {}
    after: dict[Neuron, Tensor] = {}
    for edit in edits:
        for neuron, old, new in zip(edit.neurons, edit.before, edit.after, strict=True):
            if neuron not in before:
                before[neuron], after[neuron] = old, new
            elif torch.equal(before[neuron], old):
                after[neuron] = after[neuron] + (new - old)
            else:
                raise ValueError("edits of different weights cannot be applied together: nest them")
    return WeightEdit(
        tuple(before), torch.stack([*before.values()]), torch.stack([*after.values()])
    )


def size_of(edit: WeightEdit) -> float:
    """How much an edit changes: the Frobenius norm of after - before."""
    return (edit.after - edit.before).double().norm().item()


def resized(edit: WeightEdit, size: float) -> WeightEdit:
    """The same edit with its change scaled to this Frobenius norm.

    Raises ValueError where there is no change to scale.
    """
    own = size_of(edit)
    if not own:
        raise ValueError("an edit that changes nothing cannot be scaled")
    return replace(edit, after=edit.before + (edit.after - edit.before) * (size / own))


@contextmanager
def edited(model: Network, edit: WeightEdit) -> Iterator[Network]:
    """The model with the edit in its weights, inside a `with`; afterwards every bit is as before.

    What is overwritten is saved and written back whatever happens inside; contexts may be nested,
    also with the same neurons.  DEVIATION: the released code takes the edit back by adding, which
    leaves rounding errors, and crashes on weights that require gradients (differences 16, 17).
    """
    saved = value_slots(model, edit.neurons)
    try:
        _write(model, edit.neurons, edit.after)
        yield model
    finally:
        _write(model, edit.neurons, saved)


@torch.no_grad()
def apply(model: Network, edit: WeightEdit) -> None:
    """Write the edit into the model for good; `edited` is the way to undo it."""
    check_neurons(model, edit.neurons)
    _write(model, edit.neurons, edit.after)


@torch.no_grad()
def _write(model: Network, neurons: Sequence[Neuron], slots: Tensor) -> None:
    """Overwrite the neurons' value slots with slots (N, D)."""
    for (layer, index), slot in zip(neurons, slots, strict=True):
        model.value_slots(layer)[:, index] = slot


def first_differing(old: Sequence[int], new: Sequence[int]) -> tuple[int, int]:
    """The tokens by which one answer of several is edited into another: the first that differ.

    old, new: token ids, at least one each; where none differ, the first of both.
    """
    pairs = list(zip(old, new, strict=False))
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def _direction(model: Network, token: int) -> Tensor:
    """A token's word embedding at norm 1: (D,)."""
    words = model.words  # (V, D)
    if not 0 <= token < len(words):
        raise ValueError(f"token {token}: the model has {len(words)}")
    return words[token] / words[token].norm()
