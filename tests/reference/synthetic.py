"""A results folder of made-up numbers, written by the stages' own writers; no model is needed.

`write` stands for stages 2 to 7 on any number of relations, in a second.
"""

import math
import random
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from knowledge_neurons.neurons.neuron_statistics import statistics
from knowledge_neurons.results import growing, maps
from knowledge_neurons.results.activations import SENTENCE_KINDS, ActivationRecord, summary_of
from knowledge_neurons.results.change_files import write_curve, write_summary
from knowledge_neurons.results.changes import ChangeRecord, Outcome, curve_of, modified_of
from knowledge_neurons.results.edits import (
    EDITED,
    EditRecord,
    EditRun,
    read_edits,
    summarise_edits,
    write_edit_run,
)
from knowledge_neurons.results.erasures import ErasureRecord, both_edits
from knowledge_neurons.results.json_files import encode, encode_float32, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.log_odds import LogOdds
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.triggers import Triggered, Triggers, encode_triggers
from knowledge_neurons.types import KINDS, Neuron
from tests.reference.made_maps import made_map

PARTS = ("statistics", "modified", "curves", "activations", "triggers", "edits", "erasures", "maps")
FACTS, PROMPTS, LAYERS = 8, 3, 12
LABELS = ("colour", "patron of the guild", "depth of the deepest well that was ever dug there")
SCALES = (0.0, 1.0, 2.0)
IDENTITY = {"model_sha256": "ab" * 32, "data_sha256": "cd" * 32, "seed": 1}
MEANS = {"neurons": (1.5, 0.4, 0.3), "baseline": (4.0, 3.9, 4.1)}  # by kind of sentence
CHANGED = {"neurons": {0.0: 0.6, 1.0: 1.0, 2.0: 1.3}, "baseline": {0.0: 0.97, 1.0: 1.0, 2.0: 0.98}}


def relations_of(count: int) -> dict[str, str]:
    """Names of one to four digits, each with a label."""
    return {f"P{5 + 37 * i + i**2}": LABELS[i % len(LABELS)] for i in range(count)}


def write(root: Path, count: int, parts: Collection[str] = PARTS) -> Results:
    """Write what the stages of these parts write about `count` relations."""
    return write_of(root, relations_of(count), parts)


def write_of(root: Path, names: dict[str, str], parts: Collection[str]) -> Results:
    """The same of relations {id: label}."""
    results, rng = Results(root), np.random.default_rng(len(names))
    writers = {
        "statistics": _statistics,
        "modified": _modified,
        "curves": _curves,
        "activations": _activations,
        "triggers": _triggers,
        "edits": _edits,
        "erasures": _erasures,
        "maps": _maps,
    }
    for part in parts:
        writers[part](results, names, rng)
    return results


def _lines(path: Path, lines: list[bytes]) -> None:
    with growing.GrowingLines(path, IDENTITY) as file:
        file.append(lines)
        file.finish(wall_seconds=2.0, arguments={"bert_model": "made-up"})


