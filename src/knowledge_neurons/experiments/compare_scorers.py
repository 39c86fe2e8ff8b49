"""Scorers compared on the same prompts: cost, agreement with the truth, what their best neurons do.

The truth is zero-out: how much of P(answer) goes with a neuron alone.  It and the log-probability
scorer cost a pass or a head a neuron, so they score the *candidates* of a prompt alone: the
strongest of every other scorer, and some random neurons.

- agreement: Spearman's rank correlation with zero-out over the candidates;
- deletion: P(answer) with the k strongest off, for each k; insertion: with only the strongest share
  of all neurons on.  Both as shares of P; scorers of candidates alone have no insertion;
- overlap: share of the fact's refined neurons among as many strongest of the scorer.

All this is of the layers that are scored; others, a decoder's lowest, are in no order and stay on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from knowledge_neurons.attribution.scorers import (
    ONE_BY_ONE,
    SCORERS,
    ZERO_OUT,
    probability_with,
)
from knowledge_neurons.attribution.settings import layers_of
from knowledge_neurons.attribution.triplets import check_finite
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass
from knowledge_neurons.results.scorers import ScorerRecord
from knowledge_neurons.types import Fact, Neuron, Prompt

TRUTH = ZERO_OUT
MEMORY = 1 << 28  # bytes


@dataclass(frozen=True)
class Settings:
    """scorers: names of SCORERS.  ks: neurons switched off.  shares: of all neurons, kept on.

    strongest: candidates that each scorer names; random: candidates drawn.
    wordings: prompts of a fact.  layers: the first and the last, None: those that stage 1 scores.
    """

    scorers: tuple[str, ...] = tuple(SCORERS)
    ks: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    shares: tuple[float, ...] = (0.01, 0.05, 0.2)
    strongest: int = 20
    random: int = 100
    wordings: int = 2
    layers: tuple[int, int] | None = None

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
    layers, width = layers_of(model, settings.layers), model.shape.neurons
    own = [layer * width + index for layer, index in refined]
    records = []
    for number, prompt in enumerate(prompts[: settings.wordings]):
        batch = batching.collate([prompt], [0], model.device)
        clean = passes.clean_pass(model, batch)
        rng = random.Random(f"{seed} {fact.relation} {fact.index} {number} candidates")
        dense, seconds = _dense(model, clean, settings)
        orders = {name: _order(scores, layers) for name, scores in dense.items()}
        candidates = _candidates(model, orders, settings, rng, layers)  # (N,) places
        some = {name: scores.flatten()[candidates] for name, scores in dense.items()}
        neurons = [Neuron(*divmod(place, width)) for place in candidates.tolist()]
        for name, score in ONE_BY_ONE.items():
            if name in settings.scorers or name == TRUTH:
                started = time.process_time()
                some[name] = score(model, clean, batch.answers, neurons, MEMORY)[0]
                seconds[name] = time.process_time() - started
                check_finite(some[name])
                orders[name] = candidates[some[name].argsort(descending=True, stable=True)]
        curves = _Curves(model, clean, settings, layers)
        for name in settings.scorers:
            order, strongest = orders[name], set(orders[name][: len(own)].tolist())
            records.append(
                ScorerRecord(
                    *(fact.relation, fact.index, number, name, seconds[name]),
                    dense[name].numel() if name in dense else len(candidates),
                    _agreement(some[name], some[TRUTH]) if name != TRUTH else None,
                    curves.deletion(order),
                    curves.insertion(order) if name in dense else [],
                    len(strongest & {*own}) / len(own) if own else None,
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


def _order(scores: Tensor, layers: range) -> Tensor:
    """The places of some layers' neurons in flat scores (L, F), the highest first."""
    below = layers.start * scores.shape[1]
    own = scores[layers.start : layers.stop]
    return below + own.flatten().argsort(descending=True, stable=True)


def _candidates(
    model: Network, orders: dict[str, Tensor], settings: Settings, rng: random.Random, layers: range
) -> Tensor:
    """The places of the strongest of every scorer, and of random neurons: (N,) ascending."""
    chosen = {one for order in orders.values() for one in order[: settings.strongest].tolist()}
    every = range(*(layer * model.shape.neurons for layer in (layers.start, layers.stop)))
    chosen |= {*rng.sample(every, min(settings.random, len(every)))}
    return torch.tensor(sorted(chosen), device=model.device)


def _agreement(scores: Tensor, truth: Tensor) -> float | None:
    """Spearman's rank correlation; None where either ranks nothing."""
    found = float(stats.spearmanr(scores.cpu(), truth.cpu()).statistic)
    return None if found != found else found


class _Curves:
    """What the strongest neurons do, off or alone on, as shares of P(answer)."""

    def __init__(self, model: Network, clean: CleanPass, settings: Settings, layers: range):
        self._model, self._clean, self._settings = model, clean, settings
        self._layers = layers
        self._p = clean.probabilities[0, clean.batch.answers[0]].item()

    def deletion(self, order: Tensor) -> list[float]:
        """With the k strongest off, for each k.  order: (N,) places, the strongest first."""
        return self._with(order, self._settings.ks, on=False)

    def insertion(self, order: Tensor) -> list[float]:
        """With only the strongest share on."""
        counts = [max(1, round(share * len(order))) for share in self._settings.shares]
        return self._with(order, counts, on=True)

    def _with(self, order: Tensor, counts: Sequence[int], on: bool) -> list[float]:
        shape, layers = self._model.shape, self._layers
        kept = torch.ones(len(counts), shape.layers, shape.neurons, device=order.device).bool()
        kept[:, layers.start : layers.stop] = not on
        for row, count in enumerate(counts):
            kept[row].view(-1)[order[:count]] = on
        tokens = self._clean.batch.answers
        p = probability_with(self._model, self._clean, tokens, kept, MEMORY)
        return (p / self._p).tolist()
