"""Texts -> prompts: token ids, where they are read, the answer's ids.

A masked model reads at [MASK], with as many masks as the answer has tokens.  A decoder reads at the
last token before [MASK], so what stands behind it is lost: a prompt in which that is more than
punctuation is left out, and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from knowledge_neurons.text.data import MASK_WORDS
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.tokenizer import MASK
from knowledge_neurons.types import NO_ANSWER, Fact, Prompt

_WORD = re.compile(r"[^\W_]")
# Why a decoder cannot read a text.
TEXT_BEHIND = "more than punctuation follows the answer"
NOTHING_BEFORE = "nothing stands before the answer"


class AnswerNotInVocabulary(ValueError):
    """The answer of a fact cannot be said in tokens of the model."""


class NotBefore(ValueError):
    """A text that a decoder cannot read up to its answer; the message is the reason."""


class Tokens(Protocol):
    """What is asked of a tokenizer: `tokenizer.Tokenizer`, `subwords.SubwordTokenizer`.

    mask: the id that masks, None of a decoder.  unknown: the id of what has none, or None.
    special: ids of no text.  fingerprint: sha256 of all that decides ids.
    """

    vocabulary: dict[str, int]
    lowercase: bool
    mask: int | None
    unknown: int | None
    special: frozenset[int]
    fingerprint: str

    def __len__(self) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_before(self, before: str) -> list[int]: ...
    def encode_masked(self, before: str, after: str) -> list[int]: ...
    def answer(self, before: str, answer: str, after: str) -> list[int]: ...
    def tokens(self, ids: Sequence[int]) -> list[str]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def text(self, answer: Sequence[int]) -> str: ...


# --- facts -----------------------------------------------------------------------------------


def encode_fact(
    fact: Fact, tokenizer: Tokens, max_tokens: int, left_out: Counter[str] | None = None
) -> list[Prompt]:
    """Tokenise all prompts of a fact, cut to max_tokens: of BERT's the end goes, of a decoder's the
    start.

    left_out: is given the reasons of the prompts that a decoder cannot read; without it the first
    is an error.
    Raises AnswerNotInVocabulary; ValueError where the answer is a special token, where there is not
    one [MASK] or the cut loses it.
    """
    prompts = []
    for text in fact.prompts:
        before, after = split_at_mask(text, f"{fact}: ")
        try:
            prompts.append(_asked(fact, tokenizer, before, after, max_tokens))
        except NotBefore as reason:
            if left_out is None:
                raise ValueError(f"{fact}: {reason} in {short(text)}") from reason
            left_out[str(reason)] += 1
    return prompts


def split_at_mask(text: str, where: str = "") -> tuple[str, str]:
    """What stands before and behind the one [MASK] (or <mask>); ValueError for none or several."""
    found = [word for word in MASK_WORDS for _ in range(text.count(word))]
    if len(found) != 1:
        raise ValueError(f"{where}expected one [MASK] in {short(text)}")
    before, _, after = text.partition(found[0])
    return before, after


def _asked(fact: Fact, tokenizer: Tokens, before: str, after: str, max_tokens: int) -> Prompt:
    """One prompt of a fact and its answer's tokens."""
    _check_readable(tokenizer, before, after)
    try:
        # DEVIATION: the released code turns an answer of several tokens into [UNK] (difference 3)
        answer = tokenizer.answer(before, fact.answer, after)
    except ValueError as error:
        raise AnswerNotInVocabulary(
            f"{fact}: the answer {short(fact.answer)} {error}, so its probability cannot be read "
            "at [MASK]"
        ) from error
    if tokenizer.special.intersection(answer):
        raise ValueError(f"{fact}: the answer is a special token, expected a word")
    if tokenizer.mask is None:
        if len(answer) > max_tokens:
            raise ValueError(f"{fact}: its answer has {len(answer)} tokens, over {max_tokens}")
        return asking_after(tokenizer.encode_before(before), answer, max_tokens)
    ids = tokenizer.encode_masked(before, after)
    if ids.count(tokenizer.mask) != 1:
        raise ValueError(f"{fact}: expected one [MASK] in {short(f'{before}{MASK}{after}')}")
    place = ids.index(tokenizer.mask)
    prompt = asking_between(ids[:place], ids[place + 1 :], tokenizer.mask, answer, max_tokens)
    if prompt is None:
        text = short(f"{before}{MASK}{after}")
        raise ValueError(f"{fact}: [MASK] lies beyond {max_tokens} tokens in {text}")
    return prompt


def _check_readable(tokenizer: Tokens, before: str, after: str) -> None:
    """NotBefore for a text that a decoder cannot read up to its answer."""
    if tokenizer.mask is None:
        if _WORD.search(after):
            raise NotBefore(TEXT_BEHIND)
        if not before.strip():
            raise NotBefore(NOTHING_BEFORE)


def asking_after(ids: Sequence[int], answer: Sequence[int], max_tokens: int) -> Prompt:
    """A decoder's prompt: what it reads, then each token of the answer given those before it."""
    room = max_tokens - len(answer) + 1  # what an answer adds is never cut
    cut = len(ids) > room
    kept = tuple(ids[-room:])
    asked = [
        Prompt(kept + tuple(answer[:given]), len(kept) + given - 1, token, cut)
        for given, token in enumerate(answer)
    ]
    return _chain(asked)


