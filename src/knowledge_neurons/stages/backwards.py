"""What stage 10 asks backwards and by other names: read, and made into tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from knowledge_neurons.experiments import edit_symmetry
from knowledge_neurons.experiments.choose_facts import Facts, Plan
from knowledge_neurons.experiments.edit_symmetry import Questions
from knowledge_neurons.stages.inputs import Inputs, Relation, read_relations
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_facts
from knowledge_neurons.text.inverses import Inverse
from knowledge_neurons.types import KNOWLEDGE, Fact, Prompt


def relations_of(inputs: Inputs, source: Path, inverses: Mapping[str, Inverse]) -> list[Relation]:
    """The relations to edit: those named, else all with neurons, that can be asked otherwise.

    source: the file of the inverses.  Raises ValueError where it has none of them.
    """
    settings = inputs.settings
    there = settings.relations or settings.results.refined_relations(False)
    names = [name for name in there if name in inverses]
    if there and not names:
        raise ValueError(
            f"{source} has none of the relations {', '.join(there)}; it has "
            f"{', '.join(sorted(inverses))}"
        )
    if lacking := [name for name in settings.relations if name not in inverses]:
        print(f"symmetry: without {', '.join(lacking)}, which {source} does not have")
    return read_relations(inputs, names, (KNOWLEDGE,))


def heads_of(inputs: Inputs, relation: str, path: Path) -> list[str]:
    """The head of each fact, from the file of the pairs; ValueError where they are of others."""
    pairs = data.read_pairs(path)
    if relation not in pairs:
        raise ValueError(f"{path} has no pairs of {relation}: name those of the prompts (--pairs)")
    data.check_pairs(data.facts_of(inputs.bags, relation, inputs.source), pairs[relation], path)
    return [head for head, _ in pairs[relation]]


def questions_of(
    inputs: Inputs, relation: Relation, pairs: Path, inverse: Inverse, encoded: Facts, plan: Plan
) -> list[Questions]:
    """What is asked about each planned edit of a relation; pairs: file of its heads."""
    heads = heads_of(inputs, relation.name, pairs)

    def encode(fact: Fact) -> list[Prompt]:
        how = inputs.pretrained.tokenizer, inputs.max_tokens, inputs.settings.oov == "skip"
        return encode_facts([fact], *how, inverse.source).prompts[0]

    return [
        edit_symmetry.questions_about(
            planned, relation.facts, encoded, heads[planned.asked.fact], inverse, encode
        )
        for planned in plan.facts
    ]
