"""Texts -> prompts: token ids, where [MASK] is, the answer's id."""

from __future__ import annotations

from collections.abc import Sequence

from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import NO_ANSWER, Fact, Prompt


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
