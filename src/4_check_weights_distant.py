"""Stage 4: activation of neurons on web sentences -> results/distant/.

Usage: bash 4_run_distant.sh      (see --help for every flag)

For every relation with neurons, of integrated gradients and of the baseline: the mean activation
of each fact's neurons at [MASK] on sentences with its head and tail (the tail masked), with its
head (a random other word masked), and on random ones (Table 4).  <REL>.jsonl holds a line a fact,
{,base_}kn_weights@distant_data.json the authors' shape, summary.json the means with intervals.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import distant_activation
from knowledge_neurons.results import activation_files, distant_summary, published, storage
from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, FactActivation
from knowledge_neurons.results.estimates import told
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, tables
from knowledge_neurons.stages.arguments import SentenceSettings
from knowledge_neurons.stages.inputs import (
    Inputs,
    Relation,
    open_inputs,
    read_sentences,
    sentences_path,
    with_sentences,
)
from knowledge_neurons.types import BASELINE, KINDS, FactSentences


def parse() -> SentenceSettings:
    parser = arguments.of_neurons(__doc__.splitlines()[0], max_seq_length=512)
    arguments.add_relations(parser)
    arguments.add_sentences(parser)
    arguments.add_seed(parser, "masked words, random sentences")
    return arguments.settings(SentenceSettings, parser.parse_args(), own="distant")


def read_all_sentences(inputs: Inputs) -> dict[str, list[FactSentences]]:
    """Of every relation of the prompts that has a file: random sentences come from all of them, so
    that what --relations leaves out changes nothing."""
    there = [name for name in inputs.facts if sentences_path(inputs.settings, name).exists()]
    return {name: read_sentences(inputs, name) for name in there}


def compute(
    inputs: Inputs,
    relation: Relation,
    sentences: list[FactSentences],
    pool: list[str],
    identity: dict[str, Any],
    path: Path,
) -> list[FactActivation]:
    """The records of a relation's facts, from the file where it is done."""
    settings = inputs.settings

    def read(some: range) -> list[FactActivation]:
        group = slice(some.start, some.stop)
        return distant_activation.read_facts(
            inputs.pretrained.model,
            inputs.pretrained.tokenizer,
            sentences[group],
            {kind: sets[group] for kind, sets in relation.neurons.items()},
            pool,
            settings.seed,
            inputs.max_tokens,
        )

    identity, facts = identity | relation.identity, len(relation.facts)
    group, encode = distant_activation.GROUP, activation_files.encode_activation
    job = Job(path, identity, relation.name, facts, group, read, encode)
    grow(job, settings.given, inputs.under)
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
    tables.show("Mean activation (Table 4; 95 % intervals)", rows)
    tables.show("Read", {k: v for k, v in summary.items() if k != "table"})


def main() -> None:
    settings = parse()
    results, inputs = settings.results, open_inputs(settings)
    relations, left_out = with_sentences(inputs)
    sentences = read_all_sentences(inputs)
    pool = [s for own in sentences.values() for f in own for s in (*f.with_both, *f.with_head)]
    identity = inputs.identity | {
        "seed": settings.seed,
        "max_seq_length": inputs.max_tokens,
        "random_sentences": "as many as with both",  # ten in files of before
        "pool_sha256": hashlib.sha256("\n".join(pool).encode()).hexdigest(),
        "pairs_sha256": storage.sha256_of(settings.pairs),
    }
    found: dict[str, list[FactActivation]] = {}
    for relation in relations:
        path, own = results.distant / f"{relation.name}.jsonl", sentences[relation.name]
        found[relation.name] = compute(inputs, relation, own, pool, identity, path)
    summary = summary_of(found, settings.seed) | {"relations_without_sentences": left_out}
    written = [results.distant / "summary.json"]
    storage.write_json(written[0], summary, readable=True)
    for kind in KINDS:
        written.append(results.distant_activations(kind == BASELINE))
        neurons = {relation.name: relation.neurons[kind] for relation in relations}
        theirs = activation_files.authors_activations(found, neurons, kind)
        storage.write_json(written[-1], theirs)
    sums = {relation.name: relation.neurons_sha256 for relation in relations}
    for path in written:
        made_from = identity | {"neurons_sha256": sums}
        storage.write_manifest(path, made_from, arguments=settings.given)
    show(summary)
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
