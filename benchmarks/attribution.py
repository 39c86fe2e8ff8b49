#!/usr/bin/env python
"""Attribution, ours beside every other way to the same scores: seconds a prompt, in one run.

    python -m benchmarks.attribution                            # 3 rounds, 7 minutes on 2 cores
    python -m benchmarks.attribution --pypi /path/to/python     # with the PyPI package, 2 more
    python -m benchmarks.attribution --skip released captum --rounds 1     # ours in a minute

bert-base-cased's shape with random weights (normal, deviation 0.02, as BERT starts); random prompts
of the lengths that PARAREL's have; scores of all 12 x 3072 neurons for the answer, 20 steps.  What
races, round by round:

    released       the released procedure: padded to 128 tokens, layer by layer, the whole network
    unpadded       the same without the padding
    captum         LayerIntegratedGradients, restricted to [MASK] by a module (attribution_rivals)
    pypi           the package knowledge-neurons 0.0.2, where --pypi names a Python that has it
    exact          ours, all 20 points of every layer
    default        ours as stage 1 runs it: as few points a layer as its tolerance allows
    default bf16   the same in bfloat16

A round takes all prompts for ours, and the first few for the slow ones, whose mean length is the
same; the released procedure costs the same for every length.  Times are medians over rounds, the
ratios to `exact` and `default` medians of the ratios within a round.  All scores are compared with
`exact`, the package's with its own sum (it spreads 20 points over [0, 1] with both ends); the exit
status is 1 where they disagree.  The table is followed by one line of JSON.

The package needs an environment of its own, as its import name is ours:

    python -m venv pypi && pypi/bin/pip install torch==2.13.0 transformers==5.23.0 einops tqdm
    pypi/bin/pip install --no-deps knowledge-neurons==0.0.2

Random weights make the path smooth, so `default` finds that few points do; the JSON says how many.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip
import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import captum
import torch
from torch import Tensor

from benchmarks import attribution_rivals as rivals
from benchmarks.attribution_case import (
    LENGTHS,
    Case,
    gemm_rate,
    make_case,
)
from benchmarks.random_models import BERT_BASE
from custom_bert import BertConfig
from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.adaptive import TOLERANCE, Scheme
from knowledge_neurons.attribution.quadrature_audit import CALIBRATED
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, operations, passes
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.types import Batch, Prompt

MEMORY = 1 << 30  # bytes that a batch of ours may take, as in stage 1
# Largest |scores - exact| of a prompt as a share of its largest |exact|.
ALLOWED = {
    "released": 1e-4,  # float32 sums in another order, through 12 layers and back
    "unpadded": 1e-4,
    "captum": 1e-4,
    "pypi": 1e-4,
    "default": TOLERANCE,
    "default_bf16": 5e-2,  # 8 bits of mantissa through 12 layers and back
}
OURS = {"exact": torch.float32, "default": torch.float32, "default_bf16": torch.bfloat16}
CONTESTANTS = ("released", "unpadded", "captum", "pypi", *OURS)
GIB = 1 << 30


# --- ours ------------------------------------------------------------------------------------
class Scored(NamedTuple):
    """scores (B, L, F) float32 in the order of the prompts; points (B, L) evaluated."""

    scores: Tensor
    points: Tensor


def calibrated(config: BertConfig, seed: int) -> Scheme:
    """What stage 1 finds on its own prompts before it starts, here on other ones; not timed."""
    case = make_case(config, CALIBRATED, seed + 1)
    model = case.models[torch.float32]
    sample = [passes.clean_pass(model, batch) for batch in batches(case)]
    return adaptive.calibrate(model, sample, rivals.RULE, TOLERANCE, MEMORY)


def batches(case: Case) -> Iterator[Batch]:
    """As stage 1 makes them."""
    model = case.models[min(case.models, key=str)]
    cost = partial(passes.prompt_bytes, model, points=rivals.STEPS)
    return batching.plan(case.prompts, MEMORY // 4, cost)


def ours(case: Case, scheme: Scheme, dtype: torch.dtype) -> Scored:
    """Our scores of all prompts."""
    model = case.models[dtype]
    scores = torch.empty(len(case.prompts), model.shape.layers, model.shape.neurons)
    points = torch.empty(scores.shape[:2], dtype=torch.long)
    for batch in batches(case):
        clean = passes.clean_pass(model, batch)
        found = adaptive.adaptive_gradients(
            model, clean, Probability(batch.answers), scheme, MEMORY
        )
        scores[list(batch.order)] = found.scores
        points[list(batch.order)] = found.points
    return Scored(scores, points)


class Peak(NamedTuple):
    """Largest resident memory of a process, in bytes: when the model was there, and in the end."""

    with_model: int
    at_end: int


def peak_of(name: str, scheme: Scheme, prompts: int, seed: int, threads: int) -> Peak:
    """Memory of one of ours in a process of its own: Python, torch, the model and the work.

    To be called before this process grows: a new process's peak starts at its parent's.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (name, scheme, prompts, seed, threads))


