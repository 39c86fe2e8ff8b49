"""Scaling and reading neurons at [MASK] against one full pass for each prompt and each edit.

Run: pytest tests/unit/test_interventions.py
"""

import random

import pytest
import torch

from custom_bert import Layer
from knowledge_neurons.editing import interventions
from knowledge_neurons.experiments.distant_activation import neuron_activations
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.types import NO_ANSWER, Edit, Neuron, Prompt
from tests.reference import interventions as literal
from tests.reference.tiny import TINY, tiny_bert

# Probabilities and activations of order 1, float32 sums in another order.
TOLERANCE = 1e-5

PROMPTS = [
    Prompt((2, 9, 4, 11, 3), 2, 20),
    Prompt((2, 4, 8, 30, 31, 3), 1, 21),
    Prompt((2, 40, 41, 4, 3), 3, 22),
    Prompt((2, 4, 3), 1, 23),
]
NEURONS = [
    (Neuron(0, 3), Neuron(2, 36)),  # the lowest and the last layer
    (),
    (Neuron(1, 0), Neuron(1, 5)),
    (Neuron(2, 7),),  # joins in the last layer
]
FACTORS = (0.0, 0.5, 1.0, 2.0)


def random_sets(count: int, seed: int) -> list[tuple[Neuron, ...]]:
    """Sets of 0 to 5 neurons anywhere in the model."""
    rng = random.Random(seed)
    layers, width = TINY.num_hidden_layers, TINY.intermediate_size
    return [
        tuple(Neuron(rng.randrange(layers), rng.randrange(width)) for _ in range(rng.randrange(6)))
        for _ in range(count)
    ]


def expected(model, prompts, edits) -> list[list[float]]:
    unedited = Edit((), 1.0)
    return [
        [literal.probabilities(model, prompt, e)[prompt.answer].item() for e in (unedited, *own)]
        for prompt, own in zip(prompts, edits, strict=True)
    ]


def test_equals_one_prompt_and_edit_at_a_time():
    """Prompts of several lengths with their own neurons, all factors in one call."""
    model = tiny_bert()
    edits = [[Edit(own, factor) for factor in FACTORS] for own in NEURONS]
    found = answer_probabilities(model, PROMPTS, edits)
    torch.testing.assert_close(
        torch.tensor(found),
        torch.tensor(expected(model, PROMPTS, edits)),
        atol=TOLERANCE,
        rtol=TOLERANCE,
    )


@pytest.mark.parametrize("seed", range(5))
def test_equals_on_random_sets(seed):
    """Every edit of a prompt may have neurons and a factor of its own."""
    model, rng = tiny_bert(seed), random.Random(seed)
    sets = iter(random_sets(3 * len(PROMPTS), seed))
    edits = [[Edit(next(sets), rng.choice((0.0, 3.0, -1.0))) for _ in range(3)] for _ in PROMPTS]
    found = torch.tensor(answer_probabilities(model, PROMPTS, edits))
    truth = torch.tensor(expected(model, PROMPTS, edits))
    torch.testing.assert_close(found, truth, atol=TOLERANCE, rtol=TOLERANCE)
    assert (truth[:, 1:] - truth[:, :1]).abs().max() > 1e-3  # the edits do something


def test_a_neuron_named_twice_is_scaled_once():
    model, batch = tiny_bert(), collate(PROMPTS, [0])
    once, twice = (Edit((Neuron(1, 4),) * n, 3.0) for n in (1, 2))
    p = interventions.probabilities(model, batch, [[once, twice]])
    torch.testing.assert_close(p[0, 1], p[0, 2])


def test_edits_reach_only_their_own_prompt():
    """A prompt with no neurons keeps its probability, its neighbour in the batch does not."""
    batch = collate([PROMPTS[0], PROMPTS[2]], [0, 1])
    p = interventions.probabilities(tiny_bert(), batch, [[Edit((), 0.0)], [Edit(NEURONS[2], 0.0)]])
    assert torch.equal(p[0, 0], p[0, 1])
    assert (p[1, 0] - p[1, 1]).abs().max() > 1e-4


