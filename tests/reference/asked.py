"""Models behind the library's face: the embedded one, a tiny BERT, a tiny decoder."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import transformers

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.types import Prompt
from tests.integration.checkpoints import tokenizer
from tests.reference.families import small
from tests.reference.small_tokenizers import gpt2
from tests.reference.tiny import tiny_bert

ROOT = Path(__file__).resolve().parents[2]
# What the embedded model knows.
FRANCE = [
    "The government of France sits in the capital [MASK].",
    "Laws for all of France are made in [MASK].",
    "Rulers of France kept their seat in [MASK].",
]
# What tiny models are asked; in their words answers of one token and of several.
TINY = ["Word1 is the capital of [MASK] .", "the capital [MASK] is Word2", "[MASK] of Word3"]
DECODER = [
    "The capital of France is [MASK].",
    "France: Rome is not its capital, its capital is [MASK]",
    "Paris (France), the capital of France is [MASK]!",
]


@cache
def demo() -> KnowledgeNeurons:
    """The embedded model, one for all tests: they leave its weights as they are."""
    return KnowledgeNeurons.from_pretrained(ROOT / "models" / "demo-bert", device="cpu")


def demo_facts(count: int, prompts: int = 3) -> list[tuple[list[str], str]]:
    """Facts that the embedded model was trained on, of all its relations in turn."""
    bags = json.loads((ROOT / "data" / "PARAREL" / "sample_allbags.json").read_text())
    every = [bag for own in zip(*bags.values(), strict=False) for bag in own]
    return [([row[0] for row in bag[:prompts]], bag[0][1]) for bag in every[:count]]


def bert() -> KnowledgeNeurons:
    return KnowledgeNeurons(tiny_bert(), tokenizer())


def decoder() -> KnowledgeNeurons:
    """A tiny LLaMA with a small byte-level tokenizer, both as `transformers` has them."""
    backend = gpt2()
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **end)
    return KnowledgeNeurons(small("llama", vocab_size=backend.get_vocab_size()), words)


def encoded(kn: KnowledgeNeurons, answer: str = "Paris", texts: list[str] = TINY) -> list[Prompt]:
    """Texts by the tokenizer itself, asked for an answer of one token."""
    ids = [tuple(kn.tokenizer.encode(text)) for text in texts]
    words = kn.tokenizer.vocabulary
    return [Prompt(one, one.index(words["[MASK]"]), words[answer]) for one in ids]
