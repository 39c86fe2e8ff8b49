#!/usr/bin/env python
"""Fewer points beside all of them: errors, sets, points and time, on smooth and sharp models.

    python -m benchmarks.quadrature --facts 80 --others 24        # some 20 minutes on 2 cores
    python -m benchmarks.quadrature --models smooth --rules riemann-left --facts 50
    python -m benchmarks.quadrature --models sharp --sharp FOLDER --facts 40 --rounds 3

For each model (see quadrature_models.py) and rule: calibrate as stage 1 does, compute every prompt
by fewer points and in full, and compare; uncalibrated, as the library does, for the first rule.
Then Gauss rules of a fixed number of points, for scale.  Then random prompts, to find those whose
errors the indicator does not announce.  Then stage 1 as users run it on the sharp model, relations
of 60 facts, by default and with --exact in turn: everything that it does is timed.
Errors are the largest of any neuron, as a share of the prompt's largest score.  The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks import quadrature_models
from knowledge_neurons import ROOT
from knowledge_neurons.attribution import adaptive, quadrature
from knowledge_neurons.attribution.adaptive import Scheme
from knowledge_neurons.attribution.fact_scores import kept_triplets
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import Rule, gauss
from knowledge_neurons.attribution.quadrature_audit import CALIBRATED
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.passes import CleanPass, clean_pass
from knowledge_neurons.neurons import refine
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import environment, read_manifest
from knowledge_neurons.types import Batch, Fact, Prompt

FIXED = (3, 4, 5, 6, 8, 10, 12, 14)
SEED = 42  # of stage 1
STEPS = 20
MEMORY = 1 << 28
Facts = list[tuple[Fact, list[Prompt]]]


def passes(model: BertNetwork, prompts: list[Prompt]) -> Iterator[tuple[Batch, CleanPass]]:
    for batch in batching.plan(prompts, 24, lambda tokens: 1):
        yield batch, clean_pass(model, batch)


def calibrated(model: BertNetwork, facts: Facts, rule: Rule, tolerance: float) -> Scheme:
    """On a prompt of each of some facts, as stage 1 draws them."""
    rng = random.Random(SEED)
    some = rng.sample(facts, min(CALIBRATED, len(facts)))
    sample = [clean for _, clean in passes(model, [rng.choice(own) for _, own in some])]
    return adaptive.calibrate(model, sample, rule, tolerance, MEMORY)


def compare(model: BertNetwork, facts: Facts, scheme: Scheme) -> dict:
    """Fewer points on every prompt beside the full sums.  Returns a row of the table."""
    prompts = [prompt for _, own in facts for prompt in own]
    errors, points = np.zeros(len(prompts)), np.zeros((len(prompts), model.shape.layers))
    kept: tuple[dict, dict] = {}, {}  # of fewer points and of all: prompt -> triplets
    for batch, clean in passes(model, prompts):
        exact = integrated_gradients(model, clean, Probability(batch.answers), scheme.rule, MEMORY)
        found = adaptive.adaptive_gradients(
            model, clean, Probability(batch.answers), scheme, MEMORY
        )
        order = list(batch.order)
        errors[order] = of_largest(found.scores, exact).amax(dim=1).numpy()
        points[order] = found.points.numpy()
        for kind, scores in zip(kept, (found.scores, exact), strict=True):
            kind.update(zip(order, kept_triplets(scores, refine.KEEP), strict=True))
    t, start, same = refine.THRESHOLDS, 0, 0
    for _, own in facts:
        places = range(start, start + len(own))
        counts = (refine.count_coarse((kind[i] for i in places), t.coarse) for kind in kept)
        one, other = (set(refine.refine_fact(n, t.shared, t.min_prompts)) for n in counts)
        start, same = start + len(own), same + (one == other)
    coarse = [[set(refine.coarse(kind[i], t.coarse)) for i in range(len(prompts))] for kind in kept]
    return {
        "prompts": len(prompts),
        "points_per_layer": points.mean(),
        "points": points.mean(axis=0).round(2).tolist(),
        "tried": scheme.first,
        "worst": errors.max(),
        "over_tolerance": int((errors > scheme.tolerance).sum()),
        "coarse_same": np.mean([a == b for a, b in zip(*coarse, strict=True)]),
        "refined_same": same / len(facts),
    }


def of_largest(found: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Errors (B, L) of scores (B, L, F)."""
    return (found - exact).abs().amax(dim=2) / adaptive.largest_scores(exact)[:, None]


