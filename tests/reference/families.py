"""A small random model of `transformers` for every family, and its literal twin.

`CASES` has one or more models of each row of `networks.families`, with what may go wrong in it:
windows shorter than a prompt, parallel and sequential blocks, grouped queries, soft caps, tied and
untied heads, biases.  The functions at the end are the twin: the whole model, one prompt and one
change at a time, its neurons reached through a hook on the matrix that reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from knowledge_neurons.networks.interface import Shape
from knowledge_neurons.types import Edit, Neuron, Prompt

SHAPE, WINDOW = Shape(3, 32, 37, 61), 4
LONG = WINDOW + 5  # tokens of a prompt that reaches beyond every window
SPREAD = 0.15  # of matrices; scales and biases are a tenth from 1 and 0


@dataclass(frozen=True)
class Case:
    """How to make a model of a family, and where its neurons are read.

    model_type: its row.  name: of its classes, before Config and `kind`.  matrix: of layer {}.
    options: of its config, beside the shape.  wide: options under which no window is shorter than a
    prompt, where there is one.
    """

    model_type: str
    name: str
    kind: str
    matrix: str
    options: dict[str, Any] = field(default_factory=dict)
    wide: dict[str, Any] | None = None

    @property
    def causal(self) -> bool:
        return "MaskedLM" not in self.kind


_COMMON = {
    "vocab_size": SHAPE.vocabulary,
    "hidden_size": SHAPE.width,
    "intermediate_size": SHAPE.neurons,
    "num_hidden_layers": SHAPE.layers,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2}
_LOCAL = {"attention_types": [[["global", "local", "local"], 1]], "window_size": WINDOW}
_NEO = {"num_layers": SHAPE.layers, "num_heads": 4}
_CAPPED = {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.0}
_GEMMA2 = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW, **_GROUPED}


def _encoder(model_type: str, name: str, **options: Any) -> Case:
    root = "bert" if model_type == "bert" else "roberta"
    return Case(model_type, name, "ForMaskedLM", f"{root}.encoder.layer.{{}}.output.dense", options)


def _llama(model_type: str, name: str, wide: dict | None = None, **options: Any) -> Case:
    matrix = "model.layers.{}.mlp.down_proj"
    return Case(model_type, name, "ForCausalLM", matrix, _GROUPED | options, wide)


def _neox(**options: Any) -> Case:
    matrix = "gpt_neox.layers.{}.mlp.dense_4h_to_h"
    return Case("gpt_neox", "GPTNeoX", "ForCausalLM", matrix, options)


_WIDE = {"sliding_window": 64}
CASES: dict[str, Case] = {
    "bert": _encoder("bert", "Bert"),
    "roberta": _encoder("roberta", "Roberta"),
    "roberta untied": _encoder("roberta", "Roberta", tie_word_embeddings=False),
    "xlm-roberta": _encoder("xlm-roberta", "XLMRoberta"),
    "xlm-roberta-xl": _encoder("xlm-roberta-xl", "XLMRobertaXL"),
    "gpt2": Case("gpt2", "GPT2", "LMHeadModel", "transformer.h.{}.mlp.c_proj", {"n_inner": 37}),
    "gpt2 scaled by layer": Case(
        "gpt2",
        "GPT2",
        "LMHeadModel",
        "transformer.h.{}.mlp.c_proj",
        {"n_inner": 37, "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False},
    ),
    "gpt_neo": Case(
        "gpt_neo",
        "GPTNeo",
        "ForCausalLM",
        "transformer.h.{}.mlp.c_proj",
        _NEO | _LOCAL,
        {"window_size": 64},
    ),
    "gpt_neox parallel": _neox(use_parallel_residual=True),
    "gpt_neox sequential": _neox(use_parallel_residual=False, tie_word_embeddings=True),
    "llama": _llama("llama", "Llama"),
    "llama tied, biases": _llama(
        "llama", "Llama", tie_word_embeddings=True, attention_bias=True, mlp_bias=True
    ),
    "mistral": _llama("mistral", "Mistral", _WIDE, sliding_window=WINDOW),
    "qwen2": _llama("qwen2", "Qwen2"),
    "qwen2 window": _llama(
        "qwen2", "Qwen2", _WIDE, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": _llama("qwen3", "Qwen3", head_dim=8),
    "qwen3 window": _llama(
        "qwen3",
        "Qwen3",
        _WIDE,
        head_dim=16,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=1,
    ),
    "gemma": _llama("gemma", "Gemma", head_dim=8),
    "gemma2": _llama("gemma2", "Gemma2", _WIDE, **_GEMMA2),
    "gemma2 capped": _llama("gemma2", "Gemma2", _WIDE, **_GEMMA2, **_CAPPED),
}


def small(name: str, dtype: torch.dtype = torch.float32, **other: Any) -> nn.Module:
    """The model of a case, the same for the same name; other: options in place of its own."""
    case = CASES[name]
    config = getattr(transformers, f"{case.name}Config")(**_COMMON | case.options | other)
    model = getattr(transformers, f"{case.name}{case.kind}")(config)
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.data = noise * SPREAD
        else:
            parameter.data = parameter.data + 0.1 * noise
    return model.to(dtype).eval().requires_grad_(False)


# --- the literal twin ------------------------------------------------------------------------


def matrix(name: str, model: nn.Module, layer: int) -> nn.Module:
    """The linear map whose input are the neurons of a layer."""
    return model.get_submodule(CASES[name].matrix.format(layer))


@contextmanager
def neurons_changed(
    module: nn.Module, at: int, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Inside a `with`, what a matrix reads at a position is changed (F,) first."""

    def hook(_, arguments):
        (w,) = arguments  # (1, T, F)
        w = w.clone()
        w[0, at] = change(w[0, at])
        return (w,)

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def logits(
    name: str,
    model: nn.Module,
    prompt: Prompt,
    layer: int = 0,
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """(V,) at the position read, a layer's neurons there changed."""
    at = prompt.mask_position
    changed = neurons_changed(matrix(name, model, layer), at, change) if change else nullcontext()
    with changed:
        return model(torch.tensor([prompt.ids]), use_cache=False).logits[0, at]


def activations(name: str, model: nn.Module, prompt: Prompt, layer: int) -> Tensor:
    """(F,) at the position read."""
    seen = []
    logits(name, model, prompt, layer, lambda w: seen.append(w.clone()) or w)
    return seen[0]


def integrated_gradients(
    name: str,
    model: nn.Module,
    prompt: Prompt,
    target: Callable[[Tensor], Tensor],
    alphas: Sequence[float],
    weights: Sequence[float],
) -> Tensor:
    """w * sum_j c_j d target(logits)/dw at alpha_j w, of every layer: (L, F)."""
    scores = []
    for layer in range(SHAPE.layers):
        w = activations(name, model, prompt, layer)
        total = torch.zeros_like(w)
        for alpha, weight in zip(alphas, weights, strict=True):
            point = (float(alpha) * w).requires_grad_(True)
            value = target(logits(name, model, prompt, layer, lambda _, p=point: p))
            total += float(weight) * torch.autograd.grad(value, point)[0]
        scores.append(w * total)
    return torch.stack(scores)


def probability(name: str, model: nn.Module, prompt: Prompt, edit: Edit) -> float:
    """Of the whole answer, with the edit's neurons scaled wherever a token of it is read."""
    whole = 1.0
    for one in (prompt, *prompt.later):
        scaled = _scaled(name, model, one, sorted(set(edit.neurons)), edit.factor)
        whole *= scaled.softmax(-1)[one.answer].item()
    return whole


def edited_activation(
    name: str, model: nn.Module, prompt: Prompt, edit: Edit, neuron: Neuron
) -> float:
    """Of a neuron at the position read, with the edit's neurons scaled there."""
    seen: list[Tensor] = []
    of_others = [one for one in sorted(set(edit.neurons)) if one != neuron]
    module, at = matrix(name, model, neuron.layer), prompt.mask_position
    with neurons_changed(module, at, lambda w: seen.append(w.clone()) or w):
        _scaled(name, model, prompt, of_others, edit.factor)
    own = edit.factor if neuron in edit.neurons else 1.0
    return own * seen[0][neuron.index].item()


def drivers(
    name: str,
    model: nn.Module,
    prompt: Prompt,
    neuron: Neuron,
    alphas: Sequence[float],
    weights: Sequence[float],
) -> Tensor:
    """w * sum_j c_j d activation/dw at alpha_j w, of every layer below the neuron: (l, F)."""
    at, scores = prompt.mask_position, []
    for layer in range(neuron.layer):
        w = activations(name, model, prompt, layer)
        total = torch.zeros_like(w)
        for alpha, weight in zip(alphas, weights, strict=True):
            point = (float(alpha) * w).requires_grad_(True)
            with neurons_changed(matrix(name, model, layer), at, lambda _, p=point: p):
                value = activations(name, model, prompt, neuron.layer)[neuron.index]
            total += float(weight) * torch.autograd.grad(value, point)[0]
        scores.append(w * total)
    return torch.stack(scores)


def _scaled(
    name: str, model: nn.Module, prompt: Prompt, neurons: Sequence[Neuron], factor: float
) -> Tensor:
    if not neurons:
        return logits(name, model, prompt)
    (layer, index), *rest = neurons
    scale = torch.ones(SHAPE.neurons).index_fill(0, torch.tensor([index]), factor)
    module, at = matrix(name, model, layer), prompt.mask_position
    with neurons_changed(module, at, lambda w: w * scale.to(w)):
        return _scaled(name, model, prompt, rest, factor)


def with_slots(
    name: str, model: nn.Module, slots: dict[Neuron, Callable[[list[float]], list[float]]]
) -> nn.Module:
    """A copy of the model with other value slots of some neurons, given their old."""
    twin = copy.deepcopy(model)
    for (layer, index), new in slots.items():
        module = matrix(name, twin, layer)
        weight = module.weight if isinstance(module, nn.Linear) else module.weight.T  # Conv1D
        weight[:, index] = torch.tensor(new(weight[:, index].tolist()), dtype=weight.dtype)
    return twin
