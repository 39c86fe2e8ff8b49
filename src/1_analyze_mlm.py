"""Stage 1: attribution scores of one relation -> results/TREx-all-<REL>.rlt.jsonl.

Usage: bash 1_run_mlm.sh P101 [--device cuda ...]      (see --help for every flag)

One line per fact, in data order: for each prompt its tokens and its integrated-gradients scores
(equation 4 of the paper) and activations as [layer, neuron, score].  A run that was interrupted
goes on where it stopped; a relation that is done is left alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowledge_neurons import adaptive, artifacts, cli, data, models, quadrature, storage
from knowledge_neurons.background import Background
from knowledge_neurons.experiments import fact_scores, quadrature_audit
from knowledge_neurons.refine import KEEP
from knowledge_neurons.types import Fact, Prompt

STEPS = 20  # m of the paper's Riemann sum


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pt_relation", required=True, help="relation, such as P101")
    cli.add_model(parser)
    cli.add_data(parser)
    cli.add_results(parser)
    parser.add_argument(
        "--tmp_data_path",
        type=Path,
        help="prompts by relation: read instead of --data_path where it exists, else written",
    )
    parser.add_argument("--max_seq_length", type=int, default=128, help="tokens a prompt may have")
    # DEVIATION: --debug -1 means all facts; the released code then drops every one (difference 24)
    parser.add_argument(
        "--max_facts", "--debug", type=int, default=-1, help="only the first N; 0 or less: all"
    )
    parser.add_argument(
        "--oov",
        choices=("error", "skip"),
        default="error",
        help="facts whose answer is not one token: stop, or leave out and count",
    )
    parser.add_argument("--rule", choices=quadrature.RULES, default="riemann-left")
    parser.add_argument("--steps", type=int, help=f"m of the rule (default: {STEPS})")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=adaptive.TOLERANCE,
        help="of a score, as a share of its prompt's largest, for fewer points (default: 1e-3)",
    )
    parser.add_argument("--exact", action="store_true", help="evaluate all points of the rule")
    parser.add_argument(
        "--dtype",
        choices=cli.DTYPES,
        default="float32",
        help="of the matrix products; tf32 needs a GPU",
    )
    parser.add_argument(
        "--memory", type=float, help="GiB a batch may take (default: from the free)"
    )
    parser.add_argument("--batch_size", type=int, help="with --num_batch: their product is --steps")
    parser.add_argument("--num_batch", type=int, help="see --batch_size")
    parser.add_argument("--keep", type=float, default=KEEP, help="store scores >= KEEP * largest")
    parser.add_argument("--get_ig_gold", action="store_true", help="scores for the right answer")
    parser.add_argument("--get_ig_pred", action="store_true", help="scores for the predicted token")
    parser.add_argument("--get_base", action="store_true", help="activations, the baseline")
    parser.add_argument("--get_pred", action="store_true", help="probabilities of all tokens")
    parser.add_argument("--seed", type=int, default=42, help="draws what is calibrated and audited")
    return parser.parse_args()


def settings_of(args: argparse.Namespace) -> fact_scores.Settings:
    if not (args.get_ig_gold or args.get_ig_pred or args.get_base or args.get_pred):
        raise ValueError(
            "nothing to compute: ask for --get_ig_gold and --get_base (as 1_run_mlm.sh does), "
            "--get_ig_pred or --get_pred"
        )
    return fact_scores.Settings(
        rule=quadrature.rule(args.rule, steps_of(args)),
        tolerance=None if args.exact else args.tolerance,
        memory=None if args.memory is None else round(args.memory * 2**30),
        keep=args.keep,
        of_answer=args.get_ig_gold,
        of_prediction=args.get_ig_pred,
        baseline=args.get_base,
        probabilities=args.get_pred,
    )


def steps_of(args: argparse.Namespace) -> int:
    """--steps, or the released code's --batch_size times --num_batch."""
    if args.batch_size is None and args.num_batch is None:
        return STEPS if args.steps is None else args.steps
    points = STEPS if args.batch_size is None else args.batch_size
    product = points * (1 if args.num_batch is None else args.num_batch)
    if args.steps not in (None, product):
        raise ValueError(f"--steps {args.steps}, but --batch_size times --num_batch is {product}")
    return product


