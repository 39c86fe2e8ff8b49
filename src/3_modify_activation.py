"""Stage 3: suppress and amplify neurons -> results/kn/{,base_}modify_activation_rlt.json.

Usage: bash 3_run_modify_activation.sh      (see --help for every flag)

For every relation with neurons, of integrated gradients and of the baseline: the probability of the
right answer to a fact's own prompts, and to those of a fact of another relation, before, with the
fact's neurons off and with them doubled (Figures 4 and 5).  modify_activation/<REL>.jsonl holds a
line a fact, summary.json the averages with their intervals.

With --scales 0,0.25,...,2 it draws the dose-response curve of each relation instead: the change at
every factor -> results/dose_response/ and figs/dose_response-<REL>.pdf and .png.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.experiments import modify_activation
from knowledge_neurons.figures import plots
from knowledge_neurons.results import activation_files, published, storage
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.modify_summary import (
    AMPLIFY,
    ASKED,
    SUPPRESS,
    FactRecord,
    average_change,
)
from knowledge_neurons.stages import arguments, neuron_stages
from knowledge_neurons.stages.neuron_stages import Inputs, Relation
from knowledge_neurons.text import data
from knowledge_neurons.types import BASELINE, KINDS, Fact, Prompt

MOST_SCALES = 200  # each is one more pass over all prompts


def parse_arguments() -> argparse.Namespace:
    parser = neuron_stages.parser_of(__doc__.splitlines()[0], max_seq_length=128)
    arguments.add_oov(parser)
    parser.add_argument(
        "--scales",
        type=parse_scales,
        help="draw dose-response curves at these factors: a list, or 0,0.25,...,2 for even steps",
    )
    arguments.add_seed(parser, "the other facts and intervals")
    return parser.parse_args()


def parse_scales(text: str) -> list[float]:
    """ "0,0.25,...,2" or "0,1,4" -> rising factors; ArgumentTypeError says what is wrong."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_SCALES:
        raise argparse.ArgumentTypeError(f"{len(parts)} factors: at most {MOST_SCALES}")
    if "..." not in parts:
        return sorted(set(map(arguments.factor, parts)))
    if len(parts) != 4 or parts[2] != "...":
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected FIRST,SECOND,...,LAST")
    # As written, so that 0.1 times 3 is 0.3.
    first, second, last = (Decimal(str(arguments.factor(parts[i]))) for i in (0, 1, 3))
    if not first < second <= last or (last - first) / (second - first) >= MOST_SCALES:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: expected rising numbers, at most {MOST_SCALES} of them"
        )
    if (last - first) % (second - first):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: the last factor is not reached in steps of the first two"
        )
    steps = int((last - first) / (second - first))
    return [float(first + k * (second - first)) for k in range(steps + 1)]


class Prompts:
    """The prompts of all facts, tokenised when they are needed."""

    def __init__(self, inputs: Inputs):
        args, self.tokenizer = inputs.args, inputs.pretrained.tokenizer
        self.max_tokens = inputs.max_tokens
        self.skip_unknown, self.source = args.oov == "skip", inputs.source
        self.facts: dict[str, list[Fact]] = {
            name: data.facts_of(inputs.bags, name, inputs.source, arguments.max_facts_of(args))
            for name in inputs.bags
        }
        self.askable = {
            name: [f.index for f in facts if self.tokenizer.single_token(f.answer) is not None]
            for name, facts in self.facts.items()
        }

    def of(self, facts: Sequence[Fact]) -> list[list[Prompt]]:
        """The prompts of each fact; none where its answer is not one token and --oov is skip."""
        return fact_scores.encode_facts(
            facts, self.tokenizer, self.max_tokens, self.skip_unknown, self.source
        )

    def of_another(self, relation: str, index: int) -> list[Prompt]:
        return self.of([self.facts[relation][index]])[0]


def compute(
    inputs: Inputs, relation: Relation, prompts: Prompts, scales: Sequence[float], path: Path
) -> list[FactRecord]:
    """The records of a relation's facts, from the file where it is done."""
    seed = inputs.args.seed
    own = prompts.of(relation.facts)
    others = modify_activation.draw_others(prompts.askable, relation.facts, seed)

    def lines_from(first: int) -> Iterator[list[bytes]]:
        asked = [(*chosen, prompts.of_another(*chosen)) if chosen else None for chosen in others]
        groups = modify_activation.modify(
            inputs.pretrained.model,
            relation.facts[first:],
            own[first:],
            asked[first:],
            {kind: sets[first:] for kind, sets in relation.neurons.items()},
            scales,
        )
        for records in groups:
            yield [activation_files.encode_modified(record) for record in records]

    identity = inputs.identity | relation.identity
    identity |= {"seed": seed, "scales": list(scales), "max_seq_length": prompts.max_tokens}
    neuron_stages.grow(
        inputs,
        path,
        identity | {"oov": inputs.args.oov},
        total=len(relation.facts),
        group=modify_activation.GROUP,
        lines_from=lines_from,
    )
    return activation_files.read_modified(path, scales)


