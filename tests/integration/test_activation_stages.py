"""Stages 3, 4 and 5 as users run them, on a tiny random model.

Run: pytest tests/integration/test_activation_stages.py
"""

import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from knowledge_neurons.experiments import (
    distant_activation,
    modify_activation,
    trigger_examples,
)
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import sha256_of
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact, encode_sentences
from knowledge_neurons.types import Edit, Neuron
from tests.integration.stages import BAGS, PAIRS, SENTENCES, Place, fine, refused
from tests.reference import interventions as literal

STAGE_3, STAGE_4 = "3_modify_activation.py", "4_check_weights_distant.py"
STAGE_5 = "5_find_trigger_examples.py"
STAGES = {3: STAGE_3, 4: STAGE_4, 5: STAGE_5}
RECORDS = {3: "modify_activation/P19.jsonl", 4: "distant/P19.jsonl"}
RECORDS |= {5: "trigger_examples_th/P19.jsonl"}
TOLERANCE = 1e-5  # probabilities and activations of order 1 in float32


def lines(place: Place, name: str) -> list[dict]:
    return [json.loads(line) for line in (place.results / name).read_bytes().splitlines()]


def load(place: Place, name: str):
    return json.loads((place.results / name).read_bytes())


def neurons_of(place: Place, kind: str, relation: str = "P19") -> list[tuple[Neuron, ...]]:
    path = Results(place.results).fact_neurons(relation, kind == "baseline")
    return [tuple(own) for own in read_fact_neurons(path)]


def without_manifests(place: Place) -> None:
    """As the authors' stages leave them."""
    shutil.rmtree(place.results / "kn" / "manifests")


# --- stage 3 ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modified(refined, tmp_path_factory) -> Place:
    """Stage 3 by its shell script on neurons without manifests; not to be changed."""
    place = replace(refined[0], results=tmp_path_factory.mktemp("modified") / "results")
    shutil.copytree(refined[0].results, place.results)
    without_manifests(place)
    ended = fine(place.shell("3_run_modify_activation.sh"))
    assert "own facts, knowledge neurons" in ended.out and "-29.03" in ended.out
    assert "log-odds, own facts, knowledge neurons" in ended.out and "no log-odds" not in ended.out
    return place


def test_probabilities_are_those_of_single_prompts(modified):
    """Every record of P19: its own prompts and another relation's, before, off and doubled."""
    pretrained = checkpoints.from_pretrained(modified.model)
    model, tokenizer = pretrained.model, pretrained.tokenizer
    facts = {r: data.facts_of(BAGS, r, "here") for r in BAGS}
    found = lines(modified, RECORDS[3])
    assert [line["fact"] for line in found] == list(range(18))
    sets = {kind: neurons_of(modified, kind) for kind in ("neurons", "baseline")}
    assert sum(map(bool, sets["neurons"])) > 3
    for line in found:
        assert line["neurons"] == {kind: len(own[line["fact"]]) for kind, own in sets.items()}
        assert (line["own"]["relation"], line["own"]["fact"]) == ("P19", line["fact"])
        # never its own relation, never the fact whose answer the vocabulary lacks
        assert (line["other"]["relation"], line["other"]["fact"]) not in {("P101", 1)}
        assert line["other"]["relation"] in {"P36", "P101"}
    for line in found[::3]:
        for asked in (line["own"], line["other"]):
            prompts = encode_fact(facts[asked["relation"]][asked["fact"]], tokenizer, 24)
            for kind, own in sets.items():
                for factor in (1.0, 0.0, 2.0):
                    edit = Edit(own[line["fact"]], factor)
                    every = [(literal.probabilities(model, p, edit), p.answer) for p in prompts]
                    expected = [p[answer].item() for p, answer in every]
                    got = asked["edited"][kind].get(str(factor), asked["original"])
                    assert got == pytest.approx(expected, abs=TOLERANCE)


