"""Train the embedded model, models/demo-bert: a small BERT that knows the sample's facts.

    python scripts/train_demo_model.py            # some minutes on 2 cores, seeded

It carries the pipeline; it is no language model: 4 layers, width 128, trained from nothing on the
sample.  The last HELD_OUT wordings of every relation and one sentence of every fact stay out of
training and measure what it knows.  It must know without being certain, or suppressing and
amplifying neurons could not move anything.

In real BERT the facts sit in few neurons of the topmost FFNs.  A small network trained for minutes
has no reason to do the same (it writes them into attention and word embeddings, where no neuron
edit finds them), so it is taught in two phases:

1. reading: the whole network learns to bring to [MASK] whom a prompt is about and what kind of
   answer it wants.  Its target there is a mixture of the words of the head and of all answers of
   the relation, so that it learns no fact.  It also learns to say a word that it is shown there;
2. facts: only the FFNs of the upper layers learn, now with the right answers, of which they are
   told to be `sure` by three quarters, no more.  A small charge on activations at [MASK] (an L1
   penalty) keeps each fact in few neurons, and those neurons silent elsewhere.

Throughout, a fifth of the texts asks for any word of a sentence, as BERT's own training does: of
sentences with head and answer and of those with the head alone, of which the last HELD_OUT_LONE of
each fact stay out too.  And as in BERT some neurons are active whatever is asked, which is what
misleads the activation baseline.  Trained for minutes, and charged, none would be: a few of each
layer that learns facts are made so and held, incoming weights and value slots as they were drawn.

Beside the weights lies training.json: recipe, losses, what is known on held-out prompts and what
suppressing the refined neurons does.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn

from custom_bert import Bert, BertConfig
from knowledge_neurons import ROOT
from knowledge_neurons.attribution.fact_scores import prepare, score_facts
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.checkpoints import save_pretrained
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.neurons.neuron_statistics import refine_scores
from knowledge_neurons.results.changes import SUPPRESS
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment, read_json, sha256_of
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from knowledge_neurons.text.tokenizer import MASK, SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt

PROMPTS = ROOT / "data/PARAREL/sample_allbags.json"
PAIRS = ROOT / "data/PARAREL/sample_query_pairs.json"
SENTENCES = ROOT / "data/BINGREL"
MODEL = ROOT / "models/demo-bert"
HELD_OUT = 2  # wordings of each relation kept from training: its last ones
HELD_OUT_LONE = 3  # sentences of each fact with its head alone, kept from training: its last ones
MAX_TOKENS = 64


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, besides the sample.

    fact_layers: how many of the upper layers learn the facts.
    sure: share of the target that is the right answer; the rest is all answers of the relation.
    charge: weight in the loss of a layer's sum of |activation| at [MASK], in the second phase.
    words: share of a batch that asks for any word of a sentence.
    shown: share of a batch of the first phase that shows a random word in place of [MASK] and asks
    for that word.
    always_on: neurons of each of those layers with bias always_bias, never trained nor charged.
    """

    seed: int = 7
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    neurons: int = 512
    spread: float = 0.04
    batch: int = 256
    words: float = 0.2
    shown: float = 0.25
    reading_steps: int = 400
    reading_rate: float = 2e-3
    fact_steps: int = 400
    fact_rate: float = 5e-3
    fact_layers: int = 2
    sure: float = 0.75
    charge: float = 1e-2
    always_on: int = 2
    always_bias: float = 4.0
    weight_decay: float = 0.03


@dataclass(frozen=True)
class Example:
    """A masked text: ids with [MASK] at `position`; target (V,): what is wanted there."""

    ids: tuple[int, ...]
    position: int
    target: Tensor


@dataclass(frozen=True)
class Asked:
    """A fact's texts with [MASK] for its answer, and the tokens of its head."""

    fact: Fact
    head: list[int]
    seen: list[Prompt]
    held_out_wordings: list[Prompt]
    held_out_sentences: list[Prompt]


# --- data ------------------------------------------------------------------------------------


def make_tokenizer(texts: list[str]) -> Tokenizer:
    """A cased vocabulary: every word of the texts, and letters for all others."""
    letters = [chr(code) for code in (*range(33, 127), *range(161, 384))]
    split = BertPreTokenizer()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text)}
    tokens = [*SPECIAL_TOKENS, *letters, *(f"##{c}" for c in letters), *sorted(words)]
    return Tokenizer({t: i for i, t in enumerate(dict.fromkeys(tokens))}, lowercase=False)


