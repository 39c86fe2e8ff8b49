"""Scores -> neurons, with what speaks against them said beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from tqdm import tqdm

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.attribution.scorers import IG
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.smoothing import NOISE, Smoothing
from knowledge_neurons.attribution.target import PROBABILITY
from knowledge_neurons.library import judging
from knowledge_neurons.library.found import Asked, Found, FoundMany
from knowledge_neurons.library.judging import Ready
from knowledge_neurons.library.model import pair
from knowledge_neurons.library.scores import Kept, Scores
from knowledge_neurons.library.scoring import Scoring, smoothing_of
from knowledge_neurons.neurons import refine, thresholds
from knowledge_neurons.types import Fact, Neuron, PromptScores

Negative, Question = str | tuple[str, str], tuple[Sequence[str], str]  # each with its answer


class Finding(Scoring):
    """Neurons of facts."""

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device | None = None):
        super().__init__(model, tokenizer, device)
        self._shared: dict[tuple, set[Neuron]] = {}  # by everything, of layers

    def refine(
        self,
        scores: Sequence[PromptScores],
        coarse: float = 0.2,
        shared: float = 0.7,
        min_prompts: int = 3,
        by: str = "share",
        shared_by: str = "share",
        baseline: bool = False,
    ) -> list[Neuron]:
        """The fact's knowledge neurons from the scores of its prompts (section 3.2).

        coarse: t, share of a prompt's largest score; by "absolute" a score in its unit, by
        "percentile" that percentile of all the prompt's scores.  shared: p, share of the prompts;
        shared_by "percentile" of the counts of all neurons that are coarse in any.  A neuron must
        be coarse in at least min_prompts, or in all prompts where there are fewer.
        baseline: of the activations instead, the paper's baseline, at t = 0.5 there.
        Returns the neurons, first seen first; none where the prompts share none.
        Raises ValueError where coarse asks for scores that were not kept.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        counts = Counter(chain.from_iterable(self._coarse(scores, asked, baseline)))
        return _chosen(counts, len(scores), asked)

    def find(
        self,
        prompts: Sequence[str],
        answer: str,
        coarse: float = 0.2,
        shared: float = 0.7,
        min_prompts: int = 3,
        by: str = "share",
        shared_by: str = "share",
        negative: Sequence[Negative] = (),
        layers: tuple[int, int] | None = None,
        tolerance: float | None = adaptive.TOLERANCE,
        target: str = PROBABILITY,
        scorer: str = IG,
        smooth: int | None = None,
        noise: float = NOISE,
    ) -> Found:
        """The fact's knowledge neurons, with what the model says and what speaks against them.

        coarse to shared_by: as of `refine`, the paper's by default.  negative: prompts whose coarse
        neurons are taken out: texts, asked for the answer, or pairs (text, other answer).  layers
        to noise: as of `scores`.
        Returns a list of neurons that prints as a table.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        how = _settings(asked, layers, tolerance, target, scorer, smoothing_of(smooth, noise))
        (found,) = self._found([self._ready((prompts, answer), negative)], asked, how, False)
        return found

    def find_many(
        self,
        facts: Mapping[str, Question] | Iterable[Question | Fact],
        coarse: float = 0.2,
        shared: float = 0.7,
        min_prompts: int = 3,
        by: str = "share",
        shared_by: str = "share",
        negative: Sequence[Negative] = (),
        layers: tuple[int, int] | None = None,
        tolerance: float | None = adaptive.TOLERANCE,
        target: str = PROBABILITY,
        scorer: str = IG,
        smooth: int | None = None,
        noise: float = NOISE,
        progress: bool = True,
    ) -> FoundMany:
        """`find` for many facts at once; their prompts share batches and one calibration.

        facts: (prompts, answer) each, by name if they have names, or `Fact`s.  progress: whether a
        bar shows prompts and time left.
        Raises ValueError that names the first fact that cannot be asked, before any is.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        how = _settings(asked, layers, tolerance, target, scorer, smoothing_of(smooth, noise))
        ready = self._each(facts, negative)
        found = self._found([*ready.values()], asked, how, progress)
        return FoundMany(found, [*ready])

    # --- how ---

    def _each(
        self,
        facts: Mapping[str, Question] | Iterable[Question | Fact],
        negative: Sequence[Negative] = (),
    ) -> dict[str, Ready]:
        """Facts by name as tokens; ValueError names the first that cannot be asked."""
        ready = {}
        for name, one in facts.items() if isinstance(facts, Mapping) else enumerate(facts):
            try:
                ready[str(name)] = self._ready(one, negative)
            except ValueError as error:
                raise ValueError(f"fact {name!r}: {error}") from error
        return ready

    def _ready(self, question: Question | Fact, negative: Sequence[Negative]) -> Ready:
        """A fact and its negative prompts as tokens."""
        if isinstance(question, Fact):
            question = question.prompts, question.answer
        prompts, answer = pair(question, "prompts and their answer")
        if isinstance(negative, str):
            raise ValueError("expected negative prompts in a list")
        pairs = [(one, answer) if isinstance(one, str) else one for one in negative]
        against = []
        for one in pairs:
            text, other = pair(one, "a negative prompt, or such a prompt and its answer")
            against.append(Ready((text,), other, self._encode([text], other)))
        return Ready(tuple(prompts), answer, self._encode(prompts, answer), tuple(against))

    def _found(
        self, ready: Sequence[Ready], asked: Asked, settings: Settings, progress: bool
    ) -> list[Found]:
        """Score everything, the negative prompts first and each once, then judge."""
        negative = {(one.texts, one.answer): one for own in ready for one in own.negative}
        every = [prompt for own in (*negative.values(), *ready) for prompt in own.prompts]
        against: dict[tuple, set[Neuron]] = {}
        found = []
        with tqdm(total=len(every), unit="prompt", disable=not progress) as bar:
            engine = self._engine(settings, every)
            scored = self._scored(engine, [*negative.values()])
            for key, scores in zip(negative, scored, strict=True):
                against[key] = set(chain.from_iterable(self._coarse(scores, asked)))
                bar.update()
            for own, scores in zip(ready, self._scored(engine, ready), strict=True):
                out = {n for one in own.negative for n in against[one.texts, one.answer]}
                found.append(self._judged(own, scores, asked, out))
                bar.update(len(own.prompts))
        judging.warn_of_shared(found, partial(self._everywhere, engine))
        return found

    def _coarse(
        self, scores: Sequence[PromptScores], asked: Asked, baseline: bool = False
    ) -> list[list[Neuron]]:
        """The coarse neurons of each prompt; one that does not say has those from 0.1 on."""
        every, found = self.model.shape.layers * self.model.shape.neurons, []
        for one in scores:
            keep, total = (one.keep, one.total) if isinstance(one, Kept) else (refine.KEEP, every)
            of = (one.baseline if baseline else one.of_answer), asked.coarse, asked.by
            found.append(thresholds.coarse(*of, total, keep))
        return found

    # --- what speaks against it ---

    def _judged(self, own: Ready, scores: Scores, asked: Asked, against: set[Neuron]) -> Found:
        """The neurons of a fact with the warnings that need no other fact."""
        coarse = self._coarse(scores, asked)
        counts = Counter(chain.from_iterable(coarse))
        for place, (one, mine) in enumerate(zip(scores, coarse, strict=True)):
            scores[place] = one.pruned(len(mine))  # else many facts are more than memory holds
        neurons = _chosen(counts, len(scores), asked)
        left = [neuron for neuron in neurons if neuron not in against]
        taken_out = [neuron for neuron in neurons if neuron in against]
        said, first = judging.said_of(self, own)
        warnings = judging.warnings_of(own, first, left, counts, asked, taken_out)
        if 2 * sum(first) < len(first) and (hint := judging.likelier(self, own, said)):
            warnings.insert(0, hint)
        return Found(left, scores, said, first, counts, asked, taken_out, warnings)

    def _everywhere(self, engine: Engine) -> set[Neuron]:
        """Neurons that unrelated texts have, found once for the layers."""
        how = engine.settings
        key = (self.state, how.scorer, how.target, *engine.scheme.layers)
        if key not in self._shared:
            self._shared[key] = judging.everywhere(engine)
        return self._shared[key]


def _settings(
    asked: Asked,
    layers: tuple[int, int] | None,
    tolerance: float | None,
    target: str,
    scorer: str,
    smoothing: Smoothing | None,
) -> Settings:
    """How prompts are scored for neurons to be chosen; ValueError for what does not go together."""
    keep = min(asked.coarse, refine.KEEP) if asked.by == thresholds.SHARE else 0.0
    how = {"layers": layers, "tolerance": tolerance, "target": target}
    return Settings(keep=keep, baseline=False, scorer=scorer, smoothing=smoothing, **how)


def _chosen(counts: Counter[Neuron], prompts: int, asked: Asked) -> list[Neuron]:
    least = min(asked.min_prompts, prompts)
    return thresholds.shared(counts, prompts, asked.shared, asked.shared_by, least)
