"""Whose the neurons are: stage 10's controls by hand.  Run: pytest tests/unit/test_controls.py"""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from knowledge_neurons.experiments import controls
from knowledge_neurons.results.changes import Outcome
from knowledge_neurons.results.controls import (
    ControlRecord,
    effects_of,
    random_of,
    read_controls,
    read_effects,
    with_twins,
    write_effects,
)
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.layout import Results
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt
from tests.reference import interventions as literal
from tests.reference.tiny import TINY, tiny_bert

WITHIN = 1e-5  # probabilities in float32
CITIES = ("rome", "oslo", "rome", "lima", "oslo", "rome")
FACTS = [Fact("P19", "place of birth", i, city, ("x [MASK]",)) for i, city in enumerate(CITIES)]


def neurons(*pairs: tuple[int, int]) -> list[Neuron]:
    return [Neuron(*pair) for pair in pairs]


# --- which neurons ---------------------------------------------------------------------------


OWN = [
    neurons((0, 1), (2, 5), (2, 6), (2, 7)),
    neurons((0, 1), (1, 3)),
    [],
    neurons((0, 1)),
    neurons((2, 5)),
    neurons((2, 36)),
]


ALONE = [None] * len(OWN)  # no fact is asked beside
BESIDE = [1, 0, None, 0, 0, 0]


def sets_of(own=OWN, same=ALONE, shared_by=(0, 1), seed=42, relation="P19", **more) -> dict:
    found = {"neurons": own, **more}
    return controls.sets_of(tiny_bert(), found, same, shared_by, seed, relation)


def test_random_neurons_are_of_the_same_layers_and_not_its_own():
    """Layer by layer as many, all different, none of the fact's; the same for the same seed."""
    sets = sets_of(rest=[own[:1] for own in OWN])
    kinds = ("neurons", "rest", "shared_by_0", "shared_by_1")
    assert tuple(sets) == tuple(name for kind in kinds for name in (kind, random_of(kind)))
    assert sets["neurons"] == OWN
    for kind in kinds:
        for own, drawn, all_own in zip(sets[kind], sets[random_of(kind)], OWN, strict=True):
            assert Counter(n.layer for n in drawn) == Counter(n.layer for n in own)
            assert len(set(drawn)) == len(drawn) and not set(drawn) & set(all_own)
            assert all(0 <= n.index < TINY.intermediate_size for n in drawn)
    for some, every in zip(sets["random_rest"], sets["random"], strict=True):
        assert set(some) <= set(every), "a neuron has the same twin in every kind"
    again = [sets_of(seed=seed, rest=[own[:1] for own in OWN])["random"] for seed in (42, 43)]
    assert again[0] == sets["random"] != again[1]
    assert sets_of(relation="P36")["random"] != sets_of()["random"]


def test_random_neurons_where_a_layer_is_nearly_used_up():
    """What is left of it is taken, and no neuron of the fact's."""
    own = neurons(*((1, index) for index in range(TINY.intermediate_size - 2)))
    (drawn,) = sets_of([own], [None])["random"]
    assert sorted(drawn) == neurons((1, 35), (1, 36))


def test_neurons_of_few_facts():
    """(0, 1) is in two other facts, (2, 5) in one; a neuron of one fact alone is always kept."""
    sets = sets_of(shared_by=(0, 1, 2))
    assert sets["shared_by_0"] == [neurons((2, 6), (2, 7)), neurons((1, 3)), [], [], [], OWN[5]]
    assert sets["shared_by_1"] == [OWN[0][1:], neurons((1, 3)), [], [], *OWN[4:]]
    assert sets["shared_by_2"] == OWN


def test_the_fact_asked_beside_does_not_count():
    """Fact 4 shares (2, 5) with fact 0 alone, which is asked beside it: it is kept at s = 0."""
    sets = sets_of(same=BESIDE)
    assert sets["shared_by_0"][4] == OWN[4]
    assert sets["shared_by_0"][3] == [] and sets["shared_by_1"][3] == OWN[3]
    assert sets["shared_by_0"][0] == neurons((2, 5), (2, 6), (2, 7))[1:], "fact 4 still counts"


# --- which facts -----------------------------------------------------------------------------

PROMPT = Prompt((2, 10, 4, 3), 2, 7)


