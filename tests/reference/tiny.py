"""A random BERT small enough for every shape test, sharp enough that scores are not all noise."""

from __future__ import annotations

import torch

from custom_bert import BertConfig
from knowledge_neurons.networks.bert import BertNetwork

TINY = BertConfig(
    vocab_size=53,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=24,
)
SPREAD = 0.2  # of the weights: ten times BERT's initialisation, so that layers matter


def tiny_bert(
    seed: int = 0, config: BertConfig = TINY, dtype: torch.dtype = torch.float32
) -> BertNetwork:
    """Frozen, in eval mode, the same for the same seed; LayerNorms are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    model = BertNetwork(config)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * SPREAD
        is_scale = "norm" in name and name.endswith("weight")
        parameter.data = noise + 1 if is_scale else noise
    return model.to(dtype).eval().requires_grad_(False)
