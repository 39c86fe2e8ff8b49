"""Stages 3 to 5 without files: averages by hand, draws, and what the authors' shapes hold.

Run: pytest tests/unit/test_activation_experiments.py
"""

from dataclasses import replace

import numpy as np
import pytest

from knowledge_neurons.experiments import distant_activation, modify_activation, trigger_examples
from knowledge_neurons.results import metrics
from knowledge_neurons.results.activations import (
    SENTENCE_KINDS,
    ActivationRecord,
    authors_activations,
    summary_of,
    table_row,
)
from knowledge_neurons.results.change_files import authors_averages
from knowledge_neurons.results.changes import (
    ChangeRecord,
    Outcome,
    average_change,
    modified_of,
    read_changes,
)
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.types import Fact, FactSentences, Neuron
from tests.integration.checkpoints import tokenizer
from tests.reference import released as literal
from tests.reference.tiny import tiny_bert


def record(relation: str, fact: int, before: list[float], after: list[float]) -> ChangeRecord:
    """A fact whose neurons do something when suppressed, and nothing otherwise."""
    edited = {
        "neurons": {0.0: after, 2.0: before},
        "baseline": {0.0: before, 2.0: before},
    }
    outcome = Outcome(relation, fact, before, edited)
    return ChangeRecord(relation, fact, "x", {"neurons": 1, "baseline": 0}, outcome, outcome)


RECORDS = {
    "P1": [record("P1", 0, [0.4, 0.6], [0.2, 0.2]), record("P1", 1, [0.1, 0.1], [0.1, 0.1])],
    "P2": [record("P2", 0, [0.5], [0.4])],
}


def test_average_change_is_the_mean_over_relations():
    """P1: (0.6 - 1.2) / 1.2 = -50 %; P2: -20 %; a fact that does not change counts."""
    found = average_change(RECORDS, "own", "neurons", 0.0, seed=1)
    assert found.value == pytest.approx(-0.35)
    # P1 resampled lies between -60 % (its first fact twice) and 0 (its second twice).
    assert found.interval.low == pytest.approx((-0.6 - 0.2) / 2)
    assert found.interval.high == pytest.approx((0 - 0.2) / 2)
    unchanged = average_change(RECORDS, "own", "baseline", 0.0, seed=1)
    assert unchanged.value == 0 and unchanged.interval == (0, 0)


def test_no_average_of_nothing():
    """Facts that were not asked: no relation to average over, none in the authors' file."""
    left_out = ChangeRecord("P1", 0, "x", {"neurons": 0, "baseline": 0}, None, None)
    assert average_change({"P1": [left_out]}, "own", "neurons", 0.0, 1) is None
    both = {"P1": [left_out], "P2": RECORDS["P2"]}
    found = average_change(both, "own", "neurons", 0.0, 1)
    assert found.value == pytest.approx(-0.2) and found.interval is None, "a single fact"
    assert list(authors_averages(both, "neurons")) == ["kn_bag-P2"]


def test_facts_that_could_not_be_asked_are_counted_by_reason():
    """An answer of several tokens, no other relation, no neurons of a kind."""
    asked = RECORDS["P1"][0]
    alone = replace(asked, fact=1, other=None)
    left_out = ChangeRecord("P1", 2, "x", {"neurons": 0, "baseline": 3}, None, None)
    bare = replace(asked, relation="P2", neurons={"neurons": 0, "baseline": 1})
    found = modified_of({"P2": [bare], "P1": [asked, alone, left_out]}, seed=1)
    assert found.counts == {
        "facts": 4,
        "cannot_be_asked": 1,
        "no_other_relation": 1,
        "without_neurons": 2,
        "without_baseline": 2,
    }
    assert list(found.relations) == ["P1", "P2"] and not found.theirs
    assert list(found.overall["neurons"]["own"]) == [0.0, 2.0]
    half = found.relations["P1"]["neurons"]["other"][0.0]
    assert half.value == pytest.approx(-0.6) and half.interval is None, "of one fact"


