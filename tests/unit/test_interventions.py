"""Scaling neurons at [MASK] against plain forward passes.

Run: pytest tests/unit/test_interventions.py
"""

import pytest
import torch

from knowledge_neurons.batching import collate
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.interventions import neuron_mask, probabilities
from knowledge_neurons.types import Neuron, Prompt
from tests.reference.tiny import tiny_bert

PROMPTS = [
    Prompt((2, 9, 4, 11, 3), 2, 20),
    Prompt((2, 4, 8, 30, 31, 3), 1, 21),
    Prompt((2, 40, 41, 4, 3), 3, 22),
]
NEURONS = [[Neuron(0, 3), Neuron(2, 36)], [], [Neuron(1, 0), Neuron(1, 5)]]


@torch.no_grad()
def literal(model, prompt: Prompt, neurons: list[Neuron], factor: float) -> torch.Tensor:
    """One prompt, the whole network, each neuron's activation multiplied one by one.  (V,)"""
    x = model.embed(torch.tensor([prompt.ids]))
    for index, layer in enumerate(model.layers):
        x = layer.attend(x)
        w = layer.ffn_in(x)
        for neuron in neurons:
            if neuron.layer == index:
                w[0, prompt.mask_position, neuron.index] *= factor
        x = layer.ffn_out(w, x)
    return model.head(x)[0, prompt.mask_position].softmax(-1)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_equals_one_prompt_at_a_time(factor):
    """Batched probabilities of prompts of several lengths, each with its own neurons."""
    model = tiny_bert()
    expected = [
        literal(model, prompt, neurons, factor)[prompt.answer].item()
        for prompt, neurons in zip(PROMPTS, NEURONS, strict=True)
    ]
    assert answer_probabilities(model, PROMPTS, NEURONS, factor) == pytest.approx(
        expected, rel=1e-5
    )


def test_edits_reach_only_their_own_prompt():
    """A prompt with no neurons keeps its probability, its neighbour in the batch does not."""
    model = tiny_bert()
    batch = collate([PROMPTS[0], PROMPTS[2]], [0, 1])
    plain = probabilities(model, batch)
    edited = probabilities(model, batch, neuron_mask(model, [[], NEURONS[2]]), 0.0)
    torch.testing.assert_close(edited[0], plain[0])
    assert (edited[1] - plain[1]).abs().max() > 1e-4


def test_model_is_untouched_even_after_an_error():
    """Weights are bit-identical after use and after a failing call (a neuron that is not there)."""
    model = tiny_bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    answer_probabilities(model, PROMPTS, NEURONS, 0.0)
    with pytest.raises(ValueError, match="neuron 0 of layer 9"):
        answer_probabilities(model, PROMPTS, [[Neuron(9, 0)], [], []], 0.0)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
