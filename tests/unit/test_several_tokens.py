"""Answers of several tokens read, ranked and edited: against the whole model, token by token.

Run: pytest tests/unit/test_several_tokens.py
"""

import math
from dataclasses import replace

import pytest
import torch

from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.text.encoding import asking, asking_after, asking_between
from knowledge_neurons.types import NO_ANSWER, Edit, Neuron, Prompt
from tests.reference import families as twin
from tests.reference.families import CASES, LONG, SHAPE, small
from tests.reference.family_errors import MASK, prompts

WITHIN = 1e-9  # nats and probabilities, in float64
NAMES = ["llama", "mistral", "roberta", "bert"]
# One as long as the prompts' own, and others: of one token, of two, of four.
ANSWERS = [(7, 9, 11), (20,), (30, 8), (5, 6, 5, 6)]


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


def each_token(name: str, model, prompt: Prompt, answer: tuple[int, ...]) -> list[torch.Tensor]:
    """Logits (V,) at each token of an answer, those before it given, by whole forward passes.

    A masked model has a mask for each token of *this* answer; a decoder has nothing behind it.
    """
    at, ids, found = prompt.mask_position, list(prompt.ids), []
    for given in range(len(answer)):
        if CASES[name].causal:
            one = ids[: at + 1] + list(answer[:given])
            place = at + given
        else:
            masks = [MASK] * (len(answer) - given)
            behind = ids[at + len(prompt.answers) :]
            one, place = [*ids[:at], *answer[:given], *masks, *behind], at + given
        found.append(model(torch.tensor([one]), use_cache=False).logits[0, place])
    return found


def test_reader_reads_whole_answers(name):
    """Log probability: the sum; rank: the worst; said: each token the most probable."""
    model = small(name, torch.float64)
    asked = prompts(name, LONG, 3, answers=3) + prompts(name, 3, 2, answers=3)
    reading = Reader(AdaptedNetwork(model), asked, [ANSWERS] * len(asked), memory=20_000).read()
    for row, prompt in enumerate(asked):
        for column, answer in enumerate(ANSWERS):
            logits = each_token(name, model, prompt, answer)
            pairs = list(zip(logits, answer, strict=True))
            expected = sum(one.log_softmax(-1)[token].item() for one, token in pairs)
            assert reading.log_probabilities[row, column] == pytest.approx(expected, abs=WITHIN)
            ranks = [1 + (one > one[token]).sum().item() for one, token in pairs]
            assert reading.ranks[row, column] == max(ranks)
            assert reading.said[row, column] == (max(ranks) == 1)
        first = each_token(name, model, prompt, prompt.answers)[0]
        assert reading.predicted[row] == first.argmax().item()


def test_answers_may_all_have_other_numbers_of_tokens_than_the_prompts_own(name):
    """A masked prompt is then read with other masks alone, and its own row for the prediction."""
    network = AdaptedNetwork(small(name, torch.float64))
    asked = prompts(name, LONG, 2, answers=3)
    reading = Reader(network, asked, [[(20,), (30, 8)]] * 2).read()
    every = Reader(network, asked, [ANSWERS] * 2).read()
    assert reading.log_probabilities == pytest.approx(every.log_probabilities[:, 1:3], abs=WITHIN)
    assert (reading.ranks == every.ranks[:, 1:3]).all()
    assert (reading.predicted == every.predicted).all()


def said_by(name: str, model, prompt: Prompt, tokens: int) -> tuple[int, ...]:
    """The answer of so many tokens that a model says, the most probable each time."""
    answer: tuple[int, ...] = ()
    while len(answer) < tokens:
        filled = (*answer, *[5] * (tokens - len(answer)))
        answer = (*answer, each_token(name, model, prompt, filled)[len(answer)].argmax().item())
    return answer


def test_said_is_all_tokens_and_no_fewer(name):
    """What is said is said; with its first or its last token another it is not."""
    model = small(name, torch.float64)
    asked = prompts(name, LONG, 2, answers=3)
    answers = []
    for prompt in asked:
        first, middle, last = said = said_by(name, model, prompt, 3)
        others = [token for token in range(5, 8) if token not in said]
        answers.append([said, (others[0], middle, last), (first, middle, others[1])])
    reading = Reader(AdaptedNetwork(model), asked, answers).read()
    assert reading.said.tolist() == [[True, False, False]] * 2
    assert (reading.ranks[:, 0] == 1).all() and (reading.ranks[:, 1:] > 1).all()


