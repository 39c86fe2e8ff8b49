"""What an edited model says, by hand: weights changed column by column, one prompt a pass.

`MODELS` are a masked model and a decoder, each with how its log probabilities are read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text.encoding import asking_after, asking_between
from knowledge_neurons.types import Neuron, Prompt
from tests.reference import edits as literal
from tests.reference import toy
from tests.reference.tiny import tiny_bert

MASK, PADDED = 4, 16
TOKENIZER = SimpleNamespace(
    tokens=lambda ids: [f"token{index}" for index in ids],
    text=lambda ids: " ".join(f"token{index}" for index in ids),
)


class Twin(NamedTuple):
    """made: a fresh model.  read: model, ids, position -> log p of all tokens there (V,).  causal:
    whether it is a decoder.  neurons: some of it."""

    made: Callable[[], Network]
    read: Callable[[Network, Sequence[int], int], Tensor]
    causal: bool
    neurons: tuple[Neuron, ...]

    def prompt(self, ids: Sequence[int], answer: Sequence[int]) -> Prompt:
        """A prompt whose answer comes next; a masked model reads two more tokens behind it."""
        if self.causal:
            return asking_after(ids, answer, 20)
        return asking_between(ids, (9, 3), MASK, answer, 20)

    def log_p(self, model: Network, ids: Sequence[int], answer: Sequence[int]) -> float:
        """Of the whole answer, each token given those before it."""
        total = 0.0
        for given, token in enumerate(answer):
            before = [*ids, *answer[:given]]
            behind = [] if self.causal else [*[MASK] * (len(answer) - given), 9, 3]
            at = len(before) - self.causal
            total += self.read(model, [*before, *behind], at)[token].item()
        return total


def _whole_bert(model: Network, ids: Sequence[int], at: int) -> Tensor:
    return literal.log_probabilities(model, Prompt(tuple(ids), at, 0), PADDED)


@torch.no_grad()
def _whole_toy(model: Network, ids: Sequence[int], at: int) -> Tensor:
    return model(torch.tensor([ids]))[0, at].log_softmax(-1)


MODELS = {
    "bert": Twin(tiny_bert, _whole_bert, False, (Neuron(2, 5), Neuron(1, 9))),
    "decoder": Twin(toy.ToyNetwork, _whole_toy, True, (Neuron(2, 5), Neuron(1, 9))),
}


@torch.no_grad()
def edited(
    twin: Twin, neurons: Sequence[Neuron], old: int, new: int, lambdas: tuple[float, float]
) -> Network:
    """A fresh model whose value slots were rewritten one coordinate after the other, for good."""
    model = twin.made()
    for layer, index in neurons:
        words = model.words[old].tolist(), model.words[new].tolist()
        slot = model.value_slots(layer)[:, index]
        slot.copy_(torch.tensor(literal.updated_slot(slot.tolist(), *words, *lambdas)))
    return model
