"""The batched attribution against its literal twin.  Run: pytest tests/unit/test_attribution.py"""

import copy
import math
import random
from dataclasses import replace

import pytest
import torch

from custom_bert import BertConfig
from knowledge_neurons.attribution.gradients import (
    Paths,
    completeness_gap,
    gradients_along,
    integrated_gradients,
)
from knowledge_neurons.attribution.quadrature import RULES, rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.batching import collate, plan
from knowledge_neurons.networks.passes import clean_pass, path_bytes
from knowledge_neurons.types import Prompt
from tests.reference import integrated_gradients as literal
from tests.reference.tiny import TINY, tiny_bert

# Relative to the prompt's largest score: float32 sums of some hundred terms in another order.
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-10}


def random_prompts(seed: int, lengths: list[int]) -> list[Prompt]:
    """Prompts of random ids with the mask anywhere inside."""
    rng = random.Random(seed)
    return [
        Prompt(
            tuple(rng.randrange(5, TINY.vocab_size) for _ in range(length)),
            rng.randrange(1, length - 1),
            rng.randrange(5, TINY.vocab_size),
        )
        for length in lengths
    ]


def batched_scores(model, prompts, how, memory=1 << 40) -> list[torch.Tensor]:
    """Scores (L, F) of each prompt, in the prompts' order, through batches under a budget."""
    scores = {}
    for batch in plan(prompts, memory, lambda tokens: tokens):
        clean = clean_pass(model, batch)
        result = integrated_gradients(model, clean, Probability(batch.answers), how)
        scores |= dict(zip(batch.order, result, strict=True))
    return [scores[place] for place in range(len(prompts))]


