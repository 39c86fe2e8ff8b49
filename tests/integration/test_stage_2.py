"""Stage 2 as users run it, on the scores of stage 1: neurons, statistics, figure, errors.

Run: pytest tests/integration/test_stage_2.py
"""

import json
import re

import pytest

from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.manifests import sha256_of
from tests.integration.stages import STAGE_2, bag, fine, refused
from tests.reference import refine as literal_refine
from tests.reference.tiny import TINY


def test_stage_2_writes_neurons_statistics_and_figure(refined):
    """Every file of the contract, each with a manifest beside it, named on the screen."""
    place, ended = refined
    names = {f"{kind}-{rel}" for kind in ("kn_bag", "kn_rel") for rel in ("P19", "P36")}
    names = {f"{base}{name}.json" for name in names for base in ("", "base_")}
    names |= {"statistics.json"}
    assert {path.name for path in (place.results / "kn").iterdir()} == names | {"manifests"}
    manifests = {path.name for path in (place.results / "kn" / "manifests").iterdir()}
    assert manifests == {f"{name}.manifest.json" for name in names}
    figure = place.results / "figs" / "kneurons_distribution"
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    assert figure.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    for part in ("P19", "18 facts", "P36", "4 facts", "Table 2", f"wrote {figure}.pdf"):
        assert part in ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("relation", ["P19", "P36"])
@pytest.mark.parametrize("base, field, t", [("", "ig_gold", 0.2), ("base_", "base", 0.5)])
def test_neurons_are_those_of_the_slow_twin(refined, relation, base, field, t):
    """From the scores as written to the neurons as written, for facts and relation, with its p."""
    place, _ = refined
    facts = [[result[field] for _, result in line] for line in place.lines(relation)]
    neurons, p, average, tried = literal_refine.refine_relation(facts, t, 0.7, 6, 3)
    written = json.loads((place.results / f"kn/{base}kn_bag-{relation}.json").read_bytes())
    assert written == [[list(neuron) for neuron in fact] for fact in neurons]
    assert any(written), "a case with neurons"
    shared = json.loads((place.results / f"kn/{base}kn_rel-{relation}.json").read_bytes())
    assert shared == [list(n) for n in literal_refine.relation_neurons(neurons, 0.1)]
    manifest = place.manifest(f"kn/{base}kn_bag-{relation}.json")
    assert (manifest["shared_used"], manifest["rounds_used"]) == (p, tried)
    assert manifest["in_band"] == (2 <= average <= 5)
    assert manifest["neurons_per_fact"] == pytest.approx(average)
    sha256 = sha256_of(place.scores(relation))
    assert manifest["identity"]["scores_sha256"] == sha256
    assert manifest["identity"]["coarse"] == t


def test_statistics_cover_both_kinds_and_all_layers(refined):
    """Facts of both relations; a share for each layer of the model; relations apart."""
    place, _ = refined
    statistics = json.loads((place.results / "kn/statistics.json").read_bytes())
    assert set(statistics) == {"neurons", "baseline"}
    for kind in statistics.values():
        assert kind["facts"] == 22 and set(kind["relations"]) == {"P19", "P36"}
        assert len(kind["layers"]) == TINY.num_hidden_layers
        assert sum(kind["layers"]) == pytest.approx(1)


def test_stage_2_of_chosen_relations_and_thresholds(copied):
    """--relations, --coarse, --shared, --min_prompts reach the refinement and the manifest."""
    fine(copied.here(STAGE_2, "--relations", "P36", "--coarse", 0.9, "--shared", 0.2))
    names = [path.name for path in (copied.results / "kn").glob("kn_bag-*.json")]
    assert names == ["kn_bag-P36.json"]
    facts = [[result["ig_gold"] for _, result in line] for line in copied.lines("P36")]
    neurons = literal_refine.refine_relation(facts, 0.9, 0.2, 6, 3)[0]
    written = json.loads((copied.results / "kn/kn_bag-P36.json").read_bytes())
    assert written == [[list(neuron) for neuron in fact] for fact in neurons]


@pytest.mark.parametrize("coarse, outside", [(0.1, "more than 5"), (0.99, "fewer than 2")])
def test_a_band_that_is_not_reached_is_told_with_advice(copied, coarse, outside):
    """Beside the number, below the table and in the manifest; not where it is reached."""
    arguments = ("--relations", "P19", "--base_coarse", coarse, "--rounds", 1, "--shared", 0.1)
    ended = fine(copied.here(STAGE_2, *arguments))
    manifest = copied.manifest("kn/base_kn_bag-P19.json")
    average = manifest["neurons_per_fact"]
    assert manifest["in_band"] is False and f"{average:.2f}* at p" in ended.out
    way = "above" if average > 5 else "below"
    assert f"* baseline of P19  {outside}" in ended.out
    assert f"try --base_coarse {way} {coarse:g}" in ended.out
    table = fine(copied.here("2_analyze_kn.py", "--relations", "P19")).out
    (row,) = re.findall(r"relations outside the band of p +(\d+) and (\d+)", table)
    assert row[1] == "1"


def test_stage_2_works_on_the_authors_own_files(copied):
    """Scores without a manifest, of the released code: refined and counted all the same."""
    manifest_path(copied.scores("P36")).unlink()
    copied.scores("P19").unlink()
    fine(copied.here(STAGE_2))
    fine(copied.here("2_analyze_kn.py"))
    assert len(json.loads((copied.results / "kn/kn_bag-P36.json").read_bytes())) == 4


