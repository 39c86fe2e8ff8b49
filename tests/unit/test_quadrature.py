"""Rules as points and weights.  Run: pytest tests/unit/test_quadrature.py"""

import numpy as np
import pytest

from knowledge_neurons.attribution.quadrature import RULES, Rule, gauss, rule


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


# --- Gauss rules of a sum --------------------------------------------------------------------


def test_gauss_rules_of_two_and_three_atoms_by_hand():
    """One point is the mean; two points of 0, 1/2, 1: the mean 1/2 plus or minus 1/sqrt(6)."""
    three = Rule(np.array([0.0, 0.5, 1.0]), np.full(3, 1 / 3))
    one = gauss(three, 1)
    np.testing.assert_allclose([one.alphas, one.weights], [[0.5], [1.0]], atol=1e-15)
    two = gauss(three, 2)
    np.testing.assert_allclose(two.alphas, [0.5 - 6**-0.5, 0.5 + 6**-0.5], atol=1e-15)
    np.testing.assert_allclose(two.weights, [0.5, 0.5], atol=1e-15)
    np.testing.assert_allclose(gauss(three, 3).alphas, three.alphas, atol=1e-15)
    np.testing.assert_allclose(gauss(three, 3).weights, three.weights, atol=1e-15)


def test_gauss_rule_of_unequal_weights_by_hand():
    """Atoms 0 and 1 of weights 1/4 and 3/4: one point at 3/4."""
    found = gauss(Rule(np.array([0.0, 1.0]), np.array([0.25, 0.75])), 1)
    np.testing.assert_allclose([found.alphas, found.weights], [[0.75], [1.0]], atol=1e-15)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("points", [1, 2, 5, 8, 10])
def test_gauss_rule_equals_its_sum_to_degree_2n_minus_1(name, points):
    """On x^k, and no further; points inside [0, 1], weights positive."""
    of = rule(name, 20)
    alphas, weights, _ = gauss(of, points)
    for k in range(2 * points):
        assert weights @ alphas**k == pytest.approx(of.weights @ of.alphas**k, abs=1e-14)
    beyond = 2 * points
    if points <= 5 and name != "gauss-legendre":
        assert abs(weights @ alphas**beyond - of.weights @ of.alphas**beyond) > 1e-9
    assert np.all(weights > 0) and alphas.min() >= 0 and alphas.max() <= 1


@pytest.mark.parametrize("steps", [20, 40])
def test_gauss_rule_of_all_points_is_the_sum(steps):
    """Lanczos keeps its orthogonality to the end: nodes come back to 1e-12."""
    of = rule("riemann-left", steps)
    np.testing.assert_allclose(gauss(of, steps).alphas, of.alphas, atol=1e-12)
    np.testing.assert_allclose(gauss(of, steps).weights, of.weights, atol=1e-12)


def test_coefficients_are_those_of_the_orthonormal_polynomials():
    """Row k gives 1 for the k-th polynomial and 0 for the others; Legendre's, known by name."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    of = Rule((nodes + 1) / 2, weights / 2)
    found = gauss(of, 6)
    for k in range(6):
        values = np.polynomial.legendre.Legendre.basis(k, [0, 1])(found.alphas)
        expected = np.eye(6)[k]
        got = found.coefficients @ values * np.sqrt(2 * k + 1)
        np.testing.assert_allclose(np.abs(got), expected, atol=1e-12)
    np.testing.assert_allclose(found.coefficients[0], found.weights, atol=1e-15)


@pytest.mark.parametrize("points", [0, 21])
def test_gauss_rules_that_cannot_be_are_refused(points):
    """More points than the sum has, or none."""
    with pytest.raises(ValueError, match=f"20 points has no Gauss rule of {points}"):
        gauss(rule("riemann-left", 20), points)
