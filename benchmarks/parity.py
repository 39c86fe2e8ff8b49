#!/usr/bin/env python
"""Our BERT and our WordPiece beside Hugging Face's, at the sizes of the published checkpoints.

    python -m benchmarks.parity                           # the seven shapes, 3 minutes on 2 cores
    python -m benchmarks.parity --data ../shared/data     # and the tokenizer, 3 minutes more
    python -m benchmarks.parity --shapes bert-base-cased  # one of them

Hugging Face writes a checkpoint of each shape with random weights, one at a time; our loader reads
it, and the logits of both are compared on a batch without padding and on a padded one.  Then the
ids of every PARAREL prompt and of 20,000 BINGREL sentences under a vocabulary trained on the
prompts, cased and uncased, are compared with Hugging Face's BertTokenizer and with the literal twin
in tests/reference/wordpiece.py.  The last line is JSON; the exit status is 1 if anything differs by
more than the tolerance.

DIR of --data holds pararel/{query_pairs.json, relations.jsonl, patterns/} and bingrel/*.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import trainers
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from knowledge_neurons.networks.checkpoints import from_pretrained
from knowledge_neurons.networks.hub import HUB_NAMES
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference import wordpiece as literal

# Largest |ours - theirs| over all logits of a batch, as a share of the largest |theirs|: float32
# sums of up to 4096 terms through 24 layers, in another order.
LOGITS_TOLERANCE = 1e-5
LENGTHS = (23, 11, 3)  # of the padded batch's prompts, in tokens
BINGREL_SENTENCES = 20_000
# Rare in BINGREL, so taken on purpose: a CJK character, a word of more than 100 characters.
HARD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|\S{101}")
VOCABULARY_SIZES = {False: 28_996, True: 30_522}  # cased, uncased: as published
CHUNK = 1000  # texts that are encoded at once
SEED = 0


@dataclass(frozen=True)
class Shape:
    """The sizes of a published checkpoint."""

    layers: int
    width: int
    vocabulary: int

    def config(self) -> BertConfig:
        return BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.width // 64,
            intermediate_size=4 * self.width,
        )


SHAPES = {
    "bert-base-uncased": Shape(12, 768, 30_522),
    "bert-large-uncased": Shape(24, 1024, 30_522),
    "bert-base-cased": Shape(12, 768, 28_996),
    "bert-large-cased": Shape(24, 1024, 28_996),
    "bert-base-multilingual-uncased": Shape(12, 768, 105_879),
    "bert-base-multilingual-cased": Shape(12, 768, 119_547),
    "bert-base-chinese": Shape(12, 768, 21_128),
}
assert SHAPES.keys() == HUB_NAMES.keys()


# --- logits ----------------------------------------------------------------------------------


def write_checkpoint(folder: Path, shape: Shape, seed: int) -> BertForMaskedLM:
    """A random model of that shape, written by Hugging Face, with a vocabulary of its size."""
    torch.manual_seed(seed)
    model = BertForMaskedLM._from_config(shape.config(), attn_implementation="eager").eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # biases and LayerNorms, which start as 0 and 1
            parameter.data += 0.1 * torch.randn_like(parameter)
        assert parameter.count_nonzero() > 0, name
    model.save_pretrained(folder)
    fillers = (f"token{index}" for index in range(shape.vocabulary - len(SPECIAL_TOKENS)))
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *fillers]) + "\n")
    return model


def batches(shape: Shape, seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """ids (B, T) and mask (B, T) of the two batches that are compared."""
    generator = torch.Generator().manual_seed(seed)
    B, T = len(LENGTHS), max(LENGTHS)
    ids = torch.randint(shape.vocabulary, (B, T), generator=generator)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]  # (B, T)
    return {"unpadded": (ids, None), "padded": (ids.where(mask, 0), mask)}


@torch.no_grad()
def logits_error(shape: Shape, seed: int = SEED) -> dict[str, float]:
    """Relative error of our logits on each batch; see LOGITS_TOLERANCE for the definition."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = write_checkpoint(Path(folder), shape, seed)
        expected = {
            name: theirs(ids, attention_mask=None if mask is None else mask.long()).logits
            for name, (ids, mask) in batches(shape, seed).items()
        }
        del theirs
        ours = from_pretrained(folder).model
        errors = {}
        for name, (ids, mask) in batches(shape, seed).items():
            gap = (ours(ids, mask) - expected[name]).abs().max()
            errors[name] = float(gap / expected[name].abs().max())
    return errors


# --- ids -------------------------------------------------------------------------------------


def read_prompts(data: Path) -> list[str]:
    """Every prompt of PARAREL: for each pair, in order, each pattern with head and [MASK]."""
    pairs = json.loads((data / "pararel" / "query_pairs.json").read_text(encoding="utf-8"))
    prompts = []
    for relation, facts in pairs.items():
        lines = (data / "pararel" / "patterns" / f"{relation}.jsonl").read_text(encoding="utf-8")
        patterns = [json.loads(line)["pattern"] for line in lines.splitlines() if line.strip()]
        masked = [pattern.replace("[Y]", "[MASK]") for pattern in patterns]
        prompts += [pattern.replace("[X]", head) for head, _ in facts for pattern in masked]
    return prompts


