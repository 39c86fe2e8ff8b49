"""Activation edits as arguments of a call, and reading activations: the model is never touched.

Section 4.3 of the paper: the activations of some neurons at the [MASK] position are multiplied by a
factor, 0 to suppress them, 2 to amplify them.  Section 4.4 reads them.

Both compute only what differs.  An edit changes nothing below its lowest neuron, so its row joins
the batch in that layer, as a copy of the unedited prompt's: B prompts with K edits each start as B
rows and end as B (1 + K).  Reading goes the other way: a prompt's row leaves the batch in the
highest layer asked for, and there only [MASK] is computed.  `tests/reference/interventions.py`
holds the slow literal twins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from knowledge_neurons.networks import passes
from knowledge_neurons.networks.interface import Network, check_neurons
from knowledge_neurons.types import Batch, Edit, Neuron

# --- editing ---------------------------------------------------------------------------------


@torch.no_grad()
def probabilities(
    model: Network, batch: Batch, edits: Sequence[Sequence[Edit]] | None = None
) -> Tensor:
    """Probabilities at [MASK] without an edit, and under each of the prompt's edits.

    edits: for each of the B prompts its own K edits, as many for every prompt; None for none.  An
    edit without neurons or with factor 1 costs nothing.
    Returns (B, 1 + K, V), the unedited model first; the model's dtype and device.
    Raises ValueError for a neuron that the model does not have, or an uneven number of edits.

        off = Edit((Neuron(3, 20), Neuron(3, 7)), 0.0)
        p = probabilities(model, batch, [[off]] * len(batch.answers))  # (B, 2, V)
    """
    edits = [[]] * len(batch.answers) if edits is None else edits
    if len(edits) != len(batch.answers) or len({len(own) for own in edits}) > 1:
        raise ValueError(
            f"{len(batch.answers)} prompts with {[len(own) for own in edits]} edits: expected "
            "edits for each prompt, as many for all"
        )
    check_neurons(model, [n for own in edits for edit in own for n in edit.neurons])
    rows = _rows_of(edits)
    stream = _edited_stream(model, batch, rows)  # (R, D)
    p = model.head(stream).softmax(dim=-1)  # (R, V)
    return p[torch.tensor(rows.outcome, device=p.device)]


@dataclass(frozen=True)
class _Scaling:
    """Neurons to be scaled in one layer: three columns of equal length, by rising row."""

    rows: list[int]
    neurons: list[int]
    factors: list[float]

    def apply(self, w: Tensor, first: int = 0) -> Tensor:
        """Scale in place what w holds of them: rows `first` and on, (r, F)."""
        mine = [i for i, row in enumerate(self.rows) if first <= row < first + len(w)]
        rows = torch.tensor([self.rows[i] - first for i in mine], device=w.device, dtype=torch.long)
        neurons = torch.tensor([self.neurons[i] for i in mine], device=w.device, dtype=torch.long)
        w[rows, neurons] *= w.new_tensor([self.factors[i] for i in mine])
        return w


@dataclass(frozen=True)
class _Rows:
    """The rows of an edited pass: B prompts, then the edits in the order in which they join.

    prompt: whose row each is.  joining: layer -> how many edits join there.
    scaling: layer -> what to scale.  outcome: (B, 1 + K) which row holds it.
    """

    prompt: list[int]
    joining: Counter[int]
    scaling: dict[int, _Scaling]
    outcome: list[list[int]]


def _rows_of(edits: Sequence[Sequence[Edit]]) -> _Rows:
    """Plan the rows; an edit that changes nothing shares its prompt's."""
    outcome = [[row] * (1 + len(own)) for row, own in enumerate(edits)]
    effective = [
        (min(edit.neurons).layer, prompt, place, edit)
        for prompt, own in enumerate(edits)
        for place, edit in enumerate(own, start=1)
        if edit.neurons and edit.factor != 1
    ]
    rows = _Rows(list(range(len(edits))), Counter(), {}, outcome)
    for lowest, prompt, place, edit in sorted(effective, key=lambda entry: entry[0]):
        row = outcome[prompt][place] = len(rows.prompt)
        rows.prompt.append(prompt)
        rows.joining[lowest] += 1
        for layer, index in dict.fromkeys(edit.neurons):  # a neuron named twice is scaled once
            scaling = rows.scaling.setdefault(layer, _Scaling([], [], []))
            scaling.rows.append(row)
            scaling.neurons.append(index)
            scaling.factors.append(edit.factor)
    return rows


