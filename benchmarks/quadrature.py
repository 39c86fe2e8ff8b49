#!/usr/bin/env python
"""Fewer points beside all of them: errors, neuron sets and points, on smooth and on sharp models.

    python -m benchmarks.quadrature                      # all of it, some 20 minutes on 2 cores
    python -m benchmarks.quadrature --models smooth --rules riemann-left --facts 50

For each model (see quadrature_models.py) and rule: calibrate on 16 prompts as stage 1 does, compute
every prompt by the ladder and in full, and compare.  Then Gauss rules of a fixed number of points,
for scale.  Then the worst prompt: thousands of random ones on ladders calibrated on real ones, to
find those whose errors the indicator does not announce, and what an audit makes of them.
Errors are the largest of any neuron, as a share of the prompt's largest score.  The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import quadrature_models
import torch

from custom_bert import Bert
from knowledge_neurons.attribution import (
    adaptive,
    fact_scores,
    quadrature,
    quadrature_audit,
)
from knowledge_neurons.attribution.fact_scores import Engine, ScoredFact, Settings
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.types import Fact, Prompt

FIXED = (3, 4, 5, 6, 8, 10)
SEED = 42  # of stage 1
STEPS = 20


class Ids:
    """A tokenizer's `tokens` for prompts of which only the ids matter."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(i) for i in ids]


def engine_of(model: Bert, prompts: list[list[Prompt]], rule: str, tolerance: float) -> Engine:
    settings = Settings(rule=quadrature.rule(rule, STEPS), tolerance=tolerance, baseline=False)
    engine = fact_scores.prepare(model, Ids(), prompts, settings, SEED)
    assert engine.ladder.trust, "too few prompts: nothing was calibrated"
    return engine


def compare(model: Bert, facts: list[tuple[Fact, list[Prompt]]], rule: str, tolerance: float):
    """The ladder on every prompt, each audited.  Returns a row of the table."""
    named = [replace(fact, index=index) for index, (fact, _) in enumerate(facts)]
    prompts = [of_fact for _, of_fact in facts]
    engine = engine_of(model, prompts, rule, tolerance)
    groups = fact_scores.score_facts(engine, named, prompts, range(len(named)))
    scored: list[ScoredFact] = [fact for group in groups for fact in group]
    found = quadrature_audit.review(
        [fact.record for fact in scored], engine.ladder, len(model.layers)
    ).summary
    audited, facts_audited = found["audited_prompts"], found["audited_facts"]
    return {
        "prompts": audited,
        "points_per_layer": found["points_per_layer"],
        "worst": found["worst_error"],
        "over_tolerance": found["over_tolerance"],
        "coarse_same": found["coarse_same"] / audited,
        "refined_same": found["refined_same"] / facts_audited,
        "repaired": len(found["repaired_facts"]) / facts_audited,
        "trust": max(engine.ladder.trust.values()),
        "climbs": engine.ladder.climbs,
    }


def fixed(model: Bert, prompts: list[Prompt], rule: str) -> dict[str, dict[str, float]]:
    """Errors of Gauss rules with the same number of points everywhere, by that number."""
    full = quadrature.rule(rule, STEPS)
    errors: dict[int, list[np.ndarray]] = {}
    for batch, clean in clean_passes(model, prompts):
        judged = adaptive.judge(model, clean, Probability(batch.answers), full, 1 << 30)
        for points in FIXED:
            layers = [judged.errors[layer, points] for layer in range(len(model.layers))]
            errors.setdefault(points, []).append(np.max(layers, axis=0))
    whole = {points: np.concatenate(parts) for points, parts in errors.items()}
    return {
        str(points): {
            "median": float(np.median(of)),
            "p95": float(np.percentile(of, 95)),
            "worst": float(of.max()),
        }
        for points, of in whole.items()
    }


def clean_passes(model: Bert, prompts: list[Prompt]):
    for batch in batching.plan(prompts, 24, lambda tokens: 1):
        yield batch, passes.clean_pass(model, batch)