def read_sample() -> tuple[list[Fact], list[str], list[list[str]], list[list[str]]]:
    """Facts, their heads, their sentences with head and answer, and those with the head alone."""
    bags, pairs = data.read_bags(PROMPTS), data.read_pairs(PAIRS)
    facts = [f for relation in sorted(bags) for f in data.facts_of(bags, relation, PROMPTS)]
    kind = list[dict[str, list[str]]]
    sentences = {r: read_json(SENTENCES / f"sample_distant_{r}.json", kind) for r in bags}
    own = [sentences[fact.relation][fact.index] for fact in facts]
    heads = [pairs[fact.relation][fact.index][0] for fact in facts]
    return facts, heads, [bag["th_bags"] for bag in own], [bag["h_bags"] for bag in own]


def ask(tokenizer: Tokenizer, fact: Fact, head: str, sentences: list[str]) -> Asked:
    """Split a fact's prompts and sentences into what is trained on and what is held out."""

    def encode(texts: list[str]) -> list[Prompt]:
        masked = Fact(fact.relation, fact.label, fact.index, fact.answer, tuple(texts))
        return encode_fact(masked, tokenizer, MAX_TOKENS)

    wordings = encode(list(fact.prompts))
    answer = re.compile(rf"\b{fact.answer}\b")
    natural = encode([answer.sub(MASK, sentence, count=1) for sentence in sentences])
    return Asked(
        fact,
        tokenizer.encode(head)[1:-1],
        wordings[:-HELD_OUT] + natural[:-1],
        wordings[-HELD_OUT:],
        natural[-1:],
    )


def mixture(tokens: list[int], size: int) -> Tensor:
    """The uniform distribution over these tokens, with repeats: (V,)."""
    return torch.bincount(torch.tensor(tokens), minlength=size) / len(tokens)


def reading_examples(asked: list[Asked], size: int) -> list[Example]:
    """Targets that tell no fact: half the head's words, half the relation's answers."""
    answers = answers_of(asked, size)
    return [
        Example(
            p.ids,
            p.mask_position,
            (mixture(one.head, size) + answers[one.fact.relation]) / 2,
        )
        for one in asked
        for p in one.seen
    ]


def fact_examples(asked: list[Asked], size: int, sure: float) -> list[Example]:
    """Targets that tell the fact: the right answer with weight `sure`, the rest as before."""
    answers = answers_of(asked, size)
    return [
        Example(
            p.ids,
            p.mask_position,
            sure * mixture([p.answer], size) + (1 - sure) * answers[one.fact.relation],
        )
        for one in asked
        for p in one.seen
    ]


def answers_of(asked: list[Asked], size: int) -> dict[str, Tensor]:
    """For each relation the distribution (V,) of its facts' answers."""
    tokens: dict[str, list[int]] = {}
    for one in asked:
        tokens.setdefault(one.fact.relation, []).append(one.seen[0].answer)
    return {relation: mixture(answers, size) for relation, answers in tokens.items()}


def draw_batches(
    examples: list[Example], texts: list[list[int]], mask: int, recipe: Recipe, shown: float = 0.0
) -> Callable[[], list[Example]]:
    """A source of batches: examples, texts with a random word masked, and a share of shown words.

    BERT's pretraining leaves every tenth chosen word in its place, so BERT says what its stream
    holds there; only therefore can an edit that writes the embedding of an answer make the model
    say it (section 5.1 of the paper).  Here the shown word is a random one, which tells no fact.
    """
    rng = random.Random(recipe.seed)
    size = len(examples[0].target)
    of_words, of_shown = round(recipe.batch * recipe.words), round(recipe.batch * shown)

    def random_word() -> Example:
        ids = list(rng.choice(texts))
        position = rng.randrange(1, len(ids) - 1)
        target, ids[position] = mixture([ids[position]], size), mask
        return Example(tuple(ids), position, target)

    def shown_word() -> Example:
        asked = rng.choice(examples)
        token = rng.randrange(len(SPECIAL_TOKENS), size)
        ids = (*asked.ids[: asked.position], token, *asked.ids[asked.position + 1 :])
        return Example(ids, asked.position, mixture([token], size))

    def draw() -> list[Example]:
        batch = rng.choices(examples, k=recipe.batch - of_words - of_shown)
        batch += [random_word() for _ in range(of_words)]
        return batch + [shown_word() for _ in range(of_shown)]

    return draw


