"""Stage 4's activations on web sentences: records, the authors' file, Table 4.

Records are JSON lines, one a fact.  The released code's file has every fact's activations in its
own words (th, h, rd), and so intervals as ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from knowledge_neurons.results import metrics
from knowledge_neurons.results.adopted import check_kinds, kinds_of
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import check_keys, check_lengths, naming
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import (
    read_json,
    read_manifest,
    read_records,
    read_summary,
)
from knowledge_neurons.types import BASELINE, KINDS, Count, Index, Neuron, Number

BOTH, HEAD, RANDOM_SENTENCES = SENTENCE_KINDS = ("both", "head", "random")  # T1, T2, T3

SEED = 42  # of the intervals made here, where a file does not tell its own
ADVICE = "Run that stage of the released code again, or ours"

Means = dict[str, dict[str, list[Number]]]  # kind of neurons -> of sentences -> each neuron's mean


@dataclass(frozen=True)
class ActivationRecord:
    """What was read of one fact; a line on disk, by the names of the fields.

    sentences: how many of each kind could be masked; cut: how many of those read were too long.
    unusable: reason -> sentences that could not be masked.  names_tail: its sentences "with the
    head" that name the tail too.  neurons: how many of each kind, see `adopted.check_kinds`.
    means: kind of neurons -> of sentences -> mean activation of each neuron; None where the fact
    was not read: no sentence of some kind, or no neurons.
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


def read_activations(path: Path) -> list[ActivationRecord]:
    """The records of a relation's facts."""
    return list(read_records(path, ActivationRecord, _check))


def _check(record: ActivationRecord) -> None:
    check_keys("sentences", record.sentences, SENTENCE_KINDS)
    kinds = check_kinds(record.neurons, takes_part=record.means is not None)
    if record.means is None:
        if record.has_sentences and any(record.neurons.values()):
            raise ValueError("means is null, but there are sentences of every kind, and neurons")
    else:
        check_keys("means", record.means, kinds)
        for kind, by_sentences in record.means.items():
            check_keys(f"means.{kind}", by_sentences, SENTENCE_KINDS)
            check_lengths(f"means.{kind}", by_sentences, record.neurons[kind])


# --- Table 4 ---------------------------------------------------------------------------------


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


def table_row(records: Iterable[ActivationRecord], kind: str, seed: int) -> TableRow | None:
    """A row of Table 4: the mean over the neurons of all facts of a relation, then over relations.

    A fact of many neurons weighs as many times.  The intervals are bootstraps over facts within
    each relation, all of the same draws.  None where no fact has neurons of this kind.
    """
    # UPSTREAM: a relation's values are pooled, fact by fact and neuron by neuron.
    # DEVIATION: the released code counts a relation without any as 0 (difference 12)
    relations: dict[str, list[list[float]]] = {}
    for record in records:
        if record.means and record.neurons.get(kind):
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


def _sums(means: dict[str, list[float]]) -> list[float]:
    """The sums over a fact's neurons on both, head and random sentences, and its neurons' count."""
    return [*(sum(means[kind]) for kind in SENTENCE_KINDS), len(means[SENTENCE_KINDS[0]])]


def _table(sums: np.ndarray) -> np.ndarray:
    """Means of `_sums` (R, relations, 4) -> the means over relations and their contrasts (R, 5)."""
    by_sentences = (sums[..., :-1] / sums[..., -1:]).mean(axis=1)  # (R, 3)
    return np.concatenate([by_sentences, by_sentences[:, :-1] - by_sentences[:, 1:]], axis=1)


@dataclass(frozen=True)
class Activations:
    """Table 4 over all relations and of each; kind of neurons -> its row.

    A kind that no fact has is left out; kinds: that were read.  theirs: the released code's files
    that it was read from, none where it is ours; theirs tell every fact.
    """

    overall: dict[str, TableRow]
    relations: dict[str, dict[str, TableRow]]
    theirs: Sequence[str] = ()
    kinds: Sequence[str] = KINDS


def table_rows(facts: Sequence[ActivationRecord], seed: int) -> dict[str, TableRow]:
    """Table 4, kinds that no fact has left out."""
    rows = {kind: table_row(facts, kind, seed) for kind in KINDS}
    return {kind: row for kind, row in rows.items() if row}


def summary_of(relations: Mapping[str, Sequence[ActivationRecord]], seed: int) -> dict[str, Any]:
    """Table 4 with intervals, and what was read, skipped and cut, by reason, as it is on disk."""
    records = [record for own in relations.values() for record in own]
    read = [record for record in records if record.means]
    unusable: Counter[str] = Counter()
    for record in records:
        unusable.update(record.unusable)
    skipped = {
        f"no sentence: {k}": sum(not r.sentences[k] for r in records) for k in SENTENCE_KINDS
    }
    known, kinds = [record for record in records if record.neurons], kinds_of(records)
    skipped |= {f"no neurons: {k}": sum(not r.neurons.get(k) for r in known) for k in kinds}
    skipped |= {"neurons not published": len(records) - len(known)} if known != records else {}
    return {
        "table": {kind: table_row(records, kind, seed) for kind in kinds},
        "facts": len(records),
        "facts_skipped": skipped,
        "sentences_read": {k: sum(r.sentences[k] for r in read) for k in SENTENCE_KINDS},
        "sentences_cut": sum(record.cut for record in read),
        "sentences_unusable": dict(unusable.most_common()),
        "head_sentences_with_the_tail": sum(record.names_tail for record in records),
    }


