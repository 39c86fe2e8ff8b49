"""Prompts -> batches of equal length under a memory budget, so that nothing is ever padded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import torch

from knowledge_neurons.types import Batch, Prompt

CPU = torch.device("cpu")


def plan(
    prompts: Sequence[Prompt],
    memory: int,
    bytes_per_prompt: Callable[[int], int],
    device: torch.device = CPU,
) -> Iterator[Batch]:
    """Group prompts by length, shortest first, each batch within `memory` bytes (or one prompt).

    bytes_per_prompt: number of tokens -> what the work on one such prompt takes.
    Every prompt is in exactly one batch; `Batch.order` says where it came from.
    """
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt.ids), []).append(place)
    for length, places in sorted(by_length.items()):
        size = max(1, memory // bytes_per_prompt(length))
        for start in range(0, len(places), size):
            yield collate(prompts, places[start : start + size], device)


def memory_budget(device: torch.device) -> int:
    """Bytes that a batch may take where the user names no number: half of what is free, at most
    1 GiB on a CPU, where larger batches are no faster, and 16 GiB on a GPU.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return min(free // 2, 16 << 30)
    return min(_free_memory() // 2, 1 << 30)


def _free_memory() -> int:
    """Bytes of main memory that are free or can be freed; all of it where nobody says."""
    try:
        with open("/proc/meminfo") as file:
            amounts = dict(line.split(":") for line in file)
        return 1024 * int(amounts["MemAvailable"].split()[0])
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def collate(prompts: Sequence[Prompt], places: Sequence[int], device: torch.device = CPU) -> Batch:
    """The prompts at these places, all of one length, as tensors on the device."""
    chosen = [prompts[place] for place in places]
    return Batch(
        ids=torch.tensor([p.ids for p in chosen], device=device),
        mask_positions=torch.tensor([p.mask_position for p in chosen], device=device),
        answers=torch.tensor([p.answer for p in chosen], device=device),
        order=tuple(places),
    )


def select(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, in this order."""
    chosen = torch.tensor(rows, device=batch.ids.device)
    order = tuple(batch.order[row] for row in rows)
    parts = (batch.ids, batch.mask_positions, batch.answers)
    return Batch(*(part[chosen] for part in parts), order)
