"""Words of no language, and neurons that write them; drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_words import NeuronWords, write_neuron_words
from knowledge_neurons.types import Neuron

SEED = 42


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
