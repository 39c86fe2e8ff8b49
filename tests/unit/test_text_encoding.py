"""Facts -> token ids.  Run: pytest tests/unit/test_text_encoding.py"""

import pytest

from knowledge_neurons.text.encoding import AnswerNotInVocabulary, encode_fact, encode_facts
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Fact, Prompt

WORDS = ("ann", "was", "born", "in", "rome", ".", "new", "##ton")
VOCABULARY = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *WORDS))}
TOKENIZER = Tokenizer(VOCABULARY, lowercase=False)


def fact(*texts: str, answer: str = "rome") -> Fact:
    return Fact("P19", "place of birth", 7, answer, texts)


def tokens(prompt: Prompt) -> str:
    return " ".join(TOKENIZER.tokens(list(prompt.ids)))


def test_prompts_are_encoded_with_the_mask_found():
    """Literal ids, the place of [MASK] wherever it stands, the answer's id; in order."""
    first, second = encode_fact(fact("ann was in [MASK].", "[MASK]: ann"), TOKENIZER, 128)
    assert first == Prompt((2, 5, 6, 8, 4, 10, 3), 4, 9)
    assert tokens(second) == "[CLS] [MASK] [UNK] ann [SEP]"
    assert (second.mask_position, second.answer) == (1, 9)


def test_either_mask_word_will_do():
    """<mask>, as XLM-R's users write it, is [MASK] to every tokenizer; both at once are two."""
    assert encode_fact(fact("ann was in <mask>."), TOKENIZER, 128) == encode_fact(
        fact("ann was in [MASK]."), TOKENIZER, 128
    )
    with pytest.raises(ValueError, match="expected one"):
        encode_fact(fact("<mask> was in [MASK]."), TOKENIZER, 128)


def test_answer_of_several_tokens_is_asked_token_by_token():
    """A mask for each, those given filled in; the first prompt leads to the later ones."""
    (first,) = encode_fact(fact("ann in [MASK].", answer="newton"), TOKENIZER, 128)
    (second,) = first.later
    assert tokens(first) == "[CLS] ann in [MASK] [MASK] . [SEP]" and first.mask_position == 3
    assert tokens(second) == "[CLS] ann in new [MASK] . [SEP]" and second.mask_position == 4
    assert TOKENIZER.tokens(first.answers) == ["new", "##ton"] and second.later == ()


@pytest.mark.parametrize("answer", ["paris", "ann paris", "", "[UNK]"])
def test_answer_that_cannot_be_said_names_the_fact(answer):
    """Unknown, partly unknown, nothing, [UNK] itself: relation, place and answer."""
    with pytest.raises(AnswerNotInVocabulary) as error:
        encode_fact(fact("ann was born in [MASK].", answer=answer), TOKENIZER, 128)
    assert f"P19 fact 7 ({answer})" in str(error.value)
    assert f"the answer {answer!r} is not in the model's vocabulary" in str(error.value)
    assert "--oov" not in str(error.value), "the library's users have no flags"


def test_special_token_is_no_answer():
    """[MASK] has an id, but a prompt that asks for it asks for nothing; --oov skip hides it not."""
    for answer in (token for token in SPECIAL_TOKENS if token != "[UNK]"):
        with pytest.raises(ValueError, match=r"P19 fact 7 .* is a special token") as error:
            encode_fact(fact("ann was born in [MASK].", answer=answer), TOKENIZER, 128)
        assert not isinstance(error.value, AnswerNotInVocabulary)


def test_messages_do_not_grow_with_the_texts():
    """An answer and a prompt of a million characters are cut."""
    for broken in (fact("ann in [MASK].", answer="x" * 10**6), fact("[MASK] [MASK]" * 10**5)):
        with pytest.raises(ValueError) as error:
            encode_fact(broken, TOKENIZER, 128)
        assert len(str(error.value)) < 400


def test_cut_keeps_the_separator():
    """What is too long loses the tokens before [SEP]; what just fits loses none."""
    text = "[MASK] ann was born in rome ."  # 9 tokens with [CLS] and [SEP]
    for limit in (9, 128):
        (whole,) = encode_fact(fact(text), TOKENIZER, limit)
        assert tokens(whole) == "[CLS] [MASK] ann was born in rome . [SEP]"
    (cut,) = encode_fact(fact(text), TOKENIZER, 8)
    assert tokens(cut) == "[CLS] [MASK] ann was born in rome [SEP]"
    (shortest,) = encode_fact(fact(text), TOKENIZER, 3)
    assert tokens(shortest) == "[CLS] [MASK] [SEP]"


@pytest.mark.parametrize("limit", [6, 5, 2, 1, 0, -1])
def test_cut_that_loses_the_mask_is_an_error(limit):
    """Fact, limit and text are named; a limit of nothing or less does not switch the cut off."""
    text = "ann was born in [MASK]."  # [MASK] is the sixth token: 7 hold it and [SEP]
    assert encode_fact(fact(text), TOKENIZER, 7)[0].mask_position == 5
    with pytest.raises(ValueError, match=rf"\[MASK\] lies beyond {limit} tokens") as error:
        encode_fact(fact(text), TOKENIZER, limit)
    assert not isinstance(error.value, AnswerNotInVocabulary), "--oov skip must not hide it"
    assert "P19 fact 7 (rome)" in str(error.value) and repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("prompt", "answer", "message"),
    [
        (
            "ann [MASK]",
            "oslo",
            "1 of 2 facts cannot be asked, the first is P19 fact 1 .*--oov skip",
        ),
        ("ann ann [MASK]", "rome", r"P19 fact 1 \(rome\): \[MASK\] lies beyond 4 tokens"),
        ("[MASK] [MASK]", "rome", r"P19 fact 1 \(rome\): expected one \[MASK\]"),
        ("ann [MASK]", "[SEP]", "P19 fact 1 .* is a special token"),
    ],
)
def test_facts_that_cannot_be_encoded_name_their_file(prompt, answer, message):
    """Stages read many files; which one holds the fact is said."""
    facts = [
        Fact("P19", "born", 0, "rome", ("ann [MASK]",)),
        Fact("P19", "born", 1, answer, (prompt,)),
    ]
    with pytest.raises(ValueError, match=rf"^a/b\.json: {message}"):
        encode_facts(facts, TOKENIZER, 4, False, "a/b.json")
