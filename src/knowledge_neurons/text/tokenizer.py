"""WordPiece: text <-> ids, through the `tokenizers` library.

The same ids as Hugging Face's BertTokenizer gives for the same vocab.txt.  [CLS] and [SEP] are put
around every text; special tokens written inside a text ("[MASK]") are recognised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as _Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from knowledge_neurons.text import strict_json
from knowledge_neurons.text.strict_json import short

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """WordPiece with BERT's special tokens.

    vocabulary: token -> id, with the five SPECIAL_TOKENS in it.
    lowercase: fold case and strip accents first (the "uncased" models).

        tokenizer = Tokenizer.from_vocab_file("vocab.txt", lowercase=False)
        tokenizer.encode("Alan Turing works on [MASK].")      # [101, 4258, ..., 103, 119, 102]
    """

    def __init__(self, vocabulary: dict[str, int], lowercase: bool):
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self._tokens: dict[int, str] = {}
        for token, index in vocabulary.items():
            if (other := self._tokens.setdefault(index, token)) != token:
                raise ValueError(f"two tokens have the id {index}: {short(other)}, {short(token)}")
        self._fast = _wordpiece(vocabulary, lowercase)

    @classmethod
    def from_vocab_file(cls, path: str | Path, lowercase: bool) -> Tokenizer:
        """Read a vocab.txt: one token a line, the line number is the id.

        ValueError for a line that is empty or stands twice: then all ids may be shifted.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
            return cls(_numbered([line.rstrip("\r") for line in lines]), lowercase)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_json_file(cls, path: str | Path, lowercase: bool | None = None) -> Tokenizer:
        """Read a tokenizer.json; lowercase None takes what the file says.

        ValueError for one that is not BERT's: another model, or another way to clean the text.
        """
        content = strict_json.read_object(Path(path))
        try:
            folds, vocabulary = _cleaning(content), _json_vocabulary(content)
            return cls(vocabulary, folds if lowercase is None else lowercase)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of all that decides ids: every token with its own, whether case is folded.

        Accents are stripped where case is folded, all else is fixed: see `check_options`.
        """
        ordered = sorted(self._tokens.items())
        content = json.dumps([ordered, self.lowercase], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    def __len__(self) -> int:
        """Number of ids: one more than the largest."""
        return max(self._tokens) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of the text between [CLS] and [SEP]."""
        check_texts([text])
        return self._fast.encode(text).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """`encode` of many texts at once, in parallel; nothing is padded or cut."""
        check_texts(texts)
        return [encoding.ids for encoding in self._fast.encode_batch(texts)]

    def decode(self, ids: list[int]) -> str:
        """Readable text of the ids, special tokens left out."""
        return self._fast.decode(ids)

    def text(self, answer: Sequence[int]) -> str:
        """An answer for people, from its ids."""
        return self.tokens(answer)[0] if len(answer) == 1 else self.decode(list(answer))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id."""
        return [self._tokens.get(index, f"[no token {index}]") for index in ids]

    @property
    def mask(self) -> int:
        """The id of [MASK]."""
        return self.vocabulary[MASK]

    @property
    def unknown(self) -> int:
        """The id that stands for what has none."""
        return self.vocabulary[UNK]

    @property
    def special(self) -> frozenset[int]:
        """The ids of no text."""
        return frozenset(self.vocabulary[token] for token in SPECIAL_TOKENS)

    def encode_masked(self, before: str, after: str) -> list[int]:
        """`encode` of a text with [MASK] between its two parts."""
        return self.encode(f"{before}{MASK}{after}")

    def answer(self, before: str, answer: str, after: str) -> list[int]:
        """Ids of an answer where [MASK] stands; in WordPiece what stands around is no matter.

        Raises ValueError, to be completed by who asked, for one that the vocabulary lacks.
        """
        check_texts([answer])
        ids = self._fast.encode(answer, add_special_tokens=False).ids
        if not ids or self.unknown in ids:
            raise ValueError("is not in the model's vocabulary")
        return ids


def check_options(lowercase: Any, strip_accents: Any, split_chinese: Any) -> None:
    """ValueError for options under which this file would give other ids than the checkpoint's.

    They are as a file gives them: true, false or null, where null leaves it to the others.
    """
    given = {
        "lowercase (do_lower_case)": lowercase,
        "strip_accents": strip_accents,
        "tokenize_chinese_chars": split_chinese,
    }
    for name, value in given.items():
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{name} is {short(value)}, expected true, false or null")
    if strip_accents not in (None, lowercase):
        raise ValueError(f"strip_accents {strip_accents} with lowercase {lowercase}: unsupported")
    if split_chinese not in (None, True):
        raise ValueError("tokenize_chinese_chars off: unsupported")


def check_texts(texts: list[str]) -> None:
    """ValueError for a text that has no bytes: one with half of a surrogate pair."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"half a character in the text {short(text)}") from error