def _peak_here(name: str, scheme: Scheme, prompts: int, seed: int, threads: int) -> Peak:
    torch.set_num_threads(threads)
    case = make_case(BERT_BASE, prompts, seed, [OURS[name]])
    before = _peak()
    ours(case, scheme, OURS[name])
    return Peak(before, _peak())


def _peak() -> int:
    """Bytes; the system call counts in KiB, on macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# --- the race --------------------------------------------------------------------------------
@dataclass
class Round:
    """What one round gave: per contestant seconds a prompt and scores of the prompts it took."""

    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    points: list[float] = field(default_factory=list)  # of default, a layer's mean
    sgemm: float = 0.0  # FLOP/s, mean of before and after exact
    bf16_gemm: float = 0.0


def one_round(
    case: Case,
    schemes: dict[str, Scheme],
    counts: dict[str, int],
    pypi: rivals.Pypi | None,
    names: Sequence[str],
) -> Round:
    """Run the named contestants one after the other, each on its count of prompts."""
    model = case.models[torch.float32]
    slow: dict[str, Callable[[Prompt], tuple[Tensor, float]]] = {
        "released": partial(rivals.timed, partial(rivals.procedure, model, pad=rivals.PADDED)),
        "unpadded": partial(rivals.timed, partial(rivals.procedure, model)),
        "captum": partial(rivals.timed, partial(rivals.captum_scores, model)),
    }
    if pypi is not None:
        slow["pypi"] = pypi.scores
    done = Round()
    for name in names:
        if name in OURS:
            continue
        scored, seconds = zip(
            *(slow[name](prompt) for prompt in case.prompts[: counts[name]]), strict=True
        )
        done.scores[name], done.seconds[name] = torch.stack(scored), sum(seconds) / counts[name]
    done.bf16_gemm = gemm_rate(model.config, torch.bfloat16)
    around = [gemm_rate(model.config, torch.float32)]
    for name, dtype in OURS.items():
        scored, seconds = rivals.timed(ours, case, schemes[name], dtype)
        done.scores[name], done.seconds[name] = scored.scores, seconds / len(case.prompts)
        if name == "exact":
            around.append(gemm_rate(model.config, torch.float32))
        if name == "default":
            done.points = scored.points.double().mean(dim=0).tolist()
    done.sgemm = sum(around) / len(around)
    return done


def relative_error(scores: Tensor, expected: Tensor) -> float:
    """Largest |difference| as a share of the prompt's largest |expected|; the worst prompt's.

    scores: (n, L, F); expected: (B, L, F) with B >= n, the same prompts first.
    """
    expected = expected[: len(scores)]
    worst = (scores - expected).abs().amax(dim=(1, 2)) / expected.abs().amax(dim=(1, 2))  # (n,)
    return float(worst.max())


def errors_of(case: Case, scores: dict[str, Tensor]) -> dict[str, float]:
    """Errors against `exact`; the PyPI package's against its own sum, on the first prompt."""
    errors = {
        name: relative_error(found, scores["exact"])
        for name, found in scores.items()
        if name not in ("exact", "pypi")
    }
    if "pypi" in scores:
        first = case.prompts[0]
        own = rivals.procedure(case.models[torch.float32], first, rule=rivals.PYPI_RULE)
        errors["pypi"] = relative_error(scores["pypi"][:1], own[None])
    return errors


