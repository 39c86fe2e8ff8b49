"""Literal texts -> literal tokens, for the tokenizers of every family but BERT's.

They are trained here on a few sentences, in the formats of GPT-2, RoBERTa, XLM-R and LLaMA 2.
Run: pytest tests/unit/test_subwords.py
"""

from collections import Counter

import pytest
from tokenizers import normalizers, processors

from knowledge_neurons.text.encoding import (
    NOTHING_BEFORE,
    TEXT_BEHIND,
    AnswerNotInVocabulary,
    asking,
    encode_fact,
    encode_facts,
    encode_sentences,
)
from knowledge_neurons.text.subwords import SubwordTokenizer
from knowledge_neurons.types import NO_ANSWER, Fact, Prompt
from tests.reference import small_tokenizers as formats
from tests.reference.small_tokenizers import MASKED

GPT2 = SubwordTokenizer(formats.gpt2(), None, ["<|endoftext|>"])
ROBERTA = SubwordTokenizer(formats.roberta(), "<mask>", MASKED)
XLM_R = SubwordTokenizer(formats.xlm_roberta(), "<mask>", MASKED)
LLAMA = SubwordTokenizer(formats.llama(), None, ["<unk>", "<s>", "</s>"])
KINDS = {"gpt2": GPT2, "roberta": ROBERTA, "xlm-r": XLM_R, "llama": LLAMA}


def fact(*texts: str, answer: str = "Paris") -> Fact:
    return Fact("P36", "capital", 7, answer, texts)


def asked(tokenizer: SubwordTokenizer, text: str, answer: str, limit: int = 128) -> Prompt:
    (prompt,) = encode_fact(fact(text, answer=answer), tokenizer, limit)
    return prompt


def said(tokenizer: SubwordTokenizer, prompt: Prompt) -> str:
    return " ".join(tokenizer.tokens(prompt.ids))


# --- answers in their place ------------------------------------------------------------------

PARIS = "å·´é»İ"  # 巴黎 as byte-level BPE writes it, a letter for each byte
END, START, BRACKETS, CHINESE, TWO = (
    ("The capital of France is [MASK].", "Paris"),
    ("[MASK] is the capital of France.", "Paris"),
    ("Paris ([MASK])", "France"),
    ("法国的首都是[MASK]。", "巴黎"),
    ("Rome is the capital of Italy, and [MASK].", "New York"),
)


@pytest.mark.parametrize(
    ("kind", "text", "tokens"),
    [
        ("gpt2", END, "ĠParis"),
        ("gpt2", BRACKETS, "France"),
        ("gpt2", CHINESE, PARIS),
        ("gpt2", TWO, "ĠNew ĠYork"),
        ("roberta", END, "ĠParis"),
        ("roberta", START, "Paris"),
        ("roberta", BRACKETS, "France"),
        ("roberta", CHINESE, PARIS),
        ("roberta", TWO, "ĠNew ĠYork"),
        ("xlm-r", END, "▁Paris"),
        ("xlm-r", START, "▁Paris"),
        ("xlm-r", BRACKETS, "France"),
        ("xlm-r", CHINESE, "巴 黎"),
        ("xlm-r", TWO, "▁ N e w ▁ Y o r k"),
        ("llama", END, "▁Paris"),
        ("llama", BRACKETS, "France"),
        ("llama", CHINESE, "巴 黎"),
        ("llama", TWO, "▁New ▁York"),
    ],
)
def test_answer_has_the_tokens_of_its_place(kind, text, tokens):
    """After a space, at the start, in brackets, in a script without spaces; readable again."""
    tokenizer = KINDS[kind]
    found = asked(tokenizer, *text).answers
    assert " ".join(tokenizer.tokens(found)) == tokens
    assert tokenizer.text(found) == text[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [END, BRACKETS, CHINESE, TWO])
def test_prompt_and_answer_are_the_whole_text(kind, text):
    """What a decoder reads, then the answer, is how it reads the text; of a masked model what
    stands before the mask, and the answer, is."""
    tokenizer, (masked, answer) = KINDS[kind], text
    prompt = asked(tokenizer, masked, answer)
    whole = tokenizer.encode(masked.replace("[MASK]", answer))
    before = prompt.ids if tokenizer.mask is None else prompt.ids[: prompt.mask_position]
    read = [*before, *prompt.answers]
    assert whole[: len(read)] == read