def worst_error(scores: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference relative to the largest absolute score."""
    return ((scores - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", RULES)
def test_equals_the_literal_twin(name, dtype):
    """Every layer and neuron of every prompt, for each rule, in both precisions."""
    model = tiny_bert(dtype=dtype)
    prompts = random_prompts(1, [5, 9, 5, 7, 9, 9])
    how = rule(name, 6)
    for prompt, scores in zip(prompts, batched_scores(model, prompts, how), strict=True):
        expected = torch.stack(
            [
                literal.integrated_gradients(
                    model,
                    torch.tensor(prompt.ids),
                    prompt.mask_position,
                    prompt.answer,
                    layer,
                    *how,
                )
                for layer in range(TINY.num_hidden_layers)
            ]
        )
        assert scores.shape == (TINY.num_hidden_layers, TINY.intermediate_size)
        assert worst_error(scores, expected) < CLOSE[dtype]


def test_batches_do_not_change_scores():
    """One prompt at a time, all together, in another order: the same scores."""
    model, how = tiny_bert(), rule("riemann-left", 20)
    prompts = random_prompts(2, [6] * 7 + [8] * 5)
    together = batched_scores(model, prompts, how)
    alone = batched_scores(model, prompts, how, memory=1)
    backwards = batched_scores(model, prompts[::-1], how)[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        assert worst_error(two, one) < CLOSE[torch.float32]
        assert worst_error(three, one) < CLOSE[torch.float32]


@pytest.mark.parametrize("memory", [1, 30_000, 300_000])
def test_a_memory_budget_does_not_change_scores(memory):
    """Rows one at a time, some, many: only the order of sums differs."""
    model, how = tiny_bert(), rule("riemann-left", 20)
    batch = collate(random_prompts(8, [7, 7]), [0, 1])
    clean = clean_pass(model, batch)
    whole = integrated_gradients(model, clean, Probability(batch.answers), how)
    sliced = integrated_gradients(model, clean, Probability(batch.answers), how, memory)
    assert worst_error(sliced, whole) < CLOSE[torch.float32]


def test_paths_of_some_layers_and_prompts_alone():
    """Any points may be asked for: the same gradients as when all are."""
    model = tiny_bert()
    batch = collate(random_prompts(9, [7, 7, 7]), range(3))
    clean = clean_pass(model, batch)
    alphas = torch.tensor([0.1, 0.9])
    every = [Paths(layer, torch.arange(3), alphas) for layer in range(3)]
    whole = gradients_along(model, clean, Probability(batch.answers), every)
    some = [Paths(0, torch.tensor([2]), alphas[1:]), Paths(2, torch.tensor([0, 2]), alphas)]
    low, high = gradients_along(model, clean, Probability(batch.answers), some)
    torch.testing.assert_close(low, whole[0][[2]][:, 1:])
    torch.testing.assert_close(high, whole[2][[0, 2]])


def test_certain_answers_keep_their_digits():
    """Where P is 1 but for 1e-4, float32 agrees with float64 to 1e-5: no 1 - P is ever taken."""
    model = tiny_bert()
    (prompt,) = random_prompts(10, [8])
    batch = collate([prompt], [0])
    odds = clean_pass(model, batch).probabilities[0, prompt.answer].logit()
    model.mlm.bias[prompt.answer] += math.log(1e4) - odds
    exact = copy.deepcopy(model).double()
    how = rule("riemann-left", 20)
    clean = clean_pass(model, batch)
    assert clean.probabilities[0, prompt.answer] == pytest.approx(1 - 1e-4, abs=1e-6)
    scores = integrated_gradients(model, clean, Probability(batch.answers), how)
    expected = integrated_gradients(
        exact, clean_pass(exact, batch), Probability(batch.answers), how
    )
    assert worst_error(scores.double(), expected) < CLOSE[torch.float32]


def test_row_estimate_covers_what_autograd_keeps():
    """Bytes that one row's graph saves, counted by a hook: below the estimate, and near it."""
    config = BertConfig(1000, 64, 6, 4, 256, max_position_embeddings=24)
    model = tiny_bert(config=config)
    batch = collate([Prompt(tuple(range(5, 15)), 4, 7)], [0])
    clean = clean_pass(model, batch)
    for layer, estimate in enumerate(path_bytes(model, 10)):
        path = Paths(layer, torch.zeros(1, dtype=torch.long), torch.tensor([0.5]))
        saved = saved_bytes(
            model, lambda p=path: gradients_along(model, clean, Probability(batch.answers), [p])
        )
        assert saved <= estimate
        assert layer or saved > 0.5 * estimate  # from the lowest layer up, little else counts


def saved_bytes(model, work) -> int:
    """Bytes of the tensors that autograd keeps during work, weights aside."""
    weights, saved = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(saved.values())


def test_clean_pass_is_the_model():
    """Activations, probabilities and prediction of the clean pass are the plain forward pass's."""
    model = tiny_bert()
    (prompt,) = random_prompts(3, [8])
    clean = clean_pass(model, collate([prompt], [0]))
    ids = torch.tensor(prompt.ids)
    logits = model(ids[None])[0, prompt.mask_position]
    torch.testing.assert_close(clean.probabilities[0], logits.softmax(-1))
    assert clean.predicted.item() == logits.argmax().item()
    for layer in range(TINY.num_hidden_layers):
        expected = literal.activations_of(model, ids, prompt.mask_position, layer)
        torch.testing.assert_close(clean.activations[0, layer], expected)


def test_scores_follow_the_token_asked_for():
    """Gradients of the predicted token's probability are those of the twin for that token."""
    model, how = tiny_bert(), rule("riemann-left", 5)
    (prompt,) = random_prompts(4, [7])
    clean = clean_pass(model, collate([prompt], [0]))
    scores = integrated_gradients(model, clean, Probability(clean.predicted), how)[0]
    expected = literal.integrated_gradients(
        model, torch.tensor(prompt.ids), prompt.mask_position, clean.predicted.item(), 1, *how
    )
    assert worst_error(scores[1], expected) < CLOSE[torch.float32]


def test_completeness_gap_shrinks_with_the_order_of_the_rule():
    """Scores of the true integral sum to P(w) - P(0); the left sum misses it by far more."""
    model = tiny_bert(dtype=torch.float64)
    batch = collate(random_prompts(5, [8] * 4), range(4))
    clean = clean_pass(model, batch)

    def gap(name: str, steps: int) -> float:
        scores = integrated_gradients(model, clean, Probability(batch.answers), rule(name, steps))
        return completeness_gap(model, clean, Probability(batch.answers), scores).max().item()

    assert gap("gauss-legendre", 30) < 1e-7
    assert gap("gauss-legendre", 30) < gap("trapezoid", 30) < gap("riemann-left", 30)


def test_model_is_untouched():
    """Bit-identical weights, no gradients and no graph behind attribution."""
    model = tiny_bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = batched_scores(model, random_prompts(6, [6, 7]), rule("riemann-left", 3))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert not any(s.requires_grad for s in scores)


def test_two_runs_are_byte_identical():
    """The same input gives the same bytes."""
    model, how = tiny_bert(), rule("riemann-left", 20)
    prompts = random_prompts(7, [6, 9, 9])
    first, second = (batched_scores(model, prompts, how) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_a_layer_is_said_to_keep_is_what_it_keeps():
    """Numbers a token that autograd holds on to: the estimate is no lower, and a tenth above."""
    model = tiny_bert(config=replace(TINY, hidden_size=64, intermediate_size=256))
    tokens, rows = 24, 5
    x, at = torch.randn(rows, tokens, 64, requires_grad=True), torch.zeros(rows, dtype=torch.long)
    steps = []
    saved = saved_bytes(model, lambda: steps.append(model.through(1, x, at, only_read=False)))
    assert saved <= 4 * rows * tokens * model.cost.kept <= 1.1 * saved


def test_products_of_a_layer_are_its_matrices():
    """One of each number of a matrix for every token."""
    model = tiny_bert()
    matrices = [p for p in model.layers[0].parameters() if p.ndim == 2]
    assert model.cost.products == sum(matrix.numel() for matrix in matrices)
