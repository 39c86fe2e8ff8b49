"""Runs of several models beside each other: one table, a column for each run.

Its numbers are those of the tables of each run's own report, joined by what they are called:
nothing is measured or averaged anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from knowledge_neurons.results import outcomes
from knowledge_neurons.results.adopted import taken
from knowledge_neurons.results.changes import OWN, SUPPRESS
from knowledge_neurons.results.comparison import (
    CAPTIONS,
    NAMES,
    RATES,
    Comparison,
    comparisons,
)
from knowledge_neurons.results.controls import (
    EFFECT_COLUMNS,
    SAME,
    Effects,
    kind_told,
    with_twins,
)
from knowledge_neurons.results.layout import SCORES, Results
from knowledge_neurons.results.outcomes import NoResults, Outcomes
from knowledge_neurons.results.provenance import provenance, run_of
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import CONTROL, KNOWLEDGE

TABLES = ("counts", "suppressed", "amplified", "edits", "erasures")
WHOSE = "Whose neurons change what, suppressed"  # over what stage 10 found
MOST_NAMES = 10  # of relations in common that are told one by one


@dataclass(frozen=True)
class ModelRun:
    """What a run found.

    name: of its model, with its folder where another run has the same.  folder, page: where it and
    its report lie, seen from this run's; "this run" and no page for that, no page where none is.
    """

    name: str
    folder: str
    page: str | None
    results: Results
    found: Outcomes

    @property
    def relations(self) -> set[str]:
        """Those that were scored; of neurons without scores those that have neurons."""
        manifests, statistics = self.found.manifests, self.found.statistics
        scored = [one for name, one in manifests.items() if re.fullmatch(SCORES, name)]
        names = {one["identity"]["relation"] for one in scored}
        return names or set(statistics[KNOWLEDGE].relations if statistics else ())


@dataclass(frozen=True)
class Row:
    """A quantity of some neurons, of each run; None where it did not run the stage."""

    name: str
    cells: list[Comparison | None]


@dataclass(frozen=True)
class Models:
    """The table.

    about: what each run was of, name of a row -> its cells.  groups: caption, as over the table of
    a run's own report -> rows.  in_mind: sentences on what can be compared.
    """

    runs: list[ModelRun]
    about: dict[str, list[str | None]]
    groups: dict[str, list[Row]]
    in_mind: list[str]


# --- the runs --------------------------------------------------------------------------------


def read_runs(results: Results, found: Outcomes, beside: Sequence[Results]) -> list[ModelRun]:
    """This run and those beside it; none where there are none beside it.

    Raises ValueError naming a folder where there is nothing, or a file in it that is broken.
    """
    if not beside:
        return []
    runs = [ModelRun(_model(found) or "this model", "this run", None, results, found)]
    for other in beside:
        theirs = _read(other)
        folder = os.path.relpath(other.root, results.root)
        page = os.path.relpath(other.report, results.root) if other.report.exists() else None
        name = _model(theirs) or os.path.basename(folder)
        runs.append(ModelRun(name, folder, page, other, theirs))
    names = [run.name for run in runs]
    return [
        replace(run, name=f"{run.name} ({run.folder})") if names.count(run.name) > 1 else run
        for run in runs
    ]


def _read(other: Results) -> Outcomes:
    try:
        return outcomes.read(other)
    except NoResults as error:
        raise ValueError(
            f"--beside {other.root}: nothing of stages 1 to 7 is there.  Expected the folder that "
            "another run's --output_dir or KN_RESULTS named: name that one, or make the run first"
        ) from error


def _model(found: Outcomes) -> str | None:
    """None where nothing tells it."""
    run, others = run_of(found.manifests), taken(found.manifests)
    return run.model if run else others.models if others else None


# --- the table -------------------------------------------------------------------------------


def models_of(runs: Sequence[ModelRun]) -> Models:
    """The table of these runs, the first of them the report's own."""
    labels: dict[str, str] = {}
    for run in reversed(runs):
        labels |= run.found.labels
    of_each = [_tables(run.found, labels) for run in runs]
    groups = {caption: _joined([one[caption] for one in of_each]) for caption in of_each[0]}
    return Models(
        list(runs),
        _about(runs),
        {caption: rows for caption, rows in groups.items() if rows},
        _in_mind(runs),
    )


