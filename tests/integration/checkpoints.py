"""Checkpoints of the tiny model on disk, in every layout, and the check of what was loaded."""

import json
import tarfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from knowledge_neurons.networks.checkpoints import Pretrained, fingerprint
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference.tiny import TINY, tiny_bert

VOCABULARY = [*SPECIAL_TOKENS, "Paris", "is", "the", "capital", "of", "##s", "."]
VOCABULARY += [f"Word{index}" for index in range(TINY.vocab_size - len(VOCABULARY))]
TEXT = "Paris is the capitals of [MASK]."
IDS = torch.tensor([[2, 5, 6, 7, 8, 10, 9, 4, 11, 3]])


def tokenizer(lowercase: bool = False) -> Tokenizer:
    return Tokenizer({token: index for index, token in enumerate(VOCABULARY)}, lowercase)


def as_pickle(folder: Path, old_names: bool = False) -> None:
    """Replace model.safetensors by pytorch_model.bin, with the gamma and beta of old if asked."""
    state = load_file(folder / "model.safetensors")
    if old_names:
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in state.items()
        }
        # What the archives of 2018 hold besides.
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
        state["cls.seq_relationship.weight"] = torch.zeros(2, TINY.hidden_size)
        state["bert.pooler.dense.bias"] = torch.zeros(TINY.hidden_size)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")


def as_old_layout(folder: Path) -> None:
    """bert_config.json without a model_type, pytorch_model.bin, vocab.txt, nothing else."""
    as_pickle(folder, old_names=True)
    config = json.loads((folder / "config.json").read_text())
    for key in ("architectures", "model_type", "layer_norm_eps"):
        del config[key]  # the old files did not have them; 1e-12 was in the code
    (folder / "bert_config.json").write_text(json.dumps(config))
    (folder / "config.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def assert_is_tiny(loaded: Pretrained, seed: int = 0) -> None:
    """The model that was written, bit for bit, with its tokenizer."""
    expected = tiny_bert(seed)
    assert torch.equal(loaded.model(IDS), expected(IDS))
    assert loaded.sha256 == fingerprint(expected)
    assert loaded.model.config == TINY
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer.encode(TEXT) == IDS[0].tolist()


def archive_of(folder: Path, archive: Path, prefix: str = "./", leave_out: tuple = ()) -> Path:
    """A tar of the folder's files; gzip unless the name says otherwise."""
    with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            if path.name not in leave_out:
                tar.add(path, prefix + path.name)
    return archive
