#!/usr/bin/env python
"""What `scripts/plan.py` foretells beside what the run took: the demo, SmolLM2, bert-base's shapes.

    python -m benchmarks.plan demo smollm2 bert-base --work DIR      # 6, 40, 5 minutes of one core

Each case is planned, its calls are run one after the other, a process each, and it is planned
again; DIR keeps results, times and plans, so that the same command goes on (with --measured it runs
nothing, and compares the stages that are there).  Compared are CPU seconds of one thread, the
plans' trials by the same clock (the mean of the plans: a second of a processor that others share
does more at one time than at another), because other programs lengthen wall seconds, which are kept
beside them; peaks of resident memory; bytes of the results.

- **demo**: scripts/demo.sh, all its calls;
- **smollm2**: scripts/real_model.sh, after `python scripts/get_smollm2.py`;
- **bert-base**: a random model of bert-base-cased's shape on four facts of P19 and of P36, all
  points, for its paths are smoother than a real model's: stages 1, 3 and 7 (2 between them is not
  compared: of random weights far more scores are kept).

The last line is JSON; the exit status is 1 where a whole case is off by more than 30 %.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.random_models import BERT_BASE, random_bert
from knowledge_neurons import ROOT
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.planning import calls
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.stages import planning
from knowledge_neurons.text.tokenizer import Tokenizer

ALLOWED = 0.30
CASES = ("demo", "smollm2", "bert-base")
SAMPLE = ROOT / "data/PARAREL/sample_allbags.json"
FEW = "--max_facts 4"
BERT_CALLS = (
    *(f"1_run_mlm.sh P19 --exact {FEW}", f"1_run_mlm.sh P36 --exact {FEW}", "2_run_kn.sh"),
    *("3_run_modify_activation.sh --relations P19,P36", f"7_run_erase.sh P36 {FEW}"),
)
NOT_COMPARED = {"bert-base": 2}  # stages


@dataclass(frozen=True)
class Case:
    """flags: of the plan.  lines: the calls that are planned and run.  environment: of these."""

    flags: list[str]
    lines: list[str]
    environment: dict[str, str]


def case_of(name: str, work: Path) -> Case:
    """What a case asks; its results go to a folder of work."""
    results = work / name
    own = {"KN_RESULTS": str(results), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if name == "smollm2":
        world, facts = ROOT / "data/WORLD/world", results / "data"
        pattern = {"data": f"{world}_allbags.json", "sentences": f"{world}_distant_{{}}.json"}
        own |= {"KN_MODEL": str(ROOT / "models/smollm2"), "KN_DATA": str(facts / "allbags.json")}
        own |= {"KN_PAIRS": str(facts / "query_pairs.json")}
        own |= {"KN_SENTENCES": str(facts / "distant_{}.json")}
        flags = ["--data_path", pattern["data"], "--sentences", pattern["sentences"]]
        lines = printed("bash", str(ROOT / "scripts/real_model.sh"), "--calls")
        known = f" --output {facts} --pairs {world}_query_pairs.json {shlex.join(flags)}"
        return Case([*flags, "--max_facts", "13"], [lines[0] + known, *lines[1:]], own)
    own |= {"KN_SENTENCES": str(ROOT / "data/BINGREL/sample_distant_{}.json")}
    own |= {"KN_PAIRS": str(ROOT / "data/PARAREL/sample_query_pairs.json"), "KN_DATA": str(SAMPLE)}
    if name == "demo":
        own["KN_MODEL"] = str(ROOT / "models/demo-bert")
        whole = ("--data_path", str(SAMPLE))
        return Case([], printed(sys.executable, "scripts/run_stages.py", "--calls", *whole), own)
    own["KN_MODEL"] = str(bert_base(work / "random-bert-base"))
    return Case(FEW.split(), list(BERT_CALLS), own)


def printed(*command: str) -> list[str]:
    return subprocess.check_output(command, cwd=ROOT, text=True).splitlines()


def bert_base(folder: Path) -> Path:
    """A random checkpoint of bert-base-cased's shape that reads the sample's words."""
    if not folder.exists():
        words = checkpoints.from_pretrained(ROOT / "models/demo-bert").tokenizer.vocabulary
        filled = [*words, *(f"[unused {n}]" for n in range(len(words), BERT_BASE.vocab_size))]
        tokenizer = Tokenizer({token: n for n, token in enumerate(filled)}, lowercase=False)
        checkpoints.save_pretrained(random_bert(BERT_BASE, seed=0), tokenizer, folder)
    return folder


# --- what it takes -----------------------------------------------------------------------------


def commands_of(case: Case, work: Path, name: str) -> list[str]:
    """The calls as they are run; stage 1 without a relation stands for one of every relation."""
    found = []
    for line in case.lines:
        if line.startswith("1_run_mlm.sh --"):
            there = sorted((work / name / "data").glob("distant_*.json"))
            relations = [path.stem.removeprefix("distant_") for path in there]
            rest = line.removeprefix("1_run_mlm.sh ")
            found += [f"1_run_mlm.sh {relation} {rest}" for relation in relations]
        else:
            found.append(line)
    return found


def measured(name: str, case: Case, work: Path, go_on: bool) -> list[dict[str, Any]]:
    """Seconds and peak of every call; those of an earlier run are taken as they are.

    go_on: whether to run the others; else those of stages that are whole.
    """
    log = work / f"{name}.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not go_on:
        todo = Counter(call.stage for call in calls.read(commands_of(case, work, name)))
        there = Counter(row["stage"] for row in rows)
        return [row for row in rows if there[row["stage"]] == todo[row["stage"]]]
    place = 0
    while place < len(todo := commands_of(case, work, name)):
        if place == len(rows):
            rows.append(run(todo[place], case.environment, work / f"{name}.log"))
            with log.open("a") as file:
                print(json.dumps(rows[-1]), file=file)
        place += 1
    return rows


def run(line: str, own: dict[str, str], output: Path) -> dict[str, Any]:
    """One call; RuntimeError where it fails."""
    shell = line if line.startswith("bash ") else f"bash {line}"
    if line.startswith("known_facts.py"):
        shell = f"{sys.executable} ../scripts/{line}"
    started = time.perf_counter()
    with output.open("a") as file:
        process = subprocess.Popen(
            shlex.split(shell), cwd=ROOT / "src", env=os.environ | own, stdout=file, stderr=file
        )
        _, status, use = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{line} ended with {status}: see {output}")
    (call,) = calls.read([line])
    return {
        "call": line.replace(f"{ROOT}/", ""),
        "stage": call.stage,
        "cpu_s": use.ru_utime + use.ru_stime,
        "wall_s": time.perf_counter() - started,
        "peak": use.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


# --- beside what was foretold ------------------------------------------------------------------


def planned(case: Case, work: Path, clock: str = "process_time") -> dict[str, Any]:
    """The plan of a case by CPU or wall seconds, in a process as the calls are."""
    program = (
        "import json, time; from knowledge_neurons.stages import planning as p; "
        "p.told_by = lambda *_: (None, False); "  # nothing that its results tell
        f"print(json.dumps(p.make(p.parse(), time.{clock}).told()))"
    )
    listed = work / "calls"
    listed.write_text("\n".join(case.lines))
    flags = [*case.flags, "--calls", str(listed)]
    started = time.perf_counter()
    told = subprocess.check_output(
        [sys.executable, "-c", program, *flags], env=os.environ | case.environment, cwd=ROOT
    )
    return json.loads(told) | {"took_s": time.perf_counter() - started}


def plans_of(name: str, case: Case, work: Path) -> list[dict[str, Any]]:
    """All plans of a case so far, and one more."""
    log = work / f"{name}.plans.jsonl"
    with log.open("a") as file:
        print(json.dumps(planned(case, work)), file=file)
    return [json.loads(line) for line in log.read_text().splitlines()]


def compare(name: str, work: Path, go_on: bool) -> dict[str, Any]:
    """A case: by stage what was foretold and what it took."""
    case = case_of(name, work)
    if go_on:
        plans_of(name, case, work)
    rows = measured(name, case, work, go_on)
    plans, by_wall = plans_of(name, case, work), planned(case, work, "perf_counter")
    rows = [row for row in rows if row["stage"] != NOT_COMPARED.get(name)]
    plan, there = plans[-1], {str(row["stage"]) for row in rows}
    hours = {
        stage: fmean(one["stages"][stage]["hours"] for one in plans)
        for stage in plan["stages"]
        if stage in there
    }
    stages = {}
    for stage, foretold in hours.items():
        own = [row for row in rows if str(row["stage"]) == stage]
        took = sum(row["cpu_s"] for row in own)
        stages[planning.NAMES[int(stage)]] = {
            "planned_s": 3600 * foretold,
            "cpu_s": took,
            "wall_s": sum(row["wall_s"] for row in own),
            "off": 3600 * foretold / took - 1,
            "planned_peak": plan["stages"][stage]["host"],
            "peak": max(row["peak"] for row in own),
        }
    whole = sum(row["cpu_s"] for row in rows)
    size = sum(path.stat().st_size for path in (work / name).rglob("*") if path.is_file())
    return {
        "plans_s": [3600 * sum(one["stages"][s]["hours"] for s in hours) for one in plans],
        "prompts": plan["prompts"],
        "operations": plan["operations"],
        "planned_s": 3600 * sum(hours.values()),
        "planned_by_wall_s": 3600 * sum(by_wall["stages"][s]["hours"] for s in hours),
        "cpu_s": whole,
        "wall_s": sum(row["wall_s"] for row in rows),
        "off": 3600 * sum(hours.values()) / whole - 1,
        "planned_peak": plan["host"],
        "peak": max(row["peak"] for row in rows),
        "planned_results": plan["disk"]["results"],
        "results": size,
        "plan_took_s": by_wall["took_s"],
        "stages": stages,
        "seconds_a_prompt": plan["seconds_a_prompt"],
    }


def show(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name:<14}{'planned s':>10}{'CPU s':>9}{'off':>8}{'planned GiB':>13}{'peak GiB':>10}")
    for row, one in (*found["stages"].items(), ("all", found)):
        peaks = one["planned_peak"] / 2**30, one["peak"] / 2**30
        print(
            f"{row:<14}{one['planned_s']:>10.1f}{one['cpu_s']:>9.1f}{one['off']:>+8.0%}"
            f"{peaks[0]:>13.2f}{peaks[1]:>10.2f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--measured", action="store_true", help="run nothing more")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/plan.json")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in args.cases:
        found[name] = compare(name, args.work.resolve(), not args.measured)
        show(name, found[name])
    told = {"command": f"python -m benchmarks.plan {' '.join(args.cases)}", **environment()}
    missed = [name for name, one in found.items() if abs(one["off"]) > ALLOWED]
    write_json(args.output, {**told, "threads": 1, **found, "missed": missed}, readable=True)
    print(json.dumps({name: round(one["off"], 3) for name, one in found.items()}))
    return 1 if missed else 0


if __name__ == "__main__":
    program.run(lambda: sys.exit(main()))
