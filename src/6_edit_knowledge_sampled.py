"""Stage 6: change what facts answer by editing the value slots of their neurons -> results/edit/.

Usage: bash 6_run_edit.sh 1 8 [--top_k 1,2,3 ...]      (see --help for every flag)

Of each relation ten facts that the model answers right get another answer of their relation
(section 5.1 of the paper), drawn as the released code draws them or, with --draw distinct, none
twice.  Each edit is measured and undone; random neurons are the control.  One line per edit in
NAME.jsonl, Table 6 in NAME.json.  A run that was interrupted goes on.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path

from knowledge_neurons.editing import patches
from knowledge_neurons.experiments import choose_facts, edit_facts
from knowledge_neurons.experiments.choose_facts import Plan, Planned
from knowledge_neurons.figures import gallery
from knowledge_neurons.results import growing
from knowledge_neurons.results.edits import (
    CHOSEN,
    EDITED,
    EditRecord,
    EditRun,
    Variant,
    read_edits,
    summarise_edits,
    write_edit_run,
)
from knowledge_neurons.results.json_files import encode
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import is_done, sha256_of, write_manifest
from knowledge_neurons.results.neurons import check_of_scores
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.stages import arguments, stage_6_7_arguments, tables
from knowledge_neurons.stages.stage_6_7_arguments import Inputs
from knowledge_neurons.types import Triplet


def parse_arguments() -> argparse.Namespace:
    parser = stage_6_7_arguments.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--lambda_1",
        "--norm_lambda1",
        type=arguments.factor,
        default=1.0,
        help="how much of the old answer is taken out",
    )
    parser.add_argument(
        "--lambda_2",
        "--norm_lambda2",
        type=arguments.factor,
        default=8.0,
        help="how much of the new answer is put in",
    )
    parser.add_argument(
        "--lambda_sweep", type=lambda_pairs, help="L1:L2,L1:L2 ... instead of one pair"
    )
    parser.add_argument(
        "--top_k",
        type=counts,
        help="1,2,5 ...: edit the K neurons of highest mean score instead of the refined ones, and "
        "draw success against K (reads the scores of stage 1)",
    )
    parser.add_argument("--relations", help="P19,P36 ... (default: all that have neurons)")
    parser.add_argument(
        "--facts_per_relation", type=arguments.count, default=10, help="edits of a relation"
    )
    parser.add_argument(
        "--draw",
        choices=choose_facts.DRAWS,
        default=choose_facts.RELEASED,
        help="released: with replacement, the new answer that of another fact, all prompts of the "
        "facts that watch; distinct: no fact twice, new answers equally likely, one prompt of each",
    )
    parser.add_argument(
        "--save_patches", action="store_true", help="keep each fact's edit: edit/NAME/*.safetensors"
    )
    return parser.parse_args()


def counts(text: str) -> list[int]:
    """ "1,2,5" -> [1, 2, 5]."""
    return sorted(set(map(arguments.count, text.split(","))))


def lambda_pairs(text: str) -> list[tuple[float, float]]:
    """ "1:8,0:4" -> [(1.0, 8.0), (0.0, 4.0)]."""
    pairs = [tuple(map(arguments.factor, part.split(":"))) for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected L1:L2,L1:L2 ...")
    return pairs


def variants_of(args: argparse.Namespace) -> list[Variant]:
    """Every pair of lambdas with every count of neurons."""
    pairs = args.lambda_sweep or [(args.lambda_1, args.lambda_2)]
    return [Variant(*pair, k) for pair, k in product(pairs, args.top_k or [None])]


def run_name(args: argparse.Namespace) -> str:
    """Of the files that this run writes."""
    pair = "sweep" if args.lambda_sweep else f"{args.lambda_1:g}-{args.lambda_2:g}"
    return f"edit-{pair}" + ("-top_k" if args.top_k else "")


# --- what will be edited ---------------------------------------------------------------------


def relations_of(args: argparse.Namespace, results: Results) -> list[str]:
    """Those asked for, else all that have neurons; sorted."""
    relations = sorted(set(arguments.relations_of(args.relations))) or results.refined_relations(
        False
    )
    if not relations:
        raise ValueError(f"no kn_bag-<REL>.json in {results.kn}: run stages 1 and 2 first")
    return relations


def make_plans(
    args: argparse.Namespace, results: Results, inputs: Inputs
) -> tuple[list[Plan], dict[str, str]]:
    """The facts of each relation, and the sha256 of every file that decides their neurons."""
    relations = relations_of(args, results)
    neurons = {name: stage_6_7_arguments.read_neurons(results, name, inputs) for name in relations}
    settings = choose_facts.Selection(args.facts_per_relation, seed=args.seed, draw=args.draw)
    plans, made_from = [], {}
    with arguments.progress(len(relations), "choosing facts", "relation") as bar:
        for name in relations:
            model, bags = inputs.pretrained.model, inputs.bags
            plan = choose_facts.plan(model, bags, name, neurons[name], settings)
            if args.top_k:
                shared = choose_facts.common_neurons(bags[name], neurons[name], settings.common)
                scores = read_scores(results, plan)
                plan = choose_facts.with_strongest(plan, scores, shared, max(args.top_k))
                made_from[results.scores(name).name] = sha256_of(results.scores(name))
            of_neurons = results.fact_neurons(name, baseline=False)
            made_from[of_neurons.name] = sha256_of(of_neurons)
            plans.append(plan)
            bar.update()
    return plans, made_from


def read_scores(results: Results, plan: Plan) -> dict[int, list[list[Triplet]]]:
    """The triplets of each planned fact's prompts; ValueError where there are none."""
    path = results.scores(plan.relation)
    if not path.exists():
        raise ValueError(f"{path}: no such file; --top_k ranks neurons by the scores of stage 1")
    check_of_scores(results, plan.relation)
    wanted = {planned.asked.fact for planned in plan.facts}
    scores = {
        index: [prompt.of_answer for prompt in fact]
        for index, fact in enumerate(read_fact_scores(path))
        if index in wanted
    }
    bare = sorted(index for index in wanted if not any(scores.get(index, ())))
    if bare:
        raise ValueError(f"{path} has no scores of fact {bare[0]}: run stages 1 and 2 again")
    return scores


