"""A small masked language model of three languages, that learns data/LANGUAGES by heart in seconds.

Its vocabulary has every word of the prompts; of long answers it has two halves, so that these take
two tokens.  What is the same word in two languages (Berlin, Portugal) is the same token.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import nn

from custom_bert import BertConfig
from knowledge_neurons import ROOT
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.checkpoints import save_pretrained
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Fact, Prompt

PROMPTS = str(ROOT / "data/LANGUAGES/{}_allbags.json")
LANGUAGES = ("de", "en", "fr")
WHOLE = 7  # letters of an answer that is one token
STEPS, BATCH, RATE, SEED = 140, 80, 8e-3, 3
CHARGE = 3e-3  # in the loss, of the top layer's activations at [MASK]: few neurons for a fact


def facts() -> dict[str, list[Fact]]:
    """Language -> all its facts."""
    found = {}
    for language in LANGUAGES:
        path = PROMPTS.format(language)
        bags = data.read_bags(path)
        found[language] = [f for name in bags for f in data.facts_of(bags, name, path)]
    return found


def tokenizer(every: list[Fact]) -> Tokenizer:
    split = BertPreTokenizer()
    texts = [text.replace(MASK, " ") for fact in every for text in fact.prompts]
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text)}
    for fact in every:
        for word, _ in split.pre_tokenize_str(fact.answer):
            halves = (word[:WHOLE], f"##{word[WHOLE:]}") if len(word) > WHOLE else (word,)
            words.update(halves)
    tokens = (*SPECIAL_TOKENS, *sorted(words))
    return Tokenizer({token: index for index, token in enumerate(tokens)}, lowercase=False)


def trained(words: Tokenizer, every: list[Fact]) -> BertNetwork:
    """Trained on all prompts and tokens of answers at once, the same for the same seed."""
    torch.manual_seed(SEED)
    model = BertNetwork(BertConfig(len(words), 64, 3, 4, 128, 32))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.06)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    first = [prompt for fact in every for prompt in encode_fact(fact, words, 32)]
    prompts = [one for prompt in first for one in (prompt, *prompt.later)]
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    rng = random.Random(SEED)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, rng.sample(prompts, BATCH)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def loss_of(model: BertNetwork, prompts: list[Prompt]) -> torch.Tensor:
    """Of the answers, and of the top layer's activations where they are read."""
    length = max(len(prompt.ids) for prompt in prompts)
    ids = torch.tensor([[*p.ids, *[0] * (length - len(p.ids))] for p in prompts])
    rows, at = torch.arange(len(prompts)), torch.tensor([p.mask_position for p in prompts])
    x = model.embed(ids)
    for layer in model.layers:
        x = layer.attend(x, mask=ids != 0)
        w = layer.ffn_in(x)  # (B, T, F)
        x = layer.ffn_out(w, x)
    answers = torch.tensor([prompt.answer for prompt in prompts])
    loss = F.cross_entropy(model.head(x[rows, at]), answers, label_smoothing=0.1)
    return loss + CHARGE * w[rows, at].abs().sum(-1).mean()


def write(folder: Path) -> None:
    """Train it and save it there."""
    every = [fact for own in facts().values() for fact in own]
    words = tokenizer(every)
    save_pretrained(trained(words, every), words, folder)
