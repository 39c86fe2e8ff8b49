"""What the fact browser is given.  Run: pytest tests/unit/test_report_embedding.py"""

import base64
import gzip
import itertools
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons import report
from knowledge_neurons.report import beside, embedding
from knowledge_neurons.report.prompts import text_of, word_of
from knowledge_neurons.results.activations import read_activations
from knowledge_neurons.results.changes import read_changes
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.edits import read_edits
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_activity import read_activity
from knowledge_neurons.results.neuron_words import NeuronWords, write_neuron_words
from knowledge_neurons.results.neurons import read_fact_neurons, write_neurons
from knowledge_neurons.results.neurons_alone import read_alone
from knowledge_neurons.results.scores import encode_fact_scores, read_fact_scores
from knowledge_neurons.types import Neuron, PromptScores, Triplet
from tests.reference import synthetic
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
        texts = embedding.unpack(found.texts[row["id"]])
        scored = list(read_fact_scores(made.results.scores(row["id"])))
        assert row["names"] == ["Ann", "Bob"][: len(scored)]
        assert row["answers"] == ["Rome", "Oslo"][: len(scored)]
        for fact, prompts in enumerate(scored):
            union = list(itertools.accumulate(details["neurons"][fact]))
            neurons = [divmod(number, embedding.STRIDE) for number in row["neurons"][fact]]
            assert neurons == made.neurons[row["id"]][fact]
            assert texts[fact][0] == f"{row['names'][fact]} lives in [MASK]."
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
    relation, fact, *means = details["other"][0]
    assert (relation, fact) == ("P36", 0)
    edited = record.other.edited["neurons"]
    expected = [sum(p) / 3 for p in (record.other.original, edited[0.0], edited[2.0])]
    assert means == pytest.approx(expected, rel=5e-3)


def test_facts_that_stage_3_has_not_come_to_are_there_without_numbers(made):
    """A run that goes on: the first fact's numbers, none of the second's, no third."""
    made.everything()
    path = made.results.changes("P19")
    whole = embedding.unpack(embedding.embed(made.results).relations["P19"])
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    manifest_path(path).unlink(missing_ok=True)  # somebody's own
    part = embedding.unpack(embedding.embed(made.results).relations["P19"])
    for asked in ("own", "other"):
        assert part[asked] == [whole[asked][0], None]


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


def test_without_neurons_the_shape_is_that_of_what_is_known(tmp_path):
    """No manifest: as many layers and neurons as the highest that is named, counted from 0."""
    scores = PromptScores(
        ["[CLS]", "[MASK]", "[SEP]"], "Rome", "Oslo", "P19(birth)", of_answer=[Triplet(2, 9, 1.0)]
    )
    other = replace(scores, of_answer=[Triplet(4, 0, 0.5), Triplet(4, 3, 0.0)])
    results = Results(tmp_path)
    lines = [encode_fact_scores(fact) for fact in ([scores, other], [])]
    results.scores("P19").write_bytes(b"".join(line + b"\n" for line in lines))
    found = embedding.embed(results)
    index, details = embedding.unpack(found.index), embedding.unpack(found.relations["P19"])
    assert (index["layers"], index["width"]) == (5, 10)
    assert (found.facts, found.prompts, found.cut) == (2, 2, 0)
    row = index["relations"][0]
    assert (row["names"], row["answers"]) == (["[MASK]", ""], ["Rome", ""])
    stride = embedding.STRIDE
    assert details["neurons"] == [[2 * stride + 9, 2 * stride - 9, 3], []]
    assert details["scores"] == [[100, 0, 0, 0, 100, 0], []]
    assert details["largest"] == [[1.0, 0.5], []]
    assert found.bytes == sum(map(len, (found.index, found.relations["P19"], found.texts["P19"])))


def test_prompts_of_which_scores_are_left_out_are_counted(tmp_path):
    """41 scores are one too many, 40 are not."""
    many = [Triplet(0, i, 1.0 + i) for i in range(41)]
    scores = PromptScores(["[CLS]"], "Rome", "Oslo", "P19(birth)", of_answer=many)
    results = Results(tmp_path)
    fact = [scores, replace(scores, of_answer=many[1:])]
    results.scores("P19").write_bytes(encode_fact_scores(fact) + b"\n")
    found = embedding.embed(results)
    assert found.cut == 1
    assert len(embedding.unpack(found.relations["P19"])["neurons"][0]) == 40


