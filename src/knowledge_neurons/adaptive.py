"""The m-point sum from fewer points, and all m of them where fewer might err.

A sum over m points has Gauss rules (`quadrature.gauss`) whose error falls with the smoothness of
the integrand, and no fixed number of points suits every model, layer and prompt.  So every layer of
every prompt is tried with a rule of few points, and where the rule's own values say that it may err
by more than the tolerance, that layer of that prompt gets all m points.

- **indicator**: what a rule with n points misses is of degree 2n and higher.  The last of the n
  coefficients that its values give show how fast they fall, and about where they arrive at degree
  2n.  Taken over whole score vectors, not their sum;
- **calibrate**: an indicator mostly overestimates, but on a sharp path it can miss an error many
  times as large (docs/quadrature.md).  So some prompts are computed in full as well, and each layer
  tries the number of points that costs least of those at which no such error was seen.

`experiments.quadrature_audit` asks whether it went well.  All errors are the largest of any neuron
of a layer, as a share of the prompt's largest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from custom_bert import Bert
from knowledge_neurons.attribution import (
    CleanPass,
    Paths,
    gradients_along,
    integrated_gradients,
    scores_of,
)
from knowledge_neurons.quadrature import GaussRule, Rule, gauss

TOLERANCE = 1e-3
RUNGS = (3, 4, 5, 6, 7, 8, 10, 12, 14)  # points of the Gauss rules that a layer may try
UNCALIBRATED = 8  # the points tried where no prompts told better
# How many times its indicator an error may be: where full sums have judged indicators, elsewhere.
JUDGED, UNJUDGED = 1.5, 30.0
SAFETY = (
    5.0  # times the largest error that a calibration saw go unannounced is within the tolerance
)


@dataclass(frozen=True)
class Scheme:
    """How a model's layers are to be integrated.

    rule: the sum that is meant.  tolerance: of errors.
    first: for each layer how many points it tries; all of the rule's are the sum itself.
    weight: how many times its indicator an error may be.
    """

    rule: Rule
    tolerance: float
    first: tuple[int, ...]
    weight: float = JUDGED

    def __post_init__(self):
        m = len(self.rule.alphas)
        wrong = [n for n in self.first if type(n) is not int or not (n == m or 3 <= n < m)]
        if wrong:
            raise ValueError(f"a layer tries {wrong[0]} points: expected 3 to {m}, which are all")

    @property
    def exact(self) -> bool:
        """Whether every layer takes all points."""
        return set(self.first) == {len(self.rule.alphas)}


class Adapted(NamedTuple):
    """Scores (B, L, F), and how many points were evaluated for them: (B, L) int64."""

    scores: Tensor
    points: Tensor


def all_points(rule: Rule, layers: int, tolerance: float = TOLERANCE) -> Scheme:
    """The sum itself in every layer."""
    return Scheme(rule, tolerance, (len(rule.alphas),) * layers)


def uncalibrated(rule: Rule, layers: int, tolerance: float = TOLERANCE) -> Scheme:
    """The same number of points in every layer, eight where the rule has more than eleven."""
    fewer = [n for n in _rungs(rule) if n <= UNCALIBRATED]
    return Scheme(rule, tolerance, (fewer[-1] if fewer else len(rule.alphas),) * layers, UNJUDGED)


def _rungs(rule: Rule) -> list[int]:
    """Numbers of points worth trying: with more than 70 % of all there is little to win."""
    return [points for points in RUNGS if 10 * points <= 7 * len(rule.alphas)]


# --- scores ----------------------------------------------------------------------------------


def adaptive_gradients(
    model: Bert, clean: CleanPass, tokens: Tensor, scheme: Scheme, memory: int | None = None
) -> Adapted:
    """`attribution.integrated_gradients` within the scheme's tolerance, by fewer points.

    tokens: (B,); memory: bytes, as there.  A prompt's result depends on no other prompt.
    """
    B, m = len(tokens), len(scheme.rule.alphas)
    everyone = torch.arange(B, device=tokens.device)
    scores = torch.empty_like(clean.activations)  # (B, L, F)
    first = [(layer, everyone, points) for layer, points in enumerate(scheme.first)]
    seen = _integrate(model, clean, tokens, scheme.rule, first, scores, memory)
    likely = scheme.weight * torch.stack(seen, dim=1)  # (B, L)
    doubtful = likely > scheme.tolerance * largest_scores(scores)[:, None]
    again = [
        (layer, rows.nonzero()[:, 0], m) for layer, rows in enumerate(doubtful.T) if rows.any()
    ]
    if again:
        _integrate(model, clean, tokens, scheme.rule, again, scores, memory)
    return Adapted(scores, torch.tensor(scheme.first) + m * doubtful.cpu())


def _integrate(
    model: Bert,
    clean: CleanPass,
    tokens: Tensor,
    rule: Rule,
    asked: Sequence[tuple[int, Tensor, int]],
    scores: Tensor,
    memory: int | None,
) -> list[Tensor]:
    """Put the sums of some layers and prompts into scores (B, L, F).

    asked: layer, prompts (P,) and number of points, in ascending order of layers.
    Returns for each of asked the indicators (P,), in probability.
    """
    rules = [_rule(rule, points) for _, _, points in asked]
    paths = [
        Paths(layer, rows, clean.activations.new_tensor(fewer.alphas))
        for (layer, rows, _), fewer in zip(asked, rules, strict=True)
    ]
    found = gradients_along(model, clean, tokens, paths, memory)  # (P, n, D) each
    indicators = []
    for path, fewer, gradients in zip(paths, rules, found, strict=True):
        rows = fewer.coefficients
        rows = gradients.new_tensor(rows[[0, -3, -2, -1]] if len(rows) > 1 else rows)  # (4, n)
        vectors = scores_of(model, clean, path, torch.einsum("km,pmd->pkd", rows, gradients))
        scores[path.prompts, path.layer] = vectors[:, 0]
        indicators.append(indicator(vectors.abs().amax(dim=-1).double()))
    return indicators


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
    model: Bert,
    sample: Sequence[CleanPass],
    rule: Rule,
    tolerance: float = TOLERANCE,
    memory: int | None = None,
) -> Scheme:
    """The scheme that costs least on the sample's prompts, asked for their answers.

    A number of points is left out for a layer where a prompt that would be accepted errs by more
    than a fifth of the tolerance.
    """
    m, prompts = len(rule.alphas), sum(len(clean.batch.answers) for clean in sample)
    sums = [
        integrated_gradients(model, clean, clean.batch.answers, rule, memory) for clean in sample
    ]  # (B, L, F) each
    best = [(float(m), m)] * len(model.layers)  # points a prompt comes to, points tried
    for points in _rungs(rule):
        layers = [layer for layer, (cost, _) in enumerate(best) if points < cost]
        if not layers:
            break
        tried = [
            _try(model, clean, exact, rule, points, layers, memory)
            for clean, exact in zip(sample, sums, strict=True)
        ]
        errors, indicators = (torch.cat(parts) for parts in zip(*tried, strict=True))  # (P, layers)
        doubtful = JUDGED * indicators > tolerance
        unannounced = (errors * ~doubtful).amax(dim=0).tolist()
        shares = (doubtful.sum(dim=0) / prompts).tolist()
        for layer, missed, share in zip(layers, unannounced, shares, strict=True):
            if SAFETY * missed <= tolerance:
                best[layer] = min(best[layer], (points + m * share, points))
    return Scheme(rule, tolerance, tuple(points for _, points in best))


def _try(
    model: Bert,
    clean: CleanPass,
    exact: Tensor,
    rule: Rule,
    points: int,
    layers: Sequence[int],
    memory: int | None,
) -> tuple[Tensor, Tensor]:
    """Errors and indicators (B, len(layers)) of so many points, of the largest score."""
    tokens, fewer = clean.batch.answers, torch.zeros_like(exact)
    everyone = torch.arange(len(tokens), device=tokens.device)
    asked = [(layer, everyone, points) for layer in layers]
    seen = torch.stack(_integrate(model, clean, tokens, rule, asked, fewer, memory), dim=1)
    missed = (fewer - exact)[:, layers].abs().amax(dim=2)
    largest = largest_scores(exact)[:, None]
    return missed / largest, seen / largest
