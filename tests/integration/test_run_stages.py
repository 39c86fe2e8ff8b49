"""All stages by one command, on a tiny model: what they leave, going on, the time left.

Run: pytest tests/integration/test_run_stages.py
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons.storage import ROOT
from tests.integration.stages import Place

FLAGS = ("--relations", "P19,P36", "--max_facts", "4")


def run(place: Place, *flags: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts/run_stages.py"), *flags]
    return subprocess.run(
        command,
        env=os.environ | place.environment | environment,
        capture_output=True,
        text=True,
    )


def content(folder: Path) -> dict[str, bytes]:
    """What the stages wrote, without manifests, which hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "manifest" not in path.name and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """A run that nothing interrupted; not to be changed."""
    place = replace(inputs, results=tmp_path_factory.mktemp("whole") / "results")
    return place, run(place, *FLAGS)


def test_all_stages_run_and_say_how_long_is_left(whole):
    """Their files are there; every step but the first tells the whole run's time left."""
    place, ended = whole
    assert ended.returncode == 0, ended.stderr
    for name in (
        *("TREx-all-P19.rlt.jsonl", "kn/statistics.json", "modify_activation/summary.json"),
        *("distant/summary.json", "trigger_examples_th/P19-0.txt", "edit/edit-1-8.json"),
        *("edit/edit-1-8-top_k.json", "erase/P19.json", "figs/kneurons_distribution.pdf"),
    ):
        assert (place.results / name).exists(), name
    steps = re.findall(r"^\[(\d+) of 10\] (.+)$", ended.stdout, re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 11))
    assert steps[0][1] == "stage 1 P19"
    assert all(re.search(r", whole run [\d:]+ left$", said) for _, said in steps[1:])
    kept = json.loads((place.results / "run.json").read_bytes())["steps"]
    assert len(kept) == 10 and all(step["done"] and step["seconds"] > 0 for step in kept.values())
    assert re.search(r"stage 8 +[\d.]+ s", ended.stdout)


def test_a_second_run_changes_nothing(whole):
    """Neither files nor times; nothing is left."""
    place, _ = whole
    before, times = content(place.results), (place.results / "run.json").read_bytes()
    again = run(place, *FLAGS)
    assert again.returncode == 0 and "stage 4, whole run 00:00 left" in again.stdout
    assert content(place.results) == before
    assert (place.results / "run.json").read_bytes() == times


def test_a_failed_run_goes_on_to_the_same_bytes(whole, tmp_path):
    """Without sentences stage 4 stops it, naming the stage; with them the rest is done."""
    place = replace(whole[0], results=tmp_path / "results")
    failed = run(place, *FLAGS, KN_SENTENCES=str(tmp_path / "none_{}.json"))
    assert failed.returncode == 2 and "error: stage 4 ended with exit code 2" in failed.stderr
    assert "Traceback" not in failed.stderr and "stage 5" not in failed.stdout
    kept = json.loads((place.results / "run.json").read_bytes())["steps"]
    assert kept["stage 3"]["done"] and not kept["stage 4"]["done"]
    assert run(place, *FLAGS).returncode == 0
    assert content(place.results) == content(whole[0].results)


def test_more_relations_join_the_same_folder(whole, tmp_path):
    """A run of one relation, then of two: as if both had been asked for at once."""
    place = replace(whole[0], results=tmp_path / "results")
    assert run(place, "--relations", "P36", *FLAGS[2:]).returncode == 0
    both = run(place, *FLAGS)
    assert both.returncode == 0, both.stderr
    assert "P36 is done" in both.stdout
    found, expected = content(place.results), content(whole[0].results)
    assert {name: found[name] for name in expected} == expected
