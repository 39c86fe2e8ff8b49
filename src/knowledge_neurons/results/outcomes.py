"""What the stages found, read back from a results folder: for the figures and the report.

Nothing is measured again and no model is opened: each kind of result is read by its own module.  A
stage that has not run leaves its part empty, and `missing` says what to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.results.activations import Activations, read_activations_found
from knowledge_neurons.results.adopted import read_facts
from knowledge_neurons.results.change_files import read_curves, read_modified
from knowledge_neurons.results.changes import Curve, Modified
from knowledge_neurons.results.controls import Effects, read_effects
from knowledge_neurons.results.editors import Editors, read_editors
from knowledge_neurons.results.edits import EditRun, read_edit_run
from knowledge_neurons.results.erasures import Erasure, read_erasure
from knowledge_neurons.results.languages import Sharing, read_sharing
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.localisation import Localisation, read_localisation
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.results.maps import MapSummary, read_summaries
from knowledge_neurons.results.neurons import read_statistics
from knowledge_neurons.results.provenance import check_manifest
from knowledge_neurons.results.scorers import ScorersSummary, read_scorers_summary
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.results.single_prompt import OnePromptSummary, read_one_prompt_summary
from knowledge_neurons.results.stability import Stability, read_stability
from knowledge_neurons.results.symmetry import Reach, read_reach
from knowledge_neurons.results.triggers import read_triggers
from knowledge_neurons.text.relations import split_name

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
    "maps": "9_neuron_map.sh REL",
    "controls": "10_controls.sh",
}


class NoResults(ValueError):
    """No stage has written anything into a folder."""


@dataclass(frozen=True)
class Outcomes:
    """All that lies in a results folder; what is not there is None or empty, and in `missing`.

    statistics: stage 2, kind of neurons -> Table 2 and Figure 3.  modified, activations: stages 3
    and 4.  controls, localisation, stability: of stage 10.  curves: dose-response of each relation.
    triggers: files for `triggers.read_triggers`.  edits: the runs of stage 6.  erasures: those of
    stage 7.  reach, editors: stage 10's questions about edits, where they were asked.  sharing: of
    languages, where they were compared.  maps: what the maps of each relation come to.
    scorers, one_prompt: of stage 11, where it ran.
    labels: relation -> its name, "field of work", where a file tells it.
    manifests: file, relative to the folder -> its manifest; of all stages, the first too.
    missing: part -> what to run for it, a key of RUN and its value.
    """

    statistics: dict[str, Statistics] | None
    modified: Modified | None
    controls: list[Effects]
    localisation: Localisation | None
    stability: Stability | None
    curves: dict[str, Curve]
    activations: Activations | None
    triggers: list[Path]
    edits: list[EditRun]
    erasures: list[Erasure]
    reach: list[Reach]
    editors: Editors | None
    sharing: Sharing | None
    maps: dict[str, MapSummary]
    scorers: ScorersSummary | None
    one_prompt: OnePromptSummary | None
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


def read(results: Results) -> Outcomes:
    """Read everything that is there.

    Raises ValueError naming a file that is broken; NoResults naming the folder where no stage has
    written anything.
    """
    found = Outcomes(
        statistics=read_statistics(results),
        modified=read_modified(results),
        controls=read_effects(results),
        localisation=read_localisation(results),
        stability=read_stability(results),
        curves=read_curves(results),
        activations=read_activations_found(results),
        triggers=results.trigger_records(),
        edits=[read_edit_run(results, run) for run in results.edit_runs()],
        erasures=[read_erasure(results, run) for run in results.erased_runs()],
        reach=read_reach(results),
        editors=read_editors(results),
        sharing=read_sharing(results),
        maps=read_summaries(results),
        scorers=read_scorers_summary(results),
        one_prompt=read_one_prompt_summary(results),
        labels=_labels(results),
        manifests=_manifests(results),
    )
    told = results.scored_relations() or results.told_relations() or found.sharing
    if found.missing == RUN and not (told or found.editors):
        raise NoResults(
            f"{results.root}: nothing of stages 1 to 7 is there.  Name another folder, with "
            "KN_RESULTS or as an argument, or run 1_run_mlm.sh REL, 2_run_kn.sh and what follows"
        )
    return found


def _labels(results: Results) -> dict[str, str]:
    """From the first prompt of each relation's scores, else from its first trigger record; of
    adopted neurons from the file of their facts."""
    labels = {name: read_facts(results, name).label for name in results.told_relations()}
    for path in results.trigger_records():
        for record in read_triggers(path):
            labels[record.relation] = record.label
            break
    for relation in results.scored_relations():
        if relation not in labels:
            facts = read_fact_scores(results.scores(relation))
            first = next((prompts[0] for prompts in facts if prompts), None)
            if first and (name := split_name(first.relation)):
                labels[relation] = name[1]
    return labels


def _manifests(results: Results) -> dict[str, dict[str, Any]]:
    """The manifests of finished outputs, patches left out."""
    found = {}
    for output in results.outputs_with_manifest():
        manifest = read_manifest(output)
        if manifest and manifest.get("complete"):
            name = str(output.relative_to(results.root))
            found[name] = check_manifest(name, manifest, output)
    return found
