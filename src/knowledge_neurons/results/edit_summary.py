"""Stage 6's records -> Table 6: rates and perplexities with intervals, per variant and kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.metrics import (
    binomial_interval,
    bootstrap_interval,
    mean_share,
    perplexity,
    top_k,
)

KNOWLEDGE, RANDOM, RANDOM_SAME_SIZE = KINDS = ("knowledge", "random", "random_same_size")
Kind = Literal["knowledge", "random", "random_same_size"]


@dataclass(frozen=True)
class Variant:
    """One way to edit: both lambdas, and how many of the strongest neurons (None: the refined)."""

    lambda_1: float
    lambda_2: float
    top_k: int | None = None


@dataclass(frozen=True)
class EditRecord:
    """What one edit did.

    asked: index of the prompt that the fact was chosen by.  kind: of the neurons, one of KINDS.
    neurons: [layer, index] of each.  size: Frobenius norm of the change.
    prompts: of the fact, in data order, each with probability and rank of the old and the new
    answer, [before, after], and the prediction after.
    same, other: the facts that watch, each with `fact` (relation and index), `prompts` (which ones
    were read) and `log_p`, [of each prompt before, of each after]: the right answer's, in nats.
    repeat: how many edits of the same fact came before, prompt and answer drawn anew.
    """

    relation: str
    fact: int
    asked: int
    old: str
    new: str
    kind: Kind
    lambda_1: float
    lambda_2: float
    top_k: int | None
    neurons: list[list[int]]
    size: float
    prompts: list[dict]
    same: list[dict]
    other: list[dict]
    repeat: int = 0


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of facts that an edit should leave alone, and by how much it grew (absolute)."""

    before: float
    after: float
    increase: Estimate


@dataclass(frozen=True)
class Summary:
    """One row of Table 6.

    variant: how it was edited; kind: of neurons; edits: how many; neurons, size: means of an edit.
    change, success: on the prompt asked, the old answer no longer first, the new one first; _top5:
    the same with "among the first five".  paraphrase_: share of the fact's other prompts, mean over
    the edits of facts that have any.  probability_new, rank_new: of the new answer on the prompt
    asked, mean and median after the edit, and before it.
    same_relation, other_relations: perplexity of the facts that watch; None where there were none.
    """

    variant: Variant
    kind: Kind
    edits: int
    neurons: float
    size: float
    change: Estimate
    change_top5: Estimate
    success: Estimate
    success_top5: Estimate
    paraphrase_change: Estimate | None
    paraphrase_success: Estimate | None
    paraphrase_success_top5: Estimate | None
    probability_new: Estimate
    probability_new_before: float
    rank_new: float
    rank_new_before: float
    same_relation: Perplexity | None
    other_relations: Perplexity | None


def summarise(records: Sequence[EditRecord], seed: int) -> list[Summary]:
    """A summary for each variant and kind, in the order in which they first occur.

    seed: of the bootstraps; their unit is the edited fact.
    """
    groups: dict[tuple[Variant, str], list[EditRecord]] = {}
    for record in records:
        variant = Variant(record.lambda_1, record.lambda_2, record.top_k)
        groups.setdefault((variant, record.kind), []).append(record)
    return [_summary(*key, group, seed) for key, group in groups.items()]


def by_lambdas(
    summaries: Sequence[Summary],
) -> dict[tuple[float, float], dict[str, list[Summary]]]:
    """Pair of lambdas -> kind of neurons -> its summaries, in their order: of rising counts."""
    pairs: dict[tuple[float, float], dict[str, list[Summary]]] = {}
    for summary in summaries:
        pair = summary.variant.lambda_1, summary.variant.lambda_2
        pairs.setdefault(pair, {}).setdefault(summary.kind, []).append(summary)
    return pairs


def _summary(variant: Variant, kind: str, records: list[EditRecord], seed: int) -> Summary:
    asked = [record.prompts[record.asked] for record in records]
    old, new = (np.array([prompt[key] for prompt in asked]) for key in ("rank_old", "rank_new"))
    p_new = np.array([prompt["p_new"] for prompt in asked])  # (edits, before and after)
    return Summary(
        variant=variant,
        kind=kind,
        edits=len(records),
        neurons=float(np.mean([len(record.neurons) for record in records])),
        size=float(np.mean([record.size for record in records])),
        change=_rate(~top_k(old[:, 1])),
        change_top5=_rate(~top_k(old[:, 1], 5)),
        success=_rate(top_k(new[:, 1])),
        success_top5=_rate(top_k(new[:, 1], 5)),
        paraphrase_change=_paraphrases(records, lambda p: p["rank_old"][1] > 1, seed),
        paraphrase_success=_paraphrases(records, lambda p: p["rank_new"][1] <= 1, seed),
        paraphrase_success_top5=_paraphrases(records, lambda p: p["rank_new"][1] <= 5, seed),
        probability_new=_mean(p_new[:, 1], seed),
        probability_new_before=float(p_new[:, 0].mean()),
        rank_new=float(np.median(new[:, 1])),
        rank_new_before=float(np.median(new[:, 0])),
        same_relation=_perplexity([record.same for record in records], seed),
        other_relations=_perplexity([record.other for record in records], seed),
    )


def _rate(hits: np.ndarray) -> Estimate:
    """The share of hits, with its binomial interval."""
    successes, trials = int(hits.sum()), len(hits)
    return Estimate(successes / trials, binomial_interval(successes, trials))


def _mean(values: Sequence[float], seed: int) -> Estimate:
    """The mean of one number per edit, with its bootstrap interval."""
    column = np.array(values, float)[:, None]
    return Estimate(float(column.mean()), bootstrap_interval([column], lambda m: m[:, 0, 0], seed))


def _paraphrases(
    records: list[EditRecord], hit: Callable[[dict], bool], seed: int
) -> Estimate | None:
    """Mean over edits of the share of the fact's prompts, but for the one asked, that are hits."""
    shares = []
    for record in records:
        others = [p for index, p in enumerate(record.prompts) if index != record.asked]
        if others:
            shares.append(sum(map(hit, others)) / len(others))
    return mean_share(shares, seed) if shares else None


def _perplexity(watched: list[list[dict]], seed: int) -> Perplexity | None:
    """Before and after: exp of the mean over edits of -log p, each edit's mean over its prompts."""
    # UPSTREAM: one exp, of the mean over edits; not a mean of perplexities
    log_p = np.array([_mean_log_p(facts) for facts in watched if facts])  # (edits, 2)
    if not len(log_p):
        return None
    before, after = map(perplexity, log_p.T)

    def growth(means: np.ndarray) -> np.ndarray:
        return np.exp(-means[:, 0, 1]) - np.exp(-means[:, 0, 0])

    return Perplexity(
        before, after, Estimate(after - before, bootstrap_interval([log_p], growth, seed))
    )


def _mean_log_p(facts: list[dict]) -> np.ndarray:
    """Over all prompts of the facts that watch one edit: (2,), before and after."""
    return np.concatenate([fact["log_p"] for fact in facts], axis=1).mean(axis=1)
