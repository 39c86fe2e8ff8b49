"""Which facts are edited, on hand-written neurons and a model whose answers are known.

Run: pytest tests/unit/test_choose_facts.py
"""

import random
from dataclasses import replace

import pytest

from knowledge_neurons.experiments import choose_facts
from knowledge_neurons.experiments.choose_facts import (
    DISTINCT,
    DRAWS,
    Place,
    Selection,
    common_neurons,
    plan,
    with_strongest,
)
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.types import Neuron, Prompt, Triplet
from tests.reference import released as literal
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


@pytest.mark.parametrize("draw", DRAWS)
def test_chosen_facts_are_answered_right_and_get_another_answer(bags, draw):
    model = tiny_bert()
    found = plan(model, bags, "P1", neurons(bags, "P1"), Selection(facts=4, draw=draw))
    assert len(found.facts) == 4 == found.drawn and not found.wrong
    answers = {prompts[0].answers for prompts in bags["P1"]}
    for planned in found.facts:
        prompt = bags["P1"][planned.asked.fact][planned.asked.prompt]
        assert planned.old == prompt.answers == (Reader(model, [prompt]).read().predicted[0],)
        assert planned.new != planned.old and planned.new in answers
        assert planned.neurons == tuple(neurons(bags, "P1")[planned.asked.fact])


def test_distinct_watching_facts_are_different_and_asked_once(bags):
    """Five of the relation, none of them the fact; five of other relations; no fact twice."""
    settings = Selection(facts=6, draw=DISTINCT)
    found = plan(tiny_bert(), bags, "P1", neurons(bags, "P1"), settings)
    for planned in found.facts:
        assert {watching.relation for watching in planned.same} == {"P1"}
        assert {watching.relation for watching in planned.other} == {"P2"}
        assert len({planned.asked.fact, *(watching.fact for watching in planned.same)}) == 6
        assert len({watching.fact for watching in planned.other}) == 5
        assert all(prompt in range(3) for w in planned.other for (prompt,) in [w.prompts])
    assert found.different == 6 and not any(planned.repeat for planned in found.facts)