def _statistics(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    kinds = {}
    for kind in KINDS:
        facts = {
            name: [[Neuron(int(rng.integers(LAYERS)), int(rng.integers(9))) for _ in range(4)]
                   for _ in range(FACTS)]
            for name in names
        }  # fmt: skip
        kinds[kind] = statistics(facts, LAYERS, pairs_per_fact=2, seed=1)
    write_json(results.statistics, kinds)


def _outcome(relation: str, fact: int, strength: float, rng: np.random.Generator) -> Outcome:
    """strength: 1 changes a probability as CHANGED says, 0 not at all."""
    original = rng.uniform(0.4, 0.6, PROMPTS)
    edited = {
        kind: {
            factor: (original * (1 + strength * (change - 1) * rng.uniform(0.8, 1.2))).tolist()
            for factor, change in by_factor.items()
        }
        for kind, by_factor in CHANGED.items()
    }
    odds = LogOdds(
        _log_odds(original),
        {k: {x: _log_odds(p) for x, p in own.items()} for k, own in edited.items()},
    )
    return Outcome(relation, fact, original.tolist(), edited, odds)


def _log_odds(p: ArrayLike) -> list[float]:
    return np.log(p / np.subtract(1, p)).tolist()


def _records(names: dict[str, str], rng: np.random.Generator) -> dict[str, list[ChangeRecord]]:
    """The records of stage 3; a single relation has no other to ask."""
    counts = {kind: 4 for kind in KINDS}
    return {
        name: [
            ChangeRecord(
                *(name, fact, "x", counts, _outcome(name, fact, 1.0, rng)),
                _outcome("P0", 0, 0.05, rng) if len(names) > 1 else None,
            )
            for fact in range(FACTS)
        ]
        for name in names
    }


def _modified(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    records = _records(names, rng)
    for name, own in records.items():
        _lines(results.changes(name), [encode_float32(record) for record in own])
    write_summary(results.changes_summary, modified_of(records, 1))
    write_manifest(results.changes_summary, IDENTITY)


def _curves(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    """A dose-response curve of the first relation."""
    name, own = next(iter(_records(names, rng).items()))
    write_curve(results.curve(name), curve_of(name, own, SCALES, 1))
    write_manifest(results.curve(name), IDENTITY)


def _activations(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    found = {}
    for name in names:
        found[name] = [
            ActivationRecord(
                *(name, fact, "head", "tail", dict.fromkeys(SENTENCE_KINDS, 5), 0, {}, 0),
                neurons=dict.fromkeys(KINDS, 2),
                means={
                    kind: {
                        sentences: rng.normal(mean, 0.2, 2).tolist()
                        for sentences, mean in zip(SENTENCE_KINDS, means, strict=True)
                    }
                    for kind, means in MEANS.items()
                },
            )
            for fact in range(FACTS)
        ]
        path = results.activations(name)
        _lines(path, [encode_float32(record) for record in found[name]])
    path = results.activations_summary
    write_json(path, summary_of(found, 1))
    write_manifest(path, IDENTITY)


def _triggers(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    for name, label in names.items():
        texts = ("one <b>", "[MASK] <b>", ["[MASK]", "<b>"])
        ranked = [Triggered(activation, *texts) for activation in (3.0, 1.0)]
        own = Triggers(name, 0, "head", label, "tail", ranked, {})
        path = results.triggers(name)
        _lines(path, [encode_triggers(own, [Neuron(1, 2)], 1)])


def _edit(
    name: str, fact: int, kind: str, top_k: int | None, rng: np.random.Generator
) -> EditRecord:
    succeeds = kind == EDITED[0] and rng.random() < 0.2 * (top_k or 2)
    prompts = [
        {
            "p_old": [0.8, 0.1],
            "p_new": [0.1, 0.5],
            "rank_old": [1, 2],
            "rank_new": [9, 1 if succeeds else 2],
            "predicted": "x",
        }
    ] * 2
    watched = [{"fact": [name, 0], "prompts": [0, 1], "log_p": [[-0.5, -0.4], [-0.6, -0.5]]}]
    neurons = [Neuron(1, index) for index in range(top_k or 2)]
    return EditRecord(
        *(name, fact, 0, "a", "b", kind, 1.0, 8.0, top_k, neurons, 3.0, prompts, watched, watched)
    )


def _edits(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    """A run of the refined neurons and one of the strongest one, two, three."""
    chosen = {"edits": 3, "facts": 3, "drawn": 5, "answered_wrong": 1, "without_neurons": 1}
    for run, counts in (("edit-1-8", [None]), ("edit-1-8-top_k", [1, 2, 3])):
        path = results.edits(run)
        _lines(
            path,
            [
                encode(_edit(name, fact, kind, top_k, rng))
                for name in names
                for fact in range(3)
                for top_k in counts
                for kind in EDITED
            ],
        )
        summaries = summarise_edits(read_edits(path), 1)
        write_edit_run(results, EditRun(run, "released", dict.fromkeys(names, chosen), summaries))
        write_manifest(results.edits_summary(run), IDENTITY)


def _erasures(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    """Every relation is erased; its own prompts get harder, those of two others hardly."""
    for erased in names:
        records = []
        for name in sorted({erased, *list(names)[:2]}):
            for fact in range(FACTS):
                before = rng.uniform(-0.4, -0.2, PROMPTS)
                harder = {"erased": 0.7 if name == erased else 0.05, "random": 0.02}
                log_p = {"before": before.tolist()}
                ranks = {"before": [1] * PROMPTS}
                for edit, by in harder.items():
                    log_p[edit] = (before - by * rng.uniform(0.5, 1.5, PROMPTS)).tolist()
                    ranks[edit] = [1 + (p < math.log(0.35)) for p in log_p[edit]]
                records.append(ErasureRecord(name, fact, list(range(PROMPTS)), log_p, ranks))
        path = results.erased(erased)
        _lines(path, [encode(record) for record in records])
        write_json(results.erasure_summary(erased), both_edits(records, erased, 1))
        write_manifest(results.erasure_summary(erased), IDENTITY)


def _maps(results: Results, names: dict[str, str], rng: np.random.Generator) -> None:
    """Of the first relation."""
    name, drawn = next(iter(names)), random.Random(1)
    own = [Neuron(LAYERS - 1, 3), Neuron(2, 1)]
    records = [made_map(drawn, name, fact, "x", own, 9) for fact in range(FACTS)]
    _lines(results.maps(name), [encode_float32(record) for record in records])
    maps.write_summary(results.map_summary(name), maps.summary_of(records))
    write_manifest(results.map_summary(name), IDENTITY)
