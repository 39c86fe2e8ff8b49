"""Fixtures of more than one file: a checkpoint in a folder, and stages run on a tiny model."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from knowledge_neurons.networks import checkpoints
from tests.reference.tiny import tiny_bert

# Before their import: pytest then shows the values in their failed asserts, as in a test's.
pytest.register_assert_rewrite("tests.integration.checkpoints", "tests.integration.stages")

from tests.integration.checkpoints import tokenizer  # noqa: E402
from tests.integration.decoder import small_decoder  # noqa: E402
from tests.integration.stages import Ended, Place, fine, small_inputs  # noqa: E402


@pytest.fixture
def folder(tmp_path) -> Path:
    """A checkpoint of the tiny model in today's layout, ours to change."""
    checkpoints.save_pretrained(tiny_bert(), tokenizer(), tmp_path / "model")
    return tmp_path / "model"


# --- stages ----------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def one_thread():
    """As in the processes started: quicker on matrices this small, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def inputs(one_thread, tmp_path_factory) -> Place:
    """The model's folder and the prompts."""
    return small_inputs(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="package")
def decoder(one_thread, tmp_path_factory) -> Place:
    """A tiny LLaMA that knows a few facts, and the facts; no results yet."""
    return small_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture
def place(inputs, tmp_path) -> Place:
    """The same inputs, results of one's own."""
    return replace(inputs, results=tmp_path / "results")


@pytest.fixture(scope="package")
def scored(inputs) -> tuple[Place, Ended]:
    """P19 scored by the shell stage, P36 after it; not to be changed."""
    ended = fine(inputs.shell("1_run_mlm.sh", "P19"))
    fine(inputs.score("P36"))
    return inputs, ended


@pytest.fixture(scope="package")
def refined(scored) -> tuple[Place, Ended]:
    """Stage 2 by its shell script on top of that."""
    return scored[0], fine(scored[0].shell("2_run_kn.sh"))


@pytest.fixture
def own(refined, place) -> Place:
    """Scores and neurons in a folder of one's own: P19 (18 facts) and P36 (4)."""
    shutil.copytree(refined[0].results, place.results)
    return place


@pytest.fixture
def copied(scored, place) -> Place:
    """The scores in a folder of one's own, to be harmed."""
    shutil.copytree(scored[0].results, place.results, ignore=shutil.ignore_patterns("kn", "figs"))
    return place