def test_layers_below_the_lowest_edit_run_once(monkeypatch):
    """Rows that each layer's feed-forward network sees: the prompts below, the edits from there."""
    seen, plain = [], Layer.ffn_in
    monkeypatch.setattr(Layer, "ffn_in", lambda self, x: seen.append(x.shape[:2]) or plain(self, x))
    batch = collate([PROMPTS[0], PROMPTS[2]], [0, 1])
    edits = [[Edit((Neuron(1, 2),), factor) for factor in (0.0, 1.0, 2.0)]] * 2
    interventions.probabilities(tiny_bert(), batch, edits)
    assert seen == [(2, 5), (2, 5), (6, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_reading_equals_one_prompt_at_a_time(seed):
    """Each prompt's own neurons, in their order, whatever layers they lie in."""
    model, sets = tiny_bert(seed), random_sets(len(PROMPTS), seed + 100)
    found = neuron_activations(model, PROMPTS, sets)
    for prompt, neurons, values in zip(PROMPTS, sets, found, strict=True):
        assert values == pytest.approx(
            literal.activations(model, prompt, neurons), rel=TOLERANCE, abs=TOLERANCE
        )


def test_reading_stops_at_the_highest_layer(monkeypatch):
    """A row leaves in its highest layer, where only [MASK] is computed; later layers do not run."""
    seen, plain = [], Layer.ffn_in
    monkeypatch.setattr(Layer, "ffn_in", lambda self, x: seen.append(x.shape[:2]) or plain(self, x))
    sentences = [Prompt((2, 9, 4, 11, 3), 2, NO_ANSWER), Prompt((2, 4, 9, 11, 3), 1, NO_ANSWER)]
    wanted = [[Neuron(0, 1)], [Neuron(1, 1), Neuron(0, 2)]]
    interventions.activations(tiny_bert(), collate(sentences, [0, 1]), wanted)
    # (rows, positions): the other goes on whole, the first leaves at once, the other above.
    assert seen == [(1, 5), (1, 1), (1, 1)]


def test_reading_nothing_runs_nothing(monkeypatch):
    monkeypatch.delattr(Layer, "ffn_in")
    batch = collate(PROMPTS, [0])
    assert interventions.activations(tiny_bert(), batch, [[]]) == [[]]


def test_refuses_what_does_not_fit():
    """A neuron that is not there, sets or edits that are not one for each prompt."""
    model, batch = tiny_bert(), collate([PROMPTS[0], PROMPTS[2]], [0, 1])
    edit = Edit((Neuron(0, 1),), 0.0)
    for wrong in (Neuron(9, 0), Neuron(0, 37), Neuron(-1, 0)):
        with pytest.raises(ValueError, match="layers 0 to 2 of 37 neurons"):
            interventions.probabilities(model, batch, [[Edit((wrong,), 0.0)]] * 2)
        with pytest.raises(ValueError, match="layers 0 to 2 of 37 neurons"):
            interventions.activations(model, batch, [[wrong]] * 2)
    for uneven in ([[edit]], [[edit], []]):
        with pytest.raises(ValueError, match="as many for all"):
            interventions.probabilities(model, batch, uneven)
    with pytest.raises(ValueError, match="1 sets"):
        interventions.activations(model, batch, [[]])


def test_model_is_untouched_even_after_an_error():
    """Weights are bit-identical after use and after a failing call."""
    model = tiny_bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    answer_probabilities(model, PROMPTS, [[Edit(own, 0.0)] for own in NEURONS])
    neuron_activations(model, PROMPTS, NEURONS)
    with pytest.raises(ValueError, match="neuron 0 of layer 9"):
        answer_probabilities(model, PROMPTS[:1], [[Edit((Neuron(9, 0),), 0.0)]])
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
