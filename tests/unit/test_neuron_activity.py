"""When neurons fire and what each does alone, against the literal twins, neuron by neuron.

Run: pytest tests/unit/test_neuron_activity.py
"""

import numpy as np
import pytest

from knowledge_neurons.experiments import neuron_activity
from knowledge_neurons.experiments.neuron_activity import PROMPT, Text, activity_of, read_texts
from knowledge_neurons.experiments.neurons_alone import switched_off
from knowledge_neurons.neurons import owners
from knowledge_neurons.neurons.owners import PromptOf
from knowledge_neurons.results.activations import BOTH, HEAD
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_activity import read_activity, write_activity
from knowledge_neurons.text.encoding import encode_open
from knowledge_neurons.types import Edit, Neuron
from tests.reference import asked
from tests.reference import interventions as literal

WITHIN = 1e-5  # of float32
A, B, C = Neuron(0, 3), Neuron(1, 7), Neuron(2, 36)


@pytest.mark.parametrize("model", [asked.bert, asked.decoder])
def test_texts_are_read_as_one_by_one(model):
    """All neurons on all texts at once: those of the library, a text and a neuron at a time."""
    kn = model()
    neurons = [Neuron(0, 3), Neuron(1, 7), Neuron(1, 9)]
    texts = asked.TINY if model is asked.bert else asked.DECODER
    prompts, told = encode_open(texts, kn.tokenizer, 64), []
    read = read_texts(kn.model, prompts, neurons, told.append)
    assert read.shape == (3, 3) and read.dtype == np.float32 and sum(told) == 3
    for row, prompt in zip(read, prompts, strict=True):
        expected = neuron_activity.neuron_activations(kn.model, [prompt], [neurons])
        assert row.tolist() == pytest.approx(expected[0], rel=1e-4, abs=1e-6)


def test_own_prompts_are_read_once_for_all_that_ask(monkeypatch):
    kn = asked.bert()
    prompts = dict(zip([PromptOf("P1", 0, i) for i in range(3)], asked.encoded(kn), strict=True))
    places = list(prompts)
    own = {A: places, B: places[1:2], C: []}
    monkeypatch.setattr(neuron_activity, "TOGETHER", 2)
    told: list[int] = []
    found = neuron_activity.read_own(kn.model, own, prompts, told.append)
    assert told == [2, 1]
    read = read_texts(kn.model, list(prompts.values()), [A, B])
    assert found[A] == pytest.approx(read[:, 0].tolist(), rel=1e-4)
    assert found[B] == pytest.approx([read[1, 1]], rel=1e-4) and found[C] == []


def test_a_fact_has_its_prompts_evenly_from_all():
    """Owners by layer and index, relations by name; eight prompts of all facts together."""
    found = owners.owners_of({"P9": [[B, A], []], "P1": [[], [A]]})
    assert list(found.items()) == [(A, [("P1", 1), ("P9", 0)]), (B, [("P9", 0)])]
    counts = {("P1", 1): 9, ("P9", 0): 3}
    assert owners.prompts_of(found[B], counts) == [PromptOf("P9", 0, i) for i in range(3)]
    eight = owners.prompts_of(found[A], counts)
    assert len(set(eight)) == owners.PROMPTS == 8
    assert eight[0] == PromptOf("P1", 1, 0) and eight[-1] == PromptOf("P9", 0, 1)
    assert owners.prompts_of([], counts) == []
    many = [("P1", i) for i in range(20)]
    one_each = owners.prompts_of(many, dict.fromkeys(many, 3))
    assert [one.fact for one in one_each] == [0, 2, 5, 7, 10, 12, 15, 17]
    assert [one.prompt for one in one_each] == [one.fact % 3 for one in one_each]


# --- alone -----------------------------------------------------------------------------------


def test_each_is_switched_off_alone_and_another_of_its_layer():
    """P and log-odds are those of the literal twin; the other is none that its facts have."""
    kn = asked.bert()
    prompts = dict(zip([PromptOf("P1", 0, i) for i in range(3)], asked.encoded(kn), strict=True))
    places, width = list(prompts), kn.model.shape.neurons
    taken = [Neuron(1, i) for i in range(width) if i not in (7, 9, 11)]
    found = switched_off(kn.model, [A, B], [places, places[:2]], prompts, [[], taken], 42)
    assert [one.neuron for one in found] == [A, B] and found[0].asked == places
    assert set(found[1].random) <= {9, 11} and A.index not in found[0].random
    for one in found:
        for place, other, p, odds in zip(
            one.asked, one.random, one.probabilities, one.log_odds, strict=True
        ):
            prompt, layer = prompts[place], one.neuron.layer
            edits = [Edit(some, 0.0) for some in ((), (one.neuron,), (Neuron(layer, other),))]
            expected = [literal.probabilities(kn.model, prompt, edit) for edit in edits]
            assert p == pytest.approx([float(x[prompt.answer]) for x in expected], abs=WITHIN)
            nats = [literal.log_odds(kn.model, prompt, edit) for edit in edits]
            assert odds == pytest.approx(nats, abs=1e-4)
    (again,) = switched_off(kn.model, [B], [places[:2]], prompts, [taken], 42)
    assert (again.asked, again.random) == (found[1].asked, found[1].random)
    for row, other in zip(again.probabilities, found[1].probabilities, strict=True):
        assert row == pytest.approx(other, abs=WITHIN)  # whatever stands beside it


