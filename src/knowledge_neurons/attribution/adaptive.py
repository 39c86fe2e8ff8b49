"""The m-step sum from fewer points: how many each layer of each prompt needs, found at run time.

A sum over m points has Gauss rules (`quadrature.gauss`) whose error falls with the smoothness of
the integrand, and no fixed number of points suits every model, layer and prompt.  So:

- **climb**: each layer tries a first rule, then where needed a second, then all m points;
- **indicator**: what a rule with n points misses is of degree 2n and higher.  The last of the n
  coefficients that its values give shows how fast they fall, and its square over the first about
  where they arrive at degree 2n.  Taken over whole score vectors, not their sum;
- **calibrate**: on some of the run's own prompts every rule is compared with all m points.  That
  gives the trust of each layer and rule, a factor between indicator and error, and the climb that
  costs least;
- **audit**: a random share of facts is computed both ways through the whole run.  What it finds can
  only lower the trust, and what was accepted on the old trust is done again where it is in doubt
  (`quadrature_audit`).

All errors are the largest of any neuron of a layer, as a share of the prompt's largest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from knowledge_neurons.attribution.gradients import (
    Paths,
    gradients_along,
    integrated_gradients,
    scores_of,
)
from knowledge_neurons.attribution.quadrature import GaussRule, Rule, gauss
from knowledge_neurons.attribution.target import Target
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass

TOLERANCE = 1e-3
RUNGS = (3, 4, 5, 6, 8, 10)  # points of the Gauss rules that a layer may try
SAFETY = 3.0  # times the largest error per indicator that was seen
# An indicator bounds the error where paths are smooth (the largest ratio seen was 0.9), so trust
# never assumes that it overestimates.
LEAST_TRUST = 1.0
NEGLIGIBLE = 0.1  # of the tolerance: smaller errors do not count against an indicator


@dataclass(frozen=True)
class Ladder:
    """How a model's layers are to be integrated.

    rule: the sum that is meant.  tolerance: of errors.
    climbs: for each layer the numbers of points it tries in turn, the last always all of the rule.
    trust: for each layer and number of points the factor from indicator to error.
    """

    rule: Rule
    tolerance: float
    climbs: tuple[tuple[int, ...], ...]
    trust: dict[tuple[int, int], float]


@dataclass(frozen=True)
class Judged:
    """What rules with fewer points did on prompts whose full sums are known.

    errors, indicators: (layer, points) -> (P,), shares of the prompt's largest score.
    """

    errors: dict[tuple[int, int], np.ndarray]
    indicators: dict[tuple[int, int], np.ndarray]


@dataclass(frozen=True)
class Adapted:
    """Scores and how they were come by.

    scores: (B, L, F).  points: (B, L) int64, evaluations spent.  rungs: (B, L) int64, points of the
    rule that was accepted.  indicators: (B, L) of that rule, 0 where it has all points.
    """

    scores: Tensor
    points: np.ndarray
    rungs: np.ndarray
    indicators: np.ndarray


def rungs_of(rule: Rule) -> list[int]:
    """The rungs worth trying for this rule: at most two thirds of its points."""
    return [points for points in RUNGS if 3 * points <= 2 * len(rule.alphas)]


# --- scores ----------------------------------------------------------------------------------


def adaptive_gradients(
    model: Network, clean: CleanPass, target: Target, ladder: Ladder, memory: int | None = None
) -> Adapted:
    """`gradients.integrated_gradients` within the ladder's tolerance, by fewer points.

    target, memory: as there.  A prompt's result depends on no other prompt.
    """
    B, L = len(clean.activations), model.shape.layers
    scores = torch.empty_like(clean.activations)
    points, rungs = np.zeros((B, L), int), np.zeros((B, L), int)
    indicators = np.zeros((B, L))
    todo = [np.arange(B)] * L
    for step in range(max(map(len, ladder.climbs))):
        layers = [layer for layer in range(L) if len(todo[layer])]
        rules = [_rung(ladder, layer, step) for layer in layers]
        asked = [
            _paths(clean, layer, todo[layer], rule)
            for layer, rule in zip(layers, rules, strict=True)
        ]
        found = gradients_along(model, clean, target, asked, memory) if asked else []
        sizes = {}
        for path, rule, gradients in zip(asked, rules, found, strict=True):
            some, layer = todo[path.layer], path.layer
            sums, sizes[layer] = _sums(model, clean, path, rule, gradients)
            scores[path.prompts, layer] = sums
            points[some, layer] += len(rule.alphas)
            rungs[some, layer] = len(rule.alphas)
        largest = largest_scores(scores).cpu().numpy()  # (B,), of what is known so far
        for layer, rule in zip(layers, rules, strict=True):
            some, n = todo[layer], len(rule.alphas)
            full = n == len(ladder.rule.alphas)
            seen = 0.0 if full else indicator(sizes[layer] / largest[some, None])
            indicators[some, layer] = seen
            doubtful = ladder.trust.get((layer, n), 0.0) * indicators[some, layer]
            todo[layer] = some[doubtful > ladder.tolerance]
    return Adapted(scores, points, rungs, indicators)


def _rung(ladder: Ladder, layer: int, step: int) -> GaussRule:
    """The rule of a step of a layer's climb; all points stand for themselves."""
    points = ladder.climbs[layer][step]
    if points < len(ladder.rule.alphas):
        return gauss(ladder.rule, points)
    return GaussRule(*ladder.rule, coefficients=ladder.rule.weights[None])


