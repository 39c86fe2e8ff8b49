"""Neurons that others found and published: whose they are, and the facts that they are of.

They come without scores, without a baseline and without some of the data's facts.  A fact that was
not published has an empty list in `kn_bag-<REL>.json`, as one that could not be asked has; which
these are is in the manifest, so that they never count as facts without neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from knowledge_neurons.results.json_files import check_keys, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_json, read_manifest
from knowledge_neurons.types import KINDS, KNOWLEDGE, Adopted


@dataclass(frozen=True)
class ToldFact:
    """A fact in words; prompts: each with [MASK]."""

    head: str
    answer: str
    prompts: list[str]


@dataclass(frozen=True)
class ToldRelation:
    """A relation's facts in data order; label: "field of work"."""

    label: str
    facts: list[ToldFact]


def write_facts(results: Results, relation: str, told: ToldRelation) -> Path:
    """Write the facts of a relation whose neurons are adopted; return the path."""
    path = results.told_facts(relation)
    write_json(path, told)
    return path


def read_facts(results: Results, relation: str) -> ToldRelation:
    """The facts of a relation whose neurons are adopted."""
    advice = "Run scripts/get_data.py --published-neurons again"
    return read_json(results.told_facts(relation), ToldRelation, advice)


def is_adopted(neurons: Path) -> bool:
    """Whether others found the neurons of this file, as its manifest says."""
    return "adopted" in (read_manifest(neurons) or {}).get("identity", {})


def not_published(neurons: Path) -> frozenset[int]:
    """The facts of which a file of adopted neurons says nothing."""
    return frozenset((read_manifest(neurons) or {}).get("facts_not_published", ()))


def check_kinds(neurons: Mapping[str, int], takes_part: bool) -> list[str]:
    """The kinds of neurons that a record counts: both, of adopted ones the first, or none.

    takes_part: whether it tells of anything; then it has some.  Raises ValueError for other kinds.
    """
    kinds = [kind for kind in KINDS if kind in neurons] or [KNOWLEDGE]
    if neurons or takes_part:
        check_keys("neurons", neurons, kinds if KNOWLEDGE in kinds else KINDS)
    return kinds


class _Record(Protocol):
    neurons: Mapping[str, int]


def kinds_of(records: Iterable[_Record]) -> list[str]:
    """The kinds of neurons that records count: of adopted ones there is no baseline."""
    there = {kind for record in records for kind in record.neurons}
    return [kind for kind in KINDS if kind in there]


@dataclass(frozen=True)
class Taken:
    """What was taken over: from whom (each source once), of how many facts of how many relations.

    facts: of the data; published: those of them that have neurons here.
    """

    sources: list[Adopted]
    relations: int
    facts: int
    published: int
    layers: list[int]

    @property
    def models(self) -> str:
        return ", ".join(sorted({source["model"] for source in self.sources}))


def taken(manifests: Mapping[str, Mapping[str, Any]]) -> Taken | None:
    """manifests: as `outcomes` reads them.  None where no neurons are adopted."""
    ours = [one for one in manifests.values() if "adopted" in one.get("identity", {})]
    if not ours:
        return None
    sources: list[Adopted] = []
    for one in ours:
        if one["identity"]["adopted"] not in sources:
            sources.append(one["identity"]["adopted"])
    neurons = [one for one in ours if "facts_not_published" in one]
    facts = sum(one.get("facts", 0) for one in neurons)
    return Taken(
        sources,
        relations=len(neurons),
        facts=facts,
        published=facts - sum(len(one["facts_not_published"]) for one in neurons),
        layers=sorted({one["layers"] for one in neurons if "layers" in one}),
    )
