"""Scorers compared on the same prompts: cost, agreement with the truth, what their best neurons do.

The truth is zero-out: how much of P(answer) goes with a neuron alone.  It and the log-probability
scorer cost a pass or a head a neuron, so they score the *candidates* of a prompt alone: the
strongest of every other scorer, and as many random neurons.

- agreement: Spearman's rank correlation with zero-out over the candidates;
- deletion: P(answer) with the k strongest off, for each k; insertion: with only the strongest share
  of all neurons on.  Both as shares of P; scorers of candidates alone have no insertion;
- overlap: share of the fact's refined neurons among as many strongest of the scorer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from knowledge_neurons.attribution.scorers import ONE_BY_ONE, SCORERS, probability_with
from knowledge_neurons.attribution.triplets import check_finite
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass
from knowledge_neurons.results.scorers import ScorerRecord
from knowledge_neurons.types import Fact, Neuron, Prompt

TRUTH = "zero-out"
MEMORY = 1 << 28  # bytes


@dataclass(frozen=True)
class Settings:
    """scorers: names of SCORERS.  ks: neurons switched off.  shares: of all neurons, kept on.

    strongest: candidates that each scorer names; random: candidates drawn.
    wordings: prompts of a fact.
    """

    scorers: tuple[str, ...] = tuple(SCORERS)
    ks: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    shares: tuple[float, ...] = (0.01, 0.05, 0.2)
    strongest: int = 20
    random: int = 100
    wordings: int = 2

    def __post_init__(self):
        if unknown := [name for name in self.scorers if name not in SCORERS]:
            raise ValueError(f"scorer {unknown[0]!r}: expected some of {', '.join(SCORERS)}")
        if not self.scorers or min(*self.ks, 1) < 1 or not all(0 < x <= 1 for x in self.shares):
            raise ValueError("expected scorers, ks of 1 or more, and shares above 0, at most 1")


def compare(
    model: Network,
    fact: Fact,
    prompts: Sequence[Prompt],
    refined: Sequence[Neuron],
    settings: Settings,
    seed: int,
) -> list[ScorerRecord]:
    """A record for each of some prompts of a fact and each scorer.

    refined: the fact's neurons, from all its prompts.  seed: of the random candidates, with the
    fact's relation and index.
    """
    records = []
    for place, prompt in enumerate(prompts[: settings.wordings]):
        batch = batching.collate([prompt], [0], model.device)
        clean = passes.clean_pass(model, batch)
        rng = random.Random(f"{seed} {fact.relation} {fact.index} {place} candidates")
        dense, seconds = _dense(model, clean, settings)
        candidates = _candidates(model, dense, settings, rng)
        some = {
            name: scores[tuple(zip(*candidates, strict=True))] for name, scores in dense.items()
        }
        for name, score in ONE_BY_ONE.items():
            if name in settings.scorers or name == TRUTH:
                started = time.process_time()
                some[name] = score(model, clean, batch.answers, candidates, MEMORY)[0]
                seconds[name] = time.process_time() - started
                check_finite(some[name])
        curves = _Curves(model, clean, settings)
        for name in settings.scorers:
            order = _order(candidates, some[name]) if name not in dense else _strongest(dense[name])
            records.append(
                ScorerRecord(
                    *(fact.relation, fact.index, place, name, seconds[name]),
                    dense[name].numel() if name in dense else len(candidates),
                    _agreement(some[name], some[TRUTH]) if name != TRUTH else None,
                    curves.deletion(order),
                    curves.insertion(order) if name in dense else [],
                    len({*order[: len(refined)]} & {*refined}) / len(refined) if refined else None,
                )
            )
    return records


def _dense(
    model: Network, clean: CleanPass, settings: Settings
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Scores (L, F) of the scorers that score every neuron, and processor seconds of each."""
    dense, seconds = {}, {}
    for name in settings.scorers:
        if name not in ONE_BY_ONE:
            started = time.process_time()
            (dense[name],) = SCORERS[name](model, clean, clean.batch.answers, MEMORY)
            seconds[name] = time.process_time() - started
            check_finite(dense[name])
    return dense, seconds


def _candidates(
    model: Network, dense: dict[str, Tensor], settings: Settings, rng: random.Random
) -> list[Neuron]:
    """The strongest of every scorer, and random ones, in order."""
    width = model.shape.neurons
    chosen = {n for scores in dense.values() for n in _strongest(scores)[: settings.strongest]}
    every = range(model.shape.layers * width)
    chosen |= {
        Neuron(*divmod(n, width)) for n in rng.sample(every, min(settings.random, len(every)))
    }
    return sorted(chosen)


def _strongest(scores: Tensor) -> list[Neuron]:
    """All neurons, the highest score first: (L, F) -> L F of them."""
    order = scores.flatten().argsort(descending=True, stable=True).tolist()
    return [Neuron(*divmod(place, scores.shape[1])) for place in order]


def _order(candidates: Sequence[Neuron], scores: Tensor) -> list[Neuron]:
    return [candidates[place] for place in scores.argsort(descending=True, stable=True).tolist()]


def _agreement(scores: Tensor, truth: Tensor) -> float | None:
    """Spearman's rank correlation; None where either ranks nothing."""
    found = float(stats.spearmanr(scores.cpu(), truth.cpu()).statistic)
    return None if found != found else found


class _Curves:
    """What the strongest neurons do, off or alone on, as shares of P(answer)."""

    def __init__(self, model: Network, clean: CleanPass, settings: Settings):
        self._model, self._clean, self._settings = model, clean, settings
        self._p = clean.probabilities[0, clean.batch.answers[0]].item()

    def deletion(self, order: Sequence[Neuron]) -> list[float]:
        """With the k strongest off, for each k."""
        counts = [min(k, len(order)) for k in self._settings.ks]
        return self._with(order, counts, on=False)

    def insertion(self, order: Sequence[Neuron]) -> list[float]:
        """With only the strongest share on."""
        counts = [max(1, round(share * len(order))) for share in self._settings.shares]
        return self._with(order, counts, on=True)

    def _with(self, order: Sequence[Neuron], counts: Sequence[int], on: bool) -> list[float]:
        shape = self._model.shape
        kept = torch.full((len(counts), shape.layers, shape.neurons), not on)
        layers, indices = (torch.tensor(part) for part in zip(*order, strict=True))
        for row, count in enumerate(counts):
            kept[row, layers[:count], indices[:count]] = on
        tokens = self._clean.batch.answers
        p = probability_with(self._model, self._clean, tokens, kept.to(tokens.device), MEMORY)
        return (p / self._p).tolist()
