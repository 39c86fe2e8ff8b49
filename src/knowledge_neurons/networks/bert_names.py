"""The names of BERT's tensors in published checkpoints, and in `custom_bert`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

# ours -> published, prefix by prefix; "#" stands for the number of a layer.
PUBLISHED_NAMES = {
    "embeddings.word": "bert.embeddings.word_embeddings",
    "embeddings.position": "bert.embeddings.position_embeddings",
    "embeddings.segment": "bert.embeddings.token_type_embeddings",
    "embeddings.norm": "bert.embeddings.LayerNorm",
    "layers.#.attention.query": "bert.encoder.layer.#.attention.self.query",
    "layers.#.attention.key": "bert.encoder.layer.#.attention.self.key",
    "layers.#.attention.value": "bert.encoder.layer.#.attention.self.value",
    "layers.#.attention.output": "bert.encoder.layer.#.attention.output.dense",
    "layers.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
    "layers.#.mlp.intermediate": "bert.encoder.layer.#.intermediate.dense",
    "layers.#.mlp.output": "bert.encoder.layer.#.output.dense",
    "layers.#.output_norm": "bert.encoder.layer.#.output.LayerNorm",
    "mlm.transform": "cls.predictions.transform.dense",
    "mlm.norm": "cls.predictions.transform.LayerNorm",
    "mlm": "cls.predictions",
}
# Parts of a pretraining checkpoint that the masked LM does not use.
KNOWN_HARMLESS = ("bert.pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids")
# Second copies of tied tensors: copy -> the tensor it must equal.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def published(name: str) -> str:
    """The published name of a tensor of ours."""
    prefix, _, leaf = name.rpartition(".")
    number = next((part for part in prefix.split(".") if part.isdigit()), "#")
    found = PUBLISHED_NAMES[prefix.replace(f".{number}.", ".#.")]
    return f"{found.replace('#', number)}.{leaf}"


def ours_of(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published checkpoint under our names: all that are expected.

    expected: our name -> a tensor of the shape it should have.
    Raises ValueError unless the state has these and nothing else but what is harmless.
    """
    found = _modern(state)
    shapes = {published(name): tuple(tensor.shape) for name, tensor in expected.items()}
    _refuse("unexpected tensors in the checkpoint", found.keys() - shapes.keys())
    _refuse("tensors missing from the checkpoint", shapes.keys() - found.keys())
    wrong = [
        f"{name} is {tuple(found[name].shape)}, the config says {shape}"
        for name, shape in shapes.items()
        if tuple(found[name].shape) != shape
    ]
    _refuse("tensors of the wrong shape", wrong)
    return {name: found[published(name)] for name in expected}


def _modern(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Old names -> today's, harmless tensors and equal copies of tied ones dropped."""
    names = {  # of TensorFlow times -> today's
        name: name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )
        for name in state
    }
    twice = [name for name, modern in names.items() if modern != name and modern in state]
    _refuse("tensors under their old and today's name at once", twice)
    modern = {names[name]: tensor for name, tensor in state.items()}
    for copy, original in TIED.items():
        if copy in modern:
            original_tensor = modern.setdefault(original, modern[copy])
            if not torch.equal(modern.pop(copy), original_tensor):
                raise ValueError(f"{copy} differs from {original}: untied heads are not supported")
    return {name: t for name, t in modern.items() if not name.startswith(KNOWN_HARMLESS)}


def _refuse(what: str, tensors: Iterable[str], at_most: int = 6) -> None:
    """ValueError that names some of the tensors, where there are any."""
    names = sorted(tensors)
    if names:
        rest = len(names) - at_most
        more = f" and {rest} more" if rest > 0 else ""
        raise ValueError(f"{what}: {', '.join(names[:at_most])}{more}")
