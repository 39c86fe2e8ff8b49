"""Stage 3's records -> Figures 4 and 5: average changes of a probability, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_neurons.results import metrics
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.types import Count, Index, Share

SUPPRESS, AMPLIFY = 0.0, 2.0
OWN, OTHER = ASKED = ("own", "other")


@dataclass(frozen=True)
class Outcome:
    """Probabilities of the right answer to one fact's prompts, in their order.

    relation, fact: whose prompts.  original: without an edit.
    edited: kind of neurons -> factor -> with these neurons scaled by it.
    """

    relation: str
    fact: Index
    original: list[Share]
    edited: dict[str, dict[float, list[Share]]]


@dataclass(frozen=True)
class FactRecord:
    """What scaling a fact's neurons did.

    neurons: how many it has of each kind.  own: asked its own prompts; None where its answer is not
    one token.  other: asked those of a fact of another relation; None where there is no other.
    """

    relation: str
    fact: Index
    answer: str
    neurons: dict[str, Count]
    own: Outcome | None
    other: Outcome | None


def sums_of(records: Iterable[FactRecord], asked: str, kind: str, factor: float) -> np.ndarray:
    """Per fact the sums over its prompts of P before and after: (facts, 2).

    Facts that could not be asked are left out; a fact without neurons counts, unchanged.
    """
    outcomes = [getattr(record, asked) for record in records]
    rows = [(sum(o.original), sum(o.edited[kind][factor])) for o in outcomes if o]
    return np.array(rows).reshape(-1, 2)


def average_change(
    relations: Mapping[str, Sequence[FactRecord]], asked: str, kind: str, factor: float, seed: int
) -> Estimate | None:
    """Figures 4 and 5: see metrics.mean_relative_change; the interval is over facts.

    relations: relation -> records of its facts.  Relations of which no fact was asked do not count;
    None where there is no other.
    """
    found = (sums_of(records, asked, kind, factor) for records in relations.values())
    groups = [rows for rows in found if len(rows)]
    if not groups:
        return None
    means = np.stack([rows.mean(axis=0) for rows in groups])  # (relations, 2)
    return Estimate(
        float(metrics.mean_relative_change(means)),
        metrics.bootstrap_interval(groups, metrics.mean_relative_change, seed),
    )
