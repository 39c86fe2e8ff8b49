"""Prompts -> scores, by whatever scorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from knowledge_neurons.attribution import adaptive, fact_scores, quadrature, quadrature_audit
from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.attribution.scorers import IG
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.smoothing import NOISE, Smoothing
from knowledge_neurons.attribution.target import PROBABILITY
from knowledge_neurons.attribution.triplets import check_finite, kept_triplets
from knowledge_neurons.library.judging import Ready
from knowledge_neurons.library.model import Model, own_fact
from knowledge_neurons.library.scores import Kept, Scores
from knowledge_neurons.neurons import refine
from knowledge_neurons.types import Prompt, PromptScores

AT_ONCE = 4  # facts whose every score is held, where thresholds need them all


class Scoring(Model):
    """Scores of prompts."""

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device | None = None):
        super().__init__(model, tokenizer, device)
        self._points: dict[tuple, tuple[int, ...]] = {}  # that calibration allows, by how

    def scores(
        self,
        prompts: Sequence[str],
        answer: str,
        rule: str = "riemann-left",
        steps: int = 20,
        keep: float = refine.KEEP,
        tolerance: float | None = adaptive.TOLERANCE,
        layers: tuple[int, int] | None = None,
        target: str = PROBABILITY,
        scorer: str = IG,
        smooth: int | None = None,
        noise: float = NOISE,
        dense: bool = False,
    ) -> Scores:
        """Attribution of each prompt: equation 4 of the paper, and the activation baseline.

        rule, steps: quadrature of the path.  keep: neurons below this share of the prompt's largest
        score are left out.  tolerance: of a score, as a share of its prompt's largest; layers take
        as few points as promise it: eight at first, fewer once a call of many prompts has shown
        that they do.  None: all.  layers: first and last, None for all but a decoder's lowest.
        target: "probability", or "log-probability" or "logit" where P is near 1 and has no slope.
        scorer: who scores, a name of `attribution.scorers.SCORERS`; rule, steps, tolerance and
        target are of "ig" alone, "zero-out" and "log-probability" ask the model for every neuron.
        smooth: average over so many copies of the model, each weight times N(1, noise^2); None for
        the model as it is.  Of any copies the activations are the model's own.
        dense: keep every score, (L, F) a prompt.
        Returns one PromptScores a prompt: of_answer in `Scores.target`, baseline in activation.
        """
        named = quadrature.rule(rule, steps)
        how = {"target": target, "scorer": scorer, "smoothing": smoothing_of(smooth, noise)}
        settings = Settings(named, tolerance, keep, layers=layers, **how)
        ready = Ready(tuple(prompts), answer, self._encode(prompts, answer))
        engine = self._engine(settings, ready.prompts)
        if dense:
            return self._dense(engine, ready)
        (found,) = self._scored(engine, [ready])
        return found

    # --- how ---

    def _engine(self, settings: Settings, prompts: Sequence[Prompt]) -> Engine:
        """An engine for these prompts, with the points that were found to suffice."""
        engine = fact_scores.prepare(self.model, self.tokenizer, settings)
        if engine.scheme.exact:
            return engine
        how = map(tuple, settings.rule)
        key = (self.state, *how, settings.tolerance, settings.layers, settings.target)
        if key not in self._points and (sample := quadrature_audit.evenly(prompts)):
            self._points[key] = quadrature_audit.calibrate(engine, sample).scheme.first
        if key in self._points:
            return quadrature_audit.calibrated(engine, self._points[key])
        return engine

    def _scored(self, engine: Engine, ready: Sequence[Ready]) -> Iterator[Scores]:
        """The scores of each fact, as they come."""
        size = max(len(ready), 1) if engine.settings.keep else AT_ONCE
        for start in range(0, len(ready), size):
            some = ready[start : start + size]
            facts = [own_fact(one.texts, one.answer) for one in some]
            groups = fact_scores.score_facts(engine, facts, [one.prompts for one in some])
            for own, fact in zip(some, chain.from_iterable(groups), strict=True):
                yield self._scores(engine, own, fact.prompts, fact.points)

    def _scores(
        self, engine: Engine, own: Ready, prompts: Sequence[PromptScores], points: int
    ) -> Scores:
        """What was scored of a fact, with how complete it is."""
        layers, (count, _, width, _) = engine.scheme.layers, self.model.shape
        kept = [Kept.of(one, engine.settings.keep, len(layers) * width) for one in prompts]
        how = engine.settings
        copies = how.smoothing.copies if how.smoothing else 1
        mean = points / len(prompts) / len(layers) / copies
        about = own.texts, own.answer, (count, width), mean
        return Scores(kept, *about, how.unit, scorer=how.scorer, smoothing=how.smoothing)

    def _dense(self, engine: Engine, own: Ready) -> Scores:
        """Scores with all of them, (P, L, F), beside; 0 in layers that are not scored."""
        shape, layers, points = self.model.shape, engine.scheme.layers, 0
        every = np.zeros((len(own.prompts), shape.layers, shape.neurons), np.float32)
        planned = list(fact_scores.batches(engine, own.prompts))
        for clean, dense, evaluated in dense_scores(engine, planned):
            check_finite(dense["of_answer"])
            every[list(clean.batch.order)] = dense["of_answer"].float().cpu().numpy()
            points += int(evaluated.sum())
        # All that is left to ask for.
        settings = replace(engine.settings, of_answer=False, smoothing=None)
        (found,) = self._scored(replace(engine, settings=settings), [own])
        settings = engine.settings
        kept = kept_triplets(torch.from_numpy(every[:, layers]), settings.keep, layers[0])
        rows = zip(found, kept, strict=True)
        prompts = [replace(one, of_answer=triplets) for one, triplets in rows]
        found = self._scores(engine, own, prompts, points)
        found.dense = every
        return found


def smoothing_of(smooth: int | None, noise: float) -> Smoothing | None:
    """What `scores` is told of noise; ValueError where it cannot be."""
    if smooth is not None:
        return Smoothing(smooth, noise)
    if noise != NOISE:
        raise ValueError(f"noise {noise} without smooth, over how many noisy copies to average")
    return None
