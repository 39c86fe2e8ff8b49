"""The built wheel in an environment of its own, in a folder far from the repository.

What it depends on is found where these tests have it, so that torch is not installed twice; of the
repository there is only a copy of the embedded model and sample, as a user would have put them.
Run: pytest tests/integration/test_package.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from knowledge_neurons import ROOT, __version__

PROMPTS = (
    "The government of France sits in the capital [MASK].",
    "Laws for all of France are made in [MASK].",
    "Rulers of France kept their seat in [MASK].",
)
SOURCES = ("src", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: nothing of an earlier build is in it, and nothing is left behind."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    without = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=without)
        else:
            shutil.copy(ROOT / name, copy / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, copy)
    (found,) = built.iterdir()
    return found


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, and a folder in which its commands are run."""

    environment: Path
    folder: Path

    def run(self, *command: object, code: int = 0) -> subprocess.CompletedProcess:
        """A program of the environment, with nothing of this process's but its libraries."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KN_")}
        ours.pop("PYTHONPATH", None)
        program, *arguments = map(str, command)
        ended = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            env=ours | {"KN_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == code, ended.stderr
        return ended

    def files(self) -> set[str]:
        """Of the installed package, but for compiled ones."""
        paths = self.environment.rglob("*")
        return {str(path) for path in paths if path.is_file() and path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    """The wheel in an environment, and the embedded model and sample in the current folder."""
    environment, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("folder")
    venv.create(environment)
    python = environment / "bin" / "python"
    pip("--python", python, "install", "--no-deps", wheel)
    (site,) = environment.glob("lib/python*/site-packages")
    # The .pth files of a folder that a .pth file names are not read: no editable install is found.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copytree(ROOT / "models/demo-bert", folder / "models/demo-bert")
    data = folder / "data/PARAREL/data_all_allbags.json"
    data.parent.mkdir(parents=True)
    shutil.copy(ROOT / "data/PARAREL/sample_allbags.json", data)
    return Installed(environment, folder)


def test_the_wheel_has_all_modules_and_is_typed(wheel):
    """Every file of src/ but the shell scripts; the stages and custom_bert beside the package."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (one for one in archive.namelist() if one.endswith("/METADATA"))
        said = archive.read(metadata).decode()
    own = {path for path in (ROOT / "src").rglob("*") if path.is_file()}
    there = {path.relative_to(ROOT / "src") for path in own}
    left = {path for path in there if path.suffix in (".sh", ".pyc") or "egg-info" in str(path)}
    assert names == {path.as_posix() for path in there - left}
    assert "knowledge_neurons/py.typed" in names
    assert f"\nVersion: {__version__}\n" in said and "\nProject-URL: Paper, https://arxiv" in said
    assert "\nClassifier: Typing :: Typed\n" in said


def test_version_and_help_do_not_wait_for_torch(installed):
    told = f"knowledge-neurons-lab {__version__}\n"
    assert installed.run("kn", "--version").stdout == told
    assert installed.run("python", "-m", "knowledge_neurons", "--version").stdout == told
    for command in ("--help", "stage --help", "find --help"):
        code = (
            "import atexit, sys; import knowledge_neurons_lab\n"
            "atexit.register(lambda: print('torch' in sys.modules))\n"
            f"sys.argv[1:] = {command.split()}; knowledge_neurons_lab.main()"
        )
        said = installed.run("python", "-c", code).stdout
        assert said.startswith("usage: kn") and said.endswith("\nFalse\n")


def test_the_snippet_of_the_readme(installed):
    """As it stands, and it comes from the wheel."""
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    ending = "print(neurons[0], __import__('knowledge_neurons').__file__)"
    said = installed.run("python", "-c", snippet + ending).stdout
    assert "Neuron(layer=3, index=7)" in said
    assert str(installed.environment) in said


def test_find(installed):
    asked = ("--answer", "Paris", "--model", "models/demo-bert")
    said = installed.run("kn", "find", *PROMPTS, *asked).stdout
    assert "Paris" in said and re.search(r"\b3\W+7\b", said)


def test_stages_read_and_write_in_the_current_folder(installed):
    """Prompts from its data/, results into its results/, nothing into the environment."""
    before = installed.files()
    model = ("--bert_model", "models/demo-bert")
    installed.run("kn", "stage", 1, "P36", "--max_facts", 3, *model)
    assert "P36      3 facts" in installed.run("kn", "stage", 2).stdout
    installed.run("kn", "report", "results")
    assert installed.files() == before
    results = installed.folder / "results"
    assert (results / "kn/statistics.json").exists() and (results / "report.html").exists()
    manifest = json.loads((results / "manifests/TREx-all-P36.rlt.jsonl.manifest.json").read_bytes())
    assert manifest["arguments"]["data_path"] == "data/PARAREL/data_all_allbags.json"
    assert manifest["made_with"]["knowledge-neurons-lab"] == __version__
    assert manifest["made_with"]["commit"] is None
