"""Edits asked backwards, by other names and as editors are judged: literal twins, numbers by hand.

Run: pytest tests/unit/test_edits_questioned.py
"""

from dataclasses import replace

import numpy as np
import pytest

from knowledge_neurons.attribution import quadrature
from knowledge_neurons.attribution.fact_scores import prepare
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.experiments import edit_symmetry, judge_editors
from knowledge_neurons.experiments.choose_facts import Place, Planned
from knowledge_neurons.experiments.edit_symmetry import Questions
from knowledge_neurons.experiments.judge_editors import AskedCase, Editing
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.results import editors, questioned, symmetry
from knowledge_neurons.results.edits import CHOSEN, Variant
from knowledge_neurons.results.metrics import harmonic_mean
from knowledge_neurons.results.symmetry import SymmetryRecord
from knowledge_neurons.text.counterfact import Case
from knowledge_neurons.types import CONTROL, Neuron
from tests.reference import toy
from tests.reference.questioned import MODELS, TOKENIZER, edited

WITHIN = 2e-5  # nats: BERT's weights are float32
LAMBDAS = (1.0, 8.0)
# The starts of prompts; old and new answers, of two tokens that differ in the second.
OWN, ALIAS, NEW_PAIR, OLD_PAIR = [(6, 7, 8), (10, 11)], [(6, 12, 8)], [(20, 8)], [(20, 7)]
OLD, NEW, HEAD = (17, 21), (17, 25), (13,)


@pytest.fixture(params=sorted(MODELS))
def twin(request):
    return MODELS[request.param]


def neurons_of(edits: dict[str, list[Neuron]], twin) -> dict:
    """Kind -> a model edited by hand; `nothing`: not edited."""
    made = {kind: edited(twin, own, OLD[1], NEW[1], LAMBDAS) for kind, own in edits.items()}
    return made | {"nothing": twin.made()}


def test_a_symmetry_record_is_what_a_model_edited_by_hand_says(twin):
    """Every log p before and after, each prompt alone; ranks; every bit is put back."""
    model = twin.made()
    before = fingerprint(model)

    def ask(starts, answer):
        return [twin.prompt(ids, answer) for ids in starts]

    planned = Planned(Place("P1", 3, 1), OLD, NEW, twin.neurons, (), ())
    names = {"Ann": ask(OWN, OLD), "Anna": ask(ALIAS, OLD)}
    questions = Questions(names, ask(NEW_PAIR, HEAD), ask(OLD_PAIR, HEAD))
    how = planned, questions, Variant(*LAMBDAS), 1
    records = list(edit_symmetry.edit_and_ask(model, TOKENIZER, *how))
    assert fingerprint(model) == before
    assert [record.kind for record in records] == [CHOSEN, CONTROL]
    assert records[0].neurons == list(twin.neurons)
    assert not {*records[1].neurons} & {*twin.neurons} and len(records[1].neurons) == 2
    by_hand = neurons_of({record.kind: record.neurons for record in records}, twin)
    for record in records:
        (anna,) = record.aliases
        assert (record.fact, record.asked, record.new) == (3, 1, "token17 token25")
        assert (record.own["name"], anna["name"]) == ("Ann", "Anna")
        for asked, starts, answer in (
            *((record.own[key], OWN, text) for key, text in (("old", OLD), ("new", NEW))),
            *((anna[key], ALIAS, text) for key, text in (("old", OLD), ("new", NEW))),
            (record.new_pair, NEW_PAIR, HEAD),
            (record.old_pair, OLD_PAIR, HEAD),
        ):
            for state, log_p in zip(("nothing", record.kind), asked["log_p"], strict=True):
                expected = [twin.log_p(by_hand[state], ids, answer) for ids in starts]
                assert log_p == pytest.approx(expected, abs=WITHIN)
        at = len(NEW_PAIR[0]) - twin.causal
        ids = NEW_PAIR[0] if twin.causal else (*NEW_PAIR[0], 4, 9, 3)
        order = twin.read(by_hand[record.kind], ids, at).argsort(descending=True).tolist()
        assert record.new_pair["rank"][1] == [order.index(HEAD[0]) + 1]


def asked_case(twin) -> AskedCase:
    """A case of one prompt to rewrite, one paraphrase, two neighbours."""
    case = Case(5, "P1", "Ann", "x", "y", "[MASK].", ("a [MASK].",), ("b [MASK].", "c [MASK]."))
    starts = [*OWN, *NEW_PAIR, *OLD_PAIR]
    return AskedCase(case, *([twin.prompt(ids, one) for ids in starts] for one in (OLD, NEW)))