def fixed(model: BertNetwork, prompts: list[Prompt], rule: Rule) -> dict[str, dict[str, float]]:
    """Errors of Gauss rules with the same number of points everywhere, by that number."""
    errors: dict[int, list[np.ndarray]] = {n: [] for n in FIXED}
    for batch, clean in passes(model, prompts):
        exact = integrated_gradients(model, clean, Probability(batch.answers), rule, MEMORY)
        for n in FIXED:
            fewer = Rule(*gauss(rule, n)[:2])
            found = integrated_gradients(model, clean, Probability(batch.answers), fewer, MEMORY)
            errors[n].append(of_largest(found, exact).numpy())
    whole = {n: np.concatenate(parts) for n, parts in errors.items()}  # (P, L) each
    return {
        str(n): {
            "median": np.median(of.max(axis=1)),
            "p95": np.percentile(of.max(axis=1), 95),
            "worst": of.max(),
            "worst_of_layers": of.max(axis=0).tolist(),
        }
        for n, of in whole.items()
    }


def random_prompts(model: BertNetwork, scheme: Scheme, tries: int) -> dict:
    """Random tokens and answers, on a scheme calibrated on real prompts."""
    rng, size = random.Random(SEED), model.shape.vocabulary
    prompts = []
    for _ in range(tries):
        ids = [rng.randrange(5, size) for _ in range(rng.randint(7, 16))]
        prompts.append(Prompt(tuple(ids), rng.randrange(len(ids)), rng.randrange(5, size)))
    errors = []
    for batch, clean in passes(model, prompts):
        exact = integrated_gradients(model, clean, Probability(batch.answers), scheme.rule, MEMORY)
        found = adaptive.adaptive_gradients(
            model, clean, Probability(batch.answers), scheme, MEMORY
        )
        errors.append(of_largest(found.scores, exact).numpy())
    of = np.concatenate(errors)  # (P, L)
    over = int((of.max(axis=1) > scheme.tolerance).sum())
    return {"prompts": tries, "over_tolerance": over, "worst": of.max()}


# --- stage 1 as users run it -----------------------------------------------------------------


def race(folder: Path, relations: list[str], rounds: int, threads: int) -> dict:
    """Stage 1 on relations of the sharp model, by default and with --exact in turn.

    A round's default run calibrates once, in its first relation.
    """
    taken: dict[str, list[dict]] = {"default": [], "exact": []}
    for number in range(1, rounds + 1):
        for name in taken:
            with tempfile.TemporaryDirectory() as results:
                flags = ["--exact"] * (name == "exact")
                found = [
                    stage_1(folder, relation, Path(results), flags, threads)
                    for relation in relations
                ]
            taken[name].append({key: [one[key] for one in found] for key in found[0]})
            cpu = sum(one["cpu"] for one in found)
            print(f"round {number}, {name}: {cpu:.0f} s of CPU", flush=True)
    return {"relations": relations, **taken, "ratio": ratios(taken)}


def stage_1(folder: Path, relation: str, results: Path, flags: list[str], threads: int) -> dict:
    """Wall and CPU seconds of one run of the whole command, and what its manifest says."""
    command = [sys.executable, str(ROOT / "src" / "1_analyze_mlm.py"), "--pt_relation", relation]
    command += ["--bert_model", str(folder), "--data_path", str(folder / quadrature_models.FACTS)]
    command += ["--output_dir", str(results), "--get_ig_gold", "--get_base", *flags]
    many = os.environ | {"OMP_NUM_THREADS": str(threads), "KN_DEVICE": "cpu"}
    before, start = _children(), time.perf_counter()
    subprocess.run(command, env=many, check=True, capture_output=True)
    wall, cpu = time.perf_counter() - start, _children() - before
    manifest = read_manifest(Results(results).scores(relation))
    keys = ("points_per_layer", "over_tolerance", "worst_error", "coarse_same")
    return {"wall": wall, "cpu": cpu} | {key: manifest["quadrature"][key] for key in keys}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ratios(taken: dict[str, list[dict]]) -> dict[str, float]:
    """Exact over default: all relations together, the first alone, which calibrates; medians."""

    def ratio(clock: str, of: Callable[[list[float]], float]) -> float:
        a, b = (statistics.median(of(one[clock]) for one in taken[n]) for n in ("exact", "default"))
        return a / b

    first = {f"{clock}_first": ratio(clock, lambda times: times[0]) for clock in ("wall", "cpu")}
    return {clock: ratio(clock, sum) for clock in ("wall", "cpu")} | first