def test_every_average_comes_from_the_records(modified):
    """The authors' file and the summary, recomputed from the records by other code."""
    summary = load(modified, "modify_activation/summary.json")
    for kind, base in (("neurons", ""), ("baseline", "base_")):
        averages = load(modified, f"kn/{base}modify_activation_rlt.json")
        assert list(averages) == [f"{base}kn_bag-P19", f"{base}kn_bag-P36"]
        for asked, theirs in (("own", "own"), ("other", "oth")):
            for verb, factor in (("rm", "0.0"), ("eh", "2.0")):
                ratios = []
                for relation in ("P19", "P36"):
                    records = lines(modified, f"modify_activation/{relation}.jsonl")
                    before = [p for line in records for p in line[asked]["original"]]
                    after = [p for line in records for p in line[asked]["edited"][kind][factor]]
                    delta = float(np.mean(np.subtract(after, before)))
                    values = averages[f"{base}kn_bag-{relation}"]
                    assert values[f"{theirs}:ori_prob"] == pytest.approx(np.mean(before))
                    assert values[f"{verb}_{theirs}:ave_delta"] == pytest.approx(delta, abs=1e-9)
                    ratios.append(delta / np.mean(before))
                    ratio = values[f"{verb}_{theirs}:ave_delta_ratio"]
                    assert ratio == pytest.approx(ratios[-1], abs=1e-9)
                change = summary["change"][kind][asked][factor.removesuffix(".0")]
                assert change["value"] == pytest.approx(np.mean(ratios), abs=1e-9)
                low, high = change["interval"]
                assert low <= change["value"] <= high
    assert summary["counts"]["facts"] == 22


def test_averages_of_log_odds_come_from_the_records(modified):
    """The mean over a fact's prompts, over facts, over relations; by other code."""
    nats = load(modified, "modify_activation/summary.json")["log_odds"]
    for kind, asked, factor in product(("neurons", "baseline"), ("own", "other"), ("0.0", "2.0")):
        means = []
        for relation in ("P19", "P36"):
            odds = [
                line[asked]["log_odds"]
                for line in lines(modified, f"modify_activation/{relation}.jsonl")
            ]
            each = [
                np.mean(np.subtract(one["edited"][kind][factor], one["original"])) for one in odds
            ]
            means.append(np.mean(each))
            told = nats["relations"][relation][kind][asked][factor.removesuffix(".0")]
            assert told["value"] == pytest.approx(means[-1], abs=1e-9)
        overall = nats["overall"][kind][asked][factor.removesuffix(".0")]
        assert overall["value"] == pytest.approx(np.mean(means), abs=1e-9)
        low, high = overall["interval"]
        assert low <= overall["value"] <= high


def test_log_odds_of_the_records_are_those_of_their_probabilities(modified):
    """Where these are in the middle, and float32 tells them well."""
    checked = 0
    for line in lines(modified, RECORDS[3]):
        p, odds = line["own"]["original"], line["own"]["log_odds"]["original"]
        for one, own in zip(p, odds, strict=True):
            assert own == pytest.approx(np.log(one / (1 - one)), rel=1e-4, abs=1e-4)
            checked += 1
    assert checked > 18


