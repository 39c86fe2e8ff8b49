"""Stage 1 as users run it: what it writes, again and interrupted, its arguments, its prompts.

Run: pytest tests/integration/test_stage_1.py
"""

import json
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

from knowledge_neurons.attribution import quadrature
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results import manifests
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.manifests import sha256_of, write_manifest
from tests.integration.stages import BAGS, STAGE_1, Place, fine, refused
from tests.reference import integrated_gradients as literal
from tests.reference.refine import triplets
from tests.reference.tiny import TINY

# Relative to the prompt's largest score: float32 sums in another order.
CLOSE = 1e-5


# --- what it writes --------------------------------------------------------------------------


def test_stage_1_says_what_it_does_and_writes(scored):
    """Settings, counts and path on the screen; scores, arguments and manifest in the folder."""
    place, ended = scored
    for part in ("P19 (place of birth)", "18, 63 prompts", "riemann-left, 20 steps", "on cpu"):
        assert part in ended.out
    assert str(place.data) in ended.out and str(place.model) in ended.out
    assert f"wrote {place.scores('P19')}" in ended.out
    paths = [*place.results.iterdir(), *(place.results / "manifests").iterdir()]
    names = {path.name for path in paths if path.is_file()}
    assert names == {
        "TREx-all.args.json",
        "TREx-all.calibration.json",
        "TREx-all-P19.quadrature.jsonl",
        "TREx-all-P36.quadrature.jsonl",
        "TREx-all-P19.rlt.jsonl",
        "TREx-all-P19.rlt.jsonl.manifest.json",
        "TREx-all-P36.rlt.jsonl",
        "TREx-all-P36.rlt.jsonl.manifest.json",
    }
    arguments = json.loads((place.results / "TREx-all.args.json").read_bytes())
    assert arguments["pt_relation"] == "P36" and arguments["bert_model"] == str(place.model)


def test_a_line_per_fact_and_a_pair_per_prompt_in_data_order(scored):
    """Tokens, relation and answer are the data's; asked fields are filled, the others []."""
    place, _ = scored
    for relation in ("P19", "P36"):
        lines = place.lines(relation)
        assert [len(line) for line in lines] == [len(bag) for bag in BAGS[relation]]
        for line, of_fact in zip(lines, BAGS[relation], strict=True):
            for (info, result), (text, answer, name) in zip(line, of_fact, strict=True):
                words = text.replace(".", " .").split()
                assert info["tokens"] == ["[CLS]", *words, "[SEP]"]
                assert (info["gold_obj"], info["relation"]) == (answer, name)
                assert result["pred"] == result["ig_pred"] == []
                assert result["base"] and result["ig_gold"]


def test_manifest_says_what_the_scores_were_made_from(scored):
    """Digests of model and data, rule, counts, device, seconds, versions."""
    place, _ = scored
    manifest = place.scores_manifest("P19")
    pretrained = checkpoints.from_pretrained(place.model)
    identity = manifest["identity"]
    assert manifest["complete"] is True
    assert identity["model_sha256"] == pretrained.sha256
    assert identity["data_sha256"] == sha256_of(place.data)
    assert (identity["relation"], identity["outputs"]) == ("P19", ["ig_gold", "base"])
    assert (identity["rule"], identity["steps"], identity["keep"]) == ("riemann-left", 20, 0.1)
    assert (manifest["facts"], manifest["prompts"]) == (18, 63)
    assert (manifest["facts_resumed"], manifest["skipped_facts"]) == (0, [])
    assert manifest["device"] == "cpu" and manifest["arguments"]["seed"] == 42
    assert manifest["wall_seconds"] > 0 and "torch" in manifest["made_with"]
    assert manifest["made_under"] == [{"device": "cpu", "threads": 1, "from_line": 0}]


