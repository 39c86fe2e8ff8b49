"""What languages share: languages/sharing.json, its averages, and a record of each fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

import numpy as np

from knowledge_neurons.neurons import languages
from knowledge_neurons.neurons.languages import Groups, Split
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_lengths
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_summary
from knowledge_neurons.results.metrics import bootstrap_intervals
from knowledge_neurons.types import Count, Layer, Neuron, Share

FACTS, RELATIONS = LEVELS = ("facts", "relations")  # whose neurons are compared


@dataclass(frozen=True)
class PairOfLanguages:
    """What two languages share of a fact (or of a relation).

    compared: facts with neurons in both; left_out: asked in both, without neurons in one.
    shared, jaccard: |A & B| and |A & B| / |A | B|; _other: of other facts of the relation;
    _random: of random neurons in the same layers; beyond_other: shared less shared_other.
    """

    first: str
    second: str
    compared: Count
    left_out: Count
    shared: Estimate
    shared_other: Estimate | None
    shared_random: Estimate
    beyond_other: Estimate | None
    jaccard: Estimate
    jaccard_other: Estimate | None
    jaccard_random: Estimate


@dataclass(frozen=True)
class Spread:
    """How the neurons of a fact (or of a relation) lie over its languages.

    facts: asked in two languages or more.  distinct: neurons in any of them; independent: in
    enough; specific: in one alone, all languages together; _other, _random: by chance.
    layers_independent, layers_specific: neurons a fact in each layer, from layer 0.
    """

    facts: Count
    distinct: Estimate
    independent: Estimate
    independent_other: Estimate | None
    independent_random: Estimate
    specific: Estimate
    layers_independent: list[float]
    layers_specific: list[float]


@dataclass(frozen=True)
class Level:
    """The comparison of facts, or of relations; spread: None where none was asked in two."""

    pairs: list[PairOfLanguages]
    spread: Spread | None


@dataclass(frozen=True)
class Sharing:
    """languages/sharing.json.  share: of languages, for a neuron to be independent of them."""

    languages: list[str]
    share: Share
    layers: Layer
    facts: Level
    relations: Level


class SharedNeurons(TypedDict):
    """A line of languages/<REL>.jsonl: a fact asked in two languages or more."""

    sub_uri: str
    obj_uri: str
    asked: list[str]
    distinct: int
    independent: list[Neuron]
    specific: dict[str, list[Neuron]]


@dataclass(frozen=True)
class Ways:
    """How languages are compared.

    share: of the languages, for a neuron to be independent of them.  width: F, neurons of a layer.
    layers: L.  done: called after every pair.
    """

    share: float
    width: int
    layers: int
    seed: int
    done: Callable[[], object]


def compare(groups: Groups, names: Sequence[str], ways: Ways) -> Level:
    """Sharing of every two languages, and how neurons lie over all.

    groups: relation -> fact -> language -> neurons.
    """
    pairs = []
    for first, second in combinations(names, 2):
        pair = _pair(groups, first, second, ways)
        pairs += [pair] if pair else []
        ways.done()
    return Level(pairs, _spread(groups, ways))


def _pair(groups: Groups, first: str, second: str, ways: Ways) -> PairOfLanguages | None:
    """None where no fact has neurons in both."""
    compared, left_out = [], 0
    for group in groups.values():
        facts, others = languages.in_both(group, first, second)
        left_out += others
        if facts:
            rows = languages.sharing(facts, first, second, ways.width)
            compared.append(np.column_stack([rows, rows[:, 0] - rows[:, 1]]))
    if not compared:
        return None
    names = (*languages.PAIR_COLUMNS, "beyond_other")
    found = dict(zip(names, _estimates(compared, ways.seed), strict=True))
    return PairOfLanguages(first, second, sum(map(len, compared)), left_out, **found)


def _spread(groups: Groups, ways: Ways) -> Spread | None:
    rows, others, by_layer = [], [], np.zeros((2, ways.layers))
    for group in groups.values():
        several = {key: fact for key, fact in group.items() if len(fact) > 1}
        if not several:
            continue
        counts = []
        for fact in several.values():
            parts = languages.split(fact, ways.share)
            alone = [neuron for own in parts.specific.values() for neuron in own]
            chance = languages.independent_at_random(fact, ways.share, ways.width)
            counts.append([parts.distinct, len(parts.independent), chance, len(alone)])
            for row, neurons in enumerate((parts.independent, alone)):
                by_layer[row] += languages.by_layer(neurons, ways.layers)
        rows.append(np.array(counts, float))
        if found := languages.independent_of_other_facts(several, ways.share, ways.seed):
            others.append(np.array(found)[:, None])
    if not rows:
        return None
    facts = sum(map(len, rows))
    distinct, independent, chance, specific = _estimates(rows, ways.seed)
    by_layer /= facts
    return Spread(
        facts, distinct, independent, _estimates(others, ways.seed)[0] if others else None, chance,
        specific, by_layer[0].tolist(), by_layer[1].tolist(),
    )  # fmt: skip


def _estimates(groups: Sequence[np.ndarray], seed: int) -> list[Estimate | None]:
    """The mean over all facts of each column, with its interval of facts drawn within each group.

    groups: (n, K) each.  A group whose column is NaN does not count in it; None where none counts.
    """
    found: list[Estimate | None] = [None] * groups[0].shape[1]
    known = np.array([~np.isnan(rows).any(axis=0) for rows in groups])  # (G, K)
    everywhere = known.all(axis=0)
    for columns in (np.flatnonzero(everywhere), np.flatnonzero(~everywhere)):
        kept = [
            rows[:, columns] for rows, own in zip(groups, known, strict=True) if own[columns].all()
        ]
        if not len(columns) or not kept:
            continue
        shares = np.array([len(rows) for rows in kept], float)
        shares /= shares.sum()
        means = np.concatenate(kept).mean(axis=0)
        intervals = bootstrap_intervals(
            kept, lambda m, s=shares: np.einsum("rgk,g->rk", m, s), seed
        )
        for column, mean, interval in zip(columns, means, intervals, strict=True):
            found[column] = Estimate(float(mean), interval)
    return found


def record(sub_uri: str, obj_uri: str, parts: Split) -> SharedNeurons:
    return SharedNeurons(
        sub_uri=sub_uri, obj_uri=obj_uri, asked=parts.asked, distinct=parts.distinct,
        independent=parts.independent, specific=parts.specific,
    )  # fmt: skip


def read_sharing(results: Results) -> Sharing | None:
    """None where languages were not compared."""
    path = results.sharing
    if not path.exists():
        return None
    found = read_summary(path, Sharing, 2)
    for level in LEVELS:
        if spread := getattr(found, level).spread:
            both = {"independent": spread.layers_independent, "specific": spread.layers_specific}
            check_lengths(f"{path}: {level}", both, found.layers)
    return found