# --- editing ---------------------------------------------------------------------------------


def edit_all(
    args: argparse.Namespace,
    results: Results,
    inputs: Inputs,
    plans: list[Plan],
    lines: growing.GrowingLines,
) -> None:
    """Edit the facts that are not there yet, all edits of a fact as one group of lines."""
    started, resumed = time.perf_counter(), lines.done
    planned = [fact for plan in plans for fact in plan.facts]
    variants = variants_of(args)
    model, tokenizer = inputs.pretrained.model, inputs.pretrained.tokenizer
    first = resumed // (len(variants) * len(EDITED))
    with arguments.progress(len(planned), "editing", "fact", done=first, step=True) as bar:
        for fact in planned[first:]:
            records = list(
                edit_facts.edit_fact(model, tokenizer, inputs.bags, fact, variants, args.seed)
            )
            if args.save_patches:
                for record in records:
                    save_patch(results, run_name(args), inputs, fact, record)
            lines.append([encode(record) for record in records])
            bar.update()
        lines.finish(
            arguments=arguments.plain(args),
            **arguments.under_of(inputs.device),
            wall_seconds=round(time.perf_counter() - started, 3),
            edits_resumed=resumed,
            model_sha256_after=stage_6_7_arguments.check_unchanged(inputs),
        )


def save_patch(
    results: Results, run: str, inputs: Inputs, fact: Planned, record: EditRecord
) -> None:
    """Keep the edit of a fact's own neurons; the controls are not worth it."""
    if record.kind != CHOSEN:
        return
    variant = Variant(record.lambda_1, record.lambda_2, record.top_k)
    edit = edit_facts.knowledge_edit(inputs.pretrained.model, fact, variant)
    header = patches.Header(
        kind="update",
        model_sha256=inputs.pretrained.sha256,
        relation=record.relation,
        neurons=edit.neurons,
        fact=record.fact,
        old=record.old,
        new=record.new,
        lambdas=(record.lambda_1, record.lambda_2),
    )
    name = f"{record.relation}-{record.fact}"
    path = results.patch(run, name, header.lambdas, record.top_k, record.repeat)
    patches.save(path, edit, header)


# --- the summary -----------------------------------------------------------------------------


def write_summary(
    args: argparse.Namespace, results: Results, plans: list[Plan], path: Path
) -> None:
    """Table 6 from the lines alone: on the screen, as JSON beside them, and drawn."""
    started = time.perf_counter()
    chosen = {
        plan.relation: {
            "edits": len(plan.facts),
            "facts": plan.different,
            "drawn": plan.drawn,
            "answered_wrong": plan.wrong,
            "without_neurons": plan.without_neurons,
        }
        for plan in plans
    }
    summaries, summary = (
        summarise_edits(read_edits(path), args.seed),
        results.edits_summary(path.stem),
    )
    run, written = EditRun(path.stem, args.draw, chosen, summaries), [summary]
    write_edit_run(results, run)
    write_manifest(
        summary,
        {"records": path.name, "records_sha256": sha256_of(path), "seed": args.seed},
        draw=args.draw,
        arguments=arguments.plain(args),
        wall_seconds=round(time.perf_counter() - started, 3),
    )
    if run.by_count:
        for picture in gallery.success(results, run):
            written += gallery.save(results, picture, arguments.plain(args))
    tables.show_edits(run)
    for output in (path, *written):
        print(f"wrote {output}")


def main() -> None:
    args = parse_arguments()
    results = arguments.results_of(args)
    inputs = stage_6_7_arguments.load(args)
    plans, made_from = make_plans(args, results, inputs)
    arguments.show(
        f"Stage 6, {run_name(args)}",
        {
            "model": f"{args.bert_model} on {inputs.device}",
            "left out": f"{inputs.left_out} facts whose answer is not one token",
            "draw": args.draw,
            **{plan.relation: plan for plan in plans},
        },
    )
    if not any(plan.facts for plan in plans):
        print("no fact to edit in any relation, and nothing written; the table above says why")
        return
    path = results.edits(run_name(args))
    variants = variants_of(args)
    identity = {
        **inputs.identity,
        "neurons_sha256": made_from,
        "facts_per_relation": args.facts_per_relation,
        "draw": args.draw,
        "variants": [asdict(variant) for variant in variants],
    }
    if is_done(path, identity):
        print(f"all edits are done: {path}")
    else:
        group, under = len(variants) * len(EDITED), arguments.under_of(inputs.device)
        with growing.GrowingLines(path, identity, group, under=under) as lines:
            if not lines.finished:
                edit_all(args, results, inputs, plans, lines)
    write_summary(args, results, plans, path)


if __name__ == "__main__":
    program.run(main)
