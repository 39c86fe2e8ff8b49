"""PARAREL and BINGREL files -> facts, prompts and sentences; masking of sentences.

`data_all_allbags.json` is {REL: [fact: [[prompt with [MASK], answer, "REL(label)"], ...]]}; the
authors' `data_all.json` is the same facts as one flat list, and is read too.  BINGREL's files, one
for each relation, are [fact: {"th_bags": [sentence, ...], "h_bags": [...]}]: web sentences with
head and tail of the fact, and with its head; `query_pairs.json` is {REL: [[head, tail], ...]}.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from knowledge_neurons.text import strict_json
from knowledge_neurons.text.relations import by_number, check_relation, full_name, split_name
from knowledge_neurons.text.strict_json import listed, short
from knowledge_neurons.types import Fact, FactSentences

MASK = "[MASK]"
MASK_WORDS = (MASK, "<mask>")  # what may stand for the answer in a prompt, whatever the model
SPECIAL = re.compile(r"\[(?:PAD|UNK|CLS|SEP|MASK)\]|<mask>")
FIRST_WORDS = 50  # UPSTREAM: the random word to mask is one of the first 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_bags(path: str | Path) -> dict[str, list]:
    """The prompts file as {relation: [bag of each fact]}, whichever of the two shapes it has.

    Raises ValueError naming the file when it is missing, is no JSON, has another shape, or names a
    relation as `check_relation` refuses.
    """
    path = Path(path)
    content = _read_json(path, "PARAREL", "data/PARAREL/sample_allbags.json")
    if isinstance(content, list):
        content = _split_by_relation(path, content)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise ValueError(f"{path}: expected {{relation: [bag of each fact]}}")
    for relation in content:
        check_relation(relation, path)
    return content


def _read_json(path: Path, name: str, sample: str) -> Any:
    """Content of an input file; ValueError says where such files come from."""
    try:
        return strict_json.read(path)
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: no such file.  scripts/get_data.py builds the full {name}; the embedded "
            f"sample is {sample}"
        ) from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def facts_of(
    bags: dict[str, list], relation: str, source: str | Path, max_facts: int | None = None
) -> list[Fact]:
    """The facts of one relation in data order, the first max_facts of them if given.

    source: where the bags were read from, for messages.
    Raises ValueError for an unknown relation (lists the known ones) or a malformed fact.
    """
    if relation not in bags:
        known = listed(sorted(bags, key=by_number)) or "none"
        raise ValueError(f"relation {short(relation)} is not in {source}.  It has: {known}")
    if not bags[relation]:
        raise ValueError(f"{source}: {relation} has no facts")
    chosen = bags[relation][:max_facts]
    return [_fact(bag, relation, index, source) for index, bag in enumerate(chosen)]


def _fact(bag: list, relation: str, index: int, source: str | Path) -> Fact:
    where = f"{source}: {relation} fact {index}"
    if not isinstance(bag, list) or not bag:
        raise ValueError(f"{where}: expected a list of prompts, got {short(bag)}")
    for row in bag:
        if not (_are_texts(row) and len(row) == 3):
            raise ValueError(f"{where}: expected [prompt, answer, relation], got {short(row)}")
        if sum(row[0].count(word) for word in MASK_WORDS) != 1:
            raise ValueError(f"{where}: expected one {MASK} in {short(row[0])}")
        if row[1:] != bag[0][1:]:
            raise ValueError(f"{where}: its prompts differ in answer or relation: {short(row[1:])}")
    _, answer, name = bag[0]
    if not is_name(answer):
        raise ValueError(
            f"{where}: the answer {short(answer)} is no word: it is empty, or holds a control "
            f"character or a special token such as {MASK}"
        )
    named, label = split_name(name) or (None, "")
    if named != relation or _CONTROL.search(label):
        raise ValueError(
            f"{where}: expected a relation like '{full_name(relation, 'label')}', got {short(name)}"
        )
    return Fact(relation, label, index, answer, tuple(row[0] for row in bag))


def _split_by_relation(path: Path, bags: list) -> dict[str, list]:
    split: dict[str, list] = {}
    for index, bag in enumerate(bags):
        try:
            relation = bag[0][2].split("(")[0]
            check_relation(relation, f"{path}: fact {index}")
        except (IndexError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}: fact {index} is no list of [prompt, answer, rel]") from error
        split.setdefault(relation, []).append(bag)
    return split


# --- sentences -------------------------------------------------------------------------------


def read_pairs(path: str | Path) -> dict[str, list[tuple[str, str]]]:
    """{relation: [(head, tail) of each fact]} of a query_pairs.json.

    Raises ValueError naming the file, the relation and the fact that is not so.
    """
    path = Path(path)
    content = _read_json(path, "PARAREL", "data/PARAREL/sample_query_pairs.json")
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise ValueError(f"{path}: expected {{relation: [[head, tail] of each fact]}}")
    for relation, pairs in content.items():
        check_relation(relation, path)
        for index, pair in enumerate(pairs):
            if not (_are_texts(pair) and len(pair) == 2 and all(map(is_name, pair))):
                raise ValueError(
                    f"{path}: {relation} fact {index}: expected [head, tail], two texts on a line "
                    f"each without special tokens, got {short(pair)}"
                )
    return {relation: [(head, tail) for head, tail in pairs] for relation, pairs in content.items()}


def read_sentences(
    path: str | Path, relation: str, pairs: Sequence[tuple[str, str]]
) -> list[FactSentences]:
    """The sentences of each fact of one relation, in data order.

    pairs: (head, tail) of each of its facts.
    Raises ValueError naming file and fact where the shape is another or the facts are not as many.
    """
    path = Path(path)
    content = _read_json(path, "BINGREL", "data/BINGREL/sample_distant_<REL>.json")
    if not isinstance(content, list) or len(content) != len(pairs):
        found = f"{len(content)} facts" if isinstance(content, list) else type(content).__name__
        raise ValueError(
            f"{path}: expected a list of the {len(pairs)} facts that {relation} has, got {found}: "
            "do prompts, pairs and sentences belong together?"
        )
    sentences = []
    for index, (bag, (head, tail)) in enumerate(zip(content, pairs, strict=True)):
        kinds = [bag.get(k) for k in ("th_bags", "h_bags")] if isinstance(bag, dict) else [None]
        if not all(map(_are_texts, kinds)):
            raise ValueError(
                f'{path}: fact {index}: expected {{"th_bags": [sentence, ...], "h_bags": [...]}}, '
                f"got {short(bag)}"
            )
        sentences.append(FactSentences(relation, index, head, tail, *map(tuple, kinds)))
    return sentences


def check_pairs(
    facts: Sequence[Fact], pairs: Sequence[tuple[str, str]], source: str | Path
) -> None:
    """Raise ValueError unless the pairs are the facts': as many, in their order, each with the
    fact's answer as its tail and with a head that its prompts name."""
    if len(facts) != len(pairs):
        raise ValueError(
            f"{source} has {len(pairs)} pairs of {facts[0].relation}, the prompts are of "
            f"{len(facts)} facts: they do not belong together"
        )
    for fact, (head, tail) in zip(facts, pairs, strict=True):
        named = any(head.casefold() in prompt.casefold() for prompt in fact.prompts)
        if fact.answer != tail or not named:
            raise ValueError(
                f"{fact}: its pair in {source} is {short(head)}, {short(tail)}: prompts and pairs "
                "do not belong together"
            )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def is_name(text: str) -> bool:
    """Whether it can be a head or an answer: no special token, no control character, not empty."""
    return bool(text.strip()) and not _CONTROL.search(text) and not SPECIAL.search(text)


