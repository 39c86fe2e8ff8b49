"""Answers of several tokens attributed at once, in every family, against the literal twin.

Run: pytest tests/unit/test_joint.py
"""

import random

import pytest
import torch

from knowledge_neurons.attribution import joint
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import families, passes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text.encoding import asking_after, asking_between
from knowledge_neurons.types import Prompt
from tests.reference import families as twin
from tests.reference import joint as literal
from tests.reference.families import CASES, LONG, SHAPE, small
from tests.reference.family_errors import prompts, share
from tests.reference.tiny import TINY, tiny_bert

# Shares of the largest score, in float64; GPT-Neo's attention is float32 whatever the weights are.
WITHIN, GPT_NEO_WITHIN = 1e-9, 1e-5
BERT = "custom BERT"
RULE = rule("riemann-left", 4)
FINE = rule("gauss-legendre", 20)
NORMED = [name for name, case in CASES.items() if families.of(case.model_type).between]
TOKENS = 3  # of the answers


def within(name: str) -> float:
    return GPT_NEO_WITHIN if name == "gpt_neo" else WITHIN


def made(name: str, count: int = 2) -> tuple[Network, list[Prompt], list[literal.Asked]]:
    """A network in float64, prompts of one length, and what the twin is asked."""
    if name == BERT:
        model = tiny_bert(dtype=torch.float64)
        rng = random.Random(0)
        drawn = [[rng.randrange(5, TINY.vocab_size) for _ in range(12)] for _ in range(count)]
        asked = [
            asking_between(ids[:place], ids[place:9], 4, ids[9:], 24)
            for place, ids in enumerate(drawn, 2)
        ]
        matrices = [layer.output for layer in model.layers]
        return model, asked, [literal.asked(model, matrices, p, causal=False) for p in asked]
    model = small(name, torch.float64)
    matrices = [twin.matrix(name, model, layer) for layer in range(SHAPE.layers)]

    def run(ids):
        return model(ids, use_cache=False).logits

    asked, causal = prompts(name, LONG, count, answers=TOKENS), CASES[name].causal
    return AdaptedNetwork(model), asked, [literal.asked(run, matrices, p, causal) for p in asked]


@pytest.mark.parametrize("name", [*CASES, BERT])
def test_equals_the_literal_twin(name):
    """Scores of all positions and layers, activations, P of the whole answer."""
    network, asked, twins = made(name)
    clean = joint.joint_pass(network, asked)
    scores = joint.joint_gradients(network, clean, RULE)
    layers, F = network.shape.layers, network.shape.neurons
    assert scores.shape == (len(asked), TOKENS, layers, F)
    for row, of in enumerate(twins):
        assert clean.at[row].tolist() == of.at and clean.tokens[row].tolist() == of.tokens
        w = torch.stack([literal.activations(of, layer) for layer in range(layers)], dim=1)
        assert share(clean.activations[row], w) < within(name)
        assert share(clean.probability[row], literal.probability(of)) < within(name)
        first = of.run(torch.tensor([of.ids]))[0, of.at[0]]
        assert clean.predicted[row] == first.argmax()
        assert share(scores[row], literal.integrated_gradients(of, *RULE)) < within(name)


@pytest.mark.parametrize("name", [name for name in [*CASES, BERT] if name not in NORMED])
def test_fine_sums_over_positions_are_complete(name):
    """What all neurons of a layer have at all positions comes to P(w) - P(0); one position's does
    not.  Gemma 2's path jumps at its start, which no rule sums: see tests/unit/test_families.py."""
    network, asked, twins = made(name)
    clean = joint.joint_pass(network, asked)
    scores = joint.joint_gradients(network, clean, FINE)
    alone = 0.0
    for row, of in enumerate(twins):
        for layer in range(network.shape.layers):
            none = torch.zeros_like(literal.activations(of, layer))
            change = literal.probability(of) - literal.probability(of, layer, none)
            whole = joint.AGGREGATES["sum"](scores)[row, layer].sum()
            assert abs(whole - change) < 1e-3 * scores[row, :, layer].sum(-1).abs().max()
            alone = max(alone, share(scores[row, 0, layer].sum(), change))
    assert alone > 0.1