def test_authors_averages():
    """Their keys: rm suppressed, eh amplified, own and oth; means over prompts."""
    averages = authors_averages(RECORDS, "neurons")
    assert averages["kn_bag-P1"] == pytest.approx(
        {
            "own:ori_prob": 0.3,
            "rm_own:ave_delta": -0.15,
            "rm_own:ave_delta_ratio": -0.5,
            "eh_own:ave_delta": 0,
            "eh_own:ave_delta_ratio": 0,
            "oth:ori_prob": 0.3,
            "rm_oth:ave_delta": -0.15,
            "rm_oth:ave_delta_ratio": -0.5,
            "eh_oth:ave_delta": 0,
            "eh_oth:ave_delta_ratio": 0,
        }
    )


def test_mean_relative_change_of_resamples():
    """(R, G, 2) -> (R,): per relation first, then over relations."""
    means = np.array([[[0.5, 0.25], [0.2, 0.3]], [[0.5, 0.5], [0.2, 0.1]]])
    assert metrics.mean_relative_change(means) == pytest.approx([0.0, -0.25])


def test_records_survive_the_file(tmp_path):
    """Numbers to float32, factors as numbers, missing outcomes as None."""
    left_out = ChangeRecord("P1", 7, "x", {"neurons": 0, "baseline": 0}, None, None)
    path = tmp_path / "records.jsonl"
    encoded = [encode_float32(r) for r in (RECORDS["P1"][0], left_out)]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    first, second = read_changes(path)
    assert second == left_out
    assert first.own.edited["neurons"].keys() == {0.0, 2.0}
    assert first.own.original == pytest.approx([0.4, 0.6], abs=1e-7)
    assert b"0.4," in encoded[0]  # not 0.4000000059604645


# --- draws -----------------------------------------------------------------------------------


def test_other_facts_are_of_other_relations_and_askable():
    facts = [Fact("P2", "label", i, "x", ("[MASK]",)) for i in range(200)]
    askable = {"P1": [0, 4], "P2": list(range(200)), "P3": [1], "P4": []}
    drawn = modify_activation.draw_others(askable, facts, seed=3)
    assert set(drawn) == {("P1", 0), ("P1", 4), ("P3", 1)}
    assert 60 < sum(name == "P3" for name, _ in drawn) < 140  # relations are drawn evenly
    assert drawn == modify_activation.draw_others(askable, facts, seed=3)
    assert drawn != modify_activation.draw_others(askable, facts, seed=4)
    assert drawn[:50] == modify_activation.draw_others(askable, facts[:50], seed=3)
    assert modify_activation.draw_others({"P2": [0]}, facts[:2], seed=3) == [None, None]


BOTH = ("Ann of Rome", "Ann in Rome", "Ann in rome", "Rome, Ann")
FACT = FactSentences("P1", 5, "Ann", "Rome", BOTH, ("Ann ran", "Ann sat down"))


def test_random_sentences_name_neither_head_nor_tail():
    """As many as sentences with both that can be masked, none twice."""
    pool = ["Ann is here", "in ROME today", "Romeo and all", "far away", "??? !", "so it goes"]
    masked = distant_activation.mask_fact(FACT, pool, seed=1)
    assert masked.texts["both"] == ["Ann of [MASK]", "Ann in [MASK]", "[MASK], Ann"]
    assert masked.texts["head"][0] == "Ann [MASK]"
    possible = {"[MASK] and all", "Romeo [MASK] all", "Romeo and [MASK]"}
    possible |= {"[MASK] away", "far [MASK]", "[MASK] it goes", "so [MASK] goes", "so it [MASK]"}
    assert len(masked.texts["random"]) == 3 and set(masked.texts["random"]) <= possible
    for seed in range(20):
        drawn = distant_activation.mask_fact(FACT, pool, seed).texts["random"]
        sources = {next(s for s in pool if _fits(s, text)) for text in drawn}
        assert len(sources) == 3, "without replacement"
    assert masked.unusable == {"both: the tail stands there in another case or inside a word": 1}
    assert masked == distant_activation.mask_fact(FACT, pool, seed=1)
    assert masked != distant_activation.mask_fact(FACT, pool, seed=2)


