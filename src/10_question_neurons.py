"""Stage 10, neurons: what critics ask of a fact's -> results/controls/.

Usage: bash 10_controls.sh [--ask whose,localisation,stability]      (see --help for every flag)

- whose: are they the fact's, its relation's, or of the prompts that found them?  Their effect on
  the fact's own prompts, on another fact of the relation, on other relations', beside as many
  random neurons of the same layers; then of those alone that at most s other facts have; and of
  those that the prompts not held out find, on the prompts held out.
- localisation: do a fact's prompts name the same neurons, or does each wording name its own (Chen
  et al. 2025)?
- stability: what becomes of neurons and effects as t and p move, with half of the prompts, and with
  other scores of the same facts (--against).

All is made from the scores that stage 1 has stored: nothing is attributed anew.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import controls, modify_activation, stability
from knowledge_neurons.figures import gallery
from knowledge_neurons.neurons import agreement
from knowledge_neurons.results.changes import SUPPRESS
from knowledge_neurons.results.controls import (
    REST,
    ControlRecord,
    effects_of,
    read_controls,
    write_effects,
)
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.localisation import (
    LOCALISATION,
    localisation_of,
    write_localisation,
)
from knowledge_neurons.results.manifests import is_done, write_manifest
from knowledge_neurons.results.stability import (
    STABILITY,
    Stability,
    StabilityRecord,
    cells_of,
    mean_halves,
    read_stability_records,
    write_stability,
)
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import questioning, tables_of_controls
from knowledge_neurons.stages.asked import askable, asking, identity_of
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.stages.questioning import OF_NEURONS, WHOSE, Settings
from knowledge_neurons.stages.scored import Scored, against, read_scored
from knowledge_neurons.types import KNOWLEDGE

# --- whose are they --------------------------------------------------------------------------


def ask_whose(
    inputs: Inputs, relations: list[Relation], scored: Mapping[str, Scored]
) -> list[Path]:
    """The table of whose neurons change what."""
    settings = inputs.settings
    known = askable(inputs)
    paths = [settings.results.controls(one.name) for one in relations]
    for relation, path in zip(relations, paths, strict=True):
        compute_whose(inputs, relation, scored.get(relation.name), known, path)
    found: dict[str, list[ControlRecord]] = {
        one.name: read_controls(path) for one, path in zip(relations, paths, strict=True)
    }
    effects = effects_of(found, settings.seed)
    summary = settings.results.controls_summary
    write_effects(summary, effects)
    write_manifest(summary, identity_of_all(inputs, relations), arguments=settings.given)
    tables_of_controls.show_effects(effects)
    return [*paths, summary, *draw(settings, effects=effects)]


def compute_whose(
    inputs: Inputs,
    relation: Relation,
    scored: Scored | None,
    known: dict[str, list[int]],
    path: Path,
) -> None:
    """Write the control records of a relation's facts, those that are not there yet."""
    settings, facts, name = inputs.settings, relation.facts, relation.name
    held_out = scored.held_out if scored else None
    identity = identity_of(inputs, relation) | {"held_out": held_out}
    identity |= {"shared_by": settings.shared_by}
    if is_done(path, identity):  # nothing is tokenised for it
        return
    own = inputs.encode(facts)
    others = modify_activation.draw_others(known, facts, settings.seed)
    same = controls.draw_same(facts, own, settings.seed)
    own = relation.known(own)
    model, found = inputs.pretrained.model, {KNOWLEDGE: relation.neurons[KNOWLEDGE]}
    if scored and scored.rest is not None:
        found[REST] = scored.rest
    sets = controls.sets_of(model, found, same, settings.shared_by, settings.seed, name)
    beside = [asking(inputs, None if i is None else (name, i)) for i in same]
    elsewhere = [asking(inputs, other) for other in others]

    def control(some: range) -> list[ControlRecord]:
        group = slice(some.start, some.stop)
        neurons = {kind: of_facts[group] for kind, of_facts in sets.items()}
        their = facts[group], own[group], beside[group], elsewhere[group]
        return controls.control(model, *their, neurons, held_out)

    group = modify_activation.GROUP
    job = Job(path, identity, f"{name}, whose", len(facts), group, control, encode_float32)
    grow(job, settings.given, inputs.under, executor=inputs.executor)


# --- one wording and another -----------------------------------------------------------------


