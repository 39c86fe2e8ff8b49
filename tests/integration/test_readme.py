"""The README's commands, pasted in the order of the page into a fresh copy of the repository.

Run: pytest tests/integration/test_readme.py

The copy has what git tracks, and an environment that is this one: `.venv/bin/activate` puts this
interpreter first on PATH, and its stamp says that all is installed, so that nothing is.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge_neurons import ROOT
from tests.reference.outputs import same

TEXT = (ROOT / "README.md").read_text()
# What is not run as it stands, what is in its place, and why.
INSTEAD = {
    # All stages, minutes; its stages are run in test_run_stages.py and below.
    "bash scripts/demo.sh": "bash scripts/demo.sh --help",
    # These tests themselves.
    "bash scripts/test.sh": "bash scripts/test.sh --help",
    # 21 minutes, and 93 MB from PyPI.
    "bash scripts/real_model.sh": "bash scripts/real_model.sh --calls",
    # Data and a model of the network, hours.
    "bash scripts/reproduce_paper.sh": "bash scripts/reproduce_paper.sh --help",
    # Data of the network.
    "python scripts/get_data.py": "python scripts/get_data.py --help",
    # bert-base-cased of the hub, and the data that was not fetched.
    "bash src/1_run_mlm.sh P101": "bash src/1_run_mlm.sh P101 --help",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every command of the page, its comment left out."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a fresh clone has, as it lies here, with this environment in its .venv."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    # Also where the checkout is another user's.
    git = ("git", "-c", "safe.directory=*", "ls-files", "-z")
    tracked = subprocess.check_output(git, cwd=ROOT, text=True)
    for name in tracked.split("\0"):
        if (source := ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    activate = folder / ".venv/bin/activate"
    activate.parent.mkdir(parents=True)
    here = Path(sys.executable).parent
    activate.write_text(f'export PATH="{here}:$PATH" PYTHONPATH="{folder}/src"\n')
    for stamp in (".installed", ".installed-dev"):
        (folder / ".venv" / stamp).touch()
    return folder


def run(clone: Path, *command: str) -> subprocess.CompletedProcess:
    """In the copy, with none of our settings."""
    ours = ("KN_", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    done = subprocess.run(
        command,
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_commands_run_in_the_order_of_the_page(clone):
    """Pasted into one shell: settings of one line hold for the next."""
    asked = commands()
    assert set(asked) >= INSTEAD.keys()
    lines = ["set -euo pipefail"]
    for command in asked:
        lines += [f"echo '$ {command}'", INSTEAD.get(command, command)]
    lines.append("pwd; command -v python")
    said = run(clone, "bash", "-c", "\n".join(lines)).stdout
    assert "Knowledge neurons of 1 relations, in results/one/kn" in said
    assert (clone / "results/one/report.html").stat().st_size > 100_000
    assert "installing" not in said
    # The reader is left where the page began, with the environment's Python.
    folder, python = said.splitlines()[-2:]
    assert (Path(folder), Path(python).parent) == (clone, Path(sys.executable).parent)


def test_the_library_says_what_the_page_shows(clone):
    (snippet,), (shown,) = blocks("python"), blocks("text")
    code = f"import sys; sys.path.insert(0, {str(clone / 'src')!r})\n{snippet}"
    said = run(clone, sys.executable, "-c", code).stdout
    assert same(said, shown), said


def test_one_stage_a_row():
    """Each stage's script stands in the table, and is there."""
    rows = re.findall(r"^\| `(\d+)(_\w+\.sh)", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 12))
    assert all((ROOT / "src" / f"{number}{name}").exists() for number, name in rows)
