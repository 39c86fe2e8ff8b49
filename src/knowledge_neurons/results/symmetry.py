"""Stage 10's question how far an edit reaches: records, a line an edit, and the table of them.

Niu et al. 2024 ask two things of a fact that was edited.  Bijective symmetry: where Rome became the
capital of France, is Rome's country France, and is Paris's no longer?  Synonym invariance: is Rome
also the capital of "the French Republic"?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypedDict

import numpy as np

from knowledge_neurons.results.edits import CHOSEN, LogP, Rank, Two
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.results.metrics import mean_of, mean_share, top_k
from knowledge_neurons.types import CONTROL, Count, Index, Neuron, Number

SYMMETRY = "symmetry"  # the question's name
EDITED = (CHOSEN, CONTROL)  # whose value slots: the fact's own, as many random ones
EDITED_IN_WORDS = {CHOSEN: "knowledge neurons", CONTROL: "random neurons"}


class Asked(TypedDict):
    """An answer that some prompts ask for: its log p in nats and its rank, [of each prompt before
    the edit, of each after]."""

    log_p: Annotated[list[list[LogP]], Two]
    rank: Annotated[list[list[Rank]], Two]


class Named(TypedDict):
    """A fact's prompts with one name of its head, asked for both answers."""

    name: str
    old: Asked
    new: Asked


@dataclass(frozen=True)
class SymmetryRecord:
    """What one edit did, asked in other ways; a line on disk.

    asked: index of the prompt that the fact was chosen by.  kind: of the neurons, one of EDITED.
    own: its head as the data name it; aliases: by other names.
    new_pair, old_pair: the head, asked for as the fact of which the new or the old answer is the
    answer; None where the relation cannot be asked backwards.
    """

    relation: str
    fact: Index
    asked: Index
    old: str
    new: str
    kind: Literal["knowledge", "random"]
    neurons: list[Neuron]
    own: Named
    aliases: list[Named]
    new_pair: Asked | None
    old_pair: Asked | None


def read_symmetry(path: Path) -> list[SymmetryRecord]:
    """The records; ValueError names file, line and what does not fit."""
    return list(read_records(path, SymmetryRecord, _check))


def _check(record: SymmetryRecord) -> None:
    if record.asked >= len(record.own["new"]["rank"][1]):
        raise ValueError(f"asked is {record.asked}: there are not so many prompts")
    named = [one[answer] for one in (record.own, *record.aliases) for answer in ("old", "new")]
    for asked in (*named, record.new_pair, record.old_pair):
        if asked and len({len(one) for one in (*asked["log_p"], *asked["rank"])}) != 1:
            raise ValueError("log p and ranks are of different numbers of prompts")


# --- the table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backwards:
    """A head, asked for by the answer of its fact: means over edits of the mean over wordings.

    edits, wordings: how many were asked.  p, first: its probability, and the share of wordings in
    which it is the first token, each before and after.  rank: medians over all wordings.  change:
    of its log p, in nats.
    """

    edits: Count
    wordings: Count
    p_before: Estimate
    p_after: Estimate
    first_before: Estimate
    first_after: Estimate
    rank_before: Number
    rank_after: Number
    change: Estimate


@dataclass(frozen=True)
class OtherNames:
    """The same edits by the head's own name and by other names: share of prompts that the new
    answer comes first in, of those that had the old one first; change of its log p there, in nats.

    edits: of facts some of whose prompts the model answers right by another name; prompts: these.
    """

    edits: Count
    prompts: Count
    own: Estimate
    other: Estimate
    own_change: Estimate
    other_change: Estimate


@dataclass(frozen=True)
class Reach:
    """A row: what edits of one kind of neurons reach.

    neurons: of an edit, the mean.  success: the new answer first in the prompt asked.
    old_pair: of wordings that the model answered right before the edit alone.
    """

    kind: Literal["knowledge", "random"]
    edits: Count
    neurons: Number
    success: Estimate
    new_pair: Backwards | None
    old_pair: Backwards | None
    names: OtherNames | None


