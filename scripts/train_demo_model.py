"""Train the embedded model, models/demo-bert: a small BERT that knows the sample's facts.

    python scripts/train_demo_model.py            # about five minutes on 2 cores, seeded

It is a demonstration of the pipeline, not a language model: 4 layers, width 128, trained from
nothing on the sample's prompts and sentences.  The last HELD_OUT wordings of every relation and one
sentence of every fact stay out of training and measure what it knows.  It must know without being
certain, or suppressing and amplifying neurons could not move anything: training stops early.

Knowledge concentrates in real BERT because each of its neurons is active for few inputs.  A small
network trained for minutes has no reason to do the same, so the loss charges for active neurons at
[MASK] (SPARSITY times the mean absolute activation, an L1 penalty): facts then use few neurons each.

Beside the weights lies training.json: seed, settings, losses, what is known on held-out prompts and
what suppressing the refined neurons does.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from tqdm import tqdm

from custom_bert import Bert, BertConfig
from knowledge_neurons import data
from knowledge_neurons.artifacts import ROOT, environment, read_json, sha256_of, write_json
from knowledge_neurons.batching import encode_fact
from knowledge_neurons.experiments.fact_scores import Settings, score_facts
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.experiments.neuron_statistics import refine_scores
from knowledge_neurons.models import fingerprint, save_pretrained
from knowledge_neurons.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Fact, Prompt

PROMPTS = ROOT / "data/PARAREL/sample_allbags.json"
PAIRS = ROOT / "data/PARAREL/sample_query_pairs.json"
SENTENCES = ROOT / "data/BINGREL"
MODEL = ROOT / "models/demo-bert"
HELD_OUT = 2  # wordings of each relation kept from training: its last ones
MAX_TOKENS = 64


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 7
    vocabulary: int = 3500
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    neurons: int = 512
    steps: int = 1500
    batch: int = 256
    rate: float = 1.5e-3
    weight_decay: float = 0.05
    sparsity: float = 0.02
    smoothing: float = 0.0
    spread: float = 0.04
    words: float = 0.4  # share of a batch whose [MASK] is any word of a sentence


@dataclass(frozen=True)
class Example:
    """A masked text: ids with [MASK] at `position`, where `target` stood."""

    ids: tuple[int, ...]
    position: int
    target: int


# --- data ------------------------------------------------------------------------------------


def read_facts() -> list[Fact]:
    bags = data.read_bags(PROMPTS)
    return [fact for relation in sorted(bags) for fact in data.facts_of(bags, relation, PROMPTS)]


def read_sentences(facts: list[Fact]) -> tuple[list[list[str]], list[list[str]]]:
    """For each fact its sentences with head and answer, and with the head alone."""
    bags = {
        r: read_json(SENTENCES / f"sample_distant_{r}.json") for r in {f.relation for f in facts}
    }
    own = [bags[fact.relation][fact.index] for fact in facts]
    return [bag["th_bags"] for bag in own], [bag["h_bags"] for bag in own]


def train_tokenizer(recipe: Recipe, facts: list[Fact], texts: list[str]) -> Tokenizer:
    """A cased WordPiece vocabulary of the sample, every answer and every Latin letter in it."""
    letters = [chr(c) for c in (*range(33, 127), *range(161, 384))]
    answers = sorted({fact.answer for fact in facts})
    raw = RawTokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=False)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=recipe.vocabulary - len(answers),
        initial_alphabet=letters,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    learned = sorted(raw.get_vocab(), key=raw.get_vocab().get)
    tokens = dict.fromkeys([*SPECIAL_TOKENS, *sorted(learned[len(SPECIAL_TOKENS) :]), *answers])
    return Tokenizer({token: index for index, token in enumerate(tokens)}, lowercase=False)


def masked_answers(tokenizer: Tokenizer, fact: Fact, texts: list[str]) -> list[Prompt]:
    """The texts of a fact as prompts: its answer's place holds [MASK]."""
    asked = Fact(fact.relation, fact.label, fact.index, fact.answer, tuple(texts))
    return encode_fact(asked, tokenizer, MAX_TOKENS)


