"""Many facts at once: as one by one, in bounded memory, with one calibration.

Run: pytest tests/unit/test_library_many.py
"""

import pytest

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.library import scoring
from knowledge_neurons.types import Fact, Neuron
from tests.reference import asked
from tests.reference.asked import FRANCE, TINY, demo, demo_facts

SAYS_NOT, SHARED = "the model does not say this", "shared by"
GERMANY = "The government of Germany sits in the capital [MASK]."


def test_many_facts_score_a_negative_prompt_once(monkeypatch):
    """Once for each answer that it is asked for."""
    texts, score = [], fact_scores.score_facts

    def spied(engine, facts, encoded):
        texts.extend((fact.prompts[0], fact.answer) for fact in facts)
        return score(engine, facts, encoded)

    monkeypatch.setattr(scoring.fact_scores, "score_facts", spied)
    facts = [(FRANCE, "Paris"), (FRANCE[:2], "Paris"), ([GERMANY], "Berlin")]
    many = demo().find_many(facts, negative=[(GERMANY, "Rome"), GERMANY], progress=False)
    against = [one for one in texts if one[0] == GERMANY]
    assert sorted(against) == sorted([(GERMANY, a) for a in ("Rome", "Paris", "Berlin", "Berlin")])
    assert many[0] == demo().find(FRANCE, "Paris", negative=[(GERMANY, "Rome"), GERMANY])


def test_many_facts_are_found_as_one_by_one(monkeypatch):
    """Before a calibration, in the call that calibrates, and after it: the same neurons, scores
    within twice the tolerance of each other; a call of few prompts does not calibrate."""
    facts = demo_facts(22)  # 66 prompts
    kn = asked.KnowledgeNeurons.from_pretrained(asked.ROOT / "models" / "demo-bert", device="cpu")
    single = [kn.find(*fact) for fact in facts[:6]]
    assert len(kn.find_many(facts[:6], progress=False)) == 6 and not kn._points
    assert single[0].scores.points >= 8
    many = kn.find_many(facts, progress=False)
    assert len(kn._points) == 1 and many[0].scores.points < 6
    for fact, before, now in zip(facts, single, many, strict=False):
        after = kn.find(*fact)
        assert before == now == after and before.means.keys() == now.means.keys()
        for neuron in before:
            largest = max(before.means.values())
            assert now.means[neuron] == pytest.approx(before.means[neuron], abs=2e-3 * largest)
    assert kn.scores(*facts[0]).points < 6, "scores take what find_many has learnt"


def test_many_facts_by_name_print_and_share():
    """Names, what is said of each, warnings by kind, neurons that facts have in common."""
    other, fact = (FRANCE, "London"), Fact("P36", "capital", 0, "Paris", tuple(FRANCE))
    facts = {"France": (FRANCE, "Paris"), "same": fact, "wrong": other, "again": other}
    many = demo().find_many(facts, progress=False)
    assert many.names == ["France", "same", "wrong", "again"]
    assert many[0] == many[1] and many.sharing.tolist()[0][1] == len(many[0])
    assert many.sharing.diagonal().tolist() == [len(one) for one in many]
    assert many.facts_of[Neuron(3, 7)] == 2 and max(many.facts_of.values()) == 4
    text = str(many)
    assert f"{SAYS_NOT}: 2 facts (wrong, again)" in text and "0 of 3" in text
    assert str(demo().find_many([], progress=False)).startswith("0 facts")


def test_neurons_of_most_of_many_facts_are_shared_by_everything():
    """Of five answers and more the facts themselves tell; no other text is asked."""
    answers = ("London", "Rome", "Berlin", "Vienna", "Madrid", "Paris")
    many = demo().find_many([(FRANCE, answer) for answer in answers], progress=False)
    most = [neuron for neuron, count in many.facts_of.items() if count > 3]
    assert most and 3 in many.facts_of.values(), "half of them are not most"
    for one in many:
        told = [warning for warning in one.warnings if warning.startswith(SHARED)]
        mine = [neuron for neuron in one if neuron in most]
        assert len(told) == bool(mine)
        assert all(f"({layer}, {index})" in told[0] for layer, index in mine)


def test_progress_is_shown_where_it_is_asked_for(capsys):
    for progress in (True, False):
        demo().find_many([(FRANCE, "Paris")], progress=progress)
        assert ("3/3" in capsys.readouterr().err) == progress


def test_a_fact_that_cannot_be_asked_is_named_before_any_work(monkeypatch):
    monkeypatch.setattr(scoring.fact_scores, "score_facts", None)  # not called
    good = (FRANCE, "Paris")
    for bad, part in (
        (("no list [MASK]", "Paris"), "a list of prompts"),
        ((["no mask"], "Paris"), "expected one .MASK. in 'no mask'"),
        ("Paris", "prompts and their answer, a pair"),
        ((FRANCE,), "prompts and their answer, a pair"),
    ):
        with pytest.raises(ValueError, match=f"^fact 'bad': .*{part}"):
            demo().find_many({"good": good, "bad": bad}, progress=False)
    with pytest.raises(ValueError, match="a negative prompt, or such a prompt and its answer"):
        demo().find(*good, negative=[("one", "two", "three")])
    with pytest.raises(ValueError, match="negative prompts in a list"):
        demo().find(*good, negative=GERMANY)


def test_memory_of_many_facts_is_bounded(monkeypatch):
    """By percentile every score is asked for: of a few facts at once, and of each prompt only what
    is coarse or from 0.1 of its largest stays."""
    held, score = [], fact_scores.score_facts
    monkeypatch.setattr(fact_scores, "score_facts", lambda *a: held.append(len(a[1])) or score(*a))
    many = demo().find_many(demo_facts(8), by="percentile", coarse=99.9, progress=False)
    assert held[:2] == [4, 4]
    for found in many:
        assert found.scores.dense is None
        for prompt in found.scores:
            largest = max(score for *_, score in prompt.of_answer)
            assert all(score >= 0.0999 * largest for *_, score in prompt.of_answer)
    low = demo().find(FRANCE, "Paris", by="percentile", coarse=95)
    assert {len(prompt.of_answer) for prompt in low.scores} == {103}, "5 % of 2,048 scores"


def test_what_was_learnt_inside_an_edit_is_forgotten(monkeypatch):
    """Shared neurons of the edited model are not those of the model, nor is its calibration."""
    monkeypatch.setattr(scoring.quadrature_audit, "PAYS", 18)
    kn, fresh = asked.bert(), asked.bert()
    with kn.erased([(1, 12)]):
        kn.find([TINY[0]] * 3, "Paris", coarse=0.1)
        learnt = kn.scores(TINY * 6, "Paris").points
    usual = kn.scores(TINY, "Paris").points
    assert usual == fresh.scores(TINY, "Paris").points != learnt
    again = kn.find([TINY[0]] * 3, "Paris", coarse=0.1)
    assert any(warning.startswith(SHARED) for warning in again.warnings)
    assert again.warnings == fresh.find([TINY[0]] * 3, "Paris", coarse=0.1).warnings