def expected_scores(place: Place, info: dict, token: str, how: quadrature.Rule) -> torch.Tensor:
    """(L, F) by the literal twin, for a prompt of the file."""
    pretrained = checkpoints.from_pretrained(place.model)
    vocabulary = pretrained.tokenizer.vocabulary
    ids = torch.tensor([vocabulary[token] for token in info["tokens"]])
    position = info["tokens"].index("[MASK]")
    arguments = (pretrained.model, ids, position, vocabulary[token])
    return torch.stack(
        [
            literal.integrated_gradients(*arguments, layer, *how)
            for layer in range(TINY.num_hidden_layers)
        ]
    )


def assert_same_triplets(got: list, dense: torch.Tensor, within: float = CLOSE) -> None:
    """The kept entries of (L, F), the same ones in the same order, as near, of the largest."""
    expected = triplets(dense.tolist(), 0.1)
    assert [row[:2] for row in got] == [[layer, index] for layer, index, _ in expected]
    errors = [abs(row[2] - want[2]) for row, want in zip(got, expected, strict=True)]
    assert max(errors) < within * dense.max().item()


def test_scores_and_activations_are_the_papers_arithmetic(scored):
    """ig_gold and base of one prompt equal the literal twin's, kept triplets only, in order."""
    place, _ = scored
    info, result = place.lines("P19")[11][2]
    dense = expected_scores(place, info, info["gold_obj"], quadrature.rule("riemann-left", 20))
    assert 0 < len(result["ig_gold"]) < dense.numel(), "0.1 * max must leave something out"
    assert_same_triplets(result["ig_gold"], dense, within=1e-3)
    pretrained = checkpoints.from_pretrained(place.model)
    ids = torch.tensor([pretrained.tokenizer.vocabulary[token] for token in info["tokens"]])
    position = info["tokens"].index("[MASK]")
    activations = [
        literal.activations_of(pretrained.model, ids, position, layer)
        for layer in range(TINY.num_hidden_layers)
    ]
    assert_same_triplets(result["base"], torch.stack(activations))


def test_prediction_and_probabilities_on_request(place):
    """--get_pred: [[[V]]] that sums to 1, its largest is pred_obj; --get_ig_pred: scores for it."""
    fine(place.score("P36", "--get_pred", "--get_ig_pred", "--max_facts", 2, "--exact"))
    tokenizer = checkpoints.from_pretrained(place.model).tokenizer
    for line in place.lines("P36"):
        for info, result in line:
            ((probabilities,),) = result["pred"]
            assert len(probabilities) == len(tokenizer)
            assert sum(probabilities) == pytest.approx(1, abs=1e-5)
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            assert info["pred_obj"] == tokenizer.tokens([best])[0]
    info, result = place.lines("P36")[1][0]
    assert info["pred_obj"] != info["gold_obj"], "a case in which the two scores differ"
    how = quadrature.rule("riemann-left", 20)
    assert_same_triplets(result["ig_pred"], expected_scores(place, info, info["pred_obj"], how))
    assert result["ig_gold"] != result["ig_pred"]
    assert place.identity("P36")["outputs"] == ["ig_gold", "ig_pred", "base", "pred"]


@pytest.mark.parametrize("rule, steps", [("gauss-legendre", 3), ("trapezoid", 2)])
def test_rule_and_steps_are_those_asked_for(place, rule, steps):
    """--rule with --steps decides the scores and stands in the manifest."""
    fine(place.score("P36", "--rule", rule, "--steps", steps, "--max_facts", 1))
    info, result = place.lines("P36")[0][1]
    how = quadrature.rule(rule, steps)
    assert_same_triplets(result["ig_gold"], expected_scores(place, info, info["gold_obj"], how))
    assert (place.identity("P36")["rule"], place.identity("P36")["steps"]) == (rule, steps)


def test_keep_decides_what_is_stored(place):
    """--keep 1 leaves the largest score of each prompt alone."""
    fine(place.score("P36", "--keep", 1))
    for line in place.lines("P36"):
        assert all(len(r["ig_gold"]) == len(r["base"]) == 1 for _, r in line)


# --- again, interrupted, mixed ---------------------------------------------------------------


