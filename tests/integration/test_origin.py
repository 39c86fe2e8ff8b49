"""Results are never mixed with those of another tokenizer, model or LayerNorm.

Run: pytest tests/integration/test_origin.py
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons.results import origin
from tests.integration.stages import STAGE_2, Place, fine, refused

STAGES = {
    3: ("3_modify_activation.py", "--relations", "P36"),
    4: ("4_check_weights_distant.py", "--relations", "P36"),
    5: ("5_find_trigger_examples.py", "--relations", "P36"),
    6: ("6_edit_knowledge_sampled.py", "--oov", "skip", "--relations", "P36"),
    7: ("7_erase_knowledge.py", "--oov", "skip", "--relation", "P36"),
}


@pytest.fixture
def swapped(own, tmp_path) -> Place:
    """The same weights, with two answers of the vocabulary swapped."""
    model = Path(shutil.copytree(own.model, tmp_path / "swapped"))
    lines = (model / "vocab.txt").read_text().split("\n")
    rome, paris = lines.index("rome"), lines.index("paris")
    lines[rome], lines[paris] = "paris", "rome"
    (model / "vocab.txt").write_text("\n".join(lines))
    return replace(own, model=model)


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def forget(folder: Path, field: str) -> None:
    """Manifests as they were written before there was such a field."""

    def without(value):
        if isinstance(value, dict):
            return {key: without(one) for key, one in value.items() if key != field}
        return value

    for path in folder.rglob("*.manifest.json"):
        path.write_text(json.dumps(without(json.loads(path.read_text()))))


def test_scores_say_what_made_them(own):
    """All of COMMON is in the identity of scores, and in what the neurons of stage 2 are of."""
    assert set(origin.COMMON) <= own.identity("P36").keys()
    neurons = next(own.results.glob("kn/kn_bag-P36.json"))
    assert set(origin.COMMON) <= origin.scores_of(neurons).keys()


def test_stage_1_refuses_scores_of_another_vocabulary(swapped):
    """Nothing is done, nothing changed."""
    before = files_under(swapped.results)
    refused(swapped.score("P36"), "tokenizer_sha256 is", "To start over")
    assert files_under(swapped.results) == before


def test_stage_2_refuses_to_mix_vocabularies(swapped):
    """Relations that were scored with one and the other are not refined together."""
    fine(swapped.score("P101", "--oov", "skip"))
    refused(swapped.here(STAGE_2), "P101", "tokenizer_sha256", "do not belong together")
    fine(swapped.here(STAGE_2, "--relations", "P19,P36"))


@pytest.mark.parametrize("stage", STAGES)
def test_other_stages_refuse_neurons_of_another_vocabulary(swapped, stage):
    """Before any work: which file, the field, and what to do."""
    before = files_under(swapped.results)
    refused(swapped.here(*STAGES[stage]), "kn_bag-P36.json", "tokenizer_sha256", "--bert_model")
    assert files_under(swapped.results) == before


@pytest.mark.parametrize("stage", STAGES)
def test_other_stages_refuse_neurons_of_another_layer_norm(own, stage):
    """--layer_norm_eps changes every score, in stages 3 to 7 alike."""
    ended = own.here(*STAGES[stage], "--layer_norm_eps", "1e-3")
    refused(ended, "kn_bag-P36.json", "layer_norm_eps was 1e-12 and is 0.001 now")


@pytest.mark.parametrize("stage", STAGES)
def test_results_of_before_are_taken(own, stage):
    """Manifests that name no tokenizer are compared in all else, and gone on with."""
    fine(own.here(*STAGES[stage]))
    forget(own.results, "tokenizer_sha256")
    fine(own.here(*STAGES[stage]))
    fine(own.score("P36"))
