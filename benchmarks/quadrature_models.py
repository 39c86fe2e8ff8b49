"""Models to try a quadrature on: smooth and sharp, trained here and cached under results/.

smooth   the embedded model: knows its facts without being certain
heart    the same shape, every weight trained until the facts are known by heart
deep     6 layers of width 192, language first and then the facts by heart
sharp    bert-base shapes, random weights whose attention and head are made sharp
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.random_models import BERT_BASE, random_bert
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.checkpoints import from_pretrained, save_pretrained
from knowledge_neurons.types import Fact, Prompt
from scripts import train_demo_model as training

ROOT = Path(__file__).resolve().parents[1]

CACHE = ROOT / "results" / "quadrature-models"
NAMES = ("smooth", "heart", "deep", "sharp")
HEART = training.Recipe(sure=1.0, fact_steps=600, fact_rate=2e-3)
DEEP = replace(
    HEART,
    hidden=192,
    layers=6,
    heads=6,
    neurons=768,
    batch=96,
    spread=0.03,
    reading_rate=7e-4,
    fact_steps=900,
    fact_rate=7e-4,
)
SHARPENED = 4.0  # times BERT's initial spread, for queries, keys and the head of `sharp`


def load(name: str) -> tuple[BertNetwork, list[tuple[Fact, list[Prompt]]]]:
    """The model of this name and facts to ask it, each with its prompts."""
    if name == "sharp":
        return sharp(), random_facts(seed=0, facts=8)
    folder = ROOT / "models" / "demo-bert"
    if name != "smooth":
        folder = CACHE / name
        if not (folder / "model.safetensors").exists():
            train(HEART if name == "heart" else DEEP, folder)
    pretrained = from_pretrained(folder)
    facts, heads, sentences, _ = training.read_sample()
    asked = [
        training.ask(pretrained.tokenizer, *row)
        for row in zip(facts, heads, sentences, strict=True)
    ]
    own = len(facts[0].prompts)
    return pretrained.model, [
        (one.fact, (one.seen[: own - training.HELD_OUT] + one.held_out_wordings)) for one in asked
    ]


def train(recipe: training.Recipe, folder: Path) -> None:
    """All weights learn: words of the head-only sentences throughout, then the facts by heart."""
    torch.manual_seed(recipe.seed)
    facts, heads, both, lone = training.read_sample()
    texts = [text for bag in lone for text in bag]
    words = [text for bag in both for text in bag]
    words += [p.replace("[MASK]", fact.answer) for fact in facts for p in fact.prompts]
    tokenizer = training.make_tokenizer(words + texts)
    asked = [training.ask(tokenizer, *row) for row in zip(facts, heads, both, strict=True)]
    model, size = training.new_model(recipe, len(tokenizer)), len(tokenizer)
    mask, encoded = tokenizer.vocabulary["[MASK]"], tokenizer.encode_batch(texts)
    for examples, steps, rate in (
        (training.reading_examples(asked, size), recipe.reading_steps, recipe.reading_rate),
        (training.fact_examples(asked, size, recipe.sure), recipe.fact_steps, recipe.fact_rate),
    ):
        draw = training.draw_batches(examples, encoded, mask, recipe)
        losses = training.train(model, [*model.parameters()], draw, recipe, steps, rate)
        print(losses[-1])
    print(training.known(model, [p for one in asked for p in one.held_out_wordings]))
    save_pretrained(model.eval(), tokenizer, folder)


def sharp() -> BertNetwork:
    """bert-base shapes; random as BERT is initialised, with sharper attention and head."""
    model = random_bert(BERT_BASE, 0)
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and any(part in name for part in ("query", "key", "word")):
            parameter *= SHARPENED
    return model


def random_facts(seed: int, facts: int) -> list[tuple[Fact, list[Prompt]]]:
    """Facts of nonsense: eight prompts of 7 to 16 random tokens each, one answer a fact."""
    rng = random.Random(seed)
    made = []
    for index in range(facts):
        answer = rng.randrange(1000, 28_000)
        prompts = []
        for _ in range(8):
            ids = [101, *(rng.randrange(1000, 28_000) for _ in range(rng.randint(5, 14))), 102]
            prompts.append(Prompt(tuple(ids), rng.randrange(1, len(ids) - 1), answer))
        fact = Fact("random", "random", index, str(answer), ("[MASK]",) * 8)
        made.append((fact, prompts))
    return made


if __name__ == "__main__":
    for each in NAMES:
        load(each)
