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

from custom_bert import Bert, BertConfig, Layer
from knowledge_neurons.types import Batch, Edit, Neuron


def check_neurons(config: BertConfig, neurons: Sequence[Neuron]) -> None:
    """Raise ValueError for a neuron that the model does not have."""
    layers, width = config.num_hidden_layers, config.intermediate_size
    for layer, index in neurons:
        if not (0 <= layer < layers and 0 <= index < width):
            raise ValueError(
                f"neuron {index} of layer {layer}: the model has layers 0 to {layers - 1} "
                f"of {width} neurons"
            )


# --- editing ---------------------------------------------------------------------------------


@torch.no_grad()
def probabilities(
    model: Bert, batch: Batch, edits: Sequence[Sequence[Edit]] | None = None
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
    check_neurons(model.config, [n for own in edits for edit in own for n in edit.neurons])
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

    def apply(self, w: Tensor, at: Tensor | None = None, first: int = 0) -> None:
        """Scale in place what w holds of them: rows `first` and on, (r, F) or (r, T, F) at `at`."""
        mine = [i for i, row in enumerate(self.rows) if first <= row < first + len(w)]
        if not mine:
            return
        rows = torch.tensor([self.rows[i] - first for i in mine], device=w.device)
        neurons = torch.tensor([self.neurons[i] for i in mine], device=w.device)
        factors = w.new_tensor([self.factors[i] for i in mine])
        where = (rows, neurons) if at is None else (rows, at[rows], neurons)
        w[where] *= factors


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


def _edited_stream(model: Bert, batch: Batch, rows: _Rows) -> Tensor:
    """The stream at [MASK] after the last layer, for every row: (R, D)."""
    prompt = torch.tensor(rows.prompt, device=batch.ids.device)  # (R,)
    at, x = batch.mask_positions, model.embed(batch.ids)  # (B,), (B, T, D)
    for index, layer in enumerate(model.layers):
        if layer is model.layers[-1]:  # only [MASK] is read from here on
            x, at = layer.attend_at(x, at)[:, None], torch.zeros_like(at)
        else:
            x = layer.attend(x)
        joining = prompt[len(x) : len(x) + rows.joining[index]]  # (J,)
        x = _edited_ffn(layer, x, at, rows.scaling.get(index), joining)
        at = torch.cat([at, at[joining]])
    return x[:, 0]


def _edited_ffn(
    layer: Layer, x: Tensor, at: Tensor, scaling: _Scaling | None, joining: Tensor
) -> Tensor:
    """The feed-forward block with what is to be scaled at [MASK]: x (r, T, D) -> (r + J, T, D).

    joining: (J,) the rows whose copies, each under an edit of its own, join after the others.
    """
    w = layer.ffn_in(x)  # (r, T, F)
    if scaling:
        scaling.apply(w, at)
    y = layer.ffn_out(w, x)
    if not len(joining):
        return y
    places = at[joining]
    v = w[joining, places]  # (J, F)
    scaling.apply(v, first=len(x))
    joined = y[joining]  # (J, T, D)
    each = torch.arange(len(joining), device=y.device)
    joined[each, places] = layer.ffn_out(v, x[joining, places])
    return torch.cat([y, joined])


def bytes_per_prompt(config: BertConfig, tokens: int, edits: int) -> int:
    """What `probabilities` holds at its widest for one prompt of T tokens under K edits.

    Per row and token that is the feed-forward network: its F activations before and after the
    nonlinearity, and the stream; or, per row, the vocabulary before and after softmax and in the
    result.
    """
    rows = 1 + edits
    return 4 * rows * max(tokens * _numbers_per_token(config), 3 * config.vocab_size)


# --- reading ---------------------------------------------------------------------------------


@torch.no_grad()
def activations(
    model: Bert, batch: Batch, neurons: Sequence[Sequence[Neuron]]
) -> list[list[float]]:
    """Activations at [MASK] of the neurons asked for, for each prompt its own.

    neurons: B sets; a prompt without any costs nothing.
    Returns B lists, each in the order of its neurons.
    Raises ValueError for a neuron that the model does not have.

        activations(model, batch, [[Neuron(3, 20)]] * len(batch.answers))  # [[1.9], [-0.01], ...]
    """
    if len(neurons) != len(batch.answers):
        raise ValueError(f"{len(batch.answers)} prompts, but {len(neurons)} sets of neurons")
    check_neurons(model.config, [neuron for own in neurons for neuron in own])
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
    stays = [sum(top > layer for top in highest) for layer in range(model.config.num_hidden_layers)]
    flat = _read(model, batch.ids[rows], batch.mask_positions[rows], asked, stays, places)
    values = iter(flat.tolist())
    found = {own: [next(values) for _ in neurons[own]] for own in order}
    return [found.get(own, []) for own in range(len(neurons))]


def _read(
    model: Bert,
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
    for index, layer in enumerate(model.layers):
        stay, here = stays[index], len(x)
        leaving, at_mask = x[stay:], []  # (r, F) each
        if stay:
            x, w_at_mask = _through(layer, x[:stay], at[:stay])
            at_mask.append(w_at_mask)
        if stay < here:
            at_mask.append(layer.ffn_in(layer.attend_at(leaving, at[stay:here])))
        if index in asked:
            row, neuron, place = torch.tensor(asked[index], device=ids.device).T
            flat[place] = torch.cat(at_mask)[row, neuron]
        if not stay:
            break
    return flat


def _through(layer: Layer, x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """A layer, x (B, T, D) -> (B, T, D), and its neurons at [MASK], (B, F)."""
    x = layer.attend(x)
    w = layer.ffn_in(x)  # (B, T, F)
    return layer.ffn_out(w, x), w[torch.arange(len(w), device=w.device), at]


def bytes_to_read(config: BertConfig, tokens: int) -> int:
    """What `activations` holds at its widest for one prompt of T tokens; see bytes_per_prompt."""
    return 4 * tokens * _numbers_per_token(config)


def _numbers_per_token(config: BertConfig) -> int:
    return 2 * config.intermediate_size + 4 * config.hidden_size