def test_the_strongest_scores_of_a_prompt_are_kept():
    triplets = [Triplet(0, i, float(i % 70)) for i in range(100)]
    kept = embedding.strongest(triplets)
    assert len(kept) == 40 == embedding.STRONGEST
    assert min(t.score for t in kept) >= max(t.score for t in set(triplets) - set(kept))
    assert embedding.strongest(triplets[:10]) == triplets[:10]
    equals = [Triplet(0, i, 1.0) for i in range(60)]
    assert embedding.strongest(equals) == equals[:40], "of equals the first"


@pytest.mark.parametrize(
    "tokens, text",
    [
        ("[CLS] Ann lives in [MASK] . [SEP]", "Ann lives in [MASK]."),
        ("[CLS] Saint - Den ##is ( France ) , [MASK] [SEP]", "Saint-Denis (France), [MASK]"),
        ("[CLS] Ann ' s home is [MASK] ! [SEP]", "Ann's home is [MASK]!"),
        ("no marks", "no marks"),
        ("[CLS] ##s of [MASK] [SEP]", "##s of [MASK]"),
        ("Den ##is [SEP]", "Denis [SEP]"),
    ],
)
def test_tokens_become_text_again(tokens, text):
    assert text_of(tokens.split()) == text


@pytest.mark.parametrize(
    "tokens, text",
    [
        ("The Ġcapital Ġof ĠFrance Ġis", "The capital of France is [MASK]"),
        ("<|endoftext|> City : ĠMun ich . ĠCountry :", "City: Munich. Country: [MASK]"),
        ("<s> ▁The ▁home ▁of ▁Bob , ▁isn ' t", "The home of Bob, isn't [MASK]"),
        ("<s> The Ġhome Ġof ĠBob Ġis <mask> . </s>", "The home of Bob is [MASK]."),
        ("<s> ▁The ▁home ▁is <mask> ▁( of ▁Bob ) . </s>", "The home is [MASK] (of Bob)."),
        ("<s> <mask> Ġis Ġhome </s>", "[MASK] is home"),
        ("ZÃ¼ rich , Ġin Ġ æĿ± äº¬", "Zürich, in 東京 [MASK]"),
        ("<s> Ġa <mask> <mask> Ġb </s>", "a [MASK] [MASK] b"),
    ],
)
def test_tokens_of_bytes_and_pieces_too(tokens, text):
    """What stands around is left out; a decoder's prompt ends where it is asked."""
    assert text_of(tokens.split()) == text


@pytest.mark.parametrize(
    "token, word",
    [("ĠGermany", "Germany"), ("▁Paris", "Paris"), ("café", "café"), ("##ing", "##ing"),
     ("ĠMÃ¼nchen", "München"), ("[MASK]", "[MASK]"), ("東", "東"), ("Ġ", "Ġ")],
)  # fmt: skip
def test_a_token_alone_is_a_word(token, word):
    assert word_of(token) == word


def test_what_later_stages_found_stands_beside_a_fact(made):
    """Against their records: the baseline's neurons, activations, sentences at both ends."""
    made.everything()
    details = embedding.unpack(embedding.embed(made.results).relations["P19"])
    results = made.results
    baseline = read_fact_neurons(results.fact_neurons("P19", True))
    assert [[divmod(n, embedding.STRIDE) for n in own] for own in details["baseline"]] == baseline
    record = read_activations(results.activations("P19"))[1]
    for place, means in enumerate(details["activations"][1]):
        expected = [record.means["neurons"][kind][place] for kind in ("both", "head", "random")]
        assert means == pytest.approx(expected, rel=5e-3)
    count, top, bottom = details["sentences"][1]
    assert count == 4
    assert [text for _, text in top] == [f"Bob and Oslo, sentence {i}." for i in (0, 1)]
    assert bottom == [[1.0, "Bob and Oslo, sentence 3."]]
    assert details["nats"] == [None, None], "records of earlier versions have no log-odds"


