"""Operations counted from shapes are those that torch counts, and shapes cost no memory.

Run: pytest tests/unit/test_operations.py
"""

import resource

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from custom_bert import BertConfig
from knowledge_neurons.attribution import gradients
from knowledge_neurons.attribution.gradients import Paths
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import operations, passes, shapes
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.planning.survey import random_prompts

BERT = BertConfig(500, 48, 5, 4, 192)
LLAMA = {
    **{"model_type": "llama", "vocab_size": 500, "hidden_size": 48, "num_hidden_layers": 5},
    **{"num_attention_heads": 4, "intermediate_size": 96},
}
SEVEN_B = {
    **{"model_type": "llama", "vocab_size": 32_000, "hidden_size": 4096, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "intermediate_size": 11_008, "tie_word_embeddings": False},
}
CPU, TOKENS = torch.device("cpu"), 7


def counted(work) -> int:
    """What torch counts of a call, attention as two plain products."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def test_one_layer_by_hand():
    """D = 48, F = 192, T = 7: four maps of D, two of the FFN, two products of attention."""
    layer = operations.whole(shapes.of_config(BERT), TOKENS)
    assert layer.products == 2 * 7 * (4 * 48 * 48 + 2 * 48 * 192)
    assert layer.attention == 2 * (2 * 7 * 7 * 48)
    assert layer.up == layer.products + layer.attention
    assert layer.back == layer.products + 2 * layer.attention


@pytest.mark.parametrize("config", [BERT, LLAMA], ids=["bert", "llama"])
def test_counts_are_torchs(config):
    """A reading, and a point of the path of every layer there and back; of a decoder the lowest."""
    shape = shapes.of_config(config)
    model = shapes.cut(shape, shape.shape.layers, CPU, torch.float32)
    batch = collate(random_prompts(TOKENS, 1, shape.shape.vocabulary), [0])
    passes.logits(model, batch)  # a decoder is looked at once
    said = operations.reading(shape, TOKENS)
    assert counted(lambda: passes.logits(model, batch)) == pytest.approx(said, rel=1e-3)
    clean, of = passes.clean_pass(model, batch), Probability(torch.tensor([3]))
    everyone, alphas = torch.tensor([0]), torch.tensor([0.5])
    for layer in range(shape.shape.layers):
        paths = [Paths(layer, everyone, alphas)]
        along = counted(lambda p=paths: gradients.gradients_along(model, clean, of, p))
        start = 2 * shape.shape.width * shape.shape.neurons  # W2 w, once a prompt
        assert along == pytest.approx(operations.point(shape, TOKENS, layer) + start, rel=1e-3)


def test_scores_are_a_pass_and_points():
    """Two points in layer 1 and one in layer 4 of five; the others take no part."""
    shape = shapes.of_config(BERT)
    points = 2 * operations.point(shape, TOKENS, 1) + operations.point(shape, TOKENS, 4)
    whole = operations.reading(shape, TOKENS) + points + 2 * 4 * 48 * 192
    assert operations.scores(shape, TOKENS, [0, 2, 0, 0, 1]) == whole
    assert operations.point(shape, TOKENS, 4) == 2 * operations.head(shape)


def test_seven_billion_parameters_take_no_memory():
    """The peak of this process grows by less than a hundredth of the weights' 27 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shape = shapes.of_config(SEVEN_B)
    assert shape.shape == (32, 4096, 11_008, 32_000) and shape.causal
    assert shapes.parameters(shape) == pytest.approx(6.74e9, rel=1e-3)
    assert operations.reading(shape, 10) == pytest.approx(2 * 6.5e9 * 10, rel=0.05)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 270_000  # KiB


@pytest.mark.parametrize("config", [BERT, LLAMA], ids=["bert", "llama"])
def test_a_cut_model_is_of_the_same_kind(config):
    """Fewer layers of the same widths, finite logits; a lower cut shares its layers."""
    shape = shapes.of_config(config)
    model = shapes.cut(shape, 3, CPU, torch.float32)
    below = shapes.lower(model, 2)
    assert model.shape == (3, *shape.shape[1:]) and below.shape == (2, *shape.shape[1:])
    assert below.value_slots(1) is model.value_slots(1)
    batch = collate(random_prompts(TOKENS, 2, shape.shape.vocabulary), [0, 1])
    for one in (model, below):
        logits = passes.logits(one, batch)
        assert logits.isfinite().all() and logits.std() > 0
    shared = shapes.cut(shape, 3, CPU, torch.float32, shared=True)
    assert shared.shape.layers == 3 and shared.value_slots(2) is shared.value_slots(0)


def test_known_by_name_where_the_hub_is_silent(monkeypatch, tmp_path):
    """bert-base-cased, in an archive too; an unknown name is an error that says so."""
    monkeypatch.setattr("knowledge_neurons.networks.hub.constants.HF_HUB_OFFLINE", True)
    for name in ("bert-base-cased", "some/bert-base-cased.tar.gz"):
        assert shapes.shape_of(name, cache_dir=tmp_path).shape == (12, 768, 3072, 28_996)
    assert shapes.shape_of("models/smollm2", cache_dir=tmp_path).shape == (30, 576, 1536, 49_152)
    with pytest.raises(ValueError, match="nobody/knows"):
        shapes.shape_of("nobody/knows", cache_dir=tmp_path)