def asking_between(
    before: Sequence[int], after: Sequence[int], mask: int, answer: Sequence[int], max_tokens: int
) -> Prompt | None:
    """A masked model's prompt: a mask for each token of the answer, those given filled in.

    None where the cut to max_tokens loses a mask.
    """
    masks = len(answer)
    length = len(before) + masks + len(after)
    cut = length > max_tokens
    if cut:
        after = [*after[: max_tokens - length - 1], after[-1]]
        if len(before) + masks + 1 > max_tokens:
            return None
    asked = [
        Prompt(
            (*before, *answer[:given], *[mask] * (masks - given), *after),
            len(before) + given,
            token,
            cut,
        )
        for given, token in enumerate(answer)
    ]
    return _chain(asked)


def _chain(asked: Sequence[Prompt]) -> Prompt:
    """The first of an answer's tokens, with the later ones behind it."""
    first, *later = asked
    return Prompt(first.ids, first.mask_position, first.answer, first.cut, tuple(later))


def asking(prompt: Prompt, answer: Sequence[int]) -> Prompt:
    """The same prompt asked for another answer, of any number of tokens."""
    if tuple(answer) == prompt.answers:
        return prompt
    if len(answer) == len(prompt.answers) == 1:
        return replace(prompt, answer=answer[0])
    ids, at, masks = prompt.ids, prompt.mask_position, len(prompt.answers)
    if at == len(ids) - 1:  # a decoder's
        return asking_after(ids, answer, len(ids) + len(answer) - 1)
    most = len(ids) - masks + len(answer)
    made = asking_between(ids[:at], ids[at + masks :], ids[at], answer, most)
    assert made is not None
    return made


# --- all facts of a relation -----------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """The tokenised prompts of facts, and what was left out.

    prompts: of each fact; none where it was left out.  prompts_left_out: reason -> how many
    prompts a decoder cannot read.  facts_left_out: reason -> indices of facts.
    """

    prompts: list[list[Prompt]] = field(default_factory=list)
    prompts_left_out: Counter[str] = field(default_factory=Counter)
    facts_left_out: dict[str, list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        """What was left out, for people."""
        parts = [f"{len(facts)} facts ({why})" for why, facts in self.facts_left_out.items()]
        parts += [f"{n} prompts ({why})" for why, n in self.prompts_left_out.items()]
        return ", ".join(parts) or "nothing"


def encode_facts(
    facts: Sequence[Fact],
    tokenizer: Tokens,
    max_tokens: int,
    skip_unknown: bool,
    source: str | Path = "the prompts",
    min_prompts: int = 0,
) -> Encoded:
    """Tokenise the prompts of facts.

    skip_unknown: a fact whose answer the model cannot say gets no prompts, so that facts keep their
    places; otherwise AnswerNotInVocabulary names the first such fact and counts them.
    min_prompts: a fact of which prompts were left out is left out too where fewer remain.
    source: the file that the facts were read from, for messages.
    """
    found = Encoded()
    unknown: list[AnswerNotInVocabulary] = []
    for fact in facts:
        prompts, why = [], None
        reasons: Counter[str] = Counter()
        try:
            prompts = encode_fact(fact, tokenizer, max_tokens, reasons)
        except AnswerNotInVocabulary as error:
            unknown.append(error)
            why = "the answer is not in the vocabulary"
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        if reasons and len(prompts) < max(min_prompts, 1):
            prompts, why = [], f"fewer than {max(min_prompts, 1)} prompts can be read"
        if why:
            found.facts_left_out.setdefault(why, []).append(fact.index)
        found.prompts.append(prompts)
        found.prompts_left_out.update(reasons)
    if unknown and not skip_unknown:
        raise AnswerNotInVocabulary(
            f"{source}: {len(unknown)} of {len(facts)} facts cannot be asked, the first is "
            f"{unknown[0]}.  Use --oov skip to leave such facts out"
        )
    return found


# --- sentences -------------------------------------------------------------------------------


def encode_sentences(texts: Sequence[str], tokenizer: Tokens, max_tokens: int) -> list[Prompt]:
    """Tokenise masked sentences, to be read at their first [MASK], or before it by a decoder.

    One of more than max_tokens keeps the window around that [MASK], between [CLS] and [SEP]: as
    much before it as after it, or all that there is on one side; a decoder what is nearest.
    Raises ValueError for a text without [MASK].
    """
    prompts = []
    for text in texts:
        before, mask, after = text.partition(MASK)
        if not mask:
            raise ValueError(f"expected a [MASK] in {short(text)}")
        if tokenizer.mask is None:
            if not before.strip():
                raise NotBefore(NOTHING_BEFORE)
            prompts.append(asking_after(tokenizer.encode_before(before), [NO_ANSWER], max_tokens))
        else:
            ids = tokenizer.encode_masked(before, after)
            prompts.append(_window(ids, tokenizer.mask, max_tokens))
    return prompts


def encode_open(texts: Sequence[str], tokenizer: Tokens, max_tokens: int) -> list[Prompt]:
    """Tokenise prompts with one [MASK] each without asking for any answer.

    Raises ValueError for a text without one, or that a decoder cannot read.
    """
    for text in texts:
        try:
            _check_readable(tokenizer, *split_at_mask(text))
        except NotBefore as reason:
            raise ValueError(f"{reason} in {short(text)}") from reason
    one_word = [MASK.join(split_at_mask(text)) for text in texts]
    return encode_sentences(one_word, tokenizer, max_tokens)


def _window(ids: list[int], mask: int, max_tokens: int) -> Prompt:
    """A sentence with what is around its first mask."""
    position, cut, inner = ids.index(mask), len(ids) > max_tokens, max_tokens - 2
    if cut:
        start = min(max(position - inner // 2, 1), len(ids) - 1 - inner)
        ids = [ids[0], *ids[start : start + inner], ids[-1]]
        position += 1 - start
    return Prompt(tuple(ids), position, NO_ANSWER, cut)
