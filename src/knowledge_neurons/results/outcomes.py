"""What stages 2 to 7 found, read back from a results folder: for the figures and the report.

Nothing is measured again and no model is opened: summaries are taken as they are, and averages that
no summary holds are made from the records by the functions that made the summaries.  A stage that
has not run leaves its part empty, and `missing` says what to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.results import (
    activation_files,
    artifacts,
    authors_files,
    distant_summary,
    storage,
)
from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, FactActivation, TableRow
from knowledge_neurons.results.edit_summary import Summary, by_lambdas
from knowledge_neurons.results.encoding import check_numbers, naming
from knowledge_neurons.results.erase_summary import EDITS, Erased
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.provenance import check_manifest
from knowledge_neurons.results.storage import END
from knowledge_neurons.text import data
from knowledge_neurons.types import KINDS, Count, Number

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

    counts: how many facts took part, and how many did not, by reason.  theirs: the released code's
    files that it was read from, none where it is ours; theirs tell no counts and no intervals.
    """

    overall: Changes
    relations: dict[str, Changes]
    counts: dict[str, int]
    theirs: Sequence[str] = ()


@dataclass(frozen=True)
class Activations:
    """Stage 4: Table 4 over all relations and of each; kind of neurons -> its row.

    A kind that no fact has is left out.  theirs: as in Modified; theirs tell every fact.
    """

    overall: dict[str, TableRow]
    relations: dict[str, dict[str, TableRow]]
    theirs: Sequence[str] = ()


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


class _ByAsked(TypedDict):
    own: dict[Number, Estimate]
    other: dict[Number, Estimate]


class _ByKind(TypedDict):
    neurons: _ByAsked
    baseline: _ByAsked


class _ModifySummary(TypedDict):
    change: _ByKind
    counts: dict[str, Count]
    relations: dict[str, _ByKind]


class _StatisticsFile(TypedDict):
    neurons: Statistics
    baseline: Statistics


class _Table4(TypedDict):
    neurons: NotRequired[TableRow | None]
    baseline: NotRequired[TableRow | None]


class _DistantSummary(TypedDict):
    table: _Table4


class _EditSummary(TypedDict):
    draw: str
    relations: dict[str, dict[str, Count]]
    edits: list[Summary]


class _EraseSummary(TypedDict):
    erased: Erased
    random: Erased


def _read(path: Path, kind: Any, stage: int) -> Any:
    """A summary, its numbers within bounds."""
    advice = f"It is not what stage {stage} writes: run stage {stage} again"
    content = storage.read_json(path, kind, advice)
    with naming(path, advice):
        check_numbers(content)
    return content


def _statistics(results: artifacts.Results) -> dict[str, Statistics] | None:
    path = results.statistics
    if not path.exists():
        return None
    found = _read(path, _StatisticsFile, 2)
    lengths = {len(found[kind].layers) for kind in KINDS}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"{path}: expected as many layers for both kinds.  Run stage 2 again")
    return found


def _modified(results: artifacts.Results) -> Modified | None:
    path = results.modified / "summary.json"
    if path.exists():
        content = _read(path, _ModifySummary, 3)
        relations = dict(sorted(content["relations"].items()))
        return Modified(content["change"], relations, content["counts"])
    theirs = authors_files.modified(results)
    if not theirs:
        return None
    files = _there(results, results.modified_averages)
    return Modified(authors_files.mean_changes(list(theirs.values())), theirs, {}, files)


def _there(results: artifacts.Results, path_of: Callable[[bool], Path]) -> list[str]:
    """The released code's files that are there, relative to the results folder."""
    paths = [path_of(baseline) for baseline in (False, True)]
    return [os.path.relpath(path, results.root) for path in paths if path.exists()]


def _curves(results: artifacts.Results) -> dict[str, Changes]:
    paths = sorted(results.dose_response.glob("*.json"))
    return {path.stem: _read(path, _ByKind, 3) for path in paths if not path.name.endswith(END)}


def _activations(results: artifacts.Results) -> Activations | None:
    path = results.distant / "summary.json"
    if path.exists():
        table = _read(path, _DistantSummary, 4)["table"]
        overall = {kind: _checked(path, row) for kind, row in table.items() if row}
        identity = (storage.read_manifest(path) or {}).get("identity", {})
        seed, records = identity.get("seed", SEED), {}
        for lines in sorted(results.distant.glob("*.jsonl")):
            records[lines.stem] = activation_files.read_activations(lines)
    else:
        seed, records = SEED, authors_files.activations(results)
        if not records:
            return None
        overall = _rows([fact for facts in records.values() for fact in facts], seed)
    relations = {name: _rows(facts, seed) for name, facts in records.items()}
    theirs = [] if path.exists() else _there(results, results.distant_activations)
    return Activations(overall, relations, theirs)


def _rows(facts: Sequence[FactActivation], seed: int) -> dict[str, TableRow]:
    """Table 4, kinds that no fact has left out."""
    rows = {kind: distant_summary.table_row(facts, kind, seed) for kind in KINDS}
    return {kind: row for kind, row in rows.items() if row}


def _checked(path: Path, row: TableRow) -> TableRow:
    if row.by_sentences.keys() != set(SENTENCE_KINDS):
        raise ValueError(
            f"{path}: by_sentences has {sorted(row.by_sentences)}, expected "
            f"{sorted(SENTENCE_KINDS)}.  Run stage 4 again"
        )
    return row


def _edit_run(results: artifacts.Results, run: str) -> EditRun:
    content = _read(results.edits(run).with_suffix(".json"), _EditSummary, 6)
    return EditRun(run, content["draw"], content["relations"], content["edits"])


def _erasure(results: artifacts.Results, run: str) -> Erasure:
    content = _read(results.erased(run).with_suffix(".json"), _EraseSummary, 7)
    emptied = (storage.read_manifest(results.erased(run)) or {}).get("neurons", {}).get("erased")
    rows = [content[edit] for edit in EDITS]
    return Erasure(run, run.split("-")[0], emptied and len(emptied), *rows)


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
    folders = [results.root, *(path for path in results.root.glob("*") if path.is_dir())]
    found = {}
    for output in sorted(path for one in folders for path in storage.outputs_with_manifest(one)):
        manifest = storage.read_manifest(output)
        if manifest and manifest.get("complete"):
            name = str(output.relative_to(results.root))
            found[name] = check_manifest(name, manifest, output)
    return found
