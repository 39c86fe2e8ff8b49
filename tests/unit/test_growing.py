"""Files that grow by lines: interrupted at any point and by anything, they go on to the same bytes.

Run: pytest tests/unit/test_growing.py
"""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.results import growing
from knowledge_neurons.results.companions import lock_path, manifest_path
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.manifests import is_done, read_manifest

IDENTITY = {"relation": "P19", "steps": 20, "outputs": ["ig_gold", "base"]}
LINES = [b'{"line": %d}' % number for number in range(7)]
FINISHED = ["file.jsonl", "manifests/file.jsonl.manifest.json"]


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def write_groups(path: Path, group: int, lines=LINES, stop_after: int | None = None) -> int:
    """Write what is missing of the lines in groups; finish unless stopped.  How many were there."""
    with GrowingLines(path, IDENTITY, group) as file:
        if file.finished:
            return len(lines)
        found = file.done
        for start in range(found, len(lines), group):
            if stop_after is not None and start >= stop_after:
                return found
            file.append(lines[start : start + group])
        file.finish()
    return found


# --- files that grow by lines ----------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 3])
def test_uninterrupted_run(tmp_path, group):
    """All lines in order under the final name, the partial gone."""
    path = tmp_path / "new folder" / "file.jsonl"
    assert write_groups(path, group) == 0
    assert path.read_bytes() == b"".join(line + b"\n" for line in LINES)
    assert files_under(path.parent) == FINISHED


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
        ended = read_manifest(path)["complete"] and whole.count(b"\n") == len(LINES)
        found = write_groups(path, group)
        assert found == (len(LINES) if ended else whole.count(b"\n") // group * group)
        assert path.read_bytes() == b"".join(line + b"\n" for line in LINES)
        assert files_under(Path(folder)) == FINISHED


def test_lines_are_on_their_way_as_soon_as_appended(tmp_path):
    """A process killed without warning loses nothing that was appended."""
    source, path = str(Path(growing.__file__).parents[1]), str(tmp_path / "file.jsonl")
    code = (
        f"import os, sys; from pathlib import Path; sys.path.insert(0, {source!r})\n"
        "from knowledge_neurons.results.growing import GrowingLines\n"
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
    assert f"rm {path}.partial {manifest_path(path)} and" in str(error.value)
    assert "choose another folder for the results" in str(error.value)
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


# --- two files that grow together ------------------------------------------------------------


def test_a_file_beside_grows_resumes_and_ends_with_the_first(tmp_path):
    """After a crash between the two writes both are cut to what both have."""
    path, beside = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with GrowingLines(path, IDENTITY, 2, beside) as lines:
        lines.append(LINES[:2], [b"10", b"11"])
        lines.append(LINES[2:4], [b"12", b"13"])
        assert lines.read_beside(int) == [10, 11, 12, 13]
    (tmp_path / "b.jsonl.partial").write_bytes(b"10\n11\n12\n1")
    with GrowingLines(path, IDENTITY, 2, beside) as lines:
        assert lines.done == 2 and lines.read_beside(int) == [10, 11]
        lines.append(LINES[2:4], [b"22", b"23"])
        lines.finish()
    assert path.read_bytes().splitlines() == LINES[:4]
    assert beside.read_bytes() == b"10\n11\n22\n23\n"
    assert files_under(tmp_path) == ["a.jsonl", "b.jsonl", "manifests/a.jsonl.manifest.json"]


# --- killed at any point ---------------------------------------------------------------------


class Killed(BaseException):
    """As SIGKILL: nothing after it runs but the closing of files."""


def grow(folder: Path, beside: bool = True) -> int:
    """A whole run, two lines a group; how many lines were computed."""
    path, computed = folder / "file.jsonl", 0
    with GrowingLines(path, IDENTITY, 2, folder / "other.jsonl" if beside else None) as lines:
        while not lines.finished and lines.done < len(LINES):
            some = LINES[lines.done : lines.done + 2]
            lines.append(some, [b"%d" % len(line) for line in some])
            computed += len(some)
        if not lines.finished:
            lines.finish()
    return computed


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_under(folder)}


def killing(function, kill_at: int, after: bool):
    """The function as it is, but for one call, at which or after which the process is killed."""
    calls = 0

    def called(*args):
        nonlocal calls
        calls += 1
        if calls == kill_at and not after:
            raise Killed
        function(*args)
        if calls == kill_at:
            raise Killed

    return called


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("function, points", [("replace", 4), ("fsync", 8)])
def test_killed_anywhere_the_next_run_ends_with_the_same_bytes(
    tmp_path, monkeypatch, function, points, after
):
    """At every rename and every sync; what the manifest calls complete is not computed again."""
    assert grow(tmp_path / "whole") == len(LINES)
    whole = content(tmp_path / "whole")
    for kill_at in range(1, 100):
        folder = tmp_path / str(kill_at)
        with monkeypatch.context() as patch:
            patch.setattr(os, function, killing(getattr(os, function), kill_at, after))
            try:
                grow(folder)
                break  # it has fewer calls
            except Killed:
                pass
        partial = folder / "file.jsonl.partial"
        lines = partial.read_bytes().count(b"\n") if partial.exists() else 0
        manifest = read_manifest(folder / "file.jsonl") or {"complete": False}
        assert grow(folder) == (0 if manifest["complete"] else len(LINES) - lines // 2 * 2)
        assert content(folder) == whole
    assert kill_at == points + 1, "the first that has no such call"


def test_a_run_that_waited_finds_the_file_finished(tmp_path):
    """It looked before the other ended: nothing is computed again, nothing left behind."""
    path = tmp_path / "file.jsonl"
    assert not is_done(path, IDENTITY)
    assert grow(tmp_path) == len(LINES)
    before = content(tmp_path)
    with GrowingLines(path, IDENTITY, 2, tmp_path / "other.jsonl") as lines:
        assert lines.finished
    assert content(tmp_path) == before
    with pytest.raises(ValueError, match="steps is 20 there and 8 now"):
        GrowingLines(path, IDENTITY | {"steps": 8})


def test_the_lock_is_on_the_file_that_has_the_name(tmp_path, monkeypatch):
    """Another run removed the lock's file between opening and locking: a new one is locked."""
    path, real = tmp_path / "file.jsonl", fcntl.flock

    def late(file, how):
        monkeypatch.undo()
        lock_path(path).unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with GrowingLines(path, IDENTITY) as lines:
        lines.append(LINES[:1])
        assert lock_path(path).exists()
        with pytest.raises(ValueError, match="being written by another run"):
            GrowingLines(path, IDENTITY)


def test_a_killed_run_blocks_nobody(tmp_path):
    """Its lock's file stays, its lock does not; the next run removes the file when it ends."""
    path = tmp_path / "file.jsonl"
    code = (
        "import time; from pathlib import Path\n"
        "from knowledge_neurons.results.growing import GrowingLines\n"
        f"lines = GrowingLines(Path({str(path)!r}), {IDENTITY!r})\n"
        f"lines.append({LINES[:2]!r}); print('writing', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(growing.__file__).parents[2])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match=f"{path} is being written by another run"):
            GrowingLines(path, IDENTITY)
        other.kill()
    assert lock_path(path).exists()
    assert write_groups(path, 1) == 2
    assert files_under(tmp_path) == FINISHED


def test_a_full_disk_in_the_middle_of_a_line(tmp_path, monkeypatch):
    """Half a line is written: the file is named, and the next run goes on from the whole ones."""
    path = tmp_path / "file.jsonl"
    with GrowingLines(path, IDENTITY) as lines:
        lines.append(LINES[:2])

        def full(file, content):
            file.write(content[:4])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(growing, "_write", full)
        with pytest.raises(
            OSError, match=r"file\.jsonl\.partial cannot be written: the disk is full"
        ):
            lines.append(LINES[2:4])
    monkeypatch.undo()
    assert (tmp_path / "file.jsonl.partial").read_bytes().endswith(b'\n{"li')
    assert write_groups(path, 1) == 2
    assert path.read_bytes().splitlines() == LINES


# --- what the lines were made under ----------------------------------------------------------


def test_lines_made_under_another_device_are_marked(tmp_path):
    """From which line on; a file made under one has one entry; lost lines take theirs along."""
    path = tmp_path / "file.jsonl"
    cpu, more = ({"device": "cpu", "threads": threads} for threads in (1, 2))
    for under, some in ((cpu, LINES[:2]), (cpu, LINES[2:4]), (more, LINES[4:5])):
        with GrowingLines(path, IDENTITY, under=under) as lines:
            lines.append(some)
    marked = [cpu | {"from_line": 0}, more | {"from_line": 4}]
    assert read_manifest(path)["made_under"] == marked
    partial = tmp_path / "file.jsonl.partial"
    partial.write_bytes(b"".join(line + b"\n" for line in LINES[:4]))
    cuda = {"device": "cuda:0", "threads": 2}
    with GrowingLines(path, IDENTITY, under=cuda) as lines:
        lines.append(LINES[4:])
        lines.finish()
    marked[1] = cuda | {"from_line": 4}
    assert read_manifest(path)["made_under"] == marked