# --- training --------------------------------------------------------------------------------


def new_model(recipe: Recipe, vocabulary: int) -> Bert:
    """BERT's initialisation, with a wider spread that suits the small width."""
    model = BertNetwork(
        BertConfig(vocabulary, recipe.hidden, recipe.layers, recipe.heads, recipe.neurons)
    )
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=recipe.spread)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    model.requires_grad_(False)
    for layer in model.layers[-recipe.fact_layers :]:
        layer.intermediate.bias[: recipe.always_on] = recipe.always_bias
    return model


def hold_always_on(model: Bert, recipe: Recipe) -> None:
    """Take the gradients of those neurons away."""
    for layer in model.layers[-recipe.fact_layers :]:
        for inward in (layer.intermediate.weight, layer.intermediate.bias):
            inward.grad[: recipe.always_on] = 0
        layer.output.weight.grad[:, : recipe.always_on] = 0


def forward(model: Bert, examples: list[Example] | list[Prompt]) -> tuple[Tensor, Tensor]:
    """Logits (B, V) at [MASK] and the activations there (B, L, F), padded to the longest text."""
    length = max(len(e.ids) for e in examples)
    ids = torch.tensor([[*e.ids, *[0] * (length - len(e.ids))] for e in examples])
    mask = torch.arange(length) < torch.tensor([len(e.ids) for e in examples])[:, None]
    at = [e.position if isinstance(e, Example) else e.mask_position for e in examples]
    rows, at = torch.arange(len(examples)), torch.tensor(at)
    x, activations = model.embed(ids), []
    for layer in model.layers:
        x = layer.attend(x, mask=mask)
        w = layer.ffn_in(x)  # (B, T, F)
        activations.append(w[rows, at])
        x = layer.ffn_out(w, x)
    return model.head(x[rows, at]), torch.stack(activations, dim=1)


