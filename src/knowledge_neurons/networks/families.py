"""The families of transformers that the engine takes apart: a row of a table for each.

A network is taken apart into the same few things whatever its family (`interface`); a row says
under which names its own modules hold them.  A family that has no row can be given one:

    families.register("olmo", Family(layers="model.layers", matrix="mlp.down_proj",
                                     head=("model.norm", "lm_head"), causal=True))

The models themselves are `transformers`' (the extra `models`); `adapter` drives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any


@dataclass(frozen=True)
class Family:
    """Where a family's models keep what the engine asks for; names of modules, dots between them.

    layers: the list of layers.  Of a layer: matrix, the linear map whose input are the neurons and
    whose columns are their value slots; after, the norm that its last sum goes through (post-norm
    encoders); between, the norm that the matrix's output goes through before that sum; cache, the
    argument in which it takes keys and values.
    head: from the last layer's stream to logits, in order.  causal: whether no token sees a later
    one.  soft_cap: name in the config of the bound of logits, c tanh(logits / c).
    """

    layers: str
    matrix: str
    head: tuple[str, ...]
    causal: bool
    after: str | None = None
    between: str | None = None
    cache: str = "past_key_values"
    soft_cap: str | None = None


_ROBERTA = Family(
    "roberta.encoder.layer", "output.dense", ("lm_head",), causal=False, after="output.LayerNorm"
)
_GPT = Family("transformer.h", "mlp.c_proj", ("transformer.ln_f", "lm_head"), causal=True)
_LLAMA = Family("model.layers", "mlp.down_proj", ("model.norm", "lm_head"), causal=True)

_FAMILIES: dict[str, Family] = {
    "bert": Family(
        "bert.encoder.layer", "output.dense", ("cls",), causal=False, after="output.LayerNorm"
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": Family(
        "roberta.encoder.layer",
        "output.dense",
        ("roberta.encoder.LayerNorm", "lm_head"),
        causal=False,
    ),
    "gpt2": _GPT,
    "gpt_neo": Family(_GPT.layers, _GPT.matrix, _GPT.head, causal=True, cache="layer_past"),
    "gpt_neox": Family(
        "gpt_neox.layers",
        "mlp.dense_4h_to_h",
        ("gpt_neox.final_layer_norm", "lm_head"),
        causal=True,
        cache="layer_past",
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": Family(
        _LLAMA.layers,
        _LLAMA.matrix,
        _LLAMA.head,
        causal=True,
        between="post_feedforward_layernorm",
        soft_cap="final_logit_softcapping",
    ),
}


def names() -> list[str]:
    """The model types that have a row."""
    return sorted(_FAMILIES)


def register(model_type: str, family: Family) -> None:
    """Give a model type (of a checkpoint's config.json) its row; ValueError where it has one."""
    if _FAMILIES.setdefault(model_type, family) != family:
        raise ValueError(f"model type {model_type!r} has another row already")


def of(model_type: Any) -> Family:
    """The row of a model type; ValueError for one without, which says what a row needs."""
    if model_type not in _FAMILIES:
        raise ValueError(
            f"models of type {model_type!r} are not known; supported are {', '.join(names())}.  "
            "A row of the table takes another: families.register(model_type, Family(layers=..., "
            "matrix=..., head=..., causal=...)) names its list of layers, in a layer the matrix "
            "whose input are the neurons, and the modules from the last layer to logits"
        )
    return _FAMILIES[model_type]


def part(module: Any, name: str) -> Any:
    """The module under a dotted name; AttributeError where there is none."""
    return reduce(getattr, name.split("."), module)
