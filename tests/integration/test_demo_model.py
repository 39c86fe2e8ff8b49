"""What the embedded model knows, and the library on it.

Run: pytest tests/integration/test_demo_model.py
"""

import importlib.util
import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.attribution import adaptive
from knowledge_neurons.editing import interventions
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.networks.batching import plan
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from knowledge_neurons.types import Neuron

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
def pretrained() -> checkpoints.Pretrained:
    return checkpoints.from_pretrained(MODEL)


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
    assert len(prompts) == record["held_out_wordings"]["prompts"]
    right, probability = 0, 0.0
    for batch in plan(prompts, 1 << 28, lambda tokens: tokens << 14):
        p = interventions.probabilities(pretrained.model, batch)[:, 0]
        right += (p.argmax(-1) == batch.answers).sum().item()
        probability += p.gather(1, batch.answers[:, None]).sum().item()
    top1, mean = right / len(prompts), probability / len(prompts)
    assert top1 >= 0.60
    assert 0.30 <= mean <= 0.75
    assert top1 == pytest.approx(record["held_out_wordings"]["top1"], abs=0.002)
    assert mean == pytest.approx(record["held_out_wordings"]["mean_probability"], abs=1e-4)
    assert record["held_out_sentences"]["top1"] >= 0.60


def test_knowledge_is_concentrated(pretrained):
    """Measured on three relations: losing its neurons costs a fact five times what it costs others,
    and more than losing the baseline's."""
    train_demo_model = import_script("train_demo_model")
    bags = data.read_bags(PROMPTS)
    facts = [f for r in ("P36", "P101", "P1303") for f in data.facts_of(bags, r, PROMPTS, 14)]
    change = train_demo_model.suppressing(pretrained.model, pretrained.tokenizer, facts, seed=1)
    own, other = change["neurons_own_change"], change["neurons_other_relations_change"]
    assert own < -0.3
    assert own <= 5 * min(other, 0)
    assert own < change["baseline_own_change"]


def import_script(name: str):
    """A module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


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
    """A lone string, no prompt, no [MASK], an answer of unknown parts: each says what is wrong."""
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    with pytest.raises(ValueError, match="list of prompts"):
        kn.find(COLDPLAY[0], "London")
    with pytest.raises(ValueError, match="list of prompts"):
        kn.find([], "London")
    with pytest.raises(ValueError, match=r"\[MASK\]"):
        kn.find(["Coldplay began in London."], "London")
    with pytest.raises(ValueError, match="is not in the model's vocabulary"):
        kn.find(COLDPLAY, "Llanfairpwllǂ")


def test_library_says_what_is_missing():
    """Neurons without a factor and neurons that the model lacks are refused, never ignored."""
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    with pytest.raises(ValueError, match="without a factor"):
        kn.probabilities(COLDPLAY, "London", [Neuron(3, 1)])
    for neuron in (Neuron(-1, 5), Neuron(4, 0), Neuron(0, 512)):
        with pytest.raises(ValueError, match="layers 0 to 3 of 512 neurons"):
            kn.probabilities(COLDPLAY, "London", [neuron], 0.0)
    with pytest.raises(ValueError, match="coarse is -1"):
        kn.find(COLDPLAY, "London", coarse=-1)


def test_a_few_prompts_get_fewer_points_from_the_first_call_on(monkeypatch):
    """Within 1e-3 of the largest score; with tolerance=None all points, and the same neurons."""
    kn, whole, points = KnowledgeNeurons.from_pretrained(MODEL), adaptive.adaptive_gradients, []

    def counted(*arguments):
        found = whole(*arguments)
        points.append(found.points.float().mean().item())
        return found

    monkeypatch.setattr(adaptive, "adaptive_gradients", counted)
    fewer = kn.scores(COLDPLAY, "London")
    assert 8 <= max(points) < 10
    points.clear()
    exact = kn.scores(COLDPLAY, "London", tolerance=None)
    assert set(points) == {20.0}
    for one, other in zip(fewer, exact, strict=True):
        expected = {row[:2]: row.score for row in other.of_answer}
        largest = max(expected.values())
        assert len(one.of_answer) == len(expected)
        assert all(abs(r.score - expected[r[:2]]) <= 1e-3 * largest for r in one.of_answer)
    assert kn.find(COLDPLAY, "London", tolerance=None) == kn.find(COLDPLAY, "London")
