"""Stage 6: change what facts answer by editing the value slots of their neurons -> results/edit/.

Usage: bash 6_run_edit.sh 1 8 [--top_k 1,2,3 ...]      (see --help for every flag)

Of each relation ten facts that the model answers right get another answer of their relation
(section 5.1 of the paper), drawn as the released code draws them or, with --draw distinct, none
twice.  Each edit is measured and undone; random neurons are the control.  One line per edit in
NAME.jsonl, Table 6 in NAME.json.  A run that was interrupted goes on.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from knowledge_neurons.editing import patches
from knowledge_neurons.experiments import choose_facts, edit_facts
from knowledge_neurons.experiments.choose_facts import Bags, Plan
from knowledge_neurons.experiments.edit_facts import Patch, patch_of
from knowledge_neurons.figures import gallery
from knowledge_neurons.results.edits import (
    EDITED,
    EditRecord,
    EditRun,
    Variant,
    read_edits,
    summarise_edits,
    write_edit_run,
)
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.json_files import encode
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import sha256_of, write_manifest
from knowledge_neurons.results.neurons import check_of_scores
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.runs.grow import Job, grow, progress
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.types import KNOWLEDGE, Triplet


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """What stage 6 is told.

    run: name of its files.  variants: every pair of lambdas with every count of neurons.  top_k:
    these counts, none for the refined neurons.
    """

    run: str
    variants: list[Variant]
    top_k: list[int]
    facts_per_relation: int
    draw: str
    directions: str
    save_patches: bool


def parse() -> Settings:
    parser = arguments.of_neurons(__doc__.splitlines()[0])
    arguments.add_oov(parser)
    arguments.add_seed(parser, "all that is drawn")
    for which, default, done in (
        (1, 1.0, "old answer is taken out"),
        (2, 8.0, "new one is put in"),
    ):
        parser.add_argument(
            *(f"--lambda_{which}", f"--norm_lambda{which}"),
            type=numbers.factor,
            default=default,
            help=f"how much of the {done}",
        )
    parser.add_argument(
        "--lambda_sweep", type=numbers.pairs, help="L1:L2,L1:L2 ... instead of one pair"
    )
    parser.add_argument(
        "--top_k",
        type=numbers.counts,
        help="1,2,5 ...: edit the K neurons of highest mean score instead of the refined ones, and "
        "draw success against K (reads the scores of stage 1)",
    )
    arguments.add_relations(parser)
    parser.add_argument(
        "--facts_per_relation", type=numbers.count, default=10, help="edits of a relation"
    )
    parser.add_argument(
        "--draw",
        choices=choose_facts.DRAWS,
        default=choose_facts.RELEASED,
        help="released: with replacement, the new answer that of another fact, all prompts of the "
        "facts that watch; distinct: no fact twice, new answers equally likely, one prompt of each",
    )
    parser.add_argument(
        "--directions",
        choices=("output", "input"),
        default="output",
        help="whose embeddings answers are taken out and put in by, where a model has two",
    )
    parser.add_argument(
        "--save_patches", action="store_true", help="keep each fact's edit: edit/NAME/*.safetensors"
    )
    args = parser.parse_args()
    pairs = args.lambda_sweep or [(args.lambda_1, args.lambda_2)]
    variants = [Variant(*pair, k) for pair, k in product(pairs, args.top_k or [None])]
    of = "sweep" if args.lambda_sweep else f"{args.lambda_1:g}-{args.lambda_2:g}"
    run = f"edit-{of}" + ("-top_k" if args.top_k else "")
    return arguments.settings(Settings, args, run=run, variants=variants, top_k=args.top_k or [])


# --- what will be edited ---------------------------------------------------------------------


def make_plans(inputs: Inputs, bags: Bags, relations: list[Relation]) -> list[Plan]:
    """The facts of each relation that will be edited."""
    settings, model = inputs.settings, inputs.pretrained.model
    chosen = choose_facts.Selection(
        settings.facts_per_relation, seed=settings.seed, draw=settings.draw
    )
    plans = []
    with progress(len(relations), "choosing facts", "relation") as bar:
        for name, neurons in ((one.name, one.neurons[KNOWLEDGE]) for one in relations):
            plan = choose_facts.plan(model, bags, name, neurons, chosen)
            if settings.top_k:
                shared = choose_facts.common_neurons(bags[name], neurons, chosen.common)
                scores = read_scores(settings.results, plan)
                plan = choose_facts.with_strongest(plan, scores, shared, max(settings.top_k))
            plans.append(plan)
            bar.update()
    return plans


def made_from(settings: Settings, relations: list[Relation]) -> dict[str, str]:
    """The sha256 of every file that decides the relations' neurons."""
    results, sums = settings.results, {}
    for relation in relations:
        if settings.top_k:
            scores = results.scores(relation.name)
            sums[scores.name] = sha256_of(scores)
        neurons = results.fact_neurons(relation.name, baseline=False)
        sums[neurons.name] = relation.neurons_sha256[KNOWLEDGE]
    return sums


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
    inputs: Inputs, bags: Bags, plans: list[Plan], path: Path, identity: dict[str, Any]
) -> bool:
    """Edit the facts that are not there yet; returns whether there were any."""
    settings, pretrained = inputs.settings, inputs.pretrained
    planned = [fact for plan in plans for fact in plan.facts]
    model, tokenizer, sha256 = pretrained.model, pretrained.tokenizer, pretrained.sha256
    variants, seed, run, results = settings.variants, settings.seed, settings.run, settings.results
    asks_patches = settings.save_patches

    def edit(some: range) -> list[tuple[EditRecord, Patch | None]]:
        (fact,) = planned[some.start : some.stop]
        records = edit_facts.edit_fact(model, tokenizer, bags, fact, variants, seed)
        return [
            (record, patch_of(model, fact, record, sha256) if asks_patches else None)
            for record in records
        ]

    def keep(one: tuple[EditRecord, Patch | None]) -> None:
        record, patch = one
        if patch:
            name = f"{record.relation}-{record.fact}"
            which = patch[1].lambdas, record.top_k, record.repeat
            patches.save(results.patch(run, name, *which), *patch)

    def ending(lines: GrowingLines, resumed: int) -> dict[str, Any]:
        return {"edits_resumed": resumed, "model_sha256_after": inputs.check_unchanged()}

    job = Job(
        path,
        identity,
        name="editing",
        facts=len(planned),
        group=1,
        work=edit,
        encode=lambda one: encode(one[0]),
        records=len(variants) * len(EDITED),
        told=lambda place: f"{planned[place].asked.relation} fact {planned[place].asked.fact}",
        keep=keep,
    )
    return grow(job, settings.given, inputs.under, ending, inputs.executor)


