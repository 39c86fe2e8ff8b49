"""Ways to say how much each neuron has to do with an answer, behind one interface.

A scorer takes a clean pass and the answers' tokens (B,), and gives a score for every neuron,
(B, L, F).  `zero-out` is what all others approximate: how much of P(answer) goes with the neuron
alone.  m_i is the neuron's activation at the position read, v_i its value slot, h the stream that
its layer's feed-forward output enters, U_y what turns the last stream into the answer's logit.

    ig                   w * integral of dP/dw                (equation 4 of the paper)
    gradient-activation  m_i dP/dm_i                          (its right sum with one point)
    log-probability      log P(y | h + m_i v_i) - log P(y | h), both through the head
                         (Yu and Ananiadou 2024, arXiv 2312.12141)
    logit                m_i (v_i . U_y), U_y the head's gradient where it stands: through its norm
    zero-out             P(y) - P(y | m_i = 0)
    activation           m_i                                  (the paper's baseline)
    activation-norm      |m_i| |v_i|
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from knowledge_neurons.attribution import quadrature
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.interface import Network, check_neurons
from knowledge_neurons.networks.passes import CleanPass
from knowledge_neurons.types import Neuron

Scorer = Callable[[Network, CleanPass, Tensor, int], Tensor]  # memory in bytes -> (B, L, F)
STEPS = 20  # of the paper's sum
END = quadrature.rule("riemann-right", 1)  # the end of the path alone


def integrated(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """Equation 4 with the released code's twenty points."""
    rule = quadrature.rule("riemann-left", STEPS)
    return integrated_gradients(model, clean, Probability(tokens), rule, memory)


