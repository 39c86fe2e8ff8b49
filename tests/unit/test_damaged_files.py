"""Every JSON file that stages read back, damaged: one line that names the file, or no harm.

Run: pytest tests/unit/test_damaged_files.py
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from knowledge_neurons.attribution.quadrature_audit import Record
from knowledge_neurons.editing import patches
from knowledge_neurons.figures import gallery
from knowledge_neurons.report import embedding, page
from knowledge_neurons.report.active import active_of
from knowledge_neurons.report.comparability import comparability
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.activations import (
    read_activations,
    read_authors_activations,
    table_row,
)
from knowledge_neurons.results.change_files import authors_averages, read_authors_changes
from knowledge_neurons.results.changes import average_change, read_changes
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.comparison import comparisons
from knowledge_neurons.results.edits import read_edits, summarise_edits
from knowledge_neurons.results.erasures import EDITS, read_erasures, summarise_erasure
from knowledge_neurons.results.json_files import decode, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, read_records
from knowledge_neurons.results.maps import read_maps, summary_of
from knowledge_neurons.results.neuron_words import read_neuron_words
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.provenance import provenance, run_of
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.results.triggers import read_triggers
from tests.reference.json_mutations import mutations
from tests.reference.made_results import MadeFact, Writer

COUNT = 60  # of each file
LONGEST = 2000  # characters of a message


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Results:
    """Results of all stages; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    prompts = ("{} lives in [MASK] .", "the home of {} is [MASK] .")
    facts = [MadeFact(f"H{i}", f"T{i % 3}", prompts) for i in range(4)]
    Writer(Results(root), {"P19": ("birth", facts), "P36": ("capital", facts[1:])}).everything()
    write_json(root / "q.jsonl", {"prompts": 2, "points": 24})
    averages = {f"{v}_{w}:ave_delta_ratio": 0.1 for v in ("rm", "eh") for w in ("own", "oth")}
    write_json(root / "kn/modify_activation_rlt.json", {"kn_bag-P19": averages})
    lists = ["no_kn", [[1.0, 2.0], [0.5, 0.5], [0.0, 0.0]]]
    write_json(root / "distant/kn_weights@distant_data.json", {"P19": lists})
    add(root / "TREx-all-P19.rlt.jsonl", {"tolerance": 1e-3, "keep": 0.1, "max_seq_length": 128})
    told = {"in_band": False, "neurons_per_fact": 6.5, "shared_used": 0.9}
    add(root / "kn/kn_bag-P19.json", {"coarse": 0.2, "shared": 0.7, "rounds": 6}, **told)
    return Results(root)


def add(output: Path, identity: dict, **facts) -> None:
    """Tell more in a manifest, as the stage does."""
    manifest = read_manifest(output)
    manifest["identity"] |= identity
    write_json(manifest_path(output), manifest | facts)


@pytest.fixture
def results(whole, tmp_path) -> Results:
    shutil.copytree(whole.root, tmp_path / "results")
    return Results(tmp_path / "results")


def everything(results: Results) -> None:
    """What stage 8 makes of a folder, but for turning figures into files."""
    found = outcomes.read(results)
    made = provenance(found.manifests)
    page.quadrature_of(made)
    run_of(found.manifests)
    comparisons(found)
    comparability(found.manifests)
    page.outside_band(found.manifests)
    embedding.embed(results)


def drawn(results: Results) -> None:
    found = outcomes.read(results)
    comparisons(found)
    list(gallery.draw(results, found))


def changed(results: Results) -> None:
    records = {"P19": read_changes(results.changes("P19"))}
    average_change(records, "own", "neurons", 0.0, 1)
    authors_averages(records, "baseline")


def activated(results: Results) -> None:
    records = read_activations(results.activations("P19"))
    table_row(records, "neurons", 1)


def edited(results: Results) -> None:
    summarise_edits(read_edits(results.edits("edit-1-8")), 1)


def erased(results: Results) -> None:
    records = read_erasures(results.erased("P19"))
    for edit in EDITS:
        summarise_erasure(records, "P19", edit, 1)


