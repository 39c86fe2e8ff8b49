"""Erasing a relation: which neurons, which prompts, and Table 5 by hand.

Run: pytest tests/unit/test_erase_relation.py
"""

import math
import random

import pytest
import torch

from knowledge_neurons.editing.slots import apply, erase
from knowledge_neurons.experiments.choose_facts import Place
from knowledge_neurons.experiments.erase_relation import (
    by_fact,
    choose_prompts,
    frequent_neurons,
    read_facts,
)
from knowledge_neurons.results.erasures import ErasureRecord, summarise_erasure
from knowledge_neurons.types import Neuron, Prompt
from tests.reference import edits as literal
from tests.reference.tiny import TINY, tiny_bert

A, B, C = Neuron(0, 1), Neuron(1, 2), Neuron(2, 3)


def bag(prompts: int, seed: int) -> list[Prompt]:
    rng = random.Random(seed)
    lengths = [rng.randrange(4, 8) for _ in range(prompts)]
    ids = [tuple(rng.randrange(5, TINY.vocab_size) for _ in range(n)) for n in lengths]
    return [Prompt(i, rng.randrange(len(i)), 7) for i in ids]


FACTS = 131
BAGS = {
    "P1": [bag(2, seed) for seed in range(FACTS)],
    "P2": [bag(3, 500), [], bag(1, 501)],
    "P3": [bag(2, 600)],
}


def test_most_frequent_neurons_first_seen_first():
    facts = [[B, A], [C], [C, A], []]
    assert frequent_neurons(facts, 2) == [A, C]
    assert frequent_neurons(facts, 20) == [A, C, B]
    assert frequent_neurons([[], []], 20) == []


def test_all_prompts_of_all_relations():
    places = choose_prompts(BAGS, "P2", None, seed=0)
    assert places[:4] == [
        Place("P2", 0, 0),
        Place("P2", 0, 1),
        Place("P2", 0, 2),
        Place("P2", 2, 0),
    ]
    assert [place.relation for place in places[4:]] == ["P1"] * 2 * FACTS + ["P3"] * 2


def test_a_sample_of_the_others_is_seeded_and_leaves_the_relation_whole():
    places = choose_prompts(BAGS, "P2", 10, seed=0)
    assert len(places) == 14 and places[:4] == choose_prompts(BAGS, "P2", None, 0)[:4]
    assert len(set(places)) == 14
    assert places == choose_prompts(BAGS, "P2", 10, 0) != choose_prompts(BAGS, "P2", 10, 1)
    assert choose_prompts(BAGS, "P2", 0, 0) == places[:4]
    assert choose_prompts(BAGS, "P2", 10**6, 0) == choose_prompts(BAGS, "P2", None, 0)


def test_readings_are_those_of_an_erased_model_one_prompt_at_a_time():
    """Of many facts; some prompts of a fact alone; the model is as before."""
    model = tiny_bert()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    edit = erase(model, [A, B])
    places = choose_prompts(BAGS, "P1", 3, seed=0)
    records = read_facts(model, BAGS, by_fact(places), {"erased": edit})
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    changed = tiny_bert()
    apply(changed, edit)
    assert [Place(r.relation, r.fact, p) for r in records for p in r.prompts] == places
    for record in records[-12:]:
        for row, index in enumerate(record.prompts):
            prompt = BAGS[record.relation][record.fact][index]
            for state, one in (("before", model), ("erased", changed)):
                expected = literal.log_probabilities(one, prompt, padded_to=9)
                order = expected.argsort(descending=True).tolist()
                assert record.log_p[state][row] == pytest.approx(expected[7].item(), abs=1e-5)
                assert record.ranks[state][row] == order.index(7) + 1


def fact(relation: str, before: list[float], after: list[float], ranks=(1, 1)) -> ErasureRecord:
    log_p = {"before": [math.log(p) for p in before], "erased": [math.log(p) for p in after]}
    states = {"before": [ranks[0]] * len(before), "erased": [ranks[1]] * len(before)}
    return ErasureRecord(relation, 0, list(range(len(before))), log_p, states)


RECORDS = [
    fact("P1", [0.5, 0.5], [0.25, 0.25], ranks=(1, 4)),
    fact("P1", [0.5], [0.5]),
    fact("P2", [0.25, 0.25], [0.25, 0.25], ranks=(2, 1)),
    fact("P3", [1.0], [0.5]),
]


def test_table_5_by_hand():
    """P1: perplexity 2 -> 4^(2/3) 2^(1/3) = 3.17, positive; accuracy 1 -> 1/3.  Others pooled."""
    erased = summarise_erasure(RECORDS, "P1", "erased", seed=0)
    own = erased.relation
    assert (own.facts, own.prompts) == (2, 3)
    assert own.perplexity_before == pytest.approx(2.0)
    assert own.perplexity_after == pytest.approx(2 ** (5 / 3))
    assert own.perplexity_increase.value == pytest.approx(2 ** (2 / 3) - 1)
    assert own.perplexity_increase.interval == pytest.approx((0.0, 1.0))
    assert (own.accuracy_before, own.accuracy_after) == (1.0, pytest.approx(1 / 3))
    others = erased.others
    assert (others.facts, others.prompts) == (2, 3)
    assert others.perplexity_before == pytest.approx(4 ** (2 / 3))
    assert others.perplexity_after == pytest.approx(4 ** (2 / 3) * 2 ** (1 / 3))
    assert others.accuracy_after > others.accuracy_before
    # One fact a relation: nothing to draw, so there is no interval.
    assert others.perplexity_increase.interval is None
    assert list(erased.each_other) == ["P2", "P3"]
    assert erased.each_other["P3"].perplexity_increase.value == pytest.approx(1.0)
    assert erased.each_other["P2"].perplexity_increase.value == pytest.approx(0.0)


def test_a_decrease_has_a_negative_sign():
    better = [fact("P1", [0.25], [0.5])]
    found = summarise_erasure(better, "P1", "erased", seed=0)
    assert found.relation.perplexity_increase.value == pytest.approx(-0.5)
    assert found.others is None and found.each_other == {}
