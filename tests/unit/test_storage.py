"""What stages write: atomic, resumable, never mixed; names and shapes are in test_artifacts.py.

Run: pytest tests/unit/test_storage.py
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons import artifacts, storage
from knowledge_neurons.artifacts import Results
from knowledge_neurons.storage import GrowingLines, manifest_path, write_atomic
from knowledge_neurons.types import Neuron

IDENTITY = {"relation": "P19", "steps": 20, "outputs": ["ig_gold", "base"]}
LINES = [b'{"line": %d}' % number for number in range(7)]


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def write_groups(path: Path, group: int, lines=LINES, stop_after: int | None = None) -> int:
    """Write what is missing of the lines in groups; finish unless stopped.  How many were there."""
    with GrowingLines(path, IDENTITY, group) as growing:
        found = growing.done
        for start in range(found, len(lines), group):
            if stop_after is not None and start >= stop_after:
                return found
            growing.append(lines[start : start + group])
        growing.finish()
    return found


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
    assert manifest_path(path).name == "TREx-all-P1.rlt.jsonl.manifest.json"


def test_relations_are_found_by_their_finished_files(tmp_path):
    """No partial files, no manifests, no other prefix, the baseline apart; sorted."""
    results = Results(tmp_path)
    assert results.scored_relations() == results.refined_relations(False) == []
    for name in ("P36", "P19", "P103"):
        results.scores(name).touch()
        manifest_path(results.scores(name)).touch()
        write_atomic(results.fact_neurons(name, False), b"")
        manifest_path(results.fact_neurons(name, False)).touch()
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


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, failing, error):
    """The disk fills half-way, or Ctrl-C comes: before the rename or at it."""
    path = tmp_path / "file.json"
    path.write_bytes(b"old content")
    real_write = Path.write_bytes

    def fail(self, *args):
        if failing == "write_bytes":
            real_write(self, b"hal")
        raise error

    monkeypatch.setattr(Path, failing, fail)
    with pytest.raises(type(error)):
        write_atomic(path, b"new content")
    monkeypatch.undo()
    assert files_under(tmp_path) == ["file.json"] and path.read_bytes() == b"old content"


def test_half_written_content_never_has_the_final_name(tmp_path, monkeypatch):
    """At the moment of writing the final name does not exist yet."""
    path, seen = tmp_path / "file.json", []
    real_write = Path.write_bytes

    def watched(self, content):
        seen.append((self.parent, path.exists()))
        return real_write(self, content)

    monkeypatch.setattr(Path, "write_bytes", watched)
    write_atomic(path, b"content")
    assert seen == [(tmp_path, False)], "in the same folder, so that the rename is atomic"


def test_json_takes_what_stages_hand_it(tmp_path):
    """Named tuples and NumPy numbers become plain JSON; readable is indented; UTF-8 stays."""
    path = tmp_path / "file.json"
    storage.write_json(path, {"n": [Neuron(1, 2)], "x": np.float64(0.5), "é": None})
    assert path.read_bytes() == '{"n":[[1,2]],"x":0.5,"é":null}\n'.encode()
    storage.write_json(path, {"n": [Neuron(1, 2)]}, readable=True)
    assert json.loads(path.read_text()) == {"n": [[1, 2]]} and path.read_text().count("\n") > 3


def test_json_of_what_is_none_is_refused_and_writes_nothing(tmp_path):
    """A set is a mistake of the caller, not a list."""
    with pytest.raises(TypeError):
        storage.write_json(tmp_path / "file.json", {"x": {1, 2}})
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("content", [None, b'{"a": ', b""])
def test_read_json_names_the_file(tmp_path, content):
    """Missing, cut off, empty."""
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        storage.read_json(path)


# --- files that grow by lines ----------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 3])
def test_uninterrupted_run(tmp_path, group):
    """All lines in order under the final name, the partial gone."""
    path = tmp_path / "new folder" / "file.jsonl"
    assert write_groups(path, group) == 0
    assert path.read_bytes() == b"".join(line + b"\n" for line in LINES)
    assert files_under(path.parent) == ["file.jsonl", "file.jsonl.manifest.json"]


@given(cut=st.integers(0, 90), group=st.sampled_from([1, 3]), stop=st.integers(0, 8))
def test_resume_after_an_interruption_at_any_byte(cut, group, stop):
    """Stopped after any group, the partial cut anywhere: resuming writes the same bytes.

    And no more than one group of whole lines is done again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        partial = path.with_name("file.jsonl.partial")
        write_groups(path, group, stop_after=stop)
        if not partial.exists():  # it was not stopped
            path.rename(partial)
        whole = partial.read_bytes()[:cut]
        partial.write_bytes(whole)
        found = write_groups(path, group)
        assert found == whole.count(b"\n") // group * group
        assert path.read_bytes() == b"".join(line + b"\n" for line in LINES)
        assert files_under(Path(folder)) == ["file.jsonl", "file.jsonl.manifest.json"]


