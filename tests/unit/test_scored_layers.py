"""Chosen layers, and answers of several tokens, as stage 1 scores them: against dense scores.

Run: pytest tests/unit/test_scored_layers.py
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from knowledge_neurons.attribution import joint
from knowledge_neurons.attribution.fact_scores import prepare, score_facts
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.settings import Settings, layers_of
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.types import Fact, Prompt, PromptScores
from tests.reference import refine as literal
from tests.reference.families import CASES, SHAPE, small
from tests.reference.family_errors import prompts
from tests.reference.tiny import tiny_bert

RULE = rule("riemann-left", 5)
WITHIN = 1e-9  # of float64, as shares of the largest score


class Words:
    """A tokenizer as far as scoring needs one."""

    def tokens(self, ids) -> list[str]:
        return [f"<{index}>" for index in ids]


def network(name: str):
    return AdaptedNetwork(small(name, torch.float64))


def scored(model, asked: list[list[Prompt]], **settings) -> list[list[PromptScores]]:
    """The scores of facts with these prompts; all points of the rule unless told otherwise."""
    chosen = Settings(**{"rule": RULE, "tolerance": None, "keep": 0.1} | settings)
    facts = [Fact("P1", "own", place, "x", ("x [MASK]",)) for place in range(len(asked))]
    engine = prepare(model, Words(), chosen)
    return [one.prompts for group in score_facts(engine, facts, asked) for one in group]


def dense(model, prompt: Prompt) -> Tensor:
    """(L, F) of the right answer's first token."""
    batch = collate([prompt], [0])
    (scores,) = integrated_gradients(
        model, clean_pass(model, batch), Probability(batch.answers), RULE
    )
    return scores


def kept(scores: Tensor, first: int, last: int, keep: float = 0.1) -> list[tuple]:
    """The triplets of layers first to last, kept by the largest of these."""
    own = literal.triplets(scores[first : last + 1].tolist(), keep)
    return [(layer + first, index, score) for layer, index, score in own]


def assert_same(found: list[tuple], expected: list[tuple]) -> None:
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    largest = max(row[2] for row in expected)
    for (*_, score), (*_, wanted) in zip(found, expected, strict=True):
        assert score == pytest.approx(wanted, abs=WITHIN * largest)


# --- layers ----------------------------------------------------------------------------------


def test_layers_by_default():
    """All of a masked model, all but the lowest of a decoder; of a decoder with one layer that."""
    assert layers_of(tiny_bert(), None) == range(3)
    for name, case in CASES.items():
        assert layers_of(network(name), None) == range(int(case.causal), SHAPE.layers)
    one = AdaptedNetwork(small("llama", num_hidden_layers=1))
    assert layers_of(one, None) == range(1)


def test_layers_as_asked():
    """First and last, both taken; 0 of a decoder too."""
    model = network("llama")
    assert layers_of(model, (0, 2)) == range(3)
    assert layers_of(model, (1, 1)) == range(1, 2)
    for wrong in ((0, 3), (2, 1), (3, 3)):
        with pytest.raises(ValueError, match=f"layers {wrong[0]} to {wrong[1]}: the model has 0"):
            layers_of(model, wrong)


@pytest.mark.parametrize("name", ["llama", "roberta"])
@pytest.mark.parametrize("layers", [(0, 2), (1, 2), (1, 1), (0, 0)])
def test_chosen_layers_have_the_scores_of_a_full_run(name, layers):
    """What is kept is at least a tenth of the largest score of these layers, not of all."""
    model, asked = network(name), prompts(name, 6, 3)
    (found,) = scored(model, [asked], layers=layers)
    for prompt, scores in zip(asked, found, strict=True):
        assert_same(scores.of_answer, kept(dense(model, prompt), *layers))
        (activations,) = clean_pass(model, collate([prompt], [0])).activations
        assert_same(scores.baseline, kept(activations, *layers))


def test_the_threshold_is_of_the_chosen_layers():
    """There is a prompt whose largest score lies elsewhere: more is kept than of a full run."""
    model, asked = network("llama"), prompts("llama", 6, 6)
    more = 0
    for prompt, scores in zip(asked, scored(model, [asked], layers=(1, 2))[0], strict=True):
        every = [row for row in kept(dense(model, prompt), 0, 2) if row[0] > 0]
        assert {row[:2] for row in every} <= {row[:2] for row in scores.of_answer}
        more += len(scores.of_answer) - len(every)
    assert more > 0


def test_a_decoders_default_is_all_but_the_lowest():
    model, asked = network("llama"), prompts("llama", 6, 2)
    assert scored(model, [asked]) == scored(model, [asked], layers=(1, 2))
    assert scored(model, [asked]) != scored(model, [asked], layers=(0, 2))