def test_masked_prompts_are_what_the_tokenizer_makes_of_its_mask_word():
    """Literal tokens around the mask: XLM-R's begins anew behind it, with a space."""
    expected = "<s> The Ġcapital Ġof ĠFrance Ġis <mask> . </s>"
    for word in ("[MASK]", "<mask>"):
        prompt = asked(ROBERTA, f"The capital of France is {word}.", "Paris")
        assert (said(ROBERTA, prompt), prompt.mask_position) == (expected, 6)
    prompt = asked(XLM_R, "Paris ([MASK])", "France")
    assert (said(XLM_R, prompt), prompt.mask_position) == ("<s> ▁Paris ▁( <mask> ▁ ) </s>", 3)


def test_as_many_masks_as_the_answer_has_tokens():
    """Each token is asked where its mask is, those before it filled in."""
    prompt = asked(ROBERTA, "Rome and [MASK].", "New York")
    first, second = prompt, *prompt.later
    assert said(ROBERTA, first) == "<s> Rome Ġand <mask> <mask> . </s>"
    assert said(ROBERTA, second) == "<s> Rome Ġand ĠNew <mask> . </s>"
    assert (first.mask_position, second.mask_position) == (3, 4)
    assert ROBERTA.tokens(prompt.answers) == ["ĠNew", "ĠYork"]


def test_decoder_is_asked_for_each_token_after_those_before_it():
    prompt = asked(LLAMA, "Rome and [MASK].", "New York")
    first, second = prompt, *prompt.later
    assert said(LLAMA, second) == said(LLAMA, first) + " ▁New"
    assert (first.mask_position, second.mask_position) == (
        len(first.ids) - 1,
        len(second.ids) - 1,
    )
    assert LLAMA.tokens([first.answer, second.answer]) == ["▁New", "▁York"]


def test_line_breaks_belong_to_the_prompt():
    """Only the space that becomes part of the answer's token is taken from it."""
    prompt = asked(GPT2, "France:\n[MASK]", "Paris")
    assert said(GPT2, prompt) == "France : Ċ"
    assert GPT2.tokens(prompt.answers) == ["Paris"]


def test_end_that_a_decoder_puts_behind_texts_is_not_read():
    """Nor is it part of an answer."""
    backend = formats.llama()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = SubwordTokenizer(backend, None, ["<unk>", "<s>", "</s>"])
    assert asked(tokenizer, *TWO) == asked(LLAMA, *TWO)


# --- what cannot be asked --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("gpt2", "The capital of Fran[MASK].", "ce"),
        ("llama", "The capital of Fran[MASK].", "ce"),
        ("roberta", "The capital of Fran[MASK].", "ce"),
        ("roberta", "The capital of [MASK]ce.", "Fran"),
    ],
)
def test_answer_that_merges_with_its_context_names_the_fact(kind, text, answer):
    """Its first or last token would hold letters of the prompt."""
    with pytest.raises(AnswerNotInVocabulary) as error:
        asked(KINDS[kind], text, answer)
    assert f"P36 fact 7 ({answer})" in str(error.value)
    assert "cannot be told apart from the text around it" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_no_answer(kind):
    with pytest.raises(AnswerNotInVocabulary, match=r"P36 fact 7 .*the answer '' is empty"):
        asked(KINDS[kind], "The capital of France is [MASK].", "")


def test_letters_that_the_vocabulary_lacks():
    """SentencePiece without bytes says <unk>; all others have a byte for each."""
    with pytest.raises(AnswerNotInVocabulary, match="not in the model's vocabulary"):
        asked(XLM_R, "The capital is [MASK].", "Łódź")
    for tokenizer in (GPT2, ROBERTA, LLAMA):
        prompt = asked(tokenizer, "The capital is [MASK].", "Łódź")
        assert tokenizer.text(prompt.answers) == "Łódź"


@pytest.mark.parametrize(
    ("kind", "special"), [("gpt2", "<|endoftext|>"), ("llama", "</s>"), ("roberta", "<pad>")]
)
def test_special_token_is_no_answer(kind, special):
    with pytest.raises(ValueError, match=r"P36 fact 7 .*is a special token") as error:
        asked(KINDS[kind], "The capital is [MASK].", special)
    assert not isinstance(error.value, AnswerNotInVocabulary), "--oov skip must not hide it"