# --- the report ------------------------------------------------------------------------------
def summary(case: Case, rounds: list[Round], peaks: dict[str, Peak]) -> dict[str, Any]:
    """The JSON of the last line: medians over rounds."""

    def over_rounds(value: Callable[[Round], float]) -> float:
        return median(value(one) for one in rounds)

    last, model = rounds[-1], case.models[torch.float32]
    all_points = [rivals.STEPS] * model.shape.layers
    work = [operations.scores(model, len(prompt.ids), all_points) for prompt in case.prompts]
    errors = errors_of(case, last.scores)
    took: dict[str, float | None] = {f"{name}_s": None for name in CONTESTANTS}
    took |= {f"{name}_s": over_rounds(lambda one, n=name: one.seconds[n]) for name in last.seconds}
    return {
        **took,
        **{
            f"over_{ours}": {
                name: over_rounds(lambda one, n=name, o=ours: one.seconds[n] / one.seconds[o])
                for name in last.seconds
            }
            for ours in ("exact", "default")
        },
        "points_per_layer": sum(last.points) / len(last.points),
        "points_of_layers": last.points,
        "exact_flops_per_prompt": sum(work) / len(work),
        "sgemm_gflops": over_rounds(lambda one: one.sgemm) / 1e9,
        "sgemm_gflops_of_rounds": [one.sgemm / 1e9 for one in rounds],
        "bf16_gemm_gflops": over_rounds(lambda one: one.bf16_gemm) / 1e9,
        "sgemm_share": over_rounds(
            lambda one: sum(work) / len(work) / one.seconds["exact"] / one.sgemm
        ),
        "peak_gib": max(peak.at_end for peak in peaks.values()) / GIB,
        "peak_gib_of": {name: peak.at_end / GIB for name, peak in peaks.items()},
        "peak_gib_before_work": {name: peak.with_model / GIB for name, peak in peaks.items()},
        "errors": errors,
        "allowed": {name: ALLOWED[name] for name in errors},
        "ok": all(error <= ALLOWED[name] for name, error in errors.items()),
    }


def show(result: dict[str, Any], prompts: dict[str, int]) -> None:
    """The table."""
    columns = ("/ exact", "/ default", "error", "allowed", "peak GiB")
    print(f"\n{'':<14}{'prompts':>8}{'s / prompt':>12}" + "".join(f"{c:>11}" for c in columns))
    for name in CONTESTANTS:
        seconds = result[f"{name}_s"]
        if seconds is None:
            print(f"{name:<14}{'not run':>20}")
            continue
        ratios = result["over_exact"][name], result["over_default"][name]
        row = f"{name:<14}{prompts[name]:>8}{seconds:>12.3f}" + "".join(
            f"{r:>11.2f}" for r in ratios
        )
        error, peak = result["errors"].get(name), result["peak_gib_of"].get(name)
        row += f"{'':>22}" if error is None else f"{error:>11.1e}{ALLOWED[name]:>11.0e}"
        print(row + ("" if peak is None else f"{peak:>11.2f}"))
    print(
        f"\nsgemm {result['sgemm_gflops']:.0f} GFLOP/s, bfloat16 {result['bf16_gemm_gflops']:.0f}; "
        f"exact does {result['exact_flops_per_prompt'] / 1e9:.0f} GFLOP a prompt, "
        f"{result['sgemm_share']:.0%} of sgemm's rate"
    )
    before = [f"{name} {gib:.2f}" for name, gib in result["peak_gib_before_work"].items()]
    print(f"peak GiB of a process for it alone; before the work: {', '.join(before)}")
    print(
        "points a layer in default: "
        + " ".join(f"{points:.1f}" for points in result["points_of_layers"])
    )


