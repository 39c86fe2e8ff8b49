"""Metrics: the formula of every number that an experiment reports.  Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000  # bootstrap samples


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


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
) -> Interval:
    """Percentile bootstrap interval of a statistic of group means (Efron 1979).

    groups: G arrays (n_g, K), a row per independent unit (a fact), K quantities of it; the rows of
    each group are drawn with replacement within the group, G groups as they are.
    statistic: means (R, G, K) -> (R,), R resamples.
    Returns the 95 % interval.  Raises ValueError for an empty group.

        change = bootstrap_interval([np.stack([before, after], 1)],
                                    lambda m: (m[:, :, 1] / m[:, :, 0] - 1).mean(1), seed=42)
    """
    return bootstrap_intervals(groups, lambda m: statistic(m)[:, None], seed, resamples)[0]


def bootstrap_intervals(
    groups: Sequence[np.ndarray],
    statistics: Callable[[np.ndarray], np.ndarray],
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """`bootstrap_interval` of several statistics of the same draws: means (R, G, K) -> (R, S)."""
    if not groups or not all(len(group) for group in groups):
        raise ValueError("a bootstrap needs at least one row in every group")
    rng = np.random.default_rng(seed)
    means = [_resampled_means(np.asarray(group, float), resamples, rng) for group in groups]
    values = statistics(np.stack(means, axis=1))  # (R, S)
    tail = 100 * (1 - CONFIDENCE) / 2
    ends = np.percentile(values, [tail, 100 - tail], axis=0)  # (2, S)
    return [Interval(float(low), float(high)) for low, high in ends.T]


def _resampled_means(rows: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `resamples` samples drawn with replacement from rows (n, K) -> (R, K)."""
    n = len(rows)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=resamples)  # (R, n)
    return draws @ rows / n


def binomial_interval(successes: int, trials: int) -> Interval:
    """95 % interval of a rate: successes of trials (Wilson 1927).

    Raises ValueError unless 0 <= successes <= trials and trials >= 1.
    """
    found = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def binomial_at_most(successes: int, trials: int) -> float:
    """The rate that is not exceeded with 95 % confidence (Clopper and Pearson 1934); 1 of no trial.

    binomial_at_most(0, 16)        # 0.171
    """
    if successes == trials:
        return 1.0
    return float(stats.beta.ppf(CONFIDENCE, successes + 1, trials - successes))


# --- what a model says of a fact -------------------------------------------------------------


def rank(logits, chosen):
    """Place of tokens among all by their logits, 1 is the most probable.

        rank(t) = 1 + |{v : logit(v) > logit(t)}|

    logits: (B, V); chosen: (B, K), those of the tokens in question.  Arrays of numpy or tensors of
    torch.  Returns (B, K), of the same kind.
    """
    return 1 + (logits[:, None, :] > chosen[:, :, None]).sum(-1)


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

    DEVIATION: the released code prints it with the wrong sign (difference 19).
    """
    return after / before - 1
