#!/usr/bin/env python
"""Perplexity of many prompts: batched as stages 6 and 7 read them, and one at a time padded to 128.

    OMP_NUM_THREADS=2 python -m benchmarks.editing      # half a minute on 2 cores

bert-base-cased's shape with random weights, 2,000 prompts of 7 to 16 tokens (mean 10) of random
ids, float32.  The slow side is the literal twin in tests/reference/edits.py: the whole network over
each prompt padded to 128 tokens, the head at [MASK] alone, as in the released code.  It is timed on
a sample of SLOW prompts and its time for all is extrapolated.  The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time

import torch

from benchmarks.random_models import BERT_BASE, random_bert
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.results.metrics import perplexity
from knowledge_neurons.types import Prompt
from tests.reference import edits as literal

LENGTHS = (7, 8, 8, 9, 9, 10, 10, 10, 11, 12, 16)  # tokens of the prompts, in turn; mean 10
PROMPTS, PADDED_TO, SLOW, SEED = 2000, 128, 40, 0
# Largest relative difference of the perplexity of the sample: float32 sums in another order.
TOLERANCE = 1e-4


def random_prompts(vocabulary: int, seed: int) -> list[Prompt]:
    """Random ids with [MASK] somewhere inside and a random right answer."""
    rng = random.Random(seed)
    prompts = []
    for number in range(PROMPTS):
        length = LENGTHS[number % len(LENGTHS)]
        ids = tuple(rng.randrange(vocabulary) for _ in range(length))
        prompts.append(Prompt(ids, rng.randrange(1, length - 1), rng.randrange(vocabulary)))
    return prompts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    host = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {host}, float32")
    model, prompts = random_bert(BERT_BASE, SEED), random_prompts(BERT_BASE.vocab_size, SEED)
    mean = sum(len(p.ids) for p in prompts) / len(prompts)
    sample = random.Random(SEED).sample(prompts, SLOW)
    Reader(model, sample).read()  # warm
    literal.perplexity(model, sample[:3], PADDED_TO)

    started = time.perf_counter()
    theirs = literal.perplexity(model, sample, PADDED_TO)
    slow = (time.perf_counter() - started) / SLOW
    started = time.perf_counter()
    ours = perplexity(Reader(model, prompts).read().log_probabilities)
    fast = (time.perf_counter() - started) / PROMPTS
    again = perplexity(Reader(model, sample).read().log_probabilities)
    error = abs(again / theirs - 1)

    print(f"{PROMPTS} prompts, {min(LENGTHS)} to {max(LENGTHS)} tokens, mean {mean:.2f}")
    print(f"{'one at a time, padded':<24}{1000 * slow:9.2f} ms a prompt ({SLOW} of them timed)")
    print(f"{'batched':<24}{1000 * fast:9.2f} ms a prompt (all, batches made included)")
    print(f"perplexity {ours:.1f}; of the sample {again:.4f} and {theirs:.4f}")
    report = {
        "perplexity_ratio": round(slow / fast, 2),
        "seconds_batched": round(fast * PROMPTS, 2),
        "seconds_one_at_a_time_extrapolated": round(slow * PROMPTS, 1),
        "prompts": PROMPTS,
        "prompts_timed_one_at_a_time": SLOW,
        "mean_tokens": round(mean, 3),
        "padded_to": PADDED_TO,
        "threads": torch.get_num_threads(),
        "relative_difference": error,
        "ok": error <= TOLERANCE,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
