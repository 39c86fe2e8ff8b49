"""What benchmarks/attribution.py races on: a random BERT, random prompts, and the machine's limit.

Letters: D hidden, F FFN width.
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
