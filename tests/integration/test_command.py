"""The command `kn`, in this process: what it hands on, and how it says no.

Run: pytest tests/integration/test_command.py      The installed command is test_package.py's.
"""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import pytest

from knowledge_neurons import ROOT, KnowledgeNeurons
from knowledge_neurons.stages import command, numbered
from knowledge_neurons.types import Neuron
from tests.integration.stages import SRC, Ended, fine, refused

MODEL = ROOT / "models/demo-bert"
PROMPTS = [
    "The government of France sits in the capital [MASK].",
    "Laws for all of France are made in [MASK].",
    "Rulers of France kept their seat in [MASK].",
]
ASKED = ("find", *PROMPTS, "--answer", "Paris", "--model", MODEL, "--device", "cpu")


@pytest.fixture(scope="module")
def model() -> KnowledgeNeurons:
    return KnowledgeNeurons.from_pretrained(MODEL, device="cpu")


def kn(*arguments: object) -> Ended:
    """`kn` with these arguments."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["kn", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            command.main()
        except SystemExit as end:
            code = end.code
    return Ended(code, out.getvalue(), err.getvalue())


def test_find_prints_what_the_library_finds(model):
    assert fine(kn(*ASKED)).out == f"{model.find(PROMPTS, 'Paris')}\n"


def test_find_hands_its_thresholds_and_layers_on(model):
    """And JSON has the neurons as pairs, with what was asked."""
    flags = ("--coarse", 0.3, "--shared", 0.5, "--layers", "2-3")
    wanted = model.find(PROMPTS, "Paris", coarse=0.3, shared=0.5, layers=(2, 3))
    assert json.loads(fine(kn(*ASKED, *flags, "--json")).out) == {
        "model": str(MODEL),
        "prompts": PROMPTS,
        "answer": "Paris",
        "neurons": [list(neuron) for neuron in wanted],
    }
    assert wanted and wanted != model.find(PROMPTS, "Paris")


def test_json_is_json_whatever_a_prompt_holds(model):
    """Also what no terminal is shown raw: spaces and ends of lines of Unicode, control characters;
    on one line, of ASCII."""
    odd = "France\u00a0is\u00ad ruled\u0085 from\u2028 the capital\x7f [MASK]\u00e9."
    prompts = [*PROMPTS, odd]
    asked = ("find", *prompts, "--answer", "Paris", "--model", MODEL, "--device", "cpu", "--json")
    out = fine(kn(*asked)).out
    assert out.isascii() and out.removesuffix("\n").isprintable()
    told = json.loads(out)
    assert told["prompts"] == prompts
    assert told["neurons"] == [list(neuron) for neuron in model.find(prompts, "Paris")]


def test_neuron_prints_what_its_value_slot_writes(model):
    neuron = ("neuron", 3, 7, "--model", MODEL, "--no_cuda")
    assert fine(kn(*neuron)).out == f"{model.what_writes(Neuron(3, 7))}\n"


def test_what_is_wrong_is_one_line(tmp_path):
    refused(kn("neuron", 4, 7, "--model", MODEL), "the model has layers 0 to 3 of 512 neurons")
    refused(kn("find", "no mask", "--answer", "Paris", "--model", MODEL), "[MASK]", "'no mask'")
    refused(kn("find", "[MASK]"), "--answer", "--help lists all flags")
    refused(kn(*ASKED, "--device", "nowhere"), "device 'nowhere' cannot be used here")
    refused(kn("stage", 12), "NUMBER", "12")
    refused(kn("stage", 2, "--coarse", 2), "--coarse", "'2'")
    nowhere = ("--output_dir", tmp_path)
    refused(kn("languages", "--across", "en", *nowhere), f"no neurons of en in {tmp_path}")


# --- stages ----------------------------------------------------------------------------------


def test_every_script_of_a_stage_is_run_by_number():
    """No script of src/ is forgotten, and none is run in another stage than its name says."""
    there = sorted(path.stem for path in SRC.glob("[1-9]*_*.py"))
    every = [*numbered.STAGES.items(), (2, numbered.ACROSS)]
    named = [(number, script) for number, stage in every for script in stage.scripts]
    assert sorted(script for _, script in named) == there
    assert all(script.startswith(f"{number}_") for number, script in named)
    shells = sorted(path.name for path in SRC.glob("[1-9]*_*.sh"))
    assert sorted(stage.shell for _, stage in every) == shells


@pytest.mark.parametrize(
    ("number", "given", "wanted"),
    [
        (1, "P36 --exact", "--get_ig_gold --get_base --pt_relation P36 --exact"),
        (1, "--help", "--get_ig_gold --get_base --help"),
        (2, "", ""),
        (3, "--relations P36", "--relations P36"),
        (6, "1 8 --top_k 1", "--lambda_1 1 --lambda_2 8 --top_k 1"),
        (6, "--lambda_sweep 1:8", "--lambda_sweep 1:8"),
        (7, "P19", "--relation P19"),
        (9, "P36 --edges 5", "--relations P36 --edges 5"),
    ],
)
def test_the_first_arguments_have_no_flags(number, given, wanted):
    stage = numbered.STAGES[number]
    assert stage.arguments("kn", given.split()) == wanted.split()


def test_a_stage_runs_in_the_folder_of_results_that_is_asked_for(own):
    """Here stage 2 alone, then `kn report`, which is stage 8."""
    results = ("--output_dir", own.results)
    assert "P36" in fine(kn("stage", 2, *results, "--relations", "P36")).out
    ended = fine(kn("report", own.results))
    assert f"wrote {own.results}/report.html" in ended.out
    assert (own.results / "report.html").exists()
    refused(kn("stage", 7), "bash 7_run_erase.sh RELATION", "kn stage 7 RELATION", "example P19")
