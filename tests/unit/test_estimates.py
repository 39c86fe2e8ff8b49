"""A number with its interval, as it is told.  Run: pytest tests/unit/test_estimates.py"""

import pytest

from knowledge_neurons.results.estimates import Estimate, Interval, digits, told


@pytest.mark.parametrize(
    "interval, least, expected",
    [
        ((62.7, 77.6), 1, 1),
        ((0.4, 5.1), 1, 1),
        ((1.0, 1.8), 1, 2),  # 0.8 is one digit, 0.80 two
        ((0.01, 0.08), 1, 3),
        ((0.123, 0.223), 1, 2),
        ((100.0, 350.0), 0, 0),
        ((0.5, 0.5 + 1e-12), 2, 6),  # no more, however narrow
        ((0.5, 0.5 + 2e-6), 2, 6),
        ((0.5, 0.5 + 2e-5), 2, 6),
        ((0.5, 0.5 + 2e-4), 2, 5),
        ((0.5, 0.5), 2, 2),
        (None, 2, 2),
    ],
)
def test_the_width_has_two_digits_that_count(interval, least, expected):
    assert digits(interval, least) == expected


@pytest.mark.parametrize(
    "estimate, least, sign, text",
    [
        (Estimate(70.71, Interval(62.73, 77.61)), 1, "", "70.7 [62.7, 77.6]"),
        (Estimate(0.04, Interval(0.01, 0.08)), 1, "+", "+0.040 [+0.010, +0.080]"),
        (Estimate(0.8, Interval(-0.03, 1.8)), 1, "+", "+0.8 [0.0, +1.8]"),
        (Estimate(-0.43, None), 2, "+", "-0.43"),
        (None, 2, "+", "-"),
    ],
)
def test_a_number_and_its_ends_have_the_same_digits(estimate, least, sign, text):
    """Never "+0.0 [+0.0, +0.1]"; without an interval the number alone."""
    assert told(estimate, least, sign) == text


def test_another_unit():
    assert Estimate(0.5, Interval(0.25, 1.0)).times(100) == Estimate(50.0, Interval(25.0, 100.0))
    assert Estimate(0.5, None).times(100) == Estimate(50.0, None)
