"""Work times rates: hours by stage, memory, disk, and workers for a deadline."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.experiments import distant_activation, modify_activation, neuron_maps
from knowledge_neurons.networks import evaluation, passes, shapes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.planning.calls import KNOWN
from knowledge_neurons.planning.survey import Survey
from knowledge_neurons.planning.trial import ERRORS, Rates
from knowledge_neurons.planning.work import Asked, Work

MIB, GIB = 1 << 20, 1 << 30
# A stage imports more than the plan does; without the model it starts in so much of that time.
# What stages 2 and 8 do to a prompt's lines, in times of tokenising it, and to draw the figures, in
# starts.  As the demo takes (benchmarks/results/plan.json).
STAGE, LIGHT, LINES, FIGURES = 1.3, 0.35, {2: 1.0, 8: 3.0}, 2.0
# Bytes of results, as the demo and SmolLM2 leave them: a prompt's scores, what all other stages
# write of a prompt, a record of an edit, a report and figures; of maps a point's share of a neuron.
SCORES, CHANGES, UPDATE, REPORT, MAP = 1100, 1300, 4300, 2 << 20, 680
PAYS = 0.8  # of float32's time that another dtype has to stay under to be worth its error
EFFICIENCY = 0.8  # of workers: groups end at different times, and one process writes
# Resident before the model, and times its weights while these are read and checked: of BERT, and of
# what `transformers` reads.
BERT, OTHERS = (340 * MIB, 1.15), (400 * MIB, 1.55)
# Times what a batch is said to hold, of an encoder and of a decoder: the allocator's, and results
# on their way out.
HELD = {False: 1.9, True: 1.1}
LIGHT_PEAK = 220 * MIB


@dataclass(frozen=True)
class Stage:
    """operations: floating-point.  hours: on this machine.  host, device: peaks in bytes."""

    operations: float
    hours: float
    host: int
    device: int


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    workers: like this machine, for the deadline; None without one.  seconds_a_prompt: of stage 1,
    by --dtype.  best: the dtype that pays; error: what it costs in precision.
    assumed: in words, what was neither counted nor measured.
    """

    relations: int
    facts: int
    prompts: int
    tokens: float
    sentences: int
    stages: dict[int, Stage]
    disk: dict[str, int]
    workers: int | None
    seconds_a_prompt: dict[str, float]
    best: str
    error: float
    assumed: list[str]

    @property
    def hours(self) -> float:
        return sum(stage.hours for stage in self.stages.values())

    @property
    def operations(self) -> float:
        return sum(stage.operations for stage in self.stages.values())

    @property
    def host(self) -> int:
        return max((stage.host for stage in self.stages.values()), default=0)

    @property
    def device(self) -> int:
        return max((stage.device for stage in self.stages.values()), default=0)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        whole = {"hours": self.hours, "operations": self.operations}
        return asdict(self) | whole | {"host": self.host, "device": self.device}


def plan(
    asked: Asked,
    works: Mapping[int, Work],
    rates: Rates,
    points: float,
    budget: int,
    device: torch.device,
    deadline: float | None = None,
    exact: bool = False,
    prompt: Work | None = None,
) -> Plan:
    """The plan of a run.

    works: by stage.  points: a layer takes in stage 1, all of the rule where that is exact.
    budget: bytes that a batch of stage 1 may take.  deadline: hours.  prompt: one of stage 1, None
    for the points in every layer.
    """
    network, survey, found = asked.network, asked.survey, asked.survey.sentences
    stages = {}
    for stage, work in works.items():
        seconds = seconds_of(work, rates)
        held = peaks(stage, network, survey, points, budget, device)
        stages[stage] = Stage(work.operations, seconds / 3600, *held)
    seconds_each = seconds_of(prompt or Work(1, points=points, scored=1), rates)
    each = {
        name: seconds_each * share for name, share in {"float32": 1.0, **rates.by_dtype}.items()
    }
    best = min(each, key=each.__getitem__)
    if each[best] > PAYS * each["float32"]:
        best = "float32"
    hours = sum(stage.hours for stage in stages.values())
    return Plan(
        relations=len(asked.relations or survey.prompts),
        facts=survey.facts_of(asked.relations),
        prompts=round(survey.prompts_of(asked.relations)),
        tokens=survey.tokens,
        sentences=round(survey.share_of(asked.relations) * (found.both + found.head)),
        stages=stages,
        disk=disk(asked, works),
        workers=None if deadline is None else workers(hours, deadline),
        seconds_a_prompt=each,
        best=best,
        error=ERRORS.get(best, 0.0),
        assumed=_assumed(asked, works, points, exact),
    )


