"""Prompts and answers as the peers write them -> prompts that the engine reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text import encoding
from knowledge_neurons.text.data import MASK_WORDS
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.tokenizer import MASK
from knowledge_neurons.types import Fact, Prompt

_WORD = "|".join(map(re.escape, MASK_WORDS))
_MASKS = re.compile(rf"(?:{_WORD})(?:\s*(?:{_WORD}))*")  # one, or several in a row


def encoded(
    network: Network, tokenizer: Tokens, prompts: Sequence[str], ground_truth: str
) -> list[Prompt]:
    """Tokenise prompts that ask for one answer.

    prompts: for a masked model with [MASK] or <mask>, one or as many in a row as the answer has
    tokens, which are set in any case; for a decoder also without, where the answer follows.
    Raises ValueError for anything but texts, for another number of masks, and as
    `text.encoding.encode_fact` does.
    """
    if isinstance(prompts, str) or not all(isinstance(text, str) for text in prompts):
        raise ValueError(f"expected a list of prompts, got {short(prompts)}")
    if not prompts:
        raise ValueError("expected at least one prompt, got an empty list")
    if not isinstance(ground_truth, str):
        raise ValueError(f"expected the answer as a text, got {short(ground_truth)}")
    answer = ground_truth if network.causal else ground_truth.strip()
    spaced = answer.startswith(" ")
    texts, masks = zip(*(_one_mask(text, network.causal, spaced) for text in prompts), strict=True)
    fact = Fact("own", "own prompts", 0, answer, texts)
    found = encoding.encode_fact(fact, tokenizer, network.max_tokens)
    for text, asked, prompt in zip(prompts, masks, found, strict=True):
        if asked > 1 and asked != len(prompt.answers):
            # The fork multiplies as many probabilities as fit and says nothing.
            raise ValueError(
                f"{asked} masks in {short(text)}, but {short(answer)} has "
                f"{len(prompt.answers)} tokens: write one mask, the others are added"
            )
    return found


def unanswered(network: Network, tokenizer: Tokens, prompt: str) -> Prompt:
    """A prompt that asks for no answer in particular; refused as one that does."""
    text, _ = _one_mask(prompt, network.causal)
    return encoding.encode_open([text], tokenizer, network.max_tokens)[0]


def _one_mask(text: str, causal: bool, spaced: bool = False) -> tuple[str, int]:
    """The text with a row of masks made one, and how many there were.

    causal: where there is none, it stands at the end.  spaced: the answer brings its own space.
    """
    found = _MASKS.search(text)
    if found is None and not causal:
        return text, 1
    start, end = found.span() if found else (len(text), len(text))
    before = text[:start].rstrip(" ") if spaced else text[:start]
    count = len(re.findall(_WORD, found[0])) if found else 1
    return f"{before}{MASK}{text[end:]}", count


def in_ids(network: Network, tokenizer: Tokens, prompt: Prompt, given: Mapping[str, Any]) -> Prompt:
    """The prompt's answer asked for in a text that was tokenised elsewhere (encoded_input).

    Raises ValueError for several texts, for masks that do not fit the answer, and as `ids_of` does.
    """
    rows = ids_of(given).tolist()
    if len(rows) != 1:
        raise ValueError(f"encoded_input has {len(rows)} rows: expected one text")
    (ids,) = rows
    if network.causal:
        return encoding.asking_after(ids, prompt.answers, network.max_tokens)
    masks, k = [i for i, token in enumerate(ids) if token == tokenizer.mask], len(prompt.answers)
    row = masks and masks == list(range(masks[0], masks[0] + len(masks)))
    if not row or len(masks) not in (1, k):
        raise ValueError(
            f"encoded_input has masks at {masks}: expected one, or a row of {k} for {k} tokens"
        )
    asked = encoding.asking_between(
        ids[: masks[0]], ids[masks[-1] + 1 :], tokenizer.mask, prompt.answers, network.max_tokens
    )
    if asked is None:
        raise ValueError(f"encoded_input has its mask beyond {network.max_tokens} tokens")
    return asked


def ids_of(given: Mapping[str, Any]) -> Tensor:
    """The ids (B, T) of what a tokenizer of `transformers` returns as tensors.

    Raises ValueError for padding and for a second segment, which the engine has none of.
    """
    ids = given["input_ids"]
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        raise ValueError("encoded_input: expected tensors, tokenizer(text, return_tensors='pt')")
    mask, segments = given.get("attention_mask"), given.get("token_type_ids")
    if mask is not None and not bool(mask.all()):
        raise ValueError("encoded_input is padded: tokenise texts of one length, without padding")
    if segments is not None and bool(segments.any()):
        raise ValueError("encoded_input has two segments: expected one text")
    return ids
