"""`custom_bert` behind the engine's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from custom_bert import Bert, BertConfig
from knowledge_neurons.networks import bert_names
from knowledge_neurons.networks.interface import Cost, Shape, Step


class BertNetwork(Bert):
    """BERT with its masked-LM head as an `interface.Network`."""

    causal = False
    directions = "output"  # the same as "input": they are tied

    @property
    def shape(self) -> Shape:
        c = self.config
        return Shape(c.num_hidden_layers, c.hidden_size, c.intermediate_size, c.vocab_size)

    @property
    def cost(self) -> Cost:
        """Kept are the inputs of both LayerNorms, queries, keys, values, attention's output and
        pre-activations; at its widest a layer holds activations before and after the nonlinearity.
        """
        _, D, F, _ = self.shape
        return Cost(kept=7 * D + F, widest=2 * F + 4 * D, products=4 * D**2 + 2 * D * F)

    @property
    def max_tokens(self) -> int:
        return self.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.words.device

    @property
    def words(self) -> Tensor:
        return self.embeddings.word.weight

    def value_slots(self, layer: int) -> Tensor:
        return self.layers[layer].output.weight

    def value_bias(self, layer: int) -> Tensor:
        return self.layers[layer].output.bias

    def through(
        self,
        layer: int,
        x: Tensor,
        at: Tensor,
        only_read: bool,
        change: Callable[[Tensor], Tensor] | None = None,
        past: tuple[Tensor, ...] = (),
    ) -> Step:
        part, rows = self.layers[layer], torch.arange(len(x), device=x.device)
        if only_read:
            x, at = part.attend_at(x, at)[:, None], torch.zeros_like(at)
        else:
            x = part.attend(x)
        w = part.ffn_in(x)  # (r, T, F)
        activations = w[rows, at]
        if change is not None:
            w[rows, at] = activations = change(activations)
        return Step(part.ffn_out(w, x), at, activations, x[rows, at])

    def ffn_output(self, layer: int, w: Tensor) -> Tensor:
        return self.layers[layer].output(w)

    def add(self, layer: int, y: Tensor, attended: Tensor) -> Tensor:
        return self.layers[layer].add_ffn(y, attended)

    # --- checkpoints ---

    @classmethod
    def shaped(cls, config: BertConfig) -> BertNetwork:
        """A model on the meta device: shapes, and no weights."""
        with _NothingDrawn(), torch.device("meta"):
            return cls(config)

    @classmethod
    def from_state(cls, config: BertConfig, state: Mapping[str, Tensor]) -> BertNetwork:
        """A frozen model in eval mode from the tensors of a published checkpoint.

        state: name -> tensor under the published names, today's or the old gamma/beta ones.
        Every tensor must be there with the config's shape, and nothing else but what `bert_names`
        knows as harmless.  Raises ValueError that names the offending tensors.
        """
        model = cls.shaped(config)
        ours = bert_names.ours_of(state, model.state_dict())
        model.load_state_dict({name: t.float() for name, t in ours.items()}, assign=True)
        return model.eval().requires_grad_(False)

    def published_state(self) -> dict[str, Tensor]:
        """The tensors under their published names, as Hugging Face's BertForMaskedLM reads them."""
        return {bert_names.published(name): t for name, t in self.state_dict().items()}


class _NothingDrawn(TorchFunctionMode):
    """Modules are made without initial weights.  On the meta device torch would import its compiler
    to draw them, which takes as long as importing torch."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)
