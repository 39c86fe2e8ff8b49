"""Stage 7: erase a relation by emptying the value slots that its facts share -> results/erase/.

Usage: bash 7_run_erase.sh P19 [--other_sample 2000 ...]      (see --help for every flag)

The value slots of the relation's most frequent knowledge neurons are set to zero (section 5.2 of
the paper); accuracy and perplexity of its prompts and of all others are read before and after, and
with as many random neurons emptied.  One line per fact in NAME.jsonl, Table 5 in NAME.json, the
edit itself in NAME.safetensors (scripts/apply_edit.py).  A run that was interrupted goes on.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import random
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.experiments import erase_relation
from knowledge_neurons.experiments.choose_facts import Bags, Place
from knowledge_neurons.experiments.edit_facts import random_neurons
from knowledge_neurons.results.erasures import (
    ERASED,
    Erased,
    Erasure,
    ErasureRecord,
    both_edits,
    read_erasures,
)
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.json_files import encode, write_json
from knowledge_neurons.results.manifests import sha256_of, write_manifest
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.inputs import (
    Inputs,
    open_inputs,
    read_relations,
)
from knowledge_neurons.text.relations import check_relation
from knowledge_neurons.types import CONTROL, KNOWLEDGE, Neuron, WeightEdit


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """What stage 7 is told.

    neurons: how many.  value: of their slots.  other_sample: prompts of other relations; None: all.
    """

    relation: str
    neurons: int
    value: str
    other_sample: int | None

    @property
    def run(self) -> str:
        """Name of the files."""
        return self.relation if self.value == "zero" else f"{self.relation}-{self.value}"


def parse() -> Settings:
    parser = arguments.of_neurons(__doc__.splitlines()[0])
    arguments.add_oov(parser)
    arguments.add_seed(parser, "all that is drawn")
    parser.add_argument(
        "--relation", "--pt_relation", required=True, help="to be erased, such as P19"
    )
    parser.add_argument(
        "--neurons", type=numbers.count, default=20, help="how many, the most frequent first"
    )
    parser.add_argument(
        "--value",
        choices=("zero", "unk"),
        default="zero",
        help="what the value slots are set to: zero, or the word embedding of [UNK]",
    )
    parser.add_argument(
        "--other_sample",
        type=numbers.whole(0),
        help="only so many prompts of other relations (default: all)",
    )
    args = parser.parse_args()
    check_relation(args.relation, "the relation to be changed")
    return arguments.settings(Settings, args)


def edits_of(inputs: Inputs, of_facts: list[list[Neuron]]) -> dict[str, WeightEdit]:
    """The erasure, and the control with as many random neurons.  of_facts: the relation's."""
    settings, model = inputs.settings, inputs.pretrained.model
    chosen = erase_relation.frequent_neurons(of_facts, settings.neurons)
    if not chosen:
        raise ValueError(f"none of the {len(of_facts)} facts of {settings.relation} has a neuron")
    rng = random.Random(f"{settings.seed} {settings.relation} neurons")
    drawn = random_neurons(model, chosen, len(chosen), rng)
    value = None
    if settings.value == "unk":
        # UPSTREAM: the embedding as it is, not scaled to the slot; else zero (difference 19)
        unknown = inputs.pretrained.tokenizer.unknown
        if unknown is None:
            raise ValueError("--value unk: this model's tokenizer has no unknown token")
        value = model.words[unknown]
    return {
        ERASED: slots.erase(model, chosen, value),
        CONTROL: slots.erase(model, drawn, value),
    }


def read_all(
    inputs: Inputs,
    bags: Bags,
    places: list[Place],
    edits: dict[str, WeightEdit],
    path: Path,
    identity: dict[str, object],
) -> bool:
    """Read the facts that are not there yet, before and under each edit; whether there were any."""
    facts, model = erase_relation.by_fact(places), inputs.pretrained.model

    def read(some: range) -> list[ErasureRecord]:
        return erase_relation.read_facts(model, bags, facts[some.start : some.stop], edits)

    def ending(lines: GrowingLines, resumed: int) -> dict[str, object]:
        return {
            "facts_resumed": resumed,
            "neurons": {name: [list(n) for n in edit.neurons] for name, edit in edits.items()},
            "model_sha256_after": inputs.check_unchanged(),
        }

    job = Job(
        path,
        identity,
        name="reading",
        facts=len(facts),
        group=erase_relation.GROUP,
        work=read,
        encode=encode,
        told=lambda place: f"{facts[place][0].relation} fact {facts[place][0].fact}",
    )
    return grow(job, inputs.settings.given, inputs.under, ending, inputs.executor)


def write_summary(settings: Settings, path: Path, identity: dict[str, object]) -> dict[str, Erased]:
    """Table 5 from the lines alone, as JSON beside them."""
    erased = both_edits(read_erasures(path), settings.relation, settings.seed)
    summary = settings.results.erasure_summary(settings.run)
    write_json(summary, erased, readable=True)
    made_from = {**identity, "records_sha256": sha256_of(path)}
    write_manifest(summary, made_from, arguments=settings.given)
    return erased


def main() -> None:
    settings = parse()
    name, results, run = settings.relation, settings.results, settings.run
    inputs = open_inputs(settings)
    (relation,) = read_relations(inputs, [name], (KNOWLEDGE,), whole=True)
    edits = edits_of(inputs, relation.neurons[KNOWLEDGE])
    bags = inputs.encode_all()
    places = erase_relation.choose_prompts(bags, name, settings.other_sample, settings.seed)
    path, neurons = results.erased(run), edits[ERASED].neurons
    own = sum(place.relation == name for place in places)
    inputs.show(
        f"Stage 7, {run}",
        bags,
        {
            "neurons": f"{len(neurons)} of the {settings.neurons} asked for, "
            f"set to {settings.value}",
            "prompts": f"{len(places)}, {own} of them of {name}",
        },
    )
    identity = {
        **inputs.identity_of_all,
        "relation": name,
        "neurons_sha256": relation.neurons_sha256[KNOWLEDGE],
        "neurons": settings.neurons,
        "value": settings.value,
        "other_sample": settings.other_sample,
    }
    if not read_all(inputs, bags, places, edits, path, identity):
        print(f"all prompts are read: {path}")
    header = patches.Header("erase", inputs.pretrained.sha256, name, neurons)
    patches.save(results.erasure(run), edits[ERASED], header)
    erased = write_summary(settings, path, identity)
    write_manifest(results.erasure(run), identity, arguments=settings.given)
    tables.show_erasure(Erasure(run, name, len(neurons), *erased.values()))
    for output in (path, results.erasure_summary(run), results.erasure(run)):
        print(f"wrote {output}")


if __name__ == "__main__":
    program.run(main)
