"""Stage 5: the web sentences that wake a fact's neurons most -> results/trigger_examples_th/.

Usage: bash 5_run_trigger_examples.sh [--relations P36,P740 --facts 0,3 --top 2]

For each fact the sentences with its head and tail, the tail masked, ranked by the summed
activation of its knowledge neurons at [MASK] (Table 3).  <REL>-<fact>.txt holds the whole ranking;
<REL>.jsonl, a line a fact, both ends of it (with --facts <REL>@<facts>.jsonl, those facts alone).
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Sequence
from dataclasses import dataclass
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
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.inputs import (
    Inputs,
    Relation,
    open_inputs,
    read_sentences,
    sentences_path,
    with_sentences,
)
from knowledge_neurons.types import KNOWLEDGE, Neuron

TOP = 10


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.SentenceSettings):
    """facts: places in their relation, all where there are none.  top: sentences at either end."""

    facts: list[str]
    top: int


def parse() -> Settings:
    parser = arguments.of_neurons(__doc__.splitlines()[0], max_seq_length=512)
    arguments.add_relations(parser)
    arguments.add_sentences(parser)
    parser.add_argument("--facts", help="places of facts in their relation, from 0: 0,3 (all)")
    # DEVIATION: "Top-10" of the released code prints 20, of two relations (difference 13)
    parser.add_argument(
        "--top", type=numbers.count, default=TOP, help="sentences at either end, in JSON"
    )
    args = parser.parse_args()
    facts = arguments.names_of(args.facts)
    return arguments.settings(Settings, args, own="trigger_examples_th", facts=facts)


def places_of(settings: Settings, relation: Relation) -> list[int]:
    """The facts asked for, in data order."""
    count = len(relation.facts)
    wrong = [name for name in settings.facts if not (name.isdecimal() and int(name) < count)]
    if wrong:
        raise ValueError(f"--facts {','.join(wrong)}: {relation.name} has facts 0 to {count - 1}")
    return sorted({int(name) for name in settings.facts}) or list(range(count))


def compute(
    inputs: Inputs, relation: Relation, places: list[int], path: Path, identity: dict[str, Any]
) -> None:
    """Write the text file of each fact, then its line."""
    sentences = read_sentences(inputs, relation.name)
    settings, max_tokens = inputs.settings, inputs.max_tokens
    model, tokenizer = inputs.pretrained.model, inputs.pretrained.tokenizer
    label, of_fact = relation.facts[0].label, relation.neurons[KNOWLEDGE]
    name = relation.name  # alone, for workers

    def rank(some: range) -> list[tuple[Triggers, list[Neuron]]]:
        group = places[some.start : some.stop]
        facts, neurons = [sentences[i] for i in group], [of_fact[i] for i in group]
        ranked = trigger_examples.rank_sentences(
            model, tokenizer, label, facts, neurons, max_tokens
        )
        return list(zip(ranked, neurons, strict=True))

    def write(one: tuple[Triggers, list[Neuron]]) -> None:
        write_text(settings.results.triggers_text(name, one[0].fact), *one)

    job = Job(
        path,
        identity | relation.identity | {"facts": places},
        name=name,
        facts=len(places),
        group=distant_activation.GROUP,
        work=rank,
        encode=lambda one: encode_triggers(*one, settings.top),
        told=lambda place: f"{name} fact {places[place]}",
        keep=write,
    )
    grow(job, settings.given, inputs.under, executor=inputs.executor)


def write_text(path: Path, found: Triggers, neurons: Sequence[Neuron]) -> None:
    """As the authors' stage: no file for a fact without neurons or sentences, nor an old one."""
    if found.ranked:
        write_atomic(path, triggers_text(found, neurons).encode())
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    settings = parse()
    inputs = open_inputs(settings)
    relations, left_out = with_sentences(inputs)
    places = {relation.name: places_of(settings, relation) for relation in relations}
    rows = {}
    for relation in relations:
        chosen = places[relation.name]
        path = settings.results.triggers(relation.name, chosen if settings.facts else ())
        identity = inputs.identity | {
            "sentences_sha256": sha256_of(sentences_path(settings, relation.name)),
            "pairs_sha256": sha256_of(settings.pairs),
            "max_seq_length": inputs.max_tokens,
            "top": settings.top,
        }
        compute(inputs, relation, chosen, path, identity)
        records = list(read_triggers(path))
        rows[relation.name] = (
            f"{len(records):5} facts, {sum(one.sentences for one in records):6} sentences ranked, "
            f"{sum(not one.neurons for one in records)} facts without neurons, "
            f"{sum(bool(one.neurons) and not one.sentences for one in records)} without "
            f"sentences, {sum(sum(one.unusable.values()) for one in records)} sentences unusable"
        )
    tables.show(f"Trigger sentences, in {settings.results.triggers('').parent}", rows)
    if left_out:
        print(f"without sentences, left out: {', '.join(left_out)}")


if __name__ == "__main__":
    program.run(main)