def test_half_a_character_is_refused():
    for tokenizer in KINDS.values():
        with pytest.raises(ValueError, match="half a character"):
            asked(tokenizer, "The capital is [MASK].", "\ud800")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_decoder_leaves_out_what_it_cannot_read(kind):
    """By reason: more than punctuation behind the mask, nothing before it."""
    texts = (
        "Paris, or [MASK]?! )",
        "[MASK] is",
        "In [MASK] it is",
        "The capital is [MASK]",
        "[MASK]",
    )
    left_out: Counter[str] = Counter()
    prompts = encode_fact(fact(*texts), KINDS[kind], 128, left_out)
    assert len(prompts) == 2
    assert left_out == {TEXT_BEHIND: 2, NOTHING_BEFORE: 1}
    with pytest.raises(
        ValueError, match=rf"P36 fact 7 \(Paris\): {TEXT_BEHIND} in 'In \[MASK\] it"
    ):
        encode_fact(fact(*texts[2:]), KINDS[kind], 128)
    for tokenizer in (ROBERTA, XLM_R):
        assert len(encode_fact(fact(*texts), tokenizer, 128, left_out)) == 5


def test_facts_with_too_few_prompts_are_left_out():
    """Counted by reason; those of which nothing was left out keep however few they have."""
    facts = [
        fact("In [MASK] it is", "It is [MASK]", "is [MASK]"),
        fact("It is [MASK]", "In [MASK] it is"),
        fact("It is [MASK]"),
    ]
    found = encode_facts(facts, GPT2, 128, False, min_prompts=2)
    assert [len(own) for own in found.prompts] == [2, 0, 1]
    assert found.prompts_left_out == {TEXT_BEHIND: 2}
    assert list(found.facts_left_out) == ["fewer than 2 prompts can be read"]


def test_an_answer_longer_than_a_prompt_may_be_names_the_fact():
    """A limit of as many tokens leaves one to read; one less is an error, not a whole prompt."""
    long = "Paris Paris Paris"
    (prompt,) = encode_fact(fact("It is in [MASK].", answer=long), GPT2, 128)
    tokens = len(prompt.answers)
    (cut,) = encode_fact(fact("It is in [MASK].", answer=long), GPT2, tokens)
    assert cut.cut and cut.ids == prompt.ids[-1:] and len(cut.later[-1].ids) == tokens
    with pytest.raises(ValueError, match=rf"P36 fact 7 .* has {tokens} tokens, over {tokens - 1}"):
        encode_fact(fact("It is in [MASK].", answer=long), GPT2, tokens - 1)


# --- cuts ------------------------------------------------------------------------------------


def test_decoder_keeps_what_is_nearest():
    """The start goes; what the answer adds is never cut."""
    text = "The capital of France is [MASK]."
    assert said(GPT2, asked(GPT2, text, "Paris", limit=3)) == "Ġof ĠFrance Ġis"
    prompt = asked(GPT2, text, "New York", limit=3)
    assert [said(GPT2, one) for one in (prompt, *prompt.later)] == [
        "ĠFrance Ġis",
        "ĠFrance Ġis ĠNew",
    ]
    assert prompt.cut and not asked(GPT2, text, "Paris", limit=5).cut


def test_masked_model_keeps_what_stands_before():
    """The end goes, but for the last special token; masks are never lost."""
    text = "Rome and [MASK] is the capital."
    prompt = asked(ROBERTA, text, "New York", limit=6)
    assert said(ROBERTA, prompt) == "<s> Rome Ġand <mask> <mask> </s>"
    with pytest.raises(ValueError, match=r"\[MASK\] lies beyond 5 tokens"):
        asked(ROBERTA, text, "New York", limit=5)
    assert said(ROBERTA, asked(ROBERTA, text, "Paris", limit=5)) == "<s> Rome Ġand <mask> </s>"


