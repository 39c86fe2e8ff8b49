"""Masking of web sentences, and the windows that long ones are cut to.

Run: pytest tests/unit/test_masking.py
"""

import json
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_sentences
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import NO_ANSWER


@pytest.mark.parametrize(
    ("sentence", "head", "tail", "masked"),
    [
        (
            "Baku is the capital of Azerbaijan.",
            "Azerbaijan",
            "Baku",
            "[MASK] is the capital of Azerbaijan.",
        ),
        # regular-expression characters in head and tail
        ("She wrote C++ (fast) code.", "She (wrote", "C++", "She wrote [MASK] (fast) code."),
        ("The AT&T Inc. (T) of A.B. grew.", "A.B.", "AT&T Inc. (T)", "The [MASK] of A.B. grew."),
        (r"A \d sign of X.", "X", r"\d", "A [MASK] sign of X."),
        # its case alone; the head in any
        (
            "ENGLISH is spoken in the Bahamas, english, English",
            "Bahamas",
            "English",
            "ENGLISH is spoken in the Bahamas, english, [MASK]",
        ),
        ("Sun and the SUN", "the SUN", "Sun", "[MASK] and the SUN"),
        # white space of any kind inside a name
        (
            "New\n York is where OK\u00a0Go plays",
            "OK Go",
            "New York",
            "[MASK] is where OK\u00a0Go plays",
        ),
        # no letter before or after it
        (
            "He plays the pianoforte and the piano",
            "He",
            "piano",
            "He plays the pianoforte and the [MASK]",
        ),
        (
            "pianos and épiano, piano_forte",
            "He",
            "piano",
            "pianos and épiano, [MASK]_forte",
        ),
        # but anything else
        (
            "Lorne Spicer presents on BBC1.",
            "Lorne Spicer",
            "BBC",
            "Lorne Spicer presents on [MASK]1.",
        ),
        # every occurrence, so that none is left to be copied
        ("Paris, Paris! of France", "France", "Paris", "[MASK], [MASK]! of France"),
        # a tail that is part of the head: the head stays whole
        (
            "Google Play is made by Google.",
            "Google Play",
            "Google",
            "Google Play is made by [MASK].",
        ),
        ("Google, maker of google play", "Google Play", "Google", "[MASK], maker of google play"),
        # a tail that contains the head
        ("York lies in New York.", "York", "New York", "York lies in [MASK]."),
        # head and tail the same: the first stands for the head
        (
            "Singapore, capital of Singapore",
            "Singapore",
            "Singapore",
            "Singapore, capital of [MASK]",
        ),
    ],
)
def test_masks_the_tail(sentence, head, tail, masked):
    assert data.mask_tail(sentence, head, tail) == masked


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Nothing of it here, Google Play.", "the tail does not occur"),
        ("Android lives in android Studio.", "the tail stands only in the head"),
        ("The only STUDIO, and Studios.", "in another case or inside a word"),
        ("Android and [MASK] of Studio", "special token"),
        ("Android [SEP] Studio", "special token"),
    ],
)
def test_says_why_it_cannot_mask(sentence, reason):
    head, tail = (
        ("Android Studio", "Studio") if re.search("only|case", reason) else ("Studio", "Android Q")
    )
    with pytest.raises(data.CannotMask, match=reason):
        data.mask_tail(sentence, head, tail)


@given(st.text(min_size=1), st.text(), st.text())
def test_any_tail_is_masked(tail, before, after):
    """However the tail is written, it is found between spaces, and the rest stays as it is."""
    if not tail.strip() or tail.split() != [tail] or data.SPECIAL.search(tail + before + after):
        return
    if any(tail in rest for rest in (before, after)):
        return  # where it may be masked too
    head = "\u4e00\u4e01\u4e02"
    if head in tail + before + after:
        return
    masked = data.mask_tail(f"{before} {tail} {after}", head, tail)
    assert masked == f"{before} {MASK} {after}"


def test_masks_one_random_other_word():
    """Every word but those of head and tail, about equally often, without its punctuation."""
    rng = random.Random(0)
    masked = Counter(
        data.mask_random_word(
            "Born in Oslo, (Ada) Byron wrote 12 notes!", ("Ada Byron", "Oslo"), rng
        )
        for _ in range(600)
    )
    # "Ada) Byron" is no occurrence of the head: its words are free, but never "Oslo".
    assert "Born in [MASK], (Ada) Byron wrote 12 notes!" not in masked
    assert "Born in Oslo, ([MASK]) Byron wrote 12 notes!" in masked
    assert "Born in Oslo, (Ada) Byron wrote 12 [MASK]!" in masked
    assert len(masked) == 7 and min(masked.values()) > 50


def test_random_word_is_never_of_the_head_nor_beyond_the_fiftieth():
    rng = random.Random(0)
    sentence = " ".join(["Alan Turing", *(f"w{i}" for i in range(60))])
    found = {data.mask_random_word(sentence, ("Alan Turing", "w3"), rng) for _ in range(2000)}
    places = {text.split().index(MASK) for text in found}
    # Not the head, not w3; but w30, which only begins like it.
    assert places == set(range(50)) - {0, 1, 5}


