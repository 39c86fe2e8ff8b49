"""A LLaMA of a user's through eight stages and the tenth, its edits loaded by `transformers`.

It learned 28 made-up facts by heart in seconds; some prompts go on behind the answer, some answers
are of two tokens.  Run: pytest tests/integration/test_decoder_stages.py
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from knowledge_neurons.editing import patches
from knowledge_neurons.networks.checkpoints import from_pretrained
from knowledge_neurons.neurons.neuron_statistics import refine_scores
from knowledge_neurons.neurons.refine import Thresholds
from knowledge_neurons.results.controls import effects_of, read_controls, read_effects
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.scores import read_fact_scores
from tests.integration.decoder import BARE, FACTS, RELATIONS, bags
from tests.integration.stages import Ended, Place, fine, refused
from tests.integration.test_apply_edit import run as apply_edit

STAGE_3, STAGE_6 = "3_modify_activation.py", "6_edit_knowledge_sampled.py"
STAGE_10 = "10_question_neurons.py"
EVERY = 4  # prompt of a fact is held out
TEXT_BEHIND = "more than punctuation follows the answer"
WITHIN = 1e-5  # probabilities in float32


@pytest.fixture(scope="module")
def place(decoder, tmp_path_factory) -> Place:
    return replace(decoder, results=tmp_path_factory.mktemp("through") / "results")


@pytest.fixture(scope="module")
def through(place) -> dict[str, Ended]:
    """Every stage, the first by its shell script; not to be changed."""
    ended = {"1": fine(place.shell("1_run_mlm.sh", "P19"))}
    fine(place.score("P103"))
    for name, *arguments in (
        ("2_get_kn.py", "--held_out", EVERY),
        ("2_analyze_kn.py",),
        (STAGE_3,),
        (STAGE_10,),
        ("4_check_weights_distant.py",),
        ("5_find_trigger_examples.py",),
        (STAGE_6, "--save_patches"),
        ("7_erase_knowledge.py", "--relation", "P19", "--neurons", 5),
        ("8_plot_figures.py",),
        ("8_plot_report.py",),
    ):
        ended[name] = fine(place.here(name, *arguments))
    return ended


def load(place: Place, name: str):
    return json.loads((place.results / name).read_bytes())


# --- what is asked ---------------------------------------------------------------------------


def test_prompts_that_go_on_are_left_out_and_counted(place, through):
    """On the screen and in the manifest, with the fact that has too few others."""
    manifest = place.scores_manifest("P19")
    assert manifest["prompts_left_out"] == {TEXT_BEHIND: FACTS - 1 + 3}
    assert manifest["skipped_facts"] == [BARE]
    assert manifest["prompts"] == 4 * (FACTS - 1)
    several = sum(bag[0][1] == "New York" for bag in bags()["P19"][:BARE])
    assert manifest["answers_of_several_tokens"] == {"2": 4 * several} and several > 1
    assert (manifest["identity"]["layers"], manifest["identity"]["answers"]) == ("1-2", "own")
    told = through["1"].out
    assert f"16 prompts ({TEXT_BEHIND})" in told and "layers    1 to 2" in told
    assert "1 facts (fewer than 3 prompts can be read)" in told
    lines = place.lines("P19")
    assert [len(line) for line in lines] == [4] * BARE + [0]
    model = transformers.AutoTokenizer.from_pretrained(place.model)
    for line, bag in zip(lines, bags()["P19"], strict=True):
        for (info, scores), (text, answer, _) in zip(line, bag, strict=False):
            assert model.convert_tokens_to_string(info["tokens"]) == text.split(" [MASK]")[0]
            assert info["gold_obj"] == answer and scores["ig_gold"]
            assert {layer for layer, *_ in scores["ig_gold"] + scores["base"]} <= {1, 2}


def test_the_model_knows_its_facts(place, through):
    """So the tests below are about something: it says every answer."""
    records = [json.loads(line) for line in (place.results / "erase/P19.jsonl").open()]
    ranks = [rank for record in records for rank in record["ranks"]["before"]]
    assert len(ranks) == 2 * 4 * (FACTS - 1) and set(ranks) == {1}


def test_few_prompts_are_enough_where_asked(place, tmp_path):
    """--min_prompts 2 keeps the last fact; --layers takes the lowest, and says so."""
    own = replace(place, results=tmp_path)
    fine(own.score("P19", "--min_prompts", 2, "--layers", "0-1", "--max_facts", FACTS))
    assert own.scores_manifest("P19")["skipped_facts"] == []
    assert own.identity("P19")["layers"] == "0-1"
    scored = [row[0] for line in own.lines("P19") for _, one in line for row in one["ig_gold"]]
    assert set(scored) == {0, 1}
    refused(own.score("P103", "--layers", "0-3"), "layers 0 to 3: the model has 0 to 2")


def test_answers_of_several_tokens_each_and_at_once(place, tmp_path):
    """--answers each: a line for each token, refined by --answer_token; joint: one for all."""
    each, whole = (replace(place, results=tmp_path / name) for name in ("each", "joint"))
    fine(each.score("P19", "--answers", "each"))
    york = [line for line, bag in zip(each.lines("P19"), bags()["P19"], strict=True)
            if line and bag[0][1] == "New York"]  # fmt: skip
    tokens = [[info.get("answer_token", 0) for info, _ in line] for line in york]
    assert tokens == [[0, 1] * 4] * len(york)
    assert all(info["tokens"][-1] == "ĠNew" for line in york for info, _ in line[1::2])
    fine(each.here("2_get_kn.py", "--answer_token", 1))
    second = read_fact_neurons(Results(each.results).fact_neurons("P19", baseline=False))
    assert [bool(own) for own in second] == [bag[0][1] == "New York" for bag in bags()["P19"]]
    joint = ("--answers", "joint", "--aggregate", "max")
    fine(whole.score("P19", *joint))
    assert whole.identity("P19")["answers"] == "joint, max"
    fine(whole.score("P103"))
    refused(whole.here("2_get_kn.py"), "answers is", "do not belong together")
    other = replace(place, results=tmp_path / "other")
    refused(other.score("P103", *joint, "--get_pred"), "of the right answer alone")


# --- stages 2 and 3 --------------------------------------------------------------------------


def test_held_out_prompts_found_no_neurons(place, through):
    """Neurons are those of three of four prompts; the manifest says so."""
    results = Results(place.results)
    facts = list(read_fact_scores(results.scores("P19")))
    expected = refine_scores([[p for i, p in enumerate(own) if i != 3] for own in facts])
    path = results.fact_neurons("P19", baseline=False)
    assert read_fact_neurons(path) == expected.neurons.facts
    assert read_fact_neurons(path) != refine_scores(facts, Thresholds()).neurons.facts
    assert place.manifest("kn/kn_bag-P19.json")["identity"]["held_out"] == EVERY


def test_controls_of_every_fact(place, through):
    """Each beside another answer of its relation; no random neuron is the fact's own."""
    results, total = Results(place.results), 0
    for relation in RELATIONS:
        found = read_controls(results.controls(relation))
        assert [one.fact for one in found] == list(range(FACTS))
        answers = [bag[0][1] for bag in bags()[relation]]
        for one in found:
            assert (one.own is None) == (one.fact == BARE) and one.held_out == EVERY
            if one.own is None:
                continue
            assert len(one.own.original) == 4 and "rest" not in one.neurons, "stage 2 held out"
            assert one.same.relation == relation and one.other.relation != relation
            assert answers[one.same.fact] != answers[one.fact] and one.same.fact != BARE
            assert one.neurons["random"] == one.neurons["neurons"]
            assert one.neurons["neurons"] >= one.neurons["shared_by_0"]
            total += 1
    assert total == 2 * (FACTS - 1)


