"""Who has one prompt only: how much of a fact's neurons does it find, and what helps?

The truth is what the *other* wordings of the fact refine to, k neurons.  A way of asking gives
scores for one prompt; its precision is the share of its k strongest neurons that are among those k.

- one prompt, as it is;
- smoothed: its scores averaged over noisy copies of the model (`attribution.smoothing`);
- two, three wordings: the mean of its scores and those of the next prompts, which then are not
  among the others;
- rewordings: the mean with automatic ones, the prompt in frames that say nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.fact_scores import Engine, batches
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.attribution.triplets import check_finite, kept_triplets
from knowledge_neurons.neurons import refine
from knowledge_neurons.results.single_prompt import SingleRecord
from knowledge_neurons.types import Fact, Neuron, Prompt

FEWEST_OTHERS = 3  # prompts that refine to the truth
# Frames around a prompt that leave what it asks as it was.
FRAMES = ("It is well known: {}", "As everybody says, {}", "In short: {}")


@dataclass(frozen=True)
class Settings:
    """smoothings: ways to smooth.  wordings: how many are joined, each number a way.

    rewordings: whether frames are tried.
    """

    smoothings: tuple[Smoothing, ...] = (Smoothing(8, 0.05), Smoothing(8, 0.1))
    wordings: tuple[int, ...] = (2, 3)
    rewordings: bool = True


Encode = Callable[[Sequence[str]], list[Prompt]]  # texts -> prompts asked for the fact's answer


def study(
    engine: Engine, fact: Fact, encode: Encode, settings: Settings, prompt: int = 0
) -> list[SingleRecord]:
    """A record for each way of asking one prompt of a fact.

    encode: makes prompts of texts.  prompt: which, from 0.  Empty where too few others are left, or
    they refine to nothing.
    """
    texts = [*fact.prompts[prompt:], *fact.prompts[:prompt]]
    most = max(settings.wordings, default=1)
    if len(texts) < most + FEWEST_OTHERS:
        return []
    prompts = encode(texts)
    truth = _refined(engine, prompts[most:])
    if not truth:
        return []
    found = []

    def note(way: str, ask: Callable[[], Tensor]) -> None:
        started = time.process_time()
        scores = ask()  # (L, F)
        seconds = time.process_time() - started
        best = scores.flatten().topk(len(truth)).indices.tolist()
        chosen = {Neuron(*divmod(place, scores.shape[1])) for place in best}
        precision = len(chosen & truth) / len(truth)
        found.append(
            SingleRecord(fact.relation, fact.index, prompt, way, len(truth), precision, seconds)
        )

    note("one prompt", lambda: _mean(engine, prompts[:1]))
    for smoothing in settings.smoothings:
        some = replace(engine, settings=replace(engine.settings, smoothing=smoothing))
        note(str(smoothing), lambda some=some: _mean(some, prompts[:1]))
    if settings.rewordings:
        framed = [texts[0], *(frame.format(texts[0]) for frame in FRAMES)]
        note(f"in {len(FRAMES)} frames too", lambda: _mean(engine, encode(framed)))
    for count in settings.wordings:
        note(f"{count} wordings", lambda n=count: _mean(engine, prompts[:n]))
    return found


def _scores(engine: Engine, prompts: Sequence[Prompt]) -> Tensor:
    """Of each prompt, those of one length together: (P, L, F)."""
    planned = list(batches(engine, prompts))
    found = torch.cat([dense["of_answer"] for _, dense, _ in dense_scores(engine, planned)])
    check_finite(found)
    return found


def _mean(engine: Engine, prompts: Sequence[Prompt]) -> Tensor:
    """The mean score of prompts: (L, F)."""
    return _scores(engine, prompts).mean(0)


def _refined(engine: Engine, prompts: Sequence[Prompt]) -> set[Neuron]:
    """What the prompts refine to, at the paper's thresholds."""
    t, p = refine.THRESHOLDS.coarse, refine.THRESHOLDS.shared
    layers = engine.scheme.layers
    triplets = kept_triplets(_scores(engine, prompts)[:, layers], t, layers[0])
    counts = refine.count_coarse(triplets, t)
    return set(refine.refine_fact(counts, p, min(refine.THRESHOLDS.min_prompts, len(prompts))))
