"""Stage 10's edits judged as editors are: records, a line a case, and the table of scores.

The scores are those of Meng et al. 2022 (section 3.4), over cases of CounterFact:

    efficacy        P(new) > P(true) on the prompt that was rewritten
    paraphrase      P(new) > P(true), share of the paraphrases
    neighbourhood   P(true) > P(new), share of the prompts about other subjects
    S               the harmonic mean of the three, each averaged over cases

P is that of the whole answer.  Their code compares means of log p over an answer's tokens, the same
where both answers have as many.  A tie is no success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from knowledge_neurons.results.edits import CHOSEN, LogP
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_keys, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.results.metrics import (
    bootstrap_interval,
    harmonic_mean,
    mean_of,
    mean_share,
)
from knowledge_neurons.types import CONTROL, Count, Index, Neuron, Number

EDITORS = "editors"  # the question's name
NOTHING = "nothing"  # no edit
JUDGED = (NOTHING, CHOSEN, CONTROL)
JUDGED_IN_WORDS = {
    NOTHING: "no edit",
    CHOSEN: "knowledge neurons",
    CONTROL: "random neurons",
}
# Score -> the prompts that it is of, and whether the new answer should be the likelier.
SCORES = {
    "efficacy": ("rewrite", True),
    "paraphrase": ("paraphrases", True),
    "neighbourhood": ("neighbours", False),
}


class Pair(TypedDict):
    """log p of both answers to a prompt, in nats."""

    new: LogP
    true: LogP


class Answered(TypedDict):
    """The answers to all prompts of a case."""

    rewrite: list[Pair]
    paraphrases: list[Pair]
    neighbours: list[Pair]


@dataclass(frozen=True)
class CaseRecord:
    """A case of CounterFact, its edit and what the model says; a line on disk.

    neurons: that were edited, of the kinds that edit; none where the prompt has none, and then
    nothing is edited.  answered: by JUDGED.
    """

    case: Index
    relation: str
    subject: str
    true: str
    new: str
    neurons: dict[str, list[Neuron]]
    answered: dict[str, Answered]


def read_cases_judged(path: Path) -> list[CaseRecord]:
    """The records; ValueError names file, line and what does not fit."""
    return list(read_records(path, CaseRecord, _check))


def _check(record: CaseRecord) -> None:
    check_keys("neurons", record.neurons, (CHOSEN, CONTROL))
    check_keys("answered", record.answered, JUDGED)
    if not all(len(one["rewrite"]) == 1 for one in record.answered.values()):
        raise ValueError("expected one prompt that was rewritten")


# --- the table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """How often the answer that should be is the likelier one, and by how much on the mean.

    cases: that have such prompts.  share: of success.  by: difference in probability, positive
    where it should be.
    """

    cases: Count
    share: Estimate
    by: Estimate


@dataclass(frozen=True)
class Judgement:
    """A row: edits of one kind of neurons.

    neurons: of a case, the mean.  scores: by SCORES, those of which there are prompts.  overall: S,
    over cases with prompts of all three.
    """

    kind: Literal["nothing", "knowledge", "random"]
    cases: Count
    neurons: Number
    scores: dict[str, Score]
    overall: Estimate | None


class Editors(TypedDict):
    """The summary.  left_out: reason -> cases; without_neurons: cases in which nothing was
    edited."""

    source: str
    left_out: dict[str, Count]
    without_neurons: Count
    judged: list[Judgement]


def judge(records: Sequence[CaseRecord], seed: int) -> list[Judgement]:
    """A row for each of JUDGED; seed: of the bootstraps, whose unit is the case."""
    return [_judgement(kind, records, seed) for kind in JUDGED]


def _judgement(
    kind: Literal["nothing", "knowledge", "random"], records: Sequence[CaseRecord], seed: int
) -> Judgement:
    rows = [[_of_case(record.answered[kind], *asked) for asked in SCORES.values()]
            for record in records]  # fmt: skip
    scores = {}
    for place, name in enumerate(SCORES):
        if some := [row[place] for row in rows if row[place]]:
            shares, differences = zip(*some, strict=True)
            scores[name] = Score(len(some), mean_share(shares, seed), mean_of(differences, seed))
    whole = [[one[0] for one in row if one] for row in rows if all(row)]
    return Judgement(
        kind,
        len(records),
        float(np.mean([len(record.neurons.get(kind, ())) for record in records])),
        scores,
        _overall(np.array(whole), seed) if whole else None,
    )


def _of_case(answered: Answered, prompts: str, new: bool) -> tuple[float, float] | None:
    """Share of success and mean difference in probability of a case; None without prompts.

    new: whether the new answer should be the likelier.
    """
    pairs: list[Pair] = answered[prompts]
    if not pairs:
        return None
    wanted, other = ("new", "true") if new else ("true", "new")
    log_p = np.array([(pair[wanted], pair[other]) for pair in pairs])  # (prompts, 2)
    p = np.exp(log_p)
    return float((log_p[:, 0] > log_p[:, 1]).mean()), float((p[:, 0] - p[:, 1]).mean())


def _overall(shares: np.ndarray, seed: int) -> Estimate:
    """S of shares (cases, 3); no interval where all cases are alike, of which none can be drawn."""
    value = float(harmonic_mean(shares.mean(axis=0)))
    alike = (shares == shares[0]).all()
    interval = bootstrap_interval([shares], lambda means: harmonic_mean(means[:, 0]), seed)
    return Estimate(value, None if alike else interval)


def write_editors(path: Path, found: Editors) -> None:
    write_json(path, found, readable=True)


def read_editors(results: Results) -> Editors | None:
    """The summary, None where no edits were judged."""
    path = results.questioned_summary(EDITORS)
    return read_summary(path, Editors, 10) if path.exists() else None
