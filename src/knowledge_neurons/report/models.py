"""Runs of several models beside each other: the numbers of the report's own tables, a column each.

A run has facts of its own, those that its model can be asked, so that a difference of two columns
may be one of facts; which relations all have is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from knowledge_neurons.report.ran import Run, run_of
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.adopted import taken
from knowledge_neurons.results.changes import SUPPRESS
from knowledge_neurons.results.comparison import NAMES, Comparison, comparisons
from knowledge_neurons.results.controls import EFFECT_COLUMNS, HELD_OUT, SAME
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import KNOWLEDGE

# The tables whose numbers stand beside each other, and what heads them.  Activations do not: their
# size is the model's.
TABLES = {
    "counts": "Neurons",
    "suppressed": "P(answer), neurons suppressed",
    "amplified": "P(answer), neurons amplified",
    "controls": "P(answer), neurons suppressed, asked",
    "edits": "Edits",
    "erasures": "Perplexity of erased relations",
}


@dataclass(frozen=True)
class Model:
    """A run: what it is called, its folder as it was named, and what lies there."""

    name: str
    folder: str
    results: Results
    found: Outcomes
    run: Run | None

    @property
    def relations(self) -> set[str]:
        """Those whose facts have neurons."""
        return set(self.results.refined_relations(baseline=False))

    @property
    def size(self) -> str:
        """Layers and neurons of a layer, as far as stage 1 tells them."""
        manifests = (self.found.manifests[name] for name in sorted(self.found.manifests))
        told = (m for m in manifests if {"layers", "neurons_per_layer"} <= m.keys())
        return next((f"{m['layers']} x {m['neurons_per_layer']}" for m in told), "-")


def read_models(results: Results, found: Outcomes, folders: Sequence[str]) -> list[Model]:
    """This run and those of other folders; none where no other is named.

    Raises ValueError for a folder that is not there, is this run's or named twice, or has no
    results.
    """
    if not folders:
        return []
    models = [_model(results, found, str(results.root))]
    for folder in folders:
        path = Path(folder)
        if not path.is_dir():
            raise ValueError(
                f"--beside {folder}: no such folder; expected one with the results of another run"
            )
        if any(path.resolve() == one.results.root.resolve() for one in models):
            raise ValueError(f"--beside {folder}: this run is there already; name other ones")
        other = Results(path)
        try:
            models.append(_model(other, outcomes.read(other), folder))
        except ValueError as error:
            raise ValueError(f"--beside {folder}: {error}") from error
    named = Counter(one.name for one in models)
    return [
        replace(one, name=f"{one.name}, {one.results.root.resolve().name}")
        if named[one.name] > 1
        else one
        for one in models
    ]


def _model(results: Results, found: Outcomes, folder: str) -> Model:
    run, others = run_of(found.manifests), taken(found.manifests)
    name = run.model if run else others.models if others else results.root.resolve().name
    return Model(name, folder, results, found, run)


def in_common(models: Sequence[Model]) -> list[str]:
    """The relations of all runs, by number."""
    return (
        sorted(set.intersection(*(one.relations for one in models)), key=by_number)
        if models
        else []
    )


def depths_of(models: Sequence[Model]) -> dict[str, tuple[Path, Sequence[float]]]:
    """Name of a run -> its file of statistics, and the share of its neurons in each layer."""
    return {
        one.name: (one.results.statistics, one.found.statistics[KNOWLEDGE].layers)
        for one in models
        if one.found.statistics and KNOWLEDGE in one.found.statistics
    }


# --- the table -------------------------------------------------------------------------------


def rows_of(models: Sequence[Model]) -> dict[str, dict[str, list[str]]]:
    """Title of a table -> row -> a cell for each run, "-" where it has no such number."""
    if not models:
        return {}
    told_of = [_cells(one) for one in models]
    found = {"Run": _sizes(models)}
    for table, title in TABLES.items():
        names = dict.fromkeys(name for one in told_of for name in one[table])
        if names:
            found[title] = {name: [one[table].get(name, "-") for one in told_of] for name in names}
    return found


def _sizes(models: Sequence[Model]) -> dict[str, list[str]]:
    runs = [one.run for one in models]
    counts = {name: [getattr(run, name, None) for run in runs] for name in ("facts", "prompts")}
    return {
        "layers x neurons": [one.size for one in models],
        "relations": [f"{len(one.relations):,}" for one in models],
        **{
            name: ["-" if one is None else f"{one:,}" for one in some]
            for name, some in counts.items()
        },
    }


def _cells(model: Model) -> dict[str, dict[str, str]]:
    """Table -> row -> the number as it is told."""
    tables = {
        name: {_named(row): _told(row) for row in rows}
        for name, rows in comparisons(model.found).items()
    }
    return tables | {"controls": _controls(model.found)}


def _named(row: Comparison) -> str:
    unit = f", {row.unit}" if row.unit else ""
    return f"{row.quantity}, {row.neurons}{unit}"


def _told(row: Comparison) -> str:
    ours = None if row.ours is None else Estimate(row.ours, row.interval)
    return told(ours, row.digits, "+" if row.signed else "")


def _controls(found: Outcomes) -> Mapping[str, str]:
    """Of the same relation, and of prompts held out; own and other ones' stand above."""
    return {
        f"{EFFECT_COLUMNS[column]}, {NAMES[KNOWLEDGE]}, %": told(
            one.changes[column].times(100), 1, "+"
        )
        for one in found.controls
        if one.kind == KNOWLEDGE and one.factor == SUPPRESS
        for column in (SAME, HELD_OUT)
        if column in one.changes
    }