def hardware(threads: int) -> str:
    """The line above the table."""
    cpu, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = next(iter(names), cpu)
    versions = f"torch {torch.__version__}, captum {captum.__version__}"
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads, {versions}"


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--prompts", type=int, default=2 * len(LENGTHS), help="of a round, for ours"
    )
    parser.add_argument("--slow_prompts", type=int, default=3, help="for unpadded, captum, pypi")
    parser.add_argument("--released_prompts", type=int, default=1, help="for released")
    parser.add_argument("--skip", nargs="+", choices=CONTESTANTS[:4], default=[], metavar="NAME")
    parser.add_argument("--pypi", metavar="PYTHON", help="interpreter with knowledge-neurons 0.0.2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="also write the JSON, with command and commit")
    args = parser.parse_args()
    for name in ("rounds", "prompts", "slow_prompts", "released_prompts", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}: expected at least 1")
    if max(args.slow_prompts, args.released_prompts) > args.prompts:
        parser.error(
            f"--slow_prompts and --released_prompts are among the {args.prompts} --prompts"
        )
    return args


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    skipped = {*args.skip, *(() if args.pypi else ("pypi",))}
    names = [name for name in CONTESTANTS if name not in skipped]
    counts = dict.fromkeys(CONTESTANTS[:4], args.slow_prompts) | dict.fromkeys(OURS, args.prompts)
    counts["released"] = args.released_prompts
    load = os.getloadavg()[0]  # what else runs: with more threads than cores all times are noise
    print(f"{hardware(args.threads)}, load {load:.1f} before the start")
    print("bert-base-cased shape, random weights", flush=True)
    scheme = calibrated(BERT_BASE, args.seed)
    exact = adaptive.all_points(rivals.RULE, BERT_BASE.num_hidden_layers)
    schemes = {"exact": exact, "default": scheme, "default_bf16": scheme}
    peaks = {
        name: peak_of(name, schemes[name], args.prompts, args.seed, args.threads) for name in OURS
    }
    case = make_case(BERT_BASE, args.prompts, args.seed, [torch.float32, torch.bfloat16])
    tokens = [len(prompt.ids) for prompt in case.prompts]
    print(f"{len(tokens)} prompts of {' '.join(map(str, tokens))} tokens", flush=True)
    with contextlib.ExitStack() as stack:
        pypi = None
        if "pypi" in names:
            model = case.models[torch.float32]
            pypi = stack.enter_context(rivals.Pypi(args.pypi, model, case.tokenizer, args.threads))
        rounds = []
        for number in range(1, args.rounds + 1):
            start = time.perf_counter()
            rounds.append(one_round(case, schemes, counts, pypi, names))
            print(f"round {number} in {time.perf_counter() - start:.0f} s", flush=True)
    result = summary(case, rounds, peaks)
    show(result, counts)
    record = {"command": command(args.pypi), "hardware": hardware(args.threads)}
    record |= {"load_before": load, "commit": environment()["commit"]}
    record |= {"rounds": args.rounds, "tokens": tokens}
    record |= {"prompts": {name: counts[name] for name in names}} | result
    if args.output:
        write_json(args.output, record, readable=True)
    print(json.dumps(record))
    sys.exit(0 if result["ok"] else 1)


def command(pypi: str | None) -> str:
    """The command line as anyone would type it: without the path of one machine's interpreter."""
    words = ["PYTHON" if word == pypi else word for word in sys.argv[1:]]
    return " ".join(["python -m benchmarks.attribution", *words])


if __name__ == "__main__":
    program.run(main)
