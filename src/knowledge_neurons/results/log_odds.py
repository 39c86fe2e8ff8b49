"""Changes of log-odds, ln(P / (1 - P)) in nats: what is kept of them in records, and their mean.

Beside P, whose changes vanish where it is near 0 or 1.  Records of earlier versions have none: an
average is told only where every record has them, so that all averages are of the same facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.metrics import bootstrap_interval
from knowledge_neurons.types import Number


@dataclass(frozen=True)
class LogOdds:
    """Log-odds of the right answer to one fact's prompts, in their order; always finite.

    original: without an edit.  edited: kind of neurons -> factor -> with these scaled by it.
    """

    original: list[Number]
    edited: dict[str, dict[float, list[Number]]]

    def difference(self, kind: str, factor: float, prompts: Sequence[int] | None = None) -> float:
        """After less before, the mean over the prompts at these places, by default over all."""
        chosen = range(len(self.original)) if prompts is None else prompts
        after = self.edited[kind][factor]
        return float(np.mean([after[place] - self.original[place] for place in chosen]))


def mean_difference(relations: Sequence[Sequence[float]], seed: int) -> Estimate | None:
    """The mean over a relation's facts, then over relations; the interval is over facts.

    relations: of each a difference a fact.  Relations of which no fact was asked do not count; None
    where there is no other.
    """
    groups = [np.array(facts)[:, None] for facts in relations if len(facts)]  # (facts, 1)
    if not groups:
        return None
    value = float(np.mean([facts.mean() for facts in groups]))
    return Estimate(value, bootstrap_interval(groups, lambda m: m[..., 0].mean(axis=-1), seed))
