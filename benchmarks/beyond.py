#!/usr/bin/env python
"""What the paper leaves open, on a model of today: maps, controls, edits, scorers, one prompt.

    python -m benchmarks.beyond --work DIR           # SmolLM2 where it can be had; about an hour
    python -m benchmarks.beyond demo --work DIR      # the embedded model, about five minutes
    python -m benchmarks.beyond bert-base-cased --work DIR    # needs the hub, scripts/get_data.py
    python -m benchmarks.beyond --work DIR --shown   # runs nothing, writes record and page

The stages 1, 2, 9, 10 and 11 are run over facts that the model knows, as users run them; DIR keeps
their results, so that the same command goes on.  Writes benchmarks/results/beyond_MODEL.json, the
figures docs/findings_*.svg and the tables of docs/findings.md.  CPU seconds of a map are those of
nine facts less those of one, a fact.  The last line is JSON.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import beyond_shown
from benchmarks.scale_processes import python, run
from knowledge_neurons import ROOT
from knowledge_neurons.results.controls import read_effects
from knowledge_neurons.results.editors import read_editors
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.localisation import read_localisation
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.results.maps import read_summaries
from knowledge_neurons.results.scorers import read_scorers_summary
from knowledge_neurons.results.single_prompt import read_one_prompt_summary
from knowledge_neurons.results.stability import read_stability
from knowledge_neurons.results.symmetry import read_reach

SMOLLM2, DEMO, BERT = "smollm2", "demo", "bert-base-cased"
RECORD = "benchmarks/results/beyond_{}.json"
TIMED = (1, 9)  # facts that are mapped to time one


@dataclass(frozen=True)
class Case:
    """A model, its data, and how much is asked.

    model: folder or name on the hub.  prepares: calls before the stages.  score, questions, ways:
    flags of stages 1, 10 and 11.  mapped: relations.  cases: of edits.  relations: that are scored,
    none for all.
    """

    model: Path | str
    prompts: str
    pairs: str
    prepares: Sequence[Sequence[str]]
    score: Sequence[str]
    mapped: str
    questions: Sequence[str]
    ways: Sequence[str]
    cases: str
    relations: Sequence[str] = ()


WORLD = "data/WORLD/world"
CASES = {
    SMOLLM2: Case(
        ROOT / "models/smollm2",
        "{work}/data/allbags.json",
        "{work}/data/query_pairs.json",
        (
            (
                *("scripts/known_facts.py", "--wordings", "3", "--per_relation", "13"),
                *("--data_path", f"{WORLD}_allbags.json", "--pairs", f"{WORLD}_query_pairs.json"),
                *("--sentences", f"{WORLD}_distant_{{}}.json", "--output", "{work}/data"),
            ),
        ),
        ("--tolerance", "5e-3", "--keep", "0.02"),
        "P36,P37,P103",
        ("--sample", "3"),
        ("--facts", "2"),
        "data/COUNTERFACT/world_counterfact.json",
    ),
    DEMO: Case(
        ROOT / "models/demo-bert",
        "data/PARAREL/sample_allbags.json",
        "data/PARAREL/sample_query_pairs.json",
        (),
        ("--keep", "0.02"),
        "P36,P19",
        (),
        ("--facts", "5"),
        "data/COUNTERFACT/sample_counterfact.json",
    ),
    BERT: Case(
        BERT,
        "data/PARAREL/data_all_allbags.json",
        "data/PARAREL/query_pairs.json",
        (),
        ("--max_facts", "50", "--keep", "0.02"),
        "P36",
        (),
        ("--facts", "10"),
        "data/COUNTERFACT/world_counterfact.json",
        ("P19", "P36", "P101"),
    ),
}


@dataclass(frozen=True)
class Runner:
    """Runs programs on a case, in a folder that keeps results and a log."""

    case: Case
    work: Path

    def __call__(self, *words: str) -> float:
        """CPU seconds of one program; RuntimeError, naming the log, where it fails."""
        filled = [word.replace("{work}", str(self.work)) for word in words]
        return run(python(*filled), self.work / "log.txt", self._environment).cpu_s

    @property
    def results(self) -> Results:
        return Results(self.work / "results")

    @property
    def _environment(self) -> Mapping[str, str]:
        case, work = self.case, str(self.work)
        return {
            "KN_MODEL": str(case.model),
            "KN_DATA": case.prompts.replace("{work}", work),
            "KN_PAIRS": case.pairs.replace("{work}", work),
            "KN_RESULTS": str(self.results.root),
        }

    @property
    def relations(self) -> list[str]:
        prompts = ROOT / self._environment["KN_DATA"]
        return [*self.case.relations] or sorted(json.loads(prompts.read_bytes()))


def measure(case: Case, work: Path) -> dict[str, Any]:
    """Run all stages over a case; how long a map takes is measured by itself, each time."""
    stage = Runner(case, work)
    if case.prompts.startswith("{work}") and not (work / "data/known.json").exists():
        for call in case.prepares:
            stage(*call)
    for relation in stage.relations:
        named = ("--pt_relation", relation, "--get_ig_gold", "--get_base")
        stage("src/1_analyze_mlm.py", *named, *case.score)
    for name in ("2_get_kn", "2_analyze_kn"):
        stage(f"src/{name}.py")
    stage("src/9_map_neurons.py", "--relations", case.mapped)
    stage("src/10_question_neurons.py", *case.questions)
    stage("src/10_question_edits.py", "--from", case.cases)
    for name in ("11_compare_scorers", "11_study_one_prompt"):
        stage(f"src/{name}.py", *case.ways)
    return {"map_s_per_fact": seconds_of_a_map(stage)}


def seconds_of_a_map(stage: Runner) -> float:
    """CPU seconds of a fact, of the first relation that is mapped."""
    spent = []
    for facts in TIMED:
        folder = stage.work / f"timed-{facts}"
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        where = ("--output_dir", str(folder), "--kn_dir", str(stage.results.kn))
        some = ("--relations", stage.case.mapped.split(",")[0], "--max_facts", str(facts))
        spent.append(stage("src/9_map_neurons.py", *some, *where))
    return round((spent[1] - spent[0]) / (TIMED[1] - TIMED[0]), 3)


def found_in(results: Results) -> dict[str, Any]:
    """What the stages' summaries say, and the headlines."""
    maps, scorers = read_summaries(results), read_scorers_summary(results)
    localisation, stability = read_localisation(results), read_stability(results)
    one = read_one_prompt_summary(results)
    ways = {way.way: way.precision.value for way in one.ways}
    upper = [found.validation.upper for found in maps.values()]
    smoothed = next(way for way in ways if "copies" in way)  # of 8 copies at 0.05
    return {
        "map_r": round(min(held.r for held in upper), 3),
        "edges_per_node": 10,
        "zero_out_rank_agreement": {
            found.scorer: round(found.agreement.value, 3)
            for found in scorers.scorers
            if found.agreement
        },
        "smooth_precision": round(ways[smoothed], 3),
        "one_prompt_precision": round(ways["one prompt"], 3),
        "effects": read_effects(results),
        "localisation": localisation.overall,
        "halves": stability.halves,
        "reach": read_reach(results),
        "editors": read_editors(results),
        "maps": {name: {"facts": own.facts, "neurons": own.driven, "share": own.share,
                        "half": own.half, "validation": own.validation}
                 for name, own in maps.items()},
        "scorers": scorers,
        "one_prompt": one,
    }  # fmt: skip


