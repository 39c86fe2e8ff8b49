"""What stages write: atomic, resumable, never mixed; names and shapes are in test_artifacts.py.

Run: pytest tests/unit/test_storage.py
"""

import errno
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from knowledge_neurons.results import atomic
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.companions import (
    manifest_beside,
    manifest_path,
    outputs_with_manifest,
)
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.json_files import check_numbers, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import (
    is_done,
    read_json,
    read_manifest,
    sha256_of,
    write_manifest,
)
from knowledge_neurons.types import Neuron

IDENTITY = {"relation": "P19", "steps": 20, "outputs": ["ig_gold", "base"]}


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- paths -----------------------------------------------------------------------------------


def test_paths_are_the_contracts(tmp_path):
    """The names of DESIGN section 4, under the folder and with the prefix asked for."""
    results = Results(tmp_path)
    assert results.arguments == tmp_path / "TREx-all.args.json"
    assert results.scores("P101") == tmp_path / "TREx-all-P101.rlt.jsonl"
    assert results.fact_neurons("P101", False) == tmp_path / "kn/kn_bag-P101.json"
    assert results.fact_neurons("P101", True) == tmp_path / "kn/base_kn_bag-P101.json"
    assert results.relation_neurons("P101", False) == tmp_path / "kn/kn_rel-P101.json"
    assert results.relation_neurons("P101", True) == tmp_path / "kn/base_kn_rel-P101.json"
    assert Results(tmp_path, "mine").scores("P1") == tmp_path / "mine-P1.rlt.jsonl"
    path = results.scores("P1")
    assert manifest_path(path) == tmp_path / "manifests/TREx-all-P1.rlt.jsonl.manifest.json"


def test_names_of_what_is_chosen_and_repeated(tmp_path):
    """Facts chosen in stage 5; the second edit of a fact; the K strongest neurons."""
    results = Results(tmp_path)
    assert results.triggers("P19").name == "P19.jsonl"
    assert results.triggers("P19", [0, 3]).name == "P19@0,3.jsonl"
    assert results.triggers_text("P19", 3).name == "P19-3.txt"
    patch = results.patch("edit-1-8", "P19-3", (1.0, 8.0), None, 0)
    assert patch == tmp_path / "edit/edit-1-8/P19-3-1-8.safetensors"
    again = results.patch("run", "P19-3", (0.5, 8.0), 20, 1)
    assert again == tmp_path / "edit/run/P19-3@2-0.5-8-top_20.safetensors"
    assert Results(tmp_path, kn_dir=tmp_path / "other").statistics.parent.name == "other"


def test_scores_of_a_longer_prefix_are_not_ours(tmp_path):
    """mine-2-P19 is of the prefix mine-2."""
    for name in ("mine-P19", "mine-2-P36"):
        (tmp_path / f"{name}.rlt.jsonl").touch()
        (tmp_path / f"{name}.rlt.jsonl.partial").touch()
    for prefix, found in (("mine", ["P19"]), ("mine-2", ["P36"]), ("other", [])):
        results = Results(tmp_path, prefix)
        assert results.scored_relations() == results.unfinished_relations() == found


def test_relations_are_found_by_their_finished_files(tmp_path):
    """No partial files, no manifests, no other prefix, the baseline apart; sorted."""
    results = Results(tmp_path)
    assert results.scored_relations() == results.refined_relations(False) == []
    for name in ("P36", "P19", "P103"):
        results.scores(name).touch()
        write_atomic(manifest_path(results.scores(name)), b"{}")
        write_atomic(results.fact_neurons(name, False), b"")
        write_atomic(manifest_path(results.fact_neurons(name, False)), b"{}")
        manifest_beside(results.fact_neurons(name, False)).touch()
    write_atomic(results.fact_neurons("P20", True), b"")
    (tmp_path / "TREx-all-P20.rlt.jsonl.partial").touch()
    (tmp_path / "other-P30.rlt.jsonl").touch()
    results.arguments.touch()
    assert results.scored_relations() == ["P103", "P19", "P36"]
    assert results.refined_relations(False) == ["P103", "P19", "P36"]
    assert results.refined_relations(True) == ["P20"]


# --- writing ---------------------------------------------------------------------------------


def test_write_makes_folders_and_replaces(tmp_path):
    """The content asked for, nothing beside it."""
    path = tmp_path / "a" / "b" / "file.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new" and files_under(tmp_path) == ["a/b/file.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()])
def test_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, failing, error):
    """Something fails, or Ctrl-C comes: before the rename or at it."""
    path = tmp_path / "file.json"
    path.write_bytes(b"old content")

    def fail(*args):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        write_atomic(path, b"new content")
    monkeypatch.undo()
    assert files_under(tmp_path) == ["file.json"] and path.read_bytes() == b"old content"