def test_records_of_an_earlier_version_are_read_and_what_they_lack_is_said(own):
    """As they were finished, without log-odds: all else is told, and what to do."""
    arguments = (STAGE_3, "--relations", "P36")
    fine(own.here(*arguments))
    path = own.results / "modify_activation" / "P36.jsonl"
    records = lines(own, "modify_activation/P36.jsonl")
    for line, asked in product(records, ("own", "other")):
        del line[asked]["log_odds"]
    path.write_text("".join(json.dumps(line) + "\n" for line in records))
    manifest = manifest_path(path)
    told = json.loads(manifest.read_text())
    told |= {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    manifest.write_text(json.dumps(told))
    before = load(own, "modify_activation/summary.json")
    ended = fine(own.here(*arguments))
    assert "no log-odds: some of the records" in ended.out and "log-odds, own" not in ended.out
    after = load(own, "modify_activation/summary.json")
    assert "log_odds" not in after and after["change"] == before["change"]


def test_other_relations_facts_do_not_depend_on_what_is_run(modified, own):
    """P36 alone gives the same bytes."""
    fine(own.here(STAGE_3, "--relations", "P36"))
    name = "modify_activation/P36.jsonl"
    assert (own.results / name).read_bytes() == (modified.results / name).read_bytes()
    refused(own.here(STAGE_3, "--relations", "P36", "--seed", 7), "seed", "To start over")


def test_scales_draw_a_curve(own):
    """Each factor, with 1 for no change, and a figure; the averages are left alone."""
    fine(own.here(STAGE_3, "--relations", "P36", "--scales", "0,0.5,...,2"))
    curve = load(own, "dose_response/P36.json")
    assert list(curve["neurons"]["own"]) == ["0", "0.5", "1", "1.5", "2"]
    assert curve["neurons"]["own"]["1"]["value"] == 0
    assert (own.results / "figs/dose_response-P36.pdf").read_bytes().startswith(b"%PDF")
    assert (own.results / "figs/dose_response-P36.png").exists()
    assert not (own.results / "kn/modify_activation_rlt.json").exists()


@pytest.mark.parametrize(
    ("scales", "part"),
    [
        ("0,a", "'a': expected a number"),
        ("0,nan", "'nan': expected a number"),
        ("0,1,...", "expected FIRST,SECOND,...,LAST"),
        ("0,0.3,...,1", "not reached in steps of the first two"),
        ("1,0,...,2", "expected rising numbers"),
        ("0,1e-7,...,2", "at most 200 of them"),
        (",".join(map(str, range(201))), "201 factors: at most 200"),
        ("", "'': expected a number"),
    ],
)
def test_refuses_other_scales(own, scales, part):
    refused(own.here(STAGE_3, f"--scales={scales}"), "argument --scales: ", part)


def test_answers_that_are_not_one_token(own):
    """P101's fact 1: an error that names it, or left out and counted."""
    fine(own.score("P101", "--oov", "skip"))
    fine(own.here("2_get_kn.py", "--relations", "P101"))
    refused(own.here(STAGE_3, "--relations", "P101"), "P101 fact 1 (atlantis)", "--oov skip")
    ended = fine(own.here(STAGE_3, "--relations", "P101", "--oov", "skip"))
    assert lines(own, "modify_activation/P101.jsonl")[1]["own"] is None
    assert "cannot_be_asked    1" in ended.out


def test_what_is_done_is_not_asked_for_again(own, monkeypatch):
    """The other facts are not drawn, let alone tokenised."""
    again = (STAGE_3, "--relations", "P36")
    fine(own.here(*again))
    monkeypatch.setattr(modify_activation, "draw_others", None)
    fine(own.here(*again))


def test_one_relation_has_no_other(own, tmp_path):
    """Data of a single relation: the other facts are missing, and counted."""
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps({"P36": BAGS["P36"]}))
    without_manifests(own)
    fine(own.here(STAGE_3, "--relations", "P36", KN_DATA=str(alone)))
    summary = load(own, "modify_activation/summary.json")
    assert summary["counts"]["no_other_relation"] == 4
    assert summary["change"]["neurons"]["other"] == {}
    assert "oth:ori_prob" not in load(own, "kn/modify_activation_rlt.json")["kn_bag-P36"]


# --- stage 4 ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def read(modified) -> Place:
    """Stage 4 by its shell script on the same."""
    ended = fine(modified.shell("4_run_distant.sh"))
    assert "Table 4" in ended.out
    return modified


