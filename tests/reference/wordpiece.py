"""BERT's tokenisation as published, character by character: the slow twin of `tokenizer`.

Devlin et al. 2019, section 3 ("WordPiece embeddings with a 30,000 token vocabulary"), as their
released code does it: clean, split at white space, CJK characters and punctuation, then match the
longest piece of the vocabulary first.

Three points follow Hugging Face's BertTokenizer, which users have, where it leaves that code:
special tokens inside a text are kept whole; private-use characters are dropped like control
characters; lower-casing looks at one character at a time, so a final sigma is no special case.
"""

from __future__ import annotations

import re
import unicodedata

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_CHARACTERS = 100  # of a word; a longer one is [UNK]
CONTROL = ("Cc", "Cf", "Co")  # control, format, private use; what is unassigned is kept
CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def tokenize(text: str, vocabulary: dict[str, int], lowercase: bool) -> list[str]:
    """The tokens of a text between [CLS] and [SEP]."""
    tokens = ["[CLS]"]
    for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
        if part in SPECIAL:
            tokens.append(part)
            continue
        for word in words(part, lowercase):
            tokens += pieces(word, vocabulary)
    return [*tokens, "[SEP]"]


def words(text: str, lowercase: bool) -> list[str]:
    """Words, punctuation marks and CJK characters of a text, in order."""
    spaced = ""
    for character in text:
        if character in "\t\n\r":
            spaced += " "
        elif character in "\0\ufffd" or unicodedata.category(character) in CONTROL:
            continue
        elif any(first <= ord(character) <= last for first, last in CJK):
            spaced += f" {character} "
        else:
            spaced += character
    if lowercase:
        spaced = "".join(character.lower() for character in spaced)
        decomposed = unicodedata.normalize("NFD", spaced)
        spaced = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    isolated = "".join(f" {c} " if is_punctuation(c) else c for c in spaced)
    return isolated.split()


def is_punctuation(character: str) -> bool:
    """Category P, and the ASCII symbols that Unicode counts elsewhere ("$", "^", "`", ...)."""
    ascii_symbol = "!" <= character <= "~" and not character.isalnum()
    return ascii_symbol or unicodedata.category(character).startswith("P")


def pieces(word: str, vocabulary: dict[str, int]) -> list[str]:
    """The longest piece of the vocabulary that the word starts with, then on with the rest."""
    if len(word) > MAX_CHARACTERS:
        return ["[UNK]"]
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                break
        else:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found