def seconds_of(work: Work, rates: Rates) -> float:
    """The seconds that a stage's work takes here."""
    done = (
        *((work.starts, STAGE * rates.start + rates.load), (work.light, LIGHT * rates.start)),
        (FIGURES * (work.stage == 8), rates.start),
        *((work.points, rates.point), (work.scored, rates.scored)),
        *((work.read, rates.read), (work.together, rates.together)),
        *((work.edited, rates.edited), (work.edits, rates.edit)),
        *((work.sentences, rates.sentence),),
        (work.tokenised, rates.tokenise * LINES.get(work.stage, 1.0)),
    )
    return sum(count * seconds for count, seconds in done)


def workers(hours: float, deadline: float) -> int:
    """Machines like this one that end in time, each at EFFICIENCY."""
    return max(1, math.ceil(hours / deadline / (1 if hours <= deadline else EFFICIENCY)))


# --- memory ----------------------------------------------------------------------------------


def peaks(
    stage: int,
    network: Network,
    survey: Survey,
    points: float,
    budget: int,
    device: torch.device,
) -> tuple[int, int]:
    """Peak bytes of host and device of a stage."""
    if stage in LINES:
        return LIGHT_PEAK, 0
    weights = 4 * shapes.parameters(network)
    group = fact_scores.group_size(network, device)
    batch = round(HELD[network.causal] * _batch(stage, network, survey, group * points, budget))
    python, times = OTHERS if isinstance(network, AdaptedNetwork) else BERT
    loading = round(times * weights)
    if device.type == "cuda":
        return python + loading, weights + batch
    return python + max(loading, weights + batch), 0


def _batch(stage: int, network: Network, survey: Survey, points: float, budget: int) -> float:
    """Bytes of the largest batch: what there is to do together, within what the stage allows.

    points: of a layer, for the facts that are attributed together.
    """
    tokens, prompts = max(1, round(survey.tokens)), _prompts_a_fact(survey)
    if stage == 9:  # of one prompt at a time
        return neuron_maps.MEMORY
    if stage == 1:
        together = prompts * points * sum(passes.path_bytes(network, tokens))
        return min(together, budget)
    if stage in (3, 10):
        rows = passes.pass_bytes(network, tokens, 5) * 2 * modify_activation.GROUP * prompts
        return min(rows, modify_activation.MEMORY)
    if stage in (4, 5):
        length = max(1, round(survey.of_sentence))
        found = survey.sentences.both + survey.sentences.head
        some = min(1.0, distant_activation.GROUP / max(1, survey.facts_of(())))
        rows = passes.pass_bytes(network, length) * found * some
        return min(rows, distant_activation.MEMORY)
    return min(passes.pass_bytes(network, tokens) * survey.prompts_of(), evaluation.MEMORY)


def _prompts_a_fact(survey: Survey) -> float:
    return survey.prompts_of() / max(1, survey.facts_of(()))


# --- disk ------------------------------------------------------------------------------------


def disk(asked: Asked, works: Mapping[int, Work]) -> dict[str, int]:
    """Bytes of results, model and data."""
    network, survey = asked.network, asked.survey
    prompts, results = survey.prompts_of(asked.relations), 0.0
    if 1 in works:
        results += SCORES * prompts
    if works.keys() & {3, 4, 5, 7, 10}:
        results += CHANGES * prompts
    if 9 in works:
        results += MAP * works[9].points
    if 6 in works:
        results += UPDATE * works[6].updates
    if 8 in works:
        results += REPORT
    return {
        "results": round(results),
        "model": 4 * shapes.parameters(network),
        "data": survey.bytes + survey.sentences.bytes,
    }


# --- what was assumed --------------------------------------------------------------------------


def _assumed(asked: Asked, works: Mapping[int, Work], points: float, exact: bool) -> list[str]:
    survey, found = asked.survey, []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores:
        found.append(f"the machine stays as busy as it is (load {load:.1f} on {cores} cores)")
    if 1 in works and asked.points is None and not exact:
        found.append(f"{points:g} points a layer, as measured on other models")
    if not survey.tokenised:
        found.append("tokens by the number of words: the tokenizer is not here yet")
    if works.keys() & {4, 5} and not survey.sentences.known:
        found.append("web sentences as many as BINGREL has: their files are not here yet")
    if works.keys() & {3, 10}:
        found.append("edits start at 0.6 of the layers")
    if 6 in works:
        found.append("every relation has facts to edit")
    if KNOWN in works:
        found.append("the first facts of each relation are known")
    return found