def released(model, bags, relation, own, **settings):
    """`plan`'s edits as the slow twin gives them, which asks one prompt at a time."""

    def is_right(fact, prompt):
        chosen = bags[relation][fact][prompt]
        return Reader(model, [chosen]).read().predicted[0] == chosen.answer

    found = plan(model, bags, relation, own, Selection(**settings))
    edits = [
        (
            *(edit.asked.fact, edit.asked.prompt, *edit.new),
            *([w[:2] for w in watched] for watched in (edit.same, edit.other)),
        )
        for edit in found.facts
    ]
    wanted, seed = settings["facts"], settings.get("seed", 42)
    return found, edits, literal.edits(bags, relation, own, is_right, wanted, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_released_draw_is_the_slow_twins(bags, seed):
    """Facts, prompts, new answers, what watches, in order; some facts twice, some passed over."""
    model, own = tiny_bert(), neurons(bags, "P1")
    own[3] = own[7] = []
    for fact in range(10, 16):
        bags["P1"][fact] = [replace(prompt, answer=3) for prompt in bags["P1"][fact]]  # now wrong
    bags["P3"] = bags["P2"][:2]
    found, edits, expected = released(model, bags, "P1", own, facts=25, seed=seed)
    assert edits == expected
    assert found.drawn == 25 + found.wrong + found.without_neurons
    assert found.wrong > 0 < found.without_neurons
    assert found.different < 25 and {3, 7, *range(10, 16)}.isdisjoint(edit[0] for edit in edits)
    seen: list[int] = []
    for planned in found.facts:
        assert planned.repeat == seen.count(planned.asked.fact)
        seen.append(planned.asked.fact)
        for watching in (*planned.same, *planned.other):
            prompts = bags[watching.relation][watching.fact]
            assert watching.prompts == tuple(range(len(prompts)))


def test_released_new_answers_are_as_frequent_as_their_facts(bags):
    """Nine other facts answer A, one B: nine tenths of the edits are into A, or half of them."""
    model, first = tiny_bert(), bags["P1"][0]
    often, once = first[0].answer + 1, first[0].answer + 2
    facts = [first, *([[replace(first[0], answer=often)]] * 9), [replace(first[0], answer=once)]]
    own = [[A], *([[]] * 10)]  # the first alone is edited
    news = {}
    for draw in DRAWS:
        one = [plan(model, {"P1": facts}, "P1", own, Selection(1, seed=seed, draw=draw))
               for seed in range(100)]  # fmt: skip
        news[draw] = [edit.new[0] for found in one for edit in found.facts]
        assert set(news[draw]) == {often, once} and len(news[draw]) == 100
    assert 80 < news["released"].count(often) < 98
    assert 33 < news["distinct"].count(often) < 67


def test_other_relations_are_equally_likely_whatever_their_size(bags):
    """P2 has eight facts, P3 one: each is drawn about as often."""
    bags["P3"] = bags["P2"][:1]
    found = plan(tiny_bert(), bags, "P1", neurons(bags, "P1"), Selection(facts=60))
    others = [watching.relation for planned in found.facts for watching in planned.other]
    assert len(others) == 300 and 110 < others.count("P3") < 190


def test_a_relation_all_of_whose_answers_are_wrong_ends(bags, monkeypatch):
    """After so many tries; each prompt is asked once, however often its fact was drawn."""
    asked = []

    class Counting(Reader):
        def __init__(self, model, prompts, *more):
            asked.extend(prompts)
            super().__init__(model, prompts, *more)

    monkeypatch.setattr(choose_facts, "Reader", Counting)
    wrong = [[replace(p, answer=1 + i % 2) for p in fact] for i, fact in enumerate(bags["P2"])]
    found = plan(tiny_bert(), {"P2": wrong}, "P2", [[A]] * 8, Selection(common=1.1))
    assert (len(found.facts), found.drawn, found.wrong) == (0, 10_000, 10_000)
    assert len(asked) == 8 * 3
    assert "no edit: 10000 drawn" in str(found)


@pytest.mark.parametrize("draw", DRAWS)
def test_choice_depends_on_seed_and_relation_alone(bags, draw):
    """Not on how many facts are wanted, nor on which relations are asked besides."""
    model, own = tiny_bert(), neurons(bags, "P1")
    many = plan(model, bags, "P1", own, Selection(facts=9, draw=draw))
    few = plan(model, bags, "P1", own, Selection(facts=3, draw=draw))
    assert few.facts == many.facts[:3]
    assert plan(model, bags, "P1", own, Selection(facts=3, seed=1, draw=draw)).facts != few.facts


def test_wrong_answers_and_missing_neurons_are_counted(bags):
    """P2's facts, each drawn once: how many are wrong is what the model says; two lack neurons."""
    model = tiny_bert()
    own = neurons(bags, "P2")
    own[0] = own[5] = []
    found = plan(model, bags, "P2", own, Selection(common=0.2, draw=DISTINCT))
    assert found.without_neurons == 2 and found.drawn == 8
    assert found.wrong == 6 - len(found.facts)
    assert f"8 drawn, 2 of them without neurons of their own, {found.wrong} answered" in str(found)


def test_a_relation_without_neurons_or_with_one_answer_says_so(bags):
    model = tiny_bert()
    bare = plan(model, bags, "P2", [[]] * 8, Selection())
    assert not bare.facts
    assert str(bare) == "no edit: none of its 8 facts has neurons of its own"
    shared = plan(model, bags, "P2", [[A]] * 8, Selection())
    assert str(shared) == str(bare)
    alike = {"P2": [[replace(p, answer=7) for p in prompts] for prompts in bags["P2"]]}
    same = plan(model, alike, "P2", neurons(alike, "P2"), Selection(common=0.2))
    assert str(same) == "no edit: all its facts have the same answer (1)"


def test_a_lone_relation_has_no_others_to_watch(bags):
    found = plan(tiny_bert(), {"P1": bags["P1"]}, "P1", neurons(bags, "P1"), Selection(facts=2))
    assert all(not planned.other and len(planned.same) == 5 for planned in found.facts)


def test_strongest_neurons_by_mean_score(bags):
    """Sums 0.5 for C (twice), 0.4 for A, 0.3 for B, which is left alone."""
    found = plan(tiny_bert(), bags, "P1", neurons(bags, "P1"), Selection(facts=1))
    fact = found.facts[0].asked.fact
    scores = {fact: [[Triplet(*A, 0.4), Triplet(*C, 0.2)], [Triplet(*B, 0.3), Triplet(*C, 0.3)]]}
    assert with_strongest(found, scores, {B}, 5).facts[0].neurons == (C, A)
    assert with_strongest(found, scores, set(), 2).facts[0].neurons == (C, A)
    assert with_strongest(found, scores, set(), 3).facts[0].neurons == (C, A, B)
    assert with_strongest(found, scores, {B}, 5).facts[0].asked == Place("P1", fact, 0)
    with pytest.raises(ValueError, match=f"P1 fact {fact} has neurons, its scores name none"):
        with_strongest(found, scores, {A, B, C}, 5)


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"common": 0.0}, {"draw": "any"}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Selection(**wrong)


def test_the_defaults_are_the_papers():
    """Ten facts of a relation, neurons of a tenth of its facts left alone, five and five watch."""
    found = Selection()
    assert (found.facts, found.common, found.others, found.seed) == (10, 0.1, 5, 42)
    assert found.draw != DISTINCT and found.draw in DRAWS


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"common": 0.0}, {"common": -0.1}, {"draw": "x"}])
def test_settings_that_cannot_be_are_refused(wrong):
    """What was got is told; the least that can be is fine."""
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"{value}.*: expected"):
        Selection(**wrong)
    assert Selection(facts=1, common=1e-6).facts == 1


@pytest.mark.parametrize("draw", [choose_facts._released, choose_facts._distinct])
def test_an_answer_in_other_tokens_is_not_another_answer(draw):
    """A word may have other tokens in another prompt, without a space before it: 7 and 17 here are
    one answer, 8 and 18 another, and a fact never gets its own as the new one."""
    facts = [[Prompt((1, 4), 1, 7 + i % 2), Prompt((2, 4), 1, 17 + i % 2)] for i in range(6)]
    for seed in range(5):
        tries = draw(random.Random(seed), "P1", facts)
        for one, _ in zip(tries, range(6), strict=False):
            assert one.new == ((8,) if one.asked.fact % 2 == 0 else (7,))