def _paths(clean: CleanPass, layer: int, prompts: np.ndarray, rule: GaussRule) -> Paths:
    device = clean.activations.device
    alphas = clean.activations.new_tensor(rule.alphas)
    return Paths(layer, torch.from_numpy(prompts).to(device), alphas)


def _sums(
    model: Network, clean: CleanPass, path: Paths, rule: GaussRule, gradients: Tensor
) -> tuple[Tensor, np.ndarray]:
    """Scores (P, F) from gradients (P, n, D), and the sizes (P, 4) that `indicator` wants.

    The full sum has no coefficients but its weights, and sizes (P, 1).
    """
    rows = rule.coefficients
    if len(rows) > 1:
        rows = rows[[0, -3, -2, -1]]  # (4, n)
    combined = torch.einsum("km,pmd->pkd", gradients.new_tensor(rows), gradients)  # (P, 4, D)
    vectors = scores_of(model, clean, path, combined)  # (P, 4, F)
    return vectors[:, 0], vectors.abs().amax(dim=-1).double().cpu().numpy()


def largest_scores(scores: Tensor) -> Tensor:
    """The largest score of each prompt, (B, L, F) -> (B,); absolute where none is positive."""
    flat = scores.flatten(1)
    largest = flat.amax(dim=1)
    return torch.where(largest > 0, largest, flat.abs().amax(dim=1)).clamp_min(1e-30).double()


def indicator(sizes: np.ndarray) -> np.ndarray:
    """Estimated error of a Gauss rule: sizes of coefficients 0, n-3, n-2, n-1, (P, 4), -> (P,).

    The last two count as one, since every second one may vanish by symmetry: the one before the
    last is brought down by the rate at which they fall.
    """
    third, second, last = np.maximum(sizes[:, 1:], 1e-30).T
    rate = np.minimum(np.sqrt(last / third), 1.0)
    return np.maximum(last, second * rate) ** 2 / np.maximum(sizes.max(axis=1), 1e-30)


# --- calibration and audit -------------------------------------------------------------------


def judge(
    model: Network, clean: CleanPass, target: Target, rule: Rule, memory: int | None = None
) -> Judged:
    """All m points and every rung, for calibration."""
    exact = integrated_gradients(model, clean, target, rule, memory)
    largest = largest_scores(exact).cpu().numpy()  # (B,)
    everyone = np.arange(len(exact))
    errors, indicators = {}, {}
    for points in rungs_of(rule):
        fewer = gauss(rule, points)
        asked = [_paths(clean, layer, everyone, fewer) for layer in range(model.shape.layers)]
        found = gradients_along(model, clean, target, asked, memory)
        for path, gradients in zip(asked, found, strict=True):
            sums, sizes = _sums(model, clean, path, fewer, gradients)
            missed = (sums - exact[:, path.layer]).abs().amax(dim=1).double().cpu().numpy()
            errors[path.layer, points] = missed / largest
            indicators[path.layer, points] = indicator(sizes / largest[:, None])
    return Judged(errors, indicators)