def worst_prompt(
    model: Bert, facts: list[tuple[Fact, list[Prompt]]], tolerance: float, tries: int
) -> dict:
    """Random tokens, random answers, on a ladder calibrated on real prompts."""
    engine = engine_of(model, [of_fact for _, of_fact in facts], "riemann-left", tolerance)
    rng, size = random.Random(SEED), model.config.vocab_size
    prompts = []
    for _ in range(tries):
        ids = [rng.randrange(5, size) for _ in range(rng.randint(7, 16))]
        prompts.append(Prompt(tuple(ids), rng.randrange(len(ids)), rng.randrange(5, size)))
    audited = []
    for batch, clean in clean_passes(model, prompts):
        _, some = adaptive.audit(model, clean, Probability(batch.answers), engine.ladder, 1 << 30)
        audited += some
    errors = np.array([one.errors.max() for one in audited])
    worst = audited[int(errors.argmax())]
    layer = int(worst.errors.argmax())
    after = adaptive.distrust(engine.ladder, [worst])
    key = (layer, int(worst.rungs[layer]))
    in_doubt = sum(
        any(
            after.trust.get((i, int(n)), 0.0) * seen > tolerance
            for i, (n, seen) in enumerate(zip(one.rungs, one.indicators, strict=True))
        )
        for one in audited
    )
    return {
        "prompts": tries,
        "over_tolerance": int((errors > tolerance).sum()),
        "worst": float(errors.max()),
        "layer": layer,
        "points": key[1],
        "indicator": float(worst.indicators[layer]),
        "trust_before": engine.ladder.trust.get(key),
        "trust_after": after.trust.get(key),
        "prompts_then_in_doubt": in_doubt,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = quadrature_models.NAMES
    parser.add_argument("--models", nargs="+", choices=names, default=list(names))
    parser.add_argument(
        "--rules", nargs="+", choices=quadrature.RULES, default=list(quadrature.RULES)
    )
    parser.add_argument("--facts", type=int, help="of each model, default: all for the first rule")
    parser.add_argument("--others", type=int, default=60, help="facts for each further rule")
    parser.add_argument("--tries", type=int, default=2000, help="random prompts for the worst")
    parser.add_argument("--tolerance", type=float, default=adaptive.TOLERANCE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the record there as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    fact_scores.FEWEST_PROMPTS = fact_scores.CALIBRATED  # calibrate even on few
    print(f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, float32")
    report: dict = {"tolerance": args.tolerance, "ladder": {}, "fixed": {}, "worst": {}}

    columns = ("points", "worst", "over", "prompts", "coarse", "refined", "repaired", "trust")
    print(f"\n{'model':<8}{'rule':<18}" + "".join(f"{name:>10}" for name in columns))
    for name in args.models:
        model, facts = quadrature_models.load(name)
        random.Random(SEED).shuffle(facts)
        for rule in args.rules[:1] if name == "sharp" else args.rules:  # it is large
            count = args.facts if rule == args.rules[0] else args.others
            row = compare(model, facts[:count], rule, args.tolerance)
            report["ladder"][f"{name} {rule}"] = row
            print(
                f"{name:<8}{rule:<18}{row['points_per_layer']:>10.2f}{row['worst']:>10.0e}"
                f"{row['over_tolerance']:>10}{row['prompts']:>10}{row['coarse_same']:>10.2%}"
                f"{row['refined_same']:>10.2%}{row['repaired']:>10.0%}{row['trust']:>10.1f}",
                flush=True,
            )

    print(f"\nfixed points, {args.rules[0]}: median / 95th percentile / worst")
    print(f"{'model':<8}" + "".join(f"{f'n = {n}':>26}" for n in FIXED))
    for name in args.models:
        model, facts = quadrature_models.load(name)
        random.Random(SEED).shuffle(facts)
        prompts = [p for _, of_fact in facts[: 4 if name == "sharp" else 40] for p in of_fact]
        report["fixed"][name] = found = fixed(model, prompts, args.rules[0])
        cells = (f"{f['median']:.0e} / {f['p95']:.0e} / {f['worst']:.0e}" for f in found.values())
        print(f"{name:<8}" + "".join(f"{cell:>26}" for cell in cells), flush=True)

    print("\nthe worst of random prompts")
    for name in (name for name in args.models if name != "sharp"):
        model, facts = quadrature_models.load(name)
        random.Random(SEED).shuffle(facts)
        report["worst"][name] = found = worst_prompt(
            model, facts[: args.others], args.tolerance, args.tries
        )
        print(f"{name:<8}{found}", flush=True)

    if args.output:
        command = "python -m benchmarks.quadrature " + " ".join(sys.argv[1:])
        write_json(args.output, {"command": command, **report, "made_with": environment()}, True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
