"""What the fact browser is given.  Run: pytest tests/unit/test_report_embedding.py"""

import base64
import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons import report
from knowledge_neurons.report import embedding
from knowledge_neurons.results.layout import Results, manifest_path
from knowledge_neurons.results.neurons import write_neurons
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.types import Triplet
from tests.reference.made_results import MadeFact, Writer

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .")


@pytest.fixture
def made(tmp_path) -> Writer:
    facts = [MadeFact("Ann", "Rome", PROMPTS), MadeFact("Bob", "Oslo", PROMPTS)]
    relations = {"P19": ("birth", facts), "P36": ("capital (of a state)", facts[:1])}
    return Writer(Results(tmp_path), relations)


@given(st.recursive(st.text() | st.integers(-9, 9) | st.none(), st.lists, max_leaves=20))
def test_what_was_packed_is_unpacked_and_holds_nothing_of_html(value):
    packed = embedding.pack(value)
    assert embedding.unpack(packed) == value
    assert not set(packed) & set("<>&\"'")


def test_the_same_value_is_packed_into_the_same_text():
    """No time of day in the gzip header."""
    packed = embedding.pack(["x"])
    assert packed == embedding.pack(["x"])
    assert gzip.decompress(base64.b64decode(packed)) == b'["x"]'


def test_every_fact_prompt_and_score_is_embedded(made):
    """Against the files of stages 1 to 4: names, answers, neurons, scores in percent."""
    made.everything()
    found = embedding.embed(made.results)
    assert (found.facts, found.prompts, found.cut) == (3, 6, 0)
    index = embedding.unpack(found.index)
    assert (index["layers"], index["width"]) == (3, 40)
    assert [row["id"] for row in index["relations"]] == ["P19", "P36"]
    assert index["relations"][1]["label"] == "capital (of a state)"
    for row in index["relations"]:
        details = embedding.unpack(found.relations[row["id"]])
        scored = list(read_fact_scores(made.results.scores(row["id"])))
        assert row["names"] == ["Ann", "Bob"][: len(scored)]
        assert row["answers"] == ["Rome", "Oslo"][: len(scored)]
        for fact, prompts in enumerate(scored):
            union = list(itertools.accumulate(details["neurons"][fact]))
            neurons = [divmod(number, embedding.STRIDE) for number in row["neurons"][fact]]
            assert neurons == made.neurons[row["id"]][fact]
            assert details["prompts"][fact][0] == f"{row['names'][fact]} lives in [MASK]."
            scores = details["scores"][fact]
            for place, prompt in enumerate(prompts):
                largest = max(triplet.score for triplet in prompt.of_answer)
                expected = {
                    triplet.layer * embedding.STRIDE + triplet.index: round(
                        100 * triplet.score / largest
                    )
                    for triplet in prompt.of_answer
                }
                of_prompt = scores[place * len(union) : (place + 1) * len(union)]
                assert {n: s for n, s in zip(union, of_prompt, strict=True) if s} == expected
                assert details["largest"][fact][place] == pytest.approx(largest, rel=5e-3)


def test_what_stage_3_measured_is_embedded(made):
    made.everything()
    details = embedding.unpack(embedding.embed(made.results).relations["P19"])
    record = next(made._modified("P19"))
    for place, (before, off, doubled) in enumerate(details["own"][0]):
        assert before == pytest.approx(record.own.original[place], rel=5e-3)
        assert off == pytest.approx(record.own.edited["neurons"][0.0][place], rel=5e-3)
        assert doubled == pytest.approx(record.own.edited["neurons"][2.0][place], rel=5e-3)
    relation, fact, before, *_ = details["other"][0]
    assert (relation, fact) == ("P36", 0)
    assert before == pytest.approx(sum(record.other.original) / 3, rel=5e-3)


def test_stage_1_alone_is_enough(made):
    """Prompts stand for heads; no neurons, nothing measured."""
    made.stage_1()
    found = embedding.embed(made.results)
    row = embedding.unpack(found.index)["relations"][0]
    assert row["names"] == ["Ann lives in [MASK].", "Bob lives in [MASK]."]
    assert row["neurons"] == [[], []]
    details = embedding.unpack(found.relations["P19"])
    assert details["own"] == details["other"] == [None, None]


def test_without_stage_1_there_is_nothing_to_browse(tmp_path):
    assert embedding.embed(Results(tmp_path)) is None


def test_neurons_of_other_facts_are_refused(made):
    made.stage_1()
    made.stage_2()
    write_neurons(made.results, "P19", False, made.neurons["P19"][:1], [])
    manifest_path(made.results.fact_neurons("P19", False)).unlink()  # somebody's own
    with pytest.raises(ValueError, match=r"has 1 facts.*has 2: run 2_run_kn\.sh again"):
        report.render(made.results)


def test_the_strongest_scores_of_a_prompt_are_kept():
    triplets = [Triplet(0, i, float(i % 70)) for i in range(100)]
    kept = embedding.strongest(triplets)
    assert len(kept) == embedding.STRONGEST
    assert min(t.score for t in kept) >= max(t.score for t in set(triplets) - set(kept))
    assert embedding.strongest(triplets[:10]) == triplets[:10]


@pytest.mark.parametrize(
    "tokens, text",
    [
        ("[CLS] Ann lives in [MASK] . [SEP]", "Ann lives in [MASK]."),
        ("[CLS] Saint - Den ##is ( France ) , [MASK] [SEP]", "Saint-Denis (France), [MASK]"),
        ("[CLS] Ann ' s home is [MASK] ! [SEP]", "Ann's home is [MASK]!"),
        ("no marks", "no marks"),
    ],
)
def test_tokens_become_text_again(tokens, text):
    assert embedding.text_of(tokens.split()) == text
