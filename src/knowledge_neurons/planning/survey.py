"""What there is to ask: facts, prompts and their tokens, web sentences, counted or estimated.

All facts and prompts are counted.  Tokens, and what a decoder can read, are those of a sample: a
stretch of facts of every relation, tokenised where the tokenizer lies in a folder; else a prompt
has so many tokens as its words come to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from knowledge_neurons.text import data, encoding, strict_json
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import Fact, Prompt

SAMPLED = 240  # facts, over all relations
TOKENS_A_WORD, ENDS = 1.3, 2  # of text that is not tokenised; [CLS] and [SEP]
READ_WHOLE = 64 << 20  # bytes of sentence files; of more a few are read, the rest goes by size
MAX_TOKENS, MAX_SENTENCE = 128, 512  # as the stages cut them by default
# Web sentences of a fact where their files are not there: as BINGREL has them.
BOTH, HEAD, SENTENCE_WORDS = 8.0, 12.0, 25.0


@dataclass(frozen=True)
class Sentences:
    """Of all facts: with head and tail, with the head, words of one.

    known: whether files were there; else they are assumed.
    """

    both: float
    head: float
    words: float
    bytes: int
    known: bool


@dataclass(frozen=True)
class Survey:
    """prompts: relation -> of each fact how many, as the file has them.

    askable: the share of prompts that a model of this kind reads.  tokens: of a prompt on average;
    of_sentence: of a sentence.  tokenised: whether tokens were counted, not estimated.
    facts, encoded: a stretch of one relation's, for a trial.
    read, encode: seconds to read the file, and to tokenise a prompt.
    """

    prompts: Mapping[str, Sequence[int]]
    askable: float
    tokens: float
    of_sentence: float
    tokenised: bool
    sentences: Sentences
    read: float
    encode: float
    bytes: int
    facts: list[Fact] = field(default_factory=list)
    encoded: list[list[Prompt]] = field(default_factory=list)

    def facts_of(self, relations: Sequence[str]) -> int:
        """How many facts these relations have; of all where none is named."""
        return sum(len(self.prompts[name]) for name in relations or self.prompts)

    def share_of(self, relations: Sequence[str]) -> float:
        """The share of all facts that these relations have."""
        return self.facts_of(relations) / self.facts_of(())

    def prompts_of(self, relations: Sequence[str] = ()) -> float:
        """How many prompts of theirs are asked."""
        return self.askable * sum(sum(self.prompts[name]) for name in relations or self.prompts)


def survey(
    source: Path,
    max_facts: int | None,
    sentences: str,
    words: Tokens | None,
    causal: bool,
) -> Survey:
    """Count what a run may ask: of every relation, for some stages read them all.

    sentences: their files, {} in place of the relation.  words: None where tokens are to be
    estimated.  causal: whether a decoder will read it.
    Raises ValueError for a file that is not there or holds something else.
    """
    started = time.perf_counter()
    bags = data.read_bags(source)
    chosen = {name: data.facts_of(bags, name, source, max_facts) for name in sorted(bags)}
    read = time.perf_counter() - started
    each = max(1, SAMPLED // len(chosen))
    stretches = [facts[:each] for facts in chosen.values()]
    started = time.perf_counter()
    encoded = [[_encoded(fact, words, causal) for fact in facts] for facts in stretches]
    prompts = [p for of_facts in encoded for own in of_facts for p in own]
    offered = sum(len(fact.prompts) for facts in stretches for fact in facts)
    encode = (time.perf_counter() - started) / offered
    if not prompts:
        raise ValueError(f"{source}: none of {offered} prompts can be asked of this model")
    middle = max(range(len(encoded)), key=lambda place: sum(map(len, encoded[place])))
    found = _sentences(sentences, {name: len(facts) for name, facts in chosen.items()}, bags)
    return Survey(
        prompts={name: [len(fact.prompts) for fact in facts] for name, facts in chosen.items()},
        askable=len(prompts) / offered,
        tokens=float(np.mean([len(prompt.ids) for prompt in prompts])),
        of_sentence=min(MAX_SENTENCE, found.words * TOKENS_A_WORD + ENDS * (not causal)),
        tokenised=words is not None,
        sentences=found,
        read=read,
        encode=encode,
        bytes=source.stat().st_size,
        facts=stretches[middle],
        encoded=encoded[middle],
    )


def _encoded(fact: Fact, words: Tokens | None, causal: bool) -> list[Prompt]:
    """A fact's prompts; none where it would be left out."""
    if words is not None:
        try:
            return encoding.encode_fact(fact, words, MAX_TOKENS, Counter())
        except encoding.AnswerNotInVocabulary:
            return []
    prompts = []
    for text in fact.prompts:
        before, after = encoding.split_at_mask(text)
        if causal and (not before.strip() or any(c.isalnum() for c in after)):
            continue
        read = before if causal else f"{before} mask {after}"
        length = round(TOKENS_A_WORD * len(read.split())) + (0 if causal else ENDS)
        length = min(MAX_TOKENS, max(3, length))
        prompts.append(Prompt(tuple(range(length)), length - 1, 0))
    return prompts


# --- sentences -------------------------------------------------------------------------------


def _sentences(pattern: str, facts: Mapping[str, int], bags: Mapping[str, list]) -> Sentences:
    """Those of the first facts of each relation, as the data has them."""
    paths = {name: Path(pattern.replace("{}", name)) for name in facts}
    there = {name: path for name, path in paths.items() if path.is_file()}
    if not there:
        total = sum(facts.values())
        return Sentences(BOTH * total, HEAD * total, SENTENCE_WORDS, 0, known=False)
    sizes = {name: path.stat().st_size for name, path in there.items()}
    total, counts, lengths, read = sum(sizes.values()), [0.0, 0.0], [], 0
    for name in sorted(there, key=sizes.__getitem__):
        if read and read + sizes[name] > READ_WHOLE:
            break
        read += sizes[name]
        share = facts[name] / len(bags[name])
        try:
            for fact in strict_json.read(there[name]):
                for kind, key in enumerate(("th_bags", "h_bags")):
                    counts[kind] += share * len(fact[key])
                    lengths += [len(text.split()) for text in fact[key]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{there[name]}: expected [th_bags and h_bags of each fact]"
            ) from error
    both, head = (count * total / read for count in counts)
    return Sentences(both, head, float(np.mean(lengths or [1])), total, known=True)


def random_prompts(length: int, count: int, vocabulary: int) -> list[Prompt]:
    """Prompts of a length, read at their end; what they say does not matter."""
    rng = np.random.default_rng(0)
    ids = rng.integers(vocabulary, size=(count, length)).tolist()
    return [Prompt(tuple(row), length - 1, 0) for row in ids]
