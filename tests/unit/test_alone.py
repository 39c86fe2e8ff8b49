"""EleutherAI's package of the same name in the same environment: one error that says what to do.

The real distribution was tried by hand (docs/package.md); here its metadata stand in for it.
Run: pytest tests/unit/test_alone.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
FAIL = "pip uninstall knowledge-neurons knowledge-neurons-lab, and then install"


def run(site: Path, *command: str) -> subprocess.CompletedProcess:
    """Python with the folder in front of everything, and ours behind it."""
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{SRC}"}
    command = [sys.executable, *command]
    return subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True)


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A folder with the metadata that pip leaves of their distribution."""
    folder = tmp_path / "knowledge_neurons-0.0.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: knowledge-neurons\nVersion: 0.0.2\n"
    )
    return tmp_path


def test_importing_names_what_to_uninstall(theirs):
    ended = run(theirs, "-c", "import knowledge_neurons")
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]
    assert said.startswith("ImportError: knowledge-neurons 0.0.2 (EleutherAI's) is installed")
    assert FAIL in said


@pytest.mark.parametrize("command", [("-m", "knowledge_neurons_lab"), ("-m", "knowledge_neurons")])
def test_the_command_says_it_too(theirs, command):
    """Also where their files have taken the place of ours, for it does not begin in the package."""
    if command[-1] == "knowledge_neurons_lab":
        (theirs / "knowledge_neurons").mkdir()
        (theirs / "knowledge_neurons" / "__init__.py").write_text("import their_dependency")
    ended = run(theirs, *command, "--version")
    assert ended.returncode != 0 and FAIL in ended.stderr.splitlines()[-1]


def test_what_uninstalling_theirs_alone_leaves_is_said(tmp_path):
    """pip takes the files along that both had: a package without __init__.py is left."""
    (tmp_path / "knowledge_neurons" / "stages").mkdir(parents=True)
    lab = (SRC / "knowledge_neurons_lab.py").read_text()
    (tmp_path / "knowledge_neurons_lab.py").write_text(lab)
    command = [sys.executable, "-S", "-m", "knowledge_neurons_lab", "--version"]
    ended = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "has lost its __init__.py" in ended.stderr and FAIL in ended.stderr


def test_without_theirs_nothing_is_said(tmp_path):
    assert run(tmp_path, "-c", "import knowledge_neurons").returncode == 0
