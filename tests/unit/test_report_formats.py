"""How numbers and text look in the report.  Run: pytest tests/unit/test_report_formats.py"""

import pytest

from knowledge_neurons.report import formats
from knowledge_neurons.results.comparison import Comparison


def test_marked_escapes_the_sentence_and_the_words():
    assert formats.marked("a <b> c", ["<b>"]) == "a <mark>&lt;b&gt;</mark> c"
    assert (
        formats.marked("Rome & Romeo", ["Rome", "Romeo"])
        == "<mark>Rome</mark> &amp; <mark>Romeo</mark>"
    )
    assert formats.marked("<i>", []) == "&lt;i&gt;"


@pytest.mark.parametrize(
    "value, digits, unit, signed, text",
    [
        (-29.034, 2, "%", True, "−29.03 %"),
        (4.126, 2, "", False, "4.13"),
        (-0.04, 1, "", True, "0.0"),
        (27738, 0, "", False, "27,738"),
        (None, 2, "%", True, "–"),
    ],
)
def test_numbers_have_a_true_minus_and_their_digits(value, digits, unit, signed, text):
    assert formats.number(value, digits, unit, signed) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.84, "0.8 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (75.2, "75 s"),
        (119, "119 s"),
        (120, "2 min"),
        (700, "12 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (12_240, "3.4 h"),
        (36_000_000, "10000.0 h"),
    ],
)
def test_durations_are_told_in_the_unit_that_suits_them(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    "value, text", [(2.3e-4, "2 × 10⁻⁴"), (0.0, "0"), (-3e-7, "−3 × 10⁻⁷"), (5.0, "5 × 10⁰")]
)
def test_small_numbers_are_told_as_powers_of_ten(value, text):
    assert formats.scientific(value) == text


def test_intervals_have_the_digits_that_fit():
    """Those published, more where the interval is narrower; both ends alike; none is a dash."""
    narrow = Comparison("a", "x", 0.04, (0.01, 0.08), 7.2, 1, signed=True)
    assert formats.digits(narrow) == 3
    assert formats.digits(Comparison("a", "x", 70.7, (62.7, 77.6), 48.5, 1)) == 1
    assert formats.between(narrow.interval, 1, signed=True) == "+0.010 to +0.080"
    assert formats.between((-56.84, -54.91), 2) == "−56.84 to −54.91"
    assert formats.between(None, 2) == "–"


def test_rows_of_one_unit_share_an_axis():
    """Smallest and largest of numbers, published ones and interval ends, and zero, fill it."""
    rows = [
        Comparison("a", "x", -10.0, (-20.0, 0.0), 30.0, 1, "%"),
        Comparison("a", "y", 5.0, None, None, 1, "%"),
        Comparison("b", "x", 1000.0, None, 500.0, 1),
    ]
    (first, second), (third,) = formats.grouped(rows)
    assert (first.low, first.paper) == (2.0, 98.0)
    assert second.zero == first.zero == pytest.approx(2 + 96 * 20 / 50)
    assert first.width == pytest.approx(96 * 20 / 50, abs=0.02)
    assert (third.zero, third.ours, third.paper) == (2.0, 98.0, 50.0)
    (alone, _), _ = formats.grouped(rows, judged=False)  # the published number is not on the axis
    assert (alone.low, alone.paper) == (2.0, None) and alone.width == pytest.approx(76.8)


def test_commits_are_short_and_keep_their_mark():
    assert (
        formats.short_commit("0ab1ecfad24061c932cc34957f079fa2deabd607-dirty") == "0ab1ecfad2-dirty"
    )
    assert formats.short_commit("0ab1ecfad24061c932cc34957f079fa2deabd607") == "0ab1ecfad2"
    assert formats.short_commit("<b>") == "<b>"


def test_means_over_prompts_of_means_of_relations():
    """Weighted by how many prompts each has; of none at all 0, not an error."""
    found = {"P1": {"prompts": 30, "gap": 0.1}, "P2": {"prompts": 10, "gap": 0.5}}
    assert formats.total(found, "prompts") == 40
    assert formats.weighted(found, "gap") == pytest.approx(0.2)
    assert (
        formats.weighted({}, "gap")
        == formats.weighted({"P1": found["P1"] | {"prompts": 0}}, "gap")
        == 0
    )


def test_code_of_markdown_is_escaped():
    assert formats.code("`<b>` is & `b`") == "<code>&lt;b&gt;</code> is &amp; <code>b</code>"


def test_filters_of_text():
    filters = formats.FILTERS
    assert (
        filters["ucfirst"]("own facts of P1") == "Own facts of P1" and filters["ucfirst"]("") == ""
    )
    assert filters["thousands"](253448) == "253,448"
    assert filters["file_name"]("data/sample.json") == "sample.json"


def test_equal_numbers_lie_at_the_start_of_their_axis():
    """All of them zero: no division by nothing."""
    ((only,),) = formats.grouped([Comparison("a", "x", 0.0, (0.0, 0.0), None, 1)])
    assert (only.zero, only.ours, only.paper, only.low, only.width) == (2.0, 2.0, None, 2.0, 0.0)