class Symmetry(TypedDict):
    """The summary.  relations: relation -> how many edits, facts drawn, answered wrong, without
    neurons."""

    relations: dict[str, dict[str, Count]]
    reach: list[Reach]


def reach_of(records: Sequence[SymmetryRecord], seed: int) -> list[Reach]:
    """A row for each kind of neurons; seed: of the bootstraps, whose unit is the edit."""
    return [
        _reach(kind, [record for record in records if record.kind == kind], seed) for kind in EDITED
    ]


def _reach(kind: Literal["knowledge", "random"], records: list[SymmetryRecord], seed: int) -> Reach:
    hits = [float(top_k(np.array(one.own["new"]["rank"][1][one.asked]))) for one in records]
    return Reach(
        kind,
        len(records),
        float(np.mean([len(record.neurons) for record in records])),
        mean_share(hits, seed),
        _backwards([_read(one.new_pair) for one in records if one.new_pair], seed),
        _backwards([_known(_read(one.old_pair)) for one in records if one.old_pair], seed),
        _names(records, seed),
    )


class _Read(NamedTuple):
    """log_p and rank of some prompts: (2, P) each, before and after."""

    log_p: np.ndarray
    rank: np.ndarray

    def of(self, chosen: np.ndarray) -> _Read:
        """The same of some prompts; chosen: (P,) bool."""
        return _Read(self.log_p[:, chosen], self.rank[:, chosen])

    @property
    def change(self) -> float:
        """Of log p, the mean over the prompts, in nats."""
        return float((self.log_p[1] - self.log_p[0]).mean())

    def first(self, after: bool) -> float:
        """Share of the prompts in which it comes first."""
        return float(top_k(self.rank[int(after)]).mean())

    def p(self, after: bool) -> float:
        return float(np.exp(self.log_p[int(after)]).mean())


def _read(asked: Asked) -> _Read:
    return _Read(np.array(asked["log_p"]), np.array(asked["rank"]))


def _known(read: _Read) -> _Read:
    """Where it came first before the edit."""
    return read.of(top_k(read.rank[0]))


def _backwards(every: Sequence[_Read], seed: int) -> Backwards | None:
    some = [one for one in every if one.rank.size]
    if not some:
        return None
    before, after = np.concatenate([one.rank for one in some], axis=1)
    return Backwards(
        len(some),
        len(before),
        *(mean_of([one.p(way) for one in some], seed) for way in (False, True)),
        *(mean_share([one.first(way) for one in some], seed) for way in (False, True)),
        float(np.median(before)),
        float(np.median(after)),
        mean_of([one.change for one in some], seed),
    )


def _names(records: Sequence[SymmetryRecord], seed: int) -> OtherNames | None:
    pairs = [(_new_where_known([one.own]), _new_where_known(one.aliases)) for one in records]
    pairs = [(own, other) for own, other in pairs if own.rank.size and other.rank.size]
    if not pairs:
        return None
    sides = tuple(zip(*pairs, strict=True))
    return OtherNames(
        len(pairs),
        sum(other.rank.shape[1] for other in sides[1]),
        *(mean_share([one.first(True) for one in side], seed) for side in sides),
        *(mean_of([one.change for one in side], seed) for side in sides),
    )


def _new_where_known(names: Sequence[Named]) -> _Read:
    """The new answer in all prompts by these names that had the old one first before the edit."""
    read = [_read(one["new"]).of(top_k(np.array(one["old"]["rank"][0]))) for one in names]
    empty = _Read(np.empty((2, 0)), np.empty((2, 0), np.int64))
    return _Read(*(np.concatenate(parts, axis=1) for parts in zip(empty, *read, strict=True)))


def write_reach(path: Path, found: Symmetry) -> None:
    write_json(path, found, readable=True)


def read_reach(results: Results) -> list[Reach]:
    """The table, empty where edits were not asked."""
    path = results.questioned_summary(SYMMETRY)
    return read_summary(path, Symmetry, 10)["reach"] if path.exists() else []
