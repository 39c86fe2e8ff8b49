"""Prompts -> batches of one length.  Run: pytest tests/unit/test_batching.py"""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.networks import batching
from knowledge_neurons.networks.batching import collate, plan, select
from knowledge_neurons.types import Prompt


def prompt_of(length: int, place: int) -> Prompt:
    """A prompt in which every number tells where it came from."""
    return Prompt(tuple(1000 * place + t for t in range(length)), place % length, 7 * place)


def cost(length: int) -> int:
    return 10 * length * length


@given(lengths=st.lists(st.integers(1, 6), max_size=30), memory=st.integers(1, 1500))
def test_plan_is_a_partition_within_the_budget(lengths, memory):
    """Each prompt in one batch, one length per batch, budget kept, `order` restores, none to spare.

    A batch above the budget holds a single prompt; no batch could take a prompt of a later one of
    the same length.
    """
    prompts = [prompt_of(length, place) for place, length in enumerate(lengths)]
    batches = list(plan(prompts, memory, cost))
    assert sorted(place for batch in batches for place in batch.order) == list(range(len(prompts)))
    restored: dict[int, Prompt] = {}
    for batch in batches:
        ids, positions = batch.ids.tolist(), batch.mask_positions.tolist()
        assert {len(row) for row in ids} == {batch.ids.shape[1]}
        assert len(ids) == 1 or len(ids) * cost(batch.ids.shape[1]) <= memory
        rows = zip(batch.order, ids, positions, batch.answers.tolist(), strict=True)
        restored |= {place: Prompt(tuple(r), at, answer) for place, r, at, answer in rows}
    assert [restored[place] for place in range(len(prompts))] == prompts
    for batch, following in pairwise(batches):
        length = batch.ids.shape[1]
        if length == following.ids.shape[1]:
            assert (len(batch.order) + 1) * cost(length) > memory
        else:
            assert length < following.ids.shape[1], "shortest first"


def test_prompt_above_the_budget_still_gets_a_batch():
    """Too little memory for even one prompt: batches of one, not an endless loop or a loss."""
    prompts = [prompt_of(5, place) for place in range(3)]
    assert [batch.order for batch in plan(prompts, 1, cost)] == [(0,), (1,), (2,)]


def test_plan_of_nothing_is_nothing():
    """A group of facts that were all left out."""
    assert list(plan([], 100, cost)) == []


def test_collate_gives_int64_on_the_cpu():
    """Shapes (B, T), (B,), (B,) and dtypes that embedding look-ups take, rows in asked order."""
    batch = collate([prompt_of(4, place) for place in range(3)], [2, 0])
    assert batch.order == (2, 0)
    assert batch.ids.shape == (2, 4)
    assert batch.ids[:, 0].tolist() == [2000, 0]
    assert batch.mask_positions.tolist() == [2, 0] and batch.answers.tolist() == [14, 0]
    for tensor in (batch.ids, batch.mask_positions, batch.answers):
        assert tensor.dtype == torch.int64 and tensor.device.type == "cpu"


def test_batches_are_made_on_the_device():
    """All three tensors (the meta device is there on every machine)."""
    (made,) = plan([prompt_of(4, 0)], 100, cost, torch.device("meta"))
    assert {t.device.type for t in (made.ids, made.mask_positions, made.answers)} == {"meta"}


def test_rows_of_a_batch():
    """In the order asked for, each with its place in the prompts."""
    batch = collate([prompt_of(4, place) for place in range(5)], [4, 1, 3])
    some = select(batch, [2, 0])
    assert some.order == (3, 4)
    assert some.ids[:, 0].tolist() == [3000, 4000] and some.answers.tolist() == [21, 28]
    assert some.mask_positions.tolist() == [3, 0]


@pytest.mark.parametrize("free, budget", [(600 << 20, 300 << 20), (64 << 30, 1 << 30)])
def test_half_of_what_is_free_at_most_a_gib(monkeypatch, free, budget):
    monkeypatch.setattr(batching, "_free_memory", lambda: free)
    assert batching.memory_budget(torch.device("cpu")) == budget


@pytest.mark.parametrize("free, budget", [(20 << 30, 10 << 30), (80 << 30, 16 << 30)])
def test_half_of_what_is_free_on_a_gpu_at_most_16_gib(monkeypatch, free, budget):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 << 30))
    assert batching.memory_budget(torch.device("cuda")) == budget


def test_free_memory_is_what_linux_says(monkeypatch, tmp_path):
    """In bytes; all of it where nobody says."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:   1234 kB\n")
    real, path = open, str(tmp_path / "meminfo")
    monkeypatch.setattr("builtins.open", lambda name: real(path))
    assert batching._free_memory() == 1234 * 1024
    (tmp_path / "meminfo").unlink()
    monkeypatch.setattr(batching.os, "sysconf", {"SC_PHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}.get)
    assert batching._free_memory() == 7 * 4096