def _edited_stream(model: Network, batch: Batch, rows: _Rows) -> Tensor:
    """The stream at [MASK] after the last layer, for every row: (R, D)."""
    prompt = torch.tensor(rows.prompt, device=batch.ids.device)  # (R,)
    x, at = model.embed(batch.ids), batch.mask_positions  # (B, T, D), (B,)
    for layer in range(model.shape.layers):
        scaling, running = rows.scaling.get(layer), len(x)
        step = passes.up(model, layer, x, at, scaling and scaling.apply)
        x, at = step.x, step.at
        joining = prompt[running : running + rows.joining[layer]]  # (J,)
        if len(joining):
            w = scaling.apply(step.activations[joining], first=running)  # (J, F)
            read = model.add(layer, model.ffn_output(layer, w), step.attended[joining])  # (J, D)
            x = torch.cat([x, passes.placed(x[joining], at[joining], read)])
            at = torch.cat([at, at[joining]])
    return x[:, 0]


# --- reading ---------------------------------------------------------------------------------


@torch.no_grad()
def activations(
    model: Network, batch: Batch, neurons: Sequence[Sequence[Neuron]]
) -> list[list[float]]:
    """Activations at [MASK] of the neurons asked for, for each prompt its own.

    neurons: B sets; a prompt without any costs nothing.
    Returns B lists, each in the order of its neurons.
    Raises ValueError for a neuron that the model does not have.

        activations(model, batch, [[Neuron(3, 20)]] * len(batch.answers))  # [[1.9], [-0.01], ...]
    """
    if len(neurons) != len(batch.answers):
        raise ValueError(f"{len(batch.answers)} prompts, but {len(neurons)} sets of neurons")
    check_neurons(model, [neuron for own in neurons for neuron in own])
    highest = [max((layer for layer, _ in own), default=-1) for own in neurons]
    asking = [row for row, own in enumerate(neurons) if own]
    if not asking:
        return [[] for _ in neurons]
    order = sorted(asking, key=lambda row: -highest[row])  # who leaves last, first
    rows = torch.tensor(order, device=batch.ids.device)
    asked: dict[int, list[tuple[int, int, int]]] = {}  # layer -> (row, neuron, place) of each
    places = 0
    for row, own in enumerate(order):
        for layer, index in neurons[own]:
            asked.setdefault(layer, []).append((row, index, places))
            places += 1
    stays = [sum(top > layer for top in highest) for layer in range(model.shape.layers)]
    flat = _read(model, batch.ids[rows], batch.mask_positions[rows], asked, stays, places)
    values = iter(flat.tolist())
    found = {own: [next(values) for _ in neurons[own]] for own in order}
    return [found.get(own, []) for own in range(len(neurons))]


def _read(
    model: Network,
    ids: Tensor,
    at: Tensor,
    asked: dict[int, list[tuple[int, int, int]]],
    stays: list[int],
    places: int,
) -> Tensor:
    """The activations asked for, in their places: (places,).

    ids: (B, T), those first that are asked for the highest layers.  at: (B,) where [MASK] is.
    asked: layer -> row, neuron and place of each.  stays: how many rows go on after each layer.
    """
    x = model.embed(ids)  # (B, T, D)
    flat = x.new_zeros(places)
    for layer, stay in enumerate(stays):
        read = []  # (r, F) each
        if stay < len(x):
            read.append(passes.up(model, layer, x[stay:], at[stay:], leaving=True).activations)
        if stay:
            x, at, activations, _ = passes.up(model, layer, x[:stay], at[:stay])
            read.insert(0, activations)
        if layer in asked:
            row, neuron, place = torch.tensor(asked[layer], device=ids.device).T
            flat[place] = torch.cat(read)[row, neuron]
        if not stay:
            break
    return flat
