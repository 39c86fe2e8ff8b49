"""The released scripts' own command lines, flag by flag, run here on a small model.

Their shell scripts give a results folder's parts apart: the neurons by --kn_dir, and to stages 4
and 5 their own folder as --output_dir.
"""

import json
import shutil

import pytest

from tests.integration.stages import PAIRS, SENTENCES, fine, refused

DEBUG = ("--debug", 100000)


@pytest.fixture
def released(own, tmp_path):
    """Flags of all their scripts; results of stages 1 and 2 as they leave them: bare files."""
    for path in own.results.rglob("*.manifest.json"):
        path.unlink()
    bingrel = tmp_path / "BingDistantTREx"
    bingrel.mkdir()
    for relation, bags in SENTENCES.items():
        (bingrel / f"final_distant_allbags_{relation}_new.json").write_text(json.dumps(bags))
    (bingrel / "query_pairs.json").write_text(json.dumps(PAIRS))
    shutil.copy(own.data, tmp_path / "data_all_allbags.json")
    flags = (
        *("--bert_model", own.model),
        *("--data_path", tmp_path / "data_all.json"),  # not there: the split file is
        *("--tmp_data_path", tmp_path / "data_all_allbags.json"),
        *("--kn_dir", own.results / "kn"),
        "--no_cuda",
    )
    sentences = (
        *("--distant_data_dir", f"{bingrel}/"),
        *("--query_pairs_path", bingrel / "query_pairs.json"),
    )
    return own, flags, sentences


def elsewhere(place, name: str = "") -> dict[str, str]:
    """No environment of ours names the results or data."""
    return {"KN_RESULTS": "", "KN_DATA": "", "KN_SENTENCES": "", "KN_PAIRS": "", "KN_MODEL": ""}


def test_stage_3(released):
    place, flags, _ = released
    output = ("--output_dir", f"{place.results}/")
    command = (*flags, *output, "--max_seq_length", 128, *DEBUG)
    fine(place.here("3_modify_activation.py", *command, **elsewhere(place)))
    assert (place.results / "kn" / "base_modify_activation_rlt.json").exists()


@pytest.mark.parametrize(
    ("script", "folder", "file"),
    [
        ("4_check_weights_distant.py", "distant", "kn_weights@distant_data.json"),
        ("5_find_trigger_examples.py", "trigger_examples_th", "P19.jsonl"),
    ],
)
def test_stages_4_and_5_write_where_theirs_do(released, script, folder, file):
    place, flags, sentences = released
    output = ("--output_dir", place.results / folder)
    command = (*flags, *sentences, *output, "--max_seq_length", 64, *DEBUG)
    fine(place.here(script, *command, **elsewhere(place)))
    assert (place.results / folder / file).exists()
    assert not (place.results / folder / folder).exists()


def test_stage_6_and_7(released):
    place, flags, _ = released
    common = (*flags, "--output_dir", f"{place.results}/", "--max_seq_length", 128, *DEBUG)
    common += ("--oov", "skip")  # theirs takes an unknown answer for [UNK] in silence
    lambdas = ("--norm_lambda1", 1, "--norm_lambda2", 8)
    fine(place.here("6_edit_knowledge_sampled.py", *common, *lambdas, **elsewhere(place)))
    fine(place.here("7_erase_knowledge.py", *common, "--pt_relation", "P19", **elsewhere(place)))
    assert (place.results / "erase" / "P19.json").exists()


def test_debug_takes_the_first_facts_of_each_relation(released):
    """Neurons of all facts then do not belong to the prompts: it is said, not skipped."""
    place, flags, _ = released
    command = (*flags, "--output_dir", place.results, "--debug", 3)
    ended = place.here("3_modify_activation.py", *command, **elsewhere(place))
    refused(ended, "kn_bag-P19.json", "18 facts", "3 facts of P19")


def test_split_prompts_are_written_where_they_are_not_there(released, tmp_path):
    place, split = released[0], tmp_path / "split.json"
    flags = ("--tmp_data_path", split, "--relations", "P19")
    fine(place.here("3_modify_activation.py", *flags, "--oov", "skip"))
    assert json.loads(split.read_bytes()) == json.loads(place.data.read_bytes())