def test_another_fact_never_has_the_same_answer():
    """It can be asked, and is drawn anew for each fact from the relation's own generator."""
    bags = [[PROMPT], [PROMPT], [], [PROMPT], [PROMPT], [PROMPT]]
    seen = {place: set() for place in range(len(FACTS))}
    for seed in range(60):
        drawn = controls.draw_same(FACTS, bags, seed)
        assert drawn == controls.draw_same(FACTS, bags, seed)
        for place, other in enumerate(drawn):
            seen[place].add(other)
    for place, others in seen.items():
        fits = {o for o in (0, 1, 3, 4, 5) if CITIES[o] != CITIES[place]}
        assert others == fits, "each of them is drawn at some seed, and no other"


def test_no_other_answer_is_none():
    """One answer for all, or only facts that cannot be asked."""
    assert controls.draw_same(FACTS[::2][:1] + FACTS[2:3], [[PROMPT]] * 2, 1) == [None, None]
    assert controls.draw_same(FACTS[:2], [[PROMPT], []], 1) == [None, 0]


# --- what scaling them does ------------------------------------------------------------------


def random_prompts(count: int, answer: int) -> list[Prompt]:
    rng = random.Random(answer)
    ids = [[2, *(rng.randrange(5, 50) for _ in range(4)), 3] for _ in range(count)]
    return [Prompt((*one[:3], 4, *one[3:]), 3, answer) for one in ids]


def test_control_scales_each_set_beside_each_fact():
    """Own prompts, the same relation's and another's: off and doubled, as the twin has them."""
    model, facts = tiny_bert(), FACTS[:3]
    own = [random_prompts(3, 7), random_prompts(2, 8), []]
    same = [("P19", 1, own[1]), None, ("P19", 0, own[0])]
    others = [("P36", 4, random_prompts(2, 9)), ("P36", 5, random_prompts(1, 6)), None]
    sets = sets_of(OWN[:3], [None] * 3, (1,))
    assert tuple(sets) == ("neurons", "random", "shared_by_1", "random_shared_by_1")
    found = controls.control(model, facts, own, same, others, sets, 4)
    assert [(one.relation, one.fact, one.held_out) for one in found] == [
        ("P19", place, 4) for place in range(3)
    ]
    assert found[2].own is found[2].same is found[2].other is None, "it cannot be asked itself"
    assert found[1].same is None
    for place, record in enumerate(found[:2]):
        assert record.neurons == {kind: len(sets[kind][place]) for kind in sets}
        for asked, outcome in ((own[place], record.own), (others[place][2], record.other)):
            for kind in sets:
                factors = (0.0,) if "shared_by" in kind else (0.0, 2.0)
                assert tuple(outcome.edited[kind]) == factors
                for factor in factors:
                    edit = Edit(tuple(sets[kind][place]), factor)
                    expected = [literal.probabilities(model, p, edit)[p.answer] for p in asked]
                    assert outcome.edited[kind][factor] == pytest.approx(
                        [p.item() for p in expected], abs=WITHIN
                    )
    assert (found[0].same.relation, found[0].same.fact) == ("P19", 1)
    assert found[0].same.original == pytest.approx(found[1].own.original, abs=WITHIN)


# --- the table -------------------------------------------------------------------------------


def outcome(before: list[float], off: list[float], random: list[float] | None = None) -> Outcome:
    """Neurons off give `off`, random ones `random`; those of few facts half of the way."""
    half = [(b + o) / 2 for b, o in zip(before, off, strict=True)]
    after = {"neurons": off, "random": random or before}
    edited = {kind: {0.0: p, 2.0: before} for kind, p in after.items()}
    few = {"shared_by_1": {0.0: half}, "random_shared_by_1": {0.0: before}}
    return Outcome("P1", 0, before, edited | few)


def record(own: Outcome | None, count: int = 2, held_out: int | None = 2, **asked) -> ControlRecord:
    counts = {"neurons": count, "random": count, "shared_by_1": 1, "random_shared_by_1": 1}
    return ControlRecord("P1", 0, counts, held_out, own, asked.get("same"), asked.get("other"))


# Every second prompt is held out: places 1 and 3.
FIRST = outcome([0.4, 0.2, 0.4, 0.6], [0.1, 0.2, 0.1, 0.4], [0.4, 0.2, 0.2, 0.6])
SECOND = outcome([0.2, 0.5], [0.2, 0.0])
RECORDS = {
    "P1": [
        record(FIRST, same=outcome([0.5], [0.4]), other=outcome([0.2], [0.3])),
        record(SECOND, count=4),
        record(outcome([0.9], [0.0]), count=0),  # no neurons
        record(None),  # cannot be asked
    ],
    "P2": [record(outcome([0.5], [0.25]))],
}


def by_kind(records: dict) -> dict:
    return {(one.kind, one.factor): one for one in effects_of(records, seed=1)}