READERS: dict[str, Callable[[Results], object]] = {
    "TREx-all-P19.rlt.jsonl": lambda r: list(read_fact_scores(r.scores("P19"))),
    "q.jsonl": lambda r: list(read_records(r.root / "q.jsonl", Record)),
    "kn/kn_bag-P19.json": lambda r: read_fact_neurons(r.fact_neurons("P19", False)),
    "kn/statistics.json": drawn,
    "kn/modify_activation_rlt.json": read_authors_changes,
    "modify_activation/P19.jsonl": changed,
    "modify_activation/summary.json": drawn,
    "dose_response/P19.json": drawn,
    "distant/P19.jsonl": activated,
    "distant/summary.json": drawn,
    "distant/kn_weights@distant_data.json": read_authors_activations,
    "trigger_examples_th/P19.jsonl": lambda r: list(read_triggers(r.triggers("P19"))),
    "edit/edit-1-8.jsonl": edited,
    "edit/edit-1-8.json": drawn,
    "erase/P19.jsonl": erased,
    "erase/P19.json": drawn,
    "maps/P19.jsonl": lambda r: summary_of(read_maps(r.maps("P19"))),
    "maps/P19.json": drawn,
    "neurons/words.jsonl": read_neuron_words,
    "neurons/activity.jsonl": active_of,
    "neurons/alone-P19.jsonl": active_of,
    "manifests/TREx-all-P19.rlt.jsonl.manifest.json": everything,
    "kn/manifests/kn_bag-P19.json.manifest.json": everything,
    "distant/manifests/P19.jsonl.manifest.json": everything,
    "erase/manifests/P19.jsonl.manifest.json": everything,
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_json_is_named_or_does_no_harm(results, name):
    """Any other way to end is a failure of this test."""
    path, refused = results.root / name, 0
    content, manifest = path.read_bytes(), manifest_path(path)
    READERS[name](results)
    manifest.unlink(missing_ok=True)  # it knows the file's bytes, and would give it away
    few = COUNT // 4 if READERS[name] is drawn else COUNT
    for what, damaged in mutations(content, seed=name, count=few):
        path.write_bytes(damaged)
        try:
            READERS[name](results)
        except ValueError as error:
            refused += 1
            message = str(error)
            assert path.name in message, (what, message)
            assert len(message) < LONGEST and "\n" not in message, what
        except Exception as error:
            raise AssertionError(f"{name}, {what}: {damaged[:300]!r}") from error
    assert refused > few / 3, "mutations that matter"


HEADER = {"format": 1, "kind": "update", "model_sha256": "ab", "relation": "P36", "fact": 3}
HEADER |= {"old": "a", "new": "b", "lambdas": [1.0, 8.0], "neurons": [[0, 3], [1, 4]]}


def write_patch(path: Path, header: str, slots: torch.Tensor) -> None:
    metadata = {"patch": header}
    path.write_bytes(safetensors.torch.save({"value_slots": slots}, metadata=metadata))


def test_damaged_headers_of_patches(tmp_path):
    path, slots, refused = tmp_path / "patch.safetensors", torch.zeros(2, 8), 0
    write_patch(path, json.dumps(HEADER), slots)
    assert patches.load(path).header.lambdas == (1.0, 8.0)
    for what, damaged in mutations(json.dumps(HEADER).encode(), seed="patch", count=2 * COUNT):
        write_patch(path, damaged.decode("latin-1"), slots)
        try:
            patches.load(path)
        except ValueError as error:
            refused += 1
            assert "patch.safetensors: not a patch" in str(error), (what, str(error))
            assert len(str(error)) < LONGEST, what
    assert refused > COUNT


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_slots_that_are_not_finite(tmp_path, value):
    slots = torch.zeros(2, 8)
    slots[1, 3] = value
    write_patch(tmp_path / "patch", json.dumps(HEADER), slots)
    with pytest.raises(ValueError, match=r"patch: its value slots hold NaN or infinity"):
        patches.load(tmp_path / "patch")


@pytest.mark.parametrize(
    "slots", [torch.zeros(2, 8, dtype=torch.int64), torch.zeros(2), torch.zeros(3, 8)]
)
def test_slots_of_another_shape_or_type(tmp_path, slots):
    write_patch(tmp_path / "patch", json.dumps(HEADER), slots)
    with pytest.raises(ValueError, match=r"not a patch, value_slots is .* expected \(2, D\)"):
        patches.load(tmp_path / "patch")


def test_damaged_bytes_of_patches(tmp_path):
    """Each damage is an error of a line, or loads: then it is in a value slot's digits."""
    path, rng = tmp_path / "patch.safetensors", random.Random(1)
    write_patch(path, json.dumps(HEADER), torch.zeros(2, 8))
    whole = path.read_bytes()
    for _ in range(COUNT):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + rng.randbytes(1) + whole[at + 1 :])
        try:
            assert patches.load(path).value_slots.shape == (2, 8)
        except ValueError as error:
            assert "patch.safetensors: " in str(error)
        path.write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"patch\.safetensors: not a patch"):
            patches.load(path)


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 200_000])
def test_deep_nesting(content):
    with pytest.raises(ValueError, match=r"here: nested too deeply\.  Do this"):
        decode(content, object, "here", "Do this")