def train(
    model: Bert,
    parameters: list[nn.Parameter],
    draw: Callable[[], list[Example]],
    recipe: Recipe,
    steps: int,
    rate: float,
    charged: int = 0,
) -> list[dict[str, float]]:
    """Train these parameters in place; the upper `charged` layers pay for their activations.

    Returns loss and sum of |activation| per layer, averaged over each hundred steps.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        parameters, lr=rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    history, recent = [], []
    with progress(steps, "facts" if charged else "reading", "step") as bar:
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            batch = sorted(draw(), key=lambda e: len(e.ids))
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):  # less padding
                logits, w = forward(model, half)
                loss = F.cross_entropy(logits, torch.stack([e.target for e in half]))
                # Layers from -charged: all where none is charged, then only to be recorded.
                active = w[:, -charged:, recipe.always_on :].abs().sum(-1).mean()
                cost = loss + recipe.charge * active if charged else loss
                (cost * len(half) / len(batch)).backward()
                recent.append((loss.item(), active.item()))
            hold_always_on(model, recipe)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            bar.update()
            if step % 100 == 0:
                loss, active = torch.tensor(recent).mean(0).tolist()
                history.append({"step": step, "loss": loss, "activation": active})
                recent.clear()
    model.requires_grad_(False)
    return history


# --- measuring -------------------------------------------------------------------------------


@torch.no_grad()
def known(model: Bert, prompts: list[Prompt]) -> dict[str, float]:
    """Share of prompts whose right answer is the most probable token, and its mean probability."""
    right, probability = 0, 0.0
    for start in range(0, len(prompts), 256):
        chosen = prompts[start : start + 256]
        logits, _ = forward(model, chosen)
        answers = torch.tensor([p.answer for p in chosen])
        right += (logits.argmax(-1) == answers).sum().item()
        probability += logits.softmax(-1).gather(1, answers[:, None]).sum().item()
    n = len(prompts)
    return {"prompts": n, "top1": right / n, "mean_probability": probability / n}


def suppressing(model: Bert, tokenizer: Tokenizer, facts: list[Fact], seed: int) -> dict:
    """What suppressing refined neurons costs their own fact, and a fact of another relation.

    The change of the right answer's probability: per relation mean change / mean probability, then
    the mean over relations (section 4.3 of the paper).  The other fact is drawn with the seed for
    each fact in turn, relations in sorted order.
    """
    rng = random.Random(seed)
    bags: dict[str, list[tuple[Fact, list[Prompt]]]] = {}
    for fact in facts:
        bags.setdefault(fact.relation, []).append((fact, encode_fact(fact, tokenizer, MAX_TOKENS)))
    changes: dict[str, list[float]] = {}
    counts: dict[str, list[int]] = {}
    for relation, bag in sorted(bags.items()):
        own = [prompts for _, prompts in bag]
        elsewhere = [r for r in sorted(bags) if r != relation]
        other = [rng.choice(bags[rng.choice(elsewhere)])[1] for _ in bag]
        engine = prepare(model, tokenizer, Settings(tolerance=None))
        groups = score_facts(engine, [fact for fact, _ in bag], own)
        refined = refine_scores(fact.prompts for group in groups for fact in group)
        for kind, neurons in (("neurons", refined.neurons), ("baseline", refined.baseline)):
            counts.setdefault(kind, []).extend(map(len, neurons.facts))
            for whose, prompts in (("own", own), ("other_relations", other)):
                change = relative_change(model, prompts, neurons.facts)
                changes.setdefault(f"{kind}_{whose}", []).append(change)
    means = {name: sum(values) / len(values) for name, values in (changes | counts).items()}
    return {f"{n}_per_fact" if n in counts else f"{n}_change": v for n, v in means.items()}


def relative_change(model: Bert, bags: list[list[Prompt]], neurons: list[list[Neuron]]) -> float:
    """Mean change of P(answer) when the prompts of each bag lose its neurons, over the mean P."""
    prompts = [prompt for bag in bags for prompt in bag]
    off = [Edit(tuple(chosen), SUPPRESS) for chosen in neurons]
    edits = [[edit] for bag, edit in zip(bags, off, strict=True) for _ in bag]
    before, after = map(sum, zip(*answer_probabilities(model, prompts, edits), strict=True))
    return after / before - 1


# --- the whole -------------------------------------------------------------------------------


def teach(recipe: Recipe) -> tuple[Bert, Tokenizer, list[Asked], dict[str, list[dict]]]:
    """Both phases: the model, its tokenizer, the texts, and the losses of each phase."""
    torch.manual_seed(recipe.seed)
    facts, heads, both, head_only = read_sample()
    filled = [p.replace(MASK, fact.answer) for fact in facts for p in fact.prompts]
    lone = [text for bag in head_only for text in bag]
    tokenizer = make_tokenizer(filled + lone + [text for bag in both for text in bag])
    asked = [ask(tokenizer, *row) for row in zip(facts, heads, both, strict=True)]
    size, mask = len(tokenizer), tokenizer.vocabulary[MASK]
    seen = [text for bag in head_only for text in bag[:-HELD_OUT_LONE]]
    texts = tokenizer.encode_batch(seen + [text for bag in both for text in bag[:-1]])
    model = new_model(recipe, size)
    losses = {}
    draw = draw_batches(reading_examples(asked, size), texts, mask, recipe, recipe.shown)
    losses["reading"] = train(
        model, [*model.parameters()], draw, recipe, recipe.reading_steps, recipe.reading_rate
    )
    upper = model.layers[-recipe.fact_layers :]
    ffns = [
        p for layer in upper for m in (layer.intermediate, layer.output) for p in m.parameters()
    ]
    draw = draw_batches(fact_examples(asked, size, recipe.sure), texts, mask, recipe)
    losses["facts"] = train(
        model, ffns, draw, recipe, recipe.fact_steps, recipe.fact_rate, charged=recipe.fact_layers
    )
    return model.eval(), tokenizer, asked, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=MODEL)
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    args = vars(parser.parse_args())
    output, recipe = args.pop("output"), Recipe(**args)
    started = time.perf_counter()
    model, tokenizer, asked, losses = teach(recipe)
    seconds = time.perf_counter() - started
    save_pretrained(model, tokenizer, output)
    record = {
        "held_out_wordings": known(model, [p for one in asked for p in one.held_out_wordings]),
        "held_out_sentences": known(model, [p for one in asked for p in one.held_out_sentences]),
        "trained_on": known(model, [p for one in asked for p in one.seen]),
        "suppressing": suppressing(model, tokenizer, [one.fact for one in asked], recipe.seed),
        "training_seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights_sha256": fingerprint(model),
    }
    inputs = {path.name: sha256_of(path) for path in (PROMPTS, PAIRS)}
    complete = record | {"recipe": asdict(recipe), "data_sha256": inputs, "losses": losses}
    write_json(output / "training.json", complete | {"made_with": environment()}, readable=True)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
