"""Metrics: the formula of every number that an experiment reports.  Arrays in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special  # scipy.stats takes a second to import

from knowledge_neurons.results.estimates import Estimate, Interval

CONFIDENCE = 0.95
RESAMPLES = 2000  # bootstrap samples


def mean_relative_change(means: np.ndarray) -> np.ndarray:
    """How much a probability changes on average, as a share of itself (Figures 4 and 5).

    means: (..., G, 2), mean before and after over the prompts of each of G relations.
    Per relation mean(after - before) / mean(before), then the mean over relations: (...,).
    """
    return (means[..., 1] / means[..., 0] - 1).mean(axis=-1)


def bootstrap_interval(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray],
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Percentile bootstrap interval of a statistic of group means (Efron 1979).

    groups: G arrays (n_g, K), a row per independent unit (a fact), K quantities of it; the rows of
    each group are drawn with replacement within the group, G groups as they are.
    statistic: means (R, G, K) -> (R,), R resamples.
    Returns the 95 % interval; None where no group has two rows, of which there is nothing to draw.
    Raises ValueError for an empty group.

        change = bootstrap_interval([np.stack([before, after], 1)],
                                    lambda m: (m[:, :, 1] / m[:, :, 0] - 1).mean(1), seed=42)
    """
    return bootstrap_intervals(groups, lambda m: statistic(m)[:, None], seed, resamples)[0]


def bootstrap_intervals(
    groups: Sequence[np.ndarray],
    statistics: Callable[[np.ndarray], np.ndarray],
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Interval | None]:
    """`bootstrap_interval` of several statistics of the same draws: means (R, G, K) -> (R, S)."""
    if not groups or not all(len(group) for group in groups):
        raise ValueError("a bootstrap needs at least one row in every group")
    rng = np.random.default_rng(seed)
    means = [_resampled_means(np.asarray(group, float), resamples, rng) for group in groups]
    values = statistics(np.stack(means, axis=1))  # (R, S)
    tail = 100 * (1 - CONFIDENCE) / 2
    ends = np.percentile(values, [tail, 100 - tail], axis=0)  # (2, S)
    if all(len(group) < 2 for group in groups):
        return [None] * values.shape[1]
    return [Interval(float(low), float(high)) for low, high in ends.T]


def _resampled_means(rows: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `resamples` samples drawn with replacement from rows (n, K) -> (R, K)."""
    n = len(rows)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=resamples)  # (R, n)
    return draws @ rows / n


def binomial_interval(successes: float, trials: int) -> Interval | None:
    """95 % interval of a rate: successes of trials (Wilson 1927); None of a single trial.

    With q = successes / trials, n = trials and z = 1.96:

        (q + z^2 / 2n  +-  z sqrt(q (1 - q) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Raises ValueError unless 0 <= successes <= trials and trials >= 1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: expected 0 to {trials} of 1+")
    if trials < 2:
        return None
    q, z = successes / trials, float(special.ndtri((1 + CONFIDENCE) / 2))
    half = z * math.sqrt(q * (1 - q) / trials + (z / (2 * trials)) ** 2)
    low, high = ((q + z**2 / (2 * trials) + way * half) / (1 + z**2 / trials) for way in (-1, 1))
    return Interval(max(low, 0.0), min(high, 1.0))


def mean_of(values: Sequence[float], seed: int) -> Estimate:
    """The mean of one number per unit, with its bootstrap interval over units."""
    column = np.array(values, float)[:, None]
    return Estimate(float(column.mean()), bootstrap_interval([column], lambda m: m[:, 0, 0], seed))


def mean_share(shares: Sequence[float], seed: int) -> Estimate:
    """The mean of shares, one a unit (of a fact's prompts, say), with its interval.

    A bootstrap over the units; where all shares are equal there is nothing to draw from, and the
    interval is that of a rate with as many trials, wide enough for shares of any spread.
    """
    mean = float(np.mean(shares))
    if min(shares) == max(shares):
        return Estimate(mean, binomial_interval(min(mean, 1.0) * len(shares), len(shares)))
    return mean_of(shares, seed)


def harmonic_mean(shares: np.ndarray) -> np.ndarray:
    """K / sum(1 / share) over the last axis, (..., K) -> (...); 0 where a share is 0."""
    least = np.min(shares, axis=-1)
    safe = np.where(least[..., None] > 0, shares, 1.0)
    return np.where(least > 0, safe.shape[-1] / (1 / safe).sum(axis=-1), 0.0)


def binomial_at_most(successes: int, trials: int) -> float:
    """The rate that is not exceeded with 95 % confidence (Clopper and Pearson 1934); 1 of no trial.

    binomial_at_most(0, 16)        # 0.171
    """
    if successes == trials:
        return 1.0
    return float(special.betaincinv(successes + 1, trials - successes, CONFIDENCE))


# --- what a model says of a fact -------------------------------------------------------------


def top_k(ranks: np.ndarray, k: int = 1) -> np.ndarray:
    """Whether each token is among the k most probable: rank <= k.  Its mean is the accuracy at k.

    Section 5.1 of the paper, for an edit of old answer t into new answer t': it *changes* the
    prediction where t no longer is the first, not top_k(rank(t)), and *succeeds* where t' is,
    top_k(rank(t')).
    """
    return np.asarray(ranks) <= k


def perplexity(log_probabilities: np.ndarray) -> float:
    """Perplexity of right answers (sections 5.1 and 5.2): exp(-mean(log p)), p in nats.

    1 where every answer is certain, V where the model has no idea.
    """
    return float(np.exp(-np.mean(log_probabilities)))


def increase(before: float, after: float) -> float:
    """Relative increase, positive where it grew: after / before - 1 (Table 5).

    DEVIATION: the released code prints it with the wrong sign (difference 18).
    """
    return after / before - 1
