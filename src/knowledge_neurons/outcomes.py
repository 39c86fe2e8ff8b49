"""What stages 2 to 7 found, read back from a results folder: for the figures and the report.

Nothing is measured again and no model is opened: summaries are taken as they are, and averages that
no summary holds are made from the records by the functions that made the summaries.  A stage that
has not run leaves its part empty, and `missing` says what to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge_neurons import activation_files, artifacts, data, storage
from knowledge_neurons.estimates import Estimate, Interval
from knowledge_neurons.experiments import distant_summary
from knowledge_neurons.experiments.distant_summary import TableRow
from knowledge_neurons.experiments.edit_summary import (
    Perplexity,
    Summary,
    Variant,
    by_lambdas,
)
from knowledge_neurons.experiments.erase_summary import EDITS, Erased
from knowledge_neurons.experiments.erase_summary import Change as ErasedChange
from knowledge_neurons.experiments.neuron_statistics import Statistics
from knowledge_neurons.types import KINDS

# What to run for a part that is not there.
RUN = {
    "statistics": "2_run_kn.sh",
    "modified": "3_run_modify_activation.sh",
    "curves": "3_run_modify_activation.sh --scales 0,0.25,...,2",
    "activations": "4_run_distant.sh",
    "triggers": "5_run_trigger_examples.sh",
    "edits": "6_run_edit.sh 1 8",
    "success": "6_run_edit.sh 1 8 --top_k 1,2,3,4,5,6,7,8,9,10",
    "sweep": "6_run_edit.sh 1 8 --lambda_sweep 1:8,1:4,0:8",
    "erasures": "7_run_erase.sh REL",
}
SEED = 42  # of the intervals made here, where a file does not tell its own

Changes = Mapping[str, Mapping[str, Mapping[float, Estimate]]]  # kind -> own, other -> factor


@dataclass(frozen=True)
class Modified:
    """Stage 3: changes of the right answer's probability, over all relations and of each.

    counts: how many facts took part, and how many did not, by reason.
    """

    overall: Changes
    relations: dict[str, Changes]
    counts: dict[str, int]


@dataclass(frozen=True)
class Activations:
    """Stage 4: Table 4 over all relations and of each; kind of neurons -> its row.

    A kind that no fact has is left out.  summary: the counts that stage 4 keeps beside its table.
    """

    overall: dict[str, TableRow]
    relations: dict[str, dict[str, TableRow]]
    summary: dict[str, Any]


@dataclass(frozen=True)
class EditRun:
    """One run of stage 6: Table 6 of each variant and kind of neurons.

    draw: how facts were drawn.  chosen: relation -> how many edits, facts edited, drawn, answered
    wrong, without neurons.
    """

    name: str
    draw: str
    chosen: dict[str, dict[str, int]]
    summaries: list[Summary]

    @property
    def by_count(self) -> bool:
        """Whether it edited the K strongest neurons (--top_k)."""
        return any(summary.variant.top_k is not None for summary in self.summaries)

    @property
    def lambdas(self) -> list[tuple[float, float]]:
        """The pairs it tried, in their order; several in a sweep."""
        return list(by_lambdas(self.summaries))


@dataclass(frozen=True)
class Erasure:
    """One run of stage 7: a row of Table 5, with the control of as many random neurons.

    run: its name, the relation's or such as "P19-unk"; neurons: how many were emptied, where known.
    """

    run: str
    relation: str
    neurons: int | None
    erased: Erased
    random: Erased


@dataclass(frozen=True)
class Outcomes:
    """All that lies in a results folder; what is not there is None or empty, and in `missing`.

    statistics: stage 2, kind of neurons -> Table 2 and Figure 3.  modified, activations: stages 3
    and 4.  curves: dose-response of each relation.  triggers: files for
    `activation_files.read_triggers`.  edits: the runs of stage 6.  erasures: those of stage 7.
    labels: relation -> its name, "field of work", where a file tells it.
    manifests: file, relative to the folder -> its manifest; of all stages, the first too.
    missing: part -> what to run for it, a key of RUN and its value.
    """

    statistics: dict[str, Statistics] | None
    modified: Modified | None
    curves: dict[str, Changes]
    activations: Activations | None
    triggers: list[Path]
    edits: list[EditRun]
    erasures: list[Erasure]
    labels: dict[str, str]
    manifests: dict[str, dict[str, Any]]

    @property
    def success(self) -> list[EditRun]:
        """The runs that edited more and more neurons."""
        return [run for run in self.edits if run.by_count]

    @property
    def sweep(self) -> list[EditRun]:
        """The runs that tried several pairs of lambdas."""
        return [run for run in self.edits if len(run.lambdas) > 1]

    @property
    def missing(self) -> dict[str, str]:
        return {part: command for part, command in RUN.items() if not getattr(self, part)}


def read(results: artifacts.Results) -> Outcomes:
    """Read everything that is there.

    Raises ValueError naming a file that is broken, or the folder where no stage has written
    anything.
    """
    found = Outcomes(
        statistics=_statistics(results),
        modified=_modified(results),
        curves=_curves(results),
        activations=_activations(results),
        triggers=results.trigger_records(),
        edits=[_edit_run(results, run) for run in results.edit_runs()],
        erasures=[_erasure(results, run) for run in results.erased_runs()],
        labels=_labels(results),
        manifests=_manifests(results),
    )
    if found.missing == RUN and not results.scored_relations():
        raise ValueError(
            f"{results.root}: nothing of stages 1 to 7 is there.  Name the folder with "
            "--output_dir or KN_RESULTS, or run 1_run_mlm.sh REL, 2_run_kn.sh and what follows"
        )
    return found


# --- parts -----------------------------------------------------------------------------------


@contextmanager
def _shape_of(path: Path, stage: int) -> Iterator[None]:
    """Turn the ways in which JSON of another shape fails into an error that names the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path}: not what stage {stage} writes ({type(error).__name__}: {error}).  Remove it "
            f"and run stage {stage} again"
        ) from error