def gradient_activation(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """Activation times the gradient of P(answer) there."""
    return integrated_gradients(model, clean, Probability(tokens), END, memory)


def log_probability(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """What the neuron's own output adds to log P(answer), were the head next."""
    return _of_all(log_probability_of, model, clean, tokens, memory)


@torch.no_grad()
def log_probability_of(
    model: Network, clean: CleanPass, tokens: Tensor, neurons: Sequence[Neuron], memory: int
) -> Tensor:
    """The same of N neurons, in any order: (B, N)."""
    check_neurons(model, neurons)
    found = clean.activations.new_empty(len(tokens), len(neurons))
    at_once = max(1, memory // (passes.FLOAT * 4 * model.shape.vocabulary))
    for layer in sorted({one.layer for one in neurons}):
        mine = [place for place, one in enumerate(neurons) if one.layer == layer]
        slots = model.value_slots(layer).to(found.dtype)  # (D, F)
        silent = model.add(layer, _nothing(model, clean), clean.attended[layer])  # (B, D)
        for row, token in enumerate(tokens):
            w = clean.activations[row, layer]
            start = _log_p(model, silent[row : row + 1], token)
            for places in _split(mine, at_once):
                some = [neurons[place].index for place in places]
                y = (slots[:, some] * w[some]).T  # (r, D)
                attended = clean.attended[layer][row : row + 1].expand(len(some), -1)
                added = _log_p(model, model.add(layer, y, attended), token)
                found[row, places] = added - start
    return found


def logit(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """What the neuron adds to the answer's logit directly, the head taken as linear there."""
    rows = torch.arange(len(tokens), device=tokens.device)
    with torch.enable_grad():
        x = clean.hidden[-1][rows, -1].detach().requires_grad_(True)  # (B, D)
        value = model.head(x)[rows, tokens].sum()
        (direction,) = torch.autograd.grad(value, x)
    layers = range(model.shape.layers)
    products = [direction @ model.value_slots(n).to(direction.dtype) for n in layers]  # (B, F)
    return clean.activations * torch.stack(products, dim=1)


def zero_out(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """How much of P(answer) goes with each neuron, one at a time: a pass for every neuron."""
    return _of_all(zero_out_of, model, clean, tokens, memory)


def zero_out_of(
    model: Network, clean: CleanPass, tokens: Tensor, neurons: Sequence[Neuron], memory: int
) -> Tensor:
    """The same of N of them, in any order: (B, N)."""
    check_neurons(model, neurons)
    B = len(tokens)
    p = clean.probabilities[torch.arange(B, device=tokens.device), tokens]
    found = p.new_empty(B, len(neurons))
    costs = passes.path_bytes(model, clean.batch.ids.shape[1])
    for layer in sorted({one.layer for one in neurons}):
        mine = [place for place, one in enumerate(neurons) if one.layer == layer]
        rows = [(row, place) for place in mine for row in range(B)]
        for some in _split(rows, max(1, memory // costs[layer])):
            at, places = (torch.tensor(part, device=p.device) for part in zip(*some, strict=True))
            indices = [neurons[place].index for _, place in some]
            without = _without(model, clean, layer, at, indices)
            found[at, places] = p[at] - _probability(model, clean, layer, at, without, tokens)
    return found


def activation(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """The activation itself, whatever is asked."""
    return clean.activations


def activation_norm(model: Network, clean: CleanPass, tokens: Tensor, memory: int) -> Tensor:
    """How large what the neuron writes is, whatever is asked."""
    layers = range(model.shape.layers)
    slots = (model.value_slots(layer).to(clean.activations) for layer in layers)
    norms = torch.stack([some.norm(dim=0) for some in slots])  # (L, F)
    return clean.activations.abs() * norms


IG, ZERO_OUT = "ig", "zero-out"
SCORERS: dict[str, Scorer] = {
    IG: integrated,
    "gradient-activation": gradient_activation,
    "log-probability": log_probability,
    "logit": logit,
    ZERO_OUT: zero_out,
    "activation": activation,
    "activation-norm": activation_norm,
}


# Those that cost a pass or a head for each neuron, of some neurons alone.
ONE_BY_ONE = {"log-probability": log_probability_of, ZERO_OUT: zero_out_of}
# What their scores are in; of ig in what the target is.
UNITS = {
    "gradient-activation": "probability",
    "log-probability": "log-probability",
    "logit": "logit",
    ZERO_OUT: "probability",
    "activation": "activation",
    "activation-norm": "length of what is written",
}


def scores_in(
    layers: Collection[int],
    name: str,
    model: Network,
    clean: CleanPass,
    tokens: Tensor,
    memory: int,
) -> Tensor:
    """A scorer's scores in some layers, (B, L, F), 0 in all others.

    Of scorers that go neuron by neuron those of other layers are never asked.
    """
    if name in ONE_BY_ONE:
        return _of_all(ONE_BY_ONE[name], model, clean, tokens, memory, layers)
    found, chosen = SCORERS[name](model, clean, tokens, memory), list(layers)
    scores = torch.zeros_like(found)
    scores[:, chosen] = found[:, chosen]
    return scores


# --- rows ------------------------------------------------------------------------------------


def _of_all(
    score: Callable[..., Tensor],
    model: Network,
    clean: CleanPass,
    tokens: Tensor,
    memory: int,
    layers: Collection[int] | None = None,
) -> Tensor:
    """Scores of every neuron, one by one: (B, L, F).  layers: of these alone, the others' are 0."""
    L, F = model.shape.layers, model.shape.neurons
    chosen = list(range(L) if layers is None else layers)
    every = [Neuron(layer, index) for layer in chosen for index in range(F)]
    found = score(model, clean, tokens, every, memory)  # (B, N)
    scores = torch.zeros_like(clean.activations)
    scores[:, chosen] = found.view(len(tokens), len(chosen), F)
    return scores


def _nothing(model: Network, clean: CleanPass) -> Tensor:
    """A feed-forward output that adds nothing: (B, D)."""
    return clean.activations.new_zeros(len(clean.activations), model.shape.width)


def _log_p(model: Network, x: Tensor, token: Tensor) -> Tensor:
    """log P(token) of streams (r, D) as if they were the last: (r,)."""
    return model.head(x).log_softmax(dim=-1)[:, token]


@torch.no_grad()
def _without(
    model: Network, clean: CleanPass, layer: int, at: Tensor, indices: Sequence[int]
) -> Tensor:
    """The feed-forward outputs (r, D) of prompts at (r,), each with one neuron off."""
    w = clean.activations[at, layer].clone()  # (r, F)
    w[torch.arange(len(at), device=w.device), list(indices)] = 0.0
    return model.ffn_output(layer, w)


@torch.no_grad()
def _probability(
    model: Network, clean: CleanPass, layer: int, at: Tensor, y: Tensor, tokens: Tensor
) -> Tensor:
    """P(answer) of rows that leave a layer with another feed-forward output: (r,)."""
    x = passes.start(model, clean, layer, at, y)
    for above in range(layer + 1, model.shape.layers):
        x = passes.start_up(model, clean, above, at, x)
    p = model.head(x[:, 0]).softmax(dim=-1)
    return p[torch.arange(len(at), device=p.device), tokens[at]]


def _split(rows: list, size: int) -> Iterator[list]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@torch.no_grad()
def probability_with(
    model: Network, clean: CleanPass, tokens: Tensor, kept: Tensor, memory: int
) -> Tensor:
    """P(answer) of one prompt with only some neurons on: kept (R, L, F) bool -> (R,).

    clean: of that prompt alone.
    """
    assert len(tokens) == 1
    found = []
    cost = passes.pass_bytes(model, clean.batch.ids.shape[1])
    for some in kept.split(max(1, memory // cost)):
        rows = torch.zeros(len(some), dtype=torch.long, device=tokens.device)
        x, at = model.embed(clean.batch.ids)[rows], clean.batch.mask_positions[rows]
        x = x[:, -1:] if model.causal else x
        for layer in range(model.shape.layers):

            def change(w: Tensor, on: Tensor = some[:, layer]) -> Tensor:
                return w * on.to(w)

            if model.causal:
                step = passes.one_up(model, clean, layer, rows, x, change)
            else:
                step = passes.up(model, layer, x, at, change)
            x, at = step.x, step.at
        found.append(model.head(x[:, 0]).softmax(dim=-1)[:, tokens[0]])
    return torch.cat(found)
