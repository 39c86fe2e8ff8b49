"""Prompts -> batches of equal length under a memory budget, so that nothing is ever padded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import torch

from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import NO_ANSWER, Batch, Fact, Prompt


class AnswerNotInVocabulary(ValueError):
    """The answer of a fact is not one token of the model's vocabulary."""


def encode_fact(fact: Fact, tokenizer: Tokenizer, max_tokens: int) -> list[Prompt]:
    """Tokenise all prompts of a fact, [CLS] and [SEP] included, cut to max_tokens as BERT does.

    Raises AnswerNotInVocabulary; ValueError where the answer is a special token, where there is not
    one [MASK] or the cut loses it.
    """
    answer = tokenizer.single_token(fact.answer)
    if answer is None:
        # DEVIATION: the released code turns it into [UNK] silently (difference 3)
        raise AnswerNotInVocabulary(
            f"{fact}: the answer {short(fact.answer)} is not one token of the model's vocabulary, "
            "so its probability cannot be read at [MASK]"
        )
    if answer in {tokenizer.vocabulary[token] for token in SPECIAL_TOKENS}:
        raise ValueError(f"{fact}: the answer is a special token, expected a word")
    mask = tokenizer.vocabulary[MASK]
    prompts = []
    for text, ids in zip(fact.prompts, tokenizer.encode_batch(list(fact.prompts)), strict=True):
        if ids.count(mask) != 1:
            raise ValueError(f"{fact}: expected one [MASK] in {short(text)}")
        cut = len(ids) > max_tokens
        if cut:
            ids = ids[: max(max_tokens - 1, 0)] + ids[-1:]
        if mask not in ids:
            raise ValueError(f"{fact}: [MASK] lies beyond {max_tokens} tokens in {short(text)}")
        prompts.append(Prompt(tuple(ids), ids.index(mask), answer, cut))
    return prompts


def encode_sentences(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> list[Prompt]:
    """Tokenise masked sentences, to be read at their first [MASK].

    One of more than max_tokens keeps the window around that [MASK], between [CLS] and [SEP]: as
    much before it as after it, or all that there is on one side.
    Raises ValueError for a text without [MASK].
    """
    mask, inner = tokenizer.vocabulary[MASK], max_tokens - 2
    prompts = []
    for text, ids in zip(texts, tokenizer.encode_batch(list(texts)), strict=True):
        if mask not in ids:
            raise ValueError(f"expected a [MASK] in {short(text)}")
        position, cut = ids.index(mask), len(ids) > max_tokens
        if cut:
            start = min(max(position - inner // 2, 1), len(ids) - 1 - inner)
            ids = [ids[0], *ids[start : start + inner], ids[-1]]
            position += 1 - start
        prompts.append(Prompt(tuple(ids), position, NO_ANSWER, cut))
    return prompts


def plan(
    prompts: Sequence[Prompt], memory: int, bytes_per_prompt: Callable[[int], int]
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
            yield collate(prompts, places[start : start + size])


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


def collate(prompts: Sequence[Prompt], places: Sequence[int]) -> Batch:
    """The prompts at these places, all of one length, as tensors on the CPU."""
    chosen = [prompts[place] for place in places]
    return Batch(
        ids=torch.tensor([p.ids for p in chosen]),
        mask_positions=torch.tensor([p.mask_position for p in chosen]),
        answers=torch.tensor([p.answer for p in chosen]),
        order=tuple(places),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch with its tensors on another device."""
    return Batch(
        batch.ids.to(device),
        batch.mask_positions.to(device),
        batch.answers.to(device),
        batch.order,
    )


def select(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, in this order."""
    chosen = torch.tensor(rows, device=batch.ids.device)
    order = tuple(batch.order[row] for row in rows)
    parts = (batch.ids, batch.mask_positions, batch.answers)
    return Batch(*(part[chosen] for part in parts), order)
