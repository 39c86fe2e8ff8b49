"""What the report's fact browser shows, packed into the page: every fact of every relation.

An index of all facts is unpacked when the page opens, a relation's details when one of its facts is
looked at, its prompts when they are searched too, of a layer what its neurons write and what wakes
them when one of these is.  All are columns of JSON, gzipped and in base64, so no text of the data
can end a script or start one.
Neurons are numbers, see `packing`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from knowledge_neurons.report.active import active_of
from knowledge_neurons.report.beside import (
    activations_of,
    baseline_of,
    doses_of,
    edits_of,
    nats_of,
    sentences_of,
)
from knowledge_neurons.report.mapped import maps_of
from knowledge_neurons.report.packing import STRIDE, index_of, layer_of, number, short
from knowledge_neurons.report.prompts import text_of, word_of
from knowledge_neurons.report.written import written_of
from knowledge_neurons.results.activations import read_activations
from knowledge_neurons.results.adopted import read_facts
from knowledge_neurons.results.changes import AMPLIFY, SUPPRESS, read_changes
from knowledge_neurons.results.json_files import encode
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.text.relations import by_number, split_name
from knowledge_neurons.types import KNOWLEDGE, Triplet

STRONGEST = 40  # scores of a prompt that are embedded, at most


@dataclass(frozen=True)
class Embedded:
    """The packed index, relations' details and prompts, what layers' neurons write and what wakes
    them, and what all hold.

    facts, prompts: how many.  cut: prompts of which only the STRONGEST scores are there.
    unscored: relations without any, whose neurons are adopted.
    """

    index: str
    relations: Mapping[str, str]
    texts: Mapping[str, str]
    words: Mapping[int, str]
    active: Mapping[int, str]
    facts: int
    prompts: int
    cut: int
    unscored: int

    @property
    def parts(self) -> dict[str, Mapping[Any, str]]:
        """What the page calls each part -> its texts by name."""
        own = {"relation": self.relations, "texts": self.texts}
        return {**own, "layer": self.words, "active": self.active}

    @property
    def bytes(self) -> int:
        parts = self.parts.values()
        return len(self.index) + sum(len(one) for part in parts for one in part.values())


def embed(results: Results) -> Embedded | None:
    """Everything the browser shows; None where stage 1 has not finished a relation, and neurons of
    none are adopted."""
    scored = set(results.scored_relations())
    names = sorted(scored | set(results.told_relations()), key=by_number)
    if not names:
        return None
    packed, texts, rows, cut, prompts = {}, {}, [], 0, 0
    edits, words, active = edits_of(results), written_of(results), active_of(results)
    for name in names:
        relation = (read_relation if name in scored else read_told)(results, name)
        packed[name] = pack({**relation.details, "edits": edits.get(name, {})})
        texts[name] = pack(relation.texts)
        rows.append(relation.row)
        prompts += relation.prompts
        cut += relation.cut
    shapes = [_shape(results, row) for row in rows]
    index = {
        "stride": STRIDE,
        "layers": max(layers for layers, _ in shapes),
        "width": max(width for _, width in shapes),
        "relations": rows,
        "written": sorted(words),
        "active": sorted(active),
    }
    facts = sum(len(row["names"]) for row in rows)
    layers = ({layer: pack(own) for layer, own in part.items()} for part in (words, active))
    unscored = len(names) - len(scored)
    return Embedded(pack(index), packed, texts, *layers, facts, prompts, cut, unscored)


def _shape(results: Results, row: dict[str, Any]) -> tuple[int, int]:
    """Layers of the model and neurons of a layer, as far as the manifest or the neurons tell."""
    paths = results.scores(row["id"]), results.fact_neurons(row["id"], baseline=False)
    manifest = next((m for m in map(read_manifest, paths) if m and "layers" in m), {})
    layer, index = row["highest"]
    return manifest.get("layers", layer + 1), manifest.get("neurons_per_layer", index + 1)


def pack(value: Any) -> str:
    """JSON, gzipped, in base64; the same value gives the same text."""
    return base64.b64encode(gzip.compress(encode(value), 9, mtime=0)).decode()


def unpack(text: str) -> Any:
    """What `pack` was given, as JSON has it."""
    return msgspec.json.decode(gzip.decompress(base64.b64decode(text)))


# --- a relation ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Relation:
    """A relation's row of the index, its details (columns, an entry a fact) and facts' prompts."""

    row: dict[str, Any]
    details: dict[str, list]
    texts: list[list[str]]
    prompts: int
    cut: int


def read_relation(results: Results, name: str) -> Relation:
    """Put together what the stages know of a relation's facts."""
    facts = list(read_fact_scores(results.scores(name), baseline=False))
    neurons = _neurons(results, name, len(facts), results.scores(name))
    heads = _heads(results, name)
    texts = [[text_of(prompt.tokens) for prompt in fact] for fact in facts]
    kept = [[strongest(prompt.of_answer) for prompt in fact] for fact in facts]
    unions = [sorted({number(t) for scores in fact for t in scores}) for fact in kept]
    used = [n for union in unions for n in union] + [n for own in neurons for n in own]
    full = next((prompt.relation for fact in facts for prompt in fact), "")
    row = {
        "id": name,
        "label": (split_name(full) or (name, name))[1],
        "names": [heads.get(i) or (own[0] if own else "") for i, own in enumerate(texts)],
        "answers": [fact[0].answer if fact else "" for fact in facts],
        "neurons": neurons,
        "highest": [max((part(n) for n in used), default=0) for part in (layer_of, index_of)],
        "mapped": results.maps(name).exists(),
    }
    details = {
        "predicted": [[word_of(prompt.predicted) for prompt in fact] for fact in facts],
        "largest": [[short(largest(p.of_answer)) for p in fact] for fact in facts],
        "neurons": [differences(union) for union in unions],
        "scores": [percentages(*pair) for pair in zip(unions, kept, strict=True)],
        **_later(results, name, len(facts)),
    }
    cut = sum(len(p.of_answer) > STRONGEST for fact in facts for p in fact)
    return Relation(row, details, texts, sum(map(len, facts)), cut)


