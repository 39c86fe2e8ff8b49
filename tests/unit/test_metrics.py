"""Formulas and intervals against what is known of them by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.metrics import (
    binomial_at_most,
    binomial_interval,
    bootstrap_interval,
    bootstrap_intervals,
    increase,
    mean_share,
    perplexity,
    top_k,
)


def mean_of_groups(means):
    return means[:, :, 0].mean(axis=1)


def test_bootstrap_of_a_mean_is_about_two_standard_errors_either_way():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(400, 1))
    low, high = bootstrap_interval([values], mean_of_groups, seed=1)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_bootstrap_of_a_constant_is_a_point_and_groups_stay_apart():
    groups = [np.full((3, 1), 1.0), np.full((50, 1), 3.0)]
    assert bootstrap_interval(groups, mean_of_groups, seed=0) == (2.0, 2.0)


def test_bootstrap_draws_a_units_quantities_together():
    before = np.random.default_rng(0).uniform(1, 9, size=30)
    pairs = np.stack([before, 2 * before], axis=1)
    found = bootstrap_interval([pairs], lambda m: m[:, 0, 1] / m[:, 0, 0], seed=0)
    assert found == pytest.approx((2.0, 2.0))


def test_several_statistics_of_the_same_draws():
    """Each interval is the one that it has alone."""
    rows = np.random.default_rng(0).normal(size=(40, 2))
    mean, gap = bootstrap_intervals(
        [rows], lambda m: np.stack([m[:, 0, 0], m[:, 0, 0] - m[:, 0, 1]], axis=1), seed=3
    )
    assert mean == pytest.approx(bootstrap_interval([rows], mean_of_groups, seed=3))
    alone = bootstrap_interval([rows[:, :1] - rows[:, 1:]], mean_of_groups, seed=3)
    assert gap == pytest.approx(alone) != pytest.approx(mean)


def test_bootstrap_is_seeded():
    values = np.arange(20.0)[:, None]
    draw = [bootstrap_interval([values], mean_of_groups, seed=s) for s in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]


def test_bootstrap_draws_2000_samples_unless_told_otherwise():
    """And its interval has 95 % of them between its ends."""
    seen = []

    def statistic(means):
        seen.append(means[:, 0, 0])
        return means[:, 0, 0]

    values = np.random.default_rng(0).normal(size=(50, 1))
    low, high = bootstrap_interval([values], statistic, seed=0)
    assert seen[0].shape == (2000,)
    assert (np.sum(seen[0] < low), np.sum(seen[0] > high)) == (50, 50)
    bootstrap_interval([values], statistic, seed=0, resamples=300)
    assert seen[1].shape == (300,)


def test_bootstrap_refuses_an_empty_group():
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval([np.ones((3, 1)), np.ones((0, 1))], mean_of_groups, seed=0)


def test_no_interval_of_fewer_than_two_units():
    """One fact, one fact in each of several groups, one trial: there is nothing to draw from."""
    one = np.array([[1.0]])
    assert bootstrap_interval([one], mean_of_groups, seed=0) is None
    assert bootstrap_interval([one, 2 * one], mean_of_groups, seed=0) is None
    assert bootstrap_intervals([one], lambda m: m[:, 0].repeat(2, 1), seed=0) == [None, None]
    assert bootstrap_interval([one, np.array([[1.0], [2.0]])], mean_of_groups, seed=0) is not None
    assert binomial_interval(1, 1) is None
    assert mean_share([0.5], seed=0) == Estimate(0.5, None)


def test_shares_that_are_all_equal_have_the_interval_of_a_rate():
    """All zero or all one as Wilson would have it; a bootstrap would give a point."""
    assert mean_share([0.0] * 40, seed=0) == Estimate(0.0, binomial_interval(0, 40))
    assert mean_share([1.0] * 40, seed=0) == Estimate(1.0, binomial_interval(40, 40))
    assert mean_share([0.25] * 40, seed=0).interval == pytest.approx(binomial_interval(10, 40))
    shares = [0.0, 1.0] * 20
    drawn = bootstrap_interval([np.array(shares)[:, None]], mean_of_groups, seed=3)
    assert mean_share(shares, seed=3) == Estimate(0.5, drawn)


def test_wilson_interval_is_scipys():
    for successes, trials in ((0, 2), (3, 140), (70, 140), (140, 140)):
        theirs = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        assert binomial_interval(successes, trials) == pytest.approx((theirs.low, theirs.high))


def test_wilson_interval_by_hand():
    # 8 of 10: centre (0.8 + z^2/20) / (1 + z^2/10), half width z sqrt(0.016 + z^2/400) / (same)
    assert binomial_interval(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    assert binomial_interval(0, 10).low == pytest.approx(0.0, abs=1e-12)
    assert binomial_interval(10, 10).high == pytest.approx(1.0)


@pytest.mark.parametrize("successes, trials", [(3, 2), (-1, 2), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError):
        binomial_interval(successes, trials)


@pytest.mark.parametrize("successes, trials", [(0, 16), (1, 16), (3, 200), (7, 8)])
def test_a_rate_above_the_bound_would_have_shown_more(successes, trials):
    """At the bound, so few successes or fewer come in 5 of 100 samples."""
    bound = binomial_at_most(successes, trials)
    terms = range(successes + 1)
    chances = [math.comb(trials, k) * bound**k * (1 - bound) ** (trials - k) for k in terms]
    assert sum(chances) == pytest.approx(0.05)


def test_a_bound_without_trials_or_failures_is_1():
    assert binomial_at_most(0, 0) == binomial_at_most(4, 4) == 1.0


def test_top_k_by_hand():
    assert top_k(np.array([1, 2, 5, 6])).tolist() == [True, False, False, False]
    assert top_k(np.array([1, 2, 5, 6]), 5).mean() == 0.75


def test_perplexity_by_hand():
    """Probabilities 1/2 and 1/8: the geometric mean is 1/4."""
    assert perplexity(np.log([0.5, 0.125])) == pytest.approx(4.0)
    assert perplexity(np.log([1.0, 1.0])) == 1.0


def test_increase_is_positive_where_it_grew():
    """Table 5's first row: 1450.0 -> 2996.0 is +106.6 %."""
    assert increase(1450.0, 2996.0) == pytest.approx(1.066, abs=1e-3)
    assert increase(2.0, 1.0) == -0.5