def _tables(found: Outcomes, labels: Mapping[str, str]) -> dict[str, list[Comparison]]:
    """Caption -> a run's own rows; labels: of relations, the same for all runs."""
    tables = comparisons(replace(found, labels=labels))
    tables["edits"] = [row for row in tables["edits"] if row.quantity in RATES]
    return {CAPTIONS[name]: tables[name] for name in TABLES} | {WHOSE: _whose(found.controls)}


def _whose(effects: Sequence[Effects]) -> list[Comparison]:
    """What suppressing a fact's neurons does to it and to others of its relation."""
    pairs = {(one.kind, one.factor): (one, twin) for one, twin in with_twins(effects)}
    one, twin = pairs.get((KNOWLEDGE, SUPPRESS), (None, None))
    asked = [(one, OWN, kind_told(KNOWLEDGE)), (one, SAME, kind_told(KNOWLEDGE))]
    return [
        Comparison(
            *(EFFECT_COLUMNS[column], neurons, change.times(100).value),
            *(change.times(100).interval, None, 1, "%"),
            signed=True,
        )
        for effect, column, neurons in [*asked, (twin, OWN, NAMES[CONTROL])]
        if effect and (change := effect.changes.get(column))
    ]


def _joined(of_each: Sequence[Sequence[Comparison]]) -> list[Row]:
    """Rows of the same quantity and neurons together, by quantity in the order of the runs."""
    found = [{(row.quantity, row.neurons): row for row in rows} for rows in of_each]
    keys = dict.fromkeys(key for rows in found for key in rows)
    quantities, neurons = ([*dict.fromkeys(key[place] for key in keys)] for place in (0, 1))
    ordered = sorted(keys, key=lambda key: (quantities.index(key[0]), neurons.index(key[1])))
    return [Row(", ".join(key), [rows.get(key) for rows in found]) for key in ordered]


def _about(runs: Sequence[ModelRun]) -> dict[str, list[str | None]]:
    """What each run was of, in words."""
    columns = [_about_one(run) for run in runs]
    return {name: [column[name] for column in columns] for name in columns[0]}


def _about_one(run: ModelRun) -> dict[str, str | None]:
    scored, others = run_of(run.found.manifests), taken(run.found.manifests)
    statistics = run.found.statistics
    depth = [len(statistics[KNOWLEDGE].layers)] if statistics else []
    layers = (scored and scored.layers) or (others and others.layers) or depth
    facts = scored.facts if scored else others.published if others else None
    return {
        "layers × neurons of a layer": _shape(layers, scored.width if scored else []),
        "layers scored": _either(scored.scored) if scored else None,
        "relations": f"{len(run.relations):,}" if run.relations else None,
        "facts": None if facts is None else f"{facts:,}",
        "prompts asked": f"{scored.prompts:,}" if scored else None,
    }


def _shape(layers: Sequence[int], width: Sequence[int]) -> str | None:
    parts = [_either([f"{one:,}" for one in some]) for some in (layers, width) if some]
    return " × ".join(filter(None, parts)) or None


def _either(some: Sequence[object]) -> str | None:
    return " or ".join(map(str, some)) or None


# --- what must be kept in mind -----------------------------------------------------------------


def _in_mind(runs: Sequence[ModelRun]) -> list[str]:
    """What the runs have in common, and what no number of the table allows for."""
    return [
        "Every number is over the relations and facts of its own run.",
        _in_common(runs),
        _data(runs),
        "Models differ in layers and in neurons of a layer: of fewer neurons, two facts share more "
        "by chance.",
    ]


def _in_common(runs: Sequence[ModelRun]) -> str:
    """Relations, by name."""
    common = sorted(set.intersection(*(run.relations for run in runs)), key=by_number)
    told = f" ({', '.join(common)})" if 0 < len(common) <= MOST_NAMES else ""
    of_each = ", ".join(f"{run.name} has {len(run.relations)}" for run in runs)
    return f"Relations in common, by name: {len(common)}{told}; {of_each}."


def _data(runs: Sequence[ModelRun]) -> str:
    """Whether the facts of those relations may be the same."""
    files = [provenance(run.found.manifests).data_sha256 for run in runs]
    if not all(files):
        return "Whether their prompts are of the same file is not known."
    if all(one == files[0] for one in files):
        return "Their prompts are of the same file (by sha256)."
    return "Their prompts are not all of the same file (by sha256): a relation's facts may differ."