# --- the summary -----------------------------------------------------------------------------


def write_summary(settings: Settings, plans: list[Plan], path: Path) -> None:
    """Table 6 from the lines alone: on the screen, as JSON beside them, and drawn."""
    started, results = time.perf_counter(), settings.results
    summaries = summarise_edits(read_edits(path), settings.seed)
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
    run = EditRun(path.stem, settings.draw, chosen, summaries)
    written = [results.edits_summary(run.name)]
    write_edit_run(results, run)
    write_manifest(
        written[0],
        {"records": path.name, "records_sha256": sha256_of(path), "seed": settings.seed},
        draw=settings.draw,
        arguments=settings.given,
        wall_seconds=round(time.perf_counter() - started, 3),
    )
    if run.by_count:
        for picture in gallery.success(results, run):
            written += gallery.save(results, picture, settings.given)
    tables.show_edits(run)
    for output in (path, *written):
        print(f"wrote {output}")


def main() -> None:
    settings = parse()
    inputs = open_inputs(settings)
    inputs.pretrained.model.directions = settings.directions
    relations = read_relations(inputs, settings.relations, (KNOWLEDGE,), whole=True)
    bags = inputs.encode_all()
    bags |= {one.name: one.known(bags[one.name]) for one in relations}
    plans = make_plans(inputs, bags, relations)
    rows = {"draw": settings.draw, **{plan.relation: plan for plan in plans}}
    inputs.show(f"Stage 6, {settings.run}", bags, rows)
    if not any(plan.facts for plan in plans):
        print("no fact to edit in any relation, and nothing written; the table above says why")
        return
    path = settings.results.edits(settings.run)
    identity = {
        **inputs.identity_of_all,
        "neurons_sha256": made_from(settings, relations),
        "facts_per_relation": settings.facts_per_relation,
        "draw": settings.draw,
        "directions": settings.directions,
        "variants": [asdict(variant) for variant in settings.variants],
    }
    if not edit_all(inputs, bags, plans, path, identity):
        print(f"all edits are done: {path}")
    write_summary(settings, plans, path)


if __name__ == "__main__":
    program.run(main)