def ask_localisation(
    inputs: Inputs, relations: list[Relation], scored: Mapping[str, Scored]
) -> list[Path]:
    """How far a fact's prompts name the same neurons."""
    settings, path = inputs.settings, inputs.settings.results.questioned_summary(LOCALISATION)
    answers = {one.name: [fact.answer for fact in one.facts] for one in relations}
    coarse = {name: one.coarse for name, one in scored.items()}
    refined = {one.name: one.neurons[KNOWLEDGE] for one in relations if one.name in scored}
    overlaps = agreement.overlaps(coarse, answers, settings.seed)
    found = localisation_of(overlaps, refined, settings.seed)
    write_localisation(path, found)
    write_manifest(path, identity_of_all(inputs, relations), arguments=settings.given)
    tables_of_controls.show_localisation(found)
    return [path, *draw(settings, localisation=found)]


# --- thresholds ------------------------------------------------------------------------------


def ask_stability(
    inputs: Inputs, relations: list[Relation], scored: Mapping[str, Scored]
) -> list[Path]:
    """Neurons and effects at other thresholds, of half of the prompts, of other scores."""
    settings = inputs.settings
    results, seed = settings.results, settings.seed
    there = [one for one in relations if one.name in scored]
    others = [against(Path(folder), results, there, seed) for folder in settings.against]
    cells = list(next(iter(scored.values())).cells)
    records: dict[str, list[StabilityRecord]] = {}
    for relation in there:
        path = results.questioned(f"{STABILITY}-{relation.name}")
        compute_stability(inputs, relation, scored[relation.name], path)
        records[relation.name] = read_stability_records(path, len(cells))
    found = Stability(
        cells_of(
            {name: one.cells for name, one in scored.items()},
            {one.name: one.neurons[KNOWLEDGE] for one in there},
            {name: one.asked for name, one in scored.items()},
            records,
            seed,
        ),
        sum(bool(one.suppressed) for own in records.values() for one in own),
        mean_halves(
            [draws for one in scored.values() for draws in zip(*one.halves, strict=True)], seed
        ),
        others,
    )
    write_stability(results.questioned_summary(STABILITY), found)
    identity = identity_of_all(inputs, relations) | {"against": settings.against}
    write_manifest(results.questioned_summary(STABILITY), identity, arguments=settings.given)
    tables_of_controls.show_stability(found)
    records_of = [results.questioned(f"{STABILITY}-{name}") for name in scored]
    return [*records_of, results.questioned_summary(STABILITY), *draw(settings, stability=found)]


def compute_stability(inputs: Inputs, relation: Relation, scored: Scored, path: Path) -> None:
    """Write what the neurons of every pair of thresholds do, of the facts that are sampled."""
    settings, model, facts = inputs.settings, inputs.pretrained.model, relation.facts
    identity = identity_of(inputs, relation) | {"sample": settings.sample}
    identity |= {"cells": [list(cell) for cell in scored.cells], "factor": SUPPRESS}
    if is_done(path, identity):
        return
    own = relation.known(inputs.encode(facts))
    left = settings.sample
    for place, prompts in enumerate(own):  # the first that can be asked
        own[place] = prompts if left else []
        left -= bool(own[place])
    sets = [list(one) for one in zip(*scored.cells.values(), strict=True)]

    def work(some: range) -> list[StabilityRecord]:
        group = slice(some.start, some.stop)
        return stability.suppressed(model, facts[group], own[group], sets[group])

    group, name = modify_activation.GROUP, f"{relation.name}, stability"
    job = Job(path, identity, name, len(facts), group, work, encode_float32)
    grow(job, settings.given, inputs.under, executor=inputs.executor)


# --- all of them -----------------------------------------------------------------------------


def identity_of_all(inputs: Inputs, relations: list[Relation]) -> dict[str, Any]:
    sums = {relation.name: relation.neurons_sha256 for relation in relations}
    return inputs.identity | {"seed": inputs.settings.seed, "neurons_sha256": sums}


def draw(settings: Settings, **answers: Any) -> list[Path]:
    """The figures of some answers."""
    pictures = gallery.questioned(settings.results, **answers)
    return [
        path for one in pictures for path in gallery.save(settings.results, one, settings.given)
    ]


ASK = {WHOSE: ask_whose, LOCALISATION: ask_localisation, STABILITY: ask_stability}


def main() -> None:
    settings = questioning.parse(__doc__.splitlines()[0])
    questions = [name for name in OF_NEURONS if name in settings.ask or not settings.ask]
    if not questions:
        return
    inputs = open_inputs(settings)
    relations = read_relations(inputs, settings.relations, (KNOWLEDGE,))
    scored = read_scored(settings.results, relations, settings.held_out, settings.seed)
    written: list[Path] = []
    for question in questions:
        if question != WHOSE and not scored:
            print(f"{question} is left out: these neurons were published without their scores")
            continue
        written += ASK[question](inputs, relations, scored)
    inputs.executor.close()  # the other script has workers of its own
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