def test_effects_by_hand():
    """Sums over each fact's prompts, change of a relation as a share, mean over relations."""
    found = by_kind(RECORDS)
    whole, few = ["neurons", "random"], ["shared_by_1", "random_shared_by_1"]
    assert list(found) == [(kind, 0.0) for kind in whole + few] + [(kind, 2.0) for kind in whole]
    off = found["neurons", 0.0].changes
    # P1, prompts 0 and 2 of the first fact, 0 of the second: 0.8 + 0.2 -> 0.2 + 0.2; P2: -50 %.
    assert off["own"].value == pytest.approx((-0.6 - 0.5) / 2)
    # Prompts 1 and 3, and 1: 0.8 + 0.5 -> 0.6 + 0; P2 has none held out.
    assert off["held_out"].value == pytest.approx(-0.7 / 1.3)
    assert off["same"].value == pytest.approx(-0.2)
    assert off["other"].value == pytest.approx(0.5)
    assert found["shared_by_1", 0.0].changes["own"].value == pytest.approx(off["own"].value / 2)
    assert found["random", 0.0].changes["own"].value == pytest.approx((-0.2 / 1.0 + 0) / 2)
    assert all(c.value == 0 for c in found["neurons", 2.0].changes.values())
    assert found["neurons", 0.0].neurons == pytest.approx((2 + 4 + 2) / 3)
    assert found["shared_by_1", 0.0].neurons == 1


def test_intervals_are_over_facts():
    """Of two facts the resampled lie between each one twice; of one there is none."""
    off = by_kind(RECORDS)["neurons", 0.0].changes
    first, second = -0.6 / 0.8, 0.0  # own prompts that found the neurons
    assert off["own"].interval.low == pytest.approx((first - 0.5) / 2)
    assert off["own"].interval.high == pytest.approx((second - 0.5) / 2)
    assert off["same"].interval is None


def test_without_held_out_all_prompts_are_own():
    """And the column of those held out is missing, not 0."""
    every = {"P1": [replace(one, held_out=None) for one in RECORDS["P1"]]}
    off = by_kind(every)["neurons", 0.0].changes
    assert "held_out" not in off
    assert off["own"].value == pytest.approx((0.8 + 0.2) / (1.6 + 0.7) - 1)


def test_no_facts_with_neurons():
    """Nothing to average, no division by nothing."""
    for records in ({}, {"P1": [RECORDS["P1"][2], RECORDS["P1"][3]]}):
        assert effects_of(records, 1) == []


def test_twins_stand_beside():
    found = with_twins(effects_of(RECORDS, seed=1))
    assert [(one.kind, one.factor, twin.kind) for one, twin in found] == [
        ("neurons", 0.0, "random"),
        ("shared_by_1", 0.0, "random_shared_by_1"),
        ("neurons", 2.0, "random"),
    ]


def test_effects_round_trip(tmp_path):
    """What is written is read; where there is no file there is no table."""
    results = Results(tmp_path)
    assert read_effects(results) == []
    found = effects_of(RECORDS, seed=1)
    results.controls_summary.parent.mkdir()
    write_effects(results.controls_summary, found)
    assert read_effects(results) == found


# --- files -----------------------------------------------------------------------------------


def test_records_round_trip(tmp_path):
    path = tmp_path / "P1.jsonl"
    path.write_bytes(b"".join(encode_float32(one) + b"\n" for one in RECORDS["P1"]))
    found = read_controls(path)
    assert [one.neurons for one in found] == [one.neurons for one in RECORDS["P1"]]
    assert found[0].own.original == pytest.approx(FIRST.original, abs=1e-7)
    assert found[3].own is None


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (lambda one: one["neurons"].pop("random"), "neurons has .*expected neurons and random"),
        (lambda one: one["own"]["edited"].pop("shared_by_1"), "own.edited"),
        (lambda one: one["own"]["edited"]["random"].pop("0.0"), "own.edited.random has factors"),
        (lambda one: one["same"]["edited"]["neurons"]["2.0"].pop(), "same.edited.neurons"),
        (lambda one: one["other"].update(original=[]), "other has no prompts"),
    ],
)
def test_damaged_records_are_named(tmp_path, harm, part):
    """A kind, a factor or a prompt that is missing: file, line and what."""
    path = tmp_path / "P1.jsonl"
    whole = [json.loads(encode_float32(RECORDS["P1"][0])) for _ in range(2)]
    harm(whole[1])
    path.write_text("".join(json.dumps(one) + "\n" for one in whole))
    with pytest.raises(ValueError, match=f"P1.jsonl, line 2.*{part}"):
        read_controls(path)
