"""Neurons of one's own prompts, and every warning that is said beside them.

Run: pytest tests/unit/test_library_find.py
"""

import pickle

import pytest

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.library import judging
from knowledge_neurons.library.found import Found
from knowledge_neurons.types import Neuron
from tests.reference import asked
from tests.reference import refine as literal
from tests.reference.asked import DECODER, FRANCE, TINY, demo, demo_facts

SAYS_NOT, FEW, SHARED = "the model does not say this", "too few prompts to refine", "shared by"
GERMANY = "The government of Germany sits in the capital [MASK]."


@pytest.fixture(scope="module")
def llama():
    return asked.decoder()


def kinds(found: Found) -> list[str]:
    return [warning.split(":")[0] for warning in found.warnings]


# --- the result ------------------------------------------------------------------------------


def test_a_known_fact_prints_without_a_warning_and_is_a_list():
    """Neurons with share and mean, P and top answers of each prompt; all that a list can do."""
    found = demo().find(FRANCE, "Paris")
    assert found.warnings == [] and found.refined
    assert type(found[0]) is Neuron and found[:2] == list(found)[:2] == [*found][:2]
    assert found == list(found) and Neuron(3, 7) in found and len({*found}) == len(found)
    neurons, said = (text.splitlines() for text in str(found).split("what the model says\n"))
    assert neurons[0].startswith(f"{len(found)} knowledge neurons of 'Paris', from 3 prompts")
    layer, index, share, mean = neurons[2].split()
    assert (int(layer), int(index)) == found[0] and share == "100%"
    assert float(mean) == pytest.approx(found.means[found[0]], rel=1e-2)
    assert said[1].split()[:3] == [f"{found.said[0].probability:.3g}", "Paris", "0.70,"]
    assert said[1].endswith(FRANCE[0]) and len(said) == 4
    assert repr(found) == str(found), "a shell shows the warnings too"
    again = pickle.loads(pickle.dumps(found))
    assert again == found and str(again) == str(found)


def test_shares_and_means_are_those_of_the_scores():
    """Of a fact in whose neurons prompts differ."""
    kn, (prompts, answer) = demo(), demo_facts(3, prompts=8)[2]
    found = kn.find(prompts, answer, shared=0.4)
    scores = kn.scores(prompts, answer)
    coarse = [literal.coarse_of_prompt(one.of_answer, 0.2) for one in scores]
    assert len(set(found.shares.values())) > 1
    for neuron in found:
        assert found.shares[neuron] == sum(neuron in own for own in coarse) / 8
        total = sum(s for one in scores for *at, s in one.of_answer if tuple(at) == neuron)
        assert found.means[neuron] == pytest.approx(total / 8)
    assert [one.probability for one in found.said] == pytest.approx(
        kn.probabilities(prompts, answer)
    )
    assert [one.top for one in found.said] == kn.top(prompts)


def test_refined_neurons_are_the_literal_ones():
    """Of facts with eight prompts, some of which are not shared by all."""
    kn = demo()
    for prompts, answer in demo_facts(4, prompts=8):
        triplets = [one.of_answer for one in kn.scores(prompts, answer)]
        assert kn.find(prompts, answer) == literal.refine_fact(triplets, 0.2, 0.7, 3)


# --- warnings, each provoked -----------------------------------------------------------------


def test_a_wrong_answer_is_warned_of():
    found = demo().find(FRANCE, "London")
    assert found and f"{SAYS_NOT}: 'London' is its first answer to 0 of 3 prompts" in str(found)
    assert SAYS_NOT not in kinds(demo().find([*FRANCE[:2], GERMANY], "Paris")), "2 of 3 are right"


@pytest.mark.parametrize(("written", "meant"), [("paris", "Paris"), ("Londno", "London")])
def test_another_spelling_that_the_model_does_say(written, meant):
    """In the demo's vocabulary, where letters make up any word: not an error, but a hint."""
    found = demo().find(FRANCE, written)
    assert f"did you mean '{meant}'?" in str(found)
    assert kinds(found)[:3] == [
        *("written otherwise it is likelier", SAYS_NOT, "an answer of several tokens")
    ]


@pytest.mark.parametrize("word", ["MASK", "CLS", "zzz"])
def test_no_hint_at_what_cannot_be_meant(word):
    """Special tokens are close to such words, and no answer."""
    assert "did you mean" not in str(demo().find(FRANCE, word))