def test_no_random_sentence_is_a_reason():
    masked = distant_activation.mask_fact(FACT, ["Ann of Rome"], seed=1)
    assert masked.texts["random"] == []
    assert masked.unusable["random: 100 draws found no sentence about others"] == 3


def _fits(sentence: str, masked: str) -> bool:
    """Whether the words are the same but for the masked one."""
    words, read = sentence.split(), masked.split()
    return len(words) == len(read) and all(
        a == b or b == "[MASK]" for a, b in zip(words, read, strict=True)
    )


# --- trigger examples ------------------------------------------------------------------------

SENTENCES = ("Paris is the capital .", "the capital of Paris", "paris is", "capital", "is Paris .")


def test_sentences_are_ranked_and_those_that_cannot_be_masked_counted():
    """Highest sum of activations first; two reasons, one of them twice; all facts, in order."""
    fact = FactSentences("P36", 0, "Word3", "Paris", (*SENTENCES, "the capital of", ""), ())
    idle = replace(fact, index=1, with_both=SENTENCES[:2])
    neurons = [[Neuron(0, 3), Neuron(2, 36)], []]
    model, words = tiny_bert(), tokenizer()
    facts = [fact, idle]
    found, nothing = trigger_examples.rank_sentences(model, words, "capital", facts, neurons, 9)
    assert found.unusable == {
        "the tail does not occur": 3,
        "the tail stands there in another case or inside a word": 1,
    }
    assert (found.fact, found.head, found.label, found.tail) == (0, "Word3", "capital", "Paris")
    sums = [one.activation for one in found.ranked]
    assert sums == sorted(sums, reverse=True) and len(set(sums)) == 3
    assert {one.sentence for one in found.ranked} == {SENTENCES[i] for i in (0, 1, 4)}
    for one in found.ranked:
        assert one.masked == one.sentence.replace("Paris", "[MASK]")
        assert list(one.tokens) == ["[CLS]", *one.masked.split(), "[SEP]"]
    assert (nothing.fact, nothing.ranked, nothing.unusable) == (1, [], {})


def test_groups_of_facts_are_ranked_as_all_at_once():
    """However many facts are read together, each has its own neurons and sentences."""
    model, words = tiny_bert(), tokenizer()
    facts = [
        FactSentences("P36", i, "Word3", "Paris", SENTENCES[: 2 + i % 2], ()) for i in range(5)
    ]
    neurons = [[Neuron(i % 3, i)] for i in range(5)]

    def ranked(size: int) -> list[list[tuple[str, float]]]:
        groups = (slice(start, start + size) for start in range(0, 5, size))
        found = [
            one
            for group in groups
            for one in trigger_examples.rank_sentences(
                model, words, "x", facts[group], neurons[group], 9
            )
        ]
        return [[(t.sentence, t.activation) for t in one.ranked] for one in found]

    for whole, part in zip(ranked(5), ranked(2), strict=True):
        assert [text for text, _ in whole] == [text for text, _ in part]
        assert [x for _, x in whole] == pytest.approx([x for _, x in part], abs=1e-5)


# --- Table 4 ---------------------------------------------------------------------------------


def activation(fact: int, neurons: int, means: dict | None, both: int = 1) -> ActivationRecord:
    return ActivationRecord(
        relation="P1",
        fact=fact,
        head="Ann",
        tail="Rome",
        sentences={"both": both, "head": 1, "random": 1},
        cut=0,
        unusable={},
        names_tail=0,
        neurons={"neurons": neurons, "baseline": 0},
        means=means and {"neurons": means, "baseline": {"both": [], "head": [], "random": []}},
    )


READ = [
    activation(0, 2, {"both": [1.0, 3.0], "head": [0.5, 0.5], "random": [0.0, 0.0]}),
    activation(1, 1, {"both": [4.0], "head": [1.5], "random": [1.0]}),
    activation(2, 0, None),
    activation(3, 1, None, both=0),
]


