"""Whether prompts of a fact name the same neurons: averages of `neurons.agreement` on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from knowledge_neurons.neurons.agreement import Overlaps
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_summary
from knowledge_neurons.results.metrics import bootstrap_interval, mean_share
from knowledge_neurons.types import Count, Neuron, Share

LOCALISATION = "localisation"  # the question
LEAST = 0.1  # overlap of a fact's prompts below which they do not agree
# What a fact's prompts are compared with, in words.
OVERLAP_COLUMNS = {
    "wordings": "same fact, other wording",
    "same_wording": "other fact, same wording",
    "other_wording": "other fact, other wording",
    "elsewhere": "other relation",
}


@dataclass(frozen=True)
class Located:
    """Of a relation, or the mean over relations.

    facts: with two prompts that have neurons.  overlaps: by OVERLAP_COLUMNS.  disagree: share of
    these facts whose prompts overlap by less than LEAST; without: share of all facts with prompts
    that refine to nothing.
    """

    facts: Count
    overlaps: dict[str, Estimate]
    disagree: Estimate | None
    without: Estimate | None


@dataclass(frozen=True)
class Localisation:
    """controls/localisation.json.  by_fact: relation -> overlap of each fact's prompts."""

    overall: Located
    relations: dict[str, Located]
    by_fact: dict[str, list[Share | None]]


def localisation_of(
    found: Mapping[str, Sequence[Overlaps]],
    refined: Mapping[str, Sequence[Sequence[Neuron]]],
    seed: int,
) -> Localisation:
    """Averages over facts; over relations the mean of theirs, as everywhere.

    found, refined: relation -> overlaps and refined neurons of each fact.
    """
    return Localisation(
        _located(found, refined, seed),
        {name: _located({name: own}, {name: refined[name]}, seed) for name, own in found.items()},
        {name: [one.wordings for one in own] for name, own in found.items()},
    )


def _located(
    found: Mapping[str, Sequence[Overlaps]],
    refined: Mapping[str, Sequence[Sequence[Neuron]]],
    seed: int,
) -> Located:
    overlaps = {}
    for column in OVERLAP_COLUMNS:
        groups = [
            [v for one in own if (v := getattr(one, column)) is not None] for own in found.values()
        ]
        if estimate := _mean_of_means(groups, seed):
            overlaps[column] = estimate
    agreed = [[one.wordings for one in own if one.wordings is not None] for own in found.values()]
    bare = [
        [float(not neurons) for one, neurons in zip(own, refined[name], strict=True) if _asked(one)]
        for name, own in found.items()
    ]
    return Located(
        sum(map(len, agreed)),
        overlaps,
        _mean_of_means([[float(value < LEAST) for value in own] for own in agreed], seed),
        _mean_of_means(bare, seed),
    )


def _asked(one: Overlaps) -> bool:
    """Whether anything was compared: a fact that was left out has no overlaps at all."""
    return any(getattr(one, field.name) is not None for field in fields(one))


def _mean_of_means(groups: Sequence[Sequence[float]], seed: int) -> Estimate | None:
    """The mean over groups of their means, its interval over the values of each group."""
    columns = [np.array(own, float)[:, None] for own in groups if own]
    if not columns:
        return None
    if len(columns) == 1:
        return mean_share(columns[0][:, 0].tolist(), seed)
    mean = float(np.mean([own.mean() for own in columns]))
    return Estimate(mean, bootstrap_interval(columns, lambda m: m[:, :, 0].mean(1), seed))


def write_localisation(path: Path, found: Localisation) -> None:
    write_json(path, found, readable=True)


def read_localisation(results: Results) -> Localisation | None:
    """None where stage 10 has not asked for it."""
    path = results.questioned_summary(LOCALISATION)
    return read_summary(path, Localisation, 10) if path.exists() else None
