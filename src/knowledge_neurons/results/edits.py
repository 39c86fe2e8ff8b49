"""Stage 6's edits: records, a line an edit, and Table 6 of them.

Rates and perplexities with their intervals, for each variant and kind of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np
from msgspec import Meta

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.results.metrics import (
    binomial_interval,
    bootstrap_interval,
    mean_of,
    mean_share,
    perplexity,
    top_k,
)
from knowledge_neurons.types import CONTROL, Count, Index, Neuron, Share

# Which neurons are edited: the fact's own, as many random ones, these by as large a change.
CHOSEN, CONTROL_SAME_SIZE = "knowledge", "random_same_size"
EDITED = (CHOSEN, CONTROL, CONTROL_SAME_SIZE)
Kind = Literal["knowledge", "random", "random_same_size"]

LogP = Annotated[float, Meta(ge=-1e6, le=1e-3)]  # nats; float32 may round a certain answer above 0
Rank = Annotated[int, Meta(ge=1, lt=1 << 40)]
Size = Annotated[float, Meta(ge=0, le=1e30)]
Two = Meta(min_length=2, max_length=2)  # before and after


@dataclass(frozen=True)
class Variant:
    """One way to edit: both lambdas, and how many of the strongest neurons (None: the refined)."""

    lambda_1: float
    lambda_2: float
    top_k: int | None = None


class AskedPrompt(TypedDict):
    """A prompt of an edited fact: probability and rank of both answers, and what it says after."""

    p_old: Annotated[list[Share], Two]
    p_new: Annotated[list[Share], Two]
    rank_old: Annotated[list[Rank], Two]
    rank_new: Annotated[list[Rank], Two]
    predicted: str


class Watched(TypedDict):
    """A fact that should stay as it is: relation and index, which of its prompts were read, and
    the right answers' log p, [of each prompt before, of each after]."""

    fact: list[str | Index]
    prompts: list[Index]
    log_p: Annotated[list[Annotated[list[LogP], Meta(min_length=1)]], Two]


@dataclass(frozen=True)
class EditRecord:
    """What one edit did; a line on disk, by the names of the fields.

    asked: index of the prompt that the fact was chosen by.  kind: of the neurons, one of EDITED.
    size: Frobenius norm of the change.  prompts: of the fact, in data order.
    same, other: the facts that watch, of the same relation and of others.
    repeat: how many edits of the same fact came before, prompt and answer drawn anew.
    """

    relation: str
    fact: Index
    asked: Index
    old: str
    new: str
    kind: Kind
    lambda_1: float
    lambda_2: float
    top_k: int | None
    neurons: list[Neuron]
    size: Size
    prompts: list[AskedPrompt]
    same: list[Watched]
    other: list[Watched]
    repeat: int = 0


def read_edits(path: Path) -> list[EditRecord]:
    """Stage 6's records; ValueError names file, line and what does not fit."""
    return list(read_records(path, EditRecord, _check))


def _check(record: EditRecord) -> None:
    if record.asked >= len(record.prompts):
        raise ValueError(f"asked is {record.asked}, there are {len(record.prompts)} prompts")
    for watched in (*record.same, *record.other):
        before, after = map(len, watched["log_p"])
        if before != after:
            raise ValueError(f"log_p has {before} numbers before and {after} after")


# --- Table 6 ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of facts that an edit should leave alone, and by how much it grew (absolute)."""

    before: float
    after: float
    increase: Estimate


@dataclass(frozen=True)
class Summary:
    """One row of Table 6.

    variant: how it was edited; kind: of neurons; edits: how many; neurons, size: means of an edit.
    change, success: on the prompt asked, the old answer no longer first, the new one first; _top5:
    the same with "among the first five".  paraphrase_: share of the fact's other prompts, mean over
    the edits of facts that have any.  probability_new, rank_new: of the new answer on the prompt
    asked, mean and median after the edit, and before it.
    same_relation, other_relations: perplexity of the facts that watch; None where there were none.
    """

    variant: Variant
    kind: Kind
    edits: int
    neurons: float
    size: float
    change: Estimate
    change_top5: Estimate
    success: Estimate
    success_top5: Estimate
    paraphrase_change: Estimate | None
    paraphrase_success: Estimate | None
    paraphrase_success_top5: Estimate | None
    probability_new: Estimate
    probability_new_before: float
    rank_new: float
    rank_new_before: float
    same_relation: Perplexity | None
    other_relations: Perplexity | None


def summarise_edits(records: Sequence[EditRecord], seed: int) -> list[Summary]:
    """A summary for each variant and kind, in the order in which they first occur.

    seed: of the bootstraps; their unit is the edited fact.
    """
    groups: dict[tuple[Variant, str], list[EditRecord]] = {}
    for record in records:
        variant = Variant(record.lambda_1, record.lambda_2, record.top_k)
        groups.setdefault((variant, record.kind), []).append(record)
    return [_summary(*key, group, seed) for key, group in groups.items()]


