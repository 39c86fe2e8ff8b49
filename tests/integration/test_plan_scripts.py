"""The scripts say what they cost before they begin, and --help costs nothing.

Run: pytest tests/integration/test_plan_scripts.py
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knowledge_neurons import ROOT

SCRIPTS = ("demo", "test", "real_model", "reproduce_paper")


def script(root: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(root / f"scripts/{name}.sh"), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(root)},
    )


@pytest.fixture
def bare(tmp_path) -> Path:
    """The scripts alone, without an environment or anything to make one from."""
    for path in ROOT.glob("scripts/*.sh"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "scripts")
    return tmp_path


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_costs_nothing(bare, name):
    """Under two seconds, the usage is said, and no file is made."""
    before, started = sorted(bare.rglob("*")), time.perf_counter()
    ended = script(bare, name, "--help")
    assert time.perf_counter() - started < 2
    assert ended.returncode == 0 and not ended.stderr
    assert len(ended.stdout.splitlines()) >= 1 and "set -euo" not in ended.stdout
    if name in ("real_model", "reproduce_paper"):
        assert f"bash scripts/{name}.sh" in ended.stdout and "--yes" in ended.stdout
    assert sorted(bare.rglob("*")) == before


@pytest.fixture
def stubbed(bare) -> Path:
    """Scripts in an environment whose python and stages only say how they are called.

    Where a file `no` lies at the root, the plan ends as where the user says no.
    """
    binaries, stages = bare / ".venv/bin", bare / "src"
    binaries.mkdir(parents=True)
    stages.mkdir()
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\n')
    (binaries / "python").write_text(
        "#!/usr/bin/env bash\n"
        'echo "python $(basename "$1") ${*:2}" >> "$HOME/log"\n'
        'case "$*" in\n'
        '    *run_stages.py\\ --calls*) echo "bash 1_run_mlm.sh P19" ;;\n'
        '    *plan.py*) while [[ $1 != --calls ]]; do shift; done; cat "$2" >> "$HOME/calls"\n'
        "        [[ ! -e $HOME/no ]] ;;\n"
        '    *known_facts.py*) mkdir -p "$HOME/results/smollm2/data"\n'
        '        touch "$HOME/results/smollm2/data/distant_P36.json" ;;\n'
        "esac\n"
    )
    (binaries / "python").chmod(0o755)
    (bare / "pyproject.toml").touch()
    for extra in ("", "-models"):
        (bare / f".venv/.installed{extra}").touch()
    for number, name in enumerate(
        ("mlm", "kn", "modify_activation", "distant", "trigger_examples", "edit", "erase", "plot"),
        start=1,
    ):
        (stages / f"{number}_run_{name}.sh").write_text(
            'echo "$(basename "$0") $*" >> "$HOME/log"\n'
        )
    for name in ("9_neuron_map", "10_controls"):
        (stages / f"{name}.sh").write_text('echo "$(basename "$0") $*" >> "$HOME/log"\n')
    return bare


def test_the_paper_is_planned_before_it_is_run(stubbed):
    """Data, calls, plan, run, in this order; --yes and --from do not reach the stages."""
    ended = script(stubbed, "reproduce_paper", "--yes", "--from", "here", "--relations", "P19")
    assert ended.returncode == 0, ended.stderr
    data, listed, planned, run = (stubbed / "log").read_text().splitlines()
    assert data == "python get_data.py --from here"
    assert listed == "python run_stages.py --calls --relations P19"
    assert planned.startswith("python plan.py --relations P19 --calls ")
    assert planned.endswith("--ask --yes")
    assert run == "python run_stages.py --relations P19"
    assert (stubbed / "calls").read_text() == "bash 1_run_mlm.sh P19\n"


@pytest.mark.parametrize("name", ["reproduce_paper", "real_model"])
def test_no_means_that_nothing_is_begun(stubbed, name):
    (stubbed / "no").touch()
    assert script(stubbed, name).returncode == 1
    log = (stubbed / "log").read_text()
    assert "plan.py" in log.splitlines()[-1] and "_run_" not in log


def test_the_real_model_runs_the_calls_that_it_plans(stubbed):
    """Each once, in their order, stage 1 for every relation of the facts that are known."""
    ended = script(stubbed, "real_model")
    assert ended.returncode == 0, ended.stderr
    planned = (stubbed / "calls").read_text().splitlines()
    assert script(stubbed, "real_model", "--calls").stdout.splitlines() == planned
    log = (stubbed / "log").read_text().splitlines()
    assert [line.split()[1] for line in log[:3]] == ["plan.py", "get_smollm2.py", "known_facts.py"]
    assert "--wordings 3 --per_relation 13" in log[2]
    assert log[3] == "1_run_mlm.sh P36 --tolerance 5e-3"
    assert [line.strip() for line in log[4:]] == planned[2:]


def test_a_plan_of_the_demo(tmp_path):
    """From the printed calls to JSON, with the real engine; nothing is written."""
    data = ["--data_path", str(ROOT / "data/PARAREL/sample_allbags.json")]
    few = [*data, "--relations", "P36", "--max_facts", "4"]
    run = [sys.executable, str(ROOT / "scripts/run_stages.py"), "--calls", *few]
    calls = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    model = ["--model", str(ROOT / "models/demo-bert"), "--output_dir", str(tmp_path / "none")]
    command = [sys.executable, str(ROOT / "scripts/plan.py"), *few, *model, "--device", "cpu"]
    ended = subprocess.run(
        [*command, "--calls", "-", "--json"], input=calls, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    plan = json.loads(ended.stdout)
    assert (plan["facts"], plan["prompts"]) == (4, 32)
    assert sorted(plan["stages"], key=int) == [str(stage) for stage in range(1, 11)]
    assert all(stage["hours"] > 0 for stage in plan["stages"].values())
    assert 0 < plan["hours"] < 1 and set(plan["seconds_a_prompt"]) == {"float32", "bfloat16"}
    assert not list(tmp_path.iterdir())
