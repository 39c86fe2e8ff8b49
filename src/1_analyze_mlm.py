"""Stage 1: attribution scores of one relation -> results/TREx-all-<REL>.rlt.jsonl.

Usage: bash 1_run_mlm.sh P101 [--device cuda ...]      (see --help for every flag)

One line per fact, in data order: for each prompt its tokens and its integrated-gradients scores
(equation 4 of the paper) and activations as [layer, neuron, score].  A run that was interrupted
goes on where it stopped; a relation that is done is left alone.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import time
from pathlib import Path

from knowledge_neurons.attribution import adaptive, fact_scores, quadrature, quadrature_audit
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.neurons.refine import KEEP
from knowledge_neurons.results import growing, origin
from knowledge_neurons.results.json_files import encode, write_json
from knowledge_neurons.results.manifests import is_done
from knowledge_neurons.results.scores import encode_fact_scores
from knowledge_neurons.runs.background import Background
from knowledge_neurons.stages import arguments
from knowledge_neurons.text import data
from knowledge_neurons.types import Fact, Prompt

STEPS = 20  # m of the paper's Riemann sum
MOST_STEPS = 1000
steps = arguments.whole(1, MOST_STEPS)


def parse_arguments() -> argparse.Namespace:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--pt_relation", required=True, help="relation, such as P101")
    arguments.add_model(parser)
    arguments.add_prompts(parser)
    arguments.add_results(parser)
    arguments.add_oov(parser)
    parser.add_argument("--rule", choices=quadrature.RULES, default="riemann-left")
    parser.add_argument("--steps", type=steps, help=f"m of the rule (default: {STEPS})")
    parser.add_argument(
        "--tolerance",
        type=arguments.share,
        default=adaptive.TOLERANCE,
        help="of a score, as a share of its prompt's largest, for fewer points (default: 1e-3)",
    )
    parser.add_argument("--exact", action="store_true", help="evaluate all points of the rule")
    parser.add_argument(
        "--dtype",
        choices=arguments.DTYPES,
        default="float32",
        help="of the matrix products; tf32 needs a GPU",
    )
    parser.add_argument(
        "--memory",
        type=arguments.real(0, 1 << 20, above=True),
        help="GiB a batch may take (default: from the free)",
    )
    parser.add_argument(
        "--batch_size", type=steps, help="with --num_batch: their product is --steps"
    )
    parser.add_argument("--num_batch", type=steps, help="see --batch_size")
    parser.add_argument(
        "--keep", type=arguments.real(0, 1), default=KEEP, help="store scores >= KEEP * largest"
    )
    parser.add_argument("--get_ig_gold", action="store_true", help="scores for the right answer")
    parser.add_argument("--get_ig_pred", action="store_true", help="scores for the predicted token")
    parser.add_argument("--get_base", action="store_true", help="activations, the baseline")
    parser.add_argument("--get_pred", action="store_true", help="probabilities of all tokens")
    arguments.add_seed(parser, "what is calibrated and audited")
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
    if product > MOST_STEPS:
        raise ValueError(
            f"--batch_size times --num_batch is {product} steps: at most {MOST_STEPS:,}"
        )
    if args.steps not in (None, product):
        raise ValueError(f"--steps {args.steps}, but --batch_size times --num_batch is {product}")
    return product


def identity_of(
    args: argparse.Namespace, source: Path, pretrained: checkpoints.Pretrained
) -> dict[str, object]:
    """Everything that decides what the scores are."""
    return {
        "relation": args.pt_relation,
        **origin.of(pretrained, source),
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
    source, bags = arguments.read_bags(args)
    facts = data.facts_of(bags, args.pt_relation, source, arguments.max_facts_of(args))
    device = arguments.device_of(args)
    pretrained = arguments.pretrained_of(args)
    results = arguments.results_of(args)
    path, identity = results.scores(args.pt_relation), identity_of(args, source, pretrained)
    if is_done(path, identity):
        print(f"{args.pt_relation} is done: {path}")
        return
    max_tokens = min(args.max_seq_length, pretrained.model.config.max_position_embeddings)
    encoded = fact_scores.encode_facts(
        facts, pretrained.tokenizer, max_tokens, args.oov == "skip", source
    )
    counts = counts_of(encoded)
    precision = "all points" if args.exact else f"within {args.tolerance:g} of the largest score"
    arguments.show(
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
    model = arguments.products_in(reference, args.dtype)
    write_json(results.arguments, arguments.plain(args), readable=True)
    started = time.perf_counter()
    engine = fact_scores.prepare(
        model, pretrained.tokenizer, encoded, settings, args.seed, reference
    )
    group = fact_scores.group_size(reference.config, device)
    beside = results.quadrature(args.pt_relation)
    under = arguments.under_of(device)
    with growing.GrowingLines(path, identity, group, beside, under) as lines:
        if lines.finished:
            print(f"{args.pt_relation} is done: {path}")
            return
        resumed = lines.done
        score(engine, facts, encoded, lines, args.seed)
        audit = repair(engine, facts, encoded, lines)
        lines.finish(
            arguments=arguments.plain(args),
            **under,
            wall_seconds=round(time.perf_counter() - started, 3),
            layers=reference.config.num_hidden_layers,
            neurons_per_layer=reference.config.intermediate_size,
            facts_resumed=resumed,
            quadrature=audit,
            **counts,
        )
    show_audit(audit)
    print(f"wrote {path} in {time.perf_counter() - started:.1f} s")


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
    lines: growing.GrowingLines,
    seed: int,
) -> None:
    """Score the facts that are not there yet, showing facts done and time left."""
    first = lines.done
    checked = engine.checked(encoded, seed)

    def write(group: list[fact_scores.ScoredFact]) -> None:
        lines.append(
            [encode_fact_scores(fact.prompts) for fact in group],
            [encode(fact.record) for fact in group],
        )

    groups = fact_scores.score_facts(engine, facts[first:], encoded[first:], checked)
    with (
        arguments.progress(len(facts), facts[0].relation, "fact", done=first, step=True) as bar,
        Background(write) as writing,
    ):
        for group in groups:
            writing(group)
            bar.update(len(group))


def repair(
    engine: fact_scores.Engine,
    facts: list[Fact],
    encoded: list[list[Prompt]],
    lines: growing.GrowingLines,
) -> dict[str, object]:
    """Compute in full what the audit leaves in doubt, and say how the quadrature did."""
    found = quadrature_audit.review(
        lines.read_beside(quadrature_audit.Record),
        engine.ladder,
        engine.model.config.num_hidden_layers,
        same_precision=engine.model is engine.reference,
    )
    doubtful = found.doubtful
    if doubtful:
        print(f"the audit leaves {len(doubtful)} facts in doubt: computing them in full")
    groups = fact_scores.score_facts(
        engine.in_full(), [facts[i] for i in doubtful], [encoded[i] for i in doubtful]
    )
    again = (fact.prompts for group in groups for fact in group)
    lines.replace(
        {i: encode_fact_scores(prompts) for i, prompts in zip(doubtful, again, strict=True)}
    )
    return found.summary


def show_audit(audit: dict[str, object]) -> None:
    """Points, audit and the integral, a line each."""
    print(f"  {audit['points_per_layer']:.2f} points a layer")
    if audit["audited_prompts"]:
        print(
            f"  audit: {audit['audited_prompts']} prompts of {audit['audited_facts']} facts, worst "
            f"error {audit['worst_error']:.0e} of the largest score, "
            f"{audit['over_tolerance']} over {audit['tolerance']:g}; same coarse neurons in "
            f"{audit['coarse_same']} prompts, same refined ones in {audit['refined_same']} facts"
        )
    if integral := audit.get("integral"):
        print(
            f"  the sum over all points is {integral['median']:.1%} from the integral (median of "
            f"{integral['prompts']} prompts); same coarse neurons in {integral['coarse_same']:.0%}"
        )


if __name__ == "__main__":
    program.run(main)
