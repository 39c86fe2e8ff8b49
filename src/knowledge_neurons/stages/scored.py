"""What stage 10 makes of the scores that stage 1 has stored, which are read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from knowledge_neurons.neurons import agreement
from knowledge_neurons.neurons.agreement import Cell, Coarse
from knowledge_neurons.neurons.neuron_statistics import is_held_out
from knowledge_neurons.neurons.refine import KEEP, Thresholds, count_coarse, refine_relation
from knowledge_neurons.results import origin
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.results.neurons import check_of_scores, read_fact_neurons
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.results.stability import Against, overlap_of
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.stages.inputs import Relation
from knowledge_neurons.types import KNOWLEDGE, Neuron, Triplet

COARSE = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # t, as far as scores are stored
SHARED = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # p
SEEDS = 5  # pairs of halves of a fact's prompts
# Of scores: what may differ between two that are compared.
MAY_DIFFER = ("rule", "steps", "tolerance", "target", "scorer", "smoothing", "seed", "dtype")


@dataclass(frozen=True)
class Scored:
    """Of one relation, by fact.

    asked: whether it has prompts.  coarse: the coarse neurons of its prompts.  held_out: every so
    manieth prompt; rest: the neurons that the others find, as stage 2 refines them, None where
    stage 2 itself held them out.  cells: neurons at each pair of thresholds.  halves: for each seed
    the overlap of what two halves of its prompts find.
    """

    asked: list[bool]
    coarse: list[Coarse]
    held_out: int
    rest: list[list[Neuron]] | None
    cells: dict[Cell, list[list[Neuron]]]
    halves: list[list[float | None]]


def read_scored(
    results: Results, relations: Sequence[Relation], held_out: int, seed: int
) -> dict[str, Scored]:
    """Relation -> what its scores give; those whose neurons were published have none.

    Raises ValueError for scores that are missing, of other facts or neurons than these, or stored
    from different shares of the largest.
    """
    found = {}
    with progress(len(relations), "reading scores", "relation") as bar:
        for relation in relations:
            path = results.fact_neurons(relation.name, baseline=False)
            manifest = read_manifest(path) or {}
            if "adopted" not in manifest.get("identity", {}):
                found[relation.name] = _scored(results, relation, manifest, held_out, seed)
            bar.update()
    if len({tuple(one.cells) for one in found.values()}) > 1:
        raise ValueError(
            f"the scores in {results.root} were stored with different --keep, so that relations "
            "cannot be refined at the same thresholds: ask them apart with --relations, or run "
            "stage 1 again for one of them"
        )
    return found


def _scored(
    results: Results, relation: Relation, manifest: Mapping[str, Any], held_out: int, seed: int
) -> Scored:
    name, identity = relation.name, manifest.get("identity", {})
    facts = list(_triplets(results, relation, identity.get("answer_token", 0)))
    stage_2 = Thresholds(
        **{one.name: identity[one.name] for one in fields(Thresholds) if one.name in identity}
    )
    p = manifest.get("shared_used", stage_2.shared)
    every = identity.get("held_out")
    rest = None if every else _rest(facts, held_out, stage_2)
    keep = identity.get("scores", {}).get("keep", KEEP)
    cells = [(t, p) for t in COARSE if t >= keep for p in SHARED]
    return Scored(
        asked=[bool(prompts) for prompts in facts],
        coarse=[agreement.coarse_of(prompts, stage_2.coarse) for prompts in facts],
        held_out=every or held_out,
        rest=rest,
        cells=agreement.refined_at(facts, cells, stage_2.min_prompts),
        halves=[
            agreement.halves(facts, stage_2.coarse, p, seed + more, name) for more in range(SEEDS)
        ],
    )


def _triplets(
    results: Results, relation: Relation, answer_token: int
) -> Iterable[list[list[Triplet]]]:
    """Of each fact the triplets of its prompts."""
    path = results.scores(relation.name)
    if not path.exists():
        raise ValueError(
            f"{path}: no such file; stage 10 reads the scores that the neurons were refined from: "
            f"run 1_run_mlm.sh {relation.name} again"
        )
    check_of_scores(results, relation.name)
    facts = read_fact_scores(path, baseline=False, answer_token=answer_token)
    found = [[prompt.of_answer for prompt in prompts] for prompts in facts]
    if len(found) != len(relation.facts):
        raise ValueError(
            f"{path} has {len(found)} facts, the neurons are of {len(relation.facts)}: run stages "
            "1 and 2 again"
        )
    return found


def _rest(
    facts: Sequence[Sequence[Sequence[Triplet]]], held_out: int, thresholds: Thresholds
) -> list[list[Neuron]]:
    counts = [
        count_coarse(
            (own for place, own in enumerate(prompts) if not is_held_out(place, held_out)),
            thresholds.coarse,
        )
        for prompts in facts
    ]
    return refine_relation(counts, thresholds).facts


# --- other scores ----------------------------------------------------------------------------


def against(folder: Path, results: Results, relations: Sequence[Relation], seed: int) -> Against:
    """The neurons of another folder's scores of the same facts, beside these.

    Raises ValueError where it lacks a relation, or has another model's or other prompts' scores.
    """
    theirs = Results(folder, results.prefix)
    sets, own, differs = {}, {}, {}
    for relation in relations:
        there, here = (one.fact_neurons(relation.name, baseline=False) for one in (theirs, results))
        if not there.exists():
            raise ValueError(f"{there}: no such file; run stages 1 and 2 with {folder} first")
        identities = {str(one): origin.scores_of(one) for one in (here, there)}
        if difference := origin.first_difference(identities, origin.COMMON):
            raise ValueError(f"--against {folder}: the scores {difference}")
        ours, other = identities.values()
        differs |= {
            field: str(other.get(field))
            for field in MAY_DIFFER
            if other.get(field) != ours.get(field)
        }
        sets[relation.name] = read_fact_neurons(there)
        own[relation.name] = relation.neurons[KNOWLEDGE]
        if len(sets[relation.name]) != len(own[relation.name]):
            raise ValueError(f"{there} has {len(sets[relation.name])} facts, expected {len(own)}")
    every = [neurons for facts in sets.values() for neurons in facts]
    mean = sum(map(len, every)) / len(every) if every else 0.0
    return Against(str(folder), differs, len(every), mean, overlap_of(sets, own, seed))
