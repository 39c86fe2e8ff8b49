"""Scorers and targets against literal twins: whole models of `transformers`, one neuron at a time.

Run: pytest tests/unit/test_scorers.py
"""

import pytest
import torch

from knowledge_neurons.attribution import quadrature_audit
from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.fact_scores import prepare
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.scorers import (
    END,
    ONE_BY_ONE,
    SCORERS,
    probability_with,
    zero_out_of,
)
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.target import TARGETS
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.types import Edit, Neuron
from tests.reference import families as twin
from tests.reference.families import LONG, SHAPE, small
from tests.reference.family_errors import prompts, share

NAMES = ("bert", "gpt2", "llama", "gemma2")
MEMORY = 1 << 22
LITERAL = {
    "probability": lambda logits, token: logits.softmax(-1)[token],
    "log-probability": lambda logits, token: logits.log_softmax(-1)[token],
    "logit": lambda logits, token: logits[token],
}


def ready(name: str, count: int = 2):
    """Model in float64, network, prompts and their clean pass."""
    model = small(name, torch.float64)
    network, asked = AdaptedNetwork(model), prompts(name, LONG, count)
    return model, network, asked, passes.clean_pass(network, collate(asked, range(count)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_targets_equal_the_literal_twin(name, target):
    """Integrated gradients of P, log P and the logit, each beside its largest score."""
    model, network, asked, clean = ready(name)
    four = rule("riemann-left", 4)
    found = integrated_gradients(network, clean, TARGETS[target](clean.batch.answers), four)
    for prompt, scores in zip(asked, found, strict=True):
        expected = twin.integrated_gradients(
            name, model, prompt, lambda x, p=prompt: LITERAL[target](x, p.answer), *four
        )
        assert share(scores, expected) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_zero_out_is_the_probability_that_goes_with_a_neuron(name):
    """Every neuron of the model, also with one row at a time, and any of them in any order."""
    model, network, asked, clean = ready(name)
    tokens = clean.batch.answers
    found = SCORERS["zero-out"](network, clean, tokens, MEMORY)
    for prompt, scores in zip(asked, found, strict=True):
        p = twin.probability(name, model, prompt, Edit((), 1.0))
        expected = [
            [p - twin.probability(name, model, prompt, Edit((Neuron(n, i),), 0.0)) for i in (0, 36)]
            for n in range(SHAPE.layers)
        ]
        assert share(scores[:, [0, 36]], expected) < 1e-9
    some = [Neuron(2, 5), Neuron(0, 7), Neuron(2, 1)]
    of_some = zero_out_of(network, clean, tokens, some, 1)
    assert share(of_some, torch.stack([found[:, n, i] for n, i in some], dim=1)) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_gradient_activation_is_the_right_sum_with_one_point(name):
    model, network, asked, clean = ready(name)
    found = SCORERS["gradient-activation"](network, clean, clean.batch.answers, MEMORY)
    for prompt, scores in zip(asked, found, strict=True):
        expected = twin.integrated_gradients(
            name, model, prompt, lambda x, p=prompt: x.softmax(-1)[p.answer], [1.0], [1.0]
        )
        assert share(scores, expected) < 1e-9


def test_log_probability_is_read_from_the_stream_before_the_neurons():
    """LLaMA: log P of norm and head on the stream that enters the block, with m v and without."""
    model, network, asked, clean = ready("llama")
    found = SCORERS["log-probability"](network, clean, clean.batch.answers, MEMORY)
    for prompt, scores in zip(asked, found, strict=True):
        for layer in range(SHAPE.layers):
            seen = []
            norm = model.model.layers[layer].post_attention_layernorm
            handle = norm.register_forward_pre_hook(lambda _, x, s=seen: s.append(x[0][0, -1]))
            m = twin.activations("llama", model, prompt, layer)
            handle.remove()
            slots = twin.matrix("llama", model, layer).weight  # (D, F)

            def log_p(x, answer=prompt.answer):
                return model.lm_head(model.model.norm(x)).log_softmax(-1)[answer]

            expected = [log_p(seen[0] + m[i] * slots[:, i]) - log_p(seen[0]) for i in (0, 5, 36)]
            # Its norm is float32 whatever the weights are, and this is a difference of two.
            assert share(scores[layer, [0, 5, 36]], torch.stack(expected)) < 1e-4


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_logit_of_the_last_layer_is_its_gradient(name):
    """There nothing lies between: m times the gradient of the logit, as the engine has it."""
    _, network, _, clean = ready(name)
    tokens = clean.batch.answers
    found = SCORERS["logit"](network, clean, tokens, MEMORY)
    expected = integrated_gradients(network, clean, TARGETS["logit"](tokens), END)
    assert share(found[:, -1], expected[:, -1]) < 1e-9
    assert share(found[:, 0], expected[:, 0]) > 1e-3  # below, layers answer to it


def test_activation_scorers_do_not_ask_for_an_answer():
    model, network, asked, clean = ready("gpt2")
    tokens = clean.batch.answers
    found = SCORERS["activation-norm"](network, clean, tokens, MEMORY)
    assert torch.equal(SCORERS["activation"](network, clean, tokens, MEMORY), clean.activations)
    for prompt, scores in zip(asked, found, strict=True):
        for layer in range(SHAPE.layers):
            m = twin.activations("gpt2", model, prompt, layer)
            norms = twin.matrix("gpt2", model, layer).weight.norm(dim=1)  # (F, D), a Conv1D
            assert share(scores[layer], m.abs() * norms) < 1e-9


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_scorers_of_some_neurons_are_those_of_all(name):
    _, network, _, clean = ready(name)
    some = [Neuron(2, 5), Neuron(0, 7), Neuron(2, 1)]
    for scorer, of_some in ONE_BY_ONE.items():
        found = SCORERS[scorer](network, clean, clean.batch.answers, MEMORY)
        expected = torch.stack([found[:, n, i] for n, i in some], dim=1)
        assert share(of_some(network, clean, clean.batch.answers, some, 1), expected) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_probability_with_only_some_neurons_on(name):
    """All on is the clean pass; some off is the twin's suppression of them; one row at a time."""
    model, network, (prompt,), clean = ready(name, 1)
    kept = torch.ones(3, SHAPE.layers, SHAPE.neurons, dtype=torch.bool)
    off = [Neuron(0, 3), Neuron(2, 5), Neuron(2, 6)]
    for layer, index in off:
        kept[1, layer, index] = False
    kept[2, :, 1:] = False
    rest = tuple(Neuron(n, i) for n in range(SHAPE.layers) for i in range(1, SHAPE.neurons))
    expected = [
        twin.probability(name, model, prompt, Edit(some, 0.0)) for some in ((), tuple(off), rest)
    ]
    for memory in (MEMORY, 1):
        found = probability_with(network, clean, clean.batch.answers, kept, memory)
        assert share(found, expected) < 1e-9


@pytest.mark.parametrize("target", TARGETS)
def test_the_engine_scores_the_target_that_is_asked_for(target):
    """By fewer points too, calibrated for it; triplets are those of the literal twin."""
    model, network, asked, _ = ready("gpt2", 3)
    settings = Settings(target=target, keep=0.3, layers=(0, 2), baseline=False)
    engine = prepare(network, None, settings)
    engine = quadrature_audit.calibrate(engine, asked)
    _, audited = quadrature_audit.audit(engine, [asked], 0)
    assert audited["over_tolerance"] == 0
    twenty = rule("riemann-left", 20)
    for prompt in asked:
        ((_, dense, _),) = dense_scores(engine, [collate([prompt], [0])])
        (found,) = dense["of_answer"]
        expected = twin.integrated_gradients(
            "gpt2", model, prompt, lambda x, p=prompt: LITERAL[target](x, p.answer), *twenty
        )
        assert share(found, expected) < 1e-3


def test_what_targets_cannot_be_asked_together():
    with pytest.raises(ValueError, match="target 'entropy'"):
        Settings(target="entropy")
    with pytest.raises(ValueError, match="of the probability alone"):
        Settings(target="logit", answers="joint")
