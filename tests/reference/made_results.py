"""A results folder of invented facts, written by the project's own writers: for the report.

Beside `synthetic`, which writes stages 6 and 7 of it, there are stage 1's scores, and heads,
prompts and answers that a test can choose.  What the records say is drawn from a seed and means
nothing; that they fit together (a neuron of a fact has scores in its prompts, a relation's facts
are the same in every stage) is all that counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from knowledge_neurons.neurons.neuron_statistics import statistics
from knowledge_neurons.results.activations import SENTENCE_KINDS, ActivationRecord, table_row
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.changes import (
    AMPLIFY,
    ASKED,
    SUPPRESS,
    ChangeRecord,
    Outcome,
    average_change,
)
from knowledge_neurons.results.json_files import encode_float32, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.maps import summary_of, write_summary
from knowledge_neurons.results.neurons import write_neurons
from knowledge_neurons.results.scores import encode_fact_scores
from knowledge_neurons.results.triggers import Triggered, Triggers, encode_triggers
from knowledge_neurons.types import KINDS, Neuron, PromptScores, Triplet
from tests.reference import synthetic
from tests.reference.made_maps import made_map
from tests.reference.made_words import made_alone, word, write_waking, write_words

SEED = 42
QUADRATURE = {
    "tolerance": 1e-3,
    "points_tried": [3, 4, 6],
    "layers_failed": [],
    "points_per_layer": 4.5,
    "audited_prompts": 6,
    "over_tolerance": 0,
    "share_over_at_most": 0.393,
    "worst_error": 2e-4,
    "worst_written": 2e-4,
    "coarse_same": 6,
}


@dataclass(frozen=True)
class MadeFact:
    """head, tail; prompts: texts with {} where the head stands and [MASK] where the tail does."""

    head: str
    tail: str
    prompts: Sequence[str]


@dataclass(frozen=True)
class Shape:
    """Sizes of the model, and how many scores a prompt has on average (exponential, 3 at least).

    filler: words of a sentence besides head and tail.
    """

    layers: int = 3
    width: int = 40
    scores: float = 8.0
    model: str = "models/tiny"
    filler: int = 0


@dataclass
class Writer:
    """Writes what each stage would, for relations {id: (label, facts)}."""

    results: Results
    relations: dict[str, tuple[str, Sequence[MadeFact]]]
    shape: Shape = field(default_factory=Shape)
    quadrature: dict[str, Any] = field(default_factory=QUADRATURE.copy)

    def __post_init__(self) -> None:
        self.neurons = {name: self._neurons(name) for name in self.relations}

    @property
    def identity(self) -> dict[str, Any]:
        return synthetic.IDENTITY

    def everything(self) -> None:
        for stage in (*range(1, 8), 9):
            getattr(self, f"stage_{stage}")()
        self.dose_response()

    # --- stages ---

    def stage_1(self) -> None:
        for name, (label, facts) in self.relations.items():
            rng = random.Random(f"{SEED} {name} scores")
            lines = [
                encode_fact_scores(
                    [
                        self._prompt(rng, text, fact, f"{name}({label})", own)
                        for text in fact.prompts
                    ]
                )
                for fact, own in zip(facts, self.neurons[name], strict=True)
            ]
            path = self.results.scores(name)
            identity = {"relation": name, "rule": "riemann-left", "steps": 20, **self.identity}
            self._lines(
                path,
                lines,
                identity,
                facts=len(facts),
                prompts=sum(len(fact.prompts) for fact in facts),
                prompts_cut=0,
                skipped_facts=[],
                layers=self.shape.layers,
                neurons_per_layer=self.shape.width,
                quadrature=self.quadrature,
            )

    def stage_2(self) -> None:
        for name, neurons in self.neurons.items():
            for baseline in (False, True):
                written = write_neurons(self.results, name, baseline, neurons, [])
                for path in written:
                    write_manifest(path, self.identity, wall_seconds=0.5)
        found = asdict(statistics(self.neurons, self.shape.layers, 5, SEED))
        write_json(self.results.statistics, {kind: found for kind in KINDS})

    def stage_3(self) -> None:
        records = {name: list(self._modified(name)) for name in self.relations}
        for name, own in records.items():
            path = self.results.changes(name)
            self._lines(path, [encode_float32(record) for record in own])
        overall = _changes(records)
        summary = {
            "change": overall,
            "counts": {"facts": sum(map(len, records.values()))},
            "relations": {name: _changes({name: own}) for name, own in records.items()},
        }
        write_json(self.results.changes_summary, summary)

    def stage_4(self) -> None:
        everyone = []
        for name, (_, facts) in self.relations.items():
            records = [self._activation(name, i, fact) for i, fact in enumerate(facts)]
            path = self.results.activations(name)
            self._lines(path, [encode_float32(record) for record in records])
            everyone += records
        rows = {kind: table_row(everyone, kind, SEED) for kind in KINDS}
        table = {kind: asdict(row) for kind, row in rows.items() if row}
        write_json(self.results.activations_summary, {"table": table})

    def stage_5(self) -> None:
        for name, (label, facts) in self.relations.items():
            lines, rng = [], random.Random(f"{SEED} {name} sentences")
            for index, (fact, own) in enumerate(zip(facts, self.neurons[name], strict=True)):
                start = f"{fact.head} and {fact.tail}, sentence"
                more = ["".join(f" {word(rng)}" for _ in range(self.shape.filler)) for _ in "1234"]
                texts = [f"{start} {place}{other}." for place, other in enumerate(more)]
                ranked = [Triggered(4.0 - i, t, t, t.split()) for i, t in enumerate(texts)]
                found = Triggers(name, index, fact.head, label, fact.tail, ranked, {})
                lines.append(encode_triggers(found, own, 2))
            self._lines(self.results.triggers(name), lines)

    def stage_6(self) -> None:
        self._synthetic("edits", 3)

    def stage_7(self) -> None:
        self._synthetic("erasures", 2)

    def stage_9(self) -> None:
        for name, (_, facts) in self.relations.items():
            rng = random.Random(f"{SEED} {name} maps")
            records = [
                made_map(rng, name, place, fact.tail, own, self.shape.width)
                for place, (fact, own) in enumerate(zip(facts, self.neurons[name], strict=True))
            ]
            path = self.results.maps(name)
            self._lines(path, [encode_float32(record) for record in records])
            write_summary(self.results.map_summary(name), summary_of(records))
            alone = made_alone(name, self.neurons[name])
            self._lines(self.results.neurons_alone(name), [encode_float32(one) for one in alone])
        write_words(self.results, self.neurons.values())
        write_waking(self.results, self.neurons, max(8, self.shape.filler))

    def dose_response(self) -> None:
        self._synthetic("curves", 1)

    def _synthetic(self, part: str, count: int) -> None:
        """These stages' records need not fit the others'; of the first relations."""
        names = {name: label for name, (label, _) in list(self.relations.items())[:count]}
        synthetic.write_of(self.results.root, names, [part])

    # --- records ---

    def _lines(
        self, path: Path, lines: Sequence[bytes], identity: dict | None = None, **facts: Any
    ) -> None:
        write_atomic(path, b"".join(line + b"\n" for line in lines))
        arguments = {"bert_model": self.shape.model, "data_path": "data/made.json"}
        told = {"arguments": arguments, "device": "cpu", "wall_seconds": 1.0, **facts}
        write_manifest(path, identity or self.identity, **told)

    def _neurons(self, name: str) -> list[list[Neuron]]:
        """Up to six of a fact, most in the top layer, some of them shared with many facts."""
        rng, shape = random.Random(f"{SEED} {name} neurons"), self.shape
        common = [Neuron(shape.layers - 1, rng.randrange(shape.width)) for _ in range(20)]
        sets = []
        for _ in self.relations[name][1]:
            own = {rng.choice(common) for _ in range(rng.randrange(1, 3))}
            for _ in range(rng.randrange(1, 5)):
                layer = shape.layers - 1 - min(int(rng.expovariate(0.7)), shape.layers - 1)
                own.add(Neuron(layer, rng.randrange(shape.width)))
            sets.append(sorted(own))
        return sets

    def _prompt(
        self,
        rng: random.Random,
        text: str,
        fact: MadeFact,
        relation: str,
        own: Sequence[Neuron],
    ) -> PromptScores:
        """The fact's neurons with high scores, others of a pool of its own with low ones."""
        shape = self.shape
        count = max(3, round(rng.expovariate(1 / shape.scores)))
        pool = random.Random(f"{fact.head} {relation}")
        others = [
            Neuron(pool.randrange(shape.layers), pool.randrange(shape.width)) for _ in range(count)
        ]
        scores = {neuron: 0.1 + 0.3 * rng.random() ** 3 for neuron in others}
        scores |= {neuron: rng.uniform(0.3, 1) for neuron in own}
        largest = rng.uniform(0.01, 0.4)
        triplets = [Triplet(*neuron, largest * scores[neuron]) for neuron in sorted(scores)]
        words = text.replace("{}", fact.head).split()
        tokens = ["[CLS]", *words, "[SEP]"]
        return PromptScores(tokens, fact.tail, fact.tail, relation, of_answer=triplets)

    def _modified(self, name: str) -> Iterator[ChangeRecord]:
        rng = random.Random(f"{SEED} {name} modified")
        others = [other for other in self.relations if other != name]
        for index, fact in enumerate(self.relations[name][1]):
            own = _outcome(rng, name, index, len(fact.prompts), 0.6)
            other = _outcome(rng, rng.choice(others), 0, 3, 0.98) if others else None
            counts = {kind: len(self.neurons[name][index]) for kind in KINDS}
            yield ChangeRecord(name, index, fact.tail, counts, own, other)

    def _activation(self, name: str, index: int, fact: MadeFact) -> ActivationRecord:
        rng = random.Random(f"{SEED} {name} {index} activation")
        count = len(self.neurons[name][index])
        means = {
            k: {s: [rng.random() for _ in range(count)] for s in SENTENCE_KINDS} for k in KINDS
        }
        sentences, neurons = dict.fromkeys(SENTENCE_KINDS, 3), dict.fromkeys(KINDS, count)
        return ActivationRecord(
            name, index, fact.head, fact.tail, sentences, 0, {}, 0, neurons, means
        )


def _changes(records: dict[str, list[ChangeRecord]]) -> dict[str, Any]:
    return {
        kind: {
            asked: {
                f"{factor:g}": asdict(change)
                for factor in (SUPPRESS, AMPLIFY)
                if (change := average_change(records, asked, kind, factor, SEED))
            }
            for asked in ASKED
        }
        for kind in KINDS
    }


def _outcome(rng: random.Random, relation: str, fact: int, prompts: int, left: float) -> Outcome:
    """left: the share of P that suppressing leaves."""
    original = [rng.uniform(0.01, 0.8) for _ in range(prompts)]
    by_factor = {
        SUPPRESS: [p * left * rng.uniform(0.9, 1.1) for p in original],
        AMPLIFY: [p * rng.uniform(1, 1.2) for p in original],
    }
    return Outcome(relation, fact, original, {kind: by_factor for kind in KINDS})


def invented_words(count: int, seed: int = SEED) -> list[str]:
    """Words of no language, each once."""
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    words: dict[str, None] = {}
    while len(words) < count:
        word = "".join(rng.choice(syllables, rng.integers(2, 5))).capitalize()
        words[word] = None
    return list(words)
