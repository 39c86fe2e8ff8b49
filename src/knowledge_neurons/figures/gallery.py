"""Which figures a results folder gives: outcomes -> named figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from knowledge_neurons.figures import plots, relation_figures
from knowledge_neurons.results.edit_summary import by_lambdas
from knowledge_neurons.results.modify_summary import AMPLIFY, SUPPRESS
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.types import BASELINE, KNOWLEDGE

# Part of the outcomes -> what is drawn of it.
PARTS = {
    "statistics": "layer distribution",
    "modified": "suppress and amplify",
    "curves": "dose-response curves",
    "activations": "activation by kind of sentence",
    "success": "success of edits against the number of neurons",
    "erasures": "erasure before and after",
}


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its file, and the files of the results folder it was drawn from."""

    name: str
    sources: list[str]
    figure: Figure


def draw(found: Outcomes) -> Iterator[Picture]:
    """Everything that can be drawn, one after the other.

    kneurons_distribution, suppress, amplify, distant, edit_success-L1-L2 for each pair of lambdas,
    erasure, dose_response-REL for each relation: Figures 3 to 5, Table 4, section 5.1, Table 5.
    """
    labels = found.labels
    if found.statistics:
        layers = (found.statistics[kind].layers for kind in (KNOWLEDGE, BASELINE))
        figure = plots.layer_distribution(*layers)
        yield Picture("kneurons_distribution", ["kn/statistics.json"], figure)
    if found.modified:
        for name, factor in (("suppress", SUPPRESS), ("amplify", AMPLIFY)):
            figure = relation_figures.changes(found.modified, factor, labels)
            sources = list(found.modified.theirs) or ["modify_activation/summary.json"]
            yield Picture(name, sources, figure)
    if found.activations:
        records = [f"distant/{relation}.jsonl" for relation in found.activations.relations]
        sources = list(found.activations.theirs) or ["distant/summary.json", *records]
        figure = relation_figures.activations(found.activations, labels)
        yield Picture("distant", sources, figure)
    yield from _success(found)
    if found.erasures:
        sources = [f"erase/{run.run}.json" for run in found.erasures]
        yield Picture("erasure", sources, relation_figures.erasures(found.erasures, labels))
    for relation, curve in found.curves.items():
        figure = plots.dose_response(relation_figures.name_of(relation, labels), curve)
        yield Picture(f"dose_response-{relation}", [f"dose_response/{relation}.json"], figure)


def _success(found: Outcomes) -> Iterator[Picture]:
    """The curves of each pair of lambdas, from the first run by name that tried it."""
    drawn = set()
    for run in found.success:
        for pair, curves in by_lambdas(run.summaries).items():
            if pair not in drawn:
                drawn.add(pair)
                name = "edit_success-{:g}-{:g}".format(*pair)
                yield Picture(name, [f"edit/{run.name}.json"], plots.success_curve(curves))


def missing(found: Outcomes) -> dict[str, str]:
    """What is not drawn -> what to run for it."""
    return {what: found.missing[part] for part, what in PARTS.items() if part in found.missing}
