"""Stage 7: erase a relation by emptying the value slots that most of its facts share.

Section 5.2 and Table 5 of the paper.  The slots of the relation's most frequent neurons are set to
zero, and every prompt is read before and after: the relation's own should become harder to answer,
all others stay as they are.  As many random neurons show what emptying any slots does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from knowledge_neurons.editing.slots import edited
from knowledge_neurons.experiments.choose_facts import Bags, Place, prompt_at
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.erasures import ErasureRecord
from knowledge_neurons.types import Neuron, WeightEdit

# Facts read together: enough that equal-length batches are full, few enough that an interruption
# loses little.
GROUP = 128


def frequent_neurons(neurons: Sequence[Sequence[Neuron]], count: int) -> list[Neuron]:
    """The neurons that most facts have, at most `count`, of equals the one seen first."""
    counts = Counter(neuron for fact in neurons for neuron in fact)
    return [neuron for neuron, _ in counts.most_common(count)]


def choose_prompts(bags: Bags, relation: str, other_sample: int | None, seed: int) -> list[Place]:
    """All prompts of the relation, then those of the others, by name and in data order.

    other_sample: only so many of the others', drawn by one rng.sample over all of them.
    """
    places = {
        name: [
            Place(name, fact, prompt)
            for fact, prompts in enumerate(bags[name])
            for prompt in range(len(prompts))
        ]
        for name in sorted(bags)
    }
    own = places.pop(relation)
    others = [place for name in places for place in places[name]]
    if other_sample is not None and other_sample < len(others):
        others = sorted(random.Random(seed).sample(others, other_sample))
    return own + others


def by_fact(places: Sequence[Place]) -> list[list[Place]]:
    """The same prompts, those of a fact together, in their order."""
    facts: dict[tuple[str, int], list[Place]] = {}
    for place in places:
        facts.setdefault((place.relation, place.fact), []).append(place)
    return list(facts.values())


def read_facts(
    model: Network, bags: Bags, facts: Sequence[Sequence[Place]], edits: Mapping[str, WeightEdit]
) -> list[ErasureRecord]:
    """Read the prompts of facts, GROUP of them or fewer, before and under each edit."""
    reader = Reader(model, [prompt_at(bags, place) for places in facts for place in places])
    readings = {"before": reader.read()}
    for name, edit in edits.items():
        with edited(model, edit):
            readings[name] = reader.read()
    records, row = [], 0
    for places in facts:
        rows = slice(row, row + len(places))
        log_p = {n: x.log_probabilities[rows, 0].tolist() for n, x in readings.items()}
        ranks = {n: x.ranks[rows, 0].tolist() for n, x in readings.items()}
        prompts = [place.prompt for place in places]
        records.append(ErasureRecord(places[0].relation, places[0].fact, prompts, log_p, ranks))
        row = rows.stop
    return records