def test_lines_are_on_their_way_as_soon_as_appended(tmp_path):
    """A process killed without warning loses nothing that was appended."""
    source, path = str(Path(artifacts.__file__).parents[1]), str(tmp_path / "file.jsonl")
    code = (
        f"import os, sys; from pathlib import Path; sys.path.insert(0, {source!r})\n"
        "from knowledge_neurons.storage import GrowingLines\n"
        f"lines = GrowingLines(Path({path!r}), {IDENTITY!r})\n"
        f"lines.append({LINES[:2]!r}); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert write_groups(tmp_path / "file.jsonl", 1) == 2


def test_exception_inside_keeps_what_is_done(tmp_path):
    """Ctrl-C in the middle: the partial stays, unlocked, and nothing has the final name."""
    path = tmp_path / "file.jsonl"
    with pytest.raises(KeyboardInterrupt), GrowingLines(path, IDENTITY) as lines:
        lines.append(LINES[:3])
        raise KeyboardInterrupt
    assert not path.exists()
    assert write_groups(path, 1) == 3


def test_resuming_with_another_identity_names_the_field_and_both_values(tmp_path):
    """What differs, there and now; what to do; and the lines there stay as they are."""
    path = tmp_path / "file.jsonl"
    write_groups(path, 1, stop_after=3)
    before = {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)}
    asked = IDENTITY | {"steps": 8, "keep": 0.1}
    with pytest.raises(ValueError, match="steps is 20 there and 8 now") as error:
        GrowingLines(path, asked)
    assert "keep is None there and 0.1 now" in str(error.value)
    assert "relation" not in str(error.value), "only what differs"
    assert f"rm {path}*" in str(error.value) and "--output_dir" in str(error.value)
    assert {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)} == before


def test_partial_of_unknown_origin_is_refused(tmp_path):
    """Lines without a manifest were not written here: not continued, not cut."""
    partial = tmp_path / "file.jsonl.partial"
    partial.write_bytes(b"somebody's")
    with pytest.raises(ValueError, match="without a manifest"):
        GrowingLines(tmp_path / "file.jsonl", IDENTITY)
    assert partial.read_bytes() == b"somebody's"


def test_run_killed_before_its_manifest_was_written(tmp_path):
    """An empty partial without a manifest binds nobody."""
    (tmp_path / "file.jsonl.partial").touch()
    assert write_groups(tmp_path / "file.jsonl", 1) == 0
    assert (tmp_path / "file.jsonl").exists()


def test_second_writer_is_refused_while_the_first_writes(tmp_path):
    """A lock, not a guess: refused at once, without harm to the first; free when that has ended."""
    path = tmp_path / "file.jsonl"
    with GrowingLines(path, IDENTITY) as first:
        first.append(LINES[:2])
        with pytest.raises(ValueError, match="is being written by another run"):
            GrowingLines(path, IDENTITY)
        first.append(LINES[2:3])
    assert write_groups(path, 1) == 3
    assert path.read_bytes() == b"".join(line + b"\n" for line in LINES)


# --- manifests -------------------------------------------------------------------------------


def test_done_is_told_from_not_done(tmp_path):
    """Not there; there and alike (tuples are JSON lists); there and different."""
    path = tmp_path / "file.json"
    assert storage.is_done(path, IDENTITY) is False
    path.touch()
    storage.write_manifest(path, IDENTITY)
    assert storage.is_done(path, IDENTITY) is True
    assert storage.is_done(path, IDENTITY | {"outputs": ("ig_gold", "base")}) is True
    with pytest.raises(ValueError, match=r"outputs is \['ig_gold', 'base'\] there and \['base'\]"):
        storage.is_done(path, IDENTITY | {"outputs": ["base"]})


def test_finished_file_without_a_manifest_is_refused(tmp_path):
    """A file of the released code is neither taken for ours nor overwritten."""
    path = tmp_path / "file.json"
    path.write_bytes(b"theirs")
    with pytest.raises(ValueError, match="without a manifest") as error:
        storage.is_done(path, IDENTITY)
    assert str(path) in str(error.value)
    assert storage.read_manifest(path) is None


def test_manifest_says_what_the_output_was_made_from(tmp_path):
    """Identity, the facts given, versions of what computes, whether it is complete."""
    path = tmp_path / "file.jsonl"
    with GrowingLines(path, IDENTITY) as lines:
        assert storage.read_manifest(path) == {"complete": False, "identity": IDENTITY}
        lines.finish()
    storage.write_manifest(path, IDENTITY, seed=42)
    manifest = storage.read_manifest(path)
    assert manifest["complete"] is True and manifest["identity"] == IDENTITY
    assert manifest["seed"] == 42
    assert manifest["made_with"]["numpy"] == np.__version__
    assert manifest["made_with"]["python"] == platform.python_version()


def test_sha256_of_a_file(tmp_path):
    """The published digest of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.sha256_of(tmp_path / "abc") == digest


# --- two files that grow together ------------------------------------------------------------


def test_a_file_beside_grows_resumes_and_ends_with_the_first(tmp_path):
    """After a crash between the two writes both are cut to what both have."""
    path, beside = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with GrowingLines(path, IDENTITY, 2, beside) as lines:
        lines.append(LINES[:2], [b"10", b"11"])
        lines.append(LINES[2:4], [b"12", b"13"])
        assert lines.read_beside() == [10, 11, 12, 13]
    (tmp_path / "b.jsonl.partial").write_bytes(b"10\n11\n12\n1")
    with GrowingLines(path, IDENTITY, 2, beside) as lines:
        assert lines.done == 2 and lines.read_beside() == [10, 11]
        lines.append(LINES[2:4], [b"22", b"23"])
        lines.finish()
    assert path.read_bytes().splitlines() == LINES[:4]
    assert beside.read_bytes() == b"10\n11\n22\n23\n"
    assert files_under(tmp_path) == ["a.jsonl", "a.jsonl.manifest.json", "b.jsonl"]