def test_broken_scores_are_named_by_file_and_line(copied):
    """The shell stage ends with 2 and one message, and does not go on to the statistics."""
    path = copied.scores("P36")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:40] + b"\n"
    path.write_bytes(b"".join(lines))
    ended = copied.shell("2_run_kn.sh")
    refused(ended, f"{path}, line 2 (fact 1)", "run the stage that wrote it again")
    assert not (copied.results / "kn/kn_bag-P36.json").exists()
    assert not (copied.results / "kn/statistics.json").exists()


def test_stage_2_without_scores_says_what_to_run(place):
    """Nothing there; and only a partial there: neither is refined."""
    refused(place.here(STAGE_2), place.results, "run stage 1 first")
    place.results.mkdir()
    place.scores("P36").with_name("TREx-all-P36.rlt.jsonl.partial").write_bytes(b"[]\n")
    refused(place.here(STAGE_2), place.results, "run stage 1 first")
    refused(place.here("2_analyze_kn.py"), "run 2_get_kn.py first")


def test_stage_2_of_a_relation_without_scores_lists_those_that_have(copied):
    """The missing ones and the ones that are there."""
    refused(copied.here(STAGE_2, "--relations", "P36,P20"), "no scores for P20", "P19, P36")
    assert not (copied.results / "kn").exists()


# --- facts without prompts -------------------------------------------------------------------


def test_skipped_facts_keep_their_place_through_both_stages(place):
    """--oov skip: counted, an empty line, listed in both manifests; not in the averages."""
    assert "1 facts" in fine(place.score("P101", "--oov", "skip")).out
    assert place.scores("P101").read_bytes().splitlines()[1] == b"[]"
    lines = place.lines("P101")
    assert [len(line) for line in lines] == [4, 0, 4]
    assert [lines[place][0][0]["gold_obj"] for place in (0, 2)] == ["rome", "oslo"]
    manifest = place.scores_manifest("P101")
    assert (manifest["skipped_facts"], manifest["facts"], manifest["prompts"]) == ([1], 3, 8)
    fine(place.here(STAGE_2))
    fine(place.here("2_analyze_kn.py"))
    neurons = json.loads((place.results / "kn/kn_bag-P101.json").read_bytes())
    assert len(neurons) == 3 and neurons[1] == []
    kn = place.manifest("kn/kn_bag-P101.json")
    assert kn["facts_without_prompts"] == [1]
    assert kn["neurons_per_fact"] == sum(map(len, neurons)) / 2
    statistics = json.loads((place.results / "kn/statistics.json").read_bytes())
    assert statistics["neurons"]["facts"] == 2
    assert statistics["neurons"]["per_fact"] == kn["neurons_per_fact"]


def test_relation_all_of_whose_answers_are_unknown(place, tmp_path):
    """Every fact skipped: lines of [], no crash; stage 2 says that there is nothing to count."""
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"P36": [bag("P36", "capital", "ann", "atlantis")] * 2}))
    fine(place.score("P36", "--data_path", data, "--oov", "skip"))
    assert place.scores("P36").read_bytes() == b"[]\n[]\n"
    fine(place.here(STAGE_2))
    assert json.loads((place.results / "kn/kn_bag-P36.json").read_bytes()) == [[], []]
    refused(place.here("2_analyze_kn.py"), "no facts")


def test_scores_of_different_rules_are_not_mixed(copied):
    """Relations scored differently: both are named, with the field; nothing is overwritten."""
    scores = copied.scores("P36")
    manifest = manifest_path(scores)
    content = json.loads(manifest.read_bytes())
    content["identity"]["steps"] = 7
    manifest.write_text(json.dumps(content))
    refused(copied.shell("2_run_kn.sh"), "P19", "P36", "steps is 7", "20", "--relations")
    fine(copied.shell("2_run_kn.sh", "--relations", "P19"))


def test_scores_stored_too_sparsely_for_the_threshold_are_refused(copied):
    """--coarse below what stage 1 kept would silently miss neurons: refused, with what to do."""
    refused(copied.shell("2_run_kn.sh", "--coarse", 0.05), "0.1 of the largest", "--keep 0.05")


def test_scores_cut_at_the_end_of_a_line_are_refused(copied):
    """A whole line is missing: every remaining one parses, the manifest knows better."""
    path = copied.scores("P19")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    refused(copied.shell("2_run_kn.sh"), str(path), "its manifest says", "rm ")
    refused(copied.score("P19"), str(path), "its manifest says")


def test_neurons_of_other_scores_are_refused_by_the_statistics(copied):
    """Scores that changed after refining: the statistics ask for refining again."""
    fine(copied.shell("2_run_kn.sh"))
    path = copied.scores("P19")
    path.write_bytes(path.read_bytes() + b"[]\n")
    refused(copied.here("2_analyze_kn.py"), "P19", "run 2_run_kn.sh again")


@pytest.mark.parametrize("flag, value", [("--rounds", 0), ("--coarse", "nan"), ("--pairs", -1)])
def test_senseless_thresholds_are_refused(copied, flag, value):
    """Each is named; none loops forever or gives a table of nothing."""
    refused(copied.shell("2_run_kn.sh", flag, value), flag[2:], str(value))
