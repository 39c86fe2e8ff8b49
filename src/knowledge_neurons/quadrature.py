"""Quadrature on [0, 1]: the name of a rule -> its points (alphas) and weights.

Integrated gradients (section 3.1, equations 3 and 4 of the paper) integrate dP/dw along the path
alpha * w.  The paper's text sums at alpha = k/m, k = 1 .. m (right); its released code at
k = 0 .. m - 1 (left), which is the default meaning of a score here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


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
    "riemann-left": _riemann(0.0),  # UPSTREAM: the released code's rule (difference 1)
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