def read_sentences(data: Path, at_most: int, seed: int = SEED) -> list[str]:
    """BINGREL sentences: all with CJK or an over-long word, the rest a seeded choice."""
    hard, others = [], []
    for path in sorted((data / "bingrel").glob("final_distant_allbags_*_new.json")):
        for fact in json.loads(path.read_text(encoding="utf-8")):
            for sentence in fact["th_bags"] + fact["h_bags"]:
                (hard if HARD.search(sentence) else others).append(sentence)
    return hard + random.Random(seed).sample(others, min(at_most - len(hard), len(others)))


def train_vocabulary(texts: Iterable[str], lowercase: bool, size: int) -> dict[str, int]:
    """A WordPiece vocabulary of those texts, special tokens first."""
    start = Tokenizer({token: index for index, token in enumerate(SPECIAL_TOKENS)}, lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = start._fast.normalizer, start._fast.pre_tokenizer
    trained.train_from_iterator((text.replace("[MASK]", " ") for text in texts), trainer)
    return trained.get_vocab()


def id_mismatches(
    texts: list[str], vocabulary: dict[str, int], lowercase: bool, literal_every: int = 1
) -> dict[str, list[str]]:
    """The texts for which our ids, from a vocab.txt, are not those of each other tokenizer.

    literal_every: compare with the slow literal twin on every so many texts only.
    """
    with tempfile.TemporaryDirectory() as folder:
        by_id = sorted(vocabulary, key=vocabulary.get)
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(by_id) + "\n", encoding="utf-8")
        ours = Tokenizer.from_vocab_file(path, lowercase)
        theirs = BertTokenizer.from_pretrained(folder, do_lower_case=lowercase)
    ids_only = {"return_attention_mask": False, "return_token_type_ids": False}
    wrong = {"BertTokenizer": [], "literal": []}
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        got, expected = ours.encode_batch(chunk), theirs(chunk, **ids_only)["input_ids"]
        for text, ids, their_ids in zip(chunk, got, expected, strict=True):
            if ids != their_ids:
                wrong["BertTokenizer"].append(text)
        for text, ids in list(zip(chunk, got, strict=True))[::literal_every]:
            if ids != [vocabulary[t] for t in literal.tokenize(text, vocabulary, lowercase)]:
                wrong["literal"].append(text)
    return wrong


# --- the command -----------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="PARAREL and BINGREL as fetched")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES), metavar="NAME")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    host = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {host}, float32")
    report = {"tolerance": LOGITS_TOLERANCE, "logits": {}, "tokenizer": {}}

    print(f"\n{'shape':<32}{'unpadded':>12}{'padded':>12}{'seconds':>10}")
    for name in args.shapes:
        start = time.perf_counter()
        errors = logits_error(SHAPES[name], args.seed)
        report["logits"][name] = max(errors.values())
        columns = "".join(f"{errors[batch]:>12.1e}" for batch in ("unpadded", "padded"))
        print(f"{name:<32}{columns}{time.perf_counter() - start:>10.1f}", flush=True)

    if args.data:
        prompts = read_prompts(args.data)
        texts = prompts + read_sentences(args.data, BINGREL_SENTENCES, args.seed)
        print(f"\n{len(prompts):,} prompts and {len(texts) - len(prompts):,} sentences")
        print(
            f"{'tokenizer':<14}{'vocabulary':>12}{'BertTokenizer':>16}{'literal':>10}{'seconds':>10}"
        )
        for lowercase, size in VOCABULARY_SIZES.items():
            kind = "uncased" if lowercase else "cased"
            start = time.perf_counter()
            vocabulary = train_vocabulary(prompts, lowercase, size)
            wrong = id_mismatches(texts, vocabulary, lowercase)
            counts = {against: len(mismatches) for against, mismatches in wrong.items()}
            report["tokenizer"][kind] = {"texts": len(texts), "vocabulary": len(vocabulary)} | {
                f"mismatches_{against}": count for against, count in counts.items()
            }
            columns = f"{len(vocabulary):>12,}{counts['BertTokenizer']:>16}{counts['literal']:>10}"
            print(f"{kind:<14}{columns}{time.perf_counter() - start:>10.1f}", flush=True)
            for against, mismatches in wrong.items():
                for text in mismatches[:5]:
                    print(f"  differs from {against}: {text!r}")

    within = all(error <= LOGITS_TOLERANCE for error in report["logits"].values())
    same = all(
        not count
        for counts in report["tokenizer"].values()
        for key, count in counts.items()
        if key.startswith("mismatches")
    )
    report["ok"] = within and same
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
