"""Scorers compared: a record a prompt and scorer, and what many of them come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.metrics import mean_of
from knowledge_neurons.types import Count, Index, Number, Share


@dataclass(frozen=True)
class ScorerRecord:
    """One scorer on one prompt.

    seconds: of processor time; neurons: that it scored.  agreement: rank correlation with zero-out
    over the candidates.  deletion: P(answer) as the strongest of `ks` neurons are off, insertion:
    with only the strongest of `shares` of all neurons on; both as shares of P.  overlap: share of
    the fact's refined neurons among its as many strongest.  None where it has nothing to say.
    """

    relation: str
    fact: Index
    prompt: Index
    scorer: str
    seconds: Number
    neurons: Count
    agreement: Number | None
    deletion: list[Number]
    insertion: list[Number]
    overlap: Share | None


@dataclass(frozen=True)
class ScorerSummary:
    """A scorer over many facts; 95 % intervals over facts.

    seconds: of a prompt.  deletion, insertion: means over the curve, so that a number near 0 of the
    first, and a large one of the second, are what a good scorer has.
    """

    scorer: str
    facts: int
    seconds: float
    neurons: float
    agreement: Estimate | None
    deletion: Estimate | None
    insertion: Estimate | None
    overlap: Estimate | None


def summaries_of(records: Iterable[ScorerRecord], seed: int = 0) -> list[ScorerSummary]:
    """A summary for each scorer, in the order in which they come."""
    by_scorer: dict[str, list[ScorerRecord]] = {}
    for record in records:
        by_scorer.setdefault(record.scorer, []).append(record)
    found = []
    for scorer, own in by_scorer.items():
        facts: dict[tuple[str, int], list[ScorerRecord]] = {}
        for record in own:
            facts.setdefault((record.relation, record.fact), []).append(record)
        found.append(
            ScorerSummary(
                scorer,
                len(facts),
                float(np.mean([one.seconds for one in own])),
                float(np.mean([one.neurons for one in own])),
                *(
                    _over_facts([_mean(one, what) for one in facts.values()], seed)
                    for what in ("agreement", "deletion", "insertion", "overlap")
                ),
            )
        )
    return found


def _mean(records: Sequence[ScorerRecord], what: str) -> float | None:
    """Of a fact's prompts and of a curve."""
    values = [np.mean(value) for one in records if (value := getattr(one, what)) not in (None, [])]
    return float(np.mean(values)) if values else None


def _over_facts(values: Sequence[float | None], seed: int) -> Estimate | None:
    """The mean of those that say something; None where none does."""
    known = [value for value in values if value is not None]
    return mean_of(known, seed) if known else None
