"""Fewer points within a tolerance: the indicator, all points where in doubt, calibration.

pytest tests/unit/test_adaptive.py
"""

import numpy as np
import pytest
import torch

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.adaptive import Scheme, Tried
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import Rule, gauss, rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.passes import CleanPass, clean_pass
from tests.reference.tiny import TINY, tiny_bert
from tests.unit.test_attribution import random_prompts

RULE = rule("riemann-left", 20)
LAYERS = TINY.num_hidden_layers


def clean_of(model, seed: int = 1, count: int = 12, length: int = 8) -> CleanPass:
    return clean_pass(model, collate(random_prompts(seed, [length] * count), range(count)))


def calibrated(model, tolerance: float = 1e-3, seed: int = 1) -> Scheme:
    return adaptive.calibrate(model, [clean_of(model, seed, count=24)], RULE, tolerance)


def errors_of(found: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """(B,)"""
    return (found - exact).abs().flatten(1).amax(1) / adaptive.largest_scores(exact)


# --- the indicator ---------------------------------------------------------------------------


@pytest.mark.parametrize("pole", [-0.3, -1.0])
@pytest.mark.parametrize("points", [3, 4, 5])
def test_indicator_bounds_the_error_of_smooth_integrands(pole, points):
    """1 / (x - pole), whose coefficients fall geometrically: never below, nor 100 times above."""
    found, values = gauss(RULE, points), lambda x: 1 / (x - pole)
    error = abs(found.weights @ values(found.alphas) - RULE.weights @ values(RULE.alphas))
    sizes = torch.tensor(np.abs(found.coefficients @ values(found.alphas)))
    seen = adaptive.indicator(sizes[[0, points - 3, points - 2, points - 1]][None])[0]
    assert error <= adaptive.JUDGED * seen <= 100 * error


def test_indicator_survives_a_vanishing_last_coefficient():
    """Even integrands have every second coefficient zero: the one before counts in its place."""

    def seen(*sizes: float) -> float:
        return adaptive.indicator(torch.tensor([sizes], dtype=torch.float64))[0].item()

    assert seen(1.0, 1e-9, 1e-2, 1e-9) == pytest.approx(1e-4)
    assert seen(1.0, 1e-1, 1e-2, 1e-2) == pytest.approx(1e-5)
    assert seen(0.0, 0.0, 0.0, 0.0) >= 0
    assert seen(1.0) == 0, "the sum itself misses nothing"


# --- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_scores_are_within_the_tolerance_of_all_points(tolerance):
    """On prompts that were not calibrated on, and uncalibrated, with fewer points than all."""
    model = tiny_bert()
    clean = clean_of(model, seed=2, count=40)
    exact = integrated_gradients(model, clean, Probability(clean.batch.answers), RULE)
    for scheme in (
        calibrated(model, tolerance),
        adaptive.uncalibrated(RULE, LAYERS, tolerance),
    ):
        found = adaptive.adaptive_gradients(model, clean, Probability(clean.batch.answers), scheme)
        assert errors_of(found.scores, exact).max() <= tolerance
        assert found.points.float().mean() < 12 and found.points.shape == (40, LAYERS)


def test_a_prompt_does_not_depend_on_the_others():
    """Alone or in a batch, whatever the memory: the same points, the same scores."""
    model = tiny_bert()
    scheme, clean = calibrated(model, 1e-4), clean_of(model, seed=3, count=9)
    together = adaptive.adaptive_gradients(model, clean, Probability(clean.batch.answers), scheme)
    assert together.points.unique().numel() > 1, "else nothing is asked"
    tight = adaptive.adaptive_gradients(
        model, clean, Probability(clean.batch.answers), scheme, memory=100_000
    )
    for row, prompt in enumerate(random_prompts(3, [8] * 9)):
        one = collate([prompt], [0])
        alone = adaptive.adaptive_gradients(
            model, clean_pass(model, one), Probability(one.answers), scheme
        )
        assert torch.equal(alone.points[0], together.points[row])
        assert errors_of(alone.scores, together.scores[[row]]) < 1e-5
        assert errors_of(tight.scores[[row]], together.scores[[row]]) < 1e-5


def test_a_layer_in_doubt_gets_some_points_more_and_then_all(monkeypatch):
    """Of one prompt the second layer, of another the third; all else stays with the first try."""
    model = tiny_bert()
    clean = clean_of(model, seed=4, count=3)
    exact = integrated_gradients(model, clean, Probability(clean.batch.answers), RULE)
    scheme = Scheme(RULE, 1e-3, (3, 3, 4))
    seen = iter([[0.0] * 3, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0], [0.0], [0.0]])
    monkeypatch.setattr(adaptive, "indicator", lambda sizes: torch.tensor(next(seen)).double())
    found = adaptive.adaptive_gradients(model, clean, Probability(clean.batch.answers), scheme)
    assert found.points.tolist() == [[3, 3, 4], [3, 27, 4], [3, 3, 10]] and next(seen, 0) == 0
    off = (found.scores - exact).abs().amax(dim=2) / exact.abs().amax()
    assert off[1, 1] < 1e-6 and off[[0, 2], 1].min() > 1e-5


def test_doubt_is_measured_by_the_tolerance():
    """A hair's breadth of tolerance sends every layer to all points, and says what that took."""
    model = tiny_bert()
    clean = clean_of(model, seed=4, count=3)
    scheme = Scheme(RULE, 1e-30, (3, 5, 20))
    found = adaptive.adaptive_gradients(model, clean, Probability(clean.batch.answers), scheme)
    exact = integrated_gradients(model, clean, Probability(clean.batch.answers), RULE)
    assert errors_of(found.scores, exact).max() < 1e-5
    assert found.points.tolist() == [[27, 31, 20]] * 3


