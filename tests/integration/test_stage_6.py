"""Stage 6 as users run it: edits of the embedded model, undone, recorded, kept.

Run: pytest tests/integration/test_stage_6.py
"""

import json

import pytest

from knowledge_neurons.editing import patches
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import write_manifest
from tests.integration.editable import (
    FACTS,
    MODEL,
    RELATIONS,
    another,
    editable,
    interrupt,
    write_neurons,
)
from tests.integration.stages import fine, refused

STAGE_6 = "6_edit_knowledge_sampled.py"
QUICK = ("--facts_per_relation", 2)
LINES = 3 * 2 * len(RELATIONS)  # kinds, facts, relations


@pytest.fixture(scope="module")
def edited(one_thread, tmp_path_factory):
    """The shell stage with patches; not to be changed."""
    place = editable(tmp_path_factory.mktemp("edited"))
    return place, fine(place.shell("6_run_edit.sh", 1, 8, *QUICK, "--save_patches"))


@pytest.fixture
def place(edited, tmp_path_factory):
    return another(edited[0], tmp_path_factory.mktemp("own").name)


def lines(place, run: str = "edit-1-8") -> list[dict]:
    content = Results(place.results).edits(run).read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def test_records_summary_patches_and_a_table(edited):
    """A line per fact and kind, manifests beside, every file named on the screen."""
    place, ended = edited
    records = lines(place)
    assert len(records) == LINES
    assert {record["relation"] for record in records} == set(RELATIONS)
    kinds = [record["kind"] for record in records[:3]]
    assert kinds == ["knowledge", "random", "random_same_size"]
    for record in records:
        assert record["old"] != record["new"] and len(record["prompts"]) == 8
        assert record["prompts"][record["asked"]]["rank_old"][0] == 1
        if record["kind"] == "knowledge":
            fact = record["fact"]
            assert record["neurons"] == [[3, fact], [2, 100 + fact]], "without the shared one"
    summary = json.loads((place.results / "edit/edit-1-8.json").read_bytes())
    assert summary["relations"]["P36"]["edits"] == 2 and summary["draw"] == "released"
    assert [row["edits"] for row in summary["edits"]] == [6, 6, 6]
    for part in ("Table 6: 6 edits, released draw", "success", "2 edits of 2 facts", "wrote"):
        assert part in ended.out
    for name in ("edit/edit-1-8.jsonl", "edit/edit-1-8.json"):
        assert place.manifest(name)["complete"] is True
    assert place.manifest("edit/edit-1-8.jsonl")["identity"]["draw"] == "released"
    assert "Traceback" not in ended.err


def test_weights_are_the_same_before_and_after_the_run(edited):
    """The sha256 of the whole state_dict, at loading, after the last edit, and of the file."""
    manifest = edited[0].manifest("edit/edit-1-8.jsonl")
    assert manifest["identity"]["model_sha256"] == manifest["model_sha256_after"]
    assert manifest["model_sha256_after"] == checkpoints.from_pretrained(MODEL).sha256


def test_a_run_that_leaves_a_trace_in_the_weights_is_an_error(place, monkeypatch):
    """What the sha256 is compared for: an edit that is not undone."""
    monkeypatch.setattr("knowledge_neurons.editing.slots._write", leave_a_trace)
    with pytest.raises(RuntimeError, match="the edits were not undone"):
        place.here(STAGE_6, *QUICK)
    assert not Results(place.results).edits("edit-1-8").exists()


def leave_a_trace(model, neurons, slots) -> None:
    for layer, index in neurons:
        model.layers[layer].output.weight[0, index] += 1e-3


def test_every_fact_has_a_patch_of_its_edit(edited):
    place, _ = edited
    folder = place.results / "edit/edit-1-8"
    own = [record for record in lines(place) if record["kind"] == "knowledge"]
    names = {f"{record['relation']}-{record['fact']}-1-8.safetensors" for record in own}
    assert {path.name for path in folder.iterdir()} == names
    patch = patches.load(folder / f"{own[0]['relation']}-{own[0]['fact']}-1-8.safetensors")
    header = patch.header
    assert (header.old, header.new) == (own[0]["old"], own[0]["new"])
    assert [list(neuron) for neuron in header.neurons] == own[0]["neurons"]
    assert header.lambdas == (1.0, 8.0)


@pytest.mark.parametrize("kept, resumed", [(0.5, 0), (3, 3), (7.5, 6), (LINES, LINES)])
def test_resumed_from_any_line_equals_uninterrupted(edited, place, kept, resumed):
    """The partial cut inside a line, inside a fact, at the end: the same bytes."""
    whole = Results(edited[0].results).edits("edit-1-8")
    path = Results(place.results).edits("edit-1-8")
    interrupt(whole, path, kept)
    fine(place.here(STAGE_6, *QUICK))
    assert path.read_bytes() == whole.read_bytes()
    assert place.manifest("edit/edit-1-8.jsonl")["edits_resumed"] == resumed
    summaries = [p.results / "edit/edit-1-8.json" for p in (edited[0], place)]
    assert summaries[0].read_bytes() == summaries[1].read_bytes()