def test_by_default_the_prompts_own_answers(name):
    """Of any number of tokens, side by side, in the order of the prompts."""
    model = small(name, torch.float64)
    asked = [p for tokens in (3, 1, 2) for p in prompts(name, LONG, 2, answers=tokens)]
    reading = Reader(AdaptedNetwork(model), asked).read()
    assert reading.log_probabilities.shape == (len(asked), 1)
    for row, prompt in enumerate(asked):
        logits = each_token(name, model, prompt, prompt.answers)
        pairs = zip(logits, prompt.answers, strict=True)
        expected = sum(one.log_softmax(-1)[token].item() for one, token in pairs)
        assert reading.log_probabilities[row, 0] == pytest.approx(expected, abs=WITHIN)


def test_probability_is_the_product(name):
    """Unedited, with neurons off in two layers, with others doubled: of the whole answer."""
    model = small(name, torch.float64)
    asked = [p for tokens in (3, 1, 2) for p in prompts(name, LONG, 2, answers=tokens)]
    edits = [Edit((Neuron(0, 3), Neuron(2, 5)), 0.0), Edit((Neuron(1, 4),), 2.0)]
    found = answer_probabilities(AdaptedNetwork(model), asked, [edits] * len(asked))
    reading = Reader(AdaptedNetwork(model), asked).read()
    for row, (prompt, values) in enumerate(zip(asked, found, strict=True)):
        plain = Edit((), 1.0)
        expected = [twin.probability(name, model, prompt, edit) for edit in (plain, *edits)]
        assert values == pytest.approx(expected, abs=WITHIN)
        assert math.log(values[0]) == pytest.approx(reading.log_probabilities[row, 0], abs=WITHIN)
        assert len(set(values)) == 3, "the edits bite"


def test_edits_are_each_prompts_own():
    """The neurons of one prompt are not scaled in the later tokens of another."""
    model = small("llama", torch.float64)
    asked = prompts("llama", LONG, 3, answers=3)
    edits = [[Edit((Neuron(layer, 3 + layer),), 0.0)] for layer in range(SHAPE.layers)]
    found = answer_probabilities(AdaptedNetwork(model), asked, edits)
    for prompt, own, (_, value) in zip(asked, edits, found, strict=True):
        expected = twin.probability("llama", model, prompt, *own)
        assert value == pytest.approx(expected, abs=WITHIN)


# --- the same prompt asked for another answer ------------------------------------------------


def test_asking_a_decoder_by_hand():
    """What stands before stays, the old answer goes; one pass a token."""
    prompt = asking_after([10, 11, 12], [1, 2], 64)
    made = asking(prompt, (3, 4, 5))
    assert (made.ids, made.mask_position, made.answers) == ((10, 11, 12), 2, (3, 4, 5))
    assert [(one.ids, one.mask_position) for one in made.later] == [
        ((10, 11, 12, 3), 3),
        ((10, 11, 12, 3, 4), 4),
    ]
    assert asking(made, (7,)) == Prompt((10, 11, 12), 2, 7)
    assert asking(prompt, (1, 2)) is prompt


def test_asking_a_masked_model_by_hand():
    """As many masks as the new answer has tokens, filled in from the left."""
    prompt = asking_between([10, 11], [12, 13], 4, [1, 2], 64)
    made = asking(prompt, (6, 7, 8))
    assert (made.ids, made.mask_position) == ((10, 11, 4, 4, 4, 12, 13), 2)
    assert [(one.ids, one.mask_position, one.answer) for one in made.later] == [
        ((10, 11, 6, 4, 4, 12, 13), 3, 7),
        ((10, 11, 6, 7, 4, 12, 13), 4, 8),
    ]
    assert asking(made, (9,)) == Prompt((10, 11, 4, 12, 13), 2, 9)
    read_only = replace(asking(made, (9,)), answer=NO_ANSWER)
    assert asking(read_only, (9,)) == asking(made, (9,))


def test_asking_and_back_again(name):
    """Another answer and then the old one: the same prompt."""
    for prompt in prompts(name, LONG, 3, answers=2):
        for answer in ANSWERS:
            assert asking(asking(prompt, answer), prompt.answers) == prompt