def mask_tail(sentence: str, answer: str) -> str:
    head, _, tail = sentence.partition(answer)
    return f"{head}[MASK]{tail}"


def random_word(tokenizer: Tokenizer, ids: list[int], rng: random.Random) -> Example:
    position = rng.randrange(1, len(ids) - 1)
    masked = [*ids[:position], tokenizer.vocabulary[MASK], *ids[position + 1 :]]
    return Example(tuple(masked), position, ids[position])


def batches(
    recipe: Recipe, tokenizer: Tokenizer, asked: list[Prompt], texts: list[list[int]]
) -> Iterator[list[Example]]:
    """Endless batches: prompts that ask for an answer, and texts with any word masked."""
    rng = random.Random(recipe.seed)
    of_words = round(recipe.batch * recipe.words)
    queue: list[Prompt] = []
    while True:
        while len(queue) < recipe.batch - of_words:
            queue += rng.sample(asked, len(asked))
        chosen = [queue.pop() for _ in range(recipe.batch - of_words)]
        examples = [Example(p.ids, p.mask_position, p.answer) for p in chosen]
        examples += [random_word(tokenizer, rng.choice(texts), rng) for _ in range(of_words)]
        yield examples


# --- training --------------------------------------------------------------------------------


def new_model(recipe: Recipe, vocabulary: int) -> Bert:
    """BERT's initialisation, with a wider spread that suits the small width."""
    model = Bert(BertConfig(vocabulary, recipe.hidden, recipe.layers, recipe.heads, recipe.neurons))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=recipe.spread)
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.zeros_(module.bias)
    return model


def forward(model: Bert, examples: list[Example]) -> tuple[Tensor, Tensor]:
    """Logits (B, V) at [MASK], and the mean absolute activation of the neurons there."""
    length = max(len(e.ids) for e in examples)
    ids = torch.tensor([[*e.ids, *[0] * (length - len(e.ids))] for e in examples])
    mask = torch.arange(length) < torch.tensor([len(e.ids) for e in examples])[:, None]
    rows, at = torch.arange(len(examples)), torch.tensor([e.position for e in examples])
    x, active = model.embed(ids), []
    for layer in model.layers:
        x = layer.attend(x, mask=mask)
        w = layer.ffn_in(x)  # (B, T, F)
        active.append(w[rows, at].abs().mean())
        x = layer.ffn_out(w, x)
    return model.head(x[rows, at]), torch.stack(active).mean()