# --- the same prompt for another answer ------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_asking_for_another_answer_is_encoding_it(kind):
    """Of one token or several, from one or several."""
    tokenizer, text = KINDS[kind], "The capital of Italy is [MASK]."
    answers = ("Paris", "Rome", "New York", "Paris is Rome")
    prompts = {answer: asked(tokenizer, text, answer) for answer in answers}
    assert len({len(prompt.answers) for prompt in prompts.values()}) > 1
    for prompt in prompts.values():
        for other in prompts.values():
            assert asking(prompt, other.answers) == other


# --- sentences -------------------------------------------------------------------------------


def test_sentences_are_read_at_their_first_mask_or_before_it():
    """A decoder reads the token before the tail; further masks are masks, or nothing to it."""
    text = "Rome is [MASK], and [MASK]."
    (masked,) = encode_sentences([text], ROBERTA, 128)
    assert said(ROBERTA, masked) == "<s> Rome Ġis <mask> , Ġand <mask> . </s>"
    assert (masked.mask_position, masked.answer) == (3, NO_ANSWER)
    (decoded,) = encode_sentences([text], GPT2, 128)
    assert said(GPT2, decoded) == "Rome Ġis"
    assert (decoded.mask_position, decoded.answer) == (1, NO_ANSWER)
    (decoded,) = encode_sentences([text], LLAMA, 128)
    assert said(LLAMA, decoded) == "<s> ▁Rome ▁is"


def test_sentences_keep_what_is_around_the_mask():
    """Between the special tokens; a decoder what is nearest."""
    text = "The capital of France is [MASK], and York is a city."
    (masked,) = encode_sentences([text], ROBERTA, 6)
    assert said(ROBERTA, masked) == "<s> ĠFrance Ġis <mask> , </s>"
    assert (masked.mask_position, masked.cut) == (3, True)
    (decoded,) = encode_sentences([text], GPT2, 3)
    assert (said(GPT2, decoded), decoded.cut) == ("Ġof ĠFrance Ġis", True)
    with pytest.raises(ValueError, match=NOTHING_BEFORE):
        encode_sentences(["[MASK] is"], GPT2, 3)
    with pytest.raises(ValueError, match=r"expected a \[MASK\]"):
        encode_sentences(["Rome"], ROBERTA, 3)


# --- fingerprints ----------------------------------------------------------------------------


def test_fingerprint_changes_with_anything_that_decides_ids():
    """A normaliser, a token, the template, the mask; not with padding or truncation."""
    plain = SubwordTokenizer(formats.roberta(), "<mask>", MASKED).fingerprint
    assert plain == ROBERTA.fingerprint, "the same for the same tokenizer"

    def changed(change, mask: str | None = "<mask>") -> str:
        backend = formats.roberta()
        change(backend)
        return SubwordTokenizer(backend, mask, MASKED).fingerprint

    changes = [
        lambda backend: setattr(backend, "normalizer", normalizers.Lowercase()),
        lambda backend: backend.add_tokens(["Kathmandu"]),
        lambda backend: setattr(
            backend,
            "post_processor",
            processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)]),
        ),
        lambda backend: setattr(backend.model, "dropout", 0.1),
    ]
    found = [changed(change) for change in changes] + [changed(lambda _: None, None)]
    found.append(SubwordTokenizer(formats.llama(), None, ["<unk>", "<s>", "</s>"]).fingerprint)
    assert len({plain, *found}) == 1 + len(found)
    assert changed(lambda backend: backend.enable_padding(length=9)) == plain
    assert changed(lambda backend: backend.enable_truncation(3)) == plain


def test_padding_and_truncation_of_the_file_do_not_hold():
    """Many a tokenizer.json cuts at 512 or pads; nothing is cut or padded here in silence."""
    backend = formats.roberta()
    backend.enable_truncation(4)
    backend.enable_padding(length=9)
    tokenizer = SubwordTokenizer(backend, "<mask>", MASKED)
    assert tokenizer.encode("Paris is") == ROBERTA.encode("Paris is")
    assert tokenizer.encode(END[0]) == ROBERTA.encode(END[0])
    assert backend.encode(END[0]).ids != ROBERTA.encode(END[0]), "the user's is as it was"


def test_special_tokens_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="lacks the special tokens <mask>"):
        SubwordTokenizer(formats.gpt2(), "<mask>", ["<|endoftext|>", "<mask>"])
