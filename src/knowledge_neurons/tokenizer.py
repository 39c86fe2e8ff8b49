"""WordPiece: text <-> ids, through the `tokenizers` library.

The same ids as Hugging Face's BertTokenizer gives for the same vocab.txt.  [CLS] and [SEP] are put
around every text; special tokens written inside a text ("[MASK]") are recognised.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer as _Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

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
        self._tokens = {index: token for token, index in vocabulary.items()}
        self._fast = _wordpiece(vocabulary, lowercase)

    @classmethod
    def from_vocab_file(cls, path: str | Path, lowercase: bool) -> Tokenizer:
        """Read a vocab.txt: one token a line, the line number is the id."""
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
            tokens = [line.rstrip("\r") for line in lines]
            while tokens and not tokens[-1]:
                tokens.pop()
            vocabulary = {token: index for index, token in enumerate(tokens)}
            return cls(vocabulary, lowercase)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_json_file(cls, path: str | Path, lowercase: bool | None = None) -> Tokenizer:
        """Read a tokenizer.json; lowercase None takes what the file says.

        ValueError for one that is not BERT's: another model, or another way to clean the text.
        """
        try:
            theirs = _Tokenizer.from_file(str(path))
        except Exception as error:  # the library knows no narrower class
            raise ValueError(f"{path}: not a readable tokenizer.json ({error})") from error
        clean = theirs.normalizer
        if not isinstance(theirs.model, WordPiece) or not isinstance(clean, BertNormalizer):
            raise ValueError(f"{path}: expected a WordPiece model and a BertNormalizer")
        try:
            check_options(clean.lowercase, clean.strip_accents, clean.handle_chinese_chars)
            folds = clean.lowercase if lowercase is None else lowercase
            return cls(theirs.get_vocab(with_added_tokens=True), folds)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def __len__(self) -> int:
        """Number of ids: one more than the largest."""
        return max(self._tokens) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of the text between [CLS] and [SEP]."""
        return self._fast.encode(text).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """`encode` of many texts at once, in parallel; nothing is padded or cut."""
        return [encoding.ids for encoding in self._fast.encode_batch(texts)]

    def decode(self, ids: list[int]) -> str:
        """Readable text of the ids, special tokens left out."""
        return self._fast.decode(ids)

    def tokens(self, ids: list[int]) -> list[str]:
        """The token of each id."""
        return [self._tokens.get(index, f"[no token {index}]") for index in ids]

    def single_token(self, text: str) -> int | None:
        """Id of the one token that the text is, or None where it is several or unknown."""
        ids = self._fast.encode(text, add_special_tokens=False).ids
        return ids[0] if len(ids) == 1 and ids[0] != self.vocabulary[UNK] else None


def check_options(lowercase: bool, strip_accents: bool | None, split_chinese: bool | None) -> None:
    """ValueError for options under which this file would give other ids than the checkpoint's."""
    if strip_accents not in (None, lowercase):
        raise ValueError(f"strip_accents {strip_accents} with lowercase {lowercase}: unsupported")
    if split_chinese not in (None, True):
        raise ValueError("tokenize_chinese_chars off: unsupported")


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
