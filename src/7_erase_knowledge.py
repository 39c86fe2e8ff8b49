"""Stage 7: erase a relation by emptying the value slots that its facts share -> results/erase/.

Usage: bash 7_run_erase.sh P19 [--other_sample 2000 ...]      (see --help for every flag)

The value slots of the relation's most frequent knowledge neurons are set to zero (section 5.2 of
the paper); accuracy and perplexity of its prompts and of all others are read before and after, and
with as many random neurons emptied.  One line per fact in NAME.jsonl, Table 5 in NAME.json, the
edit itself in NAME.safetensors (scripts/apply_edit.py).  A run that was interrupted goes on.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import random
import time
from pathlib import Path

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.experiments import erase_relation
from knowledge_neurons.experiments.choose_facts import Place
from knowledge_neurons.experiments.edit_facts import random_neurons
from knowledge_neurons.experiments.erase_relation import GROUP
from knowledge_neurons.results import growing
from knowledge_neurons.results.erasures import (
    ERASED,
    Erased,
    Erasure,
    both_edits,
    read_erasures,
)
from knowledge_neurons.results.json_files import encode, write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import is_done, sha256_of, write_manifest
from knowledge_neurons.stages import arguments, stage_6_7_arguments, tables
from knowledge_neurons.stages.stage_6_7_arguments import Inputs
from knowledge_neurons.text.tokenizer import UNK
from knowledge_neurons.types import CONTROL, WeightEdit


def parse_arguments() -> argparse.Namespace:
    parser = stage_6_7_arguments.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--relation", "--pt_relation", required=True, help="to be erased, such as P19"
    )
    parser.add_argument(
        "--neurons", type=arguments.count, default=20, help="how many, the most frequent first"
    )
    parser.add_argument(
        "--value",
        choices=("zero", "unk"),
        default="zero",
        help="what the value slots are set to: zero, or the word embedding of [UNK]",
    )
    parser.add_argument(
        "--other_sample",
        type=arguments.whole(0),
        help="only so many prompts of other relations (default: all)",
    )
    return parser.parse_args()


def edits_of(args: argparse.Namespace, results: Results, inputs: Inputs) -> dict[str, WeightEdit]:
    """The erasure, and the control with as many random neurons."""
    of_facts = stage_6_7_arguments.read_neurons(results, args.relation, inputs)
    chosen = erase_relation.frequent_neurons(of_facts, args.neurons)
    if not chosen:
        raise ValueError(f"none of the {len(of_facts)} facts of {args.relation} has a neuron")
    model = inputs.pretrained.model
    rng = random.Random(f"{args.seed} {args.relation} neurons")
    drawn = random_neurons(model.config, chosen, len(chosen), rng)
    value = None
    if args.value == "unk":
        # UPSTREAM: the embedding as it is, not scaled to the slot; else zero (difference 19)
        value = model.embeddings.word.weight[inputs.pretrained.tokenizer.vocabulary[UNK]]
    return {
        ERASED: slots.erase(model, chosen, value),
        CONTROL: slots.erase(model, drawn, value),
    }


def read_all(
    args: argparse.Namespace,
    inputs: Inputs,
    places: list[Place],
    edits: dict[str, WeightEdit],
    lines: growing.GrowingLines,
) -> None:
    """Read the facts that are not there yet, before and under each edit."""
    started, resumed = time.perf_counter(), lines.done
    facts = len({(place.relation, place.fact) for place in places})
    model = inputs.pretrained.model
    with arguments.progress(facts, "reading", "fact", done=resumed, step=True) as bar:
        for group in erase_relation.read_prompts(model, inputs.bags, places, edits, resumed):
            lines.append([encode(record) for record in group])
            bar.update(len(group))
        lines.finish(
            arguments=arguments.plain(args),
            **arguments.under_of(inputs.device),
            wall_seconds=round(time.perf_counter() - started, 3),
            facts_resumed=resumed,
            neurons={name: [list(n) for n in edit.neurons] for name, edit in edits.items()},
            model_sha256_after=stage_6_7_arguments.check_unchanged(inputs),
        )


def write_summary(
    args: argparse.Namespace, path: Path, summary: Path, identity: dict[str, object]
) -> dict[str, Erased]:
    """Table 5 from the lines alone, as JSON beside them."""
    erased = both_edits(read_erasures(path), args.relation, args.seed)
    write_json(summary, erased, readable=True)
    made_from = {**identity, "records_sha256": sha256_of(path)}
    write_manifest(summary, made_from, arguments=arguments.plain(args))
    return erased


def main() -> None:
    args = parse_arguments()
    results = arguments.results_of(args)
    inputs = stage_6_7_arguments.load(args)
    edits = edits_of(args, results, inputs)
    places = erase_relation.choose_prompts(inputs.bags, args.relation, args.other_sample, args.seed)
    run = args.relation if args.value == "zero" else f"{args.relation}-{args.value}"
    path = results.erased(run)
    neurons = edits[ERASED].neurons
    arguments.show(
        f"Stage 7, {run}",
        {
            "model": f"{args.bert_model} on {inputs.device}",
            "left out": f"{inputs.left_out} facts whose answer is not one token",
            "neurons": f"{len(neurons)} of the {args.neurons} asked for, set to {args.value}",
            "prompts": f"{len(places)}, {sum(p.relation == args.relation for p in places)} of them "
            f"of {args.relation}",
        },
    )
    of_neurons = results.fact_neurons(args.relation, baseline=False)
    identity = {
        **inputs.identity,
        "relation": args.relation,
        "neurons_sha256": sha256_of(of_neurons),
        "neurons": args.neurons,
        "value": args.value,
        "other_sample": args.other_sample,
    }
    if is_done(path, identity):
        print(f"all prompts are read: {path}")
    else:
        under = arguments.under_of(inputs.device)
        with growing.GrowingLines(path, identity, GROUP, under=under) as lines:
            if not lines.finished:
                read_all(args, inputs, places, edits, lines)
    header = patches.Header("erase", inputs.pretrained.sha256, args.relation, neurons)
    patches.save(results.erasure(run), edits[ERASED], header)
    erased = write_summary(args, path, results.erasure_summary(run), identity)
    write_manifest(results.erasure(run), identity, arguments=arguments.plain(args))
    tables.show_erasure(Erasure(run, args.relation, len(neurons), *erased.values()))
    for output in (path, results.erasure_summary(run), results.erasure(run)):
        print(f"wrote {output}")


if __name__ == "__main__":
    program.run(main)
