"""Stage 5: the web sentences that wake a fact's neurons most -> results/trigger_examples_th/.

Usage: bash 5_run_trigger_examples.sh [--relations P36,P740 --facts 0,3 --top 2]

For each fact the sentences with its head and tail, the tail masked, ranked by the summed
activation of its knowledge neurons at [MASK] (Table 3).  <REL>-<fact>.txt holds the whole ranking;
<REL>.jsonl, a line a fact, both ends of it (with --facts <REL>@<facts>.jsonl, those facts alone).
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import distant_activation, trigger_examples
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.manifests import sha256_of
from knowledge_neurons.results.triggers import (
    Triggers,
    encode_triggers,
    read_triggers,
    triggers_text,
)
from knowledge_neurons.stages import arguments, neuron_stages
from knowledge_neurons.stages.neuron_stages import Inputs, Relation
from knowledge_neurons.types import KNOWLEDGE, Neuron

TOP = 10


def parse_arguments() -> argparse.Namespace:
    parser = neuron_stages.parser_of(__doc__.splitlines()[0], max_seq_length=512)
    neuron_stages.add_sentences(parser)
    parser.add_argument("--facts", help="places of facts in their relation, from 0: 0,3 (all)")
    # DEVIATION: "Top-10" of the released code prints 20, of two relations (difference 13)
    parser.add_argument(
        "--top", type=arguments.count, default=TOP, help="sentences at either end, in JSON"
    )
    return parser.parse_args()


def places_of(args: argparse.Namespace, relation: Relation) -> list[int]:
    """The facts asked for, in data order."""
    names = arguments.names_of(args.facts)
    if not names:
        return list(range(len(relation.facts)))
    wrong = [n for n in names if not (n.isdecimal() and int(n) < len(relation.facts))]
    if wrong:
        raise ValueError(
            f"--facts {','.join(wrong)}: {relation.name} has facts 0 to {len(relation.facts) - 1}"
        )
    return sorted({int(name) for name in names})


def compute(
    inputs: Inputs, relation: Relation, places: list[int], path: Path, identity: dict[str, Any]
) -> None:
    """Write the text file of each fact, then its line."""
    sentences = neuron_stages.read_sentences(inputs, relation.name)
    facts = [sentences[place] for place in places]
    neurons = [relation.neurons[KNOWLEDGE][place] for place in places]
    pretrained, results, top = inputs.pretrained, inputs.results, inputs.args.top

    def lines_from(first: int) -> Iterator[list[bytes]]:
        groups = trigger_examples.rank_sentences(
            pretrained.model,
            pretrained.tokenizer,
            relation.facts[0].label,
            facts[first:],
            neurons[first:],
            inputs.max_tokens,
        )
        rest = iter(neurons[first:])
        for group in groups:
            lines = []
            for found, own in zip(group, rest, strict=False):
                write_text(results.triggers_text(relation.name, found.fact), found, own)
                lines.append(encode_triggers(found, own, top))
            yield lines

    neuron_stages.grow(
        inputs,
        path,
        identity | relation.identity | {"facts": places},
        total=len(facts),
        group=distant_activation.GROUP,
        lines_from=lines_from,
    )


def write_text(path: Path, found: Triggers, neurons: Sequence[Neuron]) -> None:
    """As the authors' stage: no file for a fact without neurons or sentences, nor an old one."""
    if found.ranked:
        write_atomic(path, triggers_text(found, neurons).encode())
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    args = parse_arguments()
    inputs = neuron_stages.open_inputs(args, own="trigger_examples_th")
    relations, left_out = neuron_stages.with_sentences(inputs)
    places = {relation.name: places_of(args, relation) for relation in relations}
    rows = {}
    for relation in relations:
        chosen = places[relation.name]
        path = inputs.results.triggers(relation.name, chosen if args.facts else ())
        identity = inputs.identity | {
            "sentences_sha256": sha256_of(neuron_stages.sentences_path(args, relation.name)),
            "pairs_sha256": sha256_of(args.pairs),
            "max_seq_length": inputs.max_tokens,
            "top": args.top,
        }
        compute(inputs, relation, chosen, path, identity)
        records = list(read_triggers(path))
        rows[relation.name] = (
            f"{len(records):5} facts, {sum(one.sentences for one in records):6} sentences ranked, "
            f"{sum(not one.neurons for one in records)} facts without neurons, "
            f"{sum(bool(one.neurons) and not one.sentences for one in records)} without "
            f"sentences, {sum(sum(one.unusable.values()) for one in records)} sentences unusable"
        )
    arguments.show(f"Trigger sentences, in {inputs.results.triggers('').parent}", rows)
    if left_out:
        print(f"without sentences, left out: {', '.join(left_out)}")


if __name__ == "__main__":
    program.run(main)