def test_where_a_layer_has_no_other_any_is_drawn():
    kn = asked.bert()
    place = PromptOf("P1", 0, 0)
    every = [Neuron(1, i) for i in range(kn.model.shape.neurons)]
    (found,) = switched_off(kn.model, [B], [[place]], {place: asked.encoded(kn)[0]}, [every], 42)
    assert found.random != [B.index] and len(found.random) == 1
    (none,) = switched_off(kn.model, [B], [[]], {}, [every], 42)
    assert none.asked == none.random == none.probabilities == []


# --- on texts --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> tuple[list[Text], np.ndarray, dict, dict]:
    """Sixty texts of two relations, and what three neurons say to them."""
    (prompt, *_) = asked.encoded(asked.bert())
    kinds = (PROMPT, PROMPT, BOTH, HEAD)
    texts = [
        Text(kinds[i % 4], ("P1", "P2")[i % 3 == 0], i % 5, f"text {i} [MASK]", prompt)
        for i in range(60)
    ]
    read = np.random.default_rng(7).normal(size=(60, 3)).astype(np.float32)
    read[:, 2] = read[:, 0] + 0.1 * read[:, 1]
    having = {A: [("P1", 0), ("P1", 1)], B: [("P1", 2), ("P2", 3)], C: [("P2", 0)]}
    return texts, read, having, {A: [0.5, -9.0], B: [1.0], C: []}


def test_activity_is_counted_by_kind_of_text(told):
    """Means and histograms, text by text; its own facts' drawn prompts are in none of them."""
    texts, read, having, own = told
    found = {one.neuron: one for one in activity_of(*told)}
    assert list(found) == [A, B, C]
    for column, (neuron, its) in enumerate(having.items()):
        by_kind: dict[str, list[float]] = {"own": own[neuron]} if own[neuron] else {}
        for text, value in zip(texts, read[:, column].tolist(), strict=True):
            near = text.relation in {relation for relation, _ in its}
            kind = ("relation" if near else "elsewhere") if text.kind == PROMPT else text.kind
            if text.kind != PROMPT or (text.relation, text.fact) not in its:
                by_kind.setdefault(kind, []).append(value)
        one = found[neuron]
        every = [*own[neuron], *read[:, column].tolist()]
        assert (one.low, one.high) == pytest.approx((min(every), max(every)))
        assert one.means.keys() == by_kind.keys()
        for kind, values in by_kind.items():
            assert one.means[kind] == pytest.approx(np.mean(values), rel=1e-4)
            expected, _ = np.histogram(values, bins=20, range=(one.low, one.high))
            assert np.abs(np.array(one.counts[kind]) - expected).sum() <= 2  # at the edges
            assert sum(one.counts[kind]) == len(values)


def test_the_ends_are_those_of_the_ranking(told):
    texts, read, *_ = told
    for column, one in enumerate(activity_of(*told)):
        for is_prompt, ends in ((True, one.prompts), (False, one.sentences)):
            ranked = sorted(
                (i for i, text in enumerate(texts) if (text.kind == PROMPT) == is_prompt),
                key=lambda i: -read[i, column],
            )
            assert [fired.text for fired in ends.most] == [texts[i].text for i in ranked[:5]]
            assert [f.text for f in ends.least] == [texts[i].text for i in ranked[:-6:-1]]
            assert ends.most[0].activation == pytest.approx(read[ranked[0], column])
            assert ends.most[0].fact == texts[ranked[0]].fact


def test_those_that_fire_alike_are_the_most_correlated(told, monkeypatch):
    """Pearson's, whatever number of neurons is held at a time; itself is not among them."""
    _, read, having, _ = told
    expected = np.corrcoef(read.T)
    for entries in (1 << 24, 3):
        monkeypatch.setattr(neuron_activity, "ENTRIES", entries)
        for column, one in enumerate(activity_of(*told)):
            others = [(neuron, by) for *neuron, by in one.alike]
            best = sorted({0, 1, 2} - {column}, key=lambda other: -expected[column, other])
            assert [tuple(neuron) for neuron, _ in others] == [list(having)[b] for b in best]
            assert [by for _, by in others] == pytest.approx(expected[column, best], abs=1e-5)


def test_few_texts_or_none_are_no_error(told):
    """A neuron without any text, a text alone, one that never moves."""
    texts, read, having, _ = told
    (none, *_) = activity_of([], read[:0], having, {})
    assert none.means == none.counts == {} and none.alike == [] and none.prompts.most == []
    (one, *_) = activity_of(texts[:1], read[:1], having, {})
    assert len(one.prompts.most) == 1 and one.prompts.least == [] and one.alike == []
    (same, *_) = activity_of(texts, np.ones_like(read), having, {})
    assert same.low == same.high == 1 and sum(same.counts["head"]) == 15
    assert all(by == 0 for *_, by in same.alike)


def test_it_is_read_as_it_was_written(told, tmp_path):
    results = Results(tmp_path)
    assert read_activity(results) == []
    found = list(activity_of(*told))
    write_activity(results, found)
    read = read_activity(results)
    assert [one.neuron for one in read] == [A, B, C]
    assert read[0].prompts.most[0].text == found[0].prompts.most[0].text
    assert read[0].counts == found[0].counts
    path = results.neuron_activity
    path.write_bytes(path.read_bytes().replace(b'"means":{"own"', b'"means":{"other"', 1))
    with pytest.raises(ValueError, match=r"activity.jsonl, line 1: means of \['both', 'elsewhere"):
        read_activity(results)