# --- masking ---------------------------------------------------------------------------------


LETTER = r"[^\W\d_]"


class CannotMask(ValueError):
    """A sentence in which there is nothing to mask; the message is the reason, to be counted."""


def mask_tail(sentence: str, head: str, tail: str, decoder: bool = False) -> str:
    """The sentence with every occurrence of the tail masked, the head left whole.

    The tail is found with its case, where no letter stands before or after it (in "BBC1", not in
    "NBCThe").  Inside the head, in any case, it is never masked ("Google" of "Google Play").  If
    head and tail are the same word, its first occurrence is the head.
    One [MASK] stands for the tail however many tokens it has: what is read is the stream at the
    first [MASK], not the tail's probability.
    decoder: the sentence will be read by one, before the tail: it must not begin with it.
    Raises CannotMask.

        mask_tail("Baku is the capital of Azerbaijan.", "Azerbaijan", "Baku")
        # "[MASK] is the capital of Azerbaijan."
    """
    _refuse_special(sentence)
    heads = _occurrences(head, sentence)
    if head.casefold() == tail.casefold():
        heads = heads[:1]
    # DEVIATION: the first occurrence alone is masked there, and none crashes (differences 9, 10)
    pattern = rf"(?<!{LETTER}){_spaced(tail)}(?!{LETTER})"
    words = [match.span() for match in re.finditer(pattern, sentence)]
    spans = [span for span in words if not any(_is_inside(span, other) for other in heads)]
    if spans and decoder and not sentence[: spans[0][0]].strip():
        raise CannotMask("the tail begins it, so a decoder has nothing to read")
    if spans:
        return _mask(sentence, spans)
    if words:
        raise CannotMask("the tail stands only in the head")
    if _occurrences(tail, sentence):
        raise CannotMask("the tail stands there in another case or inside a word")
    raise CannotMask("the tail does not occur")


