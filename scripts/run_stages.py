#!/usr/bin/env python
"""All stages for several relations, with the time left of the whole run.

    python scripts/run_stages.py                                         # the paper: 34 relations
    python scripts/run_stages.py --relations P19,P36 --max_facts 20 --oov skip
    python scripts/run_stages.py --calls                       # a line each, for scripts/plan.py
    python scripts/run_stages.py --workers 4                             # or --ray ADDRESS

What a stage has done it does not do again, so the same command goes on after an interruption.  The
time left is that of the work left, weighed by COST, at the speed of the steps that are done, of the
same stage where there are some; steps and seconds are kept in RESULTS/run.json.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from knowledge_neurons import ROOT
from knowledge_neurons.runs.executor import LOCAL
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.numbered import WHOLE_RUN
from knowledge_neurons.stages.run_log import Log, Step
from knowledge_neurons.stages.workers import WHO_WORKS, add_workers, engine
from knowledge_neurons.text import data

CHOSEN = ("P19", "P27", "P106", "P937")  # erased (the paper's Table 5), and dose-response drawn
FACTS_EDITED, CURVE = 10, "1,2,3,4,5,6,7,8,9,10"  # a relation; neurons edited
SCALES = "0,0.25,0.5,0.75,1,1.25,1.5,1.75,2"
# Relations that are mapped and questioned, and facts of each that are mapped, at most.
MAPPED, FACTS_MAPPED = ("P36", "P19"), 50
SENTENCES = {4: 28, 5: 8}  # of a fact that a stage reads, on average
# Seconds for a unit of a stage's work at bert-base's size on 2 cores (benchmarks/results): stages 1
# to 3 a prompt, 4 and 5 a sentence, 6 an edited fact, 7 a prompt, 8 the whole, 9 a fact, 10 a
# prompt.
# Only their ratios count, and only until a stage has run.
COST = {1: 0.27, 2: 2e-4, 3: 0.1, 4: 0.02, 5: 0.02, 6: 2.5, 7: 0.02, 8: 30.0, 9: 6.0, 10: 0.6}
COMPUTING = (1, 3, 4, 5, 6, 7, 9, 10)  # stages that take --workers


# --- what there is to do ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.Settings):
    """for_stage_1: flags that are handed to it as they are.  max_facts: None for all.

    workers, ray, threads_per_worker: of every stage that computes.
    calls: whether to print them and end.
    data, output: as they were given, for the stages to put the language in.
    """

    relations: list[str]
    max_facts: int | None
    oov: str
    bert_model: str | None
    device: str | None
    data_path: Path
    data: Path
    output: Path
    for_stage_1: list[str]
    calls: bool
    workers: int | None
    ray: str | None
    threads_per_worker: int | None

    @property
    def who_works(self) -> list[str]:
        """The flags of WHO_WORKS."""
        told = ((name, getattr(self, name)) for name in WHO_WORKS)
        return [part for name, value in told if value for part in (f"--{name}", str(value))]


def parse() -> Settings:
    parser = arguments.Parser(
        description=__doc__.splitlines()[0], epilog="Any further flag is given to stage 1."
    )
    parser.add_argument("--relations", help="P19,P36 ... (default: all of the data)")
    parser.add_argument(
        "--max_facts",
        type=numbers.whole(-numbers.LARGEST),
        default=-1,
        help="only the first N of each",
    )
    parser.add_argument("--oov", choices=("error", "skip"), default="error", help="as in stage 1")
    parser.add_argument("--bert_model", "--model", help="KN_MODEL; default: bert-base-cased")
    parser.add_argument("--device", help="KN_DEVICE; default: cuda where there is one")
    parser.add_argument("--calls", action="store_true", help="print the calls of stages and end")
    arguments.add_data(parser)
    arguments.add_results(parser)
    add_workers(parser)
    args, others = parser.parse_known_args()
    as_given = {"data": args.data_path, "output": args.output_dir}
    return arguments.settings(Settings, args, for_stage_1=others, **as_given)


def prompts_of(settings: Settings) -> dict[str, list[int]]:
    """For each relation asked for the number of prompts of each fact."""
    source, at_most = settings.data_path, settings.max_facts
    bags = data.read_bags(source)
    return {
        name: [len(fact.prompts) for fact in data.facts_of(bags, name, source, at_most)]
        for name in settings.relations or bags
    }


def steps_of(settings: Settings) -> list[Step]:
    """Every call of every stage, in order."""
    sizes = prompts_of(settings)
    facts, prompts = sum(map(len, sizes.values())), sum(map(sum, sizes.values()))
    which = ["--relations", ",".join(sizes)]
    oov = ["--oov", settings.oov]
    few = ["--max_facts", str(settings.max_facts or -1), *oov]
    edits = FACTS_EDITED * len(sizes)
    chosen = [relation for relation in CHOSEN if relation in sizes] or list(sizes)[:1]
    mapped = [relation for relation in MAPPED if relation in sizes] or list(sizes)[:1]
    mapped = {relation: min(len(sizes[relation]), FACTS_MAPPED) for relation in mapped}
    dosed = sum(sum(sizes[relation]) for relation in chosen) * len(SCALES.split(",")) / 3

    def step(stage: int, script: str, units: float, *flags: str, name: str = "") -> Step:
        who = settings.who_works if stage in COMPUTING else ()
        command = ["bash", str(ROOT / "src" / script), *flags, *who]
        return Step(stage, f"stage {stage} {name}".strip(), command, units * COST[stage])

    steps = [
        *(
            step(1, "1_run_mlm.sh", sum(own), relation, *few, *settings.for_stage_1, name=relation)
            for relation, own in sizes.items()
        ),
        step(2, "2_run_kn.sh", prompts, *which),
        step(3, "3_run_modify_activation.sh", prompts, *which, *oov),
        step(
            *(3, "3_run_modify_activation.sh", dosed, "--scales", SCALES, *oov),
            *("--relations", ",".join(chosen)),
            name="dose-response",
        ),
        step(4, "4_run_distant.sh", facts * SENTENCES[4], *which),
        step(5, "5_run_trigger_examples.sh", facts * SENTENCES[5], *which),
        step(6, "6_run_edit.sh", edits, "1", "8", *few, *which, "--save_patches", name="edits"),
        step(
            *(6, "6_run_edit.sh", edits * len(CURVE.split(","))),
            *("1", "8", *few, *which, "--top_k", CURVE),
            name="success curve",
        ),
        *(step(7, "7_run_erase.sh", prompts, name, *few, name=name) for name in chosen),
        *(
            step(9, "9_neuron_map.sh", count, name, "--max_facts", str(count), *oov, name=name)
            for name, count in mapped.items()
        ),
        step(
            *(10, "10_controls.sh", sum(sum(sizes[name]) for name in mapped)),
            *("--relations", ",".join(mapped), *oov),
            name="controls",
        ),
        step(8, "8_run_plot.sh", 1),
    ]
    return [one for one in steps if one.stage not in SENTENCES or not lacks_sentences(settings)]


def lacks_sentences(settings: Settings) -> bool:
    """BINGREL's are English: of another language there are those that the user names."""
    return bool(settings.language) and not os.environ.get("KN_SENTENCES")