def test_table_pools_the_neurons_of_a_relation():
    """Three values: 1, 3 and 4; the fact of two neurons weighs twice.  Facts are drawn again."""
    row = table_row(READ, "neurons", seed=1)
    assert row.facts == 2
    assert {k: e.value for k, e in row.by_sentences.items()} == {
        "both": pytest.approx(8 / 3),
        "head": pytest.approx(2.5 / 3),
        "random": pytest.approx(1 / 3),
    }
    assert row.by_sentences["both"].interval == (2.0, 4.0)
    assert row.contrasts["head - random"].value == pytest.approx(0.5)
    assert row.contrasts["head - random"].interval == pytest.approx((0.5, 0.5))  # of each the same
    assert row.contrasts["both - head"].interval == (1.5, 2.5)
    assert table_row(READ, "baseline", seed=1) is None


def test_what_was_skipped_is_counted_by_reason():
    """Of each fact that was not read every reason; sentences of those that were."""
    more = {"both: no": 2, "head: no": 1}
    cut = replace(READ[0], cut=3, unusable=more, names_tail=2)
    other = replace(READ[3], relation="P2", unusable={"both: no": 1, "x": 4}, names_tail=1)
    found = summary_of({"P1": [cut, *READ[1:]], "P2": [other]}, seed=1)
    assert found["facts"] == 5
    assert found["facts_skipped"] == {
        "no sentence: both": 2,
        "no sentence: head": 0,
        "no sentence: random": 0,
        "no neurons: neurons": 1,
        "no neurons: baseline": 5,
    }
    assert found["sentences_read"] == {"both": 2, "head": 2, "random": 2}
    assert found["sentences_cut"] == 3 and found["head_sentences_with_the_tail"] == 3
    assert list(found["sentences_unusable"].items()) == [("x", 4), ("both: no", 3), ("head: no", 1)]
    assert found["table"]["baseline"] is None
    assert found["table"]["neurons"] == table_row(READ, "neurons", seed=1)


def test_table_is_the_slow_twins_over_relations():
    """Relations weigh alike, however many facts and neurons they have; one without any is out."""
    rng = np.random.default_rng(0)
    values = {
        name: [rng.normal(size=(3, rng.integers(1, 6))).tolist() for _ in range(facts)]
        for name, facts in (("P1", 2), ("P2", 9), ("P3", 1))
    }
    kinds = SENTENCE_KINDS
    records = [
        replace(activation(i, len(v[0]), dict(zip(kinds, v, strict=True))), relation=name)
        for name, facts in values.items()
        for i, v in enumerate(facts)
    ]
    none = replace(activation(0, 0, None), relation="P4")
    row = table_row([*records, none], "neurons", seed=1)
    assert row.facts == 12
    for place, kind in enumerate(kinds):
        own = {name: [fact[place] for fact in facts] for name, facts in values.items()}
        estimate = row.by_sentences[kind]
        assert estimate.value == pytest.approx(literal.mean_activation(own))
        assert estimate.interval.low < estimate.value < estimate.interval.high
    alone = table_row(records[-1:], "neurons", seed=1)
    assert alone.by_sentences["both"].interval is None


def test_authors_activations():
    """[th, h, rd] per neuron by layer and index, or why not; no example before no neuron."""
    neurons = {"P1": [[Neuron(2, 0), Neuron(1, 9)], [Neuron(0, 0)], [], [Neuron(0, 0)]]}
    found = authors_activations({"P1": READ}, neurons, "neurons")
    assert found == {
        "P1": [
            [[3.0, 1.0], [0.5, 0.5], [0.0, 0.0]],
            [[4.0], [1.5], [1.0]],
            "no_kn",
            "no_exmp",
        ]
    }
    none = {"P1": [[]] * 4}
    assert authors_activations({"P1": READ}, none, "baseline")["P1"] == [
        *["no_kn"] * 3,
        "no_exmp",
    ]
