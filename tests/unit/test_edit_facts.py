"""The edits of one fact: what is recorded is what the model says under each, one by one.

Run: pytest tests/unit/test_edit_facts.py
"""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from knowledge_neurons.editing.slots import apply, size_of
from knowledge_neurons.experiments import edit_facts
from knowledge_neurons.experiments.choose_facts import Place, Planned, Watching
from knowledge_neurons.results.edits import CHOSEN, EDITED, Variant
from knowledge_neurons.text.encoding import asking_between
from knowledge_neurons.types import Neuron, Prompt
from tests.reference import edits as literal
from tests.reference.tiny import TINY, tiny_bert

NEURONS = (Neuron(2, 5), Neuron(1, 9), Neuron(2, 30))
TOLERANCE = 1e-5
NAMES = SimpleNamespace(
    tokens=lambda ids: [f"token{index}" for index in ids],
    text=lambda ids: " ".join(f"token{index}" for index in ids),
)
VARIANTS = [Variant(1, 8), Variant(0, 4, top_k=2)]


def prompts(count: int, answer: int, seed: int) -> list[Prompt]:
    rng = random.Random(seed)
    lengths = [rng.randrange(4, 9) for _ in range(count)]
    ids = [tuple(rng.randrange(5, TINY.vocab_size) for _ in range(n)) for n in lengths]
    return [Prompt(i, rng.randrange(len(i)), answer) for i in ids]


BAGS = {"P1": [prompts(3, 7, 0), prompts(2, 8, 1)], "P2": [prompts(2, 9, 2)]}
SAME = (Watching("P1", 1, (1,)),)
OTHER = (Watching("P2", 0, (0, 1)), Watching("P2", 0, (0, 1)))  # drawn twice
PLANNED = Planned(Place("P1", 0, 1), (7,), (8,), NEURONS, SAME, OTHER)


@pytest.fixture(scope="module")
def records():
    model = tiny_bert()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    found = list(edit_facts.edit_fact(model, NAMES, BAGS, PLANNED, VARIANTS, seed=1))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    return found


def test_every_variant_has_every_kind(records):
    assert [(r.lambda_1, r.lambda_2, r.top_k, r.kind) for r in records] == [
        (v.lambda_1, v.lambda_2, v.top_k, kind) for v in VARIANTS for kind in EDITED
    ]
    assert {(r.relation, r.fact, r.asked, r.old, r.new) for r in records} == {
        ("P1", 0, 1, "token7", "token8")
    }


def test_numbers_are_those_of_an_edited_model_one_prompt_at_a_time(records):
    """For every kind: apply its edit for good to a fresh model and ask each prompt alone."""
    edits = edit_facts.edits(tiny_bert(), PLANNED, VARIANTS[0], seed=1)
    for record in records[: len(EDITED)]:
        plain, changed = tiny_bert(), tiny_bert()
        apply(changed, edits[record.kind])
        for prompt, outcome in zip(BAGS["P1"][0], record.prompts, strict=True):
            for place, model in enumerate((plain, changed)):
                log_p = literal.log_probabilities(model, prompt, padded_to=12)
                order = log_p.argsort(descending=True).tolist()
                for answer, token in (("old", 7), ("new", 8)):
                    p, rank = outcome[f"p_{answer}"][place], outcome[f"rank_{answer}"][place]
                    assert p == pytest.approx(log_p[token].exp().item(), rel=1e-4)
                    assert rank == order.index(token) + 1
            assert outcome["predicted"] == f"token{order[0]}"
        for watched, where in ((record.same, SAME), (record.other, OTHER)):
            for row, watching in zip(watched, where, strict=True):
                assert (*row["fact"], tuple(row["prompts"])) == watching
                prompts = [BAGS[r][f][index] for r, f, index in watching.places]
                for model, log_p in zip((plain, changed), row["log_p"], strict=True):
                    expected = [
                        literal.log_probabilities(model, prompt, 12)[prompt.answer].item()
                        for prompt in prompts
                    ]
                    assert log_p == pytest.approx(expected, abs=TOLERANCE)


def test_a_fact_edited_again_has_other_controls(records):
    """The record tells that it is the second edit of the fact; its own neurons are the same."""
    again = replace(PLANNED, repeat=1)
    second = list(edit_facts.edit_fact(tiny_bert(), NAMES, BAGS, again, VARIANTS[:1], seed=1))
    assert [r.repeat for r in (*records[:3], *second)] == [0] * 3 + [1] * 3
    assert second[0].neurons == records[0].neurons
    assert second[1].neurons != records[1].neurons


def test_controls_have_as_many_neurons_or_the_same_size():
    model = tiny_bert()
    for variant in VARIANTS:
        edits = edit_facts.edits(model, PLANNED, variant, seed=1)
        own, control, same_size = (edits[kind] for kind in EDITED)
        assert own.neurons == NEURONS[: variant.top_k]
        assert len(control.neurons) == len(own.neurons)
        assert control.neurons == same_size.neurons and not {*control.neurons} & {*NEURONS}
        assert size_of(same_size) == pytest.approx(size_of(own), rel=1e-5)
        assert size_of(control) != pytest.approx(size_of(own), rel=1e-2)


def test_random_neurons_are_seeded_different_and_cover_the_model():
    def draw(seed):
        return edit_facts.random_neurons(tiny_bert(), NEURONS, 60, random.Random(seed))

    assert draw(1) == draw(1) != draw(2)
    assert len(set(draw(1))) == 60 and not {*draw(1)} & {*NEURONS}
    assert {neuron.layer for neuron in draw(1)} == set(range(TINY.num_hidden_layers))
    every = TINY.num_hidden_layers * TINY.intermediate_size
    rest = edit_facts.random_neurons(tiny_bert(), NEURONS, every - 3, random.Random(0))
    assert len(set(rest)) == every - 3
    with pytest.raises(ValueError, match="does not have"):
        edit_facts.random_neurons(tiny_bert(), NEURONS, every - 2, random.Random(0))


def test_lambdas_of_zero_change_nothing():
    """The knowledge edit of lambdas 0, 0 is the model itself."""
    edit = edit_facts.knowledge_edit(tiny_bert(), PLANNED, Variant(0, 0))
    assert torch.equal(edit.before, edit.after) and EDITED[0] == CHOSEN


def test_old_answers_are_in_each_prompts_own_tokens():
    """A word may have other tokens in another prompt: one token here, two there."""
    first, _, third = BAGS["P1"][0]
    two = asking_between([2, 30, 31], [32, 3], 4, (11, 12), TINY.max_position_embeddings)
    bags = BAGS | {"P1": [[first, two, third], BAGS["P1"][1]]}
    planned = replace(PLANNED, asked=Place("P1", 0, 0), same=(), other=())
    record, *_ = edit_facts.edit_fact(tiny_bert(), NAMES, bags, planned, VARIANTS, seed=1)
    model = tiny_bert()
    for prompt, outcome in zip(bags["P1"][0], record.prompts, strict=True):
        expected = 1.0
        for one in (prompt, *prompt.later):
            log_p = literal.log_probabilities(model, one, padded_to=12)
            expected *= log_p[one.answer].exp().item()
        assert outcome["p_old"][0] == pytest.approx(expected, rel=1e-4)
