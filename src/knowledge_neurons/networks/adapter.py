"""Any family of `families` behind the engine's interface, through `transformers`' own modules.

Nothing of a family is written again: its layers are called as its own model calls them, so numbers
are those of the reference implementation.  What a layer computes inside is seen through hooks that
last for one call of it.  Of the position read alone, in the last layer and in causal networks, a
layer gets that one token and, in place of its cache, the keys and values of the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from knowledge_neurons.networks import families
from knowledge_neurons.networks.interface import Cost, Shape, Step
from knowledge_neurons.networks.looking import Cache, Found, hooked, until_found

# Of a layer's arguments, those that the engine decides: the cache and whether there is one.
_OWN = ("use_cache", "past_key_values", "layer_past", "past_key_value", "output_attentions")


class AdaptedNetwork:
    """A masked or causal language model of `transformers` as an `interface.Network`.

    model: an ...ForMaskedLM or ...ForCausalLM whose model_type has a row in `families`.  It is put
    into eval mode and its parameters are frozen; nothing else of it is changed.
    Raises ValueError for a family without a row, for modules that are not where the row says, and
    for a model spread over several devices.
    """

    directions = "output"  # or "input": which embedding stands for a token where the two differ

    def __init__(self, model: nn.Module):
        self.family = families.of(getattr(model.config, "model_type", None))
        self.model = model.eval().requires_grad_(False)
        self._arguments: dict[int, list[dict[str, Any]]] = {}
        self._check()

    def _check(self) -> None:
        named = type(self.model).__name__
        devices = set((getattr(self.model, "hf_device_map", None) or {}).values())
        if len(devices) > 1:
            raise ValueError(
                f"{named} is spread over {len(devices)} devices (device_map): rows of several "
                "layers go up in one batch, so it has to lie on one device"
            )
        try:
            for layer in range(len(self._layers)):
                matrix = self._matrix(layer)
                if not _plain(matrix):
                    raise ValueError(
                        f"{named}'s {self.family.matrix} in layer {layer} is a "
                        f"{type(matrix).__name__}, expected a plain linear map: load the model "
                        "without quantisation or adapters"
                    )
                for name in filter(None, (self.family.after, self.family.between)):
                    families.part(self._layers[layer], name)
            stream = self.words.new_zeros(1, self.shape.width)
            V = self.head(stream).shape[-1]
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"{named} is not built as the family {self.model.config.model_type!r} is: {error}."
                "  Give a ...ForMaskedLM or ...ForCausalLM whose layers all have one FFN matrix"
            ) from error
        if len(self.words) != V:
            raise ValueError(f"{named}: its head gives {V} logits for {len(self.words)} words")

    def to(self, device: torch.device | str) -> AdaptedNetwork:
        """Move the model, in place."""
        self.model.to(device)
        self._arguments.clear()
        return self

    def products_in(self, dtype: torch.dtype) -> AdaptedNetwork:
        """A copy whose weights are of this type."""
        return AdaptedNetwork(deepcopy(self.model).to(dtype))

    # --- parts ---

    @cached_property
    def _layers(self) -> nn.ModuleList:
        return families.part(self.model, self.family.layers)

    @cached_property
    def _head(self) -> list[nn.Module]:
        return [families.part(self.model, name) for name in self.family.head]

    def _matrix(self, layer: int) -> nn.Module:
        return families.part(self._layers[layer], self.family.matrix)

    @property
    def causal(self) -> bool:
        return self.family.causal

    @cached_property
    def shape(self) -> Shape:
        D, F = self.value_slots(0).shape
        return Shape(len(self._layers), D, F, len(self.words))

    @cached_property
    def cost(self) -> Cost:
        """Every matrix of a layer is one product; kept are the inputs of norms and matrices."""
        _, D, F, _ = self.shape
        products = sum(p.numel() for p in self._layers[0].parameters() if p.dim() == 2)
        gated = 2 * (products - 2 * D * F) > D * F  # a third matrix as large as the other two
        return Cost(kept=8 * D + (4 if gated else 2) * F, widest=4 * (D + F), products=products)

    @property
    def max_tokens(self) -> int:
        """Positions that the config names, less those that RoBERTa keeps for padding."""
        config = self.model.config
        padding = self.model.config.pad_token_id or 0
        kept = padding + 1 if "roberta" in config.model_type else 0
        return getattr(config, "max_position_embeddings", 1 << 20) - kept

    @property
    def device(self) -> torch.device:
        return self.words.device

    @property
    def words(self) -> Tensor:
        """Of the output embedding or the input embedding, as `directions` says."""
        if self.directions == "input":
            return self.model.get_input_embeddings().weight
        return self.model.get_output_embeddings().weight

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self._matrix(0).weight.dtype

    @property
    def _full(self) -> torch.dtype:
        """Of all that scores are made from: float32, or the weights' where these have more."""
        return torch.promote_types(self.dtype, torch.float32)

    def value_slots(self, layer: int) -> Tensor:
        matrix = self._matrix(layer)
        return matrix.weight if isinstance(matrix, nn.Linear) else matrix.weight.T  # Conv1D

    def value_bias(self, layer: int) -> Tensor:
        bias = self._matrix(layer).bias
        return self.words.new_zeros(self.shape.width) if bias is None else bias

    def published_state(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    # --- the way up ---

    def embed(self, ids: Tensor) -> Tensor:
        """The stream that the model hands its first layer, which is not called."""

        def stop(_, given: tuple, named: dict) -> None:
            raise Found(given[0] if given else named["hidden_states"])

        if ids.shape[1] not in self._arguments:
            self._arguments[ids.shape[1]] = self._probe(ids[:1])
        with hooked((self._layers[0], "before", stop)):
            (x,) = until_found(lambda: self.model(ids, use_cache=False))
        return x

    def through(
        self,
        layer: int,
        x: Tensor,
        at: Tensor,
        only_read: bool,
        change: Callable[[Tensor], Tensor] | None = None,
        past: tuple[Tensor, ...] = (),
    ) -> Step:
        rows = torch.arange(len(x), device=x.device)
        if only_read and not past:
            past = self._keys_and_values(layer, x)
            x, at = x[rows, at][:, None], torch.zeros_like(at)
            if self.causal:
                past = tuple(part[:, :, :-1] for part in past)
        seen: dict[str, Tensor] = {}

        def read(_, given: tuple) -> tuple | None:
            seen["w"] = given[0][rows, at].to(self._full)
            if change is None:
                return None
            seen["w"] = change(seen["w"])
            return (given[0].index_put((rows, at), seen["w"].to(given[0].dtype)),)

        def wrote(_, given: tuple, y: Tensor) -> None:
            seen["y"] = y[rows, at]

        def summed(_, given: tuple) -> None:
            seen["sum"] = given[0][rows, at]

        matrix = self._matrix(layer)
        hooks = [(matrix, "before", read), (matrix, "after", wrote)]
        if self.family.after:
            hooks.append((families.part(self._layers[layer], self.family.after), "before", summed))
        cache = Cache(past, joined=self.causal)
        with hooked(*hooks):
            x = self._call(layer, x, cache)
        total = seen.get("sum", x[rows, at])
        attended = total.to(self._full) - self._between(layer, seen["y"]).to(self._full)
        kept = tuple(part[:, :, :-1] for part in cache.seen) if self.causal else ()
        return Step(x, at, seen["w"], attended, kept)

    def _call(self, layer: int, x: Tensor, cache: Cache) -> Tensor:
        """The layer's own forward; of a row that is one token, its arguments at the last one."""
        tokens = x.shape[1]
        if cache.past:
            tokens = cache.past[0].shape[2] + (1 if self.causal else 0)
        arguments = self._arguments[tokens][layer]
        if cache.past and self.causal:
            arguments = {name: _at_last(value) for name, value in arguments.items()}
        y = self._layers[layer](x, **arguments, **{self.family.cache: cache})
        return y[0] if isinstance(y, tuple) else y

    def _keys_and_values(self, layer: int, x: Tensor) -> tuple[Tensor, ...]:
        """What attention looks at in whole rows x (r, T, D); no more of the layer is computed."""
        return until_found(lambda: self._call(layer, x, Cache((), stop=True)))

    def ffn_output(self, layer: int, w: Tensor) -> Tensor:
        return self._matrix(layer)(w.to(self.dtype)).to(self._full)

    def _between(self, layer: int, y: Tensor) -> Tensor:
        name = self.family.between
        return families.part(self._layers[layer], name)(y.to(self.dtype)) if name else y

    def add(self, layer: int, y: Tensor, attended: Tensor) -> Tensor:
        total = (attended + self._between(layer, y)).to(self.dtype)
        name = self.family.after
        return families.part(self._layers[layer], name)(total) if name else total

    def head(self, x: Tensor) -> Tensor:
        for module in self._head:
            x = module(x)
        x = x.to(self._full)
        cap = self.family.soft_cap and getattr(self.model.config, self.family.soft_cap)
        return cap * torch.tanh(x / cap) if cap else x

    def _probe(self, ids: Tensor) -> list[dict[str, Any]]:
        """What the model itself hands each layer beside the stream: masks, rotary positions.

        ids: (1, T); no two prompts of a length differ in it, for there is no padding.
        """
        found: list[dict[str, Any]] = []

        def note(layer: nn.Module, given: tuple, named: dict) -> None:
            bound = inspect.signature(layer.forward).bind(*given, **named).arguments
            bound |= bound.pop("kwargs", {})
            first = next(iter(bound))
            own = (first, *_OWN)
            found.append({k: v for k, v in bound.items() if k not in own and v is not None})

        with hooked(*((layer, "before", note) for layer in self._layers)), torch.no_grad():
            self.model(ids, use_cache=False)
        return found


def _plain(matrix: nn.Module) -> bool:
    """Whether it is Linear or GPT-2's Conv1D itself; quantised ones are classes derived of them."""
    known = type(matrix) is nn.Linear or type(matrix).__name__ == "Conv1D"
    return known and matrix.weight.dim() == 2 and matrix.weight.is_floating_point()


def _at_last(value: Any) -> Any:
    """A layer's argument, of its last token alone: masks (., ., T, T), positions (., T, ...)."""
    if isinstance(value, tuple):
        return tuple(map(_at_last, value))
    if not isinstance(value, Tensor) or not value.dim():
        return value
    return value.narrow((0, 0, 1, 1, 2)[value.dim()], -1, 1)