def test_done_edits_are_not_done_again(edited):
    place, before = edited
    again = fine(place.here(STAGE_6, *QUICK))
    assert "all edits are done" in again.out
    table = before.out[before.out.index("Table 6") : before.out.index("wrote")]
    assert table in again.out


def test_facts_that_are_edited_again_have_patches_of_their_own(place):
    """Twenty edits of twelve facts: each has its patch; a run resumed at a repeated one agrees."""
    arguments = ("--facts_per_relation", 20, "--relations", "P36", "--save_patches")
    ended = fine(place.here(STAGE_6, *arguments))
    own = [record for record in lines(place) if record["kind"] == "knowledge"]
    again = {record["fact"]: record["repeat"] + 1 for record in own if record["repeat"]}
    assert len(own) == 20 and again
    assert f"20 edits of {20 - sum(r['repeat'] > 0 for r in own)} facts" in ended.out
    assert len(list((place.results / "edit/edit-1-8").glob("*.safetensors"))) == 20
    fact, times = next(iter(again.items()))
    patch = patches.load(place.results / f"edit/edit-1-8/P36-{fact}@{times}-1-8.safetensors")
    last = [record for record in own if record["fact"] == fact][-1]
    assert (patch.header.fact, patch.header.new) == (fact, last["new"])
    path = Results(place.results).edits("edit-1-8")
    whole, cut = path.read_bytes(), 3 * own.index(last) + 1.5
    interrupt(path, path, cut)
    path.unlink()
    fine(place.here(STAGE_6, *arguments))
    assert path.read_bytes() == whole


def test_distinct_draw_is_an_option_of_its_own(place):
    """No fact twice, one prompt of each watching fact; not mixed with the released draw."""
    arguments = ("--facts_per_relation", 9, "--relations", "P36", "--draw", "distinct")
    ended = fine(place.here(STAGE_6, *arguments))
    own = [record for record in lines(place) if record["kind"] == "knowledge"]
    assert len({record["fact"] for record in own}) == 9
    assert {len(w["prompts"]) for r in own for w in (*r["same"], *r["other"])} == {1}
    assert "Table 6: 9 edits, distinct draw" in ended.out
    refused(place.here(STAGE_6, *arguments[:-2]), "draw is 'distinct' there and 'released' now")


def test_other_settings_are_not_mixed_with_what_is_there(edited):
    refused(edited[0].here(STAGE_6, *QUICK, "--seed", 1), "seed is 42 there and 1 now")


def test_lambda_sweep_has_a_line_for_each_pair(place):
    ended = fine(place.here(STAGE_6, *QUICK, "--relations", "P36", "--lambda_sweep", "1:8,0:4"))
    records = lines(place, "edit-sweep")
    pairs = [(record["lambda_1"], record["lambda_2"]) for record in records]
    assert pairs == ([(1, 8)] * 3 + [(0, 4)] * 3) * 2
    assert "lambdas 1 and 8" in ended.out and "lambdas 0 and 4" in ended.out


def write_scores(place, relation: str, strongest: int) -> None:
    """Scores in the authors' shape: per prompt `strongest` neurons of the top layer, 3@0 first."""
    info = {"tokens": ["x"], "relation": f"{relation}(x)", "gold_obj": "x", "pred_obj": "x"}
    ranked = [[3, index, 1.0 / (1 + index)] for index in range(strongest)]
    result = {"pred": [], "ig_pred": [], "ig_gold": ranked, "base": []}
    line = json.dumps([[info, result]] * 8)
    path = Results(place.results).scores(relation)
    path.write_text(f"{line}\n" * FACTS)


def test_top_k_edits_the_strongest_and_draws_success(place):
    """The same facts as without --top_k; the neurons of highest score, as many as there are."""
    write_scores(place, "P36", strongest=4)
    ended = fine(place.here(STAGE_6, *QUICK, "--relations", "P36", "--top_k", "3,1,9"))
    fine(place.here(STAGE_6, *QUICK, "--relations", "P36"))
    records = [r for r in lines(place, "edit-1-8-top_k") if r["kind"] == "knowledge"]
    assert [r["top_k"] for r in records] == [1, 3, 9] * 2
    assert [len(r["neurons"]) for r in records] == [1, 3, 4] * 2
    assert records[1]["neurons"] == [[3, 0], [3, 1], [3, 2]]
    plain = {(r["fact"], r["asked"], r["new"]) for r in lines(place)}
    assert {(r["fact"], r["asked"], r["new"]) for r in records} == plain
    figure = place.results / "figs/edit_success-1-8"
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    assert f"wrote {figure}.png" in ended.out and "top 9 neurons" in ended.out


