"""Facts -> tokens -> batches of one length.  Run: pytest tests/unit/test_batching.py"""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.networks.batching import (
    AnswerNotInVocabulary,
    collate,
    encode_fact,
    plan,
    to_device,
)
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Fact, Prompt

WORDS = ("ann", "was", "born", "in", "rome", ".", "new", "##ton")
VOCABULARY = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *WORDS))}
TOKENIZER = Tokenizer(VOCABULARY, lowercase=False)


def fact(*texts: str, answer: str = "rome") -> Fact:
    return Fact("P19", "place of birth", 7, answer, texts)


def tokens(prompt: Prompt) -> str:
    return " ".join(TOKENIZER.tokens(list(prompt.ids)))


# --- encode_fact -----------------------------------------------------------------------------


def test_prompts_are_encoded_with_the_mask_found():
    """Literal ids, the place of [MASK] wherever it stands, the answer's id; in order."""
    first, second = encode_fact(fact("ann was in [MASK].", "[MASK]: ann"), TOKENIZER, 128)
    assert first == Prompt((2, 5, 6, 8, 4, 10, 3), 4, 9)
    assert tokens(second) == "[CLS] [MASK] [UNK] ann [SEP]"
    assert (second.mask_position, second.answer) == (1, 9)


@pytest.mark.parametrize("answer", ["paris", "newton", "ann rome", "", "[UNK]"])
def test_answer_of_other_than_one_token_names_the_fact(answer):
    """Unknown, two word pieces, two words, nothing, [UNK] itself: relation, place and answer."""
    with pytest.raises(AnswerNotInVocabulary) as error:
        encode_fact(fact("ann was born in [MASK].", answer=answer), TOKENIZER, 128)
    assert f"P19 fact 7 ({answer})" in str(error.value)
    assert f"the answer {answer!r} is not one token" in str(error.value)
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


# --- plan ------------------------------------------------------------------------------------


def prompt_of(length: int, place: int) -> Prompt:
    """A prompt in which every number tells where it came from."""
    return Prompt(tuple(1000 * place + t for t in range(length)), place % length, 7 * place)


def cost(length: int) -> int:
    return 10 * length * length


@given(lengths=st.lists(st.integers(1, 6), max_size=30), memory=st.integers(1, 1500))
def test_plan_is_a_partition_within_the_budget(lengths, memory):
    """Each prompt in one batch, one length per batch, budget kept, `order` restores, none to spare.

    A batch above the budget holds a single prompt; no batch could take a prompt of a later one of
    the same length.
    """
    prompts = [prompt_of(length, place) for place, length in enumerate(lengths)]
    batches = list(plan(prompts, memory, cost))
    assert sorted(place for batch in batches for place in batch.order) == list(range(len(prompts)))
    restored: dict[int, Prompt] = {}
    for batch in batches:
        ids, positions = batch.ids.tolist(), batch.mask_positions.tolist()
        assert {len(row) for row in ids} == {batch.ids.shape[1]}
        assert len(ids) == 1 or len(ids) * cost(batch.ids.shape[1]) <= memory
        rows = zip(batch.order, ids, positions, batch.answers.tolist(), strict=True)
        restored |= {place: Prompt(tuple(r), at, answer) for place, r, at, answer in rows}
    assert [restored[place] for place in range(len(prompts))] == prompts
    for batch, following in pairwise(batches):
        length = batch.ids.shape[1]
        if length == following.ids.shape[1]:
            assert (len(batch.order) + 1) * cost(length) > memory
        else:
            assert length < following.ids.shape[1], "shortest first"


def test_prompt_above_the_budget_still_gets_a_batch():
    """Too little memory for even one prompt: batches of one, not an endless loop or a loss."""
    prompts = [prompt_of(5, place) for place in range(3)]
    assert [batch.order for batch in plan(prompts, 1, cost)] == [(0,), (1,), (2,)]


def test_plan_of_nothing_is_nothing():
    """A group of facts that were all left out."""
    assert list(plan([], 100, cost)) == []


def test_collate_gives_int64_on_the_cpu():
    """Shapes (B, T), (B,), (B,) and dtypes that embedding look-ups take, rows in asked order."""
    batch = collate([prompt_of(4, place) for place in range(3)], [2, 0])
    assert batch.order == (2, 0)
    assert batch.ids.shape == (2, 4)
    assert batch.ids[:, 0].tolist() == [2000, 0]
    assert batch.mask_positions.tolist() == [2, 0] and batch.answers.tolist() == [14, 0]
    for tensor in (batch.ids, batch.mask_positions, batch.answers):
        assert tensor.dtype == torch.int64 and tensor.device.type == "cpu"


def test_to_device_moves_every_tensor():
    """All three tensors go, the order stays (the meta device is there on every machine)."""
    batch = collate([prompt_of(4, 0)], [0])
    moved = to_device(batch, torch.device("meta"))
    assert {t.device.type for t in (moved.ids, moved.mask_positions, moved.answers)} == {"meta"}
    assert moved.order == batch.order
