"""The tokenizers of all families but BERT: byte-level BPE, SentencePiece, whatever they are.

What an answer's tokens are depends on what stands before it: a space becomes part of the token
("ĠParis", "▁Paris"), at the start of a text or in a script without spaces there is none.  So an
answer is tokenised in its place, as part of the text, and never alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

from tokenizers import Encoding
from tokenizers import Tokenizer as Backend

from knowledge_neurons.text.tokenizer import MASK, check_texts


class SubwordTokenizer:
    """Text <-> ids through a tokenizer of the `tokenizers` library, which knows its special tokens.

    backend: not changed.  mask: the token that masks, None of a decoder.  special: all special
    tokens, with the mask.

        tokenizer = SubwordTokenizer(Backend.from_file("tokenizer.json"), "<mask>", ["<s>", ...])
    """

    lowercase = False  # whether case is folded is the backend's matter, and in its fingerprint

    def __init__(self, backend: Backend, mask: str | None, special: Sequence[str]):
        self._fast = Backend.from_str(backend.to_str())
        self._fast.no_padding()
        self._fast.no_truncation()
        self.vocabulary: dict[str, int] = self._fast.get_vocab(with_added_tokens=True)
        missing = [token for token in special if token not in self.vocabulary]
        if missing:
            raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        self.mask_token, self.mask = mask, None if mask is None else self.vocabulary[mask]
        self.special = frozenset(self.vocabulary[token] for token in special)
        unknown = getattr(self._fast.model, "unk_token", None)
        if unknown is None:
            unknown = next((token for token in ("<unk>", "[UNK]") if token in special), None)
        self.unknown = self.vocabulary.get(unknown) if unknown else None
        self._tokens = {index: token for token, index in self.vocabulary.items()}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the whole tokenizer as its file has it, and of its mask."""
        return hashlib.sha256(f"{self._fast.to_str()}{self.mask_token}".encode()).hexdigest()

    def __len__(self) -> int:
        """Number of ids: one more than the largest."""
        return max(self._tokens) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of the text, with the special tokens that the model wants around it."""
        return self._encoded(text).ids

    def _encoded(self, text: str) -> Encoding:
        check_texts([text])
        return self._fast.encode(text)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id, as the tokenizer writes it."""
        return [self._tokens.get(index, f"[no token {index}]") for index in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of the ids, special tokens left out."""
        return self._fast.decode(list(ids))

    def text(self, answer: Sequence[int]) -> str:
        """An answer for people, from its ids."""
        return self.decode(answer).strip() or " ".join(self.tokens(answer))

    def encode_before(self, before: str) -> list[int]:
        """Ids of what a decoder reads before an answer: no space at the end, nothing after it."""
        ids = self.encode(before.rstrip(" "))
        while ids and ids[-1] in self.special and len(ids) > 1:  # some put an end behind each text
            ids.pop()
        return ids

    def encode_masked(self, before: str, after: str) -> list[int]:
        """`encode` of a text with the mask between its two parts, and for each further [MASK]."""
        assert self.mask_token is not None, "a decoder has no mask"
        return self.encode(f"{before}{MASK}{after}".replace(MASK, self.mask_token))

    def answer(self, before: str, answer: str, after: str) -> list[int]:
        """Ids of an answer in its place; `after` is what a masked model reads behind it.

        Raises ValueError, to be completed by who asked, for an answer that the vocabulary lacks and
        for one whose first token would begin in the text before it.
        """
        if not answer.strip():
            raise ValueError("is empty")
        if self.mask is None:
            head = self.encode_before(before)
            whole = self._encoded(f"{before}{answer}")
        else:
            ids = self.encode_masked(before, after)
            head = ids[: ids.index(self.mask)]
            whole = self._encoded(f"{before}{answer}{after}")
        # Behind the mask there may be other tokens than behind a word (XLM-R puts a space there),
        # so the answer's end is where its letters end.
        start = end = len(head)
        last = len(before) + len(answer)
        texts = [not special for special in whole.special_tokens_mask]
        while end < len(whole) and texts[end] and whole.offsets[end][0] < last:
            end += 1
        if whole.ids[:start] != head or (end > start and whole.offsets[end - 1][1] > last):
            raise ValueError("cannot be told apart from the text around it by this tokenizer")
        found = whole.ids[start:end]
        if not found or self.unknown in found:
            raise ValueError("is not in the model's vocabulary")
        return found
