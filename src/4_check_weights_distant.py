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
from dataclasses import replace
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import distant_activation
from knowledge_neurons.results.activations import (
    ActivationRecord,
    authors_activations,
    read_activations,
    summary_of,
)
from knowledge_neurons.results.adopted import kinds_of
from knowledge_neurons.results.comparison import activations_beside
from knowledge_neurons.results.json_files import encode_float32, write_json
from knowledge_neurons.results.manifests import sha256_of, write_manifest
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
from knowledge_neurons.types import BASELINE, FactSentences


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
) -> list[ActivationRecord]:
    """The records of a relation's facts, from the file where it is done."""
    settings, max_tokens = inputs.settings, inputs.max_tokens
    model, tokenizer, seed = inputs.pretrained.model, inputs.pretrained.tokenizer, settings.seed
    of_kinds, unknown = relation.neurons, relation.unknown

    def read(some: range) -> list[ActivationRecord]:
        group = slice(some.start, some.stop)
        neurons = {kind: sets[group] for kind, sets in of_kinds.items()}
        found = distant_activation.read_facts(
            model, tokenizer, sentences[group], neurons, pool, seed, max_tokens
        )
        return [replace(r, neurons={}) if r.fact in unknown else r for r in found]

    job = Job(
        path,
        identity | relation.identity,
        name=relation.name,
        facts=len(relation.facts),
        group=distant_activation.GROUP,
        work=read,
        encode=encode_float32,
    )
    grow(job, settings.given, inputs.under, executor=inputs.executor)
    return read_activations(path)


def show(summary: dict[str, Any]) -> None:
    """Table 4, ours beside the paper's, and the counts."""
    tables.show_beside("Table 4: mean activation", activations_beside(summary["table"]))
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
        "pairs_sha256": sha256_of(settings.pairs),
    }
    found: dict[str, list[ActivationRecord]] = {}
    for relation in relations:
        path, own = results.activations(relation.name), sentences[relation.name]
        found[relation.name] = compute(inputs, relation, own, pool, identity, path)
    summary = summary_of(found, settings.seed) | {"relations_without_sentences": left_out}
    written = [results.activations_summary]
    write_json(written[0], summary, readable=True)
    for kind in kinds_of(one for own in found.values() for one in own):
        written.append(results.distant_activations(kind == BASELINE))
        neurons = {one.name: one.neurons[kind] for one in relations if kind in one.neurons}
        theirs = authors_activations({name: found[name] for name in neurons}, neurons, kind)
        write_json(written[-1], theirs)
    sums = {relation.name: relation.neurons_sha256 for relation in relations}
    for path in written:
        made_from = identity | {"neurons_sha256": sums}
        write_manifest(path, made_from, arguments=settings.given)
    show(summary)
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
