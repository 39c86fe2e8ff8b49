"""Do prompts name the same neurons; other thresholds.  Run: pytest tests/unit/test_agreement.py"""

import random
from itertools import combinations

import numpy as np
import pytest

from knowledge_neurons.experiments import stability
from knowledge_neurons.neurons import agreement
from knowledge_neurons.neurons.agreement import coarse_of, jaccard, overlaps
from knowledge_neurons.neurons.refine import coarse
from knowledge_neurons.results.changes import SUPPRESS
from knowledge_neurons.results.localisation import LEAST, localisation_of
from knowledge_neurons.results.stability import cells_of, mean_halves, overlap_of
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt, Triplet
from tests.reference import interventions as literal
from tests.reference.tiny import tiny_bert


def scored(rng: random.Random, neurons: int = 6) -> list[Triplet]:
    """A prompt: some neurons of a few, with scores up to 1."""
    chosen = rng.sample([(layer, index) for layer in (0, 2) for index in range(6)], neurons)
    return [Triplet(*neuron, rng.random()) for neuron in sorted(chosen)]


def relation(seed: int, facts: int = 5, prompts: int = 4) -> list[list[list[Triplet]]]:
    rng = random.Random(seed)
    return [[scored(rng) for _ in range(prompts)] for _ in range(facts)]


def test_jaccard_by_hand():
    a, b, empty = (np.array(one, np.int64) for one in ([1, 3, 5], [3, 5, 7, 9], []))
    assert jaccard(a, b) == pytest.approx(2 / 5) and jaccard(a, a) == 1 and jaccard(a, empty) == 0
    assert jaccard(empty, empty) is None


def test_overlaps_are_those_of_sets():
    """Own prompts in pairs; a fact of two with another answer is the other; two relations, one
    fact each, so that nothing is left to chance."""
    facts, further = relation(1, facts=2), relation(2, facts=1)
    data = {"P1": facts, "P2": further}
    named = {name: [coarse_of(one, 0.3) for one in own] for name, own in data.items()}
    found = overlaps(named, {"P1": ["a", "b"], "P2": ["c"]}, seed=1)
    sets = [[set(coarse(prompt, 0.3)) for prompt in one] for one in (*facts, *further)]

    def mean(pairs) -> float:
        return pytest.approx(np.mean([len(a & b) / len(a | b) for a, b in pairs]))

    first, second, third = sets
    own = found["P1"][0]
    assert own.wordings == mean(combinations(first, 2))
    assert own.same_wording == mean(zip(first, second, strict=True))
    assert own.other_wording == mean(
        (first[i], second[j]) for i in range(4) for j in range(4) if i != j
    )
    assert own.elsewhere == mean((a, b) for a in first for b in third)
    assert found["P2"][0].same_wording is None, "no other fact"
    assert found["P2"][0].elsewhere is not None


def test_bags_of_other_lengths_have_no_same_wording():
    """A place in the bag then says nothing; facts with the same answer are never compared."""
    facts = relation(3, facts=2)
    named = {"P1": [coarse_of(facts[0], 0.3), coarse_of(facts[1][:3], 0.3)]}
    found = overlaps(named, {"P1": ["a", "b"]}, seed=1)["P1"][0]
    assert found.same_wording is None and found.other_wording is not None
    same = overlaps(named, {"P1": ["a", "a"]}, seed=1)["P1"][0]
    assert same.other_wording is None and same.wordings == found.wordings


def test_localisation_by_hand():
    """Facts that were left out count nowhere; the mean is over relations."""
    apart = [[[Triplet(0, i, 1.0)] for i in range(3)], [[Triplet(1, 1, 1.0)] * 1] * 3, []]
    alike = [[[Triplet(2, 2, 1.0)]] * 3]
    data = {"P1": apart, "P2": alike}
    named = {name: [coarse_of(one, 0.2) for one in own] for name, own in data.items()}
    found = overlaps(named, {"P1": ["a", "b", "c"], "P2": ["d"]}, seed=1)
    refined = {"P1": [[], [Neuron(1, 1)], []], "P2": [[Neuron(2, 2)]]}
    told = localisation_of(found, refined, seed=1)
    assert told.by_fact == {"P1": [0.0, 1.0, None], "P2": [1.0]}
    first = told.relations["P1"]
    assert first.facts == 2 and first.overlaps["wordings"].value == 0.5
    assert first.disagree.value == 0.5 and first.without.value == 0.5 and 0 < LEAST < 1
    assert told.overall.overlaps["wordings"].value == pytest.approx((0.5 + 1) / 2)
    assert told.overall.disagree.value == pytest.approx((0.5 + 0) / 2)


