"""The steps of a whole run, and the time they are said to take.

Run: pytest tests/unit/test_run_stages.py
"""

import importlib.util
import json
import sys
from unittest import mock

import pytest

from knowledge_neurons import ROOT
from tests.reference.json_mutations import mutations

spec = importlib.util.spec_from_file_location("run_stages", ROOT / "scripts/run_stages.py")
run_stages = importlib.util.module_from_spec(spec)
sys.modules["run_stages"] = run_stages  # dataclasses look there
spec.loader.exec_module(run_stages)

from run_stages import COST, Log, Step  # noqa: E402


def bag(relation: str, prompts: int) -> list:
    return [
        [f"prompt {number} [MASK].", "answer", f"{relation}(label)"] for number in range(prompts)
    ]


@pytest.fixture
def steps(tmp_path):
    """arguments -> the steps over P19 (3 facts of 2 prompts), P36 (2 of 4) and P101 (1 of 5)."""
    data = tmp_path / "data.json"
    bags = {"P19": [bag("P19", 2)] * 3, "P36": [bag("P36", 4)] * 2, "P101": [bag("P101", 5)]}
    data.write_text(json.dumps(bags))

    def steps(*arguments: str) -> list[Step]:
        command = ["run_stages.py", "--data_path", str(data), *arguments]
        with mock.patch.object(sys, "argv", command):
            return run_stages.steps_of(run_stages.parse())

    return steps


def test_every_stage_of_every_relation_in_order(steps):
    """The paper's settings: lambdas 1 and 8, the erased relations that are there."""
    assert [step.name for step in steps()] == [
        *("stage 1 P19", "stage 1 P36", "stage 1 P101", "stage 2", "stage 3"),
        *("stage 3 dose-response", "stage 4", "stage 5"),
        *("stage 6 edits", "stage 6 success curve", "stage 7 P19"),
        *("stage 9 P36", "stage 9 P19", "stage 10 controls", "stage 8"),
    ]
    edits = next(step for step in steps() if step.name == "stage 6 edits")
    assert edits.command[2:4] == ["1", "8"] and "P19,P36,P101" in edits.command


def test_stages_that_compute_are_told_who_works(steps):
    """With whichever flags were given; stages 2 and 8 read files alone."""
    told = ["--ray", "host:1", "--threads_per_worker", "2"]
    for step in steps(*told):
        assert (step.command[-4:] == told) == (step.stage not in (2, 8)), step.name


def test_work_is_counted_in_prompts_sentences_and_edits(steps):
    """In seconds of COST, by hand: 6 + 8 + 5 prompts, 6 facts; 4 + 4 + 5 of one fact each."""
    works = {step.name: step.work for step in steps()}
    assert works["stage 1 P36"] == 8 * COST[1] and works["stage 3"] == 19 * COST[3]
    assert works["stage 4"] == 6 * 28 * COST[4] and works["stage 6 edits"] == 30 * COST[6]
    assert works["stage 3 dose-response"] == 6 * 9 / 3 * COST[3]
    assert works["stage 6 success curve"] == 10 * works["stage 6 edits"]
    few = {step.name: step.work for step in steps("--max_facts", "1", "--relations", "P36,P101")}
    assert works["stage 10 controls"] == (6 + 8) * COST[10]
    assert works["stage 9 P19"] == 3 * COST[9] and few["stage 9 P36"] == COST[9]
    assert few["stage 1 P36"] == 4 * COST[1] and few["stage 2"] == 9 * COST[2]
    assert "stage 7 P36" in few  # none of the paper's four is there


def test_flags_reach_the_stages_that_have_them(steps):
    """max_facts: 1, 6, 7, 9, the others read manifests; oov: 3 and 10 too; unknown ones: 1."""
    for step in steps("--max_facts", "2", "--oov", "skip", "--exact", "--rule", "trapezoid"):
        few = "--max_facts 2 --oov skip" in " ".join(step.command)
        assert few == (step.stage in (1, 6, 7, 9))
        assert ("--oov skip" in " ".join(step.command)) == (step.stage in (1, 3, 6, 7, 9, 10))
        assert ("--exact --rule trapezoid" in " ".join(step.command)) == (step.stage == 1)


