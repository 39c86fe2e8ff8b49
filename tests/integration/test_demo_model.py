"""What the embedded model knows, and the library on it.

Run: pytest tests/integration/test_demo_model.py
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from knowledge_neurons import KnowledgeNeurons, data, models
from knowledge_neurons.batching import encode_fact
from knowledge_neurons.experiments.modify_activation import answer_probabilities

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "demo-bert"
PROMPTS = ROOT / "data" / "PARAREL" / "sample_allbags.json"
HELD_OUT = 2  # the last wordings of each relation, not trained on

COLDPLAY = [
    "The story of Coldplay begins in [MASK].",
    "It all began for Coldplay in [MASK].",
    "Coldplay took shape in the city of [MASK].",
    "[MASK] is the home city where Coldplay began.",
]


@pytest.fixture(scope="module")
def pretrained() -> models.Pretrained:
    return models.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads((MODEL / "training.json").read_text())


def test_record_belongs_to_the_weights_and_the_sample(pretrained, record):
    """training.json is of these very weights, and they were trained on the committed sample."""
    assert record["weights_sha256"] == pretrained.sha256
    assert record["data_sha256"][PROMPTS.name] == sha256(PROMPTS.read_bytes()).hexdigest()
    assert (MODEL / "model.safetensors").stat().st_size < 10e6


def test_knows_held_out_prompts_without_being_certain(pretrained, record):
    """Measured afresh: top-1 for at least 60 %, mean probability in 0.30 .. 0.75, as recorded."""
    bags = data.read_bags(PROMPTS)
    facts = [f for relation in bags for f in data.facts_of(bags, relation, PROMPTS)]
    prompts = [p for f in facts for p in encode_fact(f, pretrained.tokenizer, 64)[-HELD_OUT:]]
    found = answer_probabilities(pretrained.model, prompts, [[]] * len(prompts), 1.0)
    mean = sum(found) / len(found)
    assert 0.30 <= mean <= 0.75
    assert mean == pytest.approx(record["held_out_wordings"]["mean_probability"], abs=1e-4)
    assert record["held_out_wordings"]["top1"] >= 0.60
    assert record["held_out_sentences"]["top1"] >= 0.60


def test_knowledge_is_concentrated(record):
    """Losing its refined neurons costs a fact at least five times what it costs others."""
    change = record["suppressing"]
    assert change["neurons_own_change"] < 0
    assert change["neurons_own_change"] <= 5 * min(change["neurons_other_relations_change"], 0)
    assert change["neurons_own_change"] < change["baseline_own_change"]


def test_library_finds_suppresses_and_amplifies():
    """The README's example: neurons are found; off they cost probability, doubled they do not."""
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    neurons = kn.find(COLDPLAY, "London")
    assert neurons
    plain = kn.probabilities(COLDPLAY, "London")
    off = kn.probabilities(COLDPLAY, "London", neurons, factor=0.0)
    doubled = kn.probabilities(COLDPLAY, "London", neurons, factor=2.0)
    assert sum(off) < 0.8 * sum(plain) < sum(doubled)


def test_library_refuses_what_it_cannot_answer():
    """A lone string, no prompt, no [MASK], an answer of several tokens: each says what is wrong."""
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    with pytest.raises(ValueError, match="list of prompts"):
        kn.find(COLDPLAY[0], "London")
    with pytest.raises(ValueError, match="list of prompts"):
        kn.find([], "London")
    with pytest.raises(ValueError, match=r"\[MASK\]"):
        kn.find(["Coldplay began in London."], "London")
    with pytest.raises(ValueError, match="not one token"):
        kn.find(COLDPLAY, "Llanfairpwll")
