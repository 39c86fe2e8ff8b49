"""Every file a stage writes: its path and its JSON shape.

The names and shapes are those of the authors' released stages, so that files of either pipeline
feed the other; their words (rlt, ig_gold, kn_bag, base) live only here.  `storage` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from knowledge_neurons.storage import named_tuple, read_json, write_json
from knowledge_neurons.types import Neuron, PromptScores, Triplet

DEFAULT_PREFIX = "TREx-all"


@dataclass(frozen=True)
class Results:
    """The paths under a results folder."""

    root: Path
    prefix: str = DEFAULT_PREFIX

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
        return self.root / "kn" / f"{_base(baseline)}kn_bag-{relation}.json"

    def relation_neurons(self, relation: str, baseline: bool) -> Path:
        return self.root / "kn" / f"{_base(baseline)}kn_rel-{relation}.json"

    def refined_relations(self, baseline: bool) -> list[str]:
        """Relations that have refined neurons, sorted by name."""
        start = f"{_base(baseline)}kn_bag-"
        paths = (self.root / "kn").glob(f"{start}*.json")
        names = [path.stem for path in paths if not path.name.endswith(".manifest.json")]
        return sorted(name[len(start) :] for name in names)

    @property
    def statistics(self) -> Path:
        return self.root / "kn" / "statistics.json"

    @property
    def modified(self) -> Path:
        """Folder of stage 3's records, a file for each relation, and of their averages."""
        return self.root / "modify_activation"

    def modified_averages(self, baseline: bool) -> Path:
        return self.root / "kn" / f"{_base(baseline)}modify_activation_rlt.json"

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
    paths = (path for path in folder.glob("*.json") if not path.name.endswith(".manifest.json"))
    return sorted(path.stem for path in paths)


# --- scores: one line per fact, in data order ------------------------------------------------


def encode_fact_scores(prompts: Sequence[PromptScores]) -> bytes:
    """One line of a scores file; a fact that was left out is the empty list."""
    pairs = [[_tokens_info(prompt), _res_dict(prompt)] for prompt in prompts]
    return orjson.dumps(pairs, default=named_tuple)


def _tokens_info(prompt: PromptScores) -> dict[str, Any]:
    return {
        "tokens": prompt.tokens,
        "relation": prompt.relation,
        "gold_obj": prompt.answer,
        "pred_obj": prompt.predicted,
    }


def _res_dict(prompt: PromptScores) -> dict[str, Any]:
    # DEVIATION: ig_pred is stored as triplets too; the released code leaves it dense (DESIGN, 4)
    return {
        "pred": [prompt.probabilities] if prompt.probabilities else [],
        "ig_pred": prompt.of_prediction,
        "ig_gold": prompt.of_answer,
        "base": prompt.baseline,
    }


def read_fact_scores(path: Path, baseline: bool = True) -> Iterator[list[PromptScores]]:
    """The prompts of each fact, in data order: of_answer and baseline, all that refining needs.

    baseline: False leaves the activations out, which are most of the file.
    Raises ValueError naming file and line of what is broken.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                pairs = orjson.loads(line)
                if not isinstance(pairs, list):
                    raise TypeError(f"expected a list, got {type(pairs).__name__}")
                yield [_prompt_scores(*pair, baseline) for pair in pairs]
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {number} (fact {number - 1}): not a line of attribution scores "
                    f"({type(error).__name__}: {error}).  Remove the file and run stage 1 again"
                ) from error


def _prompt_scores(info: dict[str, Any], result: dict[str, Any], baseline: bool) -> PromptScores:
    return PromptScores(
        tokens=info["tokens"],
        answer=info["gold_obj"],
        predicted=info["pred_obj"],
        relation=info["relation"],
        of_answer=_triplets(result["ig_gold"]),
        baseline=_triplets(result["base"]) if baseline else [],
    )


def _triplets(rows: list) -> list[Triplet]:
    """[[layer, index, score], ...] checked."""
    for layer, index, score in rows:
        whole = type(layer) is int and type(index) is int and layer >= 0 and index >= 0
        if not (whole and type(score) in (float, int)):
            raise ValueError(f"expected [layer, index, score], got {[layer, index, score]}")
    return [Triplet(*row) for row in rows]


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
    """The neurons of each fact, in data order."""
    content = read_json(path)
    try:
        facts = [[Neuron(*pair) for pair in fact] for fact in content]
        if not all(type(number) is int for fact in facts for pair in fact for number in pair):
            raise TypeError("not whole numbers")
        return facts
    except TypeError as error:
        raise ValueError(f"{path}: expected [[layer, index], ...] for each fact") from error