def test_activations_are_those_of_single_sentences(read):
    """T1 of every fact that has sentences, read one by one with the twin."""
    pretrained = checkpoints.from_pretrained(read.model)
    found = lines(read, RECORDS[4])
    sets = {kind: neurons_of(read, kind) for kind in ("neurons", "baseline")}
    for line in found:
        own = {kind: sets[kind][line["fact"]] for kind in sets}
        assert (line["means"] is None) == (line["fact"] == 1 or not any(own.values()))
        if line["means"] is None:
            continue
        head, tail = PAIRS["P19"][line["fact"]]
        texts = [
            data.mask_tail(text, head, tail)
            for text in SENTENCES["P19"][line["fact"]]["th_bags"]
            if tail in text
        ]
        prompts = encode_sentences(texts, pretrained.tokenizer, 24)
        for kind, neurons in own.items():
            each = [literal.activations(pretrained.model, p, neurons) for p in prompts]
            expected = np.mean(each, axis=0).tolist()
            assert line["means"][kind]["both"] == pytest.approx(expected, abs=TOLERANCE)
            assert {len(values) for values in line["means"][kind].values()} == {len(neurons)}


def test_skipped_facts_and_sentences_are_counted(read):
    """By reason, on paper and in the authors' shape."""
    summary, found = load(read, "distant/summary.json"), lines(read, RECORDS[4])
    assert summary["facts_skipped"]["no sentence: both"] == 1
    assert summary["sentences_unusable"]["both: the tail does not occur"] == 1
    assert summary["sentences_unusable"]["head: no other word among the first 50"] == 1
    empty = sum(not own for r in ("P19", "P36") for own in neurons_of(read, "neurons", r))
    assert summary["facts_skipped"]["no neurons: neurons"] == empty
    assert found[2]["sentences"] == {"both": 2, "head": 3, "random": 2}
    for kind, base in (("neurons", ""), ("baseline", "base_")):
        theirs = load(read, f"distant/{base}kn_weights@distant_data.json")
        assert list(theirs) == ["P19", "P36"] and theirs["P19"][1] == "no_exmp"
        for fact, own in enumerate(neurons_of(read, kind)):
            if fact == 1:
                continue
            expected = "no_kn"
            if own:
                order = sorted(range(len(own)), key=own.__getitem__)
                means = found[fact]["means"][kind]
                expected = [[means[k][n] for n in order] for k in ("both", "head", "random")]
            assert theirs["P19"][fact] == expected


def test_table_4_comes_from_the_records(read):
    """A relation's neurons pooled, then the mean over relations, recomputed by other code."""
    table = load(read, "distant/summary.json")["table"]
    relations = [lines(read, f"distant/{name}.jsonl") for name in ("P19", "P36")]
    for kind, row in table.items():
        read_of = [[r["means"][kind] for r in own if r["means"]] for own in relations]
        pooled = [[m for m in own if m["both"]] for own in read_of]
        assert row["facts"] == sum(map(len, pooled)) > 3
        for sentences in ("both", "head", "random"):
            values = [[x for means in own for x in means[sentences]] for own in pooled if own]
            expected = np.mean([np.mean(own) for own in values])
            assert row["by_sentences"][sentences]["value"] == pytest.approx(expected)
            low, high = row["by_sentences"][sentences]["interval"]
            assert low <= expected <= high
        gap = row["by_sentences"]["both"]["value"] - row["by_sentences"]["head"]["value"]
        assert row["contrasts"]["both - head"]["value"] == pytest.approx(gap)


def test_random_sentences_do_not_depend_on_what_is_run(read, own):
    """P36 alone gives the same bytes, since they are drawn from all relations' sentences."""
    fine(own.here(STAGE_4, "--relations", "P36"))
    name = "distant/P36.jsonl"
    assert (own.results / name).read_bytes() == (read.results / name).read_bytes()


# --- stage 5 ---------------------------------------------------------------------------------


