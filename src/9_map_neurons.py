"""Stage 9: what drives a fact's neurons, and whether that is true -> results/maps/.

Usage: bash 9_neuron_map.sh P36      (see --help for every flag)

For each refined neuron of a fact the neurons of lower layers that add most to its activation at the
position read, integrated as always, on the mean of some of the fact's wordings.  In the same run
they are switched off, one by one and together, with random neurons beside, and what happens is set
beside what was predicted.  maps/<REL>.jsonl holds a line a fact, <REL>.json what they come to,
figs/neuron_map-<REL>.pdf and .png show it.  A fact of four neurons takes about 3 s of one core on
SmolLM2, more with more neurons, layers and --wordings.

neurons/ holds a line for each neuron of a fact: alone-<REL>.jsonl what it does by itself, beside
random neurons of its layer; words.jsonl, of every relation's, what it writes; activity.jsonl what
wakes it, of prompts and sentences (where there are any) drawn from all relations, and which neurons
fire like it.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import neuron_activity, neuron_maps
from knowledge_neurons.figures import gallery
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.maps import (
    MapRecord,
    MapSummary,
    read_maps,
    summary_of,
    write_summary,
)
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.describing import (
    open_described,
    write_activity_of,
    write_alone,
    write_words,
)
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.text.strict_json import listed
from knowledge_neurons.types import KNOWLEDGE

GROUP = 4  # facts worked on together: what an interruption loses


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.SentenceSettings):
    """edges: of a neuron.  wordings: of a fact.  lowest: the first layer that may drive, or None
    for the first that is scored.  texts: prompts, and sentences, that neurons are read on.
    max_facts: that are mapped, of those that stage 1 took."""

    edges: int
    wordings: int
    lowest: int | None
    texts: int


def parse() -> Settings:
    parser = arguments.of_neurons(__doc__.splitlines()[0])
    arguments.add_relations(parser)
    arguments.add_oov(parser)
    parser.add_argument(
        "--edges",
        type=numbers.whole(neuron_maps.FEWEST_EDGES, neuron_maps.MOST_EDGES),
        default=neuron_maps.EDGES,
        help="strongest drivers of a neuron that are kept and switched off (10)",
    )
    parser.add_argument(
        "--wordings",
        type=numbers.count,
        default=neuron_maps.WORDINGS,
        help="prompts of a fact, the first ones, that are averaged (3)",
    )
    parser.add_argument(
        "--lowest",
        type=numbers.whole(0, 1 << 12),
        help="first layer whose neurons may drive (default: 0, of a decoder 1)",
    )
    parser.add_argument(
        "--texts",
        type=numbers.count,
        default=neuron_activity.TEXTS,
        help="prompts, and sentences, that neurons are read on, as many of each relation (2000)",
    )
    arguments.add_sentences(parser)
    arguments.add_seed(parser, "the random neurons and the texts")
    return arguments.settings(Settings, parser.parse_args())


def compute(
    inputs: Inputs, relation: Relation, how: neuron_maps.Settings, path: Path, identity: dict
) -> None:
    """Write the records of a relation's facts, those that are not there yet."""
    settings, model, name = inputs.settings, inputs.pretrained.model, relation.name
    facts = relation.facts[: settings.max_facts]
    prompts, neurons = relation.known(inputs.encode(facts)), relation.neurons[KNOWLEDGE]

    def work(some: range) -> list[MapRecord]:
        return [
            neuron_maps.map_fact(model, facts[i], prompts[i], neurons[i], how, settings.seed)
            for i in some
        ]

    job = Job(path, identity, name, len(facts), GROUP, work, encode_float32)
    grow(job, settings.given, inputs.under, executor=inputs.executor)


def identity_of(inputs: Inputs, how: neuron_maps.Settings) -> dict[str, Any]:
    """What decides the records of any relation."""
    settings = inputs.settings
    told = {"edges": how.edges, "wordings": how.wordings, "lowest": how.lowest}
    told |= {"points": len(how.rule.alphas), "max_facts": settings.max_facts or 0}
    told |= {"seed": settings.seed, "min_prompts": settings.min_prompts, "oov": settings.oov}
    return inputs.identity | told | {"max_seq_length": inputs.max_tokens}


def main() -> None:
    settings = parse()
    # All facts, for the neurons are of all that stage 1 took; the first of them are mapped.
    inputs = replace(open_inputs(replace(settings, max_facts=None)), settings=settings)
    relations, model = (
        read_relations(inputs, settings.relations, (KNOWLEDGE,)),
        inputs.pretrained.model,
    )
    told = settings.edges, settings.wordings, settings.lowest
    how = neuron_maps.settings_for(model, *told)
    described = open_described(inputs)
    results, found, written = settings.results, {}, []
    labels: Mapping[str, str] = {one.name: one.facts[0].label for one in relations}
    for relation in relations:
        name, identity = relation.name, identity_of(inputs, how) | relation.identity
        path, summary = results.maps(name), results.map_summary(name)
        compute(inputs, relation, how, path, identity)
        found[name] = summary_of(read_maps(path))
        write_summary(summary, found[name])
        write_manifest(summary, identity, arguments=settings.given)
        picture = gallery.neuron_map(results, name, found[name], labels)
        written += [path, summary, *gallery.save(results, picture, settings.given)]
        written.append(write_alone(inputs, relation))
    written += [write_words(described), write_activity_of(described)]
    if len(relations) > 1:
        found["all"] = together(settings, relations)
    for name, one in found.items():
        tables.show_map(name, one)
    for path in written:
        print(f"wrote {path}")
    if described.without_sentences:
        names = listed(described.without_sentences)
        print(
            f"what wakes neurons is told without sentences of {names}: there are none of these "
            "facts (--sentences, --pairs)"
        )


def together(settings: Settings, relations: list[Relation]) -> MapSummary:
    """Of all facts of several relations."""
    paths = (settings.results.maps(relation.name) for relation in relations)
    return summary_of(chain.from_iterable(map(read_maps, paths)))


if __name__ == "__main__":
    program.run(main)
