"""Every file a stage writes: its path and its JSON shape.

The names and shapes are those of the authors' released stages, so that files of either pipeline
feed the other; their words (rlt, ig_gold, kn_bag, base) live only here.  `storage` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from knowledge_neurons.results.encoding import decode, encode
from knowledge_neurons.results.storage import END, check_whole, read_json, start_over, write_json
from knowledge_neurons.types import Neuron, PromptScores, Triplet

DEFAULT_PREFIX = "TREx-all"


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

    def quadrature(self, relation: str) -> Path:
        """How each fact was integrated, a line per fact."""
        return self.root / f"{self.prefix}-{relation}.quadrature.jsonl"

    def scored_relations(self) -> list[str]:
        """Relations whose scores are complete, sorted by name."""
        start, end = f"{self.prefix}-", ".rlt.jsonl"
        names = [path.name for path in self.root.glob(f"{start}*{end}")]
        relations = sorted(name[len(start) : -len(end)] for name in names)
        return [relation for relation in relations if "-" not in relation]  # else another prefix

    def unfinished_relations(self) -> list[str]:
        """Relations whose stage 1 has begun and not ended."""
        start, end = f"{self.prefix}-", ".rlt.jsonl.partial"
        names = [path.name for path in self.root.glob(f"{start}*{end}")]
        relations = sorted(name[len(start) : -len(end)] for name in names)
        return [relation for relation in relations if "-" not in relation]

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

    @property
    def statistics(self) -> Path:
        return self.kn / "statistics.json"

    @property
    def modified(self) -> Path:
        """Folder of stage 3's records, a file for each relation, and of their averages."""
        return self.root / "modify_activation"

    def modified_averages(self, baseline: bool) -> Path:
        return self.kn / f"{_base(baseline)}modify_activation_rlt.json"

    @property
    def dose_response(self) -> Path:
        """Folder of stage 3's records and curves with --scales."""
        return self.root / "dose_response"

    @property
    def distant(self) -> Path:
        """Folder of stage 4's records, a file for each relation, and of their averages."""
        return self.root / "distant"

    def distant_activations(self, baseline: bool) -> Path:
        return self.distant / f"{_base(baseline)}kn_weights@distant_data.json"

    @property
    def triggers(self) -> Path:
        """Folder of stage 5's files, of a fact and of a relation."""
        return self.root / "trigger_examples_th"

    def trigger_records(self) -> list[Path]:
        """Stage 5's records, a file for each relation or choice of facts (REL@0,3), by name."""
        return sorted(self.triggers.glob("*.jsonl"))

    def edits(self, run: str) -> Path:
        return self.root / "edit" / f"{run}.jsonl"

    def edit_runs(self) -> list[str]:
        """Runs of stage 6 that have a summary, sorted by name."""
        return _summarised(self.root / "edit")

    def patch(self, run: str, name: str) -> Path:
        return self.root / "edit" / run / f"{name}.safetensors"

    def erased(self, run: str) -> Path:
        return self.root / "erase" / f"{run}.jsonl"

    def erased_runs(self) -> list[str]:
        """Runs of stage 7 that have a summary, sorted by name: P19, or P19-unk."""
        return _summarised(self.root / "erase")

    def erasure(self, run: str) -> Path:
        return self.root / "erase" / f"{run}.safetensors"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def figure(self, name: str) -> Path:
        """Without a suffix: figures are written as PDF and as PNG."""
        return self.root / "figs" / name


def _base(baseline: bool) -> str:
    return "base_" if baseline else ""


def _summarised(folder: Path) -> list[str]:
    """NAME of every NAME.json in a folder, sorted."""
    paths = (path for path in folder.glob("*.json") if not path.name.endswith(END))
    return sorted(path.stem for path in paths)


# --- scores: one line per fact, in data order ------------------------------------------------


def encode_fact_scores(prompts: Sequence[PromptScores]) -> bytes:
    """One line of a scores file; a fact that was left out is the empty list."""
    return encode([[_tokens_info(prompt), _res_dict(prompt)] for prompt in prompts])


def _tokens_info(prompt: PromptScores) -> dict[str, Any]:
    return {
        "tokens": prompt.tokens,
        "relation": prompt.relation,
        "gold_obj": prompt.answer,
        "pred_obj": prompt.predicted,
    }


def _res_dict(prompt: PromptScores) -> dict[str, Any]:
    # UPSTREAM: pred is a list of one (1, V) matrix
    # DEVIATION: ig_pred is stored as triplets too; the released code leaves it dense (difference 2)
    return {
        "pred": [[prompt.probabilities]] if prompt.probabilities else [],
        "ig_pred": prompt.of_prediction,
        "ig_gold": prompt.of_answer,
        "base": prompt.baseline,
    }


class _TokensInfo(msgspec.Struct):
    tokens: list[str]
    relation: str
    gold_obj: str
    pred_obj: str


class _Scores(msgspec.Struct):
    """What refining needs; ig_pred and pred are passed over, in whatever shape."""

    ig_gold: list[Triplet]


class _AllScores(_Scores):
    base: list[Triplet]


def read_fact_scores(path: Path, baseline: bool = True) -> Iterator[list[PromptScores]]:
    """The prompts of each fact, in data order: of_answer and baseline, all that refining needs.

    baseline: False leaves the activations out, which are most of the file.
    Raises ValueError naming file and line of what is broken; after the last for a file that is not
    what its manifest says.
    """
    kind = list[tuple[_TokensInfo, _AllScores if baseline else _Scores]]
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number} (fact {number - 1}), attribution scores"
            yield [
                PromptScores(
                    tokens=info.tokens,
                    answer=info.gold_obj,
                    predicted=info.pred_obj,
                    relation=info.relation,
                    of_answer=scores.ig_gold,
                    baseline=scores.base if baseline else [],
                )
                for info, scores in decode(line, kind, where, start_over(path))
            ]
    check_whole(path)


# --- neurons ---------------------------------------------------------------------------------


def write_neurons(
    results: Results,
    relation: str,
    baseline: bool,
    facts: Sequence[Sequence[Neuron]],
    shared: Sequence[Neuron],
) -> list[Path]:
    """Write the neurons of a relation's facts and those of the relation; return both paths."""
    of_facts = results.fact_neurons(relation, baseline)
    of_relation = results.relation_neurons(relation, baseline)
    write_json(of_facts, facts)
    write_json(of_relation, shared)
    return [of_facts, of_relation]


def read_fact_neurons(path: Path) -> list[list[Neuron]]:
    """The neurons of each fact, in data order.

    Raises ValueError naming the file and what in it is no neuron, or a fact that has one twice.
    """
    advice = "Expected [[layer, index], ...] for each fact: run 2_run_kn.sh again"
    facts = read_json(path, list[list[Neuron]], advice)
    for index, neurons in enumerate(facts):
        if len(set(neurons)) < len(neurons):
            raise ValueError(f"{path}: fact {index} has a neuron named twice.  {advice}")
    return facts