@pytest.mark.parametrize(
    ("written", "meant"), [("paris", "Paris"), ("Parris", "Paris"), ("word1", "Word1")]
)
def test_an_unknown_word_is_an_error_with_a_hint(written, meant):
    """From every method that takes an answer."""
    kn = asked.bert()
    for ask in (kn.find, kn.scores, kn.probabilities, lambda p, a: kn.update([(0, 1)], "Paris", a)):
        with pytest.raises(ValueError, match=f"'{written}' is not in .*did you mean '{meant}'"):
            ask(TINY, written)
    with pytest.raises(ValueError, match="the answer '' is not in") as error:
        kn.find(TINY, "")
    assert "did you mean" not in str(error.value)


def test_too_few_prompts_are_called_coarse():
    """One prompt, and three that are the same one; fewer are enough where fewer were asked for."""
    one = demo().find(FRANCE[:1], "Paris")
    assert not one.refined and str(one).startswith(f"{len(one)} coarse neurons of 'Paris'")
    assert f"{FEW}: 1, at least 3 are needed" in str(one)
    same = demo().find(FRANCE[:1] * 3, "Paris")
    assert same == one and not same.refined and f"{FEW}: 1 different, at least 3" in str(same)
    assert kinds(demo().find(FRANCE[:2], "Paris", min_prompts=2)) == []


def test_neurons_of_layer_0_are_named(llama):
    """Those of a decoder, where it was asked for, and only there."""
    found = llama.find(DECODER, "Paris", layers=(0, 1), shared=0.6, min_prompts=2)
    lowest = [neuron for neuron in found if neuron.layer == 0]
    assert lowest
    warning = next(one for one in found.warnings if one.startswith("layer 0: "))
    assert all(f"({layer}, {index})" in warning for layer, index in lowest)
    assert "layer 0" not in kinds(llama.find(DECODER, "Paris"))


def test_unrelated_texts_are_scored_once_by_few_points(monkeypatch):
    """Four points a layer, whatever their indicator says, and for the first fact alone."""
    whole, points = adaptive.adaptive_gradients, []

    def spied(*arguments):
        found = whole(*arguments)
        points.extend(found.points.flatten().tolist())
        return found

    monkeypatch.setattr(adaptive, "adaptive_gradients", spied)
    kn = asked.bert()
    for more in (5, 0):
        points.clear()
        assert kn.find(TINY, "Paris")
        assert points.count(judging.FEWEST) == 3 * more, "layers of texts"


def test_neurons_of_unrelated_texts_are_named():
    """Exactly those that three of the five texts have by all points, asked for what the model
    says there."""
    kn = demo()
    every = []
    for text in judging.UNRELATED:
        ((token, _), *_), *_ = kn.top([text])
        (scores,) = kn.scores([text], token, tolerance=None)
        every += literal.coarse_of_prompt(scores.of_answer, 0.2)
    shared = {Neuron(*neuron) for neuron in every if every.count(neuron) >= 3}
    found = kn.find(FRANCE, "London")
    named = [neuron for neuron in found if neuron in shared]
    assert named and set(found) - shared
    warning = next(one for one in found.warnings if one.startswith(SHARED))
    told = ", ".join(f"({layer}, {index})" for layer, index in named)
    assert warning.startswith(f"shared by everything: {told}; 3 or more of 5 unrelated texts")


def test_no_neuron_cut_prompts_and_several_tokens_are_said():
    kn = asked.bert()
    assert kinds(kn.find(TINY, "Paris", coarse=1.0))[-1] == "no neuron is left"
    long = kn.find([*TINY, "of [MASK] " + "Word5 " * 40], "Paris")
    assert any("prompts were cut: 1 of 4" in warning for warning in long.warnings)
    several = kn.find(TINY, "Pariss")
    assert any("several tokens: 'Pariss' has 2" in warning for warning in several.warnings)


# --- negative prompts ------------------------------------------------------------------------


def test_neurons_of_negative_prompts_are_taken_out():
    """Those that are coarse there, asked for the same answer or another, and no others."""
    kn = demo()
    plain = kn.find(FRANCE, "Paris")
    for negative, answer in ((GERMANY, "Paris"), ((GERMANY, "Berlin"), "Berlin")):
        coarse = literal.coarse_of_prompt(kn.scores([GERMANY], answer)[0].of_answer, 0.2)
        found = kn.find(FRANCE, "Paris", negative=[negative])
        assert found == [neuron for neuron in plain if neuron not in coarse]
        assert found.taken_out == [neuron for neuron in plain if neuron in coarse]
    for_paris = kn.find(FRANCE, "Paris", negative=[GERMANY])
    assert for_paris.taken_out
    assert "taken out, for negative prompts have them too: (3, 348)" in str(for_paris)
    every = kn.find(FRANCE, "Paris", negative=FRANCE)
    assert every == [] and "no neuron is left: negative prompts have all" in str(every)