def test_a_case_is_what_a_model_edited_by_hand_says(twin):
    """Both answers to all its prompts, with no edit, the neurons' and the random ones'."""
    model = twin.made()
    before = fingerprint(model)
    asked = asked_case(twin)
    record = judge_editors.judge_case(model, asked, twin.neurons, Editing(seed=3))
    assert fingerprint(model) == before
    drawn = record.neurons[CONTROL]
    assert record.neurons[CHOSEN] == list(twin.neurons)
    assert sorted(one.layer for one in drawn) == [1, 2] and not {*drawn} & {*twin.neurons}
    by_hand = neurons_of(record.neurons, twin)
    for kind, answered in record.answered.items():
        found = [*answered["rewrite"], *answered["paraphrases"], *answered["neighbours"]]
        assert [len(one) for one in answered.values()] == [1, 1, 2]
        for pair, ids in zip(found, [*OWN, *NEW_PAIR, *OLD_PAIR], strict=True):
            for name, answer in (("true", OLD), ("new", NEW)):
                expected = twin.log_p(by_hand[kind], ids, answer)
                assert pair[name] == pytest.approx(expected, abs=WITHIN)


def test_a_case_without_neurons_is_not_edited(twin):
    record = judge_editors.judge_case(twin.made(), asked_case(twin), [], Editing())
    assert record.neurons == {CHOSEN: [], CONTROL: []}
    assert record.answered[CHOSEN] == record.answered[CONTROL] == record.answered["nothing"]


def test_neurons_are_the_strongest_of_the_prompt_to_rewrite_alone():
    """By the paper's sum, layer by layer, of the true answer's first token; others unread."""
    twin = MODELS["decoder"]
    model, asked = twin.made(), asked_case(twin)
    rule = quadrature.rule("riemann-left", 20)
    scores = {
        Neuron(layer, index): score
        for layer in range(1, toy.SHAPE.layers)
        for index, score in enumerate(
            toy.integrated_gradients(
                *(model, asked.true[0], lambda logits: logits.softmax(-1)[OLD[0]], layer),
                *(rule.alphas, rule.weights),
            ).tolist()
        )
    }
    ranked = sorted(scores, key=scores.get, reverse=True)
    coarse = [one for one in ranked if scores[one] >= 0.2 * scores[ranked[0]]]
    assert len(coarse) > 2
    engine = prepare(model, TOKENIZER, Settings(tolerance=None, keep=0.2, baseline=False))
    other = replace(asked, true=[asked.true[0], *[twin.prompt((1, 2), OLD)] * 3])
    for most in (2, 1000):
        for case in (asked, other):
            (record,) = judge_editors.judge_cases(engine, [case], Editing(neurons=most))
            assert record.neurons[CHOSEN] == coarse[:most]


def test_cases_are_drawn_by_seed_in_their_order():
    cases = [replace(asked_case(MODELS["bert"]).case, case=number) for number in range(20)]
    drawn = judge_editors.draw_cases(cases, 5, 1)
    numbers = [case.case for case in drawn]
    assert numbers == sorted(set(numbers)) and len(numbers) == 5
    assert drawn == judge_editors.draw_cases(cases, 5, 1) != judge_editors.draw_cases(cases, 5, 2)
    assert judge_editors.draw_cases(cases, None, 1) == judge_editors.draw_cases(cases, 20, 1)


# --- numbers by hand -------------------------------------------------------------------------


