"""Quadrature on [0, 1]: the name of a rule -> its points (alphas) and weights.

Integrated gradients (section 3.1, equations 3 and 4 of the paper) integrate dP/dw along the path
alpha * w.  The paper's text sums at alpha = k/m, k = 1 .. m (right); its released code at
k = 0 .. m - 1 (left), which is the default meaning of a score here.

Any such sum over m points is itself an integral, against a measure of m atoms, and has Gauss rules
of its own: n < m points that give the same sum for every polynomial up to degree 2n - 1 (Golub and
Welsch 1969, "Calculation of Gauss quadrature rules").  `adaptive` uses them instead of all m.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal


class Rule(NamedTuple):
    """A quadrature rule: integral of f over [0, 1] ~ sum_j weights[j] * f(alphas[j]).

    alphas: (M,) float64 ascending, in [0, 1]; weights: (M,) float64, summing to 1.
    """

    alphas: np.ndarray
    weights: np.ndarray


def _riemann(offset: float) -> Callable[[int], Rule]:
    """m points (j + offset) / m of equal weight."""
    return lambda steps: Rule((np.arange(steps) + offset) / steps, np.full(steps, 1 / steps))


def _trapezoid(steps: int) -> Rule:
    """m intervals, so m + 1 points, the two ends with half weight."""
    weights = np.full(steps + 1, 1 / steps)
    weights[[0, -1]] /= 2
    return Rule(np.linspace(0, 1, steps + 1), weights)


def _gauss_legendre(steps: int) -> Rule:
    """m points, exact for polynomials up to degree 2m - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    return Rule((nodes + 1) / 2, weights / 2)


RULES: dict[str, Callable[[int], Rule]] = {
    "riemann-left": _riemann(0.0),  # UPSTREAM: the released code's rule
    "riemann-right": _riemann(1.0),
    "riemann-midpoint": _riemann(0.5),
    "trapezoid": _trapezoid,
    "gauss-legendre": _gauss_legendre,
}


def rule(name: str, steps: int) -> Rule:
    """The rule of this name with m = steps; trapezoid has m + 1 points, every other m.

    Raises ValueError for an unknown name or steps < 1.

        rule("riemann-left", 4).alphas        # [0.0, 0.25, 0.5, 0.75]
    """
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}: choose one of {', '.join(RULES)}")
    if steps < 1:
        raise ValueError(f"a rule needs at least 1 step, got {steps}")
    return RULES[name](steps)


def peer_endpoints(steps: int) -> Rule:
    """m points from 0 to 1 with both ends, each of weight 1/m, as EleutherAI's package sums.

    No quadrature, hence not one of RULES: the points stand for m - 1 intervals.  A constant comes
    out right; where the integrand changes the ends count twice as much as they should.
    Raises ValueError for steps < 1.
    """
    if steps < 1:
        raise ValueError(f"a rule needs at least 1 step, got {steps}")
    return Rule(np.linspace(0, 1, steps), np.full(steps, 1 / steps))


class GaussRule(NamedTuple):
    """The n-point Gauss rule of a sum, and what its values say of the integrand.

    alphas: (n,) float64 ascending; weights: (n,) float64, positive, with the sum's total.
    coefficients: (n, n) float64; row k turns the integrand's values at alphas into its k-th
    coefficient in the polynomials orthonormal under the sum; row 0 is the weights.
    """

    alphas: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray


def gauss(of: Rule, points: int) -> GaussRule:
    """The Gauss rule with this many points of the sum `of`: the same result up to degree 2n - 1.

    Raises ValueError unless 1 <= points <= the number of points of the sum.

        gauss(rule("riemann-left", 20), 5).alphas     # 5 instead of 20, exact to degree 9
    """
    if not 1 <= points <= len(of.alphas):
        raise ValueError(f"a sum of {len(of.alphas)} points has no Gauss rule of {points}")
    diagonal, beside = _jacobi(of, points)
    alphas, vectors = eigh_tridiagonal(diagonal, beside)  # (n,), (n, n) a column per alpha
    total = of.weights.sum()
    first = vectors[0]  # (n,), squared: the share of each weight (Golub and Welsch)
    return GaussRule(alphas, total * first**2, total * first * vectors)


def _jacobi(of: Rule, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal (size,) and off-diagonal (size - 1,) of the sum's Jacobi matrix, by Lanczos.

    Every new vector is orthogonalised twice against all before it: without that Lanczos loses
    orthogonality, and the rule its degree, from about ten points on.
    """
    basis = np.sqrt(of.weights / of.weights.sum())[None]  # (k, M), a row per vector
    diagonal, beside = [], []
    for _ in range(size):
        new = of.alphas * basis[-1]
        diagonal.append(new @ basis[-1])
        for _ in range(2):
            new = new - (new @ basis.T) @ basis
        beside.append(np.linalg.norm(new))
        basis = np.vstack([basis, new / beside[-1]]) if len(diagonal) < size else basis
    return np.array(diagonal), np.array(beside[:-1])