# --- all of it -------------------------------------------------------------------------------


def load(name: str, sharp: Path | None) -> tuple[BertNetwork, Facts]:
    model, facts = (
        quadrature_models.load_sharp(sharp) if name == "sharp" else quadrature_models.load(name)
    )
    random.Random(SEED).shuffle(facts)
    return model, facts


def show(name: str, rule: str, row: dict) -> None:
    print(
        f"{name:<8}{rule:<24}{row['points_per_layer']:>8.2f}{row['worst']:>10.0e}"
        f"{row['over_tolerance']:>6}{row['prompts']:>8}{row['coarse_same']:>9.2%}"
        f"{row['refined_same']:>9.2%}  {row['tried']}",
        flush=True,
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*quadrature_models.NAMES, "sharp")
    parser.add_argument("--models", nargs="*", choices=names, default=names[:3])
    parser.add_argument(
        "--rules", nargs="+", choices=quadrature.RULES, default=list(quadrature.RULES)
    )
    parser.add_argument("--facts", type=int, help="of each model, default: all for the first rule")
    parser.add_argument("--others", type=int, default=60, help="facts for each further rule")
    parser.add_argument("--tries", type=int, default=2000, help="random prompts for the worst")
    parser.add_argument("--tolerance", type=float, default=adaptive.TOLERANCE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sharp", type=Path, help="folder of the model sharp")
    parser.add_argument("--relations", nargs="+", default=["P101", "P36"], help="of the race")
    parser.add_argument("--rounds", type=int, default=0, help="of the race")
    parser.add_argument("--output", type=Path, help="add the record to this JSON file")
    args = parser.parse_args()
    if args.sharp is None and ("sharp" in args.models or args.rounds):
        parser.error("--sharp FOLDER is missing: quadrature_models.py makes the model")
    return args


def record(path: Path, report: dict) -> None:
    """Add a report to what other runs left in a file, each with its command."""
    kept = json.loads(path.read_bytes()) if path.exists() else {"commands": []}
    command = "python -m benchmarks.quadrature " + " ".join(sys.argv[1:])
    for key, value in report.items():
        kept[key] = {**kept.get(key, {}), **value} if isinstance(value, dict) else value
    kept["commands"].append(command)
    write_json(path, kept | {"made_with": environment()}, readable=True)


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, float32")
    report: dict = {"tolerance": args.tolerance, "adaptive": {}, "fixed": {}, "random": {}}
    heads = f"{'points':>8}{'worst':>10}{'over':>6}{'prompts':>8}{'coarse':>9}{'refined':>9}  tried"
    print(f"\n{'model':<8}{'rule':<24}{heads}")
    for name in args.models:
        model, facts = load(name, args.sharp)
        for rule in args.rules[:1] if name in ("sharp", "random") else args.rules:
            some = facts[: args.facts if rule == args.rules[0] else args.others]
            how = quadrature.rule(rule, STEPS)
            schemes = {rule: calibrated(model, facts, how, args.tolerance)}
            if rule == args.rules[0]:
                plain = adaptive.uncalibrated(how, model.shape.layers, args.tolerance)
                schemes[f"{rule}, library"] = plain
            for told, scheme in schemes.items():
                report["adaptive"][f"{name} {told}"] = row = compare(model, some, scheme)
                show(name, told, row)
    how = quadrature.rule(args.rules[0], STEPS)
    print(f"\nfixed points, {args.rules[0]}: median / 95th percentile / worst")
    for name in args.models:
        model, facts = load(name, args.sharp)
        some = facts[: 6 if name in ("sharp", "random") else 40]
        report["fixed"][name] = found = fixed(model, [p for _, own in some for p in own], how)
        for n, f in found.items():
            told = f"{f['median']:.0e} / {f['p95']:.0e} / {f['worst']:.0e}"
            print(f"{name:<8}{n:>3}  {told}", flush=True)
        if name != "random":
            scheme = calibrated(model, facts, how, args.tolerance)
            report["random"][name] = found = random_prompts(model, scheme, args.tries)
            print(f"{name:<8}random prompts {found}", flush=True)
    if args.rounds:
        report["stage_1"] = race(args.sharp, args.relations, args.rounds, args.threads)
        print(report["stage_1"]["ratio"])
    if args.output:
        record(args.output, report)
    print(json.dumps(report, default=float))


if __name__ == "__main__":
    main()