def test_a_relation_that_is_not_there_is_refused(steps):
    """Before anything runs, naming those that are."""
    with pytest.raises(ValueError, match=r"P99(.|\n)*P19"):
        steps("--relations", "P19,P99")


FIRST, SECOND = Step(1, "stage 1 P19", [], 10.0), Step(1, "stage 1 P36", [], 20.0)
THIRD = Step(3, "stage 3", [], 5.0)


def test_time_left_by_hand(tmp_path):
    """10 of work took 4 s: 20 more take 8 and stage 3's 5 take 2; once measured, their own 15."""
    log = Log.read(tmp_path / "run.json")
    assert log.seconds_left([FIRST, SECOND, THIRD]) is None
    log.add(FIRST, 4.0, done=True)
    assert log.seconds_left([FIRST, SECOND, THIRD]) == pytest.approx(10.0)
    log.add(THIRD, 15.0, done=True)
    assert log.seconds_left([FIRST, SECOND, THIRD]) == pytest.approx(8.0)


def test_times_outlive_an_interruption(tmp_path):
    """Seconds add up over runs; a step that was done keeps its own; more facts are another step."""
    path = tmp_path / "run.json"
    Log.read(path).add(FIRST, 3.0, done=False)
    assert Log.read(path).seconds_left([FIRST]) is None
    Log.read(path).add(FIRST, 4.0, done=True)
    Log.read(path).add(FIRST, 1.0, done=True)
    assert Log.read(path).steps["stage 1 P19"]["seconds"] == 7.0
    assert Log.read(path).seconds_left([FIRST]) == 0
    more = Step(1, "stage 1 P19", [], 30.0)
    assert Log.read(path).seconds_left([more]) == pytest.approx(21.0)
    Log.read(path).add(more, 2.0, done=False)
    assert Log.read(path).steps["stage 1 P19"]["seconds"] == 2.0


def test_a_damaged_log_is_named_or_does_no_harm(tmp_path):
    """It only tells times: what to do is to remove it."""
    path, refused = tmp_path / "run.json", 0
    timed = {"stage": 2, "work": 2.0, "seconds": 3.8, "done": True}
    whole = json.dumps({"steps": {"a": timed, "b": timed | {"stage": 3, "done": False}}}).encode()
    for what, damaged in mutations(whole, seed="log", count=150):
        path.write_bytes(damaged)
        try:
            log, step = Log.read(path), Step(2, "a", [], 3.0)
            log.is_done(step)
            log.seconds_left([step])
        except ValueError as error:
            refused += 1
            assert "run.json: " in str(error) and "Remove it" in str(error), what
    assert refused > 50


def test_a_language_is_handed_on_and_has_no_english_sentences(monkeypatch, tmp_path):
    """Stages put it into {} themselves; those that read sentences are left out without any."""
    (tmp_path / "fr.json").write_text(json.dumps({"P19": [[["Ann [MASK].", "Rome", "P19(b)"]]]}))
    monkeypatch.setenv("KN_DATA", str(tmp_path / "{}.json"))
    monkeypatch.setattr("sys.argv", ["run_stages.py", "--language", "fr"])
    for sentences, stages in (("", {1, 2, 3, 6, 7, 8, 9, 10}), ("/s/{}.json", set(range(1, 11)))):
        monkeypatch.setenv("KN_SENTENCES", sentences)
        settings = run_stages.parse()
        assert {step.stage for step in run_stages.steps_of(settings)} == stages
        assert (settings.language, settings.data.name) == ("fr", "{}.json")
        assert settings.results.root == settings.output / "languages/fr"
