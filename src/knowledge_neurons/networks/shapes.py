"""A model's shape without its weights, and random models of that shape with fewer layers.

    network = shape_of("bert-base-cased")      # on the meta device: any size, no memory
    trial = cut(network, 2)                    # two layers of that shape with random weights

Of a model on the hub only config.json is fetched; where that cannot be had, the seven BERTs of the
hub and the model of scripts/real_model.sh are known by name.
"""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from custom_bert import BertConfig
from knowledge_neurons.networks import adapted_checkpoints, checkpoints, families, hub
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.sources import ARCHIVE_SUFFIXES, CONFIG_FILES, VOCABULARY_FILES
from knowledge_neurons.text import strict_json
from knowledge_neurons.text.encoding import Tokens

_BASE, _LARGE = (768, 12, 12, 3072), (1024, 24, 16, 4096)
_BERTS = {
    "bert-base-uncased": (30_522, *_BASE),
    "bert-large-uncased": (30_522, *_LARGE),
    "bert-base-cased": (28_996, *_BASE),
    "bert-large-cased": (28_996, *_LARGE),
    "bert-base-multilingual-uncased": (105_879, *_BASE),
    "bert-base-multilingual-cased": (119_547, *_BASE),
    "bert-base-chinese": (21_128, *_BASE),
}
_SMOLLM2 = {
    **{"model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "num_hidden_layers": 30},
    **{"intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3},
    **{"tie_word_embeddings": True, "max_position_embeddings": 8192},
}
_OTHERS = {"smollm2": _SMOLLM2, "SmolLM2-135M": _SMOLLM2, "SmolLM2-135M-Instruct": _SMOLLM2}
_OTHER_WORDS = ("tokenizer.model", "vocab.json", "spiece.model")  # as other families keep them
SPREAD, PATTERN = 0.02, 1 << 20  # of random weights: their deviation, and how many are drawn


def shape_of(
    source: str, revision: str | None = None, cache_dir: str | Path | None = None
) -> Network:
    """The network of a checkpoint on the meta device; no weight is fetched, read or allocated.

    Raises ValueError where neither its config can be had nor its name is known, and for a family
    without a row.
    """
    try:
        config = _config(source, revision, cache_dir)
    except ValueError:
        config = _known(source)
        if config is None:
            raise
    return of_config(config)


def of_config(config: Any) -> Network:
    """The network of a BertConfig, of the content of a config.json or of transformers' config."""
    if isinstance(config, BertConfig):
        return BertNetwork.shaped(config).eval().requires_grad_(False)
    transformers = adapted_checkpoints.library("the model")
    if isinstance(config, dict):
        named = {name: value for name, value in config.items() if name != "model_type"}
        config = transformers.AutoConfig.for_model(config["model_type"], **named)
    causal = families.of(config.model_type).causal
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    with torch.device("meta"):
        return AdaptedNetwork(kind.from_config(config))


def _config(source: str, revision: str | None, cache_dir: str | Path | None) -> Any:
    """What a checkpoint says of itself; ValueError where it cannot be read."""
    path = Path(source).expanduser()
    if path.suffix == f".{adapted_checkpoints.GGUF}" and path.is_file():
        transformers = adapted_checkpoints.library(source)
        return transformers.AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
    if path.is_dir():
        files = {name: path / name for name in CONFIG_FILES if (path / name).is_file()}
    elif path.name.endswith(ARCHIVE_SUFFIXES):
        raise ValueError(f"{path}: an archive is not unpacked for its shape")
    else:
        hub.check_name(source)
        files = hub.fetch(source, revision, cache_dir, [CONFIG_FILES])
    if not files:
        raise ValueError(f"{source} has no config: looked for {' or '.join(CONFIG_FILES)}")
    content = strict_json.read_object(next(iter(files.values())))
    if content.get("model_type") in (None, "bert"):
        return checkpoints.read_config(files)
    families.of(content["model_type"])
    return content


def _known(source: str) -> Any:
    """The config of a model whose name says it all, None of others."""
    name = Path(source).name
    for suffix in ARCHIVE_SUFFIXES:
        name = name.removesuffix(suffix)
    if name in _BERTS:
        return BertConfig(*_BERTS[name])
    return _OTHERS.get(name)


def tokens_of(source: str, network: Network) -> Tokens | None:
    """The tokenizer of a model in a folder, read without its weights; None where there is none."""
    path = Path(source).expanduser()
    if not any((path / name).is_file() for name in (*VOCABULARY_FILES, *_OTHER_WORDS)):
        return None
    if isinstance(network, AdaptedNetwork):
        transformers = adapted_checkpoints.library(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(path))
        return adapted_checkpoints.words_of(tokenizer, network)
    names = (*VOCABULARY_FILES, "tokenizer_config.json")
    files = {name: path / name for name in names if (path / name).is_file()}
    return checkpoints.read_tokenizer(files, source, None)


def parameters(network: Network) -> int:
    """How many numbers the weights are; tied ones count once."""
    return sum(parameter.numel() for parameter in _module(network).parameters())


# --- random models of that shape ---------------------------------------------------------------


def cut(
    network: Network, layers: int, device: torch.device, dtype: torch.dtype, shared: bool = False
) -> Network:
    """The lowest layers of a network on the meta device, with random weights on a device.

    dtype: of the weights of a family other than BERT.  shared: the lowest layer, again and again.
    """
    model = _with_layers(deepcopy(_module(network)), 1 if shared else layers, network)
    model.to_empty(device=device)
    if isinstance(network, AdaptedNetwork):
        model.tie_weights()
    _fill(model)
    if shared:
        model = _with_layers(model, layers, network)
    return AdaptedNetwork(model.to(dtype)) if isinstance(network, AdaptedNetwork) else model


def lower(network: Network, layers: int) -> Network:
    """The lowest layers of a network, which shares their weights."""
    model = _with_layers(copy(_module(network)), layers, network)
    return AdaptedNetwork(model) if isinstance(network, AdaptedNetwork) else model


def _module(network: Network) -> nn.Module:
    return network.model if isinstance(network, AdaptedNetwork) else network


def _with_layers(model: nn.Module, layers: int, network: Network) -> nn.Module:
    """The model with so many of its layers, the last of them repeated where it has fewer."""
    name = network.family.layers if isinstance(network, AdaptedNetwork) else "layers"
    where, _, last = name.rpartition(".")
    holder = model
    for part in filter(None, where.split(".")):  # copies, so that the original keeps its own
        holder._modules = {**holder._modules, part: copy(getattr(holder, part))}
        holder = getattr(holder, part)
    own = list(getattr(holder, last))
    kept = nn.ModuleList((own * layers)[:layers] if len(own) < layers else own[:layers])
    holder._modules = {**holder._modules, last: kept}
    if not isinstance(network, AdaptedNetwork):
        model.config = replace(network.config, num_hidden_layers=layers)
    return model


@torch.no_grad()
def _fill(model: nn.Module) -> None:
    """Matrices normal, by one stretch of random numbers again and again; scales 1, all else 0."""
    drawn = torch.empty(PATTERN).normal_(0, SPREAD, generator=torch.Generator().manual_seed(0))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dim() == 2 and tensor.is_floating_point():
            _tile(tensor, drawn)
        else:
            tensor.fill_(1 if name.endswith("weight") else 0)


def _tile(tensor: Tensor, drawn: Tensor) -> None:
    flat = tensor.view(-1)
    for start in range(0, len(flat), len(drawn)):
        some = flat[start : start + len(drawn)]
        some.copy_(drawn[: len(some)])