# --- running them ----------------------------------------------------------------------------

NEEDED = (1, 2)  # stages that all others build on


def run(steps: list[Step], log: Log, environment: dict[str, str]) -> None:
    """Run them in order; what does not build on a step that fails goes on.

    Raises ValueError naming the steps that failed.
    """
    failed = []
    for place, step in enumerate(steps):
        left = log.seconds_left(steps[place:])
        about = "" if left is None else f", whole run {tqdm.format_interval(left)} left"
        print(f"\n[{place + 1} of {len(steps)}] {step.name}{about}", flush=True)
        if code := run_step(step, log, environment):
            failed.append(f"{step.name} (exit code {code})")
            if step.stage in NEEDED:
                break
    if failed:
        raise ValueError(
            f"{', '.join(failed)} failed; mend what it says above, then run the same command again "
            "to go on from there"
        )


def run_step(step: Step, log: Log, environment: dict[str, str]) -> int:
    """Run one and note its time; returns its exit code."""
    started, done = time.perf_counter(), False
    try:
        with subprocess.Popen(step.command, env=environment) as process:
            try:
                code = process.wait()
            except program.Stopped as stop:
                process.send_signal(stop.signal)  # again, where the terminal has sent it already
                raise  # once it has ended: leaving the block waits for it
        done = code == 0
        return code
    finally:  # also when the user stops it
        log.add(step, time.perf_counter() - started, done)


def show_times(steps: list[Step], log: Log) -> None:
    """Seconds of each stage."""
    by_stage: dict[str, float] = {}
    for step in steps:
        stage = f"stage {step.stage}"
        by_stage[stage] = by_stage.get(stage, 0.0) + log.steps[step.name]["seconds"]
    seconds = {stage: f"{value:8.1f} s" for stage, value in by_stage.items()}
    print()
    tables.show("Time of each stage", seconds | {"all": f"{sum(by_stage.values()):8.1f} s"})


def with_cluster(settings: Settings) -> Settings:
    """With the address of a local cluster that all stages share, where one is asked for."""
    if settings.ray != LOCAL:
        return settings
    crew = engine(LOCAL)
    cores = crew.cores_of(settings.workers, settings.threads_per_worker)
    return replace(settings, ray=crew.connect(LOCAL, cores))


def main() -> None:
    settings = parse()
    if settings.calls:
        print("\n".join(shlex.join(step.command) for step in steps_of(settings)))
        return
    settings = with_cluster(settings)
    steps, log = steps_of(settings), Log.read(settings.results.root / "run.json")
    chosen = {
        "KN_MODEL": settings.bert_model,
        "KN_DEVICE": settings.device,
        "KN_DATA": str(settings.data),
        "KN_RESULTS": str(settings.output),
        "KN_LANGUAGE": settings.language,
        WHOLE_RUN: "1",
    }
    given = {name: value for name, value in chosen.items() if value}
    if lacks_sentences(settings):
        print("stages 4 and 5 are left out: KN_SENTENCES names no sentences of the language")
    run(steps, log, dict(os.environ) | given)
    show_times(steps, log)


if __name__ == "__main__":
    program.run(main)
