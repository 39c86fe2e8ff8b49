"""Differences and verdicts.  Run: pytest tests/unit/test_report_comparison.py"""

import pytest

from knowledge_neurons import published
from knowledge_neurons.report.comparison import Comparison, Verdict, obstacles


def row(ours, interval, paper, digits=1):
    return Comparison("quantity", "neurons", ours, interval, paper, digits)


@pytest.mark.parametrize(
    "ours, interval, paper, expected",
    [
        (34.0, (30.0, 38.0), 34.4, Verdict.INSIDE),
        (34.0, (34.44, 38.0), 34.4, Verdict.INSIDE),  # 34.4 stands for 34.35 to 34.45
        (34.0, (34.46, 38.0), 34.4, Verdict.OUTSIDE),
        (34.0, (30.0, 34.3), 34.4, Verdict.OUTSIDE),
        (34.44, None, 34.4, Verdict.SAME),
        (34.46, None, 34.4, Verdict.DIFFERENT),
        (34.0, (30.0, 38.0), None, Verdict.NOT_PUBLISHED),
        (None, None, 34.4, Verdict.NOT_PUBLISHED),
    ],
)
def test_verdicts_of_a_comparable_run(ours, interval, paper, expected):
    assert row(ours, interval, paper).verdict([]) == expected


def test_an_obstacle_takes_the_place_of_every_verdict_on_a_published_number():
    assert row(34.0, (30.0, 38.0), 34.4).verdict(["another model"]) == Verdict.NOT_COMPARABLE
    assert row(34.4, None, 34.4).verdict(["another model"]) == Verdict.NOT_COMPARABLE
    assert row(34.0, None, None).verdict(["another model"]) == Verdict.NOT_PUBLISHED


def test_difference_is_ours_minus_the_papers():
    assert row(-31.0, None, -29.03).difference == pytest.approx(-1.97)
    assert row(-31.0, None, None).difference is None


# --- what can be compared --------------------------------------------------------------------


def manifests(model="bert-base-cased", layers=12, facts=published.FACTS, relations=34):
    """Of stage 1, the facts spread over the relations, and one of another stage."""
    prompts = published.PROMPTS if facts == published.FACTS else 10 * facts
    scored = {
        f"TREx-all-P{n}.rlt.jsonl": {
            "arguments": {"bert_model": model},
            "identity": {"relation": f"P{n}", "rule": "riemann-left", "steps": 20},
            "layers": layers,
            "facts": facts // relations + (facts % relations if n == 0 else 0),
            "prompts": prompts // relations + (prompts % relations if n == 0 else 0),
        }
        for n in range(relations)
    }
    return scored | {"kn/statistics.json": {"arguments": {"bert_model": "another"}}}


@pytest.mark.parametrize(
    "model", ["bert-base-cased", "google-bert/bert-base-cased", "old/bert-base-cased.tar.gz"]
)
def test_the_papers_model_and_data_can_be_compared(model):
    """By its hub name, in a folder, in an archive of the paper's time."""
    assert obstacles(manifests(model)) == []


def test_another_model_cannot():
    (reason,) = obstacles(manifests("models/demo-bert", layers=4))
    assert "demo-bert with 4 layers" in reason and "bert-base-cased with 12 layers" in reason
    assert len(obstacles(manifests("bert-base-cased", layers=4))) == 1
    assert "bert-base-uncased" in obstacles(manifests("bert-base-uncased"))[0]


def test_other_data_cannot():
    (reason,) = obstacles(manifests(facts=27_737))
    assert "27,737 facts" in reason and "27,738 facts, 253,448 prompts" in reason
    (reason,) = obstacles(manifests(facts=588, relations=1))
    assert "1 relation, 588 facts" in reason


def test_both_reasons_are_told_and_no_manifest_is_one():
    assert len(obstacles(manifests("demo-bert", 4, 588, 14))) == 2
    assert "no manifest of stage 1" in obstacles({"kn/statistics.json": {}})[0]


def test_results_of_several_models_or_data_sets_cannot():
    """Files of different runs in one folder."""
    mixed = manifests() | {
        "distant/summary.json": {"identity": {"model_sha256": "ab", "data_sha256": "ef"}},
        "modify_activation/summary.json": {"identity": {"model_sha256": "cd"}},
    }
    (reason,) = obstacles(mixed)
    assert "results are of 2 models" in reason
