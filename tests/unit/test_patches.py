"""Edits as files: the round trip, the size, and what is refused.

Run: pytest tests/unit/test_patches.py
"""

import json

import pytest
import safetensors.torch
import torch

from knowledge_neurons.editing import patches
from knowledge_neurons.editing.patches import Header
from knowledge_neurons.editing.slots import edited, erase, update, value_slots
from knowledge_neurons.networks.checkpoints import fingerprint
from knowledge_neurons.types import Neuron, WeightEdit
from tests.reference.tiny import tiny_bert

NEURONS = (Neuron(0, 3), Neuron(2, 36))


def header(model, kind="update", neurons=NEURONS) -> Header:
    details = {"fact": 3, "old": "Paris", "new": "Rome", "lambdas": (1.0, 8.0)}
    return Header(kind, fingerprint(model), "P36", neurons, **(details if kind == "update" else {}))


def test_round_trip_keeps_header_and_every_bit(tmp_path):
    model = tiny_bert()
    for kind, edit in (("update", update(model, NEURONS, 7, 20)), ("erase", erase(model, NEURONS))):
        path = tmp_path / f"{kind}.safetensors"
        patches.save(path, edit, header(model, kind))
        patch = patches.load(path)
        assert patch.header == header(model, kind)
        again = patches.edit_of(patch, model)
        assert again.neurons == NEURONS
        assert torch.equal(again.before, edit.before) and torch.equal(again.after, edit.after)
        with edited(model, again):
            assert torch.equal(value_slots(model, NEURONS), edit.after)


def test_the_same_edit_gives_the_same_bytes(tmp_path):
    model = tiny_bert()
    for name in ("a", "b"):
        patches.save(tmp_path / name, update(model, NEURONS, 7, 20), header(model))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_fact_of_bert_base_takes_less_than_200_kb(tmp_path):
    """Four neurons (the paper's average is 4.13) take 14 KB; sixty would still fit."""
    model, path = tiny_bert(), tmp_path / "patch"
    for count, most in ((4, 14_000), (60, 200_000)):
        neurons = tuple(Neuron(index % 12, index) for index in range(count))
        slots = torch.randn(count, 768)
        patches.save(path, WeightEdit(neurons, slots, slots), header(model, neurons=neurons))
        assert path.stat().st_size < most


def test_another_model_is_refused(tmp_path):
    model = tiny_bert()
    patches.save(tmp_path / "patch", update(model, NEURONS, 7, 20), header(model))
    patch = patches.load(tmp_path / "patch")
    with pytest.raises(ValueError, match="this one has"):
        patches.edit_of(patch, tiny_bert(seed=1))
    model.layers[0].attention.query.bias[0] += 1e-3  # anywhere
    with pytest.raises(ValueError, match="this one has"):
        patches.edit_of(patch, model)


def test_slots_of_another_width_are_refused(tmp_path):
    model = tiny_bert()
    slots = torch.zeros(2, 31)
    patches.save(tmp_path / "patch", WeightEdit(NEURONS, slots, slots), header(model))
    with pytest.raises(ValueError, match=r"slots \(2, 31\), expected \(2, 32\)"):
        patches.edit_of(patches.load(tmp_path / "patch"), model)


def test_a_header_of_other_neurons_is_refused(tmp_path):
    model = tiny_bert()
    with pytest.raises(ValueError, match="other neurons"):
        patches.save(tmp_path / "patch", erase(model, NEURONS), header(model, neurons=NEURONS[:1]))


def good_header(**changes) -> dict:
    fields = {"format": 1, "kind": "erase", "model_sha256": "0", "relation": "P36"}
    fields |= {"neurons": [[0, 3]], "fact": None, "old": None, "new": None, "lambdas": None}
    return fields | changes


@pytest.mark.parametrize(
    "fields, rows",
    [
        (good_header(format=2), 1),
        (good_header(kind="other"), 1),
        (good_header(neurons=[[0, 3], [0, 4]]), 1),
        (good_header(neurons=[[0]]), 1),
        (good_header(extra=1), 1),
        ([1], 1),
    ],
)
def test_files_that_are_no_patch_are_refused_by_name(tmp_path, fields, rows):
    path = tmp_path / "odd.safetensors"
    content = {"value_slots": torch.zeros(rows, 32)}
    metadata = {"patch": json.dumps(fields)}
    path.write_bytes(safetensors.torch.save(content, metadata=metadata))
    with pytest.raises(ValueError, match=r"odd\.safetensors: not a patch"):
        patches.load(path)


def test_files_that_are_no_safetensors_are_refused_by_name(tmp_path):
    (tmp_path / "text").write_text("no tensors here")
    model = {"value_slots": torch.zeros(1, 32)}  # weights without a header
    (tmp_path / "bare").write_bytes(safetensors.torch.save(model))
    for name, message in (("text", "not a patch"), ("bare", "not a patch"), ("none", "no such")):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            patches.load(tmp_path / name)