def test_no_other_word_to_mask_draws_nothing():
    """So that the words of later sentences do not depend on it."""
    rng = random.Random(0)
    state = rng.getstate()
    with pytest.raises(data.CannotMask, match="no other word"):
        data.mask_random_word("--- Alan Turing !!!", ("Alan Turing",), rng)
    assert rng.getstate() == state


# --- windows ---------------------------------------------------------------------------------

WORDS = tuple(f"w{i}" for i in range(40))
TOKENIZER = Tokenizer(
    {token: index for index, token in enumerate((*SPECIAL_TOKENS, *WORDS))}, lowercase=True
)


@pytest.mark.parametrize("place", range(40))
@pytest.mark.parametrize("max_tokens", [3, 4, 9, 41, 42])
def test_window_keeps_the_mask(place, max_tokens):
    """Wherever [MASK] stands: as many tokens as may be, it among them, with its neighbours."""
    words = list(WORDS)
    words[place] = MASK
    (prompt,) = encode_sentences([" ".join(words)], TOKENIZER, max_tokens)
    tokens = TOKENIZER.tokens(list(prompt.ids))
    assert len(tokens) == min(max_tokens, 42)
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert tokens[prompt.mask_position] == MASK
    inner = tokens[1:-1]
    start = place - (prompt.mask_position - 1)
    assert inner == words[start : start + len(inner)]
    before, after = prompt.mask_position - 1, len(inner) - prompt.mask_position
    assert abs(before - after) <= 1 or start == 0 or start + len(inner) == 40
    assert prompt.cut == (max_tokens < 42) and prompt.answer == NO_ANSWER


def test_reads_the_first_mask():
    (prompt,) = encode_sentences(["w1 [MASK] w2 [MASK]"], TOKENIZER, 20)
    assert prompt.mask_position == 2
    with pytest.raises(ValueError, match=r"expected a \[MASK\] in 'w1 w2'"):
        encode_sentences(["w1 w2"], TOKENIZER, 20)


# --- files -----------------------------------------------------------------------------------


def test_reads_pairs_and_sentences(tmp_path):
    pairs, bags = tmp_path / "pairs.json", tmp_path / "bags.json"
    pairs.write_text(json.dumps({"P36": [["France", "Paris"]]}))
    bags.write_text(json.dumps([{"th_bags": ["Paris of France"], "h_bags": []}]))
    read = data.read_pairs(pairs)
    assert read == {"P36": [("France", "Paris")]}
    (fact,) = data.read_sentences(bags, "P36", read["P36"])
    assert (fact.relation, fact.index, fact.head, fact.tail) == ("P36", 0, "France", "Paris")
    assert (fact.with_both, fact.with_head) == (("Paris of France",), ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "expected {relation"),
        ({"P36": [["France"]]}, r"P36 fact 0: expected \[head, tail\]"),
        ({"P36": [["France", "Paris"], ["Italy", " "]]}, "P36 fact 1"),
        ({"P36": [["France [SEP]", "Paris"]]}, "P36 fact 0"),
    ],
)
def test_names_broken_pairs(tmp_path, content, message):
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        data.read_pairs(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a list of the 1 facts"),
        ([{"th_bags": [], "h_bags": []}] * 2, "expected a list of the 1 facts .* got 2 facts"),
        ([{"th_bags": [1], "h_bags": []}], "fact 0: expected"),
        ([{"th_bags": []}], "fact 0: expected"),
        ([3], "fact 0: expected"),
    ],
)
def test_names_broken_sentences(tmp_path, content, message):
    path = tmp_path / "bags.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        data.read_sentences(path, "P36", [("France", "Paris")])
    with pytest.raises(ValueError, match=r"no such file.*BINGREL"):
        data.read_sentences(tmp_path / "other.json", "P36", [("France", "Paris")])


def test_refuses_pairs_of_other_facts():
    bags = {"P36": [[["[MASK] of France", "Paris", "P36(capital)"]]]}
    facts = data.facts_of(bags, "P36", "here")
    data.check_pairs(facts, [("France", "Paris")], "pairs")
    with pytest.raises(ValueError, match="has 2 pairs of P36, the prompts are of 1 facts"):
        data.check_pairs(facts, [("France", "Paris")] * 2, "pairs")
    with pytest.raises(ValueError, match=r"P36 fact 0 \(Paris\).*'Rome'"):
        data.check_pairs(facts, [("Italy", "Rome")], "pairs")
    with pytest.raises(ValueError, match=r"P36 fact 0 \(Paris\).*'Italy'"):  # a head of no prompt
        data.check_pairs(facts, [("Italy", "Paris")], "pairs")
    data.check_pairs(facts, [("france", "Paris")], "pairs")