# --- thresholds ------------------------------------------------------------------------------


def test_refined_at_every_pair_as_a_loop_would():
    facts, cells = relation(4), [(0.2, 0.5), (0.2, 0.75), (0.6, 0.5)]
    found = agreement.refined_at(facts, cells, min_prompts=2)
    for t, p in cells:
        for place, prompts in enumerate(facts):
            expected = {
                Neuron(layer, index)
                for layer in (0, 2)
                for index in range(6)
                if sum(Neuron(layer, index) in coarse(one, t) for one in prompts) >= max(4 * p, 2)
            }
            assert set(found[t, p][place]) == expected
    assert any(found[0.2, 0.5]) and found[0.2, 0.5] != found[0.2, 0.75]


def test_halves_of_equal_prompts_agree_and_of_different_ones_do_not():
    equal = [[scored(random.Random(1))] * 4]
    apart = [[[Triplet(0, i, 1.0)] for i in range(4)]]
    assert agreement.halves(equal, 0.2, 0.7, 1, "P1") == [1.0]
    assert agreement.halves(apart, 0.2, 0.7, 1, "P1") == [None], "neither half has neurons"
    assert agreement.halves(apart, 0.2, 0.5, 1, "P1") == [0.0]
    assert agreement.halves([[], apart[0][:1]], 0.2, 0.5, 1, "P1") == [None, None]
    assert mean_halves([(1.0, None), (0.0, 0.5), (None, None)], 1).value == 0.625
    assert mean_halves([(None,)], 1) is None


PROMPTS = [Prompt((2, 10, 4, 11, 3), 2, 7), Prompt((2, 12, 13, 4, 3), 3, 7)]


def test_suppressed_is_what_the_twin_gives():
    """Equal sets are asked once; an empty one changes nothing; a fact without prompts has none."""
    model = tiny_bert()
    some, other = [Neuron(0, 1), Neuron(2, 5)], [Neuron(1, 3)]
    facts = [Fact("P1", "x", index, "y", ()) for index in range(2)]
    sets = [[some, [], list(reversed(some)), other]] * 2
    first, second = stability.suppressed(model, facts, [PROMPTS, []], sets)
    assert second.suppressed == [] and second.original == 0

    def total(neurons) -> float:
        edit = Edit(tuple(neurons), SUPPRESS)
        return sum(literal.probabilities(model, p, edit)[p.answer].item() for p in PROMPTS)

    assert first.original == pytest.approx(total([]), abs=1e-6)
    expected = [total(some), total([]), total(some), total(other)]
    assert first.suppressed == pytest.approx(expected, abs=1e-6)
    assert first.suppressed[0] == first.suppressed[2] != first.suppressed[3]


def test_cells_by_hand():
    """Facts without prompts count nowhere; overlap is with stage 2's own."""
    own = {"P1": [[Neuron(0, 1), Neuron(0, 2)], [Neuron(0, 1)], []]}
    cells = {"P1": {(0.1, 0.5): [own["P1"][0][:1], own["P1"][1], []], (0.2, 0.5): [[], [], []]}}
    asked = {"P1": [True, True, False]}
    record = stability.StabilityRecord
    records = {"P1": [record("P1", 0, 1.0, [0.5, 1.0]), record("P1", 1, 1.0, [0.7, 1.0])]}
    first, second = cells_of(cells, own, asked, records, seed=1)
    assert (first.t, first.p, first.neurons, first.without, first.shared) == (0.1, 0.5, 1, 0, 1)
    assert first.overlap.value == pytest.approx((0.5 + 1) / 2)
    assert first.change.value == pytest.approx(-0.4)
    assert (second.neurons, second.without, second.overlap.value) == (0, 1, 0)
    assert overlap_of({"P1": [[]]}, {"P1": [[]]}, 1) is None
