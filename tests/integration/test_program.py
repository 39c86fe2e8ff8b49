"""How programs end: one line and an exit code, also while their libraries are being imported."""

import signal
import subprocess
import sys
import time

import pytest

from knowledge_neurons import ROOT
from tests.integration.stages import SRC

ENDINGS = [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]


def run(code: str, *arguments: str) -> subprocess.Popen:
    path = {"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=path, **pipes)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize(("number", "word", "code"), ENDINGS)
def test_stopped_during_the_imports(number, word, code):
    process = run(
        "from knowledge_neurons.stages import program; import time; "
        "print('importing', flush=True); time.sleep(60)"
    )
    process.stdout.readline()
    process.send_signal(number)
    assert ended(process) == (code, f"\n{word}; run the same command again to go on\n")


@pytest.mark.parametrize(("number", "word", "code"), ENDINGS)
def test_stopped_at_work_leaves_things_in_order(number, word, code, tmp_path):
    process = run(
        """
import sys, time
from knowledge_neurons.stages import program
def main():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        open(sys.argv[1], "w").close()
program.run(main)
""",
        str(tmp_path / "closed"),
    )
    process.stdout.readline()
    process.send_signal(number)
    assert ended(process) == (code, f"\n{word}; run the same command again to go on\n")
    assert (tmp_path / "closed").exists()


def test_a_signal_that_the_parent_ignores_stays_ignored():
    process = run(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from knowledge_neurons.stages import program\n"
        "def main(): print('working', flush=True); import time; time.sleep(0.3)\n"
        "program.run(main)"
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, "")


@pytest.mark.parametrize("script", sorted(path.name for path in SRC.glob("[1-9]*_*.py")))
def test_every_stage_listens_before_its_large_imports(script):
    lines = (SRC / script).read_text().splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    assert imports[:2] == [
        "from __future__ import annotations",
        "from knowledge_neurons.stages import program  # isort: skip",
    ]


@pytest.mark.parametrize(("number", "word", "code"), ENDINGS)
def test_a_stage_that_is_stopped_goes_on_from_there(place, number, word, code):
    """Wherever it was hit; the whole answer is compared in test_stage_1 for kills at any line."""
    process = place.start("1_run_mlm.sh", "P19")
    time.sleep(1.0)  # on a quiet machine it is at its end after 1.5, when the interpreter leaves
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    if process.returncode == 0:  # it was quicker
        return
    assert process.returncode == code, (out, err)
    assert f"{word}; run the same command again" in err and "Traceback" not in err


def test_what_a_file_says_does_not_reach_the_terminal_raw():
    code = (
        "from knowledge_neurons.stages import program\n"
        "def main(): raise ValueError('relation \\x1b[2J\\n\\udcff é')\n"
        "program.run(main)"
    )
    assert ended(run(code)) == (2, "error: relation \\x1b[2J\\n\\udcff é\n")


def test_run_stages_hands_a_signal_on(tmp_path):
    """The step ends first, by its own line; then the run."""
    scripts = ROOT / "scripts"
    process = run(
        f"""
import os, sys
from knowledge_neurons.stages import program
sys.path.insert(0, {str(scripts)!r})
import run_stages
from pathlib import Path
step = run_stages.Step(1, "stage 1", [sys.executable, "-c", '''
from knowledge_neurons.stages import program
import time
def main():
    print("working", flush=True); time.sleep(60)
program.run(main)'''], 1.0)
log = run_stages.Log(Path(sys.argv[1]) / "run.json")
program.run(lambda: run_stages.run([step], log, dict(os.environ)))
""",
        str(tmp_path),
    )
    while "working" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert code == 143 and err.count("terminated; run the same command again") == 2