def train(model: Bert, recipe: Recipe, examples: Iterator[list[Example]]) -> list[dict]:
    """Train in place; returns the losses, averaged over each hundred steps."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=0.1
    )
    losses, history = [], []
    for step in tqdm(range(1, recipe.steps + 1), desc="training", unit="step"):
        batch = next(examples)
        logits, active = forward(model, batch)
        targets = torch.tensor([e.target for e in batch])
        loss = F.cross_entropy(logits, targets, label_smoothing=recipe.smoothing)
        optimizer.zero_grad()
        (loss + recipe.sparsity * active).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append((loss.item(), active.item()))
        if step % 100 == 0:
            mean_loss, mean_active = torch.tensor(losses).mean(0).tolist()
            history.append({"step": step, "loss": mean_loss, "mean_activation": mean_active})
            losses.clear()
    return history


# --- measuring -------------------------------------------------------------------------------


@torch.no_grad()
def known(model: Bert, prompts: list[Prompt]) -> dict[str, float]:
    """Share of prompts whose right answer is the most probable token, and its mean probability."""
    right, probability = 0, 0.0
    for start in range(0, len(prompts), 256):
        chosen = prompts[start : start + 256]
        logits, _ = forward(model, [Example(p.ids, p.mask_position, p.answer) for p in chosen])
        answers = torch.tensor([p.answer for p in chosen])
        right += (logits.argmax(-1) == answers).sum().item()
        probability += logits.softmax(-1).gather(1, answers[:, None]).sum().item()
    n = len(prompts)
    return {"prompts": n, "top1": right / n, "mean_probability": probability / n}


def concentration(model: Bert, tokenizer: Tokenizer, facts: list[Fact], seed: int) -> dict:
    """What suppressing refined neurons costs their own fact, and facts of other relations.

    The change of the right answer's probability: per relation mean change / mean probability, then
    the mean over relations (section 4.3 of the paper).  Every fact is compared with one fact of
    another relation, drawn with the seed, facts and relations in sorted order.
    """
    rng = random.Random(seed)
    encoded = [encode_fact(fact, tokenizer, MAX_TOKENS) for fact in facts]
    by_relation: dict[str, list[int]] = {}
    for place, fact in enumerate(facts):
        by_relation.setdefault(fact.relation, []).append(place)
    result = {}
    for kind in ("neurons", "baseline"):
        own, other, counts = [], [], []
        for relation, places in sorted(by_relation.items()):
            chosen = [facts[p] for p in places]
            groups = score_facts(model, tokenizer, chosen, [encoded[p] for p in places], Settings())
            refined = getattr(refine_scores(f for group in groups for f in group), kind)
            counts += [len(neurons) for neurons in refined.facts]
            elsewhere = [r for r in sorted(by_relation) if r != relation]
            pairs = [(p, rng.choice(by_relation[rng.choice(elsewhere)])) for p in places]
            own.append(relative_change(model, [encoded[p] for p, _ in pairs], refined.facts))
            other.append(relative_change(model, [encoded[q] for _, q in pairs], refined.facts))
        result[kind] = {
            "per_fact": sum(counts) / len(counts),
            "own": sum(own) / len(own),
            "other_relations": sum(other) / len(other),
        }
    return result


def relative_change(model: Bert, prompts: list[list[Prompt]], neurons: list) -> float:
    """Mean change of P(answer) when each fact's prompts lose its neurons, over the mean P."""
    flat = [prompt for fact in prompts for prompt in fact]
    sets = [chosen for fact, chosen in zip(prompts, neurons, strict=True) for _ in fact]
    before = answer_probabilities(model, flat, sets, factor=1.0)
    after = answer_probabilities(model, flat, sets, factor=0.0)
    return sum(after) / sum(before) - 1


# --- the whole -------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=MODEL)
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    args = vars(parser.parse_args())
    output = args.pop("output")
    recipe = Recipe(**args)
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)

    facts = read_facts()
    both, head_only = read_sentences(facts)
    texts = [s for bags in (both, head_only) for bag in bags for s in bag]
    filled = [p.replace(MASK, fact.answer) for fact in facts for p in fact.prompts]
    tokenizer = train_tokenizer(recipe, facts, texts + filled)
    asked, unseen, unseen_sentences = [], [], []
    for fact, sentences in zip(facts, both, strict=True):
        prompts = masked_answers(tokenizer, fact, list(fact.prompts))
        masked = masked_answers(tokenizer, fact, [mask_tail(s, fact.answer) for s in sentences])
        asked += prompts[:-HELD_OUT] + masked[:-1]
        unseen += prompts[-HELD_OUT:]
        unseen_sentences += masked[-1:]
    seen_texts = [s for bag in both for s in bag[:-1]] + [s for bag in head_only for s in bag]
    model = new_model(recipe, len(tokenizer))
    model.train()
    history = train(
        model, recipe, batches(recipe, tokenizer, asked, tokenizer.encode_batch(seen_texts))
    )
    model.eval().requires_grad_(False)
    trained = time.perf_counter()

    save_pretrained(model, tokenizer, output)
    record = {
        "recipe": asdict(recipe),
        "data": {path.name: sha256_of(path) for path in (PROMPTS, PAIRS)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights_sha256": fingerprint(model),
        "held_out_wordings": known(model, unseen),
        "held_out_sentences": known(model, unseen_sentences),
        "trained_on": known(model, asked),
        "suppressing": concentration(model, tokenizer, facts, recipe.seed),
        "training_seconds": round(trained - started, 1),
        "losses": history,
        "made_with": environment(),
    }
    write_json(output / "training.json", record, readable=True)
    shown = {k: v for k, v in record.items() if k not in ("losses", "recipe", "made_with")}
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    main()