def test_fewer_points_in_chosen_layers():
    """Within the tolerance too, and no point is evaluated in other layers."""
    model, asked = network("qwen3"), prompts("qwen3", 6, 3)
    settings = Settings(rule("riemann-left", 20), 1e-3, keep=0.0, layers=(2, 2))
    engine = prepare(model, Words(), settings)
    fact = Fact("P1", "own", 0, "x", ("x [MASK]",))
    ((found,),) = score_facts(engine, [fact], [asked])
    assert 3 * 3 <= found.points <= 3 * 20
    exact = scored(model, [asked], rule=rule("riemann-left", 20), keep=0.0, layers=(2, 2))[0]
    for ours, full in zip(found.prompts, exact, strict=True):
        expected = {row[:2]: row[2] for row in full.of_answer}
        assert {row[0] for row in ours.of_answer} == {2}
        for layer, index, score in ours.of_answer:
            bound = 1e-3 * max(expected.values())
            assert score == pytest.approx(expected.get((layer, index), 0), abs=bound)


# --- answers of several tokens ---------------------------------------------------------------


@pytest.fixture(params=["llama", "bert"])
def name(request) -> str:
    return request.param


def several(name: str) -> list[list[Prompt]]:
    """Two facts: answers of three tokens and of one, of two."""
    return [
        [*prompts(name, 6, 2, answers=3), *prompts(name, 5, 1)],
        prompts(name, 7, 2, answers=2),
    ]


def test_own_is_the_first_token(name):
    """The default: as if the answer had no other."""
    model, facts = network(name), several(name)
    alone = [[replace(prompt, later=()) for prompt in own] for own in facts]
    assert scored(model, facts, layers=(0, 2)) == scored(model, alone, layers=(0, 2))
    for own, found in zip(facts, scored(model, facts, layers=(0, 2)), strict=True):
        assert [one.answer_token for one in found] == [0] * len(own)
        for prompt, scores in zip(own, found, strict=True):
            assert_same(scores.of_answer, kept(dense(model, prompt), 0, 2))


def test_each_is_every_token_given_those_before_it(name):
    """In their order, each with its tokens and its number."""
    model, facts = network(name), several(name)
    for own, found in zip(facts, scored(model, facts, answers="each", layers=(0, 2)), strict=True):
        expected = [(token, one) for p in own for token, one in enumerate((p, *p.later))]
        assert [scores.answer_token for scores in found] == [token for token, _ in expected]
        for (_, prompt), scores in zip(expected, found, strict=True):
            assert scores.tokens == Words().tokens(prompt.ids)
            assert_same(scores.of_answer, kept(dense(model, prompt), 0, 2))


@pytest.mark.parametrize("aggregate", joint.AGGREGATES)
def test_joint_is_the_whole_answer(name, aggregate):
    """By its aggregate; an answer of one token is scored as ever; chosen layers alone."""
    model, facts = network(name), several(name)
    found = scored(model, facts, answers="joint", aggregate=aggregate, layers=(1, 2))
    for own, of_fact in zip(facts, found, strict=True):
        for prompt, scores in zip(own, of_fact, strict=True):
            if not prompt.later:
                assert_same(scores.of_answer, kept(dense(model, prompt), 1, 2))
                continue
            clean = joint.joint_pass(model, [prompt])
            (expected,) = joint.AGGREGATES[aggregate](joint.joint_gradients(model, clean, RULE))
            assert_same(scores.of_answer, kept(expected, 1, 2))
            assert_same(scores.baseline, kept(clean.activations[0, 0], 1, 2))
            assert scores.predicted == f"<{clean.predicted[0]}>"


def test_points_of_joint_scores_are_counted():
    """All points of the rule in each layer that is scored, of each prompt."""
    model, asked = network("llama"), prompts("llama", 6, 2, answers=3)
    engine = prepare(model, Words(), Settings(RULE, 1e-3, answers="joint"))
    ((found,),) = score_facts(engine, [Fact("P1", "own", 0, "x", ("x [MASK]",))], [asked])
    assert found.points == 2 * 2 * 5


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"answers": "every"}, "expected one of own, each, joint"),
        ({"aggregate": "median"}, "by one of sum, start, end, mean, max"),
        ({"answers": "joint", "of_prediction": True}, "of the right answer alone"),
        ({"answers": "joint", "probabilities": True}, "of the right answer alone"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, part):
    """Among them what joint scores would leave out without a word."""
    with pytest.raises(ValueError, match=part):
        Settings(**wrong)