def averages(
    relations: dict[str, list[FactRecord]], scales: Sequence[float], seed: int
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """kind of neurons -> own or other prompts -> factor -> change and interval."""
    return {
        kind: {
            asked: {
                f"{factor:g}": change
                for factor in scales
                if (change := average_change(relations, asked, kind, factor, seed))
            }
            for asked in ASKED
        }
        for kind in KINDS
    }


def counts_of(relations: dict[str, list[FactRecord]]) -> dict[str, Any]:
    """How many facts took part, and how many did not or could not change, by reason."""
    records = [record for own in relations.values() for record in own]
    return {
        "facts": len(records),
        "answer_not_one_token": sum(record.own is None for record in records),
        "no_other_relation": sum(bool(record.own) and record.other is None for record in records),
        **{
            f"without_{kind}": sum(not record.neurons[kind] for record in records) for kind in KINDS
        },
    }


def write_averages(
    inputs: Inputs, relations: dict[str, list[FactRecord]], identity: dict[str, Any]
) -> list[Path]:
    """Figures 4 and 5 in the authors' shape and as a summary with intervals."""
    results, seed, factors = inputs.results, inputs.args.seed, (SUPPRESS, AMPLIFY)
    written = []
    for kind in KINDS:
        path = results.modified_averages(kind == BASELINE)
        storage.write_json(path, activation_files.authors_averages(relations, kind))
        written.append(path)
    summary = {
        "change": averages(relations, factors, seed),
        "counts": counts_of(relations),
        "relations": {r: averages({r: relations[r]}, factors, seed) for r in sorted(relations)},
    }
    path = results.modified / "summary.json"
    storage.write_json(path, summary, readable=True)
    for output in (*written, path):
        storage.write_manifest(output, identity, arguments=arguments.plain(inputs.args))
    rows = {"": f"{'own facts':>28}{'paper':>9}{'other relations':>31}"}
    for factor, name, paper in (
        (SUPPRESS, "suppressed", published.SUPPRESSED),
        (AMPLIFY, "amplified", published.AMPLIFIED),
    ):
        for kind, theirs in zip(KINDS, paper.rows["own"], strict=True):
            own, other = (summary["change"][kind][asked].get(f"{factor:g}") for asked in ASKED)
            ours = [told(one and one.times(100), 2, "+") for one in (own, other)]
            rows[f"{name}, {kind}"] = f"{ours[0]:>28}{theirs:+9.2f}{ours[1]:>31}"
    title = "Change of the right answer's probability in % (Figures 4 and 5; 95 % intervals)"
    arguments.show(title, rows)
    arguments.show("Facts", summary["counts"])
    return [*written, path]


def write_curve(
    inputs: Inputs, relation: str, records: list[FactRecord], scales: list[float], identity: dict
) -> list[Path]:
    """The dose-response curve of a relation, as numbers and as a figure."""
    curve = averages({relation: records}, scales, inputs.args.seed)
    path = inputs.results.dose_response / f"{relation}.json"
    storage.write_json(path, curve, readable=True)
    figure = plots.dose_response(relation, curve)
    drawn = plots.save(figure, inputs.results.figure(f"dose_response-{relation}"))
    for output in (path, *drawn):
        storage.write_manifest(output, identity, arguments=arguments.plain(inputs.args))
    return [path, *drawn]


def main() -> None:
    args = parse_arguments()
    draws_curves = args.scales is not None
    scales = args.scales if draws_curves else [SUPPRESS, AMPLIFY]
    inputs = neuron_stages.open_inputs(args)
    relations = neuron_stages.read_relations(inputs)  # all, before the first is computed
    prompts = Prompts(inputs)
    folder = inputs.results.dose_response if draws_curves else inputs.results.modified
    identity = inputs.identity | {"scales": scales, "seed": args.seed}
    found: dict[str, list[FactRecord]] = {}
    written: list[Path] = []
    for relation in relations:
        name = relation.name
        found[name] = compute(inputs, relation, prompts, scales, folder / f"{name}.jsonl")
        if draws_curves:
            own = identity | relation.identity
            written += write_curve(inputs, name, found[name], scales, own)
    if not draws_curves:
        sums = {relation.name: relation.identity["neurons_sha256"] for relation in relations}
        written = write_averages(inputs, found, identity | {"neurons_sha256": sums})
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
