"""The released scripts read our results folder: what they list and how they read it, done here.

They take files by the start or the end of their names, the relation from between the last dash and
the first dot, and trust what is inside.

Run: pytest tests/integration/test_authors_read_ours.py
"""

import json
import os
import shutil
from dataclasses import replace
from statistics import fmean

import pytest

from knowledge_neurons.results.companions import manifest_beside, manifest_path
from tests.integration.stages import BAGS, STAGE_2, Place, fine
from tests.reference.tiny import TINY

FACTS = {relation: len(BAGS[relation]) for relation in ("P19", "P36")}


@pytest.fixture(scope="module")
def finished(refined, tmp_path_factory) -> Place:
    """Stages 1 to 5 and 8; not to be changed."""
    place = replace(refined[0], results=tmp_path_factory.mktemp("finished") / "results")
    shutil.copytree(refined[0].results, place.results)
    for script in ("3_modify_activation", "4_check_weights_distant", "5_find_trigger_examples"):
        fine(place.here(f"{script}.py"))
    fine(place.here("8_plot_figures.py"))
    return place


def listed(folder, start: str = "", end: str = "") -> dict[str, object]:
    """Relation -> content of every file whose name starts and ends so."""
    found = {}
    for name in os.listdir(folder):
        if name.startswith(start) and name.endswith(end):
            relation = name.split(".")[0].split("-")[-1]
            assert relation not in found, f"{name}: the relation's second file"
            with open(os.path.join(folder, name)) as file:
                read = [json.loads(line) for line in file] if end else json.load(file)
            found[relation] = read
    return found


def check_triplets(triplets: list, keep: float = 0.1) -> None:
    """[layer, index, score] by layer and index, none under the share of the largest."""
    assert all(type(layer) is type(index) is int for layer, index, _ in triplets)
    places = [(layer, index) for layer, index, _ in triplets]
    assert places == sorted(set(places))
    assert all(layer < TINY.num_hidden_layers for layer, _ in places)
    scores = [score for *_, score in triplets]
    assert not scores or min(scores) >= keep * max(scores) * (1 - 1e-6)


def test_stage_2_finds_the_scores(finished):
    """A line is a fact, a list of [tokens_info, res_dict]: what their refining takes of it."""
    scores = listed(finished.results, end=".rlt.jsonl")
    assert {relation: len(facts) for relation, facts in scores.items()} == FACTS
    for relation, facts in scores.items():
        for fact, bag in zip(facts, BAGS[relation], strict=True):
            assert len(fact) == len(bag)
            for tokens_info, res_dict in fact:
                assert tokens_info["relation"] == bag[0][2]
                assert tokens_info["gold_obj"] == bag[0][1]
                assert tokens_info["tokens"][0] == "[CLS]"
                assert res_dict["ig_gold"] and res_dict["base"]
                check_triplets(res_dict["ig_gold"])
                check_triplets(res_dict["base"])


@pytest.mark.parametrize("start", ["kn_bag-", "base_kn_bag-"])
def test_statistics_and_stages_3_to_5_find_the_neurons_of_facts(finished, start):
    """Every file that starts so is a relation's list of facts, each a list of [layer, index]."""
    bags = listed(finished.results / "kn", start)
    assert {relation: len(facts) for relation, facts in bags.items()} == FACTS
    pairs = [pair for facts in bags.values() for fact in facts for pair in fact]
    assert pairs and all(len(pair) == 2 for pair in pairs)
    assert all(type(number) is int for pair in pairs for number in pair)


@pytest.mark.parametrize("start", ["kn_rel-", "base_kn_rel-"])
def test_the_neurons_of_relations_are_pairs(finished, start):
    relations = listed(finished.results / "kn", start)
    assert relations.keys() == FACTS.keys()
    assert all(len(pair) == 2 for pairs in relations.values() for pair in pairs)


def test_a_folder_of_before_is_clean_after_stage_2(finished, tmp_path):
    """Manifests lay beside the neurons, where their stage 3 took them for facts."""
    place = replace(finished, results=tmp_path / "results")
    shutil.copytree(finished.results, place.results)
    for manifest in (place.results / "kn" / "manifests").iterdir():
        manifest.rename(place.results / "kn" / manifest.name)
    fine(place.here(STAGE_2))
    bags = listed(place.results / "kn", "kn_bag-")
    assert {relation: len(facts) for relation, facts in bags.items()} == FACTS
    path = place.results / "kn" / "kn_bag-P36.json"
    assert manifest_path(path).exists() and not manifest_beside(path).exists()


def test_the_plot_of_stage_3_finds_its_keys(finished):
    """kn_bag-REL in one file, base_kn_bag-REL in the other, for every relation; own and other."""
    content = {}
    for base in ("", "base_"):
        with open(finished.results / f"kn/{base}modify_activation_rlt.json") as file:
            content[base] = json.load(file)
    for relation in FACTS:
        for base, averages in content.items():
            values = averages[f"{base}kn_bag-{relation}"]
            for who in ("own", "oth"):
                assert 0 < values[f"{who}:ori_prob"] < 1
                for verb in ("rm", "eh"):
                    delta = values[f"{verb}_{who}:ave_delta"]
                    ratio = values[f"{verb}_{who}:ave_delta_ratio"]
                    assert ratio == pytest.approx(delta / values[f"{who}:ori_prob"])


@pytest.mark.parametrize("base", ["", "base_"])
def test_the_plot_of_stage_4_pools_its_numbers(finished, base):
    """A word, or three lists with a number for each of the fact's neurons by layer and index."""
    with open(finished.results / f"distant/{base}kn_weights@distant_data.json") as file:
        content = json.load(file)
    assert {relation: len(facts) for relation, facts in content.items()} == FACTS
    bags, means = listed(finished.results / "kn", f"{base}kn_bag-"), []
    for relation, facts in content.items():
        pooled = [[], [], []]
        for entry, neurons in zip(facts, bags[relation], strict=True):
            if isinstance(entry, str):
                assert entry in ("no_exmp", "no_kn")
                continue
            for values, kind in zip(entry, pooled, strict=True):
                assert len(values) == len(neurons)
                kind += values
        means.append([fmean(kind) for kind in pooled if kind])
    with open(finished.results / "distant/summary.json") as file:
        kind = "baseline" if base else "neurons"
        ours = json.load(file)["table"][kind]["by_sentences"]
    for place, name in enumerate(("both", "head", "random")):
        theirs = fmean(of_relation[place] for of_relation in means if of_relation)
        assert ours[name]["value"] == pytest.approx(theirs, abs=1e-6)


def test_texts_of_stage_5_are_in_their_layout(finished):
    """A text for each fact that has neurons and sentences, and for no other."""
    bags = listed(finished.results / "kn", "kn_bag-")
    folder = finished.results / "trigger_examples_th"
    texts = [path for path in folder.iterdir() if path.suffix == ".txt"]
    assert len(texts) > 3
    for path in texts:
        relation, fact = path.stem.split("-")
        first, triplet, second, *rest = path.read_text().splitlines()
        assert (first, second) == ("Triplet:", "Kneurons:")
        assert triplet.startswith("(") and triplet.split(", ")[1] == relation
        split = rest.index("Top-10 Trigger examples:")
        neurons = [[int(number) for number in row.split()] for row in rest[:split]]
        assert neurons == bags[relation][int(fact)] != []
        scores = [float(row.split("\t")[0]) for row in rest[split + 1 :]]
        assert scores and scores == sorted(scores, reverse=True)
        for row in rest[split + 1 :]:
            tokens = row.split("\t")[1].split()
            assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]") and "[MASK]" in tokens
