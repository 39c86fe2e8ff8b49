"""Results of the released code's stages 3 and 4, read as they are: for figures and tables.

`kn/{,base_}modify_activation_rlt.json` holds averages of relations alone, so there are no
intervals; `distant/{,base_}kn_weights@distant_data.json` has every fact's activations, and so
intervals as ours.  Keys and words (kn_bag, rm, eh, own, oth; th, h, rd) are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Literal

from knowledge_neurons.results.artifacts import Results
from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, FactActivation
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.modify_summary import AMPLIFY, ASKED, SUPPRESS
from knowledge_neurons.results.storage import read_json
from knowledge_neurons.types import BASELINE, KINDS, Number

Changes = dict[str, dict[str, dict[float, Estimate]]]  # kind of neurons -> own, other -> factor
VERBS = {SUPPRESS: "rm", AMPLIFY: "eh"}
THEIRS = dict(zip(ASKED, ("own", "oth"), strict=True))
Entry = Literal["no_exmp", "no_kn"] | tuple[list[Number], list[Number], list[Number]]  # th, h, rd
ADVICE = "Run that stage of the released code again, or ours"


def modified(results: Results) -> dict[str, Changes]:
    """Relation -> the changes of its right answers' probability, as shares; empty without files."""
    found: dict[str, Changes] = {}
    for kind in KINDS:
        path = results.modified_averages(kind == BASELINE)
        averages = read_json(path, dict[str, dict[str, Number]], ADVICE) if path.exists() else {}
        for key, values in averages.items():
            relation = key.rsplit("-", 1)[-1]  # kn_bag-P101, base_kn_bag-P101
            nothing: Changes = {k: {asked: {} for asked in ASKED} for k in KINDS}
            found.setdefault(relation, nothing)[kind] = _ratios(values)
    return dict(sorted(found.items()))


def _ratios(values: Mapping[str, float]) -> dict[str, dict[float, Estimate]]:
    return {
        asked: {
            factor: Estimate(values[key], None)
            for factor, verb in VERBS.items()
            if (key := f"{verb}_{theirs}:ave_delta_ratio") in values
        }
        for asked, theirs in THEIRS.items()
    }


def mean_changes(relations: Sequence[Changes]) -> Changes:
    """Figures 4 and 5: the means over the relations that tell of them."""
    means: Changes = {kind: {asked: {} for asked in ASKED} for kind in KINDS}
    for kind, asked, factor in product(KINDS, ASKED, VERBS):
        told = [r[kind][asked][factor].value for r in relations if factor in r[kind][asked]]
        if told:
            means[kind][asked][factor] = Estimate(fmean(told), None)
    return means


def activations(results: Results) -> dict[str, list[FactActivation]]:
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
                f"{results.distant}: both files of kn_weights@distant_data.json have {relation}, "
                f"with unlike numbers of facts.  {ADVICE}"
            )
        found[relation] = [
            _fact(relation, index, {kind: facts[index] for kind, facts in entries.items() if facts})
            for index in range(max(map(len, entries.values())))
        ]
    return found


def _fact(relation: str, index: int, entries: Mapping[str, Entry]) -> FactActivation:
    """What an entry does not tell is left empty: head and tail, how many sentences there were."""
    read = {kind: entry for kind, entry in entries.items() if not isinstance(entry, str)}
    for kind, entry in read.items():
        if len(set(map(len, entry))) > 1 or not entry[0]:
            raise ValueError(
                f"{relation} fact {index} in kn_weights@distant_data.json ({kind}): expected three "
                f"lists of as many numbers, at least one.  {ADVICE}"
            )
    lists = {kind: read.get(kind, ([],) * len(SENTENCE_KINDS)) for kind in KINDS}
    return FactActivation(
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
