"""Differences and verdicts.  Run: pytest tests/unit/test_report_comparison.py"""

import pytest

from knowledge_neurons.results.comparison import Comparison, Verdict


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
    assert row(ours, interval, paper).verdict == expected


def test_difference_is_ours_minus_the_papers():
    assert row(-31.0, None, -29.03).difference == pytest.approx(-1.97)
    assert row(-31.0, None, None).difference is None
