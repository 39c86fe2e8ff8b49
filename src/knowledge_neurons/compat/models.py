"""Models by the peers' names: what to load, and which of their types it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from knowledge_neurons.networks import adapted_checkpoints, hub
from knowledge_neurons.networks.adapted_checkpoints import GGUF
from knowledge_neurons.networks.interface import Network

# Names that the peers load: (their type, where the hub has it).
_NAMED = {name: ("bert", repository) for name, repository in hub.HUB_NAMES.items()}
_NAMED |= {name: ("roberta", repository) for name, repository in hub.OTHER_NAMES.items()}  # XLM-R's
_NAMED["gpt2"] = ("gpt2", "openai-community/gpt2")
# Families that the peers have under another name.
_THEIRS = {"xlm-roberta": "roberta", "xlm-roberta-xl": "roberta"}


def initialize_model_and_tokenizer(model_name: str) -> tuple[Any, Any]:
    """The model, in eval mode, and the tokenizer, both as `transformers` has them.

    model_name: one of the peers' names, "organisation/name" on the hub, a folder or a .gguf file of
    any family in `networks.families`.
    Raises ValueError that names the source, and where `transformers` is not installed.

        model, tokenizer = initialize_model_and_tokenizer("bert-base-multilingual-cased")
    """
    source = str(model_name)
    own, source = _NAMED.get(source, (None, source))
    found = own or _type_of(source)
    return adapted_checkpoints.load_theirs(source, found)


def model_type(model_name: str) -> str:
    """The type by which the peers know a model: "bert", "roberta", "gpt2", "gpt_neo" of theirs, of
    others the name of the family, "llama".

    XLM-R is "roberta", as in the multilingual fork.  Raises ValueError for a model of no family
    that is known, and for a .gguf file, whose type is read when it is loaded.
    """
    source = str(model_name)
    if source in _NAMED:
        return _NAMED[source][0]
    found = _type_of(source)
    if found == GGUF:
        raise ValueError(
            f"{source}: the type of a .gguf file is read when it is loaded; leave model_type out"
        )
    return _theirs(found)


def _type_of(source: str) -> str:
    """The model type of a checkpoint that `transformers` can load."""
    found = adapted_checkpoints.type_of(source, None, None)
    if found is None:
        raise ValueError(
            f"{Path(source).absolute()}: no config.json names its type, so `transformers` cannot "
            "load it; KnowledgeNeurons.from_pretrained loads BERT's older layouts"
        )
    return found


def _theirs(family: str) -> str:
    return _THEIRS.get(family, family)


def type_of_network(network: Network) -> str:
    """The peers' type of a model that the engine has, ours or one of `transformers`."""
    theirs = getattr(network, "model", None)
    return "bert" if theirs is None else _theirs(theirs.config.model_type)


def check_model_type(network: Network, given: str) -> None:
    """ValueError unless it is the model's type, by its family's name or the peers'.

    The peers take a model apart by it; here it decides nothing, so that a wrong one can only be a
    mistake.
    """
    theirs = getattr(network, "model", None)
    known = {type_of_network(network), "bert" if theirs is None else theirs.config.model_type}
    if given not in known:
        raise ValueError(
            f"model_type is {given!r}, but the model is a {' or '.join(sorted(known))!r}: pass "
            "model_type(MODEL_NAME) of the same name, or leave it out"
        )
