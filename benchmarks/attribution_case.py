"""What benchmarks/attribution.py races on: a random BERT, random prompts, and the machine's limit.

Letters: T tokens, L layers, D hidden, F FFN width, V vocabulary.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks.random_models import random_bert
from custom_bert import BertConfig
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Prompt

# Tokens of the prompts, in turn; 7 to 16 with a mean of 10 as in PARAREL.  The first three, which
# are all that the slow ones get, have that mean too.
LENGTHS = (10, 9, 11, 8, 12, 7, 16, 10, 9, 8)
GEMM_ROWS = 2000
GEMM_REPEATS = 7


@dataclass(frozen=True)
class Case:
    """What all contestants are given."""

    models: dict[torch.dtype, BertNetwork]
    tokenizer: Tokenizer
    prompts: list[Prompt]


def make_case(
    config: BertConfig, prompts: int, seed: int, dtypes: Sequence[torch.dtype] = (torch.float32,)
) -> Case:
    """The random model in each dtype, a vocabulary of its size, and so many random prompts."""
    model = random_bert(config, seed)
    ordinary = [f"t{index}" for index in range(len(SPECIAL_TOKENS), config.vocab_size)]
    tokens = (*SPECIAL_TOKENS, *ordinary)
    tokenizer = Tokenizer({token: index for index, token in enumerate(tokens)}, lowercase=False)
    rng = random.Random(seed)
    lengths = [LENGTHS[index % len(LENGTHS)] for index in range(prompts)]
    return Case(
        {dtype: model if dtype == torch.float32 else model.products_in(dtype) for dtype in dtypes},
        tokenizer,
        [random_prompt(tokenizer, length, rng) for length in lengths],
    )


def random_prompt(tokenizer: Tokenizer, length: int, rng: random.Random) -> Prompt:
    """[CLS], words with [MASK] somewhere among them, [SEP]; drawn: words, place, answer."""
    texts = [f"t{rng.randrange(len(SPECIAL_TOKENS), len(tokenizer))}" for _ in range(length - 2)]
    texts[rng.randrange(len(texts))] = MASK
    ids = tokenizer.encode(" ".join(texts))
    answer = rng.randrange(len(SPECIAL_TOKENS), len(tokenizer))
    return Prompt(tuple(ids), ids.index(tokenizer.vocabulary[MASK]), answer)


# --- the limit -------------------------------------------------------------------------------


def flops(config: BertConfig, tokens: int, points: Sequence[int]) -> int:
    """Floating-point operations of ours on one prompt of T tokens, with points[l] for layer l.

    A product of (R, a) with (a, b) is 2 R a b.  Forward, a layer is, for T tokens,

        8 T D^2 (query, key, value, output) + 4 T D F (the FFN) + 4 T^2 D (attention),

    the last layer, where only [MASK] is read, 4 T D^2 + 4 D^2 + 4 D F + 4 T D, and the head
    2 D^2 + 2 D V.  Backward, a product with a frozen matrix costs as much again (the gradient of
    its input only), the two products of attention twice as much (both inputs have gradients).  The
    path of layer l meets, at each of its points, the L - 2 - l full layers above, the last one and
    the head; the top layer's path meets the head alone.  Besides, once a prompt, the clean pass,
    and 4 D F a layer for W2 w and W2^T (sum of gradients).  LayerNorm, GELU, softmax and what the
    fused attention computes again on its way back are not counted.
    """
    D, FF, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    full, attention = tokens * (8 * D * D + 4 * D * FF), 4 * tokens * tokens * D
    last, last_attention = 4 * tokens * D * D + 4 * D * D + 4 * D * FF, 4 * tokens * D
    head = 2 * D * D + 2 * D * config.vocab_size
    total = (L - 1) * (full + attention) + last + last_attention + head
    for layer, count in enumerate(points):
        at_each = max(0, L - 2 - layer) * (2 * full + 3 * attention) + 2 * head
        if layer < L - 1:
            at_each += 2 * last + 3 * last_attention
        total += count * at_each + 4 * D * FF
    return total


def gemm_rate(config: BertConfig, dtype: torch.dtype) -> float:
    """FLOP/s of (2000, D) x (D, F) and back, as torch multiplies them here; median of a few."""
    D, FF = config.hidden_size, config.intermediate_size
    x, into, back = (torch.randn(*shape).to(dtype) for shape in ((GEMM_ROWS, D), (FF, D), (D, FF)))
    seconds = []
    for _ in range(GEMM_REPEATS):
        start = time.perf_counter()
        F.linear(F.linear(x, into), back)
        seconds.append(time.perf_counter() - start)
    return 4 * GEMM_ROWS * D * FF / median(seconds)