def test_controls_own_prompts_are_stage_3s(place, through):
    """The same neurons scaled for the same prompts give the same probabilities in both files."""
    for relation in RELATIONS:
        path = place.results / "modify_activation" / f"{relation}.jsonl"
        records = [json.loads(line) for line in path.open()]
        for record, one in zip(records, read_controls(Results(place.results).controls(relation)),
                               strict=True):  # fmt: skip
            if record["own"] is None:
                continue
            assert one.own.original == pytest.approx(record["own"]["original"], abs=WITHIN)
            for factor in (0.0, 2.0):
                expected = record["own"]["edited"]["neurons"][str(factor)]
                assert one.own.edited["neurons"][factor] == pytest.approx(expected, abs=WITHIN)


def test_probability_is_of_the_whole_answer(place, through):
    """Stage 3's, unedited, by `transformers` alone, token by token."""
    model = transformers.AutoModelForCausalLM.from_pretrained(place.model)
    words = transformers.AutoTokenizer.from_pretrained(place.model)
    path = place.results / "modify_activation" / "P19.jsonl"
    seen = set()
    for record, bag in zip(map(json.loads, path.open()), bags()["P19"], strict=True):
        for found, (text, answer, _) in zip((record["own"] or {}).get("original", []), bag,
                                            strict=False):  # fmt: skip
            before = words(text.split(" [MASK]")[0])["input_ids"]
            ids = words(text.split("[MASK]")[0] + answer)["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0]
            log_p = logits.log_softmax(-1)[range(len(before) - 1, len(ids) - 1), ids[len(before) :]]
            assert found == pytest.approx(log_p.sum().exp().item(), abs=WITHIN)
            seen.add(len(ids) - len(before))
    assert seen == {1, 2}


def test_controls_table_and_report(place, through):
    """Summary, screen and page have what the records say."""
    results = Results(place.results)
    found = read_effects(results)
    records = {name: read_controls(results.controls(name)) for name in sorted(RELATIONS)}
    assert found == effects_of(records, seed=42)
    off = found[0]
    assert set(off.changes) == {"own", "held_out", "same", "other"}
    assert "Whose are the neurons?" in through[STAGE_10].out
    assert load(place, "modify_activation/summary.json")["counts"]["cannot_be_asked"] == 2
    html = (place.results / "report.html").read_text()
    table = html[html.index('<section id="controls">') :]
    table = table[: table.index("</table>")]
    assert table.count("<tr") == 1 + len(found), "a row and its log-odds for two kinds"
    table = table.replace("&nbsp;", " ")
    for words in ("Own, held out", "those in at most 1 other fact × 0", "knowledge neurons × 2"):
        assert words in table
    value = f"{100 * abs(off.changes['own'].value):.1f}"
    assert value in table.split("knowledge neurons × 0")[1].split("</tr>")[0]


# --- stages 4 to 8 ---------------------------------------------------------------------------


def test_sentences_are_read_before_the_tail(place, through):
    """Stage 5 ranks what stands before it, and nothing behind it."""
    text = (place.results / "trigger_examples_th/P19-0.txt").read_text()
    ranked = text.split("Trigger examples:")[1].strip().splitlines()
    assert ranked and all(line.endswith(("Ġin", "Ġand")) for line in ranked[:2])
    table = load(place, "distant/summary.json")["table"]["neurons"]
    assert table["facts"] == 2 * (FACTS - 1)


def test_edits_by_either_embedding(place, through, tmp_path):
    """Words are read and written by two matrices here: the new slots differ, and the manifest."""
    folder = tmp_path / "results"
    own = replace(place, results=folder)
    arguments = ("--save_patches", "--directions", "input", "--kn_dir", place.results / "kn")
    fine(own.here(STAGE_6, *arguments))
    identities = [one.manifest("edit/edit-1-8.jsonl")["identity"] for one in (place, own)]
    assert [identity["directions"] for identity in identities] == ["output", "input"]
    model = from_pretrained(place.model).model.model
    compared = 0
    for theirs in sorted((folder / "edit/edit-1-8").glob("*.safetensors")):
        by_input = patches.load(theirs)
        by_output = patches.load(place.results / "edit/edit-1-8" / theirs.name)
        assert by_input.header == by_output.header
        for words, patch in (
            (model.get_input_embeddings().weight, by_input),
            (model.get_output_embeddings().weight, by_output),
        ):
            assert_moved_along(place.model, words, patch)
        assert (by_input.value_slots - by_output.value_slots).abs().max() > 1e-2
        compared += 1
    assert compared
    refused(place.here(STAGE_6, "--directions", "input"), "directions is 'output' there")


def assert_moved_along(folder: Path, words: torch.Tensor, patch: patches.Patch) -> None:
    """New slots minus old lie in the plane of the old and the new answer's rows of `words`."""
    header, tokenizer = patch.header, transformers.AutoTokenizer.from_pretrained(folder)
    state = from_pretrained(folder).model.published_state()
    old = [
        state[f"model.layers.{neuron.layer}.mlp.down_proj.weight"][:, neuron.index]
        for neuron in header.neurons
    ]
    moved = patch.value_slots - torch.stack(old)
    plane = torch.stack([words[_first(tokenizer, word)] for word in (header.old, header.new)])
    solved = torch.linalg.lstsq(plane.T, moved.T).solution
    assert (plane.T @ solved - moved.T).norm() < 1e-3 * moved.norm()


def _first(tokenizer, word: str) -> int:
    return tokenizer(f"x {word}")["input_ids"][1]


def saved_patches(place: Place) -> list[Path]:
    own = sorted((place.results / "edit/edit-1-8").glob("*.safetensors"))
    return [own[0], place.results / "erase/P19.safetensors"]


@pytest.mark.parametrize("which", [0, 1], ids=["stage 6", "stage 7"])
def test_an_edit_applied_and_loaded_by_transformers(place, through, tmp_path, which):
    """The changed columns are the patch's, bit for bit, and nothing else has changed."""
    path = saved_patches(place)[which]
    ended = fine(apply_edit(path, "--model", place.model, "--output", tmp_path / "edited"))
    assert ("erased", "lambdas 1 and 8")[1 - which] in ended.out
    patch = patches.load(path)
    before, after = (
        transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (place.model, tmp_path / "edited")
    )
    assert before.keys() == after.keys()
    expected = {name: tensor.clone() for name, tensor in before.items()}
    for neuron, slot in zip(patch.header.neurons, patch.value_slots, strict=True):
        name = f"model.layers.{neuron.layer}.mlp.down_proj.weight"
        assert not torch.equal(expected[name][:, neuron.index], slot)
        expected[name][:, neuron.index] = slot
    assert all(torch.equal(tensor, after[name]) for name, tensor in expected.items())
    words = [
        transformers.AutoTokenizer.from_pretrained(folder)("ann was born in New York").input_ids
        for folder in (place.model, tmp_path / "edited")
    ]
    assert words[0] == words[1]
    message = apply_edit(path, "--model", tmp_path / "edited", "--output", tmp_path / "twice")
    refused(Ended(message.code, message.out, message.err), "does not fit")


def test_the_report_is_made(place, through):
    """With figures, tables and every fact that could be asked."""
    html = (place.results / "report.html").read_text()
    for part in ("28 facts of 2 relations", "Figure 4: change", "Table 4: mean", "Table 5"):
        assert part in html
    assert str(place.results) not in html


def test_nothing_changed_the_model(place, through):
    """Its fingerprint after all stages is the one that stage 1 wrote down."""
    assert from_pretrained(place.model).sha256 == place.identity("P19")["model_sha256"]
