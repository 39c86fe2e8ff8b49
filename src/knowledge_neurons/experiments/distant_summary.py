"""Stage 4's records -> Table 4: mean activations by kind of sentences, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from knowledge_neurons import metrics

BOTH, HEAD, RANDOM = SENTENCE_KINDS = ("both", "head", "random")  # T1, T2, T3

Means = dict[str, dict[str, list[float]]]  # kind of neurons -> of sentences -> each neuron's mean


@dataclass(frozen=True)
class FactActivation:
    """What was read of one fact.

    sentences: how many of each kind could be masked; cut: how many of those read were too long.
    unusable: reason -> sentences that could not be masked.
    names_tail: its sentences "with the head" that name the tail too.
    neurons: how many it has of each kind.
    means: kind of neurons -> kind of sentences -> mean activation of each neuron; None where the
    fact was not read: it has no sentence of some kind, or no neurons.
    """

    relation: str
    fact: int
    head: str
    tail: str
    sentences: dict[str, int]
    cut: int
    unusable: dict[str, int]
    names_tail: int
    neurons: dict[str, int]
    means: Means | None

    @property
    def has_sentences(self) -> bool:
        return all(self.sentences.values())


@dataclass(frozen=True)
class Estimate:
    """A mean over facts and its 95 % interval."""

    mean: float
    interval: metrics.Interval


@dataclass(frozen=True)
class TableRow:
    """Table 4 for one kind of neurons: the mean activation on each kind of sentences.

    facts: how many it is over.  by_sentences: kind of sentences -> mean.
    contrasts: how much higher the first kind of a pair is than the second ("both - head"), each
    fact compared with itself.
    """

    facts: int
    by_sentences: dict[str, Estimate]
    contrasts: dict[str, Estimate]


def table_row(records: Iterable[FactActivation], kind: str, seed: int) -> TableRow | None:
    """A row of Table 4: a fact's activation is the mean over its neurons, then the mean over facts.

    The interval is a bootstrap over facts.  None where no fact has neurons of this kind.
    """
    read = [r.means[kind] for r in records if r.means and r.neurons[kind]]
    if not read:
        return None
    rows = np.array([[np.mean(means[k]) for k in SENTENCE_KINDS] for means in read])  # (facts, 3)
    pairs = {f"{a} - {b}": (a, b) for a, b in pairwise(SENTENCE_KINDS)}
    columns = dict(zip(SENTENCE_KINDS, rows.T, strict=True))
    columns |= {name: columns[a] - columns[b] for name, (a, b) in pairs.items()}
    estimates = _estimates(columns, seed)
    return TableRow(
        len(rows),
        {name: estimates[name] for name in SENTENCE_KINDS},
        {name: estimates[name] for name in pairs},
    )


def _estimates(columns: Mapping[str, np.ndarray], seed: int) -> dict[str, Estimate]:
    """The mean of each column, a value a fact; all intervals are of the same draws of facts."""
    rows = np.stack(list(columns.values()), axis=1)  # (facts, columns)
    intervals = metrics.bootstrap_intervals([rows], lambda means: means[:, 0], seed)
    return {
        name: Estimate(float(values.mean()), interval)
        for (name, values), interval in zip(columns.items(), intervals, strict=True)
    }