def _statistics(results: artifacts.Results) -> dict[str, Statistics] | None:
    path = results.statistics
    if not path.exists():
        return None
    content = storage.read_json(path)
    with _shape_of(path, 2):
        return {kind: Statistics(**content[kind]) for kind in KINDS}


def _modified(results: artifacts.Results) -> Modified | None:
    path = results.modified / "summary.json"
    if not path.exists():
        return None
    content = storage.read_json(path)
    with _shape_of(path, 3):
        return Modified(
            _changes(content["change"]),
            {relation: _changes(own) for relation, own in sorted(content["relations"].items())},
            content["counts"],
        )


def _curves(results: artifacts.Results) -> dict[str, Changes]:
    curves = {}
    for path in sorted(results.dose_response.glob("*.json")):
        if not path.name.endswith(".manifest.json"):
            content = storage.read_json(path)
            with _shape_of(path, 3):
                curves[path.stem] = _changes(content)
    return curves


def _estimate(value: dict[str, Any]) -> Estimate:
    return Estimate(value["value"], value["interval"] and Interval(*value["interval"]))


def _changes(content: dict[str, Any]) -> Changes:
    return {
        kind: {
            asked: {float(factor): _estimate(value) for factor, value in by_factor.items()}
            for asked, by_factor in content[kind].items()
        }
        for kind in KINDS
    }


def _activations(results: artifacts.Results) -> Activations | None:
    path = results.distant / "summary.json"
    if not path.exists():
        return None
    content = storage.read_json(path)
    with _shape_of(path, 4):
        overall = {kind: _table_row(row) for kind, row in content.pop("table").items() if row}
    identity = (storage.read_manifest(path) or {}).get("identity", {})
    seed = identity.get("seed", SEED)
    relations = {}
    for records in sorted(results.distant.glob("*.jsonl")):
        with _shape_of(records, 4):
            facts = activation_files.read_activations(records)
            rows = {kind: distant_summary.table_row(facts, kind, seed) for kind in KINDS}
        relations[records.stem] = {kind: row for kind, row in rows.items() if row}
    return Activations(overall, relations, content)


def _table_row(row: dict[str, Any]) -> TableRow:
    def estimates(values: dict[str, Any]) -> dict[str, Estimate]:
        return {name: _estimate(value) for name, value in values.items()}

    return TableRow(row["facts"], estimates(row["by_sentences"]), estimates(row["contrasts"]))


def _edit_run(results: artifacts.Results, run: str) -> EditRun:
    path = results.edits(run).with_suffix(".json")
    content = storage.read_json(path)
    with _shape_of(path, 6):
        rows = [_summary(row) for row in content["edits"]]
        return EditRun(run, content["draw"], content["relations"], rows)


def _summary(row: dict[str, Any]) -> Summary:
    """A Summary whose fields are again what they were."""
    values = {}
    for name, value in row.items():
        if isinstance(value, dict) and "interval" in value:
            value = _estimate(value)
        elif name in ("same_relation", "other_relations") and value:
            value = Perplexity(**value | {"increase": _estimate(value["increase"])})
        values[name] = value
    return Summary(**values | {"variant": Variant(**row["variant"])})


def _erasure(results: artifacts.Results, run: str) -> Erasure:
    path = results.erased(run).with_suffix(".json")
    content = storage.read_json(path)
    emptied = (storage.read_manifest(results.erased(run)) or {}).get("neurons", {}).get("erased")
    with _shape_of(path, 7):
        rows = [_erased(content[edit]) for edit in EDITS]
    return Erasure(run, run.split("-")[0], emptied and len(emptied), *rows)


def _erased(row: dict[str, Any]) -> Erased:
    def change(values: dict[str, Any]) -> ErasedChange:
        grown = _estimate(values["perplexity_increase"])
        return ErasedChange(**values | {"perplexity_increase": grown})

    others = row["others"]
    each = {relation: change(values) for relation, values in row["each_other"].items()}
    return Erased(change(row["relation"]), others and change(others), each)


def _labels(results: artifacts.Results) -> dict[str, str]:
    """From the first prompt of each relation's scores, else from its first trigger record."""
    labels: dict[str, str] = {}
    for path in results.trigger_records():
        for record in activation_files.read_triggers(path):
            labels[record.relation] = record.label
            break
    for relation in results.scored_relations():
        if relation not in labels:
            facts = artifacts.read_fact_scores(results.scores(relation))
            first = next((prompts[0] for prompts in facts if prompts), None)
            if first and (name := data.split_name(first.relation)):
                labels[relation] = name[1]
    return labels


def _manifests(results: artifacts.Results) -> dict[str, dict[str, Any]]:
    """The manifests of finished outputs, patches left out."""
    end = ".manifest.json"
    paths = [*results.root.glob(f"*{end}"), *results.root.glob(f"*/*{end}")]
    found = {}
    for path in sorted(paths):
        output = path.with_name(path.name.removesuffix(end))
        manifest = storage.read_json(path)
        if manifest.get("complete"):
            found[str(output.relative_to(results.root))] = manifest
    return found
