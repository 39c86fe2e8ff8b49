"""Neurons off, doubled, in doses, and beside random ones.

Run: pytest tests/unit/test_library_effects.py
"""

import numpy as np
import pytest
import torch

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.experiments.modify_activation import Answered
from knowledge_neurons.library.scaling import DOSES
from knowledge_neurons.text.encoding import asking_after
from knowledge_neurons.types import Edit, Neuron
from tests.reference import asked, families
from tests.reference import interventions as literal
from tests.reference.asked import DECODER, FRANCE, TINY, demo, encoded

NEURONS = [Neuron(0, 3), Neuron(2, 7), Neuron(1, 36)]
TOLERANCE = 1e-5  # float32 sums of rows that share a batch with others


@pytest.fixture(scope="module")
def kn() -> KnowledgeNeurons:
    return asked.bert()


@pytest.fixture(scope="module")
def llama() -> KnowledgeNeurons:
    return asked.decoder()


def by_hand(kn: KnowledgeNeurons, factor: float) -> list[float]:
    """P(Paris) of each tiny prompt with the neurons times a factor, one at a time."""
    edit = Edit(tuple(NEURONS), factor)
    return [
        literal.probabilities(kn.model, prompt, edit)[prompt.answer].item()
        for prompt in encoded(kn)
    ]


def near(top: list[tuple[str, float]]) -> list:
    """Top answers, their probabilities to the last digits."""
    return [(word, pytest.approx(p, rel=1e-4)) for word, p in top]


# --- before and after ------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 2.0, -1.5, 1.0])
def test_scaling_is_the_literal_twins(kn, factor):
    """Probabilities and top answers of each prompt before and after; the change of the mean."""
    effect = kn.scale(TINY, "Paris", NEURONS, factor)
    before, after = by_hand(kn, 1.0), by_hand(kn, factor)
    assert effect.probabilities == (
        pytest.approx(before, rel=1e-4),
        pytest.approx(after, rel=1e-4),
    )
    assert effect.change == pytest.approx(sum(after) / sum(before) - 1, rel=1e-3, abs=1e-6)
    edit = Edit(tuple(NEURONS), factor)
    for prompt, said in zip(encoded(kn), effect.after, strict=True):
        best = literal.probabilities(kn.model, prompt, edit).topk(5)
        words = kn.tokenizer.tokens(best.indices.tolist())
        assert said.top == near(zip(words, best.values.tolist(), strict=True))
    after = kn.top(TINY, 5, NEURONS, factor)
    assert [said.top for said in effect.before] == [*map(near, kn.top(TINY))]
    assert [said.top for said in effect.after] == [*map(near, after)]


def test_log_odds_are_the_literal_twins(kn):
    """Of each prompt before and after; their mean change in every effect alike, and in the note."""
    effect = kn.suppress(TINY, "Paris", NEURONS)
    for factor, found in zip((1.0, 0.0), effect.log_odds, strict=True):
        edit = Edit(tuple(NEURONS), factor)
        expected = [literal.log_odds(kn.model, prompt, edit) for prompt in encoded(kn)]
        assert found == pytest.approx(expected, rel=1e-4)
    change = effect.log_odds_change
    assert change.value == pytest.approx(
        np.mean(np.subtract(effect.log_odds[1], effect.log_odds[0]))
    )
    assert change.interval.low <= change.value <= change.interval.high
    assert f"its log-odds change by {change.value:+.2f}" in str(effect) and "nats" in str(effect)
    dose = kn.dose(TINY, "Paris", NEURONS, [0, 1])
    assert dose.log_odds_changes.mean(1) == pytest.approx([change.value, 0.0], abs=TOLERANCE)
    control = kn.against_random(TINY, "Paris", NEURONS, draws=3)
    assert control.own_log_odds == pytest.approx(change.value, abs=TOLERANCE)
    assert len(control.random_log_odds) == 3 and "log-odds" in control.to_csv().splitlines()[0]


def test_suppressing_and_amplifying_are_zero_and_two(kn):
    for effect, factor in (
        (kn.suppress(TINY, "Paris", NEURONS), 0.0),
        (kn.amplify(TINY, "Paris", NEURONS), 2.0),
        (kn.amplify(TINY, "Paris", NEURONS, 3.0), 3.0),
    ):
        assert effect == kn.scale(TINY, "Paris", NEURONS, factor) and effect.factor == factor


def test_a_known_fact_loses_and_gains():
    found = demo().find(FRANCE, "Paris")
    effect = demo().suppress(FRANCE, "Paris", found)
    assert effect.change < -0.3 < 0.1 < demo().amplify(FRANCE, "Paris", found).change
    assert f"4 neurons times 0: P(Paris) changes by {effect.change:+.1%} [" in str(effect)
    assert "Paris 0.70" in str(effect) and "Paris 0.37" in str(effect) and FRANCE[2] in str(effect)