def test_ranks_sentences(own):
    """The text file, in the authors' layout, and the JSON of a fact agree with the twin's sums."""
    fine(own.shell("5_run_trigger_examples.sh", "--top", 2))
    pretrained = checkpoints.from_pretrained(own.model)
    found = lines(own, RECORDS[5])
    sets = neurons_of(own, "neurons")
    assert len(found) == 18 and len(lines(own, "trigger_examples_th/P36.jsonl")) == 4
    for line in found:
        fact, neurons = line["fact"], sets[line["fact"]]
        path = own.results / f"trigger_examples_th/P19-{fact}.txt"
        assert line["sentences"] == (0 if fact == 1 or not neurons else 2 if fact == 2 else 3)
        assert path.exists() == bool(line["sentences"]), "as the authors': none without sentences"
        if not line["sentences"]:
            assert line["top"] == line["bottom"] == []
            continue
        head, tail = PAIRS["P19"][fact]
        scores, sentence_of = {}, {}
        for sentence in SENTENCES["P19"][fact]["th_bags"]:
            if tail in sentence:
                masked = data.mask_tail(sentence, head, tail)
                (prompt,) = encode_sentences([masked], pretrained.tokenizer, 24)
                tokens = " ".join(pretrained.tokenizer.tokens(prompt.ids))
                assert tokens.startswith("[CLS] ") and "[MASK]" in tokens
                scores[tokens] = sum(literal.activations(pretrained.model, prompt, neurons))
                sentence_of[tokens] = sentence
        ranked = sorted(scores, key=lambda tokens: -scores[tokens])
        text = path.read_text().splitlines()
        assert text[: 4 + len(neurons)] == [
            *("Triplet:", f"({head}, P19, {tail})", "Kneurons:"),
            *(f"{layer} {index}" for layer, index in neurons),
            "Top-10 Trigger examples:",
        ]
        ranking = [row.split("\t") for row in text[4 + len(neurons) :]]
        assert [tokens for _, tokens in ranking] == ranked
        found_scores = [float(score) for score, _ in ranking]
        assert found_scores == pytest.approx([scores[tokens] for tokens in ranked], abs=1e-4)
        for end, of_end in (("top", ranked[:2]), ("bottom", ranked[::-1][:2])):
            assert [t["sentence"] for t in line[end]] == [sentence_of[tokens] for tokens in of_end]
    assert found[2]["unusable"] == {"the tail does not occur": 1}


def test_chosen_facts(own):
    """--facts writes those alone, beside a whole run; a fact that is not there is refused."""
    fine(own.here(STAGE_5, "--relations", "P19", "--facts", "3,0"))
    assert [line["fact"] for line in lines(own, "trigger_examples_th/P19@0,3.jsonl")] == [0, 3]
    texts = sorted(path.name for path in (own.results / "trigger_examples_th").glob("*.txt"))
    assert texts == ["P19-0.txt", "P19-3.txt"]
    refused(own.here(STAGE_5, "--relations", "P19", "--facts", "18"), "P19 has facts 0 to 17")
    refused(own.here(STAGE_5, "--top", "0"), "argument --top: '0': expected")
    refused(own.here(STAGE_5, "--max_seq_length", "2"), "argument --max_seq_length: '2': expected")


def test_a_fact_that_cannot_be_ranked_is_named(own, monkeypatch):
    """By its place in the relation, not among the facts that were asked for."""

    def fail(*_):
        raise ValueError("of no use")

    monkeypatch.setattr(trigger_examples, "rank_sentences", fail)
    refused(own.here(STAGE_5, "--relations", "P19", "--facts", "3,7"), "P19 fact 3: of no use")


# --- all three -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [3, 4, 5])
def test_goes_on_after_an_interruption(own, stage, monkeypatch):
    """What was whole is kept, the rest computed again: the same bytes."""
    arguments = ("--relations", "P19")
    monkeypatch.setattr(modify_activation, "GROUP", 4)
    monkeypatch.setattr(distant_activation, "GROUP", 4)
    fine(own.here(STAGES[stage], *arguments))
    path = own.results / RECORDS[stage]
    whole, before = path.read_bytes(), path.stat().st_mtime_ns
    fine(own.here(STAGES[stage], *arguments))
    assert path.stat().st_mtime_ns == before  # done: left alone
    path.unlink()
    path.with_name(f"{path.name}.partial").write_bytes(whole[:-10])
    fine(own.here(STAGES[stage], *arguments))
    assert path.read_bytes() == whole
    manifest = own.manifest(RECORDS[stage])
    assert manifest["facts_resumed"] == 16 and manifest["facts"] == 18


