"""Coarse and refined neurons on hand-written scores, and against the slow twin.

pytest tests/unit/test_refine.py
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.neurons.refine import (
    BASELINE_THRESHOLDS,
    THRESHOLDS,
    FactCounts,
    Thresholds,
    at_least,
    coarse,
    count_coarse,
    rare,
    refine_fact,
    refine_relation,
)
from knowledge_neurons.types import Neuron, Triplet
from tests.reference import refine as literal


def prompt(*indices: int, layer: int = 0) -> list[Triplet]:
    """Triplets of equal score, so that all these neurons are coarse."""
    return [Triplet(layer, index, 1.0) for index in indices]


def fact(counts: dict[int, int], prompts: int) -> FactCounts:
    """Counts of neurons of layer 0: index -> in how many of the prompts."""
    return count_coarse(
        [prompt(*(i for i, count in counts.items() if n < count)) for n in range(prompts)], 0.2
    )


# --- coarse ----------------------------------------------------------------------------------


def test_coarse_keeps_what_reaches_t_times_the_largest():
    """Inclusive, in the order of the triplets, relative to this prompt alone."""
    rows = [Triplet(3, 1, 0.2 * 5.0), Triplet(0, 7, 0.999), Triplet(1, 1, 5.0)]
    assert coarse(rows, 0.2) == [Neuron(3, 1), Neuron(1, 1)]
    assert coarse(rows[:2], 0.2) == [Neuron(3, 1), Neuron(0, 7)]


def test_coarse_of_no_triplets():
    """A prompt whose scores are all negative has no coarse neurons and raises nothing."""
    assert coarse([], 0.2) == []


def test_thresholds_of_the_paper():
    """t = 0.2 and 0.5 for the baseline, p from 0.7 by 0.05 in 6 rounds, 2 to 5, 3 prompts, 10 %."""
    assert Thresholds(0.2, 0.7, 0.05, 2, 5, 6, 3, 0.1) == THRESHOLDS
    assert replace(THRESHOLDS, coarse=0.5) == BASELINE_THRESHOLDS


# --- one fact --------------------------------------------------------------------------------


def test_a_neuron_is_shared_from_p_times_the_prompts_on():
    """At exactly p it stays (>=, where the paper's text says more than p); below it goes."""
    assert refine_fact(fact({1: 5, 2: 6, 3: 4}, 10), 0.5, 3) == [Neuron(0, 1), Neuron(0, 2)]


@pytest.mark.parametrize(
    "prompts, in_prompts, kept",
    [(3, 2, False), (3, 3, True), (2, 2, False), (1, 1, False), (8, 2, False), (8, 3, True)],
)
def test_never_fewer_than_three_prompts(prompts, in_prompts, kept):
    """However low p is: a fact of two prompts has no neurons at all."""
    assert refine_fact(fact({1: in_prompts}, prompts), 0.01, 3) == [Neuron(0, 1)] * kept


def test_prompts_without_coarse_neurons_count_as_prompts():
    """The share is of all the prompts of the fact, not of those that have triplets."""
    rows = [prompt(1), prompt(1), prompt(1), [], []]
    assert count_coarse(rows, 0.2).prompts == 5
    assert refine_fact(count_coarse(rows, 0.2), 0.6, 3) == [Neuron(0, 1)]
    assert refine_fact(count_coarse(rows, 0.2), 0.7, 3) == []


def test_same_index_in_two_layers_is_two_neurons():
    """A neuron is (layer, index)."""
    rows = [prompt(1, layer=0), prompt(1, layer=1), prompt(1, layer=0), prompt(1, layer=0)]
    assert refine_fact(count_coarse(rows, 0.2), 0.75, 3) == [Neuron(0, 1)]


def test_neurons_come_first_seen_first():
    """The order of the output is that of the data, whatever the counts."""
    rows = [prompt(9, 2), prompt(2, 9, 5), prompt(5, 2, 9), prompt(2, 5)]
    assert at_least(count_coarse(rows, 0.2).counts, 3) == [Neuron(0, i) for i in (9, 2, 5)]


# --- p moves ---------------------------------------------------------------------------------


def uniform(counts: list[int], prompts: int, facts: int = 2) -> list[FactCounts]:
    """Facts that each have the neurons 0, 1, ... with these counts."""
    return [fact(dict(enumerate(counts)), prompts) for _ in range(facts)]


@pytest.mark.parametrize(
    "counts, shared, average, rounds",
    [
        ([14, 14], 0.70, 2, 1),  # the ends of the band are inside
        ([14] * 5, 0.70, 5, 1),
        ([13, 13], 0.65, 2, 2),  # down
        ([20, 12, 11], 0.60, 2, 3),
        ([15] * 3 + [14] * 3, 0.75, 3, 2),  # up
        ([16] * 2 + [15] * 2 + [14] * 2, 0.75, 4, 2),
        ([9, 9], 0.45, 2, 6),  # in band at the last of the six
        ([8, 8], 0.45, 0, 6),  # it would be at a seventh, p = 0.40
        ([20] * 6, 0.95, 6, 6),  # never: shared by all prompts
        ([20] * 5 + [19] * 5, 0.95, 5, 6),  # 0.7 + 5 * 0.05 is a hair above 19 / 20 in floats
    ],
)
def test_p_moves_until_the_average_lies_in_the_band(counts, shared, average, rounds):
    """p in steps of 0.05 from 0.7, of 20 prompts; what p, how many neurons, how many tries."""
    result = refine_relation(uniform(counts, 20))
    assert result.shared == pytest.approx(shared)
    assert (result.average, result.rounds) == (average, rounds)
    assert result.in_band == (2 <= average <= 5)
    assert [len(neurons) for neurons in result.facts] == [average] * 2


def test_p_going_to_and_fro_stops_after_the_rounds_and_tells_the_last():
    """Six neurons or none, by turns: what is returned belongs to the p that is returned."""
    facts = uniform([14] * 6, 20)
    for rounds in range(1, 8):
        result = refine_relation(facts, replace(THRESHOLDS, rounds=rounds))
        assert (result.rounds, result.in_band) == (rounds, False)
        assert result.average == (0 if rounds % 2 == 0 else 6)
        assert result.shared == pytest.approx(0.75 if rounds % 2 == 0 else 0.7)


def test_six_steps_up_keep_what_all_prompts_share():
    """0.7 + 6 * 0.05 in floats is above 1; taken literally no neuron would be left."""
    for prompts in (3, 9, 20):
        result = refine_relation(uniform([prompts] * 8, prompts), Thresholds(rounds=7))
        assert result.shared == 1.0
        assert [len(neurons) for neurons in result.facts] == [8, 8]


def test_one_round_means_p_stays():
    """rounds = 1 refines once with the p given; none at all is refused."""
    result = refine_relation(uniform([8, 8], 20), Thresholds(rounds=1, shared=0.3))
    assert (result.shared, result.average, result.rounds) == (0.3, 2, 1)
    with pytest.raises(ValueError, match="rounds is 0: expected 1 or more"):
        Thresholds(rounds=0)


def test_average_is_over_the_relation():
    """Facts of 1 and 3 neurons average 2: in the band, although the first alone is not."""
    result = refine_relation([fact({0: 20}, 20), fact(dict.fromkeys(range(3), 20), 20)])
    assert (result.average, result.rounds) == (2, 1)
    assert [len(neurons) for neurons in result.facts] == [1, 3]


def test_facts_without_prompts_keep_their_place_and_do_not_count():
    """Left out by --oov skip: empty at their index, and the average is over the others."""
    nothing = count_coarse([], 0.2)
    with_gaps = [nothing, *uniform([20, 20], 20, facts=1), nothing, *uniform([20, 20], 20, 1)]
    result = refine_relation(with_gaps)
    assert result.facts == [[], [Neuron(0, 0), Neuron(0, 1)]] * 2
    assert (result.average, result.rounds) == (2, 1)


@pytest.mark.parametrize("facts", [[], [count_coarse([], 0.2)] * 3])
def test_relation_without_any_prompt(facts):
    """No division by zero, no endless search: nothing, at the p of the start."""
    result = refine_relation(facts)
    assert result.facts == [[]] * len(facts)
    assert (result.relation, result.shared, result.average, result.rounds) == ([], 0.7, 0.0, 1)
    assert not result.in_band


def test_relation_neurons_are_those_of_a_tenth_of_the_facts():
    """Of 20 facts two suffice, one does not; in the order first seen."""
    counts = [{0: 20, 100 + place: 20} for place in range(20)]
    counts[3][7] = counts[9][7] = 20
    counts[0][8] = 20
    result = refine_relation([fact(c, 20) for c in counts])
    assert result.rounds == 1
    assert result.relation == [Neuron(0, 0), Neuron(0, 7)]


# --- neurons of too many facts ---------------------------------------------------------------


def test_rare_counts_over_all_facts():
    """Had by at most so many facts, inclusive; order and facts without neurons stay."""
    a, b, c = (Neuron(0, i) for i in range(3))
    facts = [[c, a, b], [a, b], [], [a]]
    assert rare(facts, 2) == [[c, b], [b], [], []]
    assert rare(facts, 3) == facts
    assert rare(facts, 1) == [[c], [], [], []]
    assert facts[0] == [c, a, b], "the facts are left as they were"


def test_max_share_drops_what_more_than_that_share_of_the_facts_have():
    """Of ten facts with prompts: a neuron of three stays at 0.3 and goes at 0.29; the fact without
    prompts does not count, and the relation's neurons are kept whatever max_share."""
    counts = [{0: 20, 10 + place: 20, 20 + place: 20} for place in range(10)]
    for place in range(3):
        counts[place][1] = 20
    facts = [*(fact(c, 20) for c in counts), fact({}, 0)]
    for share, has in ((1.0, {0, 1}), (0.3, {1}), (0.29, set())):
        result = refine_relation(facts, replace(THRESHOLDS, max_share=share))
        first = {neuron.index for neuron in result.facts[0]}
        assert first == has | {10, 20}
        assert result.facts[-1] == []
        assert {Neuron(0, 0), Neuron(0, 1)} <= set(result.relation)
        assert result.average == sum(map(len, result.facts)) / 10


def test_max_share_decides_where_p_goes():
    """The band is about what is left: two neurons that all facts have count for nothing."""
    facts = [fact({0: 20, 1: 20, 10 + place: 13, 20 + place: 13}, 20) for place in range(10)]
    assert refine_relation(facts).shared == pytest.approx(0.7)
    result = refine_relation(facts, replace(THRESHOLDS, max_share=0.1))
    assert result.shared == pytest.approx(0.65) and result.average == 2
    assert result.facts[4] == [Neuron(0, 14), Neuron(0, 24)]


@pytest.mark.parametrize("share", [0.0, 1.1, -0.5, float("nan")])
def test_max_share_is_a_share(share):
    with pytest.raises(ValueError, match="max_share is"):
        Thresholds(max_share=share)


# --- against the slow twin -------------------------------------------------------------------

PROMPTS = st.lists(
    st.dictionaries(
        st.tuples(st.integers(0, 1), st.integers(0, 4)),
        st.sampled_from([0.1, 0.2, 0.4, 0.5, 0.8, 1.0]) | st.floats(0.01, 1.0),
        max_size=8,
    ).map(lambda scores: [Triplet(*key, score) for key, score in scores.items()]),
    max_size=10,
)


@given(
    facts=st.lists(PROMPTS, max_size=5),
    t=st.sampled_from([0.2, 0.5]),
    p=st.sampled_from([0.7, 0.3, 0.95]),
    rounds=st.integers(1, 8),
    min_prompts=st.integers(1, 3),
    share=st.sampled_from([0.1, 0.5]),
)
def test_equals_the_slow_twin(facts, t, p, rounds, min_prompts, share):
    """Neurons and their order, p to the last bit, average and tries, for any triplets."""
    settings = Thresholds(t, p, rounds=rounds, min_prompts=min_prompts, relation_share=share)
    result = refine_relation([count_coarse(prompts, t) for prompts in facts], settings)
    neurons, used, average, tried = literal.refine_relation(facts, t, p, rounds, min_prompts)
    assert result.facts == neurons
    assert (result.shared, result.average, result.rounds) == (used, average, tried)
    asked = [n for n, prompts in zip(neurons, facts, strict=True) if prompts]
    assert result.relation == literal.relation_neurons(asked, share)
