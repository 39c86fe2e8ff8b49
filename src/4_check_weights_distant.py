"""Stage 4: activation of neurons on web sentences -> results/distant/.

Usage: bash 4_run_distant.sh      (see --help for every flag)

For every relation with neurons, of integrated gradients and of the baseline: the mean activation
of each fact's neurons at [MASK] on sentences with its head and tail (the tail masked), with its
head (a random other word masked), and on random ones (Table 4).  <REL>.jsonl holds a line a fact,
{,base_}kn_weights@distant_data.json the authors' shape, summary.json the means with intervals.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import distant_activation
from knowledge_neurons.results import activation_files, distant_summary, published, storage
from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, FactActivation
from knowledge_neurons.results.estimates import told
from knowledge_neurons.stages import arguments, neuron_stages
from knowledge_neurons.stages.neuron_stages import Inputs, Relation
from knowledge_neurons.types import BASELINE, KINDS, FactSentences


def parse_arguments() -> argparse.Namespace:
    parser = neuron_stages.parser_of(__doc__.splitlines()[0], max_seq_length=512)
    neuron_stages.add_sentences(parser)
    arguments.add_seed(parser, "masked words, random sentences")
    return parser.parse_args()


def read_all_sentences(inputs: Inputs) -> dict[str, list[FactSentences]]:
    """The sentences of every relation of the prompts that has a file.

    Random ones come from all of them: what --relations leaves out changes nothing.
    """
    names = sorted(inputs.bags)
    there = [name for name in names if neuron_stages.sentences_path(inputs.args, name).exists()]
    return {name: neuron_stages.read_sentences(inputs, name) for name in there}


def compute(
    inputs: Inputs,
    relation: Relation,
    facts: list[FactSentences],
    pool: list[str],
    identity: dict[str, Any],
    path: Path,
) -> list[FactActivation]:
    """The records of a relation's facts, from the file where it is done."""

    def lines_from(first: int) -> Iterator[list[bytes]]:
        groups = distant_activation.read_facts(
            inputs.pretrained.model,
            inputs.pretrained.tokenizer,
            facts[first:],
            {kind: sets[first:] for kind, sets in relation.neurons.items()},
            pool,
            inputs.args.seed,
            inputs.max_tokens,
        )
        for records in groups:
            yield [activation_files.encode_activation(record) for record in records]

    neuron_stages.grow(
        inputs,
        path,
        identity | relation.identity,
        total=len(facts),
        group=distant_activation.GROUP,
        lines_from=lines_from,
    )
    return activation_files.read_activations(path)


def summary_of(relations: dict[str, list[FactActivation]], seed: int) -> dict[str, Any]:
    """Table 4 with intervals, and what was read, skipped and cut, by reason."""
    records = [record for own in relations.values() for record in own]
    read = [record for record in records if record.means]
    unusable: Counter[str] = Counter()
    for record in records:
        unusable.update(record.unusable)
    return {
        "table": {kind: distant_summary.table_row(records, kind, seed) for kind in KINDS},
        "facts": len(records),
        "facts_skipped": {
            **{
                f"no sentence: {kind}": sum(not r.sentences[kind] for r in records)
                for kind in SENTENCE_KINDS
            },
            **{f"no neurons: {kind}": sum(not r.neurons[kind] for r in records) for kind in KINDS},
        },
        "sentences_read": {k: sum(r.sentences[k] for r in read) for k in SENTENCE_KINDS},
        "sentences_cut": sum(record.cut for record in read),
        "sentences_unusable": dict(unusable.most_common()),
        "head_sentences_with_the_tail": sum(record.names_tail for record in records),
    }


def show(summary: dict[str, Any]) -> None:
    """Table 4, ours beside the paper's, and the counts."""
    rows = {"": "".join(f"{kind:>26}" for kind in SENTENCE_KINDS) + "   paper"}
    for kind, row in summary["table"].items():
        if row is None:
            continue
        ours = "".join(f"{told(row.by_sentences[k], 3):>26}" for k in SENTENCE_KINDS)
        paper = [published.TABLE_4.rows[k][KINDS.index(kind)] for k in SENTENCE_KINDS]
        rows[kind] = f"{ours}   {' '.join(f'{v:.3f}' for v in paper)}"
    arguments.show("Mean activation (Table 4; 95 % intervals)", rows)
    arguments.show("Read", {k: v for k, v in summary.items() if k != "table"})


def main() -> None:
    args = parse_arguments()
    inputs = neuron_stages.open_inputs(args, own="distant")
    relations, left_out = neuron_stages.with_sentences(inputs)
    sentences = read_all_sentences(inputs)
    pool = [s for own in sentences.values() for f in own for s in (*f.with_both, *f.with_head)]
    identity = inputs.identity | {
        "seed": args.seed,
        "max_seq_length": inputs.max_tokens,
        "random_sentences": "as many as with both",  # ten in files of before
        "pool_sha256": hashlib.sha256("\n".join(pool).encode()).hexdigest(),
        "pairs_sha256": storage.sha256_of(args.pairs),
    }
    found: dict[str, list[FactActivation]] = {}
    for relation in relations:
        facts = sentences[relation.name][: len(relation.facts)]
        path = inputs.results.distant / f"{relation.name}.jsonl"
        found[relation.name] = compute(inputs, relation, facts, pool, identity, path)
    summary = summary_of(found, args.seed) | {"relations_without_sentences": left_out}
    written = [inputs.results.distant / "summary.json"]
    storage.write_json(written[0], summary, readable=True)
    for kind in KINDS:
        written.append(inputs.results.distant_activations(kind == BASELINE))
        neurons = {relation.name: relation.neurons[kind] for relation in relations}
        theirs = activation_files.authors_activations(found, neurons, kind)
        storage.write_json(written[-1], theirs)
    sums = {relation.name: relation.identity["neurons_sha256"] for relation in relations}
    for path in written:
        storage.write_manifest(
            path, identity | {"neurons_sha256": sums}, arguments=arguments.plain(args)
        )
    show(summary)
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
