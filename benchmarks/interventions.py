#!/usr/bin/env python
"""Stages 3 and 4 against one text at a time, padded: time and memory, at bert-base's sizes.

    python -m benchmarks.interventions                           # 5 minutes on 2 cores
    python -m benchmarks.interventions --data ../shared/data     # sentence lengths measured afresh

Random weights in bert-base-cased's shapes, two threads, float32.  The released procedure runs one
prompt at a time, padded to 128 tokens, through the whole network three times: as it is, with the
neurons suppressed, amplified; and one sentence at a time, padded to 512.  Ours runs the same
prompts and sentences through `experiments`, in the batches that a stage forms.  What lies between
is measured too: no padding; batches of one length; and what only our stages do, start edits at the
lowest neuron and stop reading at the highest.

Prompts have 7 to 16 tokens, 10 on average (PARAREL's, 6 to 22 and 10.5).  Sentences are as long as
BINGREL's under a WordPiece vocabulary of BERT's size trained on PARAREL's prompts (LENGTHS: their
percentiles).  A fact has four neurons, in the layers where an implementation of the method found
them in a real BERT (PROFILE), its baseline four more, anywhere.

Times are medians over --repeats; peak_gib is the largest growth of a process that runs ours alone,
with an allocator that gives back at once what is freed (else glibc keeps up to 0.4 GiB more).  The
last line is JSON; the exit status is 1 if a ratio misses its goal or the peak the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.random_models import BERT_BASE, random_bert
from knowledge_neurons.experiments import distant_activation, modify_activation
from knowledge_neurons.experiments.distant_activation import neuron_activations
from knowledge_neurons.experiments.modify_activation import (
    AMPLIFY,
    SUPPRESS,
    answer_probabilities,
)
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import NO_ANSWER, Edit, Neuron, Prompt

THREADS = 2
STAGE_3_GOAL, STAGE_4_GOAL = 15, 12
PADDED_PROMPT, PADDED_SENTENCE = 128, 512
PROMPTS_PER_FACT, SENTENCES_PER_FACT = 9, 28  # 9 on average; 8 and 10 of BINGREL's, 10 random
PROMPT_LENGTHS = (7, 8, 8, 9, 9, 10, 10, 10, 11, 11, 12, 16)  # tokens
# Tokens of BINGREL's sentences: percentiles 0, 5, 10 ... 100 of 40,000 of them (mean 42).
LENGTHS = (4, 11, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45, 49, 52, 56, 61, 66, 73, 85, 187)
# Share of the neurons in each layer of bert-base-uncased, lowest first (27,610 facts).
PROFILE = (*[0.059 / 7] * 7, 0.101, 0.137, 0.206, 0.257, 0.240)
NEURONS_PER_FACT = 4
STAGE_4_FACTS = 32  # half of a stage's group, so that this ends: its batches are larger
REFERENCE_TEXTS = 6  # that the slow procedures run on; each takes the same time whatever it says
SEED = 0


def random_prompt(length: int, answer: int, rng: random.Random) -> Prompt:
    ids = [rng.randrange(200, BERT_BASE.vocab_size) for _ in range(length)]
    position = rng.randrange(1, length - 1)
    ids[0], ids[position], ids[-1] = 101, 103, 102
    return Prompt(tuple(ids), position, answer)


def random_neurons(profile: Sequence[float] | None, rng: random.Random) -> list[Neuron]:
    """A fact's neurons; anywhere where profile is None."""
    layers = rng.choices(range(BERT_BASE.num_hidden_layers), profile, k=NEURONS_PER_FACT)
    return [Neuron(layer, rng.randrange(BERT_BASE.intermediate_size)) for layer in layers]


def measured_lengths(data: Path) -> list[float]:
    """Percentiles 0, 5 ... 100 of the tokens of 40,000 BINGREL sentences."""
    from benchmarks import parity

    vocabulary = parity.train_vocabulary(
        parity.read_prompts(data), lowercase=False, size=BERT_BASE.vocab_size
    )
    encoded = Tokenizer(vocabulary, lowercase=False).encode_batch(
        parity.read_sentences(data, at_most=40_000)
    )
    lengths = [min(len(ids), PADDED_SENTENCE) for ids in encoded]
    print(f"{len(lengths)} BINGREL sentences: {np.mean(lengths):.1f} tokens on average")
    return np.percentile(lengths, range(0, 101, 5)).tolist()