def read_told(results: Results, name: str) -> Relation:
    """A relation of adopted neurons: its facts and prompts, no scores and no guesses."""
    told = read_facts(results, name)
    texts = [fact.prompts for fact in told.facts]
    neurons = _neurons(results, name, len(texts), results.told_facts(name))
    used = [n for own in neurons for n in own]
    row = {
        "id": name,
        "label": told.label,
        "names": [fact.head for fact in told.facts],
        "answers": [fact.answer for fact in told.facts],
        "neurons": neurons,
        "highest": [max(map(part, used), default=0) for part in (layer_of, index_of)],
        "mapped": results.maps(name).exists(),
        "unscored": True,
    }
    return Relation(row, _later(results, name, len(texts)), texts, sum(map(len, texts)), 0)


def _neurons(results: Results, name: str, facts: int, source: Path) -> list[list[int]]:
    """The refined neurons of each fact; none where stage 2 has not run.  source: of the facts."""
    path = results.fact_neurons(name, baseline=False)
    if not path.exists():
        return [[] for _ in range(facts)]
    found = read_fact_neurons(path)
    if len(found) != facts:
        raise ValueError(
            f"{path} has {len(found)} facts, {source} has {facts}: run 2_run_kn.sh again"
        )
    return [[number(neuron) for neuron in fact] for fact in found]


def _heads(results: Results, name: str) -> dict[int, str]:
    """The heads of the facts, which stage 4 knows."""
    path = results.activations(name)
    if not path.exists():
        return {}
    return {record.fact: record.head for record in read_activations(path)}


def _later(results: Results, name: str, facts: int) -> dict[str, list]:
    """Columns of what the stages after 2 know."""
    found = _asked(results, name, facts)
    for columns_of in (baseline_of, doses_of, activations_of, sentences_of, maps_of):
        found |= columns_of(results, name, facts)
    return found


def _asked(results: Results, name: str, facts: int) -> dict[str, list]:
    """Stage 3: P(right answer) as it is, suppressed, amplified, of each prompt; None where it was
    not asked.  `other`: relation, fact and the three means, of the other relation's fact."""
    path = results.changes(name)
    records = read_changes(path) if path.exists() else []
    own, other = [], []
    for record in records[:facts]:
        by_prompt = record.own and zip(*_states(record.own), strict=True)
        own.append(record.own and [list(map(short, row)) for row in by_prompt])
        means = record.other and [short(sum(p) / len(p)) for p in _states(record.other)]
        other.append(record.other and [record.other.relation, record.other.fact, *means])
    missing = [None] * (facts - len(own))
    return {"own": own + missing, "other": other + missing, **nats_of(records, facts)}


def _states(outcome) -> tuple[Sequence[float], ...]:
    edited = outcome.edited[KNOWLEDGE]
    return outcome.original, edited[SUPPRESS], edited[AMPLIFY]


# --- numbers ------------------------------------------------------------------------


def strongest(triplets: Sequence[Triplet]) -> Sequence[Triplet]:
    """The STRONGEST scores of a prompt, of equals the first."""
    if len(triplets) <= STRONGEST:
        return triplets
    return sorted(triplets, key=lambda triplet: -triplet.score)[:STRONGEST]


def largest(triplets: Sequence[Triplet]) -> float:
    return max((triplet.score for triplet in triplets), default=0.0)


def percentages(union: Sequence[int], prompts: Sequence[Sequence[Triplet]]) -> list[int]:
    """Prompt by prompt the score of each neuron of the union, in percent of the prompt's largest;
    0 where it is not there."""
    rows: list[int] = []
    for triplets in prompts:
        top = largest(triplets)
        scores = {number(t): round(100 * t.score / top) for t in triplets if t.score > 0}
        rows += [scores.get(neuron, 0) for neuron in union]
    return rows


def differences(rising: Sequence[int]) -> list[int]:
    """The first number, then how much each is above the one before it."""
    return [*rising[:1], *(b - a for a, b in pairwise(rising))]
