"""Which scores are kept, how many facts go together.  Run: pytest tests/unit/test_fact_scores.py"""

import numpy as np
import pytest
import torch

from custom_bert import BertConfig
from knowledge_neurons.attribution.fact_scores import group_size
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.triplets import kept_triplets
from knowledge_neurons.networks.bert import BertNetwork
from tests.reference import refine as literal
from tests.reference.tiny import TINY

BASE = BertConfig(28996, 768, 12, 12, 3072)
LARGE = BertConfig(28996, 1024, 24, 16, 4096)


def kept(scores: list[list[float]], keep: float = 0.1, dtype=torch.float64) -> list:
    """The scores of one prompt."""
    (found,) = kept_triplets(torch.tensor([scores], dtype=dtype), keep)
    return found


def test_triplets_are_in_layer_then_index_order():
    """The largest last, negatives dropped, Python numbers that JSON takes."""
    found = kept([[0.5, -9.0, 0.2], [0.09, 0.3, 1.0]], dtype=torch.float32)
    assert [row[:2] for row in found] == [(0, 0), (0, 2), (1, 1), (1, 2)]
    assert [row[2] for row in found] == [float(np.float32(s)) for s in (0.5, 0.2, 0.3, 1.0)]
    assert {type(x) for row in found for x in row} == {int, float}


def test_triplet_at_the_threshold_is_kept():
    """>= keep * largest: exactly at it is in, one step of a float below is out."""
    at = 2.0 * 0.25
    assert kept([[2.0, at, np.nextafter(at, 0)]], keep=0.25) == [(0, 0, 2.0), (0, 1, at)]


def test_triplets_of_a_prompt_without_a_positive_score():
    """Largest negative: none, as the threshold lies above it.  All zero: all, as 0 >= 0."""
    assert kept([[-1.0, -2.0], [-3.0, -1.0]]) == []
    assert len(kept([[0.0] * 3] * 2)) == 6


def test_triplets_of_equal_scores_are_all_of_them():
    """Nothing stands out, so nothing is dropped."""
    assert kept([[0.25] * 2] * 2) == [(layer, i, 0.25) for layer in (0, 1) for i in (0, 1)]


@pytest.mark.parametrize("keep, expected", [(0.0, [0, 2, 3]), (1.0, [3])])
def test_ends_of_keep(keep, expected):
    """0 keeps all that is not negative, 1 the largest alone."""
    assert [row[1] for row in kept([[0.5, -1.0, 0.0, 2.0]], keep)] == expected


def test_each_prompt_of_a_batch_is_kept_as_if_alone():
    """A prompt with nothing to keep between others; the literal twin for each."""
    scores = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(0))
    scores[2] = -scores[2].abs()
    found = kept_triplets(scores, 0.3)
    assert found[2] == []
    assert found == [literal.triplets(one.tolist(), 0.3) for one in scores.double()]


def test_groups_are_some_seconds_of_work_whatever_the_model():
    """bert-base a few facts, the small model as many as allowed, a GPU many."""
    cpu = torch.device("cpu")
    with torch.device("meta"):
        tiny, base, large = map(BertNetwork, (TINY, BASE, LARGE))
    assert 1 <= group_size(base, cpu) <= 4
    assert group_size(tiny, cpu) == 8
    assert group_size(large, cpu) == 1
    assert group_size(base, torch.device("cuda")) == 128


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance": 0.0},
        {"tolerance": float("nan")},
        {"tolerance": 1.0},
        {"tolerance": -0.1},
        {"memory": 0},
        {"keep": -0.1},
        {"keep": 1.1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    """The message names the field and what it got."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        Settings(**wrong)


def test_settings_at_their_ends_are_fine():
    """All scores kept or the largest alone, all points, a byte; the defaults are the paper's."""
    for fine in ({"keep": 0.0}, {"keep": 1.0}, {"tolerance": None}, {"memory": 1}):
        assert vars(Settings(**fine)).items() >= fine.items()
    settings = Settings()
    assert (settings.keep, settings.tolerance) == (0.1, 1e-3)
    alphas = [j / 20 for j in range(20)]
    assert list(map(float, settings.rule.alphas)) == pytest.approx(alphas)
