"""What languages share: languages/sharing.json, its averages, and a record of each fact."""

from __future__ import annotations

from collections.abc import Sequence
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


def compare(groups: Groups, names: Sequence[str], share: float, width: int, layers: int,
            seed: int) -> Level:  # fmt: skip
    """Sharing of every two languages, and how neurons lie over all.

    groups: relation -> fact -> language -> neurons.  width: F.  layers: L.
    """
    pairs = (_pair(groups, first, second, width, seed) for first, second in combinations(names, 2))
    return Level([pair for pair in pairs if pair], _spread(groups, share, width, layers, seed))


def _pair(groups: Groups, first: str, second: str, width: int, seed: int) -> PairOfLanguages | None:
    """None where no fact has neurons in both."""
    compared, left_out = [], 0
    for group in groups.values():
        facts, others = languages.in_both(group, first, second)
        left_out += others
        if facts:
            compared.append(languages.sharing(facts, first, second, width))
    if not compared:
        return None
    means = _estimates(compared, seed)
    found = dict(zip(languages.PAIR_COLUMNS, means, strict=True))
    beyond = _estimates([rows[:, :1] - rows[:, 1:2] for rows in compared], seed)[0]
    return PairOfLanguages(
        first, second, sum(map(len, compared)), left_out, beyond_other=beyond, **found
    )


def _spread(groups: Groups, share: float, width: int, layers: int, seed: int) -> Spread | None:
    rows, others, by_layer = [], [], np.zeros((2, layers))
    for group in groups.values():
        several = {key: fact for key, fact in group.items() if len(fact) > 1}
        if not several:
            continue
        counts = []
        for fact in several.values():
            parts = languages.split(fact, share)
            alone = [neuron for own in parts.specific.values() for neuron in own]
            chance = languages.independent_at_random(fact, share, width)
            counts.append([parts.distinct, len(parts.independent), chance, len(alone)])
            for row, neurons in enumerate((parts.independent, alone)):
                by_layer[row] += languages.by_layer(neurons, layers)
        rows.append(np.array(counts, float))
        if found := languages.independent_of_other_facts(several, share, seed):
            others.append(np.array(found)[:, None])
    if not rows:
        return None
    facts = sum(map(len, rows))
    distinct, independent, chance, specific = _estimates(rows, seed)
    by_layer /= facts
    return Spread(
        facts, distinct, independent, _estimates(others, seed)[0] if others else None, chance,
        specific, by_layer[0].tolist(), by_layer[1].tolist(),
    )  # fmt: skip


def _estimates(groups: Sequence[np.ndarray], seed: int) -> list[Estimate | None]:
    """The mean over all facts of each column, with its interval of facts drawn within each group.

    groups: (n, K) each.  A column counts where it is a number; None where it nowhere is.
    """
    found = []
    for column in range(groups[0].shape[1]):
        kept = [rows[:, column : column + 1] for rows in groups]
        kept = [rows for rows in kept if not np.isnan(rows).any()]
        if not kept:
            found.append(None)
            continue
        sizes = np.array([len(rows) for rows in kept])
        shares = sizes / sizes.sum()
        value = float(np.concatenate(kept).mean())
        interval = bootstrap_intervals(kept, lambda m, s=shares: m[:, :, 0] @ s[:, None], seed)[0]
        found.append(Estimate(value, interval))
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
