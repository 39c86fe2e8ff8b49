"""Scorers compared: a record a prompt and scorer, and what many of them come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_lengths, naming, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_summary, start_over
from knowledge_neurons.results.metrics import mean_of
from knowledge_neurons.results.ways import Chosen, read_ways
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
    first, and a large one of the second, are what a good scorer has.  deletions, insertions: each
    point of the curve; none where there is no curve.
    """

    scorer: str
    facts: Count
    seconds: Number
    neurons: Number
    agreement: Estimate | None
    deletion: Estimate | None
    insertion: Estimate | None
    overlap: Estimate | None
    deletions: list[Estimate]
    insertions: list[Estimate]


@dataclass(frozen=True)
class ScorersSummary:
    """What scorers come to over the facts of all relations: ways/scorers.json.

    facts, prompts: that were asked.  neurons: of the model.  ks, shares: at which curves are told.
    """

    facts: Count
    prompts: Count
    neurons: Count
    ks: list[Count]
    shares: list[Share]
    chosen: Chosen
    scorers: list[ScorerSummary]

    def seconds_of_all(self, one: ScorerSummary) -> float:
        """What a scorer costs for all neurons of a prompt, were the others as dear as those that it
        scored."""
        return one.seconds * self.neurons / one.neurons


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
                *(_curve([*facts.values()], what, seed) for what in ("deletion", "insertion")),
            )
        )
    return found


def _mean(records: Sequence[ScorerRecord], what: str) -> float | None:
    """Of a fact's prompts and of a curve."""
    values = [np.mean(value) for one in records if (value := getattr(one, what)) not in (None, [])]
    return float(np.mean(values)) if values else None


def _curve(facts: Sequence[Sequence[ScorerRecord]], what: str, seed: int) -> list[Estimate]:
    """Each point of a curve over facts, of each the mean over its prompts."""
    means = []
    for own in facts:
        if curves := [curve for one in own if (curve := getattr(one, what))]:
            means.append(np.mean(curves, axis=0))
    return [mean_of(values, seed) for values in np.transpose(means)]


def _over_facts(values: Sequence[float | None], seed: int) -> Estimate | None:
    """The mean of those that say something; None where none does."""
    known = [value for value in values if value is not None]
    return mean_of(known, seed) if known else None


# --- files -------------------------------------------------------------------------------------


def read_scorers(path: Path) -> list[ScorerRecord]:
    """Stage 11's records of a relation; ValueError names file, line and what does not fit."""
    records = [record for _, own in read_ways(path, ScorerRecord, _check) for record in own]
    with naming(path, start_over(path)):
        for what in ("deletion", "insertion"):
            lengths = {len(curve) for one in records if (curve := getattr(one, what))}
            if len(lengths) > 1:
                raise ValueError(f"{what} has {sorted(lengths)} numbers, expected as many always")
    return records


def _check(records: Sequence[ScorerRecord]) -> None:
    """Every scorer once on every prompt of the fact."""
    asked = [(one.prompt, one.scorer) for one in records]
    prompts, names = (list(dict.fromkeys(part)) for part in zip(*asked, strict=True))
    if asked != [(prompt, name) for prompt in prompts for name in names]:
        raise ValueError("not every prompt has a record of every scorer, once and in one order")


def write_summary(path: Path, found: ScorersSummary) -> None:
    write_json(path, found, readable=True)


def read_scorers_summary(results: Results) -> ScorersSummary | None:
    """None where stage 11 has not compared scorers."""
    path = results.scorers_summary
    if not path.exists():
        return None
    found: ScorersSummary = read_summary(path, ScorersSummary, 11)
    with naming(path, "Run stage 11 again"):
        for one in found.scorers:
            check_lengths(one.scorer, {"deletions": one.deletions}, len(found.ks))
            if one.insertions:
                check_lengths(one.scorer, {"insertions": one.insertions}, len(found.shares))
            if not one.neurons:
                raise ValueError(f"{one.scorer} has scored no neurons")
    return found