class _Table(TypedDict):
    neurons: NotRequired[TableRow | None]
    baseline: NotRequired[TableRow | None]


class _Summary(TypedDict):
    table: _Table


def read_activations_found(results: Results) -> Activations | None:
    """Ours, else the released code's; None where neither is there."""
    path, theirs, kinds, seed = results.activations_summary, [], KINDS, SEED
    if path.exists():
        table = read_summary(path, _Summary, 4)["table"]
        kinds = [kind for kind in KINDS if kind in table] or KINDS
        overall = {kind: table[kind] for kind in kinds if table.get(kind)}
        with naming(path, "Run stage 4 again"):
            for kind, row in overall.items():
                check_keys(f"by_sentences of {kind}", row.by_sentences, SENTENCE_KINDS)
        seed = (read_manifest(path) or {}).get("identity", {}).get("seed", SEED)
        names = results.activated_relations()
        records = {name: read_activations(results.activations(name)) for name in names}
    else:
        records = read_authors_activations(results)
        if not records:
            return None
        overall = table_rows([fact for facts in records.values() for fact in facts], seed)
        theirs = results.names(map(results.distant_activations, (False, True)))
    relations = {name: table_rows(facts, seed) for name, facts in records.items()}
    return Activations(overall, relations, theirs, kinds)


# --- the authors' file -----------------------------------------------------------------------

# What their file says of a fact: th, h, rd of each neuron, or why there is nothing.
Entry = Literal["no_exmp", "no_kn"] | tuple[list[Number], list[Number], list[Number]]


def authors_activations(
    relations: Mapping[str, Sequence[ActivationRecord]],
    neurons: Mapping[str, Sequence[Sequence[Neuron]]],
    kind: str,
) -> dict[str, list]:
    """The content of kn_weights@distant_data.json.

    neurons: relation -> of each fact, of this kind; theirs come in (layer, index) order, since
    their model returns them layer by layer.
    """
    return {
        name: [_th_h_rd(fact, own, kind) for fact, own in zip(facts, neurons[name], strict=True)]
        for name, facts in relations.items()
    }


def _th_h_rd(
    fact: ActivationRecord, neurons: Sequence[Neuron], kind: str
) -> list[list[float]] | str:
    if not fact.has_sentences:
        return "no_exmp"
    if not fact.neurons.get(kind):
        return "no_kn"
    order = sorted(range(len(neurons)), key=neurons.__getitem__)
    means = fact.means[kind]
    return [[means[sentences][place] for place in order] for sentences in SENTENCE_KINDS]


def read_authors_activations(results: Results) -> dict[str, list[ActivationRecord]]:
    """Relation -> its facts, in data order; empty without files.

    Raises ValueError where the two kinds of neurons are of other facts, or an entry's lists of
    other neurons.
    """
    by_kind: dict[str, dict[str, list[Entry]]] = {}
    for kind in KINDS:
        path = results.distant_activations(kind == BASELINE)
        if path.exists():
            by_kind[kind] = read_json(path, dict[str, list[Entry]], ADVICE)
    relations = sorted({relation for facts in by_kind.values() for relation in facts})
    found = {}
    for relation in relations:
        entries = {kind: facts.get(relation, []) for kind, facts in by_kind.items()}
        if len({len(facts) for facts in entries.values() if facts}) > 1:
            raise ValueError(
                f"{path}: it and the file of the other kind have {relation}, "
                f"with unlike numbers of facts.  {ADVICE}"
            )
        found[relation] = [
            _fact(relation, index, {kind: facts[index] for kind, facts in entries.items() if facts})
            for index in range(max(map(len, entries.values())))
        ]
    return found


def _fact(relation: str, index: int, entries: Mapping[str, Entry]) -> ActivationRecord:
    """What an entry does not tell is left empty: head and tail, how many sentences there were."""
    read = {kind: entry for kind, entry in entries.items() if not isinstance(entry, str)}
    for kind, entry in read.items():
        if len(set(map(len, entry))) > 1 or not entry[0]:
            raise ValueError(
                f"{relation} fact {index} in kn_weights@distant_data.json ({kind}): expected three "
                f"lists of as many numbers, at least one.  {ADVICE}"
            )
    lists = {kind: read.get(kind, ([],) * len(SENTENCE_KINDS)) for kind in KINDS}
    return ActivationRecord(
        relation=relation,
        fact=index,
        head="",
        tail="",
        sentences=dict.fromkeys(SENTENCE_KINDS, 0),
        cut=0,
        unusable={},
        names_tail=0,
        neurons={kind: len(lists[kind][0]) for kind in KINDS},
        means={k: dict(zip(SENTENCE_KINDS, lists[k], strict=True)) for k in KINDS}
        if read
        else None,
    )
