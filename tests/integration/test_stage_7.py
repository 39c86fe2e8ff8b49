"""Stage 7 as users run it: a relation of the embedded model erased and measured.

Run: pytest tests/integration/test_stage_7.py
"""

import json

import pytest

from knowledge_neurons.editing import patches
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.layout import Results
from tests.integration.editable import (
    FACTS,
    MODEL,
    SHARED,
    another,
    editable,
    interrupt,
    write_neurons,
)
from tests.integration.stages import fine, refused

STAGE_7 = "7_erase_knowledge.py"


@pytest.fixture(scope="module")
def erased(one_thread, tmp_path_factory):
    """The shell stage; not to be changed."""
    place = editable(tmp_path_factory.mktemp("erased"))
    return place, fine(place.shell("7_run_erase.sh", "P36", "--neurons", 3))


@pytest.fixture
def place(erased, tmp_path_factory):
    return another(erased[0], tmp_path_factory.mktemp("own").name)


def lines(place, run: str = "P36") -> list[dict]:
    path = Results(place.results).erased(run)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_records_table_and_patch(erased):
    """A line per fact of every relation, the erased one first; Table 5 with the control."""
    place, ended = erased
    records = lines(place)
    assert [record["relation"] for record in records] == [
        name for name in ("P36", "P19", "P37") for _ in range(FACTS)
    ]
    states = {"before", "erased", "random"}
    assert all(set(record["log_p"]) == set(record["ranks"]) == states for record in records)
    assert all(len(record["log_p"]["erased"]) == 8 for record in records)
    summary = json.loads((place.results / "erase/P36.json").read_bytes())
    assert set(summary) == {"erased", "random"}
    assert summary["erased"]["relation"]["prompts"] == 8 * FACTS
    assert summary["erased"]["others"]["prompts"] == 2 * 8 * FACTS
    assert set(summary["erased"]["each_other"]) == {"P19", "P37"}
    for part in (
        "Table 5: growth of perplexity, P36 erased with 3 neurons",
        "others, random neurons",
        "wrote",
    ):
        assert part in ended.out
    assert "Traceback" not in ended.err


def test_the_patch_holds_the_most_frequent_neurons_at_zero(erased):
    place, _ = erased
    patch = patches.load(place.results / "erase/P36.safetensors")
    assert (patch.header.kind, patch.header.relation) == ("erase", "P36")
    assert [list(n) for n in patch.header.neurons] == [SHARED, [3, 0], [2, 100]]
    assert not patch.value_slots.any()
    manifest = place.manifest("erase/P36.jsonl")
    assert manifest["neurons"]["erased"] == [list(n) for n in patch.header.neurons]
    assert len(manifest["neurons"]["random"]) == 3
    assert manifest["identity"]["model_sha256"] == manifest["model_sha256_after"]


def test_slots_set_to_the_unknown_word(place):
    """--value unk: the [UNK] embedding as it is; files of their own."""
    fine(place.here(STAGE_7, "--relation", "P36", "--neurons", 2, "--value", "unk"))
    patch = patches.load(place.results / "erase/P36-unk.safetensors")
    loaded = checkpoints.from_pretrained(MODEL)
    unknown = loaded.model.embeddings.word.weight[loaded.tokenizer.vocabulary["[UNK]"]]
    assert unknown.any() and (patch.value_slots == unknown).all()
    assert not (place.results / "erase/P36.jsonl").exists()


def test_a_sample_of_the_others_keeps_the_relation_whole(erased, place):
    fine(place.here(STAGE_7, "--relation", "P36", "--neurons", 3, "--other_sample", 20))
    records = lines(place)
    own = [record for record in records if record["relation"] == "P36"]
    assert sum(len(record["prompts"]) for record in records) == 8 * FACTS + 20
    for record, whole in zip(own, lines(erased[0]), strict=False):
        assert record["log_p"]["erased"] == pytest.approx(whole["log_p"]["erased"], abs=1e-5)


@pytest.mark.parametrize("kept", [0.5, 20, 36])
def test_interrupted_and_resumed_equals_uninterrupted(erased, place, monkeypatch, kept):
    """Groups of 9 facts; the partial cut inside a line, inside a group, at the end."""
    monkeypatch.setattr("knowledge_neurons.experiments.erase_relation.GROUP", 9)
    arguments = ("--relation", "P36", "--neurons", 3)
    whole = another(place, "whole")
    fine(whole.here(STAGE_7, *arguments))
    path = Results(place.results).erased("P36")
    complete = Results(whole.results).erased("P36")
    interrupt(complete, path, kept)
    fine(place.here(STAGE_7, *arguments))
    assert path.read_bytes() == complete.read_bytes()
    assert place.manifest("erase/P36.jsonl")["facts_resumed"] == int(kept) // 9 * 9
    for name in ("erase/P36.json", "erase/P36.safetensors"):
        assert (place.results / name).read_bytes() == (whole.results / name).read_bytes()


def test_done_and_refused(erased):
    place, before = erased
    again = fine(place.here(STAGE_7, "--relation", "P36", "--neurons", 3))
    assert "all prompts are read" in again.out
    table = before.out[before.out.index("Table 5") : before.out.index("wrote")]
    assert table in again.out
    refused(place.here(STAGE_7, "--relation", "P36"), "neurons is 3 there and 20 now")


def test_a_relation_without_neurons_says_so(place):
    write_neurons(place.results, "P36", [[]] * FACTS)
    refused(place.here(STAGE_7, "--relation", "P36"), "none of the 12 facts of P36 has a neuron")
    refused(place.here(STAGE_7, "--relation", "P101"), "no neurons of P101")


@pytest.mark.parametrize("option", [("--neurons", 0), ("--other_sample", -1)])
def test_impossible_counts_are_refused(place, option):
    refused(place.here(STAGE_7, "--relation", "P36", *option), option[0], "expected")


def test_fewer_neurons_than_asked_for_are_said(place):
    ended = fine(place.here(STAGE_7, "--relation", "P36", "--neurons", 100, "--other_sample", 0))
    assert "25 of the 100 asked for" in ended.out, "twelve facts with two of their own, one shared"
    summary = json.loads((place.results / "erase/P36.json").read_bytes())
    assert summary["erased"]["others"] is None, "none sampled"


def test_shell_stage_without_a_relation_shows_its_usage(place):
    ended = place.shell("7_run_erase.sh")
    assert ended.code != 0 and "usage: bash 7_run_erase.sh RELATION" in ended.err
