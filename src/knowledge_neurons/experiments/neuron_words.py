"""What neurons write when they fire: the words that their value slots raise and lower most.

A word's number is the cosine of the value slot and the word's direction in the stream, the output
embedding less the mean of all words: what lifts all alike says nothing, and long embeddings, which
are those of rare words, do not come first for their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from knowledge_neurons.editing.slots import value_slots
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.neuron_words import NeuronWords
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import Neuron

WORDS, ALIKE = 10, 8  # of a neuron that are kept, at either end
ENTRIES = 1 << 24  # cosines held at a time
TINY = 1e-12  # in place of a length of 0


@torch.no_grad()
def words_of(
    model: Network, tokenizer: Tokens, neurons: Sequence[Neuron], k: int = WORDS, alike: int = ALIKE
) -> Iterator[NeuronWords]:
    """Of each neuron the k words at both ends, special tokens left out, and `alike` of the others.

    Raises ValueError for no neurons, one that the model does not have, one named twice, and weights
    that are not finite.
    """
    slots = value_slots(model, neurons).float()  # (N, D)
    words = model.words.float()  # (V, D)
    mean = words.mean(dim=0)  # (D,)
    sizes = (words.norm(dim=1) ** 2 - 2 * words @ mean + mean @ mean).clamp_min(TINY).sqrt()  # (V,)
    directions = slots / slots.norm(dim=1, keepdim=True).clamp_min(TINY)  # (N, D)
    usable = [n for n in range(min(len(words), len(tokenizer))) if n not in tokenizer.special]
    at_once = max(1, ENTRIES // max(len(words), len(neurons)))
    for start in range(0, len(neurons), at_once):
        some = directions[start : start + at_once]
        cosines = ((some @ words.T - (some @ mean)[:, None]) / sizes).cpu()  # (some, V)
        if not torch.isfinite(cosines).all():
            raise ValueError("a value slot or the words hold NaN or infinity: are weights damaged?")
        both = (some @ directions.T).cpu()  # (some, N)
        for row in range(len(some)):
            both[row, start + row] = -2  # itself comes last
            told = cosines[row, usable]
            down = [(word, -value) for word, value in _ends(-told, usable, k, tokenizer)]
            others = both[row].topk(min(alike, len(neurons) - 1))
            pairs = zip(others.indices.tolist(), others.values.tolist(), strict=True)
            yield NeuronWords(
                neurons[start + row],
                _ends(told, usable, k, tokenizer),
                down,
                [(*neurons[place], value) for place, value in pairs],
            )


def _ends(
    cosines: Tensor, usable: Sequence[int], k: int, tokenizer: Tokens
) -> list[tuple[str, float]]:
    """The k words of the largest cosines (of usable tokens), with these."""
    found = cosines.topk(min(k, len(usable)))
    texts = (tokenizer.text([usable[place]]) for place in found.indices.tolist())
    return list(zip(texts, found.values.tolist(), strict=True))
