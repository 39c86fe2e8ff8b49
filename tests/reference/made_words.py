"""Words of no language, neurons that write them and what wakes those; drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from knowledge_neurons.neurons.owners import PromptOf
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_activity import (
    TEXT_KINDS,
    Ends,
    Fired,
    NeuronActivity,
    write_activity,
)
from knowledge_neurons.results.neuron_words import NeuronWords, write_neuron_words
from knowledge_neurons.results.neurons_alone import NeuronAlone
from knowledge_neurons.types import Neuron

SEED = 42
BINS, POOL = 20, 2000  # of a histogram; texts that neurons are read on


def word(rng: random.Random) -> str:
    return f"word{rng.randrange(9999)}"


def write_words(results: Results, relations: Iterable[Sequence[Sequence[Neuron]]]) -> None:
    """Ten words at either end, and eight that write alike, of every neuron of a fact."""
    rng = random.Random(f"{SEED} words")
    neurons = sorted({neuron for facts in relations for own in facts for neuron in own})

    def words() -> list[tuple[str, float]]:
        return [(word(rng), 0.4 - 0.2 * rng.random()) for _ in range(10)]

    made = (
        NeuronWords(one, words(), words(), [(*rng.choice(neurons), 0.3) for _ in range(8)])
        for one in neurons
    )
    write_neuron_words(results, made)


def write_waking(
    results: Results, relations: Mapping[str, Sequence[Sequence[Neuron]]], filler: int = 8
) -> None:
    """What wakes every neuron of a fact, of texts of so many words."""
    rng = random.Random(f"{SEED} waking")
    sizes = {name: len(facts) for name, facts in relations.items()}
    pool = [_text(rng, sizes, filler) for _ in range(POOL)]
    neurons = sorted({n for facts in relations.values() for own in facts for n in own})
    write_activity(results, (_activity(rng, one, neurons, pool) for one in neurons))


def _text(rng: random.Random, sizes: Mapping[str, int], filler: int) -> Fired:
    relation = rng.choice(list(sizes))
    words = " ".join(word(rng) for _ in range(filler))
    return Fired(relation, rng.randrange(sizes[relation]), f"{words} [MASK] .", 0.0)


def _activity(
    rng: random.Random, neuron: Neuron, others: Sequence[Neuron], pool: Sequence[Fired]
) -> NeuronActivity:
    def ends() -> Ends:
        drawn = sorted((round(4 * rng.random() - 1, 4) for _ in range(10)), reverse=True)
        fired = [rng.choice(pool)._replace(activation=value) for value in drawn]
        return Ends(fired[:5], fired[:4:-1])

    counts = {kind: [rng.randrange(2 ** max(0, 8 - i)) for i in range(BINS)] for kind in TEXT_KINDS}
    means = {kind: rng.random() for kind in TEXT_KINDS}
    alike = [(*rng.choice(others), 0.9 - i / 10) for i in range(8)]
    return NeuronActivity(neuron, -1.0, 3.0, means, counts, ends(), ends(), alike)


def made_alone(relation: str, facts: Sequence[Sequence[Neuron]]) -> list[NeuronAlone]:
    """What each neuron of a relation's facts does alone, on eight prompts of the first."""
    rng = random.Random(f"{SEED} {relation} alone")
    asked = [PromptOf(relation, 0, place) for place in range(8)]

    def made(neuron: Neuron) -> NeuronAlone:
        p = [(0.5, 0.5 - 0.1 * rng.random(), 0.5) for _ in asked]
        odds = [(0.0, -0.4 * rng.random(), 0.02 * rng.random() - 0.01) for _ in asked]
        return NeuronAlone(neuron, asked, [rng.randrange(9) for _ in asked], p, odds)

    return [made(one) for one in sorted({n for own in facts for n in own})]
