"""Which neurons of a fact are the same in several languages, and what chance would give.

A fact asked in several languages has a set of neurons in each.  Sharing of two languages is |A & B|
and |A & B| / |A | B| of a fact's two sets.  It is set beside that of other facts: A of one fact, B
of every other of the same group; and beside that of random neurons: B with as many neurons in each
layer, drawn from the layer's F.  A neuron of a fact is independent of language if it is there in
enough of the languages that asked for the fact, and specific to one if it is there in that alone.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse, stats

from knowledge_neurons.types import Neuron

InLanguages = Mapping[str, frozenset[Neuron]]  # language -> a fact's neurons; those that asked it
Group = Mapping[Hashable, InLanguages]  # the facts of a relation, by who they are
Groups = Mapping[str, Group]
DRAWS = 20  # of other facts, for neurons that are independent of language by chance


# --- two languages -----------------------------------------------------------------------------

PAIR_COLUMNS = ("shared", "shared_other", "shared_random", "jaccard", "jaccard_other",
                "jaccard_random")  # fmt: skip


def in_both(group: Group, first: str, second: str) -> tuple[list[InLanguages], int]:
    """The facts that have neurons in both languages, and how many others both asked for."""
    asked = [fact for fact in group.values() if first in fact and second in fact]
    compared = [fact for fact in asked if fact[first] and fact[second]]
    return compared, len(asked) - len(compared)


def sharing(facts: Sequence[InLanguages], first: str, second: str, width: int) -> np.ndarray:
    """What two languages share of each fact: (n, 6), the columns of PAIR_COLUMNS.

    facts: of one group, each with neurons in both.  width: F, neurons of a layer.
    The columns of other facts are means over all others, NaN of a single fact.
    """
    a, b = ([fact[language] for fact in facts] for language in (first, second))
    n, sizes = len(facts), [np.array([len(one) for one in own]) for own in (a, b)]
    of_a, of_b = _incidence(a, b)
    common = np.asarray((of_a @ of_b.T).todense(), float)  # (n, n): fact i in first, j in second
    overlap = common / (sizes[0][:, None] + sizes[1][None, :] - common)
    chance = [
        expected_sharing(_layers(one), _layers(other), width)
        for one, other in zip(a, b, strict=True)
    ]
    columns = []
    for found, expected in ((common, 0), (overlap, 1)):
        own = found.diagonal()
        with np.errstate(invalid="ignore"):
            others = (found.sum(1) - own) / np.array(n - 1, float)
        columns += [own, others, np.array([one[expected] for one in chance])]
    return np.stack(columns, axis=1) if n else np.empty((0, len(PAIR_COLUMNS)))


def _incidence(*sides: Sequence[frozenset[Neuron]]) -> Iterator[sparse.csr_array]:
    """Which fact has which neuron, for each side: (n, neurons), the same columns for all."""
    columns: dict[Neuron, int] = {}
    entries = [
        [(row, columns.setdefault(neuron, len(columns))) for row, own in enumerate(side) for neuron
         in sorted(own)]
        for side in sides
    ]  # fmt: skip
    for side, where in zip(sides, entries, strict=True):
        rows, cols = zip(*where, strict=True) if where else ((), ())
        shape = (len(side), max(len(columns), 1))
        yield sparse.csr_array((np.ones(len(where), np.int64), (rows, cols)), shape=shape)


def _layers(neurons: frozenset[Neuron]) -> Counter[int]:
    return Counter(neuron.layer for neuron in neurons)


def expected_sharing(a: Counter[int], b: Counter[int], width: int) -> tuple[float, float]:
    """Exact means of |A & B| and |A & B| / |A | B| where B's neurons are drawn anew in each layer.

    a, b: layer -> neurons there.  In a layer the overlap is hypergeometric.
    """
    sizes = sorted((a[layer], b[layer]) for layer in a if b[layer])
    return _expected(tuple(sizes), a.total() + b.total(), width)


@lru_cache(maxsize=1 << 16)
def _expected(sizes: tuple[tuple[int, int], ...], total: int, width: int) -> tuple[float, float]:

    common = np.ones(1)  # probability of each number of common neurons
    for one, other in sizes:
        counts = np.arange(min(one, other) + 1)
        common = np.convolve(common, stats.hypergeom(width, one, other).pmf(counts))
    k = np.arange(len(common))
    return float(common @ k), float(common @ (k / (total - k)))


# --- all languages of a fact -------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """A fact's neurons by how many of its languages have them.

    asked: the languages.  distinct: neurons in any.  independent: in enough of them.
    specific: language -> those of it alone.
    """

    asked: list[str]
    distinct: int
    independent: list[Neuron]
    specific: dict[str, list[Neuron]]


def enough(share: float, asked: int) -> int:
    """In how many of the languages that asked a neuron has to be: that share, but two at least."""
    return max(2, math.ceil(share * asked - 1e-9))


def split(fact: InLanguages, share: float = 1.0) -> Split:
    """share: of the languages that a neuron must be in to be independent of language; 1 for all."""
    counts, least = _counts(fact), enough(share, len(fact))
    return Split(
        sorted(fact),
        len(counts),
        sorted(neuron for neuron, count in counts.items() if count >= least),
        {
            language: sorted(neuron for neuron in own if counts[neuron] == 1)
            for language, own in sorted(fact.items())
        },
    )


def _counts(fact: InLanguages) -> Counter[Neuron]:
    """In how many languages each neuron is."""
    return Counter(neuron for own in fact.values() for neuron in own)


def independent_of_other_facts(group: Group, share: float, seed: int) -> list[float]:
    """For each fact how many neurons would be independent if every language took another's.

    The mean of DRAWS: each language's list of facts is shifted by a random number of places, two
    languages by different ones as far as there are enough.  Empty as soon as one language has but
    one of the group's facts: it could be given no other.
    """
    languages = sorted({language for fact in group.values() for language in fact})
    asked = {one: [fact[one] for fact in group.values() if one in fact] for one in languages}
    if min(map(len, asked.values()), default=0) < 2:
        return []
    rng = random.Random(seed)
    totals, least = np.zeros(len(group)), [enough(share, len(fact)) for fact in group.values()]
    for _ in range(DRAWS):
        places = list(range(max(map(len, asked.values()))))
        rng.shuffle(places)
        given = {
            one: iter(_shifted(own, places[i % len(places)]))
            for i, (one, own) in enumerate(asked.items())
        }
        for row, fact in enumerate(group.values()):
            counts = _counts({one: next(given[one]) for one in fact})
            totals[row] += sum(count >= least[row] for count in counts.values())
    return (totals / DRAWS).tolist()


def _shifted(own: list, by: int) -> list:
    by %= len(own)
    return own[by:] + own[:by]


def independent_at_random(fact: InLanguages, share: float, width: int) -> float:
    """How many would be independent, on average, if each language drew its neurons anew.

    Exact: in a layer a neuron is in each language with probability (neurons there) / F.
    """
    least, counts = enough(share, len(fact)), [_layers(own) for own in fact.values()]
    expected = 0.0
    for layer in {layer for own in counts for layer in own}:
        in_so_many = np.ones(1)
        for own in counts:
            p = own[layer] / width
            in_so_many = np.convolve(in_so_many, [1 - p, p])
        expected += width * float(in_so_many[least:].sum())
    return expected


def by_layer(neurons: Sequence[Neuron], layers: int) -> list[int]:
    """How many lie in each layer, from layer 0."""
    counts = Counter(neuron.layer for neuron in neurons)
    return [counts[layer] for layer in range(layers)]