def _numbered(lines: list[str]) -> dict[str, int]:
    """Token -> number of its line from 0; empty lines at the end do not count."""
    while lines and not lines[-1]:
        lines.pop()
    vocabulary: dict[str, int] = {}
    for index, token in enumerate(lines):
        if not token.strip(" \t\0"):
            raise ValueError(f"line {index + 1} is empty: a token is lost there")
        if (first := vocabulary.setdefault(token, index)) != index:
            raise ValueError(f"lines {first + 1} and {index + 1} are both {short(token)}")
    return vocabulary


# --- tokenizer.json --------------------------------------------------------------------------


def _cleaning(content: dict[str, Any]) -> bool:
    """Whether a tokenizer.json folds case; ValueError for another way to clean text than ours."""
    clean = content.get("normalizer")
    if not isinstance(clean, dict) or clean.get("type") != "BertNormalizer":
        raise ValueError("expected a WordPiece model and a BertNormalizer")
    folds = clean.get("lowercase", True)
    check_options(folds, clean.get("strip_accents"), clean.get("handle_chinese_chars"))
    if not isinstance(folds, bool) or clean.get("clean_text", True) is not True:
        raise ValueError("expected lowercase true or false, and clean_text true")
    return folds


def _json_vocabulary(content: dict[str, Any]) -> dict[str, int]:
    """Token -> id of a tokenizer.json, tokens added later with the rest."""
    model = content.get("model")
    # The first versions of the library wrote no type.
    if not isinstance(model, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise ValueError("expected a WordPiece model and a BertNormalizer")
    fixed = {"unk_token": UNK, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    for name, ours in fixed.items():
        if model.get(name, ours) != ours:
            raise ValueError(f"{name} is {short(model[name])}, only {ours!r} is supported")
    vocabulary, added = model.get("vocab"), content.get("added_tokens") or []
    if not isinstance(vocabulary, dict) or not isinstance(added, list):
        raise ValueError('expected {"model": {"vocab": {token: id}}, "added_tokens": [...]}')
    pairs = list(vocabulary.items())
    for one in added:
        if not isinstance(one, dict) or not isinstance(one.get("content"), str):
            raise ValueError(f"expected added tokens with id and content, got {short(one)}")
        pairs.append((one["content"], one.get("id")))
    found: dict[str, int] = {}
    for token, index in pairs:
        if type(index) is not int or not 0 <= index < 1 << 31:
            raise ValueError(
                f"the token {short(token)} has the id {short(index)}, expected a whole number"
            )
        if found.setdefault(token, index) != index:
            raise ValueError(f"the token {short(token)} has two ids, {found[token]} and {index}")
    return found


def _wordpiece(vocabulary: dict[str, int], lowercase: bool) -> _Tokenizer:
    """BERT's pipeline: clean and split at spaces, punctuation and CJK; longest match first."""
    fast = _Tokenizer(WordPiece(vocabulary, unk_token=UNK, max_input_chars_per_word=100))
    fast.normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    fast.pre_tokenizer = BertPreTokenizer()
    fast.post_processor = TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        special_tokens=[(CLS, vocabulary[CLS]), (SEP, vocabulary[SEP])],
    )
    fast.decoder = WordPieceDecoder(prefix="##")
    fast.add_special_tokens(list(SPECIAL_TOKENS))
    return fast
