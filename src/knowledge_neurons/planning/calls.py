"""The stages of a run as they are called, "6_run_edit.sh 1 8 --draw distinct", read for costs.

A flag that changes nothing of the costs is passed over; one that is not there has the stage's own
default.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.scorers import IG, SCORERS
from knowledge_neurons.experiments import choose_facts, neuron_activity, neuron_maps

KNOWN = 0  # known_facts.py, which comes before the stages
STAGES = range(1, 11)
PAPER = range(1, 9)  # stages of the paper
MOST_FACTORS = 1e6  # more would take long to count; stages refuse far fewer
_SCRIPT = re.compile(r"(?:([1-9]\d?)_\w+|known_facts)\.(?:sh|py)")
# One call of each stage with the paper's settings; stage 1 stands for one of every relation, stage
# 7 for one of the first.
ONE_EACH = (
    *("1_run_mlm.sh", "2_run_kn.sh", "3_run_modify_activation.sh", "4_run_distant.sh"),
    *("5_run_trigger_examples.sh", "6_run_edit.sh 1 8", "7_run_erase.sh", "8_run_plot.sh"),
    "9_neuron_map.sh",
    "10_controls.sh",
)


@dataclass(frozen=True)
class Call:
    """stage: of STAGES, or KNOWN.  relations: those it names; none for all.

    tolerance: None for all points.  scorer, copies: of stage 1, who scores and over how many noisy
    copies.  scales: how many factors a dose-response has, 0 without.
    variants: in how many ways stage 6 edits a fact.  edits: of a relation; all_prompts: whether
    those who watch are asked all their prompts.  others: prompts of stage 7's other relations, None
    for all.  taken: facts of a relation that known_facts takes, stage 9 maps or stage 10 samples.
    wordings: of a fact that stage 9 averages; texts: prompts, and sentences, that it draws.
    """

    stage: int
    relations: tuple[str, ...] = ()
    tolerance: float | None = adaptive.TOLERANCE
    steps: int = 20
    layers: tuple[int, int] | None = None
    dtype: str = "float32"
    scorer: str = IG
    copies: int = 1
    scales: int = 0
    variants: int = 1
    edits: int = 10
    all_prompts: bool = True
    others: int | None = None
    taken: int = 10**9
    wordings: int = neuron_maps.WORDINGS
    texts: int = neuron_activity.TEXTS


def read(lines: Iterable[str]) -> list[Call]:
    """Calls, a line each; ValueError for a line that calls no stage, or asks what none can do."""
    return [_read(line) for line in lines if line.strip()]


def _read(line: str) -> Call:
    words = shlex.split(line)
    places = [place for place, word in enumerate(words) if _SCRIPT.search(word)]
    if not places:
        raise ValueError(f"{line.strip()[:80]!r}: expected a call such as 6_run_edit.sh 1 8")
    stage = int(_SCRIPT.search(words[places[0]])[1] or KNOWN)
    if stage != KNOWN and stage not in STAGES:
        raise ValueError(
            f"{line.strip()[:80]!r}: what stage {stage} costs is not planned; leave the line out"
        )
    rest = words[places[0] + 1 :]
    try:
        args, _ = _parser().parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise ValueError(f"{line.strip()[:80]!r}: {error}") from error
    named = args.relations or args.relation
    if named is None and stage in (1, 7, 9) and rest and not rest[0].startswith("-"):
        named = rest[0]  # as stages.numbered has it
    steps = args.steps or (args.batch_size or 20) * (args.num_batch or 1)
    pairs, counts = args.lambda_sweep, args.top_k
    return Call(
        stage,
        tuple(name.strip() for name in named.split(",")) if named else (),
        None if args.exact else args.tolerance,
        steps,
        args.layers,
        args.dtype,
        args.scorer,
        args.smooth,
        args.scales,
        len(pairs.split(",")) * len(counts.split(",")),
        args.facts_per_relation,
        args.draw == choose_facts.RELEASED,
        args.other_sample,
        _taken(stage, args),
        args.wordings if stage == 9 else neuron_maps.WORDINGS,
        args.texts,
    )


def _taken(stage: int, args: argparse.Namespace) -> int:
    """How many facts of a relation, at most."""
    if stage == 9 and args.max_facts > 0:
        return args.max_facts
    return args.sample if stage == 10 else args.per_relation


def _parser() -> argparse.ArgumentParser:
    """The flags of all stages that their costs hang on."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--relation", "--pt_relation")
    parser.add_argument("--relations")
    parser.add_argument("--tolerance", type=float, default=adaptive.TOLERANCE)
    parser.add_argument("--exact", action="store_true")
    for name in ("steps", "batch_size", "num_batch", "other_sample"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--layers", type=layers)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--scorer", choices=list(SCORERS), default=IG)
    parser.add_argument("--smooth", type=int, default=1)
    parser.add_argument("--scales", type=factors, default=0)
    for name in ("lambda_sweep", "top_k"):
        parser.add_argument(f"--{name}", default="one")
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--facts_per_relation", type=int, default=10)
    parser.add_argument("--per_relation", type=int, default=10**9)
    parser.add_argument("--max_facts", type=int, default=0)
    parser.add_argument("--wordings", type=int, default=neuron_maps.WORDINGS)
    parser.add_argument("--texts", type=int, default=neuron_activity.TEXTS)
    parser.add_argument("--draw", default=choose_facts.RELEASED)
    return parser


def layers(text: str) -> tuple[int, int]:
    """First and last of "1-3" or "1"; ValueError for anything else."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def factors(text: str) -> int:
    """How many factors other than 1 "0,0.5,...,2" or "0,2" names; ValueError for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if "..." not in parts:
        return sum(float(part) != 1 for part in parts)
    if len(parts) != 4 or parts[2] != "...":
        raise ValueError
    first, second, last = (float(parts[place]) for place in (0, 1, 3))
    if not (first < second and 1 <= (last - first) / (second - first) <= MOST_FACTORS):
        raise ValueError
    steps = round((last - first) / (second - first))
    return sum(abs(first + k * (second - first) - 1) > 1e-9 for k in range(steps + 1))


def of_stages(stages: Sequence[int], flags: Sequence[str] = ()) -> list[Call]:
    """One call of each of some stages with the paper's settings.  flags: for stage 1."""
    lines = [ONE_EACH[stage - 1] for stage in stages]
    first = shlex.join(flags)
    return read(f"{line} {first}" if line.startswith("1_") else line for line in lines)