HEADLINES = ("model", "map_r", "map_s_per_fact", "edges_per_node", "zero_out_rank_agreement",
             "smooth_precision", "one_prompt_precision")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", choices=CASES, help="default: smollm2, else demo")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--shown", action="store_true", help="run nothing, write record and page")
    args = parser.parse_args()
    name = args.model or (SMOLLM2 if fetched() else DEMO)
    args.work.mkdir(parents=True, exist_ok=True)
    path = ROOT / RECORD.format(name)
    if args.shown:
        measured = {"map_s_per_fact": json.loads(path.read_bytes())["map_s_per_fact"]}
    else:
        measured = measure(CASES[name], args.work.resolve())
    results = Results(args.work.resolve() / "results")
    record = {"model": name, **measured, **found_in(results)}
    made = {"command": f"python -m benchmarks.beyond {name} --work DIR", "load": os.getloadavg()}
    write_json(path, record | made | {"made_with": environment()}, readable=True)
    beyond_shown.write(name, results)
    print(json.dumps({key: record[key] for key in HEADLINES}))
    return 0


def fetched() -> bool:
    """Whether SmolLM2 is there, or could be fetched now."""
    if (ROOT / "models/smollm2/config.json").exists():
        return True
    return not subprocess.run(python("scripts/get_smollm2.py"), cwd=ROOT).returncode


if __name__ == "__main__":
    program.run(lambda: sys.exit(main()))
