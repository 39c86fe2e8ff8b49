"""The figures of a results folder by name, drawn and written by the stages and by stage 8 alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from knowledge_neurons.figures import by_relation, of_controls, of_maps, of_models, of_ways, plots
from knowledge_neurons.figures import languages as of_languages
from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.results.changes import AMPLIFY, SUPPRESS, Curve
from knowledge_neurons.results.controls import Effects
from knowledge_neurons.results.edits import EditRun, by_lambdas
from knowledge_neurons.results.languages import Sharing
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.localisation import LOCALISATION, Localisation
from knowledge_neurons.results.manifests import sha256_of, write_manifest
from knowledge_neurons.results.maps import MapSummary
from knowledge_neurons.results.models import ModelRun
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.results.scorers import ScorersSummary
from knowledge_neurons.results.single_prompt import OnePromptSummary
from knowledge_neurons.results.stability import STABILITY, Stability
from knowledge_neurons.types import KNOWLEDGE

# Part of the outcomes -> what is drawn of it.
PARTS = {
    "statistics": "layer distribution",
    "modified": "suppress and amplify",
    "curves": "dose-response curves",
    "activations": "activation by kind of sentence",
    "success": "success of edits against the number of neurons",
    "erasures": "erasure before and after",
    "maps": "neuron maps",
}


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its file, and the files of the results folder it was drawn from."""

    name: str
    sources: Sequence[Path]
    figure: Figure


def draw(
    results: Results, found: Outcomes, paper_look: bool = False, runs: Sequence[ModelRun] = ()
) -> Iterator[Picture]:
    """Everything that can be drawn, one after the other.

    paper_look: of Figure 3.  runs: of several models, this one and those beside it.

    kneurons_distribution, suppress, amplify, distant, edit_success-L1-L2 for each pair of lambdas,
    erasure, dose_response-REL for each relation: Figures 3 to 5, Table 4, section 5.1, Table 5;
    suppress_log_odds, amplify_log_odds, dose_response_log_odds-REL where the records have them;
    neuron_map-REL for each relation that has maps; languages, scorers and one_prompt; and
    controls_sharing, _wordings and _thresholds; neurons_by_depth of several models.
    """
    labels = found.labels
    if found.statistics:
        yield distribution(results, found.statistics, paper_look)
    if found.modified:
        theirs = [results.root / name for name in found.modified.theirs]
        for name, factor in (("suppress", SUPPRESS), ("amplify", AMPLIFY)):
            figure = by_relation.changes(found.modified, factor, labels)
            yield Picture(name, theirs or [results.changes_summary], figure)
            if found.modified.log_odds:
                figure = by_relation.changes(found.modified, factor, labels, plots.NATS)
                yield Picture(f"{name}_log_odds", [results.changes_summary], figure)
    if found.activations:
        ours = [results.activations_summary, *map(results.activations, found.activations.relations)]
        theirs = [results.root / name for name in found.activations.theirs]
        figure = by_relation.activations(found.activations, labels)
        yield Picture("distant", theirs or ours, figure)
    drawn: set[str] = set()  # of each pair of lambdas the first run by name that tried it
    for run in found.success:
        pictures = [one for one in success(results, run) if one.name not in drawn]
        drawn |= {one.name for one in pictures}
        yield from pictures
    if found.erasures:
        sources = [results.erasure_summary(run.run) for run in found.erasures]
        yield Picture("erasure", sources, by_relation.erasures(found.erasures, labels))
    for relation, curve in found.curves.items():
        yield from dose_response(results, relation, curve, labels)
    if found.sharing:
        yield languages(results, found.sharing)
    for relation, maps in found.maps.items():
        yield neuron_map(results, relation, maps, labels)
    yield from questioned(results, found.controls, found.localisation, found.stability)
    if found.scorers:
        yield scorers(results, found.scorers)
    if found.one_prompt:
        yield one_prompt(results, found.one_prompt)
    yield from depth(runs)


def languages(results: Results, sharing: Sharing) -> Picture:
    """What languages share."""
    return Picture("languages", [results.sharing], of_languages.sharing(sharing))