def test_two_positions_are_not_two_paths():
    """The later positions' alpha matters: not the score of the first token times P of the rest."""
    network, asked, _ = made("llama", 1)
    clean = joint.joint_pass(network, asked)
    together = joint.joint_gradients(network, clean, RULE)[:, 0]
    batch = collate(asked, [0])
    of = Probability(batch.answers)
    first = integrated_gradients(network, passes.clean_pass(network, batch), of, RULE)
    rest = clean.probability / first.new_tensor([_first_probability(network, asked[0])])
    assert share(first * rest[:, None, None], together) > 1e-2


def _first_probability(network: Network, prompt: Prompt) -> float:
    (logits,) = passes.logits(network, collate([prompt], [0]))
    return logits.softmax(-1)[prompt.answer].item()


@pytest.mark.parametrize("name", ["llama", "roberta", BERT])
def test_one_token_is_what_the_engine_gives(name):
    """An answer of one token has one position, whose path is equation 4's."""
    network, asked, _ = made(name)
    single = [Prompt(one.ids, one.mask_position, one.answer) for one in asked]
    clean = joint.joint_pass(network, single)
    batch = collate(single, range(len(single)))
    expected = integrated_gradients(
        network, passes.clean_pass(network, batch), Probability(batch.answers), RULE
    )
    found = joint.joint_gradients(network, clean, RULE)
    for aggregate in joint.AGGREGATES.values():
        assert share(aggregate(found), expected) < WITHIN


@pytest.mark.parametrize("name", ["gpt2", BERT])
def test_memory_and_layers_leave_the_scores_alone(name):
    """A row at a time or all; chosen layers have their scores, the others none."""
    network, asked, _ = made(name)
    clean = joint.joint_pass(network, asked)
    whole = joint.joint_gradients(network, clean, RULE)
    assert share(joint.joint_gradients(network, clean, RULE, memory=1), whole) < WITHIN
    some = joint.joint_gradients(network, clean, RULE, layers=range(1, 2))
    assert torch.equal(some[:, :, 1], whole[:, :, 1]) and whole[:, :, 1].abs().max() > 0
    assert not some[:, :, [0, 2]].any()


def test_nothing_stays_behind():
    """No hook, no gradient, the same weights."""
    model = small("mistral", torch.float64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = AdaptedNetwork(model)
    clean = joint.joint_pass(network, prompts("mistral", LONG, 2, answers=TOKENS))
    scores = joint.joint_gradients(network, clean, RULE)
    assert not scores.requires_grad
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_aggregates_by_hand():
    """Three positions of one neuron in one layer, and of another."""
    scores = torch.tensor([[[[1.0, -4.0]], [[2.0, -1.0]], [[6.0, -1.0]]]])  # (1, 3, 1, 2)
    found = {name: of(scores)[0, 0].tolist() for name, of in joint.AGGREGATES.items()}
    assert found == {
        "sum": [9.0, -6.0],
        "start": [1.0, -4.0],
        "end": [6.0, -1.0],
        "mean": [3.0, -2.0],
        "max": [6.0, -1.0],
    }


def test_groups_are_of_one_length_and_as_many_tokens():
    """Every prompt once, in its group; a decoder's length has all of the answer but its last."""
    ids = range(10, 30)
    asked = [
        asking_after(ids[:5], [1, 2], 64),  # 6 tokens long
        asking_after(ids[:4], [1, 2, 3], 64),  # 6 with another number of tokens to answer
        asking_after(ids[:6], [1, 2], 64),  # 7
        asking_after(ids[3:8], [3, 4], 64),  # as the first
    ]
    assert list(joint.group(asked)) == [[0, 3], [1], [2]]
    masked = [asking_between(ids[:2], ids[2 : 6 - k], 4, [1] * k, 64) for k in (1, 2, 2)]
    assert list(joint.group(masked)) == [[0], [1, 2]]
