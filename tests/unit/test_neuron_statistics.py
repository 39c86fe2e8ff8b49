"""Statistics of neurons by hand and against all pairs of facts.

pytest tests/unit/test_neuron_statistics.py
"""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knowledge_neurons.neurons.neuron_statistics import is_held_out, refine_scores, statistics
from knowledge_neurons.neurons.refine import BASELINE_THRESHOLDS, THRESHOLDS, Thresholds
from knowledge_neurons.types import Neuron, PromptScores, Triplet
from tests.reference import statistics as literal

A, B, C, D = Neuron(0, 1), Neuron(1, 1), Neuron(2, 5), Neuron(2, 6)
BY_HAND = {"P2": [[A, B, C], [A, C], []], "P1": [[A, D]]}


def test_by_hand():
    """Every figure of two relations of three facts and one."""
    result = statistics(BY_HAND, layers=4, pairs_per_fact=0, seed=0)
    assert result.facts == 4
    assert result.per_fact == 7 / 4
    assert result.shared_within == 2 / 3  # A and C between the first two of three pairs
    assert result.shared_across == 2 / 3  # A with the first, A with the second, none with the third
    assert result.shared_across_sampled is None
    assert result.layers == [3 / 7, 1 / 7, 3 / 7, 0]
    assert result.relations == {
        "P1": {"facts": 1, "per_fact": 2, "shared_within": None, "distinct_neurons": 2},
        "P2": {"facts": 3, "per_fact": 5 / 3, "shared_within": 2 / 3, "distinct_neurons": 3},
    }


FACTS = st.lists(
    st.lists(st.builds(Neuron, st.integers(0, 2), st.integers(0, 3)), unique=True, max_size=6),
    max_size=5,
)


@given(neurons=st.dictionaries(st.sampled_from(["P1", "P2", "P10", "P3"]), FACTS))
def test_equals_all_pairs_of_facts(neurons):
    """The sparse product gives what looking at every pair gives, empty facts and all."""
    assume(any(neurons.values()))
    result = statistics(neurons, layers=3, pairs_per_fact=0, seed=0)
    within, across = literal.overlaps(neurons)
    sizes = {name: [len(fact) for fact in facts] for name, facts in neurons.items()}
    every_size = [size for of_relation in sizes.values() for size in of_relation]
    assert result.facts == len(every_size)
    assert result.per_fact == pytest.approx(literal.mean(every_size))
    every_within = [shared for pairs in within.values() for shared in pairs]
    assert result.shared_within == pytest.approx(literal.mean(every_within))
    assert result.shared_across == pytest.approx(literal.mean(across))
    assert result.layers == pytest.approx(literal.layer_shares(neurons, 3))
    assert sum(result.layers) == pytest.approx(1.0 if any(every_size) else 0.0)
    for name, facts in neurons.items():
        row = result.relations[name]
        assert row["facts"] == len(facts)
        assert row["per_fact"] == pytest.approx(literal.mean(sizes[name]))
        assert row["shared_within"] == pytest.approx(literal.mean(within[name]))
        assert row["distinct_neurons"] == len({n for fact in facts for n in fact})