def mask_random_word(
    sentence: str, avoid: Iterable[str], rng: random.Random, decoder: bool = False
) -> str:
    """The sentence with one of its first 50 words masked, never one of `avoid`.

    A word is what white space separates, without the punctuation around it; it has a letter or a
    digit.  avoid: head and tail.  decoder: never the first word, before which there is nothing to
    read.  One draw: the word, uniformly.
    Raises CannotMask, before the draw.
    """
    _refuse_special(sentence)
    taken = [span for text in avoid for span in _occurrences(text, sentence, whole=True)]
    free = [
        span
        for span in _words(sentence)[:FIRST_WORDS]
        if not (decoder and not sentence[: span[0]].strip())
        and not any(span[0] < end and start < span[1] for start, end in taken)
    ]
    if not free:
        raise CannotMask(f"no other word among the first {FIRST_WORDS}")
    return _mask(sentence, [rng.choice(free)])


def occurs(text: str, sentence: str) -> bool:
    """Whether the text occurs in the sentence as a whole word (or words), in any case."""
    return bool(_occurrences(text, sentence, whole=True))


Span = tuple[int, int]


def _refuse_special(sentence: str) -> None:
    """A [MASK] of the sentence's own would be taken for ours."""
    if SPECIAL.search(sentence):
        raise CannotMask("it holds a special token such as [MASK]")


def _occurrences(text: str, sentence: str, whole: bool = False) -> list[Span]:
    """Where the text stands, in any case and with any white space; whole: only as whole words."""
    pattern = _spaced(text)
    if whole:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return [match.span() for match in re.finditer(pattern, sentence, re.IGNORECASE)]


def _spaced(text: str) -> str:
    """A pattern of the text with any white space between its words."""
    return r"\s+".join(map(re.escape, text.split()))


def _words(sentence: str) -> list[Span]:
    """The words, each from its first to its last letter or digit."""
    return [m.span() for m in re.finditer(r"[^\W_](?:\S*[^\W_])?", sentence)]


def _is_inside(span: Span, other: Span) -> bool:
    return other[0] <= span[0] and span[1] <= other[1]


def _mask(sentence: str, spans: Sequence[Span]) -> str:
    """The sentence with [MASK] in place of each span."""
    parts, end = [], 0
    for start, stop in spans:
        parts += [sentence[end:start], MASK]
        end = stop
    return "".join([*parts, sentence[end:]])
