"""Workers on Ray: the bytes of one process, and what becomes of a run when processes die.

Run: pytest tests/integration/test_ray.py      (benchmarks/faults.py does it at length)
"""

from tests.integration.clusters import cluster, ray  # isort: skip

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import faults
from benchmarks.faults import alive, processes_under, wait_for
from benchmarks.same_results import content_of, files_of
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.runs import crew as crews
from knowledge_neurons.runs.crew import AHEAD, TRIES, Crew
from knowledge_neurons.runs.executor import NamedWork
from knowledge_neurons.runs.parcels import ALIGNED, pack, unpack
from tests.integration.editable import editable
from tests.integration.stages import STAGE_1, Place, fine, load, refused
from tests.reference.tiny import tiny_bert

GROUPS = [range(start, start + 2) for start in range(0, 16, 2)]


@pytest.fixture(scope="module")
def address():
    """A cluster of one node with two cores."""
    with cluster(cores=2) as found:
        yield found


@pytest.fixture
def crew(address):
    made = Crew(tiny_bert(), 2, address, 1)
    yield made
    made.close()


def named(work) -> NamedWork:
    return NamedWork(work, "fact {}".format)


def workers() -> list[int]:
    """Processes of workers of the cluster."""
    below = processes_under(os.getpid())
    return [pid for pid, name in below.items() if name.startswith("ray::Worker")]


# --- bytes -----------------------------------------------------------------------------------


def written(folder: Path) -> dict[str, bytes]:
    """All that a stage wrote, times and the number of workers aside."""
    return {name: content_of(path) for name, path in files_of(folder).items()}


def same_by_two_workers(place: Place, script: str, address: str, *flags: str) -> None:
    """Run a stage alone and by workers, from equal folders, and compare all that is there then."""
    ray.cloudpickle.register_pickle_by_value(load(script))  # as what a command runs is pickled
    alone, shared = (place.results.with_name(name) for name in ("alone", "shared"))
    for folder in (alone, shared):
        if place.results.exists():
            shutil.copytree(place.results, folder)
    fine(place.here(script, *flags, "--output_dir", alone))
    crew = ("--workers", 2, "--ray", address)
    ended = place.here(script, *flags, "--output_dir", shared, *crew)
    ray.shutdown()  # a command does when it ends
    assert re.search(r"2 workers, group \d+ of \d+", fine(ended).err)
    assert written(alone) == written(shared)


@pytest.mark.parametrize(
    "script, flags",
    [
        ("3_modify_activation.py", ()),
        ("9_map_neurons.py", ("--relations", "P19", "--max_facts", "2")),
        ("10_question_neurons.py", ("--sample", "3")),
        ("4_check_weights_distant.py", ()),
        ("5_find_trigger_examples.py", ()),
        ("7_erase_knowledge.py", ("--relation", "P19", "--oov", "skip")),
    ],
)
def test_workers_write_the_bytes_of_one_process(own, address, script, flags):
    """Each stage that computes, all its files, texts and manifests too."""
    same_by_two_workers(own, script, address, *flags)


def test_edits_and_their_patches_too(tmp_path, address):
    """Stage 6, on a model that knows facts."""
    flags = ("--facts_per_relation", "3", "--save_patches")
    same_by_two_workers(editable(tmp_path), "6_edit_knowledge_sampled.py", address, *flags)
    assert list((tmp_path / "shared/edit").rglob("*.safetensors"))


def test_scores_too_of_a_model_of_transformers(decoder, tmp_path, address):
    """Stage 1 of a decoder: its modules and its tokenizer travel.  Each worker multiplies the
    weights by noise and puts them back, which are its own."""
    place = replace(decoder, results=tmp_path / "results")
    flags = ("--pt_relation", "P19", "--get_ig_gold", "--get_base", "--smooth", "2")
    same_by_two_workers(place, STAGE_1, address, *flags)


def test_a_command_with_workers(place, address):
    """Stage 1 as users start it, beside the same in this process."""
    fine(place.score("P19", "--output_dir", place.results / "alone"))
    flags = ("P19", "--output_dir", place.results / "shared")
    ended = fine(place.shell("1_run_mlm.sh", *flags, "--workers", 2, "--ray", address))
    assert "2 workers, group" in ended.err
    assert written(place.results / "alone") == written(place.results / "shared")


def test_a_parcel_keeps_bits_ties_and_where_memory_starts():
    """The model is in it once, or not at all where the worker has it."""
    model = tiny_bert()
    row = torch.arange(6, dtype=torch.bfloat16)[1:]
    content = {"row": row, "again": row, "zero": torch.tensor(2.5), "call": lambda: model}
    found = unpack(pack(content, model), model)
    assert found["row"] is found["again"] and torch.equal(found["row"], row)
    assert found["zero"] == 2.5 and found["call"]() is model
    assert found["row"].data_ptr() % ALIGNED == row.data_ptr() % ALIGNED
    assert len(pack(content, model)) == 3 and len(pack(content)) > 30
    copy = unpack(pack(model))
    assert fingerprint(copy) == fingerprint(model) and not copy.words.requires_grad
    copy.words[0] = 1.0  # memory of its own, to be edited


# --- faults ----------------------------------------------------------------------------------