def test_sampled_form_is_seeded():
    """The same seed draws the same pairs, whatever the order of the relations; another others."""
    neurons = {
        name: [[Neuron(layer, i) for i in range(n)] for n in range(6)]
        for name, layer in (("P1", 0), ("P2", 0), ("P3", 1))
    }
    backwards = dict(reversed(neurons.items()))

    def sampled(which: dict, seed: int) -> float:
        return statistics(which, 2, 3, seed).shared_across_sampled

    assert sampled(neurons, 1) == sampled(neurons, 1) == sampled(backwards, 1)
    assert len({sampled(neurons, seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("pairs", [1, 7])
def test_sampled_form_where_all_pairs_across_are_alike(pairs):
    """Each fact of P1 shares two with each of P2 and inside a relation more: any draw says two."""
    neurons = {"P1": [[A, B, C]] * 4, "P2": [[A, B, D]] * 3}
    result = statistics(neurons, 3, pairs, seed=5)
    assert result.shared_across_sampled == result.shared_across == 2
    assert result.shared_within == 3


def test_sampled_form_nears_the_exact_one():
    """With relations of equal size each pair is drawn alike, so many draws give the mean.

    Overlaps lie in 0 .. 3, so 3996 draws have a standard error below 0.024: 0.1 is four of them.
    """
    facts = [[A], [A, B], [A, B, C], [D]]
    result = statistics(dict.fromkeys(("P1", "P2", "P3"), facts), 3, 333, seed=1)
    assert result.shared_across_sampled == pytest.approx(result.shared_across, abs=0.1)


def test_relations_without_facts_are_not_drawn():
    """A relation all of whose facts were left out: no partner, no error."""
    result = statistics({"P1": [[A]], "P2": [], "P3": [[A]]}, 1, 10, seed=0)
    assert result.shared_across_sampled == result.shared_across == 1
    assert result.relations["P2"]["per_fact"] is None


def test_single_relation_has_nothing_across():
    """None, which is not 0."""
    result = statistics({"P1": [[A, B], [A]]}, 2, 100, seed=0)
    assert result.shared_across is None and result.shared_across_sampled is None
    assert result.shared_within == 1


def test_facts_without_any_neuron():
    """They count as facts; layers have no shares; nothing is divided by zero."""
    result = statistics({"P1": [[], []], "P2": [[]]}, 3, 10, seed=0)
    assert (result.facts, result.per_fact) == (3, 0)
    assert result.shared_within == result.shared_across == result.shared_across_sampled == 0
    assert result.layers == [0, 0, 0]


@pytest.mark.parametrize("neurons", [{}, {"P1": []}])
def test_no_facts_at_all_is_an_error(neurons):
    """There is nothing to say."""
    with pytest.raises(ValueError, match="no facts"):
        statistics(neurons, 3, 10, seed=0)


def test_refine_scores_reads_each_kind_with_its_own_threshold():
    """Scores with t = 0.2, activations with t = 0.5; facts without prompts are named."""

    def prompt() -> PromptScores:
        return PromptScores(
            ["[CLS]", "[MASK]", "[SEP]"],
            "Rome",
            "Paris",
            "P19(place of birth)",
            of_answer=[Triplet(0, 1, 1.0), Triplet(0, 2, 0.3), Triplet(0, 3, 0.1)],
            baseline=[Triplet(1, 1, 1.0), Triplet(1, 2, 0.3), Triplet(1, 3, 0.5)],
        )

    result = refine_scores(iter([[prompt()] * 3, [], [prompt()] * 2]))
    assert result.neurons.facts == [[Neuron(0, 1), Neuron(0, 2)], [], []]
    assert result.baseline.facts == [[Neuron(1, 1), Neuron(1, 3)], [], []]
    assert result.without_prompts == [1]
    assert (THRESHOLDS.coarse, BASELINE_THRESHOLDS.coarse) == (0.2, 0.5)


# --- prompts that find no neurons ------------------------------------------------------------


def test_every_nth_prompt_is_held_out():
    """The fourth, the eighth, ...; none where none is asked for."""
    assert [place for place in range(10) if is_held_out(place, 4)] == [3, 7]
    assert [place for place in range(5) if is_held_out(place, 2)] == [1, 3]
    assert not any(is_held_out(place, None) for place in range(10))


def scored(*indices: int) -> PromptScores:
    """A prompt in which these neurons of layer 0 are coarse, of layer 1 by their activations."""
    return PromptScores(
        ["[CLS]", "[MASK]", "[SEP]"],
        "Rome",
        "Paris",
        "P19(place of birth)",
        of_answer=[Triplet(0, index, 1.0) for index in indices],
        baseline=[Triplet(1, index, 1.0) for index in indices],
    )


def test_held_out_prompts_find_no_neurons():
    """They do not count, neither for a neuron nor as prompts, of both kinds of neurons.

    At p = 0.6: neuron 1 is in 4 of 8 prompts and in 4 of the 6 that find, 2 in 6 of 8 and 4 of 6,
    3 in 5 of 8 and 3 of 6.
    """
    fact = [scored(1, 2, 3), scored(1, 2, 3), scored(1, 2, 3), scored(2, 3)]
    fact += [scored(1, 2), scored(9), scored(9), scored(2, 3)]
    once = Thresholds(shared=0.6, rounds=1)
    every = refine_scores([fact], once, once)
    assert every.neurons.facts == [[Neuron(0, 2), Neuron(0, 3)]]
    some = refine_scores([fact], once, once, held_out=4)
    assert some.neurons.facts == [[Neuron(0, 1), Neuron(0, 2)]]
    assert some.baseline.facts == [[Neuron(1, 1), Neuron(1, 2)]]
    assert some.without_prompts == []