def read_bags(args: argparse.Namespace) -> tuple[Path, dict[str, list]]:
    """The facts of all relations and the file they come from."""
    source = args.data_path
    if args.tmp_data_path and args.tmp_data_path.exists():
        source = args.tmp_data_path
    bags = data.read_bags(source)
    if args.tmp_data_path and source != args.tmp_data_path:
        storage.write_json(args.tmp_data_path, bags)
        source = args.tmp_data_path  # what a second run will read
    return source, bags


def identity_of(
    args: argparse.Namespace, source: Path, pretrained: models.Pretrained
) -> dict[str, object]:
    """Everything that decides what the scores are."""
    return {
        "relation": args.pt_relation,
        "model_sha256": pretrained.sha256,
        "data_sha256": storage.sha256_of(source),
        "lowercase": pretrained.tokenizer.lowercase,
        "layer_norm_eps": pretrained.model.config.layer_norm_eps,
        "max_seq_length": args.max_seq_length,
        "max_facts": max(args.max_facts, 0),
        "oov": args.oov,
        "rule": args.rule,
        "steps": steps_of(args),
        "tolerance": None if args.exact else args.tolerance,
        "dtype": args.dtype,
        "seed": args.seed,
        "keep": args.keep,
        "outputs": [n for n in ("ig_gold", "ig_pred", "base", "pred") if getattr(args, f"get_{n}")],
    }


def main() -> None:
    args = parse_arguments()
    settings = settings_of(args)
    source, bags = read_bags(args)
    max_facts = args.max_facts if args.max_facts > 0 else None
    facts = data.facts_of(bags, args.pt_relation, source, max_facts)
    device = cli.device_of(args)
    pretrained = cli.pretrained_of(args)
    results = cli.results_of(args)
    path, identity = results.scores(args.pt_relation), identity_of(args, source, pretrained)
    if storage.is_done(path, identity):
        print(f"{args.pt_relation} is done: {path}")
        return
    max_tokens = min(args.max_seq_length, pretrained.model.config.max_position_embeddings)
    encoded = fact_scores.encode_facts(
        facts, pretrained.tokenizer, max_tokens, skip_unknown=args.oov == "skip"
    )
    counts = counts_of(encoded)
    precision = "all points" if args.exact else f"within {args.tolerance:g} of the largest score"
    cli.show(
        f"{args.pt_relation} ({facts[0].label})",
        {
            "model": f"{args.bert_model} on {device}",
            "facts": f"{counts['facts']}, {counts['prompts']} prompts, from {source}",
            "left out": f"{len(counts['skipped_facts'])} facts whose answer is not one token",
            "cut": f"{counts['prompts_cut']} prompts longer than {max_tokens} tokens",
            "rule": f"{args.rule}, {identity['steps']} steps, {precision}, {args.dtype}",
        },
    )
    reference = pretrained.model.to(device)
    model = cli.products_in(reference, args.dtype)
    storage.write_json(results.arguments, cli.plain(args), readable=True)
    started = time.perf_counter()
    engine = fact_scores.prepare(model, pretrained.tokenizer, settings, reference)
    group = fact_scores.group_size(reference.config, device)
    beside = results.quadrature(args.pt_relation)
    with storage.GrowingLines(path, identity, group, beside) as lines:
        resumed = lines.done
        engine = calibrated(engine, results.calibration, bags, source, max_tokens, identity)
        engine, audit = quadrature_audit.audit(engine, encoded, args.seed)
        show_audit(audit)
        score(engine, facts, encoded, lines)
        points = points_per_layer(lines.read_beside(), engine)
        lines.finish(
            arguments=cli.plain(args),
            device=str(device),
            wall_seconds=round(time.perf_counter() - started, 3),
            layers=reference.config.num_hidden_layers,
            neurons_per_layer=reference.config.intermediate_size,
            facts_resumed=resumed,
            quadrature={"points_per_layer": points, **audit},
            **counts,
        )
    print(f"  {points:.2f} points a layer")
    print(f"wrote {path} in {time.perf_counter() - started:.1f} s")


