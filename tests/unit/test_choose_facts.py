"""Which facts are edited, on hand-written neurons and a model whose answers are known.

Run: pytest tests/unit/test_choose_facts.py
"""

import random
from dataclasses import replace

import pytest

from knowledge_neurons.evaluation import Reader
from knowledge_neurons.experiments.choose_facts import (
    Place,
    Settings,
    common_neurons,
    plan,
    with_strongest,
)
from knowledge_neurons.types import Neuron, Prompt, Triplet
from tests.reference.tiny import TINY, tiny_bert

A, B, C = Neuron(0, 1), Neuron(1, 2), Neuron(2, 3)


def bag(rng: random.Random, answer: int) -> list[Prompt]:
    ids = [tuple(rng.randrange(5, TINY.vocab_size) for _ in range(6)) for _ in range(3)]
    return [Prompt(i, rng.randrange(6), answer) for i in ids]


def known(model, bags: list[list[Prompt]]) -> list[list[Prompt]]:
    """The same prompts with the model's own predictions as answers, one fact a prompt."""
    prompts = [prompt for bag in bags for prompt in bag]
    predicted = Reader(model, prompts).read().predicted.tolist()
    return [[replace(p, answer=token)] for p, token in zip(prompts, predicted, strict=True)]


@pytest.fixture
def bags():
    """P1: 30 facts of one prompt each, all answered right; P2: 8 of three, mostly wrong."""
    rng, model = random.Random(0), tiny_bert()
    wrong = [bag(rng, answer) for answer in (7, 8, 9, 7, 8, 9, 7, 8)]
    return {"P1": known(model, [bag(rng, 0) for _ in range(10)]), "P2": wrong}


def neurons(bags, relation) -> list[list[Neuron]]:
    return [[Neuron(0, index % TINY.intermediate_size)] for index in range(len(bags[relation]))]


def test_common_neurons_by_hand():
    """Of 20 facts, A is in 1, B in 2 (10 %): A alone stays.  Its own fact counts once."""
    facts = [[A, B], [B], *([[]] * 18)]
    bags = [[Prompt((1,), 0, 0)]] * 20
    assert common_neurons(bags, facts, 0.1) == {B}
    assert common_neurons(bags, facts, 0.15) == set()


def test_facts_without_prompts_do_not_count_in_the_share():
    facts, there = [[A], *([[]] * 19)], [Prompt((1,), 0, 0)]
    assert common_neurons([there] * 20, facts, 0.1) == set()
    assert common_neurons([there] * 5 + [[]] * 15, facts, 0.1) == {A}


def test_chosen_facts_are_answered_right_and_get_another_answer(bags):
    model = tiny_bert()
    found = plan(model, bags, "P1", neurons(bags, "P1"), Settings(facts=4))
    assert len(found.facts) == 4 == found.tried and not found.wrong
    answers = {prompts[0].answer for prompts in bags["P1"]}
    for planned in found.facts:
        prompt = bags["P1"][planned.asked.fact][planned.asked.prompt]
        assert planned.old == prompt.answer == Reader(model, [prompt]).read().predicted[0]
        assert planned.new != planned.old and planned.new in answers
        assert planned.neurons == tuple(neurons(bags, "P1")[planned.asked.fact])


def test_watching_prompts_are_of_other_facts(bags):
    """Five of the relation, none of them the fact; five of other relations; no fact twice."""
    found = plan(tiny_bert(), bags, "P1", neurons(bags, "P1"), Settings(facts=6))
    for planned in found.facts:
        assert {place.relation for place in planned.same} == {"P1"}
        assert {place.relation for place in planned.other} == {"P2"}
        facts = [place.fact for place in planned.same]
        assert len({planned.asked.fact, *facts}) == 6
        assert len({place.fact for place in planned.other}) == 5
        assert all(place.prompt in range(3) for place in planned.other)
    assert len({planned.asked.fact for planned in found.facts}) == 6


def test_choice_depends_on_seed_and_relation_alone(bags):
    """Not on how many facts are wanted, nor on which relations are asked besides."""
    model, own = tiny_bert(), neurons(bags, "P1")
    many = plan(model, bags, "P1", own, Settings(facts=9))
    few = plan(model, bags, "P1", own, Settings(facts=3))
    assert few.facts == many.facts[:3]
    assert plan(model, bags, "P1", own, Settings(facts=3, seed=1)).facts != few.facts


def test_wrong_answers_and_missing_neurons_are_counted(bags):
    """P2's facts: how many are asked and wrong is what the model says; two have no neurons."""
    model = tiny_bert()
    own = neurons(bags, "P2")
    own[0] = own[5] = []
    found = plan(model, bags, "P2", own, Settings(common=0.2))
    assert found.without_neurons == 2 and found.tried == 6
    assert found.wrong == 6 - len(found.facts)
    assert str(found).endswith("2 others have no neurons of their own")
    assert "6 asked" in str(found)


def test_a_relation_without_neurons_or_with_one_answer_says_so(bags):
    model = tiny_bert()
    bare = plan(model, bags, "P2", [[]] * 8, Settings())
    assert not bare.facts
    assert str(bare) == "no edit: none of its 8 facts has neurons of its own"
    shared = plan(model, bags, "P2", [[A]] * 8, Settings())
    assert str(shared) == str(bare)
    alike = {"P2": [[replace(p, answer=7) for p in prompts] for prompts in bags["P2"]]}
    same = plan(model, alike, "P2", neurons(alike, "P2"), Settings(common=0.2))
    assert str(same) == "no edit: all its facts have the same answer (1)"


def test_a_lone_relation_has_no_others_to_watch(bags):
    found = plan(tiny_bert(), {"P1": bags["P1"]}, "P1", neurons(bags, "P1"), Settings(facts=2))
    assert all(not planned.other and len(planned.same) == 5 for planned in found.facts)


def test_strongest_neurons_by_mean_score(bags):
    """Sums 0.5 for C (twice), 0.4 for A, 0.3 for B, which is left alone."""
    found = plan(tiny_bert(), bags, "P1", neurons(bags, "P1"), Settings(facts=1))
    fact = found.facts[0].asked.fact
    scores = {fact: [[Triplet(*A, 0.4), Triplet(*C, 0.2)], [Triplet(*B, 0.3), Triplet(*C, 0.3)]]}
    assert with_strongest(found, scores, {B}, 5).facts[0].neurons == (C, A)
    assert with_strongest(found, scores, set(), 2).facts[0].neurons == (C, A)
    assert with_strongest(found, scores, set(), 3).facts[0].neurons == (C, A, B)
    assert with_strongest(found, scores, {B}, 5).facts[0].asked == Place("P1", fact, 0)
    with pytest.raises(ValueError, match=f"P1 fact {fact} has neurons, its scores name none"):
        with_strongest(found, scores, {A, B, C}, 5)


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"common": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Settings(**wrong)