def test_what_gets_its_name_is_on_the_disk_and_in_the_same_folder(tmp_path, monkeypatch):
    """The content is synced before the rename, the folder after it."""
    path, events = tmp_path / "file.json", []
    sync, rename = os.fsync, os.replace

    def synced(number):
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file"
        events.append((kind, path.exists()))
        sync(number)

    def renamed(source, target):
        assert Path(source).parent == tmp_path and Path(source).read_bytes() == b"content"
        events.append(("rename", path.exists()))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_atomic(path, b"content")
    assert events == [("file", False), ("rename", False), ("folder", True)]


@pytest.mark.parametrize(
    "number, said", [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "your quota is used up")]
)
def test_a_full_disk_is_said_to_be_that(tmp_path, monkeypatch, number, said):
    """Which file, how much is free, that the same command goes on; the old file stays."""
    path = tmp_path / "file.json"
    path.write_bytes(b"old content")

    def full(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=rf"file\.json cannot be written: {said}") as error:
        write_atomic(path, b"new content")
    assert re.search(r"\([\d.]+ MB free\).*the same command again", str(error.value))
    assert files_under(tmp_path) == ["file.json"] and path.read_bytes() == b"old content"


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_temporaries_of_killed_runs_are_removed_by_the_next(tmp_path):
    """Of ended processes and old ones, and of this name alone; not one that is being written."""
    path, killed, running = tmp_path / "file.json", ended_process(), os.getppid()
    left = tmp_path / f".file.json.{killed}.tmp"
    alive = tmp_path / f".file.json.{running}.tmp"
    other = tmp_path / f"file.jsonl.{killed}.tmp"
    for one in (left, alive, other):
        one.write_bytes(b"half")
    write_atomic(path, b"content")
    assert files_under(tmp_path) == sorted(one.name for one in (path, alive, other))
    for age, stays in ((3500, True), (3700, False)):
        now = time.time()
        os.utime(alive, (now - age, now - age))
        atomic._temporaries.cache_clear()  # as the next process begins
        write_atomic(path, b"content")
        assert alive.exists() == stays, "those older than an hour are removed"
    write_atomic(path, b"content")
    assert files_under(tmp_path) == sorted(one.name for one in (path, other))


def test_json_takes_what_stages_hand_it(tmp_path):
    """Named tuples and NumPy numbers become plain JSON; readable is indented; UTF-8 stays."""
    path = tmp_path / "file.json"
    write_json(path, {"n": [Neuron(1, 2)], "x": np.float64(0.5), "é": None})
    assert path.read_bytes() == '{"n":[[1,2]],"x":0.5,"é":null}\n'.encode()
    write_json(path, {"n": [Neuron(1, 2)]}, readable=True)
    assert json.loads(path.read_text()) == {"n": [[1, 2]]} and path.read_text().count("\n") > 3


@pytest.mark.parametrize("value", [object(), float("nan"), np.float32("inf"), np.array([np.nan])])
def test_json_of_what_is_none_is_refused_and_writes_nothing(tmp_path, value):
    """An object, and numbers that JSON does not have; the place is named."""
    with pytest.raises((TypeError, ValueError), match=r"is no JSON|at \$\.x.* is not finite"):
        write_json(tmp_path / "file.json", {"x": value, "none": None})
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    "number, fits", [(1e30, True), (-1e30, True), (1.001e30, False), (-2e30, False)]
)
def test_numbers_beyond_all_reason_are_damage(number, fits):
    """Of a float, in a list, an array or a record: larger than 1e30 is no measurement."""
    record = Estimate(number, None)
    for value, where in (
        (number, r"\$ "),
        (np.float64(number), r"\$ "),
        ({"a": [0.0, number]}, r"\$\.a\[1\] "),
        (np.array([1.0, number]), r"\$\[1\] "),
        ([record], r"\$\[0\]\.value "),
    ):
        if fits:
            check_numbers(value)
        else:
            with pytest.raises(ValueError, match=f"the number at {where}"):
                check_numbers(value)


def test_long_values_are_cut_where_files_differ(tmp_path):
    """120 characters of each are told, so that a message stays readable."""
    path = tmp_path / "file.json"
    path.touch()
    write_manifest(path, {"a": "x" * 118, "b": "y" * 119})
    with pytest.raises(ValueError) as error:
        is_done(path, {"a": "", "b": ""})
    assert f"a is '{'x' * 118}' there and '' now" in str(error.value)
    assert f"b is '{'y' * 119}... there and '' now" in str(error.value)


@pytest.mark.parametrize("content", [None, b'{"a": ', b""])
def test_read_json_names_the_file(tmp_path, content):
    """Missing, cut off, empty."""
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_json(path, dict)


# --- manifests -------------------------------------------------------------------------------


