"""Rules as points and weights.  Run: pytest tests/unit/test_quadrature.py"""

import numpy as np
import pytest

from knowledge_neurons.quadrature import RULES, rule


@pytest.mark.parametrize(
    ("name", "alphas", "weights"),
    [
        ("riemann-left", [0, 1 / 3, 2 / 3], [1 / 3] * 3),
        ("riemann-right", [1 / 3, 2 / 3, 1], [1 / 3] * 3),
        ("riemann-midpoint", [1 / 6, 1 / 2, 5 / 6], [1 / 3] * 3),
        ("trapezoid", [0, 1 / 3, 2 / 3, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        (
            "gauss-legendre",
            [0.5 - 0.5 * 0.6**0.5, 0.5, 0.5 + 0.5 * 0.6**0.5],
            [5 / 18, 8 / 18, 5 / 18],
        ),
    ],
)
def test_three_steps_by_hand(name, alphas, weights):
    """Each rule at m = 3 equals points and weights computed by hand."""
    np.testing.assert_allclose(rule(name, 3).alphas, alphas, atol=1e-14)
    np.testing.assert_allclose(rule(name, 3).weights, weights, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("steps", [1, 2, 4, 20])
def test_weights_sum_to_one(name, steps):
    """Every rule integrates a constant exactly and stays in [0, 1]."""
    alphas, weights = rule(name, steps)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    assert alphas.min() >= 0 and alphas.max() <= 1
    assert np.all(np.diff(alphas) > 0)


@pytest.mark.parametrize(
    ("name", "degree"),
    [("riemann-midpoint", 1), ("trapezoid", 1), ("gauss-legendre", 2 * 4 - 1)],
)
def test_exact_up_to_its_degree_and_not_beyond(name, degree):
    """At m = 4 the rule integrates x^k exactly up to its degree, and misses degree + 1."""
    alphas, weights = rule(name, 4)
    for k in range(degree + 1):
        assert weights @ alphas**k == pytest.approx(1 / (k + 1), abs=1e-13)
    assert abs(weights @ alphas ** (degree + 1) - 1 / (degree + 2)) > 1e-8


def test_left_sum_is_what_the_released_code_adds_up():
    """20 steps of the default: alphas 0, 0.05 ... 0.95, each with weight 0.05."""
    alphas, weights = rule("riemann-left", 20)
    np.testing.assert_allclose(alphas, [i * 0.05 for i in range(20)])
    np.testing.assert_allclose(weights, [0.05] * 20)


def test_bad_requests_say_what_is_known():
    """An unknown name lists the rules; no steps is refused."""
    with pytest.raises(ValueError, match="riemann-left, riemann-right"):
        rule("simpson", 4)
    with pytest.raises(ValueError, match="at least 1 step"):
        rule("trapezoid", 0)
