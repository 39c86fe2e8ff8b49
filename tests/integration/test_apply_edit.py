"""A saved edit applied by scripts/apply_edit.py, and what Hugging Face makes of it.

Run: pytest tests/integration/test_apply_edit.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM

from knowledge_neurons import ROOT
from knowledge_neurons.editing import patches, slots
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.types import Neuron
from tests.integration.editable import MODEL
from tests.integration.stages import Ended

SCRIPT = ROOT / "scripts" / "apply_edit.py"
NEURONS = (Neuron(3, 7), Neuron(1, 500))
# Logits of two implementations in float32.
TOLERANCE = 1e-4


def run(*arguments: object) -> Ended:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def pretrained() -> checkpoints.Pretrained:
    return checkpoints.from_pretrained(MODEL)


def save(pretrained, path: Path, kind: str):
    model = pretrained.model
    if kind == "erase":
        edit, details = slots.erase(model, NEURONS), {}
    else:
        edit = slots.update(model, NEURONS, 700, 800)
        details = {"fact": 3, "old": "Paris", "new": "Rome", "lambdas": (1.0, 8.0)}
    header = patches.Header(kind, pretrained.sha256, "P36", NEURONS, **details)
    patches.save(path, edit, header)
    return edit


@pytest.mark.parametrize("kind, told", [("update", "Paris -> Rome"), ("erase", "P36 erased")])
def test_round_trip_through_hugging_face(pretrained, tmp_path, kind, told):
    """BertForMaskedLM loads the folder with the edit in it: slots to the bit, logits as ours."""
    patch, folder = tmp_path / "patch.safetensors", tmp_path / "out" / "edited"
    edit = save(pretrained, patch, kind)
    ended = run(patch, "--bert_model", MODEL, "--output", folder)
    assert ended.code == 0, ended.err
    assert told in ended.out and str(folder) in ended.out
    theirs, info = BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for (layer, index), slot in zip(NEURONS, edit.after, strict=True):
        weight = theirs.bert.encoder.layer[layer].output.dense.weight
        assert torch.equal(weight[:, index], slot)
    ids = torch.tensor([pretrained.tokenizer.encode("Paris is the capital of [MASK].")])
    with slots.edited(pretrained.model, edit), torch.no_grad():
        expected = pretrained.model(ids)
        assert (theirs.eval()(ids).logits - expected).abs().max() < TOLERANCE
    assert (pretrained.model(ids) - expected).abs().max() > 10 * TOLERANCE
    reloaded = checkpoints.from_pretrained(folder)
    assert reloaded.sha256 in ended.out and reloaded.sha256 != pretrained.sha256
    assert reloaded.tokenizer.vocabulary == pretrained.tokenizer.vocabulary


def test_a_header_does_not_command_the_terminal(pretrained, tmp_path):
    """Escapes in the words of a patch are spelled out."""
    patch = tmp_path / "patch.safetensors"
    edit = slots.update(pretrained.model, NEURONS, 700, 800)
    details = {"fact": 3, "old": "\x1b[31mParis", "new": "Rome", "lambdas": (1.0, 8.0)}
    patches.save(
        patch, edit, patches.Header("update", pretrained.sha256, "P36", NEURONS, **details)
    )
    ended = run(patch, "--bert_model", MODEL, "--output", tmp_path / "edited")
    assert ended.code == 0 and "\x1b" not in ended.out
    assert r"\x1b[31mParis -> Rome" in ended.out


def test_another_model_is_refused(pretrained, folder, tmp_path):
    patch = tmp_path / "patch.safetensors"
    save(pretrained, patch, "update")
    ended = run(patch, "--bert_model", folder, "--output", tmp_path / "edited")
    assert ended.code == 2 and "does not fit" in ended.err and pretrained.sha256 in ended.err
    assert not (tmp_path / "edited").exists()


def test_nothing_is_overwritten_and_no_patch_is_no_patch(pretrained, tmp_path):
    patch = tmp_path / "patch.safetensors"
    save(pretrained, patch, "erase")
    ended = run(patch, "--bert_model", MODEL, "--output", tmp_path)
    assert ended.code == 2 and "is there already" in ended.err
    ended = run(MODEL / "model.safetensors", "--bert_model", MODEL, "--output", tmp_path / "new")
    assert ended.code == 2 and "model.safetensors: not a patch" in ended.err
    assert "Traceback" not in ended.err and not (tmp_path / "new").exists()
