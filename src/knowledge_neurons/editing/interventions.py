"""Activation edits as arguments of a call, and reading activations: the model is never touched.

Section 4.3 of the paper: the activations of some neurons at the [MASK] position are multiplied by a
factor, 0 to suppress them, 2 to amplify them.  Section 4.4 reads them.

Both compute only what differs.  An edit changes nothing below its lowest neuron, so its row joins
the batch in that layer, as a copy of the unedited prompt's (in a causal network of its position
read): B prompts with K edits each start as B rows and end as B (1 + K).  Reading goes the other
way: a prompt's row leaves the batch in the highest layer asked for, and there only [MASK] is
computed.  `tests/reference/interventions.py` holds the slow literal twins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from knowledge_neurons.networks import log_odds, passes
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
    rows, stream = _edited(model, batch, edits)  # (R, D)
    p = model.head(stream).softmax(dim=-1)  # (R, V)
    return p[torch.tensor(rows.outcome, device=p.device)]


@torch.no_grad()
def answers(model: Network, batch: Batch, edits: Sequence[Sequence[Edit]]) -> tuple[Tensor, Tensor]:
    """Probabilities of the answers, bit for bit those of `probabilities`, and their log-odds.

    edits: as of `probabilities`.  Returns (B, 1 + K) each, the unedited model first; log-odds in
    nats, see `log_odds.of_tokens`.
    """
    rows, stream = _edited(model, batch, edits)  # (R, D)
    logits = model.head(stream)  # (R, V)
    row_of = torch.tensor(rows.outcome, device=logits.device)
    tokens = batch.answers[torch.tensor(rows.prompt, device=logits.device)]  # (R,)
    p = logits.softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
    return p[row_of], log_odds.of_tokens(logits, tokens)[row_of]


@torch.no_grad()
def edited_activations(
    model: Network,
    batch: Batch,
    neurons: Sequence[Neuron],
    edits: Sequence[Sequence[Edit]],
) -> Tensor:
    """Activations at [MASK] without an edit, and under each of the prompt's edits.

    neurons: N of them.  edits: as of `probabilities`.
    Returns (B, 1 + K, N), the unedited model first.
    """
    check_neurons(model, neurons)
    seen: dict[int, Tensor] = {}
    wanted = {layer for layer, _ in neurons}

    def watch(layer: int, w: Tensor) -> None:
        if layer in wanted:
            seen[layer] = w  # (r, F) of the rows that have joined

    rows, _ = _edited(model, batch, edits, watch)
    found = []
    for layer, index in neurons:
        there = seen[layer][:, index]
        # An edit that joins higher up leaves this layer as it is without it.
        row_of = [row if row < len(there) else rows.prompt[row] for row in range(len(rows.prompt))]
        found.append(there[torch.tensor(row_of, device=there.device)])
    return torch.stack(found, dim=-1)[torch.tensor(rows.outcome, device=batch.ids.device)]


Watch = Callable[[int, Tensor], None]  # is told each layer's activations of the rows that joined


def _edited(
    model: Network, batch: Batch, edits: Sequence[Sequence[Edit]], watch: Watch | None = None
) -> tuple[_Rows, Tensor]:
    """The rows of an edited pass, and their stream after the last layer, (R, D)."""
    if len(edits) != len(batch.answers) or len({len(own) for own in edits}) > 1:
        raise ValueError(
            f"{len(batch.answers)} prompts with {[len(own) for own in edits]} edits: expected "
            "edits for each prompt, as many for all"
        )
    check_neurons(model, [n for own in edits for edit in own for n in edit.neurons])
    rows = _rows_of(edits)
    walk = _edited_reads if model.causal else _edited_stream
    return rows, walk(model, batch, rows, watch)


@dataclass(frozen=True)
class _Rows:
    """The rows of an edited pass: B prompts, then the edits in the order in which they join.

    prompt: whose row each is.  joining: layer -> how many edits join there.
    scaling: layer -> row, neuron and factor of each to be scaled.  outcome: (B, 1 + K) which row
    holds it.
    """

    prompt: list[int]
    joining: Counter[int]
    scaling: dict[int, list[tuple[int, int, float]]]
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
            rows.scaling.setdefault(layer, []).append((row, index, edit.factor))
    return rows


def _edited_stream(model: Network, batch: Batch, rows: _Rows, watch: Watch | None) -> Tensor:
    """The stream at [MASK] after the last layer, for every row: (R, D)."""
    prompt = torch.tensor(rows.prompt, device=batch.ids.device)  # (R,)
    x, at = model.embed(batch.ids), batch.mask_positions  # (B, T, D), (B,)
    for layer in range(model.shape.layers):
        scale, running = partial(_scaled, scaling=rows.scaling.get(layer, ())), len(x)
        step = passes.up(model, layer, x, at, scale)
        x, at = step.x, step.at
        joining = prompt[running : running + rows.joining[layer]]  # (J,)
        w = scale(step.activations[joining], first=running)  # (J, F)
        if watch:
            watch(layer, torch.cat([step.activations, w]))
        if len(joining):
            read = model.add(layer, model.ffn_output(layer, w), step.attended[joining])  # (J, D)
            x = torch.cat([x, passes.placed(x[joining], at[joining], read)])
            at = torch.cat([at, at[joining]])
    return x[:, 0]


def _edited_reads(model: Network, batch: Batch, rows: _Rows, watch: Watch | None) -> Tensor:
    """The same in a causal network, where an edited row is the position read alone."""
    clean, B = passes.clean_pass(model, batch), len(batch.answers)
    prompt = torch.tensor(rows.prompt[B:], dtype=torch.long, device=batch.ids.device)  # (J,)
    x = clean.hidden[-1][:0, -1:]  # (r, 1, D), the rows that have joined
    for layer in range(model.shape.layers):
        scale, running = partial(_scaled, scaling=rows.scaling.get(layer, ())), len(x)
        own = [clean.activations[:, layer]]
        if running:
            change = partial(scale, first=B)
            step = passes.one_up(model, clean, layer, prompt[:running], x, change)
            x = step.x
            own.append(step.activations)
        joining = prompt[running : running + rows.joining[layer]]
        w = scale(clean.activations[joining, layer], first=B + running)
        if watch:
            watch(layer, torch.cat([*own, w]))
        if len(joining):
            y = model.ffn_output(layer, w)
            x = torch.cat([x, passes.start(model, clean, layer, joining, y)])
    return torch.cat([clean.hidden[-1], x])[:, 0]


def _scaled(w: Tensor, scaling: Sequence[tuple[int, int, float]], first: int = 0) -> Tensor:
    """Scale in place what w (r, F) holds of the neurons named, w being rows `first` and on."""
    mine = [(row - first, *rest) for row, *rest in scaling if first <= row < first + len(w)]
    if mine:
        rows, neurons, factors = map(list, zip(*mine, strict=True))
        w[rows, neurons] *= w.new_tensor(factors)
    return w


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
    order = sorted((row for row, own in enumerate(neurons) if own), key=lambda row: -highest[row])
    if not order:
        return [[] for _ in neurons]
    asked: dict[int, list[tuple[int, int]]] = {}  # layer -> (place in order, index) of each
    for place, row in enumerate(order):  # who leaves last, first
        for layer, index in neurons[row]:
            asked.setdefault(layer, []).append((place, index))
    x, at = model.embed(batch.ids[order]), batch.mask_positions[order]  # (R, T, D), (R,)
    keys, found = [], []
    for layer in range(1 + max(highest)):
        stay, read = sum(top > layer for top in highest), []  # (r, F) each
        leaving = x[stay:], at[stay:]
        if stay:
            x, at, w, *_ = passes.up(model, layer, x[:stay], at[:stay])
            read.append(w)
        if len(leaving[0]):
            read.append(passes.up(model, layer, *leaving, leaving=True).activations)
        if layer in asked:
            places, indices = map(list, zip(*asked[layer], strict=True))
            found.append(torch.cat(read)[places, indices])
            keys += [(order[place], layer, index) for place, index in asked[layer]]
    values = dict(zip(keys, torch.cat(found).tolist(), strict=True))
    return [[values[row, *neuron] for neuron in own] for row, own in enumerate(neurons)]
