"""The random model that benchmarks run on where only shapes matter."""

from __future__ import annotations

import torch

from custom_bert import BertConfig
from knowledge_neurons.networks.bert import BertNetwork

BERT_BASE = BertConfig(28_996, 768, 12, 12, 3072)  # bert-base-cased's
SPREAD = 0.02  # standard deviation of the weights, BERT's initializer_range


def random_bert(config: BertConfig, seed: int) -> BertNetwork:
    """Frozen, in eval mode; matrices normal, biases 0, LayerNorms the identity, as BERT starts."""
    generator = torch.Generator().manual_seed(seed)
    model = BertNetwork(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            parameter.normal_(0, SPREAD, generator=generator)
        else:
            is_scale = "norm" in name and name.endswith("weight")
            parameter.fill_(1.0 if is_scale else 0.0)
    return model
