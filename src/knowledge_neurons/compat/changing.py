"""What the peers' interventions leave on, and what a model says meanwhile.

Activations are never changed in the model: edits that stay belong to the object that made them,
which reads its network through `Scaled`.  Weights that stay are in the model, until `SlotEdits`
takes them back, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.editing import slots
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network, Step, check_neurons
from knowledge_neurons.text import encoding
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import Edit, Neuron, Prompt, WeightEdit


class Scaled:
    """A network as it is under activation edits: at the position read of every pass.

    network: is not changed, and offers all that is not changed here.
    Raises ValueError for a neuron that it does not have.
    """

    def __init__(self, network: Network, edits: Sequence[Edit]):
        check_neurons(network, [neuron for edit in edits for neuron in edit.neurons])
        self._network = network
        self._factors: dict[int, dict[int, float]] = {}  # layer -> index -> factor
        for edit in edits:
            for layer, index in dict.fromkeys(edit.neurons):
                own = self._factors.setdefault(layer, {})
                own[index] = own.get(index, 1.0) * edit.factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def through(
        self,
        layer: int,
        x: Tensor,
        at: Tensor,
        only_read: bool,
        change: Callable[[Tensor], Tensor] | None = None,
        past: tuple[Tensor, ...] = (),
    ) -> Step:
        """As the network's, its activations at the position read scaled before `change`."""
        factors = self._factors.get(layer)

        def scaled(w: Tensor) -> Tensor:
            row = torch.ones_like(w[0]).index_put(
                (torch.tensor(list(factors), device=w.device),), w.new_tensor([*factors.values()])
            )  # (F,)
            return row * w if change is None else change(row * w)

        return self._network.through(layer, x, at, only_read, scaled if factors else change, past)


class SlotEdits:
    """Weight edits of a network that stay on until they are taken back, in any order.

    A value slot holds what the latest of them wrote, and where none is left the bits that were
    there before the first.
    """

    def __init__(self, network: Network):
        self._network = network
        self._live: list[WeightEdit] = []
        self._before: dict[Neuron, Tensor] = {}

    def add(self, edit: WeightEdit) -> Callable[..., None]:
        """Write an edit into the network; returns the function that takes it back."""
        new = [neuron for neuron in edit.neurons if neuron not in self._before]
        if new:
            self._before |= dict(zip(new, slots.value_slots(self._network, new), strict=True))
        slots.apply(self._network, edit)
        self._live.append(edit)

        def undo(*_: Any) -> None:
            if any(one is edit for one in self._live):
                self._live = [one for one in self._live if one is not edit]
                self._restore(edit.neurons)

        return undo

    def _restore(self, neurons: Sequence[Neuron]) -> None:
        for neuron in neurons:
            slot = self._before[neuron]
            for edit in self._live:
                if neuron in edit.neurons:
                    slot = edit.after[edit.neurons.index(neuron)]
            if not any(neuron in edit.neurons for edit in self._live):
                del self._before[neuron]
            slots.apply(self._network, WeightEdit((neuron,), slot[None], slot[None]))


class Completion(NamedTuple):
    """What a model says to a prompt.

    probability: of the right answer, each token given those before it.  said: ids of the most
    probable completion of as many tokens, one after the other; likely: its probability.
    """

    probability: float
    said: tuple[int, ...]
    likely: float

    def told(self, tokenizer: Tokens) -> dict[str, Any]:
        """As the peers return it."""
        return {
            "gt_prob": self.probability,
            "argmax_completion": tokenizer.decode(list(self.said)),
            "argmax_prob": self.likely,
        }


@torch.no_grad()
def completion(network: Network, prompt: Prompt) -> Completion:
    """Ask a prompt for its answer, and for what the model says in its place."""
    probability, likely, said = 1.0, 1.0, ()
    for place, answer in enumerate(prompt.answers):
        chains = (prompt, encoding.asking(prompt, (*said, *prompt.answers[place:])))
        asked = [(chain, *chain.later)[place] for chain in chains]
        places = (0,) if asked[0].ids == asked[1].ids else (0, 1)
        p = passes.logits(network, batching.collate(asked, places, network.device)).softmax(-1)
        probability *= p[0, answer].item()
        best, token = p[-1].max(dim=-1)
        likely *= best.item()
        said = (*said, token.item())
    return Completion(probability, said, likely)


@torch.no_grad()
def first_said(network: Network, prompt: Prompt) -> int:
    """The most probable token where a prompt is read, whatever it asks for."""
    return passes.logits(network, batching.collate([prompt], [0], network.device)).argmax().item()
