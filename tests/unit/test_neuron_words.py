"""What all neurons write, at once, against one neuron at a time.

Run: pytest tests/unit/test_neuron_words.py
"""

import math

import pytest

from knowledge_neurons.editing.slots import value_slots
from knowledge_neurons.experiments import neuron_words
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_words import read_neuron_words, write_neuron_words
from knowledge_neurons.types import Neuron
from tests.reference import asked

NEURONS = [Neuron(0, 3), Neuron(0, 30), Neuron(1, 7), Neuron(2, 0), Neuron(2, 36)]


def test_batches_do_not_change_what_is_written(monkeypatch):
    """Two neurons at a time: the words of the library's `what_writes`."""
    kn = asked.bert()
    monkeypatch.setattr(neuron_words, "ENTRIES", 2 * len(kn.model.words))
    found = list(neuron_words.words_of(kn.model, kn.tokenizer, NEURONS, k=4, alike=2))
    assert [one.neuron for one in found] == NEURONS
    for one in found:
        alone = kn.what_writes(one.neuron, k=4)
        for told, other in ((one.up, alone.up), (one.down, alone.down)):
            assert [word for word, _ in told] == [word for word, _ in other]
            assert [n for _, n in told] == pytest.approx([n for _, n in other], rel=1e-4)


def test_neurons_that_write_alike_are_those_of_the_largest_cosines():
    kn = asked.bert()
    slots = value_slots(kn.model, NEURONS).double().tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    found = list(neuron_words.words_of(kn.model, kn.tokenizer, NEURONS, k=1, alike=3))
    for place, one in enumerate(found):
        every = {NEURONS[n]: cosine(slots[place], slots[n]) for n in range(5) if n != place}
        best = sorted(every, key=lambda neuron: -every[neuron])[:3]
        assert [Neuron(*other[:2]) for other in one.alike] == best
        assert [other[2] for other in one.alike] == pytest.approx([every[n] for n in best], 1e-4)
    (alone,) = neuron_words.words_of(kn.model, kn.tokenizer, NEURONS[:1], k=1, alike=3)
    assert alone.alike == []


def test_they_are_read_as_they_were_written(tmp_path):
    kn, results = asked.bert(), Results(tmp_path)
    assert read_neuron_words(results) is None
    found = list(neuron_words.words_of(kn.model, kn.tokenizer, NEURONS, k=2))
    write_neuron_words(results, found)
    read = read_neuron_words(results)
    assert [one.neuron for one in read] == NEURONS
    assert read[0].up == [(word, pytest.approx(value)) for word, value in found[0].up]
