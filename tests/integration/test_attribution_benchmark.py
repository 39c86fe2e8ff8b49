"""What benchmarks/attribution.py rests on: its rivals compute our scores, its FLOPs are counted.

Run: pytest tests/integration/test_attribution_benchmark.py
"""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import attribution as benchmark
from benchmarks import attribution_rivals as rivals
from benchmarks.attribution_case import LENGTHS, Case, make_case
from custom_bert import BertConfig
from knowledge_neurons.attribution.adaptive import all_points
from knowledge_neurons.networks import operations

CONFIG = BertConfig(500, 48, 5, 4, 192)
EXACT = (all_points(rivals.RULE, CONFIG.num_hidden_layers), torch.float32)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(CONFIG, prompts=3, seed=0)


def test_every_rival_computes_our_scores(case):
    """Released with padding, without, and captum; the model is frozen again afterwards."""
    model, expected = case.models[torch.float32], benchmark.ours(case, *EXACT).scores
    ways = {
        "released": lambda prompt: rivals.procedure(model, prompt, pad=32),
        "unpadded": lambda prompt: rivals.procedure(model, prompt),
        "captum": lambda prompt: rivals.captum_scores(model, prompt),
    }
    for name, way in ways.items():
        scores = torch.stack([way(prompt) for prompt in case.prompts])
        assert benchmark.relative_error(scores, expected) < 1e-5, name
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_another_sum_is_an_error(case):
    """The comparison tells the PyPI package's points from the paper's, flat as this model is."""
    model, first = case.models[torch.float32], case.prompts[0]
    scores = rivals.procedure(model, first, rule=rivals.PYPI_RULE)[None]  # (1, L, F)
    error = benchmark.relative_error(scores, benchmark.ours(case, *EXACT).scores)
    assert error > 2 * benchmark.ALLOWED["released"]


def test_worst_prompt_counts():
    """Relative to each prompt's own largest score, whatever its sign; not a number is no match."""
    expected = torch.tensor([[[-4.0, 1.0]], [[0.1, 0.2]]])
    scores = expected + torch.tensor([[[0.1, 0.0]], [[0.0, -0.1]]])
    assert benchmark.relative_error(scores, expected) == pytest.approx(0.5)
    assert benchmark.relative_error(scores[:1], expected) == pytest.approx(0.025)
    scores[0, 0, 0] = torch.nan
    assert not benchmark.relative_error(scores, expected) <= 1


def test_flops_are_those_that_torch_counts(case):
    """Up to the weighted sum of gradients, D a point; attention as two plain products."""
    for prompt in case.prompts:
        alone = Case(case.models, case.tokenizer, [prompt])
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            points = benchmark.ours(alone, *EXACT).points[0].tolist()
        counted = operations.scores(case.models[torch.float32], len(prompt.ids), points)
        assert counter.get_total_flops() == pytest.approx(counted, rel=1e-3)


def test_prompts_are_as_long_as_real_ones():
    """7 to 16 tokens, 10 on average; also the first three, which the slow rivals get."""
    assert (min(LENGTHS), max(LENGTHS)) == (7, 16)
    assert sum(LENGTHS) == 10 * len(LENGTHS) and sum(LENGTHS[:3]) == 30
    case = make_case(CONFIG, prompts=12, seed=1)
    assert [len(prompt.ids) for prompt in case.prompts] == [*LENGTHS, *LENGTHS[:2]]
    mask = case.tokenizer.vocabulary["[MASK]"]
    assert all(prompt.ids[prompt.mask_position] == mask for prompt in case.prompts)