@pytest.mark.parametrize(
    "first, m, climb", [(8, 20, [8, 12, 20]), (14, 20, [14, 20]), (4, 5, [4, 5]), (6, 6, [6])]
)
def test_a_climb_ends_at_all_points(first, m, climb):
    assert Scheme(rule("riemann-left", m), 1e-3, (first,)).climb(0) == climb


@pytest.mark.parametrize("wrong", [2, -1, 21, 4.0, None])
def test_a_layer_tries_three_points_to_all(wrong):
    with pytest.raises(ValueError, match=f"tries {wrong} points: expected 3 to 20"):
        Scheme(RULE, 1e-3, (3, wrong))


# --- how many to try -------------------------------------------------------------------------


def tried(monkeypatch, doubtful: dict[int, float], errors: dict[int, float]) -> list[int]:
    """Let so many points leave this share of eight prompts in doubt, and all else with this error.

    Returns the numbers of points that are tried from then on.
    """
    asked = []

    def try_(model, sample, sums, rule, layers, memory, points, of):
        asked.append((points, tuple(layers)))
        some = np.arange(8) < doubtful[points] * 8
        one = Tried(np.where(some, 1.0, errors.get(points, 0.0)), some * 7e-4)
        return [one] * len(layers)

    monkeypatch.setattr(adaptive, "_try", try_)
    return asked


@pytest.mark.parametrize(
    "doubtful, expected",
    [
        ({3: 0.0}, 3),
        ({3: 0.5, 4: 0.0}, 4),  # 3 + 4 / 2 against 4
        ({3: 0.125, 4: 0.0}, 3),  # 3 + 4 / 8
        ({3: 0.5, 4: 0.5, 6: 0.0}, 6),  # 3 + 24 / 2 against 4 + 6 / 2 and 6
        ({n: 1.0 for n in (3, 4, 6, 8)} | {12: 0.25, 14: 0.125}, 14),  # 18 and 16.5
        ({n: 1.0 for n in adaptive.RUNGS}, 20),
    ],
)
def test_calibration_tries_what_costs_least(monkeypatch, doubtful, expected):
    """Points tried and those for the share in doubt; none is tried twice, or that cannot win."""
    model, asked = tiny_bert(), tried(monkeypatch, doubtful, {})
    found = adaptive.calibrate(model, [clean_of(model, count=8)], RULE)
    assert found == Scheme(RULE, adaptive.TOLERANCE, (expected,) * LAYERS)
    assert {layers for _, layers in asked} == {tuple(range(LAYERS))}, "all in one walk"
    own = [points for points, _ in asked]
    assert len(set(own)) == len(own) and set(own) == set(doubtful)


@pytest.mark.parametrize("error, expected", [(1.6e-4, 4), (1.7e-4, 6)])
def test_points_that_err_unannounced_are_left_out(monkeypatch, error, expected):
    """By more than a sixth of the tolerance, at the first try or the second; in doubt one may."""
    model = tiny_bert()
    tried(monkeypatch, {3: 1.0, 4: 0.0, 6: 0.0}, {4: error})
    assert adaptive.calibrate(model, [clean_of(model)], RULE).first == (expected,) * LAYERS


def test_what_is_tried_is_judged_by_the_full_sums():
    """Errors and indicators of a layer with four points, each prompt by its own largest."""
    model = tiny_bert()
    sample = [clean_of(model, 1, count=3), clean_of(model, 2, count=2)]
    how = gauss(RULE, 4)
    exact, fewer = (
        [
            integrated_gradients(model, clean, Probability(clean.batch.answers), one)
            for clean in sample
        ]
        for one in (RULE, Rule(how.alphas, how.weights))
    )
    (found,) = adaptive._try(model, sample, exact, RULE, [1], None, 4, Probability)
    off = [(a[:, 1] - b[:, 1]).abs().amax(1) for a, b in zip(fewer, exact, strict=True)]
    expected = torch.cat(off) / torch.cat([one.flatten(1).amax(1) for one in exact])
    np.testing.assert_allclose(found.errors, expected, rtol=1e-2, atol=1e-6)
    assert found.indicators.shape == (5,) and (found.indicators > 0).all()


@pytest.mark.parametrize("steps, expected", [(20, 8), (12, 8), (11, 6), (6, 4), (4, 4)])
def test_uncalibrated_layers_try_eight_points(steps, expected):
    """Or fewer, at most 70 % of the rule's; all where that are fewer than three."""
    found = adaptive.uncalibrated(rule("riemann-left", steps), 2)
    assert found.first == (expected,) * 2 and found.weight == 30


def test_an_indicator_counts_by_its_weight():
    """Ten times of it sends as many to all points as a tenth of the tolerance."""
    model = tiny_bert()
    clean = clean_of(model, seed=4, count=20)
    points = [
        adaptive.adaptive_gradients(
            model,
            clean,
            Probability(clean.batch.answers),
            Scheme(RULE, tolerance, (3, 4, 4), weight),
        ).points.tolist()
        for tolerance, weight in ((1e-3, 1.0), (1e-3, 10.0), (1e-4, 1.0))
    ]
    assert points[0] != points[1] == points[2]


def test_a_scheme_knows_whether_it_is_the_sum_itself():
    assert adaptive.all_points(RULE, 2).exact and not Scheme(RULE, 1e-3, (20, 3)).exact
