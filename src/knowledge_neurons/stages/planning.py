"""What a run will cost, said before it is begun: `scripts/plan.py`.

The model's shape comes from its config alone, the counts from the data, the seconds from ten
seconds of work on a random model of that shape.  Nothing is downloaded but a config, and nothing
is written.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from knowledge_neurons.attribution.scorers import IG
from knowledge_neurons.networks import batching, shapes
from knowledge_neurons.networks.pretrained import chosen_device
from knowledge_neurons.planning import calls, estimate, survey, trial, work
from knowledge_neurons.planning.calls import KNOWN, Call
from knowledge_neurons.planning.estimate import GIB, Plan
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.stages import arguments, numbers, tables

DESCRIPTION = "What a run will cost: operations, hours by stage, memory, disk, workers."
ASKED_OVER = 1.0  # hours
NAMES = {KNOWN: "facts known", 1: "1 scores", 2: "2 neurons", 3: "3 changes", 4: "4 sentences"}
NAMES |= {5: "5 triggers", 6: "6 edits", 7: "7 erasures", 8: "8 report", 9: "9 neuron maps"}
NAMES |= {10: "10 controls"}


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.SentenceSettings):
    """What is to be planned.

    calls: a file of them, "-" for standard input; without one those of `stages`, first and last,
    with flags for stage 1.  deadline: hours, or None.  memory: GiB of a batch of stage 1, or None.
    json: the plan on one line.  ask: whether a run comes after it; yes: that goes on in any case.
    """

    calls: str | None
    stages: tuple[int, int] | None
    flags: list[str]
    deadline: float | None
    memory: float | None
    json: bool
    ask: bool
    yes: bool


def parse(argv: list[str] | None = None) -> Settings:
    """The command line; flags that are not known here are stage 1's."""
    parser = arguments.Parser(
        prog="kn plan", description=DESCRIPTION, epilog="Other flags are given to stage 1."
    )
    arguments.add_model(parser)
    arguments.add_data(parser)
    arguments.add_sentences(parser)
    arguments.add_results(parser)
    arguments.add_relations(parser, having="prompts")
    parser.add_argument(
        "--max_facts",
        type=numbers.whole(-numbers.LARGEST),
        default=-1,
        help="only the first N of each relation; 0 or less: all",
    )
    parser.add_argument("--stages", type=numbers.layers, help="FIRST-LAST, such as 1-3 (1-8)")
    parser.add_argument(
        "--calls", metavar="FILE", help="the calls of stages, a line each; - reads standard input"
    )
    parser.add_argument("--deadline", type=numbers.real(0, 1e6, above=True), help="in hours")
    parser.add_argument(
        "--memory",
        type=numbers.real(0, 1 << 20, above=True),
        help="GiB a batch of stage 1 may take (default: from the free)",
    )
    parser.add_argument("--json", action="store_true", help="on one line, for programs")
    parser.add_argument(
        "--ask",
        action="store_true",
        help=f"before a run: on a terminal, ask before more than {ASKED_OVER:g} h (exit code 1 for "
        "no); a plan that cannot be made is one line",
    )
    parser.add_argument("--yes", action="store_true", help="with --ask: as if yes were answered")
    args, others = parser.parse_known_args(argv)
    derived = {"tmp_data_path": None, "max_seq_length": survey.MAX_TOKENS}
    return arguments.settings(Settings, args, flags=others, **derived)


def calls_of(settings: Settings) -> list[Call]:
    """What is to be planned; ValueError for what no stage takes."""
    source = settings.calls
    if source is None:
        first, last = settings.stages or (calls.PAPER.start, calls.PAPER.stop - 1)
        if not (first in calls.STAGES and last in calls.STAGES):
            raise ValueError(f"--stages {first}-{last}: expected numbers from 1 to 9")
        return calls.of_stages(range(first, last + 1), settings.flags)
    lines = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    return calls.read(lines.splitlines())


# --- the plan ----------------------------------------------------------------------------------