@pytest.mark.parametrize(("answer", "tokens"), [("Paris", 1), ("Parisian", 3)])
def test_every_effect_of_a_decoder_and_of_several_tokens(llama, answer, tokens):
    """Of the whole answer, the neurons scaled where each of its tokens is read."""
    neurons, prompts = (Neuron(0, 3), Neuron(2, 7)), []
    for text in DECODER:
        before = text.split("[MASK]")[0]
        ids = llama.tokenizer.encode(before.rstrip())
        whole = llama.tokenizer.encode(f"{before}{answer}")
        assert whole[: len(ids)] == ids and len(whole) - len(ids) == tokens
        prompts.append(asking_after(ids, whole[len(ids) :], 64))
    expected = {
        factor: [
            families.probability("llama", llama.model.model, one, Edit(neurons, factor))
            for one in prompts
        ]
        for factor in (1.0, 0.0, 2.0)
    }
    effect = llama.suppress(DECODER, answer, neurons)
    assert effect.probabilities[0] == pytest.approx(expected[1.0], rel=1e-4)
    assert effect.probabilities[1] == pytest.approx(expected[0.0], rel=1e-4)
    dose = llama.dose(DECODER, answer, neurons, [0, 2])
    assert dose.probabilities[1] == pytest.approx(expected[2.0], rel=1e-4)
    control = llama.against_random(DECODER, answer, neurons, 0.0, draws=3)
    assert control.own == pytest.approx(effect.change, abs=TOLERANCE)
    assert llama.find(DECODER, answer).answer == answer
    plain = llama.probabilities(DECODER, answer)
    with llama.updated(neurons, answer, "Rome"), llama.erased(neurons):
        assert llama.probabilities(DECODER, answer) != plain
    assert llama.probabilities(DECODER, answer) == plain


def test_several_tokens_of_a_masked_model(kn):
    """With as many masks as tokens, in every effect alike."""
    p = kn.probabilities(TINY, "Pariss")
    before = kn.suppress(TINY, "Pariss", NEURONS).probabilities[0]
    assert before == pytest.approx(p, rel=TOLERANCE)
    dose = kn.dose(TINY, "Pariss", NEURONS, [0.0, 1.0])
    assert dose.probabilities[1].tolist() == dose.before.tolist()
    assert dose.before == pytest.approx(np.array(p), rel=TOLERANCE)
    off = kn.probabilities(TINY, "Pariss", NEURONS, 0.0)
    assert dose.probabilities[0] == pytest.approx(np.array(off), rel=TOLERANCE)
    assert max(abs(one - other) / other for one, other in zip(off, p, strict=True)) > 1e-2


# --- doses -----------------------------------------------------------------------------------


def test_a_dose_is_scaling_by_each_factor(kn):
    dose = kn.dose(TINY, "Paris", NEURONS)
    assert tuple(dose.factors) == DOSES and {0, 1, 2} <= {*DOSES}
    for factor, row, change in zip(dose.factors, dose.probabilities, dose.changes, strict=True):
        effect = kn.scale(TINY, "Paris", NEURONS, factor)
        assert row.tolist() == pytest.approx(effect.probabilities[1], rel=1e-5)
        assert change == pytest.approx(effect.change, abs=1e-5)
    one = dose.factors.index(1)
    assert dose.changes[one] == 0.0 and tuple(dose.intervals[one]) == (0.0, 0.0)
    again = kn.dose(TINY, "Paris", NEURONS)
    assert again.intervals == dose.intervals and str(again) == str(dose)
    for interval, change in zip(dose.intervals, dose.changes, strict=True):
        assert interval.low <= change + 1e-9 and change <= interval.high + 1e-9


def test_intervals_are_of_prompts_drawn_anew(kn):
    """Of one prompt there is none; of several they lie within the prompts' own changes."""
    alone = kn.dose(TINY[:1], "Paris", NEURONS, [0])
    assert alone.intervals == [None] and "low" not in str(alone) and "nan" not in str(alone)
    assert "[" not in str(kn.suppress(TINY[:1], "Paris", NEURONS)).splitlines()[0]
    dose = kn.dose(TINY, "Paris", NEURONS, [0])
    own = dose.probabilities[0] / dose.before - 1
    assert own.min() - 1e-9 <= dose.intervals[0].low < dose.intervals[0].high <= own.max() + 1e-9


# --- random neurons --------------------------------------------------------------------------


def test_random_neurons_are_reproducible_and_of_the_same_layers(kn, monkeypatch):
    """Same seed, same sets; as many of each layer, none of the neurons' own, in every draw."""
    sets, answered = [], KnowledgeNeurons._answered

    def spied(self, encoded, edits=()):
        sets.append([edit.neurons for edit in edits])
        return answered(self, encoded, edits)

    monkeypatch.setattr(KnowledgeNeurons, "_answered", spied)
    neurons = [*NEURONS, Neuron(2, 8)]
    one, two = (kn.against_random(TINY, "Paris", neurons, draws=6, seed=4) for _ in range(2))
    assert one == two and sets[0] == sets[1]
    assert kn.against_random(TINY, "Paris", neurons, draws=6, seed=5).random != one.random
    own, *drawn = sets[0]
    assert own == tuple(neurons) and len(drawn) == 6 and len(set(drawn)) > 1
    for some in drawn:
        assert sorted(layer for layer, _ in some) == [0, 1, 2, 2]
        assert not set(some) & set(neurons) and len(set(some)) == 4