def test_log_odds_doses_and_edits_are_means_over_prompts(tmp_path):
    """Of whole records, facts without one between them; runs by count are left out."""
    results = synthetic.write(tmp_path, 1, ("modified", "edits"))
    (name,) = synthetic.relations_of(1)
    records = read_changes(results.changes(name))
    results.curve_records(name).parent.mkdir()
    results.changes(name).rename(results.curve_records(name))
    doses = beside.doses_of(results, name, len(records) + 1)["doses"]
    assert doses[-1] is None and doses[0]["factors"] == [0.0, 1.0, 2.0]
    for kind in ("neurons", "baseline"):
        means = [fmean(records[3].own.edited[kind][factor]) for factor in (0.0, 1.0, 2.0)]
        assert doses[3][kind] == pytest.approx(means, rel=5e-3)
    (nats,) = beside.nats_of(records[2:3], 3)["nats"][2:]
    odds = records[2].own.log_odds
    for change, factor in zip(nats, (0.0, 2.0), strict=True):
        after = fmean(odds.edited["neurons"][factor])
        assert change == pytest.approx(after - fmean(odds.original), rel=1e-2)
    own = [one for one in read_edits(results.edits("edit-1-8")) if one.kind == "knowledge"]
    found = beside.edits_of(results)[name]
    assert sum(map(len, found.values())) == len(own)
    told = found[own[0].fact][0]
    assert (told["old"], told["new"], told["lambdas"]) == ("a", "b", [1.0, 8.0])
    assert told["p_old"] == [0.8, 0.1] and told["p_new"] == [0.1, 0.5]


def test_words_are_packed_by_layer(made):
    """Of each neuron eight at either end and five that write alike, as places and percents."""
    made.everything()
    words = [(f"w{i}", 0.5 - i / 100) for i in range(10)]
    alike = [(1, i, 0.3) for i in range(8)]
    found = [NeuronWords(Neuron(*n), words, words[::-1], alike) for n in ((0, 3), (2, 5), (2, 9))]
    write_neuron_words(made.results, found)
    packed = embedding.embed(made.results)
    assert embedding.unpack(packed.index)["written"] == sorted(packed.words) == [0, 2]
    layer = embedding.unpack(packed.words[2])
    assert list(layer["neurons"]) == ["5", "9"]
    up, down, others = layer["neurons"]["5"]
    assert [layer["words"][place] for place in up[::2]] == [word for word, _ in words[:8]]
    assert up[1::2] == [50, 49, 48, 47, 46, 45, 44, 43]
    assert [layer["words"][place] for place in down[::2]] == [w for w, _ in words[:1:-1]]
    assert others == [part for i in range(5) for part in (embedding.STRIDE + i, 30)]


def test_what_wakes_neurons_is_packed_by_layer(made):
    """Four texts and two at the ends, the mean and histogram of each kind, five that fire alike."""
    made.everything()
    found = read_activity(made.results)
    packed = embedding.embed(made.results)
    layers = {one.neuron.layer for one in found}
    assert embedding.unpack(packed.index)["active"] == sorted(packed.active) == sorted(layers)
    one = found[0]
    layer = embedding.unpack(packed.active[one.neuron.layer])
    own = layer["neurons"][str(one.neuron.index)]
    for ends, packed_ends in ((one.prompts, own["prompts"]), (one.sentences, own["sentences"])):
        for cut, flat in zip((ends.most[:4], ends.least[:2]), packed_ends, strict=True):
            assert [layer["texts"][place] for place in flat[::2]] == [list(f[:3]) for f in cut]
            assert flat[1::2] == pytest.approx([f.activation for f in cut], abs=0.006)
    assert own["kinds"][1] == [
        pytest.approx(one.means["relation"], abs=6e-3),
        *one.counts["relation"],
    ]
    assert own["alike"][::2] == [embedding.STRIDE * a + b for a, b, _ in one.alike[:5]]


def test_a_neuron_alone_is_told_of_all_relations_together(made):
    """Prompts, means of P, of changes of log-odds and how far the random ones reach."""
    made.everything()
    of_neuron: dict[Neuron, list] = {}
    for name in made.relations:
        for one in read_alone(made.results.neurons_alone(name)):
            of_neuron.setdefault(one.neuron, []).append(one)
    neuron, records = max(of_neuron.items(), key=lambda pair: len(pair[1]))
    layer = embedding.unpack(embedding.embed(made.results).active[neuron.layer])
    prompts, *told = layer["neurons"][str(neuron.index)]["alone"]
    p = [row for one in records for row in one.probabilities]
    odds = [row for one in records for row in one.log_odds]
    assert prompts == len(p) == 8 * len(records)
    assert told[:3] == pytest.approx([fmean(row[i] for row in p) for i in range(3)], rel=5e-3)
    changes = [[row[i] - row[0] for row in odds] for i in (1, 2)]
    expected = [*map(fmean, changes), min(changes[1]), max(changes[1])]
    assert told[3:7] == pytest.approx(expected, abs=6e-4)
    assert told[7] == sum(abs(a) > abs(b) for a, b in zip(*changes, strict=True))
    for name in made.relations:
        made.results.neurons_alone(name).unlink()
    layer = embedding.unpack(embedding.embed(made.results).active[neuron.layer])
    assert layer["neurons"][str(neuron.index)]["alone"] is None