# What decides how many points each layer tries; a calibration that differs in it is made anew.
CALIBRATED_FOR = (
    *("model_sha256", "data_sha256", "lowercase", "layer_norm_eps", "max_seq_length"),
    *("rule", "steps", "tolerance", "seed"),
)


def calibrated(
    engine: fact_scores.Engine,
    path: Path,
    bags: Mapping[str, list],
    source: Path,
    max_tokens: int,
    identity: Mapping[str, Any],
) -> fact_scores.Engine:
    """Try as many points as the file says that a run of any relation left; the first writes it."""
    if engine.scheme.exact:
        return engine
    about = {key: identity[key] for key in CALIBRATED_FOR}
    kept = storage.read_json(path) if path.exists() else {}
    if kept.get("identity") == about:
        try:
            return quadrature_audit.calibrated(engine, kept["points_tried"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}.  Remove the file to calibrate anew") from error
    sample = quadrature_audit.draw_sample(
        bags, source, engine.tokenizer, max_tokens, identity["seed"]
    )
    engine = quadrature_audit.calibrate(engine, sample)
    found = {"identity": about, "prompts": len(sample), "points_tried": engine.scheme.first}
    storage.write_json(path, found, readable=True)
    return engine


def points_per_layer(records: list[dict[str, int]], engine: fact_scores.Engine) -> float:
    """The mean over prompts and layers, of the lines beside the scores."""
    prompts, points = (sum(record[key] for record in records) for key in ("prompts", "points"))
    return points / (prompts * len(engine.model.layers)) if prompts else 0.0


def counts_of(encoded: list[list[Prompt]]) -> dict[str, object]:
    """What there is to do and what is left out, for the screen and the manifest."""
    return {
        "facts": len(encoded),
        "prompts": sum(map(len, encoded)),
        "prompts_cut": sum(prompt.cut for prompts in encoded for prompt in prompts),
        "skipped_facts": [index for index, prompts in enumerate(encoded) if not prompts],
    }


def score(
    engine: fact_scores.Engine,
    facts: list[Fact],
    encoded: list[list[Prompt]],
    lines: storage.GrowingLines,
) -> None:
    """Score the facts that are not there yet, showing facts done and time left."""
    first = lines.done

    def write(group: list[fact_scores.ScoredFact]) -> None:
        lines.append(
            [artifacts.encode_fact_scores(fact.prompts) for fact in group],
            [
                storage.encode_record({"prompts": len(fact.prompts), "points": fact.points})
                for fact in group
            ],
        )

    groups = fact_scores.score_facts(engine, facts[first:], encoded[first:])
    with (
        cli.progress(len(facts), facts[0].relation, "fact", done=first, step=True) as bar,
        Background(write) as writing,
    ):
        for group in groups:
            writing(group)
            bar.update(len(group))


def show_audit(audit: dict[str, Any]) -> None:
    """The audit and the integral, a line each."""
    if audit["audited_prompts"]:
        bound = f"at most {audit['share_over_at_most']:.1%} of all, 95 % confidence"
        print(
            f"  audit: {audit['over_tolerance']} of {audit['audited_prompts']} prompts over "
            f"{audit['tolerance']:g} of the largest score ({bound}), worst error "
            f"{audit['worst_error']:.0e}; same coarse neurons in {audit['coarse_same']}"
        )
    if audit["layers_failed"]:
        print(f"  layers that failed and get all points: {audit['layers_failed']}, from 0")
    if integral := audit.get("integral"):
        print(
            f"  the sum over all points is {integral['median']:.1%} from the integral (median of "
            f"{integral['prompts']} prompts); same coarse neurons in {integral['coarse_same']:.0%}"
        )


if __name__ == "__main__":
    cli.run(main)