def test_changes_of_random_neurons_are_those_of_scaling_them(kn, monkeypatch):
    monkeypatch.setattr(
        "knowledge_neurons.library.scaling.random_like",
        lambda model, own, rng: [Neuron(0, rng.randrange(10, 12)) for _ in own[:1]],
    )
    found = kn.against_random(TINY, "Paris", NEURONS[:1], 0.0, draws=8)
    changes = [kn.suppress(TINY, "Paris", [(0, index)]).change for index in (10, 11)]
    assert all(min(abs(one - c) for c in changes) < TOLERANCE for one in found.random)
    own = kn.suppress(TINY, "Paris", NEURONS[:1]).change
    assert found.own == pytest.approx(own, abs=TOLERANCE)
    stronger = sum(abs(one) >= abs(found.own) for one in found.random)
    assert found.as_strong == (1 + stronger) / 9
    assert f"{stronger} of 8 random sets changed it as much" in str(found)


def test_at_factor_one_nothing_changes_and_nothing_is_special(kn):
    found = kn.against_random(TINY, "Paris", NEURONS, factor=1.0, draws=5)
    assert found.own == 0.0 and found.random == [0.0] * 5 and found.as_strong == 1.0
    assert kn.scale(TINY, "Paris", NEURONS, 1).change == 0.0


def test_knowledge_neurons_are_stronger_than_random_ones():
    found = demo().find(FRANCE, "Paris")
    control = demo().against_random(FRANCE, "Paris", found)
    assert control.as_strong == 1 / 21 and "0 of 20 random sets" in str(control)


def test_where_a_layer_has_too_few_others_it_is_said(kn):
    most = [(1, index) for index in range(30)]
    with pytest.raises(ValueError, match="30 neurons have only 7 others in their layers"):
        kn.against_random(TINY, "Paris", most)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf")])
def test_factors_that_are_no_numbers_are_refused(kn, factor):
    for ask in (
        lambda: kn.scale(TINY, "Paris", NEURONS, factor),
        lambda: kn.amplify(TINY, "Paris", NEURONS, factor),
        lambda: kn.dose(TINY, "Paris", NEURONS, [0, factor]),
        lambda: kn.against_random(TINY, "Paris", NEURONS, factor),
        lambda: kn.probabilities(TINY, "Paris", NEURONS, factor),
        lambda: kn.top(TINY, 5, NEURONS, factor),
    ):
        with pytest.raises(ValueError, match=f"the factor is {factor}: expected a number"):
            ask()


def test_too_little_to_work_with_is_refused(kn):
    for ask in (kn.suppress, kn.amplify, kn.dose, kn.against_random):
        with pytest.raises(ValueError, match="at least one neuron"):
            ask(TINY, "Paris", [])
    with pytest.raises(ValueError, match="at least one factor"):
        kn.dose(TINY, "Paris", NEURONS, [])
    with pytest.raises(ValueError, match="draws is 0: expected 1 or more"):
        kn.against_random(TINY, "Paris", NEURONS, draws=0)
    with pytest.raises(ValueError, match="k is 0: expected at least 1"):
        kn.top(TINY, 0)


def test_damaged_weights_are_refused_by_every_question():
    """NaN in one value slot: no probability is told, no score, no word."""
    kn = asked.bert()
    with torch.no_grad():
        kn.model.value_slots(2)[0, 7] = float("nan")
    for ask in (
        lambda: kn.probabilities(TINY, "Paris"),
        lambda: kn.top(TINY),
        lambda: kn.suppress(TINY, "Paris", NEURONS[:1]),
        lambda: kn.dose(TINY, "Paris", NEURONS[:1]),
        lambda: kn.against_random(TINY, "Paris", NEURONS[:1]),
        lambda: kn.scores(TINY, "Paris"),
        lambda: kn.scores(TINY, "Paris", dense=True),
        lambda: kn.find(TINY, "Paris"),
        lambda: kn.what_writes((2, 7)),
    ):
        with pytest.raises(ValueError, match=r"not finite|NaN"):
            ask()


def test_a_probability_of_zero_has_no_change(kn, monkeypatch):
    monkeypatch.setattr(KnowledgeNeurons, "_answered", lambda *_: Answered(*np.zeros((2, 3, 2))))
    for ask in (
        kn.suppress,
        lambda *a: kn.dose(*a, [0]),
        lambda *a: kn.against_random(*a, draws=1),
    ):
        with pytest.raises(ValueError, match="is 0 to the last digit"):
            ask(TINY, "Paris", NEURONS)
