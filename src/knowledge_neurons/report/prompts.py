"""Prompts as people read them, put together again from their tokens, of any kind of tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenizers import decoders

MASK = "[MASK]"  # as the report writes it, wherever the answer stands
MASKS = (MASK, "<mask>")
ADDED = re.compile(r"\[CLS\]|\[SEP\]|<[^<>\s]+>")  # what a tokenizer puts around a text
SPACE_OF_BYTES, SPACE_OF_PIECES = "Ġ", "▁"  # a word's begin in tokens of bytes, of SentencePiece
UNREADABLE = "\ufffd"  # what bytes become that are no text: the token is no token of bytes


def text_of(tokens: Sequence[str]) -> str:
    """The text, near enough; a decoder's, which ends before the answer, with [MASK] behind it."""
    if any(token.startswith((SPACE_OF_BYTES, SPACE_OF_PIECES)) for token in tokens):
        return _of_subwords([one for one in tokens if one in MASKS or not ADDED.fullmatch(one)])
    return _of_wordpieces(tokens)


def word_of(token: str) -> str:
    """A token by itself, without what says that it begins a word."""
    decoded = _decoded([token]).strip()
    return token if not decoded or UNREADABLE in decoded else decoded


def _of_subwords(tokens: Sequence[str]) -> str:
    """Parts between masks; a mask has a space before it, unless it begins the text."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token in MASKS:
            parts.append([])
        else:
            parts[-1].append(token)
    first, *others = map(_decoded, parts if len(parts) > 1 else [*parts, []])
    text = first.strip()
    for other in others:
        text = f"{text} {MASK}{other.rstrip()}" if text else f"{MASK}{other.rstrip()}"
    return text


def _decoded(tokens: Sequence[str]) -> str:
    """Of tokens of bytes or of SentencePiece, spaces at either end kept."""
    if any(SPACE_OF_PIECES in token for token in tokens):
        return "".join(tokens).replace(SPACE_OF_PIECES, " ")
    return decoders.ByteLevel().decode(list(tokens))


def _of_wordpieces(tokens: Sequence[str]) -> str:
    inside = tokens[1:-1] if tokens[:1] == ["[CLS]"] else tokens
    words: list[str] = []
    for token in inside:
        if token.startswith("##") and words:
            words[-1] += token[2:]
        else:
            words.append(token)
    text = re.sub(r" ([.,;:!?)]|' s\b)", lambda found: found[1].replace(" ", ""), " ".join(words))
    return text.replace("( ", "(").replace(" - ", "-").replace(" ' ", "'")