def calibrate(judged: Sequence[Judged], rule: Rule, tolerance: float) -> Ladder:
    """The cheapest climbs that the judged prompts allow.  Raises ValueError for none of them."""
    if not judged:
        raise ValueError("no prompts to calibrate on")
    errors, indicators = (
        {
            key: np.concatenate([getattr(one, name)[key] for one in judged])
            for key in judged[0].errors
        }
        for name in ("errors", "indicators")
    )
    trust = {
        key: max(LEAST_TRUST, SAFETY * worst_ratio(errors[key], indicators[key], tolerance))
        for key in errors
    }
    doubtful = {key: trust[key] * indicators[key] > tolerance for key in errors}  # (P,) bool
    layers = 1 + max((layer for layer, _ in errors), default=-1)
    climbs = tuple(_cheapest_climb(layer, doubtful, len(rule.alphas)) for layer in range(layers))
    return Ladder(rule, tolerance, climbs, trust)


def exact_ladder(rule: Rule, layers: int, tolerance: float) -> Ladder:
    """All m points everywhere."""
    return Ladder(rule, tolerance, ((len(rule.alphas),),) * layers, {})


def worst_ratio(errors: np.ndarray, indicators: np.ndarray, tolerance: float) -> float:
    """Largest error per indicator, of the errors that are not negligible; 0 where none is."""
    count = errors > NEGLIGIBLE * tolerance
    return float((errors[count] / indicators[count]).max()) if count.any() else 0.0


def _cheapest_climb(
    layer: int, doubtful: dict[tuple[int, int], np.ndarray], points: int
) -> tuple[int, ...]:
    """One or two rungs and then all points, or all points at once."""
    rungs = sorted(n for of_layer, n in doubtful if of_layer == layer)
    best, least = (points,), float(points)
    for first in rungs:
        for second in [None, *(n for n in rungs if n > first)]:
            left, cost = doubtful[layer, first], float(first)
            if second is not None:
                cost += second * left.mean()
                left = left & doubtful[layer, second]
            cost += points * left.mean()
            if cost < least:
                best, least = tuple(n for n in (first, second, points) if n), cost
    return best


@dataclass(frozen=True)
class Audited:
    """One audited prompt: each layer's accepted rung, its indicator and its error, all (L,)."""

    rungs: np.ndarray
    indicators: np.ndarray
    errors: np.ndarray


def audit(
    model: Network, clean: CleanPass, target: Target, ladder: Ladder, memory: int | None = None
) -> tuple[Tensor, list[Audited]]:
    """Compute the prompts by the ladder and in full.  Returns the full sums (B, L, F) too."""
    exact = integrated_gradients(model, clean, target, ladder.rule, memory)
    adapted = adaptive_gradients(model, clean, target, ladder, memory)
    missed = (adapted.scores - exact).abs().amax(dim=2) / largest_scores(exact)[:, None]  # (B, L)
    rows = zip(adapted.rungs, adapted.indicators, missed.cpu().numpy(), strict=True)
    return exact, [Audited(*row) for row in rows]


def distrust(ladder: Ladder, audited: Sequence[Audited]) -> Ladder:
    """The same ladder with less trust where the audit found larger errors per indicator."""
    trust = dict(ladder.trust)
    for one in audited:
        for layer, n in enumerate(one.rungs.tolist()):
            error, seen = one.errors[[layer]], np.maximum(one.indicators[[layer]], 1e-30)
            ratio = worst_ratio(error, seen, ladder.tolerance)
            if (layer, n) in trust:
                trust[layer, n] = max(trust[layer, n], SAFETY * ratio)
    return replace(ladder, trust=trust)