def test_harmonic_mean():
    assert harmonic_mean(np.array([1.0, 0.5, 0.25])) == pytest.approx(3 / 7)
    assert harmonic_mean(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist() == [1.0, 0.0]


def pair(new: float, true: float) -> dict[str, float]:
    """log p of both answers, of their P."""
    return {"new": float(np.log(new)), "true": float(np.log(true))}


def case_record(number: int, rewrite: dict, paraphrases: list, neighbours: list):
    answered = {"rewrite": [rewrite], "paraphrases": paraphrases, "neighbours": neighbours}
    names = dict.fromkeys(editors.JUDGED, answered)
    neurons = {CHOSEN: [Neuron(0, 1)] * (1 + number), CONTROL: [Neuron(0, 2)]}
    return editors.CaseRecord(number, "P1", "Ann", "x", "y", neurons, names)


def test_scores_of_editors_by_hand():
    """Efficacy 1 of 2, for a tie is none; paraphrases a case's mean first; neighbours reversed."""
    records = [
        case_record(0, pair(0.4, 0.1), [pair(0.3, 0.1), pair(0.1, 0.3)], [pair(0.1, 0.2)]),
        case_record(1, pair(0.2, 0.2), [pair(0.5, 0.1)], [pair(0.2, 0.1), pair(0.3, 0.3)]),
    ]
    nothing, own, drawn = editors.judge(records, seed=1)
    assert (nothing.neurons, own.neurons, drawn.neurons) == (0, 1.5, 1)
    scores = own.scores
    assert [scores[name].share.value for name in editors.SCORES] == [0.5, 0.75, 0.5]
    by = [scores[name].by.value for name in editors.SCORES]
    assert by == pytest.approx([(0.3 + 0) / 2, (0 + 0.4) / 2, (0.1 - 0.05) / 2])
    assert own.overall.value == pytest.approx(3 / (2 + 4 / 3 + 2))
    assert own.overall.interval.low == 0 and own.overall.interval.high >= own.overall.value


def test_a_score_without_prompts_is_left_out_and_so_is_its_case_from_s():
    whole = case_record(0, pair(0.4, 0.1), [pair(0.3, 0.1)], [pair(0.1, 0.2)])
    bare = case_record(1, pair(0.1, 0.4), [], [pair(0.1, 0.2)])
    (_, own, _) = editors.judge([whole, bare], seed=1)
    assert {name: one.cases for name, one in own.scores.items()} == {
        "efficacy": 2, "paraphrase": 1, "neighbourhood": 2,
    }  # fmt: skip
    assert own.overall.value == 1 and own.overall.interval is None
    (_, own, _) = editors.judge([bare, replace(bare, case=2)], seed=1)
    assert "paraphrase" not in own.scores and own.overall is None
    table = questioned.editors_table(
        editors.Editors(source="x", left_out={}, without_neurons=0, judged=[own])
    )
    assert table["S, harmonic mean"] == ["-"] and table["paraphrase score"] == ["-"]


def asked(before: list[int], after: list[int], log_p=(-2.0, -1.0)) -> symmetry.Asked:
    """Ranks of some prompts, log p the same in all."""
    return symmetry.Asked(
        log_p=[[log_p[0]] * len(before), [log_p[1]] * len(after)], rank=[before, after]
    )


def edit_record(kind: str, **fields) -> SymmetryRecord:
    own = symmetry.Named(name="France", old=asked([1, 1], [2, 2]), new=asked([5, 5], [1, 3]))
    other = symmetry.Named(name="Gaul", old=asked([1, 4], [2, 4]), new=asked([5, 5], [2, 1]))
    given = {"own": own, "aliases": [other], "new_pair": asked([9, 3], [1, 2]),
             "old_pair": asked([1, 2], [7, 1])} | fields  # fmt: skip
    neurons = [Neuron(0, 1), Neuron(0, 2)]
    return SymmetryRecord("P36", 0, 0, "Paris", "Rome", kind, neurons, **given)


def test_reach_by_hand():
    """Old pair and other names: only the prompts that were answered right before the edit."""
    unknown = asked([2, 2], [1, 1])
    records = [
        edit_record(CHOSEN),
        edit_record(CHOSEN, old_pair=unknown, aliases=[]),
        edit_record(CONTROL),
    ]
    own, drawn = symmetry.reach_of(records, seed=1)
    assert (own.kind, own.edits, own.neurons, own.success.value) == (CHOSEN, 2, 2, 1)
    new, old, names = own.new_pair, own.old_pair, own.names
    assert (new.edits, new.wordings, new.rank_before, new.rank_after) == (2, 4, 6, 1.5)
    assert (new.first_before.value, new.first_after.value) == (0, 0.5)
    assert (new.p_before.value, new.p_after.value) == pytest.approx((np.exp(-2), np.exp(-1)))
    assert new.change.value == pytest.approx(1)
    assert (old.edits, old.wordings, old.first_before.value, old.first_after.value) == (1, 1, 1, 0)
    assert (names.edits, names.prompts) == (1, 1)
    assert (names.own.value, names.other.value) == (0.5, 0)
    assert drawn.edits == 1
    table = questioned.reach_table([own, drawn])
    assert table["old pair, backwards, where known"][0] == "1 of 2 edits, 1 prompts"


def test_what_was_not_asked_is_said_to_be_so():
    bare = edit_record(CHOSEN, new_pair=None, old_pair=None, aliases=[])
    found = symmetry.reach_of([bare, replace(bare, kind=CONTROL)], seed=1)
    assert (found[0].new_pair, found[0].old_pair, found[0].names) == (None, None, None)
    table = questioned.reach_table(found)
    assert table["new pair, backwards"] == ["not asked", "not asked"]
    assert table["other names, where known"] == ["none", "none"]
    assert {len(cells) for cells in table.values()} == {2}
