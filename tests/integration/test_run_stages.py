"""All stages by one command, on the embedded model: what they leave, going on, the time left.

Run: pytest tests/integration/test_run_stages.py
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge_neurons import ROOT

SAMPLE = ROOT / "data/PARAREL/sample_allbags.json"
FLAGS = ("--relations", "P19,P36", "--max_facts", "12")
ENVIRONMENT = {
    "KN_MODEL": str(ROOT / "models/demo-bert"),
    "KN_DATA": str(SAMPLE),
    "KN_SENTENCES": str(ROOT / "data/BINGREL/sample_distant_{}.json"),
    "KN_PAIRS": str(ROOT / "data/PARAREL/sample_query_pairs.json"),
    "KN_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}


def run(results: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess:
    """The embedded model on its sample, as in the demo."""
    command = [sys.executable, str(ROOT / "scripts/run_stages.py"), *flags]
    chosen = os.environ | ENVIRONMENT | {"KN_RESULTS": str(results)} | environment
    return subprocess.run(command, env=chosen, capture_output=True, text=True)


def content(folder: Path) -> dict[str, bytes]:
    """What the stages wrote, without what holds times: manifests, run.json, the report."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and "manifest" not in path.name
        and path.name not in ("run.json", "report.html", "TREx-all.args.json")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted; not to be changed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    return results, run(results, *FLAGS)


def test_all_stages_run_and_say_how_long_is_left(whole):
    """Their files are there; every step but the first tells the whole run's time left."""
    results, ended = whole
    assert ended.returncode == 0, ended.stderr
    for name in (
        *("TREx-all-P19.rlt.jsonl", "kn/statistics.json", "modify_activation/summary.json"),
        *("distant/summary.json", "trigger_examples_th/P19-0.txt", "edit/edit-1-8.json"),
        *(
            "edit/edit-1-8-top_k.json",
            "erase/P19.json",
            "maps/P36.json",
            "controls/editors.json",
            "figs/dose_response-P19.pdf",
            "figs/suppress.pdf",
            "report.html",
        ),
    ):
        assert (results / name).exists(), name
    steps = re.findall(r"^\[(\d+) of 14\] (.+)$", ended.stdout, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 15))
    assert steps[0][1] == "stage 1 P19"
    assert all(re.search(r", whole run [\d:]+ left$", said) for _, said in steps[1:])
    kept = json.loads((results / "run.json").read_bytes())["steps"]
    assert len(kept) == 14 and all(step["done"] and step["seconds"] > 0 for step in kept.values())
    assert re.search(r"stage 8 +[\d.]+ s", ended.stdout) and "next:" not in ended.stdout


def test_the_embedded_model_shows_what_the_paper_says(whole):
    """Off, its neurons cost a fact five times what others lose; doubled, they help; they answer to
    sentences with head and tail.  The baseline's do less, and cannot tell sentences apart."""
    results, _ = whole
    change = json.loads((results / "modify_activation/summary.json").read_bytes())["change"]
    own, other = (change["neurons"][asked] for asked in ("own", "other"))
    assert own["0"]["interval"][1] < -5 * abs(other["0"]["value"])
    assert own["2"]["interval"][0] > 0
    for factor in ("0", "2"):
        assert abs(change["baseline"]["own"][factor]["value"]) < abs(own["0"]["value"]) / 2
    table = json.loads((results / "distant/summary.json").read_bytes())["table"]
    contrasts = {kind: table[kind]["contrasts"] for kind in ("neurons", "baseline")}
    assert contrasts["neurons"]["both - head"]["interval"][0] > 0.5
    assert contrasts["neurons"]["head - random"]["interval"][1] >= 0  # of 24 facts: a draw
    assert abs(contrasts["baseline"]["both - head"]["value"]) < 0.1


def test_a_second_run_changes_nothing(whole):
    """Neither files nor times; nothing is left."""
    results, _ = whole
    before, times = content(results), (results / "run.json").read_bytes()
    again = run(results, *FLAGS)
    assert again.returncode == 0 and "stage 4, whole run 00:00 left" in again.stdout
    assert content(results) == before
    assert (results / "run.json").read_bytes() == times


def test_a_failed_run_goes_on_to_the_same_bytes(whole, tmp_path):
    """Without sentences stages 4 and 5 fail, the others go on; with them these are done too."""
    results = tmp_path / "results"
    failed = run(results, *FLAGS, KN_SENTENCES=str(tmp_path / "none_{}.json"))
    assert failed.returncode == 2 and "Traceback" not in failed.stderr
    assert "error: stage 4 (exit code 2), stage 5 (exit code 2) failed" in failed.stderr
    kept = json.loads((results / "run.json").read_bytes())["steps"]
    assert kept["stage 7 P19"]["done"] and not kept["stage 4"]["done"]
    assert run(results, *FLAGS).returncode == 0
    assert content(results) == content(whole[0])


def test_without_scores_nothing_goes_on(tmp_path):
    """Stage 1 fails: no other stage is tried."""
    failed = run(tmp_path / "results", *FLAGS, "--rule", "simpson")
    assert failed.returncode == 2 and "error: stage 1 P19 (exit code 2) failed" in failed.stderr
    assert "stage 1 P36" not in failed.stdout
