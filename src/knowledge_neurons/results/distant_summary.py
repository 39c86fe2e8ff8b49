"""Stage 4's records -> Table 4: mean activations by kind of sentences, with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from knowledge_neurons.results import metrics
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.types import Count, Index, Number

BOTH, HEAD, RANDOM = SENTENCE_KINDS = ("both", "head", "random")  # T1, T2, T3

Means = dict[str, dict[str, list[Number]]]  # kind of neurons -> of sentences -> each neuron's mean


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
    fact: Index
    head: str
    tail: str
    sentences: dict[str, Count]
    cut: Count
    unusable: dict[str, Count]
    names_tail: Count
    neurons: dict[str, Count]
    means: Means | None

    @property
    def has_sentences(self) -> bool:
        return all(self.sentences.values())


@dataclass(frozen=True)
class TableRow:
    """Table 4 for one kind of neurons: the mean activation on each kind of sentences.

    facts: how many it is over.  by_sentences: kind of sentences -> mean.
    contrasts: how much higher the first kind of a pair is than the second ("both - head"), each
    neuron compared with itself.
    """

    facts: int
    by_sentences: dict[str, Estimate]
    contrasts: dict[str, Estimate]


def table_row(records: Iterable[FactActivation], kind: str, seed: int) -> TableRow | None:
    """A row of Table 4: the mean over the neurons of all facts of a relation, then over relations.

    A fact of many neurons weighs as many times.  The intervals are bootstraps over facts within
    each relation, all of the same draws.  None where no fact has neurons of this kind.
    """
    # UPSTREAM: a relation's values are pooled, fact by fact and neuron by neuron.
    # DEVIATION: the released code counts a relation without any as 0 (difference 12)
    relations: dict[str, list[Row]] = {}
    for record in records:
        if record.means and record.neurons[kind]:
            relations.setdefault(record.relation, []).append(_sums(record.means[kind]))
    if not relations:
        return None
    groups = [np.array(rows) for rows in relations.values()]
    values = _table(np.stack([group.mean(axis=0) for group in groups])[None])[0]
    intervals = metrics.bootstrap_intervals(groups, _table, seed)
    found = [Estimate(float(v), ends) for v, ends in zip(values, intervals, strict=True)]
    names = [*SENTENCE_KINDS, *(f"{a} - {b}" for a, b in pairwise(SENTENCE_KINDS))]
    named, first = dict(zip(names, found, strict=True)), len(SENTENCE_KINDS)
    return TableRow(
        sum(map(len, groups)),
        {name: named[name] for name in names[:first]},
        {name: named[name] for name in names[first:]},
    )


Row = list[float]


def _sums(means: dict[str, list[float]]) -> Row:
    """A fact's sums over its neurons, one for each kind of sentences, and how many they are."""
    return [*(sum(means[kind]) for kind in SENTENCE_KINDS), len(means[SENTENCE_KINDS[0]])]


def _table(sums: np.ndarray) -> np.ndarray:
    """Means of `_sums` (R, relations, 4) -> the means over relations and their contrasts (R, 5)."""
    by_sentences = (sums[..., :-1] / sums[..., -1:]).mean(axis=1)  # (R, 3)
    return np.concatenate([by_sentences, by_sentences[:, :-1] - by_sentences[:, 1:]], axis=1)
