"""Every file of a results folder by its name; no other module knows one, but for `companions`.

The names are those of the authors' released stages, so that files of either pipeline feed the
other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.results.companions import END, outputs_with_manifest

DEFAULT_PREFIX = "TREx-all"

# The main outputs of each stage, relative to the results folder, as patterns.
SCORES = r"[^/]+\.rlt\.jsonl"
NEURONS = r"kn/kn_bag-([^/]+)\.json"
BASE_NEURONS = r"kn/base_kn_bag-([^/]+)\.json"
STATISTICS = r"kn/statistics\.json"
CHANGES = r"modify_activation/[^/]+\.jsonl"
CURVES = r"dose_response/[^/]+\.jsonl"
ACTIVATIONS = r"distant/[^/]+\.jsonl"
TRIGGERS = r"trigger_examples_th/[^/]+\.jsonl"
EDITS = r"edit/[^/]+\.jsonl"
PAPER_EDITS = r"edit/edit-1-8\.jsonl"
ERASURES = r"erase/[^/]+\.jsonl"
MAPS = r"maps/[^/]+\.jsonl"
DESCRIBED = r"neurons/[^/]+\.jsonl"
CONTROLS = r"controls/[^/]+\.jsonl"
WAYS = r"ways/(?:scorers|one_prompt)-[^/.]+\.jsonl"
PAPER_ERASURES = r"erase/[^/-]+\.jsonl"


@dataclass(frozen=True)
class Results:
    """The paths under a results folder.  kn_dir: of the neurons, where they lie elsewhere."""

    root: Path
    prefix: str = DEFAULT_PREFIX
    kn_dir: Path | None = None

    @property
    def kn(self) -> Path:
        """Folder of stage 2's neurons and of the averages that the released stage 3 puts there."""
        return self.kn_dir or self.root / "kn"

    @property
    def arguments(self) -> Path:
        return self.root / f"{self.prefix}.args.json"

    def scores(self, relation: str) -> Path:
        return self.root / f"{self.prefix}-{relation}.rlt.jsonl"

    @property
    def calibration(self) -> Path:
        """How many points each layer tries, for all relations."""
        return self.root / f"{self.prefix}.calibration.json"

    def quadrature(self, relation: str) -> Path:
        """How many points each fact took, a line per fact."""
        return self.root / f"{self.prefix}-{relation}.quadrature.jsonl"

    def scored_relations(self) -> list[str]:
        """Relations whose scores are complete, sorted by name."""
        return self._with_scores(".rlt.jsonl")

    def unfinished_relations(self) -> list[str]:
        """Relations whose stage 1 has begun and not ended."""
        return self._with_scores(".rlt.jsonl.partial")

    def _with_scores(self, end: str) -> list[str]:
        start = f"{self.prefix}-"
        names = [path.name for path in self.root.glob(f"{start}*{end}")]
        relations = sorted(name[len(start) : -len(end)] for name in names)
        return [relation for relation in relations if "-" not in relation]  # else another prefix

    def fact_neurons(self, relation: str, baseline: bool) -> Path:
        return self.kn / f"{_base(baseline)}kn_bag-{relation}.json"

    def relation_neurons(self, relation: str, baseline: bool) -> Path:
        return self.kn / f"{_base(baseline)}kn_rel-{relation}.json"

    def refined_relations(self, baseline: bool) -> list[str]:
        """Relations that have refined neurons, sorted by name."""
        start = f"{_base(baseline)}kn_bag-"
        paths = self.kn.glob(f"{start}*.json")
        names = [path.stem for path in paths if not path.name.endswith(END)]
        return sorted(name[len(start) :] for name in names)

    def told_facts(self, relation: str) -> Path:
        """A relation's facts and prompts, of adopted neurons: there are no scores to tell them."""
        return self.root / "facts" / f"{relation}.json"

    def told_relations(self) -> list[str]:
        """Relations of adopted neurons, sorted by name."""
        return _summarised(self.root / "facts")

    @property
    def unplaced(self) -> Path:
        """The facts of adopted neurons that the data do not have."""
        return self.root / "not_in_the_data.json"

    @property
    def statistics(self) -> Path:
        return self.kn / "statistics.json"

    def changes(self, relation: str) -> Path:
        """Stage 3's records of a relation."""
        return self.root / "modify_activation" / f"{relation}.jsonl"

    @property
    def changes_summary(self) -> Path:
        return self.root / "modify_activation" / "summary.json"

    def modified_averages(self, baseline: bool) -> Path:
        return self.kn / f"{_base(baseline)}modify_activation_rlt.json"

    def controls(self, relation: str) -> Path:
        """Stage 10's control records of a relation."""
        return self.root / "controls" / f"{relation}.jsonl"

    @property
    def controls_summary(self) -> Path:
        return self.root / "controls" / "summary.json"

    def curve_records(self, relation: str) -> Path:
        """Stage 3's records of a relation, of many factors."""
        return self.root / "dose_response" / f"{relation}.jsonl"

    def curve(self, relation: str) -> Path:
        return self.root / "dose_response" / f"{relation}.json"

    def curves(self) -> list[str]:
        """Relations that have a dose-response curve, sorted by name."""
        return _summarised(self.root / "dose_response")

    def activations(self, relation: str) -> Path:
        """Stage 4's records of a relation."""
        return self.root / "distant" / f"{relation}.jsonl"

    def activated_relations(self) -> list[str]:
        """Relations that have stage 4's records, sorted by name."""
        return sorted(path.stem for path in self.root.glob("distant/*.jsonl"))

    @property
    def activations_summary(self) -> Path:
        return self.root / "distant" / "summary.json"

    def distant_activations(self, baseline: bool) -> Path:
        return self.root / "distant" / f"{_base(baseline)}kn_weights@distant_data.json"

    def triggers(self, relation: str, facts: Sequence[int] = ()) -> Path:
        """Stage 5's records of a relation, or of some of its facts."""
        chosen = f"@{','.join(map(str, facts))}" if facts else ""
        return self.root / "trigger_examples_th" / f"{relation}{chosen}.jsonl"

    def triggers_text(self, relation: str, fact: int) -> Path:
        return self.root / "trigger_examples_th" / f"{relation}-{fact}.txt"

    def trigger_records(self) -> list[Path]:
        """Stage 5's records, a file for each relation or choice of facts (REL@0,3), by name."""
        return sorted(self.root.glob("trigger_examples_th/*.jsonl"))

    def edits(self, run: str) -> Path:
        return self.root / "edit" / f"{run}.jsonl"

    def edits_summary(self, run: str) -> Path:
        return self.root / "edit" / f"{run}.json"

    def edit_runs(self) -> list[str]:
        """Runs of stage 6 that have a summary, sorted by name."""
        return _summarised(self.root / "edit")

    def patch(
        self, run: str, fact: str, lambdas: Sequence[float], top_k: int | None, repeat: int
    ) -> Path:
        """The patch of an edit.  fact: "P19-3"; repeat: edits of it that came before."""
        again = f"@{repeat + 1}" if repeat else ""  # its second edit, its third ...
        strongest = f"-top_{top_k}" if top_k else ""
        name = f"{fact}{again}-" + "-".join(f"{one:g}" for one in lambdas) + strongest
        return self.root / "edit" / run / f"{name}.safetensors"

    def erased(self, run: str) -> Path:
        return self.root / "erase" / f"{run}.jsonl"

    def erasure_summary(self, run: str) -> Path:
        return self.root / "erase" / f"{run}.json"

    def erased_runs(self) -> list[str]:
        """Runs of stage 7 that have a summary, sorted by name: P19, or P19-unk."""
        return _summarised(self.root / "erase")

    def erasure(self, run: str) -> Path:
        return self.root / "erase" / f"{run}.safetensors"

    def of_language(self, language: str) -> Results:
        """What stages find with the prompts of one language."""
        return Results(self.root / "languages" / language, self.prefix, self.kn_dir)

    def languages(self) -> list[str]:
        """Those that have refined neurons, sorted by name."""
        return sorted(path.parent.name for path in self.root.glob("languages/*/kn"))

    @property
    def sharing(self) -> Path:
        """Which neurons languages share."""
        return self.root / "languages" / "sharing.json"

    def shared_neurons(self, relation: str) -> Path:
        """The same of each fact of a relation, a line per fact."""
        return self.root / "languages" / f"{relation}.jsonl"

    def maps(self, relation: str) -> Path:
        """Stage 9's records of a relation."""
        return self.root / "maps" / f"{relation}.jsonl"

    def map_summary(self, relation: str) -> Path:
        return self.root / "maps" / f"{relation}.json"

    def mapped_relations(self) -> list[str]:
        """Relations that have a summary of stage 9, sorted by name."""
        return _summarised(self.root / "maps")

    @property
    def neuron_words(self) -> Path:
        """What the neurons of all facts write."""
        return self.root / "neurons" / "words.jsonl"

    @property
    def neuron_activity(self) -> Path:
        """What wakes them."""
        return self.root / "neurons" / "activity.jsonl"

    def neurons_alone(self, relation: str) -> Path:
        """What each neuron of a relation's facts does by itself."""
        return self.root / "neurons" / f"alone-{relation}.jsonl"

    def questioned(self, question: str) -> Path:
        """Stage 10's records of another question: symmetry, editors, stability-REL."""
        return self.root / "controls" / f"{question}.jsonl"

    def questioned_summary(self, question: str) -> Path:
        """symmetry, editors, localisation, stability."""
        return self.root / "controls" / f"{question}.json"

    def compared_scorers(self, relation: str) -> Path:
        """Stage 11's records of a relation, of scorers."""
        return self.root / "ways" / f"scorers-{relation}.jsonl"

    @property
    def scorers_summary(self) -> Path:
        return self.root / "ways" / "scorers.json"

    def one_prompt(self, relation: str) -> Path:
        """Stage 11's records of a relation, of one prompt asked in several ways."""
        return self.root / "ways" / f"one_prompt-{relation}.jsonl"

    @property
    def one_prompt_summary(self) -> Path:
        return self.root / "ways" / "one_prompt.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def figure(self, name: str) -> Path:
        """Without a suffix: figures are written as PDF and as PNG."""
        return self.root / "figs" / name

    def names(self, paths: Iterable[Path]) -> list[str]:
        """The paths relative to the folder, of those that are there."""
        return [os.path.relpath(path, self.root) for path in paths if path.exists()]

    def outputs_with_manifest(self) -> list[Path]:
        """Of all stages, by name."""
        folders = [self.root, *(path for path in self.root.glob("*") if path.is_dir())]
        return sorted(path for one in folders for path in outputs_with_manifest(one))


def _base(baseline: bool) -> str:
    return "base_" if baseline else ""


def _summarised(folder: Path) -> list[str]:
    """NAME of every NAME.json in a folder, sorted."""
    paths = (path for path in folder.glob("*.json") if not path.name.endswith(END))
    return sorted(path.stem for path in paths)