def test_done_relation_is_not_done_again(scored):
    """A message, and the files as they were, to the nanosecond."""
    place, _ = scored
    paths = [place.scores("P19"), manifest_path(place.scores("P19"))]
    before = [path.stat().st_mtime_ns for path in paths]
    ended = fine(place.score("P19"))
    assert ended.out == f"P19 is done: {paths[0]}\n"
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_a_run_that_waited_for_another_does_nothing(copied, monkeypatch):
    """It looked before the other had ended; alone with the file it finds it done."""
    before = copied.scores("P19").stat().st_mtime_ns
    monkeypatch.setattr(manifests, "is_done", lambda path, identity: False)
    ended = fine(copied.score("P19"))
    assert ended.out.endswith(f"P19 is done: {copied.scores('P19')}\n")
    assert copied.scores("P19").stat().st_mtime_ns == before
    assert not copied.scores("P19").with_name("TREx-all-P19.rlt.jsonl.partial").exists()


def test_other_settings_are_not_mixed_with_what_is_there(copied):
    """What differs is named with both values, and the scores stay."""
    before = copied.scores("P36").read_bytes()
    ended = copied.score("P36", "--steps", 8, "--max_facts", 2, "--min_prompts", 5)
    refused(
        ended, "steps is 20 there and 8 now", "max_facts is 0 there and 2 now", "another folder"
    )
    assert "min_prompts is 3 there and 5 now" in ended.err
    assert copied.scores("P36").read_bytes() == before


def test_scores_of_unknown_origin_are_not_overwritten(copied):
    """A scores file of the released code has no manifest: refused."""
    manifest_path(copied.scores("P36")).unlink()
    refused(copied.score("P36"), copied.scores("P36"), "without a manifest")