def make(settings: Settings, clock: Callable[[], float] = time.perf_counter) -> Plan:
    """Survey, trial, estimate.  clock: whose seconds."""
    listed = calls_of(settings)
    network = shapes.shape_of(settings.bert_model, settings.revision)
    started = time.process_time()  # as every stage: Python, torch, whatever the family needs
    words = shapes.tokens_of(settings.bert_model, network)
    found = survey.survey(
        settings.data_path,
        settings.max_facts,
        settings.sentences,
        words,
        network.causal,
    )
    device = chosen_device(settings.device)
    points, calibrated = told_by(settings.results)
    asked = work.Asked(network, found, tuple(settings.relations), points, calibrated)
    works = work.works_of(asked, listed)
    kept = getattr(torch, settings.weights)
    rates = trial.rates(network, found, device, started, kept, clock)
    first = next((call for call in listed if call.stage == 1), Call(1))
    return estimate.plan(
        asked,
        works,
        rates,
        work.points_of(asked, first),
        _budget(settings, device),
        device,
        settings.deadline,
        first.tolerance is None or first.scorer != IG,
        work.prompt_of(asked, first),
    )


def _budget(settings: Settings, device: torch.device) -> int:
    if settings.memory is not None:
        return round(settings.memory * GIB)
    return batching.memory_budget(device)


def told_by(results: Results) -> tuple[float | None, bool]:
    """Points a layer of relations that are scored already, and whether there is a calibration."""
    told = []
    for relation in results.scored_relations():
        found = read_manifest(results.scores(relation)) or {}
        told.append(found.get("quadrature", {}).get("points_per_layer"))
    told = [one for one in told if isinstance(one, float) and one > 0]
    return (sum(told) / len(told) if told else None), results.calibration.exists()


# --- on the screen -----------------------------------------------------------------------------


def show(settings: Settings, plan: Plan) -> None:
    """A small table."""
    rows: dict[str, object] = {
        "asked": f"{plan.relations} relations, {plan.facts:,} facts, {plan.prompts:,} prompts of "
        f"{plan.tokens:.1f} tokens, {plan.sentences:,} web sentences",
    }
    for number, stage in plan.stages.items():
        does = f"{stage.operations:8.1e} operations" if stage.operations else " " * 19
        rows[NAMES[number]] = f"{duration(stage.hours):>9}  {does}"
    rows["all"] = f"{duration(plan.hours):>9}  {plan.operations:8.1e} operations"
    device = f", {plan.device / GIB:.1f} GiB of the device" if plan.device else ""
    rows["memory"] = f"{plan.host / GIB:.1f} GiB{device}{_too_large(plan.host)}"
    parts = (f"{name} {size / GIB:.2f}" for name, size in plan.disk.items())
    rows["disk"] = f"{sum(plan.disk.values()) / GIB:.1f} GiB ({', '.join(parts)})"
    if plan.workers is not None:
        rows["workers"] = (
            f"{plan.workers} like this machine for {settings.deadline:g} h, each at "
            f"{estimate.EFFICIENCY:.0%}"
        )
    if 1 in plan.stages:
        rows["dtype"] = advice(plan)
    rows["assumed"] = "; ".join(plan.assumed) or "nothing"
    where, threads = chosen_device(settings.device), torch.get_num_threads()
    many = f"{threads} thread{'s' * (threads != 1)}"
    tables.show(f"What it will cost: {settings.bert_model} on {where}, {many}", rows)


def _too_large(host: int) -> str:
    """What is wrong with a peak that is over this machine's memory."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"; this machine has {there / GIB:.1f}: it will not do" if host > there else ""


def duration(hours: float) -> str:
    """In the unit that suits."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours >= 0.05 else f"{3600 * hours:.0f} s"


def advice(plan: Plan) -> str:
    """Which --dtype pays here; nothing is switched."""
    times = ", ".join(f"{name} {one:.3g} s" for name, one in plan.seconds_a_prompt.items())
    if plan.best == "float32":
        return f"no other than float32, the default, pays here; a prompt takes {times}"
    return (
        f"--dtype {plan.best} would pay here, for scores off by up to {plan.error:.1g} of the "
        f"largest: a prompt takes {times}"
    )


def confirmed(plan: Plan) -> bool:
    """Whether to go on: asked on a terminal, before more than ASKED_OVER hours."""
    if plan.hours <= ASKED_OVER or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def main(argv: list[str] | None = None) -> None:
    """Plan, show, ask.  With --ask a plan that cannot be made is one line, and the run goes on."""
    settings = parse(argv)
    try:
        plan = make(settings)
    except (ValueError, OSError) as error:
        if not settings.ask:
            raise
        print(f"costs are not known beforehand: {error}")
        return
    if settings.json:
        print(json.dumps(plan.told()))
    else:
        show(settings, plan)
    if settings.ask and not (settings.yes or confirmed(plan)):
        print("nothing was begun")
        sys.exit(1)