@pytest.mark.parametrize("stage", [3, 4, 5])
def test_refuses_what_does_not_belong_together(own, stage, tmp_path):
    """Other facts, other prompts, another model, neurons that are not there: the cause is named."""
    script, kn = STAGES[stage], own.results / "kn"
    refused(own.here(script, "--relations", "P9"), "no neurons of P9", "P19, P36")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(BAGS, indent=1))
    refused(own.here(script, KN_DATA=str(other)), "data_sha256", "kn_bag-P19.json")
    model = tmp_path / "model"
    shutil.copytree(own.model, model)
    (model / "vocab.txt").write_text((model / "vocab.txt").read_text().replace("lima", "lome"))
    without_manifests(own)
    fewer = {r: bags[:-1] for r, bags in BAGS.items()}
    other.write_text(json.dumps(fewer))
    message = ("kn_bag-P19.json has the neurons of 18 facts", "has 17 facts of P19")
    refused(own.here(script, KN_DATA=str(other)), *message)
    neurons = json.loads((kn / "kn_bag-P19.json").read_text())
    neurons[4] = [[7, 1]]
    (kn / "kn_bag-P19.json").write_text(json.dumps(neurons))
    refused(own.here(script), "P19 fact 4", "neuron 1 of layer 7", "another model")
    neurons[4] = [["7", 1]]
    (kn / "kn_bag-P19.json").write_text(json.dumps(neurons))
    refused(own.here(script), "kn_bag-P19.json", "got `str` - at `$[4][0][0]`")
    (kn / "base_kn_bag-P36.json").unlink()
    refused(own.here(script, "--relations", "P36"), "base_kn_bag-P36.json", "no such file")
    shutil.rmtree(kn)
    refused(own.here(script), "run stages 1 and 2 first")


def test_refuses_neurons_of_another_model(own, tmp_path):
    """The manifest of stage 2 knows the weights."""
    from tests.reference.tiny import tiny_bert

    pretrained = checkpoints.from_pretrained(own.model)
    other = tiny_bert(seed=9, config=pretrained.model.config)
    checkpoints.save_pretrained(other, pretrained.tokenizer, tmp_path / "other")
    refused(own.here(STAGE_3, KN_MODEL=str(tmp_path / "other")), "model_sha256", "--bert_model")


@pytest.mark.parametrize("stage", [4, 5])
def test_refuses_sentences_of_other_facts(own, stage, tmp_path):
    """No file, no place for the relation's name, pairs or sentences of other facts."""
    script = STAGES[stage]
    refused(own.here(script, "--sentences", str(tmp_path / "none_{}.json")), "KN_SENTENCES")
    refused(own.here(script, "--sentences", str(tmp_path / "none.json")), "expected one {}")
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps(PAIRS | {"P19": PAIRS["P19"][::-1]}))
    refused(own.here(script, "--pairs", str(pairs)), "P19 fact 0", "do not belong together")
    pairs.write_text(json.dumps({"P36": PAIRS["P36"]}))
    refused(own.here(script, "--pairs", str(pairs)), "no pairs of P19")
    refused(own.here(script, "--relations", "P19", "--sentences", str(own.data.parent / "{}.json")),
            "no such file")  # fmt: skip


def test_relations_without_sentences_are_left_out_and_named(own):
    """P101 has neurons and no file."""
    fine(own.score("P101", "--oov", "skip"))
    fine(own.here("2_get_kn.py", "--relations", "P101"))
    fine(own.here(STAGE_4))
    assert load(own, "distant/summary.json")["relations_without_sentences"] == ["P101"]
    ended = fine(own.here(STAGE_5, "--top", 1))
    assert "without sentences, left out: P101" in ended.out
    refused(own.here(STAGE_4, "--relations", "P101"), "sentences_P101.json: no such file")