def test_killed_and_resumed_equals_uninterrupted(place, inputs):
    """SIGKILL after the first group of facts; the same command again; the same bytes.

    Slow steps make sure that the kill comes in the middle; a group is whole when its records are,
    which are written after its scores.
    """
    arguments = ("P19", "--steps", 150)
    whole = replace(place, results=place.results.with_name("whole"))
    fine(whole.shell("1_run_mlm.sh", *arguments))
    partial = place.scores("P19").with_name(f"{place.scores('P19').name}.partial")
    records = partial.with_name("TREx-all-P19.quadrature.jsonl.partial")
    process = place.start("1_run_mlm.sh", *arguments)
    while process.poll() is None and not (
        records.exists() and records.read_bytes().count(b"\n") >= 8
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "killed, not ended"
    assert partial.exists() and not place.scores("P19").exists()
    assert place.scores_manifest("P19")["complete"] is False
    fine(place.shell("1_run_mlm.sh", *arguments))
    assert place.scores("P19").read_bytes() == whole.scores("P19").read_bytes()
    assert place.scores_manifest("P19")["facts_resumed"] in range(1, 18)
    assert place.scores_manifest("P19")["complete"] is True and not partial.exists()


@pytest.mark.parametrize("lines, resumed", [(0.5, 0), (8, 8), (9.5, 8), (17, 16), (18, 16)])
def test_resumed_from_any_line_equals_uninterrupted(copied, lines, resumed):
    """The partial cut inside a line, between lines, at the end: whole groups stay, same bytes."""
    path = copied.scores("P19")
    beside = path.with_name("TREx-all-P19.quadrature.jsonl")
    records = beside.read_bytes()
    beside.rename(beside.with_name(f"{beside.name}.partial"))
    whole = path.read_bytes()
    rows = whole.splitlines(keepends=True)
    kept = b"".join(rows[: int(lines)]) + (rows[int(lines)][:50] if lines % 1 else b"")
    path.with_name(f"{path.name}.partial").write_bytes(kept)
    path.unlink()
    write_manifest(path, copied.identity("P19"), complete=False)
    fine(copied.score("P19"))
    assert path.read_bytes() == whole and beside.read_bytes() == records
    assert copied.scores_manifest("P19")["facts_resumed"] == resumed


def test_resuming_with_other_settings_is_refused(copied):
    """A partial of 20 steps is not gone on with in 8."""
    path = copied.scores("P19")
    path.rename(path.with_name(f"{path.name}.partial"))
    refused(copied.score("P19", "--steps", 8), "steps is 20 there and 8 now")


# --- arguments -------------------------------------------------------------------------------


def test_all_flags_of_the_authors_together(place, tmp_path):
    """Their whole command line parses and runs: --no_cuda wins over --gpus and KN_DEVICE."""
    ended = place.here(
        STAGE_1,
        *("--bert_model", place.model, "--data_path", place.data),
        *("--tmp_data_path", tmp_path / "tmp.json"),
        *("--output_dir", tmp_path / "out", "--output_prefix", "mine"),
        *("--max_seq_length", 64, "--do_lower_case", "--no_cuda", "--gpus", 0, "--seed", 7),
        *("--debug", 2, "--pt_relation", "P36"),
        *("--get_pred", "--get_ig_pred", "--get_ig_gold", "--get_base"),
        *("--batch_size", 2, "--num_batch", 3),
        KN_MODEL="nowhere",
        KN_DATA="nowhere",
        KN_DEVICE="cuda",
    )
    fine(ended)
    manifest = replace(place, results=tmp_path / "out").manifest("mine-P36.rlt.jsonl")
    assert manifest["device"] == "cpu" and manifest["arguments"]["seed"] == 7
    assert manifest["identity"]["steps"] == 6 and manifest["facts"] == 2
    assert not place.results.exists()


def test_first_facts_only(scored, place):
    """--max_facts 2 and its old name --debug 2 give the same two lines, the first two of all."""
    fine(place.score("P36", "--max_facts", 2))
    other = replace(place, results=place.results.with_name("other"))
    fine(other.score("P36", "--debug", 2))
    assert other.scores("P36").read_bytes() == place.scores("P36").read_bytes()
    whole = scored[0].lines("P36")
    tokens = [[info for info, _ in line] for line in place.lines("P36")]
    assert tokens == [[info for info, _ in line] for line in whole[:2]]


@pytest.mark.parametrize(
    "arguments",
    [("--debug", -1), ("--batch_size", 10, "--num_batch", 2), ("--steps", 20)],
    ids=["debug -1", "10 times 2", "20"],
)
def test_other_ways_to_say_the_default(scored, place, arguments):
    """--debug -1 means all facts, 10 times 2 are 20 steps: the same bytes, the same identity."""
    fine(place.score("P36", *arguments))
    assert place.scores("P36").read_bytes() == scored[0].scores("P36").read_bytes()
    assert place.identity("P36") == scored[0].identity("P36")


@pytest.mark.parametrize(
    "arguments, steps",
    [
        (("--batch_size", 5), 5),
        (("--num_batch", 2), 40),
        (("--batch_size", 2, "--num_batch", 2, "--steps", 4), 4),
    ],
)
def test_batch_size_times_num_batch(place, arguments, steps):
    """One of the two alone; and together with --steps where they agree."""
    fine(place.score("P36", "--max_facts", 1, *arguments))
    assert place.identity("P36")["steps"] == steps


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (("--batch_size", 10, "--num_batch", 2, "--steps", 7), ("--steps 7", "is 20")),
        (("--batch_size", 0), ("--batch_size: '0'", "1 to 1,000")),
        (("--num_batch", 0), ("--num_batch: '0'", "1 to 1,000")),
        (("--steps", "1e9"), ("--steps: '1e9'", "1 to 1,000")),
        (("--batch_size", 1000, "--num_batch", 1000), ("1000000 steps", "at most 1,000")),
        (("--tolerance", 2), ("--tolerance: '2'", "above 0, at most 1")),
        (("--seed", -1), ("--seed: '-1'", "0 or more")),
        (("--layer_norm_eps", 1), ("--layer_norm_eps: '1'", "at most 0.01")),
        (("--memory", 0), ("--memory: '0'", "above 0")),
        (("--memory", "inf"), ("--memory: 'inf'", "at most")),
        (("--dtype", "tf32"), ("tf32 needs a GPU", "float32 or bfloat16")),
        (("--keep", 2), ("--keep: '2'", "0 to 1")),
        (("--keep", "nan"), ("--keep: 'nan'", "0 to 1")),
        (("--device", "cuda:99"), ("cuda:99", "cannot be used here")),
        (("--device", "toaster"), ("toaster", "cannot be used here")),
        (("--gpus", "0,1"), ("--gpus 0,1", "a process uses one GPU")),
        (("--bert_model", "nowhere"), ("nowhere", "no such folder")),
        (("--data_path", "nowhere.json"), ("nowhere.json", "no such file")),
        (("--data_path", "/"), ("/", "cannot be read")),
        (("--max_seq_length", 5), ("P36 fact 0 (rome)", "[MASK] lies beyond 5 tokens")),
        (("--max_seq_length", 0), ("--max_seq_length: '0'", "3 to")),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_wrong_arguments_are_refused_before_anything_is_written(place, arguments, parts):
    """Each names what was got; exit code 2; no results."""
    refused(place.score("P36", *arguments), *parts)
    assert not place.results.exists()


def test_device_of_the_environment_is_a_default(place):
    """KN_DEVICE is heard where nothing is said, and gives way to --device and --no_cuda."""
    arguments = ("P36", "--max_facts", 1)
    refused(place.score(*arguments, KN_DEVICE="toaster"), "toaster", "cannot be used here")
    fine(place.score(*arguments, "--device", "cpu", KN_DEVICE="toaster"))
    assert "is done" in fine(place.score(*arguments, "--no_cuda", KN_DEVICE="toaster")).out


def test_nothing_asked_for_is_an_error(place):
    """The Python stage without any --get_...: says which there are."""
    refused(place.here(STAGE_1, "--pt_relation", "P36"), "nothing to compute", "--get_ig_gold")


def test_shell_stage_without_a_relation_shows_its_usage(place):
    """An example to go on from, before any Python is started."""
    ended = place.shell("1_run_mlm.sh")
    assert ended.code != 0 and "usage: bash 1_run_mlm.sh RELATION" in ended.err


def test_unknown_relation_lists_the_known(place):
    """In numeric order, with the file."""
    refused(place.score("P20"), "'P20'", place.data, "P19, P36, P101")
    assert not place.results.exists()


# --- prompts ---------------------------------------------------------------------------------


def test_prompts_as_one_flat_list(place, tmp_path):
    """--data_path takes the authors' data_all.json too: the same scores, byte for byte."""
    flat = tmp_path / "data_all.json"
    flat.write_text(json.dumps([bag for relation in ("P36", "P101") for bag in BAGS[relation]]))
    other = replace(place, results=tmp_path / "other")
    fine(place.score("P36", "--exact"))
    fine(other.score("P36", "--exact", "--data_path", flat))
    assert place.scores("P36").read_bytes() == other.scores("P36").read_bytes()


def test_tmp_data_path_is_written_then_read(place, tmp_path):
    """First the prompts by relation are put there; from then on --data_path is not needed.

    The same command again finds the relation done: its own copy is not other data.
    """
    copy, data = tmp_path / "new" / "tmp.json", tmp_path / "data.json"
    shutil.copy(place.data, data)
    arguments = ("P36", "--data_path", data, "--tmp_data_path", copy)
    fine(place.score(*arguments))
    assert json.loads(copy.read_bytes()) == BAGS
    assert place.identity("P36")["data_sha256"] == sha256_of(copy)
    assert "P36 is done" in fine(place.score(*arguments)).out
    data.unlink()
    assert "P36 is done" in fine(place.score(*arguments)).out
    fine(place.score("P19", *arguments[1:]))
    assert len(place.lines("P19")) == 18


def test_answer_outside_the_vocabulary_names_the_fact(place):
    """How many, the first of them, what to do; and no results."""
    refused(place.score("P101"), "1 of 3 facts", "P101 fact 1 (atlantis)", "--oov skip")
    assert not place.results.exists()
