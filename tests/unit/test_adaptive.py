"""Fewer points within a tolerance: the indicator, calibration, climbs, audit, repair.

pytest tests/unit/test_adaptive.py
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from knowledge_neurons.attribution import adaptive, quadrature_audit
from knowledge_neurons.attribution.adaptive import Audited, Judged, Ladder
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import gauss, rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.passes import clean_pass
from tests.reference.tiny import TINY, tiny_bert
from tests.unit.test_attribution import random_prompts

RULE = rule("riemann-left", 20)
LAYERS = TINY.num_hidden_layers


def batch_and_clean(model, seed: int = 1, count: int = 12, length: int = 8):
    batch = collate(random_prompts(seed, [length] * count), range(count))
    return batch, clean_pass(model, batch)


def calibrated(model, tolerance: float = 1e-3, seed: int = 1) -> Ladder:
    batch, clean = batch_and_clean(model, seed)
    judged = adaptive.judge(model, clean, Probability(batch.answers), RULE)
    return adaptive.calibrate([judged], RULE, tolerance)


# --- the indicator ---------------------------------------------------------------------------


@pytest.mark.parametrize("pole", [-0.3, -1.0])
@pytest.mark.parametrize("points", [3, 4, 5])
def test_indicator_bounds_the_error_of_smooth_integrands(pole, points):
    """1 / (x - pole), whose coefficients fall geometrically: never below, nor 1000 times above."""
    found, values = gauss(RULE, points), lambda x: 1 / (x - pole)
    error = abs(found.weights @ values(found.alphas) - RULE.weights @ values(RULE.alphas))
    sizes = np.abs(found.coefficients @ values(found.alphas))
    seen = adaptive.indicator(sizes[[0, points - 3, points - 2, points - 1]][None])[0]
    assert error <= seen <= 1000 * error


def test_indicator_survives_a_vanishing_last_coefficient():
    """Even integrands have every second coefficient zero: the one before counts in its place."""
    assert adaptive.indicator(np.array([[1.0, 1e-1, 1e-2, 1e-9]]))[0] > 1e-13
    assert adaptive.indicator(np.array([[1.0, 1e-1, 1e-2, 1e-2]]))[0] == pytest.approx(1e-4)
    assert adaptive.indicator(np.zeros((1, 4)))[0] >= 0


# --- climbing --------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_scores_are_within_the_tolerance_of_all_points(tolerance):
    """On prompts that were not calibrated on, with fewer points than all."""
    model = tiny_bert()
    ladder = calibrated(model, tolerance)
    batch, clean = batch_and_clean(model, seed=2, count=40)
    found = adaptive.adaptive_gradients(model, clean, Probability(batch.answers), ladder)
    exact = integrated_gradients(model, clean, Probability(batch.answers), RULE)
    errors = (found.scores - exact).abs().flatten(1).amax(1) / adaptive.largest_scores(exact)
    assert errors.max() <= tolerance
    assert found.points.mean() < 12 and found.points.shape == (40, LAYERS)


def test_a_prompt_does_not_depend_on_the_others():
    """Alone or in a batch, whatever the memory: the same rungs, the same scores."""
    model = tiny_bert()
    ladder = calibrated(model)
    batch, clean = batch_and_clean(model, seed=3, count=9)
    together = adaptive.adaptive_gradients(model, clean, Probability(batch.answers), ladder)
    tight = adaptive.adaptive_gradients(
        model, clean, Probability(batch.answers), ladder, memory=100_000
    )
    for row, prompt in enumerate(random_prompts(3, [8] * 9)):
        one = collate([prompt], [0])
        alone = adaptive.adaptive_gradients(
            model, clean_pass(model, one), Probability(one.answers), ladder
        )
        np.testing.assert_array_equal(alone.rungs[0], together.rungs[row])
        largest = together.scores[row].abs().max()
        assert (alone.scores[0] - together.scores[row]).abs().max() < 1e-5 * largest
        assert (tight.scores[row] - together.scores[row]).abs().max() < 1e-5 * largest


def test_doubtful_prompts_climb_and_the_last_rung_is_all_points():
    """With no trust at all every layer ends at the full sum and says what it spent."""
    model = tiny_bert()
    batch, clean = batch_and_clean(model, seed=4, count=3)
    climbs = ((3, 20), (3, 5, 20), (20,))
    trust = {(layer, n): 1e9 for layer in range(LAYERS) for n in (3, 5)}
    ladder = Ladder(RULE, 1e-3, climbs, trust)
    found = adaptive.adaptive_gradients(model, clean, Probability(batch.answers), ladder)
    exact = integrated_gradients(model, clean, Probability(batch.answers), RULE)
    assert (found.scores - exact).abs().max() < 1e-5 * exact.abs().max()
    assert found.points.tolist() == [[23, 28, 20]] * 3
    assert found.rungs.tolist() == [[20] * 3] * 3 and not found.indicators.any()


# --- calibration -----------------------------------------------------------------------------


def judged_by_hand(errors: dict, indicators: dict) -> Judged:
    as_arrays = ({k: np.array(v, float) for k, v in d.items()} for d in (errors, indicators))
    return Judged(*as_arrays)


def test_calibration_takes_the_cheapest_climb():
    """Ten prompts; rung 3 leaves half in doubt, rung 5 none: 3 + 5 / 2 points beat 5, 13 and 20."""
    judged = judged_by_hand(
        {(0, 3): [1e-5] * 10, (0, 5): [1e-6] * 10},
        {(0, 3): [1e-4] * 5 + [1e-2] * 5, (0, 5): [1e-4] * 10},
    )
    ladder = adaptive.calibrate([judged], RULE, 1e-3)
    assert ladder.climbs == ((5, 20),)
    dearer = {(0, 3): [1e-4] * 9 + [1e-2], (0, 5): [1e-4] * 10}
    ladder = adaptive.calibrate([judged_by_hand(judged.errors, dearer)], RULE, 1e-3)
    assert ladder.climbs == ((3, 5, 20),)
    assert ladder.trust == {(0, 3): 1.0, (0, 5): 1.0}


def test_a_rung_that_was_wrong_is_trusted_less():
    """An error of 2e-3 at an indicator of 1e-3: trust 6, three times the ratio."""
    judged = judged_by_hand({(0, 3): [2e-3, 1e-5]}, {(0, 3): [1e-3, 1e-8]})
    ladder = adaptive.calibrate([judged], RULE, 1e-3)
    assert ladder.trust[0, 3] == pytest.approx(6.0)
    assert ladder.climbs == ((3, 20),) or ladder.climbs == ((20,),)


def test_errors_far_below_the_tolerance_do_not_count_against_an_indicator():
    """Rounding noise over a vanishing indicator is no reason for more points."""
    judged = judged_by_hand({(0, 3): [1e-6]}, {(0, 3): [1e-12]})
    assert adaptive.calibrate([judged], RULE, 1e-3).trust[0, 3] == 1.0


def test_where_nothing_helps_all_points_are_taken_at_once():
    """Every rung in doubt for every prompt: the climb is the full sum alone."""
    judged = judged_by_hand({(0, 3): [1.0] * 4}, {(0, 3): [1.0] * 4})
    assert adaptive.calibrate([judged], RULE, 1e-3).climbs == ((20,),)


def test_calibration_needs_prompts():
    with pytest.raises(ValueError, match="no prompts"):
        adaptive.calibrate([], RULE, 1e-3)


@pytest.mark.parametrize("steps, expected", [(20, 10), (6, 4), (3, None)])
def test_rungs_are_fewer_points_than_the_rule(steps, expected):
    """At most two thirds of them."""
    rungs = adaptive.rungs_of(rule("riemann-left", steps))
    assert (rungs[-1] if rungs else None) == expected


# --- audit and repair ------------------------------------------------------------------------


def test_audit_finds_what_a_wrong_ladder_did():
    """A ladder that trusts three points blindly on a sharp model: errors seen, trust lost."""
    model = tiny_bert()
    for layer in model.layers:
        layer.output.weight *= 6
    blind = {(layer, 3): 1e-9 for layer in range(LAYERS)}
    ladder = Ladder(RULE, 1e-3, ((3, 20),) * LAYERS, blind)
    batch, clean = batch_and_clean(model, seed=5)
    exact, audited = adaptive.audit(model, clean, Probability(batch.answers), ladder)
    worst = max(one.errors.max() for one in audited)
    assert worst > 1e-2
    reference = integrated_gradients(model, clean, Probability(batch.answers), RULE)
    torch.testing.assert_close(exact, reference)
    after = adaptive.distrust(ladder, audited)
    assert max(after.trust.values()) > 0.1 and ladder.trust == blind
    again = adaptive.adaptive_gradients(model, clean, Probability(batch.answers), after)
    errors = (again.scores - reference).abs().flatten(1).amax(1) / adaptive.largest_scores(exact)
    assert errors.max() <= 1e-3


def record(accepted: list, audit: dict | None = None) -> dict:
    return {"prompts": 2, "points": 24, "accepted": accepted, "audit": audit, "integral": None}


def test_review_names_the_facts_in_doubt():
    """An audited error of 5e-3 at indicator 1e-4 (trust 150) puts in doubt what lies above 7e-6."""
    ladder = Ladder(RULE, 1e-3, ((4, 20), (4, 20)), {(0, 4): 1.0, (1, 4): 1.0})
    one = Audited(np.array([4, 4]), np.array([1e-4, 1e-4]), np.array([5e-3, 1e-6]))
    audit = quadrature_audit.compare(
        [[(0, 1, 1.0), (0, 2, 0.23)]], [[(0, 1, 1.0), (0, 2, 0.21)]], [one]
    )
    records = [
        record([[0, 4, 1e-4], [1, 4, 1e-4]], audit),
        record([[0, 4, 1e-6], [1, 4, 9e-4]]),
        record([[0, 4, 1e-5]]),
        record([]),
    ]
    found = quadrature_audit.review(records, ladder, layers=2)
    assert found.doubtful == [0, 2]
    assert found.summary["over_tolerance"] == 1 and found.summary["audited_prompts"] == 1
    assert found.summary["worst_error"] == 5e-3 and found.summary["coarse_same"] == 1
    assert found.summary["worst_written"] == pytest.approx(0.02)
    assert found.summary["points_per_layer"] == 4 * 24 / (4 * 2 * 2)
    calm = quadrature_audit.review([record([[0, 4, 9e-4]])], ladder, layers=2)
    assert calm.doubtful == [] and calm.summary["audited_prompts"] == 0


def test_audited_facts_are_drawn_among_those_with_prompts():
    """A share of them, the same for the same seed, at least four."""
    has = [n % 3 > 0 for n in range(900)]
    drawn = quadrature_audit.draw_checked(has, seed=1)
    assert len(drawn) == 6 and all(has[index] for index in drawn)
    assert drawn == quadrature_audit.draw_checked(has, seed=1)
    assert drawn != quadrature_audit.draw_checked(has, seed=2)
    assert len(quadrature_audit.draw_checked([True] * 3, seed=1)) == 3


def test_distrust_leaves_full_sums_alone():
    """A layer that took all points has no trust to lose."""
    ladder = Ladder(RULE, 1e-3, ((20,),), {})
    one = Audited(np.array([20]), np.array([0.0]), np.array([1.0]))
    assert adaptive.distrust(ladder, [one]) == replace(ladder, trust={})


def test_neuron_sets_that_differ_put_all_in_doubt():
    """Errors of 9e-5, far within the tolerance, carry a score over 0.2 of the largest."""
    ladder = Ladder(RULE, 1e-3, ((4, 20), (4, 20)), {(0, 4): 1.0, (1, 4): 1.0})
    one = Audited(np.array([4, 4]), np.array([5e-4, 1e-4]), np.array([9e-5, 1e-6]))
    written, exact = [[(0, 1, 1.0), (0, 2, 0.19996)]], [[(0, 1, 1.0), (0, 2, 0.20005)]]
    audit = quadrature_audit.compare(written, exact, [one])
    records = [record([[0, 4, 5e-4]], audit), record([[0, 4, 1e-6]]), record([])]
    found = quadrature_audit.review(records, ladder, layers=2)
    assert found.doubtful == [0, 1] and found.summary["over_tolerance"] == 0
    assert found.summary["coarse_same"] == 0
    assert quadrature_audit.review(records, ladder, 2, same_precision=False).doubtful == []
    same = [record([[0, 4, 5e-4]], quadrature_audit.compare(exact, exact, [one])), *records[1:]]
    assert quadrature_audit.review(same, ladder, layers=2).doubtful == []


def test_sums_beside_the_integral_by_hand():
    """Coarse neurons at 0.2 of the largest; the summary's median, quantile, worst and shares."""
    exact = [(0, 1, 0.9), (0, 2, 0.19), (1, 0, 0.5)]
    integral = [(0, 1, 0.9), (0, 2, 0.17), (1, 0, 0.5)]  # 0.18 divides them
    other = quadrature_audit.compare_integral(exact, integral, 0.02, 1e-6)
    same = quadrature_audit.compare_integral(exact, exact, 0.0, 3e-6)
    assert other == {"error": 0.02, "gap": 1e-6, "coarse_same": False}
    assert same["coarse_same"] is True
    records = [record([]), record([]) | {"integral": [other, same]}, record([])]
    ladder = adaptive.exact_ladder(RULE, 2, 1e-3)
    assert quadrature_audit.review(records, ladder, 2).summary["integral"] == {
        "prompts": 2,
        "median": 0.01,
        "p95": pytest.approx(0.019),
        "largest": 0.02,
        "coarse_same": 0.5,
        "completeness_gap": 3e-6,
    }
    assert "integral" not in quadrature_audit.review(records[:1], ladder, 2).summary