def test_a_worker_that_dies_is_replaced_and_its_group_done_again(crew, tmp_path):
    """Killed as it would be for memory; further work is done by the workers that are there."""

    def work(some: range) -> list[int]:
        if 6 in some and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [place * place for place in some]

    assert list(crew(named(work), GROUPS)) == [[n * n for n in some] for some in GROUPS]
    assert (tmp_path / "died").exists()
    asked = crew.everywhere(os.getpid)
    assert asked and set(asked) <= set(workers())
    assert list(crew(named(list), GROUPS[:1])) == [[0, 1]] and set(asked) <= set(workers())


def test_a_group_that_kills_its_workers_is_an_error_with_node_and_log(crew):
    """After TRIES; no worker is left."""

    def work(some: range) -> list[int]:
        if 6 in some:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(some)

    expected = rf"^fact 6 to fact 7: .* died {TRIES} times, .*node [\d.]+, log /\S+: "
    found = []
    with pytest.raises(ValueError, match=expected):
        found.extend(crew(named(work), GROUPS))
    assert found == [[0, 1], [2, 3], [4, 5]]
    wait_for(lambda: not workers(), 10, "workers are left")


def test_what_fails_for_its_input_is_not_tried_again(crew, tmp_path):
    """The error is that of one process, which names the fact."""

    def work(some: range) -> list[int]:
        if 5 in some:
            with (tmp_path / "tried").open("a") as file:
                file.write(f"{len(some)}")
            raise ValueError("its scores are not finite")
        return list(some)

    with pytest.raises(ValueError, match=r"^fact 5: its scores are not finite$"):
        list(crew(named(work), GROUPS))
    assert (tmp_path / "tried").read_text() == "21", "the group, then the fact alone"


def test_no_more_than_a_few_groups_are_ahead_of_the_writer(crew, tmp_path):
    """However many there are: those begun while the first one's records lie unread."""

    def work(some: range) -> list[int]:
        (tmp_path / str(some.start)).touch()
        return list(some)

    found = crew(named(work), GROUPS)
    assert next(found) == [0, 1]
    time.sleep(1.0)
    assert len(list(tmp_path.iterdir())) <= AHEAD * 2 < len(GROUPS)
    assert list(found) == [list(some) for some in GROUPS[1:]]


@pytest.mark.parametrize(
    "number, code", [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_workers_end_with_the_process_that_writes(address, number, code):
    """However it is ended; where it can say something, its exit code is that without workers."""
    program = f"""
from knowledge_neurons.stages import program
import time
from knowledge_neurons.runs.crew import Crew
from knowledge_neurons.runs.executor import NamedWork
from tests.reference.tiny import tiny_bert
work = NamedWork(lambda some: time.sleep(60), str)
crew = Crew(tiny_bert(), 1, {address!r}, 1)
program.run(lambda: list(crew(work, [range(1)])))
"""
    driver = subprocess.Popen([sys.executable, "-c", program])
    started = wait_for(workers, 60, "no worker")
    time.sleep(1.0)
    driver.send_signal(number)
    assert driver.wait() == code
    wait_for(lambda: not any(map(alive, started)), 10, "orphans")


def test_the_store_has_room_for_a_model_that_goes_with_the_work(monkeypatch):
    """As with --dtype bfloat16: for its own bytes beside those of the model itself."""
    model, asked = tiny_bert(), []

    def connect(*given):
        asked.append(given)
        raise ValueError("that will do")

    monkeypatch.setattr(crews, "connect", connect)
    copy = model.products_in(torch.bfloat16)
    for of in (model, copy):
        with pytest.raises(ValueError, match="that will do"):
            list(Crew(model, 3, "local", 2)(named(lambda some, of=of: of.shape), GROUPS))
    (*local, once), (*_, twice) = asked
    own, second = (sum(t.nbytes for t in one.parameters()) for one in (model, copy))
    assert local == ["local", 6] and once > own + crews.SPARE and twice - once > second


def test_a_campaign_of_faults_ends_where_no_worker_lives_to_be_killed(monkeypatch, tmp_path):
    """With its records and the run's log, not with one such run after the other."""

    def run(whole, results, *_):
        results.with_suffix(".log").write_text("no such model")
        return {"fault": "worker killed", "times": 0, "exit_code": 2, "same_bytes": False}

    monkeypatch.setattr(faults, "kill_workers", run)
    monkeypatch.setattr(faults, "start", lambda *_: SimpleNamespace(wait=lambda: 0))
    monkeypatch.setattr(faults, "cluster", nullcontext)
    monkeypatch.setattr(sys, "argv", ["faults", "--output", str(tmp_path / "record.json")])
    with pytest.raises(RuntimeError, match=r"(?s)run 1 ended before.*no such model"):
        faults.main()
    assert json.loads((tmp_path / "record.json").read_text())["runs"] == 1


def test_a_cluster_without_room_or_at_no_address_is_said(own, address):
    """Before any work, in a line."""
    new = ("--output_dir", own.results / "new")
    refused(own.score("P36", *new, "--ray", address, "--workers", 3), "--workers 3", "room for 2")
    refused(own.score("P36", *new, "--ray", "127.0.0.1:9"), "--ray 127.0.0.1:9: no cluster can")