def test_top_k_without_scores_is_refused(place):
    refused(place.here(STAGE_6, *QUICK, "--top_k", "1"), "P19.rlt.jsonl", "no such file")


def test_top_k_with_scores_of_other_neurons_is_refused(place):
    """A manifest of stage 2 names the scores that it refined; facts without any are no better."""
    write_scores(place, "P36", strongest=4)
    path = Results(place.results).fact_neurons("P36", baseline=False)
    write_manifest(path, {"scores": {}, "scores_sha256": "another"})
    arguments = (*QUICK, "--relations", "P36", "--top_k", "1")
    refused(place.here(STAGE_6, *arguments), "of other scores", "run 2_run_kn.sh again")
    manifest_path(path).unlink()
    write_scores(place, "P36", strongest=0)
    refused(place.here(STAGE_6, *arguments), "P36.rlt.jsonl has no scores of fact")


@pytest.mark.parametrize(
    "arguments, part",
    [
        (("--top_k", "0"), "'0': expected a whole number"),
        (("--top_k", "1,x"), "'x': expected a whole number"),
        (("--lambda_sweep", "1"), "expected L1:L2"),
        (("--lambda_sweep", "1:a"), "'a': expected a number"),
        (("--facts_per_relation", "0"), "expected a whole number, 1 to"),
        (("--relations", "P101"), "no neurons of"),
    ],
)
def test_wrong_arguments_are_refused(place, arguments, part):
    ended = place.here(STAGE_6, *arguments)
    assert ended.code == 2 and part in ended.err
    assert not (place.results / "edit").exists()


def test_a_relation_without_neurons_says_so_and_the_others_go_on(place):
    write_neurons(place.results, "P19", [[]] * FACTS)
    ended = fine(place.here(STAGE_6, *QUICK))
    assert "no edit: none of its 12 facts has neurons of its own" in ended.out
    assert {record["relation"] for record in lines(place)} == {"P36", "P37"}
    for relation in RELATIONS:
        write_neurons(place.results, relation, [[]] * FACTS)
    assert "no fact to edit in any relation" in fine(place.here(STAGE_6, "--lambda_2", 4)).out


def test_facts_answered_wrong_are_counted(place, tmp_path):
    """Answers moved round by one fact, so that nearly none is right."""
    bags = json.loads(place.data.read_bytes())
    facts = bags["P36"]
    answers = [facts[(i + 1) % FACTS][0][1] for i in range(FACTS)]
    for bag, answer in zip(facts, answers, strict=True):
        for prompt in bag:
            prompt[1] = answer
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(bags))
    arguments = ("--relations", "P36", "--data_path", wrong)
    ended = place.here(STAGE_6, *arguments)
    assert "no fact to edit in any relation, and nothing written" in fine(ended).out
    assert "no edit: 10000 drawn, 0 of them without neurons of their own, 10000" in ended.out
    ended = place.here(STAGE_6, *arguments, "--draw", "distinct")
    assert "no edit: 12 drawn, 0 of them without neurons of their own, 12 answered" in ended.out


@pytest.mark.parametrize(
    "neurons, parts",
    [
        ([[[3, 1]]] * (FACTS - 1), ("neurons of 11 facts", "has 12 facts of P36", "--max_facts")),
        ([[[3, 1]]] * (FACTS - 1) + [[[4, 0]]], ("fact 11", "layers 0 to 3 of 512 neurons")),
        ([[[3, 1], [3, 1]]] * FACTS, ("fact 0", "named twice")),
        ({"a": 1}, ("Expected `array`, got `object`", "[[layer, index], ...]")),
    ],
)
def test_neurons_that_do_not_fit_are_refused(place, neurons, parts):
    write_neurons(place.results, "P36", neurons)
    refused(place.here(STAGE_6, *QUICK), "kn_bag-P36.json", *parts)


def test_neurons_of_another_model_are_refused(place):
    """A manifest of stage 2 names the model that the scores were made with."""
    path = Results(place.results).fact_neurons("P36", baseline=False)
    write_manifest(path, {"scores": {"model_sha256": "another"}})
    refused(place.here(STAGE_6, *QUICK), "kn_bag-P36.json", "model_sha256 was 'another'")


def test_a_results_folder_without_neurons_is_refused(place, tmp_path):
    refused(place.here(STAGE_6, "--output_dir", tmp_path), "run stages 1 and 2 first")


def test_shell_stage_without_lambdas_shows_its_usage(place):
    for arguments in ((), (1,)):
        ended = place.shell("6_run_edit.sh", *arguments)
        assert ended.code != 0 and "usage: bash 6_run_edit.sh LAMBDA1 LAMBDA2" in ended.err
    assert "--lambda_sweep" in fine(place.shell("6_run_edit.sh", "--help")).out
