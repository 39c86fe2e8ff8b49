"""Damaged input files: each is a clear error of one line, or loads to what it held before.

Run: pytest tests/unit/test_mutations.py
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knowledge_neurons.networks import checkpoints
from knowledge_neurons.text import data
from tests.integration.checkpoints import archive_of, tokenizer
from tests.integration.stages import BAGS, PAIRS, SENTENCES
from tests.reference.mutations import KINDS, mutations
from tests.reference.tiny import tiny_bert

SEED = 10
LONGEST = 700  # characters of a message; several names of tensors, or the hub's of models
FILES = {
    "config": "model/config.json",
    "tokenizer_config": "model/tokenizer_config.json",
    "tokenizer": "model/tokenizer.json",
    "vocabulary": "model/vocab.txt",
    "weights": "model/model.safetensors",
    "archive": "model.tar.gz",
    "bags": "bags.json",
    "pairs": "pairs.json",
    "sentences": "sentences.json",
}


@pytest.fixture
def inputs(tmp_path, request) -> Path:
    """A folder with every kind of file, all whole; vocab.txt gives way to tokenizer.json."""
    checkpoints.save_pretrained(tiny_bert(), tokenizer(), tmp_path / "model")
    if request.node.callspec.params["kind"] == "tokenizer":
        content = {
            "model": {"type": "WordPiece", "vocab": tokenizer().vocabulary},
            "normalizer": {"type": "BertNormalizer", "lowercase": False},
            "added_tokens": [],
        }
        (tmp_path / "model/tokenizer.json").write_text(json.dumps(content))
        (tmp_path / "model/vocab.txt").unlink()
    archive_of(tmp_path / "model", tmp_path / "model.tar.gz")
    for kind, content in (("bags", BAGS), ("pairs", PAIRS), ("sentences", SENTENCES["P36"])):
        (tmp_path / FILES[kind]).write_text(json.dumps(content))
    return tmp_path


def checkpoint(source: Path) -> Any:
    """What decides every number: weights, config, tokenizer."""
    loaded = checkpoints.from_pretrained(source)
    return loaded.sha256, loaded.tokenizer_sha256, loaded.model.config


def everything(inputs: Path) -> Any:
    """All facts, pairs and sentences as the stages read them."""
    bags = data.read_bags(inputs / FILES["bags"])
    pairs = data.read_pairs(inputs / FILES["pairs"])
    facts = {name: data.facts_of(bags, name, inputs / FILES["bags"]) for name in sorted(bags)}
    for name, own in facts.items():
        data.check_pairs(own, pairs[name], inputs / FILES["pairs"])
    return facts, data.read_sentences(inputs / FILES["sentences"], "P36", pairs["P36"])


def loader(kind: str) -> Callable[[Path], Any]:
    if kind in ("bags", "pairs", "sentences"):
        return everything
    return lambda inputs: checkpoint(inputs / ("model.tar.gz" if kind == "archive" else "model"))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_in_a_line_or_harmless(kind, inputs):
    """Of every kind at least ten changes; those that load are the same and have a reason to."""
    path, load = inputs / FILES[kind], loader(kind)
    whole, expected = path.read_bytes(), load(inputs)
    outcomes = {"refused": 0, "harmless": 0}
    for one in mutations(kind, whole, SEED):
        path.write_bytes(one.content)
        try:
            found = load(inputs)
        except ValueError as error:
            message = str(error)
            assert message.isprintable() and len(message) < LONGEST, (one.name, message)
            assert str(inputs) in message, (one.name, message)
            outcomes["refused"] += 1
            continue
        assert one.harmless, f"{one.name}: loads"
        assert found == expected, f"{one.name}: loads to something else"
        outcomes["harmless"] += 1
    path.write_bytes(whole)
    assert load(inputs) == expected
    assert outcomes["refused"] >= 10 and outcomes["harmless"] >= 1, outcomes


@pytest.mark.parametrize("kind", ["bags", "vocabulary"])
def test_changes_are_those_of_the_seed(kind, inputs):
    """The same seed, the same bytes; another seed, others."""
    whole = (inputs / FILES[kind]).read_bytes()
    first, again, other = (list(mutations(kind, whole, seed)) for seed in (1, 1, 2))
    assert first == again and first != other
