"""The m-point sum from fewer points, and all m of them where fewer might err.

A sum over m points has Gauss rules (`quadrature.gauss`) whose error falls with the smoothness of
the integrand, and no fixed number of points suits every model, layer and prompt.  So every layer of
every prompt tries a rule of few points.  Where the rule's own values say that it may err by more
than the tolerance, that layer of that prompt tries some points more, and then takes all m.

- **indicator**: what a rule with n points misses is of degree 2n and higher.  The last of the n
  coefficients that its values give show how fast they fall, and about where they arrive at degree
  2n.  Taken over whole score vectors, not their sum;
- **calibrate**: an indicator mostly overestimates, but on a sharp path it can miss an error many
  times as large (docs/quadrature.md).  So some prompts are computed in full as well, and each layer
  tries first the number that costs least of those at which no such error was seen.

`quadrature_audit` asks whether it went well.  All errors are the largest of any neuron of a layer,
as a share of the prompt's largest score.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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
from knowledge_neurons.attribution.target import Probability, Target
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass

TOLERANCE = 1e-3
RUNGS = (3, 4, 6, 8, 12, 14)  # points that a layer may try: one, the next, then all
UNCALIBRATED = 8  # those where no prompts told better
# How many times its indicator an error may be: where full sums have judged indicators, elsewhere.
JUDGED, UNJUDGED = 1.5, 30.0
SAFETY = 6.0  # times what a calibrated prompt may miss unannounced is the tolerance


@dataclass(frozen=True)
class Scheme:
    """How a model's layers are to be integrated.

    rule: the sum that is meant.  tolerance: of errors.
    first: for each layer how many points it tries first; all of the rule's are the sum itself, 0
    leaves the layer out.
    weight: how many times its indicator an error may be.
    """

    rule: Rule
    tolerance: float
    first: tuple[int, ...]
    weight: float = JUDGED

    def __post_init__(self):
        m = len(self.rule.alphas)
        wrong = [n for n in self.first if type(n) is not int or not (n in (0, m) or 3 <= n < m)]
        if wrong or not any(self.first):
            raise ValueError(
                f"a layer tries {(wrong or [0])[0]} points: expected 3 to {m}, which are all"
            )

    def climb(self, layer: int) -> list[int]:
        """The numbers of points that a layer tries in turn, at last all."""
        return _climb(self.first[layer], len(self.rule.alphas))

    @property
    def layers(self) -> list[int]:
        """The layers that are integrated."""
        return [layer for layer, points in enumerate(self.first) if points]

    @property
    def exact(self) -> bool:
        """Whether every layer takes all points."""
        return set(self.first) <= {0, len(self.rule.alphas)}


class Adapted(NamedTuple):
    """Scores (B, L, F), and how many points were evaluated for them: (B, L) int64."""

    scores: Tensor
    points: Tensor


class Tried(NamedTuple):
    """What fewer points did in a layer of some prompts: errors and indicators (P,), as shares."""

    errors: np.ndarray
    indicators: np.ndarray


def all_points(rule: Rule, layers: int, tolerance: float = TOLERANCE) -> Scheme:
    """The sum itself in every layer."""
    return Scheme(rule, tolerance, (len(rule.alphas),) * layers)


def uncalibrated(rule: Rule, layers: int, tolerance: float = TOLERANCE) -> Scheme:
    """The same number of points in every layer, eight where the rule has more than eleven."""
    fewer = [n for n in _rungs(rule) if n <= UNCALIBRATED]
    return Scheme(rule, tolerance, (fewer[-1] if fewer else len(rule.alphas),) * layers, UNJUDGED)


def within(scheme: Scheme, layers: Collection[int]) -> Scheme:
    """The scheme with only these of its layers."""
    first = (points if layer in layers else 0 for layer, points in enumerate(scheme.first))
    return replace(scheme, first=tuple(first))


def _rungs(rule: Rule) -> list[int]:
    """Numbers of points worth trying: with more than 70 % of all there is little to win."""
    return [points for points in RUNGS if 10 * points <= 7 * len(rule.alphas)]


def _climb(first: int, m: int) -> list[int]:
    following = [points for points in RUNGS if first < points < m]
    return [first, *following[:1], m] if first < m else [m]


# --- scores ----------------------------------------------------------------------------------


def adaptive_gradients(
    model: Network, clean: CleanPass, target: Target, scheme: Scheme, memory: int | None = None
) -> Adapted:
    """`gradients.integrated_gradients` within the scheme's tolerance, by fewer points.

    target, memory: as there.  A prompt's result depends on no other prompt.
    """
    scores = torch.zeros_like(clean.activations)  # (B, L, F)
    points = torch.zeros(scores.shape[:2], dtype=torch.long, device=scores.device)
    everyone = _everyone(clean)
    todo = [everyone if points else everyone[:0] for points in scheme.first]
    for step in range(3):
        asked = [
            (layer, rows, scheme.climb(layer)[step]) for layer, rows in enumerate(todo) if len(rows)
        ]
        if not asked:
            break
        found = _integrate(model, clean, target, scheme.rule, asked, memory)
        for (layer, rows, tried), (sums, _) in zip(asked, found, strict=True):
            scores[rows, layer] = sums
            points[rows, layer] += tried
        allowed = scheme.tolerance * largest_scores(scores)  # (B,)
        for (layer, rows, _), (_, seen) in zip(asked, found, strict=True):
            todo[layer] = rows[scheme.weight * seen > allowed[rows]]
    return Adapted(scores, points.cpu())


def _integrate(
    model: Network,
    clean: CleanPass,
    target: Target,
    rule: Rule,
    asked: Sequence[tuple[int, Tensor, int]],
    memory: int | None,
) -> list[tuple[Tensor, Tensor]]:
    """Sums (P, F) and their indicators (P,), in the target's unit, for each of asked.

    asked: layer, prompts (P,) and number of points, in ascending order of layers.
    """
    rules = [_rule(rule, points) for _, _, points in asked]
    paths = [
        Paths(layer, rows, clean.activations.new_tensor(fewer.alphas))
        for (layer, rows, _), fewer in zip(asked, rules, strict=True)
    ]
    gradients = gradients_along(model, clean, target, paths, memory)  # (P, n, D) each
    found = []
    for path, fewer, own in zip(paths, rules, gradients, strict=True):
        rows = fewer.coefficients
        rows = own.new_tensor(rows[[0, -3, -2, -1]] if len(rows) > 1 else rows)  # (4, n)
        vectors = scores_of(model, clean, path, torch.einsum("km,pmd->pkd", rows, own))
        found.append((vectors[:, 0], indicator(vectors.abs().amax(dim=-1).double())))
    return found


def _everyone(clean: CleanPass) -> Tensor:
    """All rows of the batch."""
    return torch.arange(len(clean.activations), device=clean.activations.device)


def _rule(rule: Rule, points: int) -> GaussRule:
    """The rule with so many points; all of them stand for themselves."""
    if points < len(rule.alphas):
        return gauss(rule, points)
    return GaussRule(*rule, coefficients=rule.weights[None])


def indicator(sizes: Tensor) -> Tensor:
    """Estimated error of a Gauss rule: sizes of coefficients 0, n-3, n-2, n-1, (P, 4), -> (P,).

    At degree 2n coefficients are about c(n)^2 / c(0), and c(n) is c(n-1) brought down once more by
    the rate at which they fall.  The last two count as one, since every second one may vanish by
    symmetry.  Sizes (P, 1) are of the sum itself: 0.
    """
    if sizes.shape[1] == 1:
        return torch.zeros_like(sizes[:, 0])
    third, second, last = sizes[:, 1:].clamp_min(1e-30).T
    rate = (last / third).sqrt().clamp_max(1.0)
    following = torch.maximum(last, second * rate) * rate
    return following**2 / sizes.amax(dim=1).clamp_min(1e-30)


def largest_scores(scores: Tensor) -> Tensor:
    """The largest score of each prompt, (B, L, F) -> (B,); absolute where none is positive."""
    flat = scores.flatten(1)
    largest = flat.amax(dim=1)
    return torch.where(largest > 0, largest, flat.abs().amax(dim=1)).clamp_min(1e-30).double()


# --- calibration -----------------------------------------------------------------------------


def calibrate(
    model: Network,
    sample: Sequence[CleanPass],
    rule: Rule,
    tolerance: float = TOLERANCE,
    memory: int | None = None,
    layers: Collection[int] | None = None,
    of: type[Probability] = Probability,
) -> Scheme:
    """The scheme that costs least on the sample's prompts, asked for their answers.

    of: the target.  layers: those integrated; None for all.
    A number of points is left out for a layer where a prompt that would be accepted errs by more
    than a sixth of the tolerance.
    """
    m = len(rule.alphas)
    targets = [of(clean.batch.answers) for clean in sample]
    asked = zip(sample, targets, strict=True)
    sums = [integrated_gradients(model, *one, rule, memory, layers) for one in asked]  # (B, L, F)
    wanted = [n for n in range(model.shape.layers) if layers is None or n in layers]
    tried: dict[tuple[int, int], Tried] = {}  # layer and points

    def attempt(some: Sequence[int], points: int) -> None:
        """Try so many points in layers, together: one walk for all of them."""
        some = [layer for layer in some if (layer, points) not in tried]
        found = _try(model, sample, sums, rule, some, memory, points, of) if some else []
        tried.update({(layer, points): one for layer, one in zip(some, found, strict=True)})

    best = {layer: (float(m), m) for layer in wanted}  # points a prompt comes to, tried first
    for points in _rungs(rule):
        left, climb = [layer for layer in wanted if points < best[layer][0]], _climb(points, m)
        attempt(left, points)
        doubtful = [n for n in left if (JUDGED * tried[n, points].indicators > tolerance).any()]
        if len(climb) > 2:
            attempt(doubtful, climb[1])
        for layer in left:
            cost = _cost(lambda n, layer=layer: tried[layer, n], climb, tolerance)
            best[layer] = min(best[layer], (cost, points))
    first = [best[n][1] if n in best else 0 for n in range(model.shape.layers)]
    return Scheme(rule, tolerance, tuple(first))


def _cost(tried: Callable[[int], Tried], climb: Sequence[int], tolerance: float) -> float:
    """Points that a prompt comes to on the mean; infinite where one errs unannounced."""
    cost, left = 0.0, np.array(True)
    for points in climb[:-1]:
        cost += points * left.mean()
        errors, indicators = tried(points)
        doubtful = JUDGED * indicators > tolerance
        if SAFETY * errors[left & ~doubtful].max(initial=0.0) > tolerance:
            return np.inf
        left = left & doubtful
        if not left.any():
            break
    return cost + climb[-1] * left.mean()


def _try(
    model: Network,
    sample: Sequence[CleanPass],
    sums: Sequence[Tensor],
    rule: Rule,
    layers: Sequence[int],
    memory: int | None,
    points: int,
    target: type[Probability],
) -> list[Tried]:
    """So many points in each of the layers, beside the sums over all of them."""
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]  # of each batch
    for clean, exact in zip(sample, sums, strict=True):
        of, largest = target(clean.batch.answers), largest_scores(exact)
        asked = [(layer, _everyone(clean), points) for layer in layers]
        integrated = _integrate(model, clean, of, rule, asked, memory)
        for layer, own, (fewer, seen) in zip(layers, found, integrated, strict=True):
            error = (fewer - exact[:, layer]).abs().amax(dim=1) / largest
            own.append((error, seen / largest))
    return [
        Tried(*(torch.cat(parts).cpu().numpy() for parts in zip(*own, strict=True)))
        for own in found
    ]