def distribution(
    results: Results, statistics: Mapping[str, Statistics], paper_look: bool = False
) -> Picture:
    """Figure 3, in the paper's look or with bars from zero."""
    layers = (one.layers for one in statistics.values())
    figure = plots.layer_distribution(*layers, paper_look=paper_look)
    return Picture("kneurons_distribution", [results.statistics], figure)


def dose_response(
    results: Results, relation: str, curve: Curve, labels: Mapping[str, str]
) -> Iterator[Picture]:
    """The curve of a relation, and in log-odds where it has them.  labels: relation -> its name."""
    name, sources = by_relation.name_of(relation, labels), [results.curve(relation)]
    yield Picture(f"dose_response-{relation}", sources, plots.dose_response(name, curve))
    if nats := curve.get("log_odds"):
        figure = plots.dose_response(name, nats, plots.NATS)
        yield Picture(f"dose_response_log_odds-{relation}", sources, figure)


def neuron_map(
    results: Results, relation: str, found: MapSummary, labels: Mapping[str, str]
) -> Picture:
    """The maps of a relation's facts together.  labels: relation -> its name."""
    figure = of_maps.neuron_map(by_relation.name_of(relation, labels), found)
    return Picture(f"neuron_map-{relation}", [results.map_summary(relation)], figure)


def questioned(
    results: Results,
    effects: Sequence[Effects] = (),
    localisation: Localisation | None = None,
    stability: Stability | None = None,
) -> Iterator[Picture]:
    """Stage 10's answers about neurons, those that are there."""
    if figure := of_controls.sharing(effects):
        yield Picture("controls_sharing", [results.controls_summary], figure)
    if localisation:
        figure = of_controls.wordings(localisation)
        yield Picture("controls_wordings", [results.questioned_summary(LOCALISATION)], figure)
    if stability:
        figure = of_controls.thresholds(stability)
        yield Picture("controls_thresholds", [results.questioned_summary(STABILITY)], figure)


def scorers(results: Results, found: ScorersSummary) -> Picture:
    """What scorers' strongest neurons do, and what scorers cost."""
    return Picture("scorers", [results.scorers_summary], of_ways.scorers(found))


def one_prompt(results: Results, found: OnePromptSummary) -> Picture:
    """What one prompt finds."""
    return Picture("one_prompt", [results.one_prompt_summary], of_ways.one_prompt(found))


def depth(runs: Sequence[ModelRun]) -> Iterator[Picture]:
    """Where several models have their neurons; nothing where fewer than two have statistics."""
    there = {run.name: run for run in runs if run.found.statistics}
    if len(there) > 1:
        layers = {name: run.found.statistics[KNOWLEDGE].layers for name, run in there.items()}
        sources = [run.results.statistics for run in there.values()]
        yield Picture("neurons_by_depth", sources, of_models.depth(layers))


def success(results: Results, run: EditRun) -> Iterator[Picture]:
    """Success against the number of neurons, for each pair of lambdas."""
    for pair, curves in by_lambdas(run.summaries).items():
        name = "edit_success-{:g}-{:g}".format(*pair)
        yield Picture(name, [results.edits_summary(run.name)], plots.success_curve(curves))


def save(results: Results, picture: Picture, arguments: Mapping[str, Any]) -> list[Path]:
    """Write a figure with its manifests; return the files.  arguments: of the stage."""
    started = time.perf_counter()
    paths = plots.save(picture.figure, results.figure(picture.name))
    made_from = zip(results.names(picture.sources), map(sha256_of, picture.sources), strict=True)
    identity = {"sources_sha256": dict(made_from)}
    for path in paths:
        seconds = round(time.perf_counter() - started, 3)
        write_manifest(path, identity, arguments=arguments, wall_seconds=seconds)
    return paths


def missing(found: Outcomes) -> dict[str, str]:
    """What is not drawn -> what to run for it."""
    return {what: found.missing[part] for part, what in PARTS.items() if part in found.missing}