# --- the released procedure, and what lies between ------------------------------------------------
@torch.no_grad()
def whole_pass(
    model: BertNetwork, prompts: Sequence[Prompt], edits: Sequence[Edit], padded: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every layer and position of prompts of one length: probabilities (B, V), neurons (B, L, F).

    padded: tokens to fill each up to, masked out; None for none.
    """
    length = padded or len(prompts[0].ids)
    ids = torch.tensor([[*p.ids, *[0] * (length - len(p.ids))] for p in prompts])
    mask = None
    if padded:
        mask = torch.arange(length) < torch.tensor([len(p.ids) for p in prompts])[:, None]
    rows, at = torch.arange(len(prompts)), torch.tensor([p.mask_position for p in prompts])
    x, read = model.embed(ids), []
    for index, layer in enumerate(model.layers):
        x = layer.attend(x, mask=mask)
        w = layer.ffn_in(x)
        for row, edit in enumerate(edits):
            for neuron in edit.neurons:
                if neuron.layer == index:
                    w[row, at[row], neuron.index] *= edit.factor
        read.append(w[rows, at])
        x = layer.ffn_out(w, x)
    return model.head(x[rows, at]).softmax(-1), torch.stack(read, dim=1)


def three_passes(
    model: BertNetwork,
    prompts: Sequence[Prompt],
    own: Sequence[Sequence[Neuron]],
    padded: int | None,
) -> list[list[float]]:
    """P(answer) as it is, suppressed and amplified, by a whole pass each."""
    columns = []
    for factor in (1.0, SUPPRESS, AMPLIFY):
        edits = [Edit(tuple(neurons), factor) for neurons in own]
        p, _ = whole_pass(model, prompts, edits, padded)
        columns.append([p[row, prompt.answer].item() for row, prompt in enumerate(prompts)])
    return [list(row) for row in zip(*columns, strict=True)]


def one_reading(
    model: BertNetwork,
    prompts: Sequence[Prompt],
    own: Sequence[Sequence[Neuron]],
    padded: int | None,
) -> list[list[float]]:
    """The neurons' activations by a whole pass."""
    _, read = whole_pass(model, prompts, (), padded)
    return [
        [read[row, layer, index].item() for layer, index in neurons]
        for row, neurons in enumerate(own)
    ]


Pass = Callable[[BertNetwork, Sequence[Prompt], Sequence[Sequence[Neuron]], int | None], list]
Way = Callable[[BertNetwork, Sequence[Prompt], Sequence[Sequence[Neuron]]], list]


def singly(procedure: Pass, padded: int | None) -> Way:
    """The procedure on one text after the other."""

    def run(model, prompts, own):
        pairs = zip(prompts, own, strict=True)
        return [procedure(model, [prompt], [neurons], padded)[0] for prompt, neurons in pairs]

    return run


def in_batches(procedure: Pass, memory: int, cost: Callable[[int], int]) -> Way:
    """The procedure on batches of one length."""

    def run(model, prompts, own):
        found = {}
        for batch in batching.plan(prompts, memory, cost):
            chosen = [prompts[place] for place in batch.order]
            rows = procedure(model, chosen, [own[place] for place in batch.order], None)
            found |= dict(zip(batch.order, rows, strict=True))
        return [found[place] for place in range(len(prompts))]

    return run


class Case(NamedTuple):
    """Texts with their neurons, and the ways to do a stage's work on them, ours first."""

    title: str
    ways: dict[str, Way]
    prompts: list[Prompt]
    own: list[list[Neuron]]


# --- measuring ---------------------------------------------------------------------------------
def growth_of(work: Callable[[], object]) -> float:
    """By how many GiB the process grew at most while it did the work (Linux)."""
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

    def kilobytes(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])

    before = kilobytes("VmRSS")
    work()
    return (kilobytes("VmHWM") - before) / 2**20