def by_lambdas(
    summaries: Sequence[Summary],
) -> dict[tuple[float, float], dict[str, list[Summary]]]:
    """Pair of lambdas -> kind of neurons -> its summaries, in their order: of rising counts."""
    pairs: dict[tuple[float, float], dict[str, list[Summary]]] = {}
    for summary in summaries:
        pair = summary.variant.lambda_1, summary.variant.lambda_2
        pairs.setdefault(pair, {}).setdefault(summary.kind, []).append(summary)
    return pairs


@dataclass(frozen=True)
class EditRun:
    """One run of stage 6: Table 6 of each variant and kind of neurons.

    draw: how facts were drawn.  chosen: relation -> how many edits, facts edited, drawn, answered
    wrong, without neurons.
    """

    name: str
    draw: str
    chosen: dict[str, dict[str, int]]
    summaries: list[Summary]

    @property
    def by_count(self) -> bool:
        """Whether it edited the K strongest neurons instead of the refined ones."""
        return any(summary.variant.top_k is not None for summary in self.summaries)

    @property
    def lambdas(self) -> list[tuple[float, float]]:
        """The pairs it tried, in their order; several in a sweep."""
        return list(by_lambdas(self.summaries))


class _Summaries(TypedDict):
    draw: str
    relations: dict[str, dict[str, Count]]
    edits: list[Summary]


def write_edit_run(results: Results, run: EditRun) -> None:
    """Table 6 of a run as JSON."""
    content = {"draw": run.draw, "relations": run.chosen, "edits": run.summaries}
    write_json(results.edits_summary(run.name), content, readable=True)


def read_edit_run(results: Results, name: str) -> EditRun:
    """The summary of a run."""
    content = read_summary(results.edits_summary(name), _Summaries, 6)
    return EditRun(name, content["draw"], content["relations"], content["edits"])


def _summary(variant: Variant, kind: str, records: list[EditRecord], seed: int) -> Summary:
    asked = [record.prompts[record.asked] for record in records]
    old, new = (np.array([prompt[key] for prompt in asked]) for key in ("rank_old", "rank_new"))
    p_new = np.array([prompt["p_new"] for prompt in asked])  # (edits, before and after)
    return Summary(
        variant=variant,
        kind=kind,
        edits=len(records),
        neurons=float(np.mean([len(record.neurons) for record in records])),
        size=float(np.mean([record.size for record in records])),
        change=_rate(~top_k(old[:, 1])),
        change_top5=_rate(~top_k(old[:, 1], 5)),
        success=_rate(top_k(new[:, 1])),
        success_top5=_rate(top_k(new[:, 1], 5)),
        paraphrase_change=_paraphrases(records, lambda p: p["rank_old"][1] > 1, seed),
        paraphrase_success=_paraphrases(records, lambda p: p["rank_new"][1] <= 1, seed),
        paraphrase_success_top5=_paraphrases(records, lambda p: p["rank_new"][1] <= 5, seed),
        probability_new=mean_of(p_new[:, 1], seed),
        probability_new_before=float(p_new[:, 0].mean()),
        rank_new=float(np.median(new[:, 1])),
        rank_new_before=float(np.median(new[:, 0])),
        same_relation=_perplexity([record.same for record in records], seed),
        other_relations=_perplexity([record.other for record in records], seed),
    )


def _rate(hits: np.ndarray) -> Estimate:
    """The share of hits, with its binomial interval."""
    successes, trials = int(hits.sum()), len(hits)
    return Estimate(successes / trials, binomial_interval(successes, trials))


def _paraphrases(
    records: list[EditRecord], hit: Callable[[dict], bool], seed: int
) -> Estimate | None:
    """Mean over edits of the share of the fact's prompts, but for the one asked, that are hits."""
    shares = []
    for record in records:
        others = [p for index, p in enumerate(record.prompts) if index != record.asked]
        if others:
            shares.append(sum(map(hit, others)) / len(others))
    return mean_share(shares, seed) if shares else None


def _perplexity(watched: list[list[dict]], seed: int) -> Perplexity | None:
    """Before and after: exp of the mean over edits of -log p, each edit's mean over its prompts."""
    # UPSTREAM: one exp, of the mean over edits; not a mean of perplexities
    log_p = np.array([_mean_log_p(facts) for facts in watched if facts])  # (edits, 2)
    if not len(log_p):
        return None
    before, after = map(perplexity, log_p.T)

    def growth(means: np.ndarray) -> np.ndarray:
        return np.exp(-means[:, 0, 1]) - np.exp(-means[:, 0, 0])

    return Perplexity(
        before, after, Estimate(after - before, bootstrap_interval([log_p], growth, seed))
    )


def _mean_log_p(facts: list[dict]) -> np.ndarray:
    """Over all prompts of the facts that watch one edit: (2,), before and after."""
    return np.concatenate([fact["log_p"] for fact in facts], axis=1).mean(axis=1)
