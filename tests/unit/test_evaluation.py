"""Batched reading of prompts against one prompt at a time, padded.

Run: pytest tests/unit/test_evaluation.py
"""

import random

import numpy as np
import pytest
import torch

from knowledge_neurons.networks import passes
from knowledge_neurons.networks.evaluation import Reader, rank
from knowledge_neurons.results.metrics import perplexity
from knowledge_neurons.types import Prompt
from tests.reference import edits as literal
from tests.reference.tiny import TINY, tiny_bert

# Log probabilities of a float32 softmax, sums in another order.
TOLERANCE = 1e-5


def prompts(count: int = 40) -> list[Prompt]:
    rng = random.Random(0)
    made = []
    for _ in range(count):
        ids = [rng.randrange(5, TINY.vocab_size) for _ in range(rng.randrange(3, 12))]
        position = rng.randrange(len(ids))
        made.append(Prompt(tuple(ids), position, rng.randrange(TINY.vocab_size)))
    return made


def test_equals_one_prompt_at_a_time_padded():
    """Log probability, rank and prediction of prompts of many lengths, two tokens each."""
    model, asked = tiny_bert(), prompts()
    tokens = [(p.answer, (p.answer + 1) % TINY.vocab_size) for p in asked]
    reading = Reader(model, asked, [[(a,), (b,)] for a, b in tokens]).read()
    for row, (prompt, pair) in enumerate(zip(asked, tokens, strict=True)):
        expected = literal.log_probabilities(model, prompt, padded_to=16)
        order = expected.argsort(descending=True).tolist()
        assert reading.log_probabilities[row] == pytest.approx(
            expected[list(pair)].tolist(), abs=TOLERANCE
        )
        assert reading.ranks[row].tolist() == [order.index(token) + 1 for token in pair]
        assert reading.predicted[row] == order[0]
        assert reading.said[row].tolist() == [token == order[0] for token in pair]


def test_perplexity_equals_the_slow_twin():
    model, asked = tiny_bert(), prompts()
    found = perplexity(Reader(model, asked).read().log_probabilities)
    assert found == pytest.approx(literal.perplexity(model, asked, padded_to=16), rel=TOLERANCE)


def test_memory_decides_the_batches_and_not_the_result():
    model, asked = tiny_bert(), prompts()
    small, large = (Reader(model, asked, memory=m) for m in (1, 1 << 26))
    np.testing.assert_allclose(
        small.read().log_probabilities, large.read().log_probabilities, atol=TOLERANCE
    )
    assert (small.read().ranks == large.read().ranks).all()


def test_reads_the_weights_as_they_are_now():
    """One reader, two states of the model."""
    model = tiny_bert()
    reader = Reader(model, prompts())
    before = reader.read().log_probabilities
    model.layers[0].output.weight[:, 3] = 5.0
    assert np.abs(reader.read().log_probabilities - before).max() > 1e-2


def test_logits_are_the_models_own():
    model = tiny_bert()
    (prompt,) = prompts(1)
    reader = Reader(model, [prompt])
    batch, _ = reader._batches[0]
    expected = model(batch.ids)[:, prompt.mask_position]
    torch.testing.assert_close(passes.logits(model, batch), expected)


def test_no_prompts_and_wrong_tokens():
    model = tiny_bert()
    assert Reader(model, []).read().log_probabilities.shape == (0, 1)
    with pytest.raises(ValueError, match="answers for 1 prompts, there are 2"):
        Reader(model, prompts(2), [[(1,), (2,)]])


def test_a_broken_model_is_named():
    model = tiny_bert()
    model.layers[1].output.weight[:, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        Reader(model, prompts()).read()


def test_rank_by_hand():
    """The number of larger logits and one; equals do not count."""
    logits = torch.tensor([[0.5, 2.0, 2.0, -1.0], [4.0, 3.0, 2.0, 1.0]])
    chosen = torch.tensor([[2.0, -1.0], [3.0, 4.0]])
    assert rank(logits, chosen).tolist() == [[1, 4], [2, 1]]