def peak_of(stage: int) -> float:
    """Growth in a process of its own, without what the allocator keeps for later."""
    command = [sys.executable, __file__, "--peak_of", str(stage)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(ended.stdout)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(case: Case, model: BertNetwork, repeats: int) -> dict[str, float]:
    """Median seconds a text of each way, which must all find what ours does.

    The ways that take one text at a time run on a few of them.  The ways take turns, so that what
    else the machine does meets all of them.
    """
    title, ways, prompts, own = case
    few = range(0, len(prompts), len(prompts) // REFERENCE_TEXTS)
    expected = ways["ours"](model, prompts, own)
    works, texts = {}, {}
    for name, way in ways.items():
        places = few if name.startswith("one at a time") else range(len(prompts))
        work = partial(way, model, [prompts[i] for i in places], [own[i] for i in places])
        for row, place in zip(work(), places, strict=True):  # the warm-up too
            np.testing.assert_allclose(row, expected[place], atol=1e-5, rtol=1e-4)
        works[name], texts[name] = work, len(places)
    times = [{name: seconds_of(work) for name, work in works.items()} for _ in range(repeats)]
    seconds = {
        name: statistics.median(turn[name] for turn in times) / count
        for name, count in texts.items()
    }
    tokens = np.mean([len(prompt.ids) for prompt in prompts])
    print(f"{title}: {len(prompts)} texts of {tokens:.1f} tokens", flush=True)
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:<38}{1000 * value:>9.1f} ms{value / seconds['ours']:>8.1f} x ours")
    return seconds


def stage_3(model: BertNetwork) -> Case:
    """A group of facts asked their own prompts, as a stage does it for one kind of neurons."""
    rng = random.Random(SEED)
    sets = [random_neurons(PROFILE, rng) for _ in range(modify_activation.GROUP)]
    own = [neurons for neurons in sets for _ in range(PROMPTS_PER_FACT)]
    answers = range(1000, 1000 + len(own))
    prompts = [random_prompt(rng.choice(PROMPT_LENGTHS), answer, rng) for answer in answers]

    def ours(model, prompts, own):
        edits = [[Edit(tuple(n), factor) for factor in (SUPPRESS, AMPLIFY)] for n in own]
        return answer_probabilities(model, prompts, edits)

    cost = partial(passes.pass_bytes, model)
    ways = {
        "ours": ours,
        "batches of one length, whole passes": in_batches(
            three_passes, modify_activation.MEMORY, cost
        ),
        "one at a time, not padded": singly(three_passes, None),
        f"one at a time, padded to {PADDED_PROMPT}": singly(three_passes, PADDED_PROMPT),
    }
    return Case("Stage 3", ways, prompts, own)


def stage_4(model: BertNetwork, percentiles: Sequence[float] = LENGTHS) -> Case:
    """A group of facts' sentences, read for both kinds of neurons at once, as a stage does it."""
    rng = random.Random(SEED)
    sets = [random_neurons(PROFILE, rng) + random_neurons(None, rng) for _ in range(STAGE_4_FACTS)]
    own = [neurons for neurons in sets for _ in range(SENTENCES_PER_FACT)]
    quantiles = [100 * rng.random() for _ in own]
    lengths = np.interp(quantiles, np.linspace(0, 100, len(percentiles)), percentiles)
    prompts = [random_prompt(round(length), NO_ANSWER, rng) for length in lengths]
    cost = partial(passes.pass_bytes, model)
    ways = {
        "ours": neuron_activations,
        "batches of one length, whole passes": in_batches(
            one_reading, distant_activation.MEMORY, cost
        ),
        "one at a time, not padded": singly(one_reading, None),
        f"one at a time, padded to {PADDED_SENTENCE}": singly(one_reading, PADDED_SENTENCE),
    }
    return Case("Stage 4", ways, prompts, own)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="PARAREL and BINGREL as fetched")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write the last line there too, with the host")
    parser.add_argument("--peak_of", type=int, choices=(3, 4), help="print that stage's peak alone")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    model = random_bert(BERT_BASE, SEED)
    if args.peak_of:
        case = {3: stage_3, 4: stage_4}[args.peak_of](model)
        print(growth_of(partial(case.ways["ours"], model, case.prompts, case.own)))
        return 0
    percentiles = measured_lengths(args.data) if args.data else LENGTHS
    peaks = {stage: peak_of(stage) for stage in (3, 4)}
    three = compare(stage_3(model), model, args.repeats)
    four = compare(stage_4(model, percentiles), model, args.repeats)
    padded = "one at a time, padded to {}"
    report = {
        "stage3_ratio": round(three[padded.format(PADDED_PROMPT)] / three["ours"], 1),
        "stage4_ratio": round(four[padded.format(PADDED_SENTENCE)] / four["ours"], 1),
        "peak_gib": round(max(peaks.values()), 3),
        "budget_gib": max(modify_activation.MEMORY, distant_activation.MEMORY) / 2**30,
    }
    print(f"peak of stage 3 {peaks[3]:.2f} GiB, of stage 4 {peaks[4]:.2f} GiB")
    if args.output:
        detail = {"command": " ".join(sys.argv), "threads": THREADS, "made_with": environment()}
        seconds = {"stage_3_seconds_a_prompt": three, "stage_4_seconds_a_sentence": four}
        write_json(args.output, report | seconds | detail, readable=True)
    print(json.dumps(report))
    fast = report["stage3_ratio"] >= STAGE_3_GOAL and report["stage4_ratio"] >= STAGE_4_GOAL
    return 0 if fast and report["peak_gib"] <= report["budget_gib"] else 1


if __name__ == "__main__":
    sys.exit(main())