def test_done_is_told_from_not_done(tmp_path):
    """Not there; there and alike (tuples are JSON lists); there and different."""
    path = tmp_path / "file.json"
    assert is_done(path, IDENTITY) is False
    path.touch()
    write_manifest(path, IDENTITY)
    assert is_done(path, IDENTITY) is True
    assert is_done(path, IDENTITY | {"outputs": ("ig_gold", "base")}) is True
    with pytest.raises(ValueError, match=r"outputs is \['ig_gold', 'base'\] there and \['base'\]"):
        is_done(path, IDENTITY | {"outputs": ["base"]})


def test_finished_file_without_a_manifest_is_refused(tmp_path):
    """A file of the released code is neither taken for ours nor overwritten."""
    path = tmp_path / "file.json"
    path.write_bytes(b"theirs")
    with pytest.raises(ValueError, match="without a manifest") as error:
        is_done(path, IDENTITY)
    assert str(path) in str(error.value)
    assert read_manifest(path) is None


def test_manifest_says_what_the_output_was_made_from(tmp_path):
    """Identity, the facts given, versions of what computes, whether it is complete."""
    path = tmp_path / "file.jsonl"
    under = {"device": "cpu", "threads": 2}
    with GrowingLines(path, IDENTITY, under=under) as lines:
        assert read_manifest(path) == {
            "complete": False,
            "identity": IDENTITY,
            "made_under": [{**under, "from_line": 0}],
        }
        lines.finish()
    write_manifest(path, IDENTITY, seed=42)
    manifest = read_manifest(path)
    assert manifest["complete"] is True and manifest["identity"] == IDENTITY
    assert manifest["seed"] == 42
    assert manifest["made_with"]["numpy"] == np.__version__
    assert manifest["made_with"]["python"] == platform.python_version()


def test_sha256_of_a_file(tmp_path):
    """The published digest of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == digest


def test_manifests_of_before_are_read_and_move_when_rewritten(tmp_path):
    """They lay beside the output, where the authors' scripts take them for neurons."""
    path = tmp_path / "kn" / "kn_bag-P36.json"
    write_json(path, [])
    write_manifest(path, IDENTITY)
    old = manifest_beside(path)
    manifest_path(path).rename(old)
    assert read_manifest(path)["identity"] == IDENTITY
    assert outputs_with_manifest(path.parent) == [path]
    write_manifest(path, IDENTITY | {"steps": 8})
    assert not old.exists() and read_manifest(path)["identity"]["steps"] == 8
    assert outputs_with_manifest(path.parent) == [path]
    names = ["kn/kn_bag-P36.json", "kn/manifests/kn_bag-P36.json.manifest.json"]
    assert files_under(tmp_path) == names


@pytest.mark.parametrize("old", [False, True])
def test_the_command_to_start_over_starts_over(tmp_path, old):
    """Whatever is there is removed, wherever its manifest lies; then the same call begins anew."""
    folder = tmp_path / "it's a folder"
    path = folder / "file.jsonl"
    with GrowingLines(path, IDENTITY) as lines:
        lines.append([b"1"])
    if old:
        manifest_path(path).rename(manifest_beside(path))
    with pytest.raises(ValueError, match="steps is 20 there and 8 now") as error:
        GrowingLines(path, IDENTITY | {"steps": 8})
    command = re.search(r"To start over: (rm .*) and run the stage", str(error.value))[1]
    subprocess.run(["bash", "-c", command], check=True)
    assert files_under(folder) == []
    with GrowingLines(path, IDENTITY | {"steps": 8}) as lines:
        assert lines.done == 0


MANIFEST = {
    "complete": True,
    "identity": {"seed": 1, "scores": {"max_facts": 3, "keep": 0.1}, "scores_sha256": "ab"},
    "bytes": 3,
    "made_under": [{"device": "cpu", "threads": 2, "from_line": 0}],
    "layers": 4,
    "neurons_per_layer": 512,
    "facts_without_prompts": [0],
    "neurons": {"erased": [[0, 1]]},
}


def test_a_manifest_of_another_shape_is_named(tmp_path):
    """Whatever stages read of it: file, field, what to do."""
    path = tmp_path / "file.json"
    write_json(manifest_path(path), MANIFEST)
    assert read_manifest(path) == MANIFEST
    for field in MANIFEST:
        for wrong in (None, "text", -1, [[-1]], {"scores": 3}):
            if field == "complete" and wrong == -1:
                wrong = 1
            write_json(manifest_path(path), MANIFEST | {field: wrong})
            with pytest.raises(ValueError, match=rf"\$\.{field}") as error:
                read_manifest(path)
            assert str(manifest_path(path)) in str(error.value)
            assert "To start over: rm " in str(error.value)
    for content in (b"[" * 200_000, b"[]", b'"\xff"', b'{"a": NaN}', b""):
        manifest_path(path).write_bytes(content)
        with pytest.raises(ValueError, match=r"file\.json\.manifest\.json: "):
            read_manifest(path)
