"""Prompts -> scores -> neurons, with what speaks against them said beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from knowledge_neurons.attribution import adaptive, fact_scores, quadrature, quadrature_audit
from knowledge_neurons.attribution.fact_scores import Engine, Settings
from knowledge_neurons.attribution.triplets import check_finite
from knowledge_neurons.library import judging
from knowledge_neurons.library.found import Asked, Found, FoundMany
from knowledge_neurons.library.judging import Ready
from knowledge_neurons.library.model import Model
from knowledge_neurons.library.scores import Scores
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.neurons import refine, thresholds
from knowledge_neurons.types import Fact, Neuron, Prompt, PromptScores, Triplet

PAYS = 64  # prompts of a call, from which it is cheaper to calibrate first
Negative = str | tuple[str, str]  # a prompt, or a prompt and what it is asked for
Question = tuple[Sequence[str], str]  # prompts and answer


class Finding(Model):
    """Scores of prompts and neurons of facts."""

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device | None = None):
        super().__init__(model, tokenizer, device)
        self._points: dict[tuple, tuple[int, ...]] = {}  # that calibration allows, by how
        self._shared: dict[tuple, set[Neuron]] = {}  # by everything, of layers

    def scores(
        self,
        prompts: Sequence[str],
        answer: str,
        rule: str = "riemann-left",
        steps: int = 20,
        keep: float = refine.KEEP,
        tolerance: float | None = adaptive.TOLERANCE,
        layers: tuple[int, int] | None = None,
        dense: bool = False,
    ) -> Scores:
        """Attribution of each prompt: equation 4 of the paper, and the activation baseline.

        rule, steps: quadrature of the path.  keep: neurons below this share of the prompt's largest
        score are left out.  tolerance: of a score, as a share of its prompt's largest; layers take
        as few points as promise it: eight at first, fewer once a call of many prompts has shown
        that they do.  None: all.  layers: first and last, None for all but a decoder's lowest.
        dense: keep every score, (L, F) a prompt.
        Returns one PromptScores a prompt: of_answer in probability, baseline in activation.
        """
        settings = Settings(quadrature.rule(rule, steps), tolerance, keep, layers=layers)
        ready = Ready(tuple(prompts), answer, self.encode(prompts, answer))
        engine = self._engine(settings, ready.prompts)
        (found,) = self._scored(engine, [ready])
        if dense:
            found.dense = self._dense(engine, ready.prompts)
        return found

    def refine(
        self,
        scores: Sequence[PromptScores],
        coarse: float = 0.2,
        shared: float = 0.7,
        min_prompts: int = 3,
        by: str = "share",
        shared_by: str = "share",
    ) -> list[Neuron]:
        """The fact's knowledge neurons from the scores of its prompts (section 3.2).

        coarse: t, share of a prompt's largest score; by "absolute" a score in probability, by
        "percentile" that percentile of all the prompt's scores.  shared: p, share of the prompts;
        shared_by "percentile" of the counts of all neurons that are coarse in any.  A neuron must
        be coarse in at least min_prompts, or in all prompts where there are fewer.
        Returns the neurons, first seen first; none where the prompts share none.
        Raises ValueError where coarse asks for scores that were not kept.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        return _chosen(_counts(self, scores, asked), len(scores), asked)

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
    ) -> Found:
        """The fact's knowledge neurons, with what the model says and what speaks against them.

        coarse to shared_by: as of `refine`, the paper's by default.  negative: prompts, asked for
        the answer or, in a pair with it, for another, whose coarse neurons are taken out.  layers,
        tolerance: as of `scores`.
        Returns a list of neurons that prints as a table.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        (found,) = self._found([(prompts, answer)], asked, negative, layers, tolerance, False)
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
        progress: bool = True,
    ) -> FoundMany:
        """`find` for many facts at once; their prompts share batches and one calibration.

        facts: (prompts, answer) each, by name if they have names, or `Fact`s.  progress: whether a
        bar shows facts and time left.
        """
        asked = Asked(coarse, shared, min_prompts, by, shared_by)
        named = facts if isinstance(facts, Mapping) else dict(enumerate(facts))
        questions = [
            (one.prompts, one.answer) if isinstance(one, Fact) else one for one in named.values()
        ]
        found = self._found(questions, asked, negative, layers, tolerance, progress)
        return FoundMany(found, [str(name) for name in named])

    # --- how ---

    def _found(
        self,
        questions: Sequence[Question],
        asked: Asked,
        negative: Sequence[Negative],
        layers: tuple[int, int] | None,
        tolerance: float | None,
        progress: bool,
    ) -> list[Found]:
        """Encode everything, then score everything, then judge."""
        thresholds.check(asked.coarse, asked.by, asked.shared, asked.shared_by)
        keep = min(asked.coarse, refine.KEEP) if asked.by == thresholds.SHARE else 0.0
        ready = [self._ready(prompts, answer, negative) for prompts, answer in questions]
        every = [one for own in ready for some in (own.prompts, *own.negative) for one in some]
        settings = Settings(tolerance=tolerance, keep=keep, baseline=False, layers=layers)
        engine = self._engine(settings, every)
        found = []
        with tqdm(total=len(ready), unit="fact", disable=not progress) as bar:
            for own, scores in zip(ready, self._scored(engine, ready), strict=True):
                found.append(self._judged(engine, own, scores, asked))
                bar.update()
        self._warn_of_shared(engine, found)
        return found

    def _ready(self, prompts: Sequence[str], answer: str, negative: Sequence[Negative]) -> Ready:
        """A fact and its negative prompts as tokens."""
        if isinstance(negative, str):
            raise ValueError("expected negative prompts in a list")
        pairs = [(one, answer) if isinstance(one, str) else one for one in negative]
        against = tuple(self.encode([text], other) for text, other in pairs)
        return Ready(tuple(prompts), answer, self.encode(prompts, answer), against)

    def _engine(self, settings: Settings, prompts: Sequence[Prompt]) -> Engine:
        """An engine for these prompts, with the points that were found to suffice."""
        engine = fact_scores.prepare(self.model, self.tokenizer, settings)
        if engine.scheme.exact:
            return engine
        key = (*(tuple(part) for part in settings.rule), settings.tolerance, settings.layers)
        if key not in self._points and len(prompts) >= PAYS:
            every = len(prompts) // quadrature_audit.CALIBRATED
            sample = prompts[::every][: quadrature_audit.CALIBRATED]
            self._points[key] = quadrature_audit.calibrate(engine, sample).scheme.first
        if key in self._points:
            return quadrature_audit.calibrated(engine, self._points[key])
        return engine

    def _scored(self, engine: Engine, ready: Sequence[Ready]) -> Iterable[Scores]:
        """The scores of each fact, as they come."""
        shape = self.model.shape.layers, self.model.shape.neurons
        facts = [Fact("own", "own prompts", 0, one.answer, one.texts) for one in ready]
        groups = fact_scores.score_facts(engine, facts, [one.prompts for one in ready])
        scored = (fact for group in groups for fact in group)
        for own, fact in zip(ready, scored, strict=True):
            points = fact.points / len(fact.prompts) / len(engine.scheme.layers)
            prompts = [_with_triplets(prompt) for prompt in fact.prompts]
            yield Scores(prompts, own.texts, own.answer, shape, engine.settings.keep, points)

    def _dense(self, engine: Engine, prompts: Sequence[Prompt]) -> np.ndarray:
        """Every score of the prompts, (P, L, F); 0 in layers that are not scored."""
        shape = self.model.shape
        found = np.zeros((len(prompts), shape.layers, shape.neurons), np.float32)
        for batch in fact_scores.batches(engine, prompts):
            dense, _ = fact_scores.dense_scores(engine, clean_pass(self.model, batch))
            check_finite(dense["of_answer"])
            found[list(batch.order)] = dense["of_answer"].float().cpu().numpy()
        return found

    # --- what speaks against it ---

    def _judged(self, engine: Engine, own: Ready, scores: Scores, asked: Asked) -> Found:
        """The neurons of a fact with the warnings that need no other fact."""
        counts = _counts(self, scores, asked)
        neurons = _chosen(counts, len(scores), asked)
        against = set()
        for scored in fact_scores.score_facts(
            engine, [Fact("own", "negative", 0, own.answer, ())] * len(own.negative), own.negative
        ):
            for fact in scored:
                against |= set(_counts(self, fact.prompts, asked, engine.settings.keep))
        left = [neuron for neuron in neurons if neuron not in against]
        taken_out = [neuron for neuron in neurons if neuron in against]
        said, first = judging.said_of(self, own)
        warnings = judging.warnings_of(own, first, left, counts, asked)
        if 2 * sum(first) < len(first) and (hint := judging.likelier(self, own, said)):
            warnings.insert(0, hint)
        return Found(left, scores, said, first, counts, asked, taken_out, warnings)

    def _warn_of_shared(self, engine: Engine, found: Sequence[Found]) -> None:
        """Warn of neurons that unrelated texts, or most of many facts, have too."""
        wanted = {neuron for one in found for neuron in one}
        if not wanted:
            return
        if len({one.answer for one in found}) >= len(judging.UNRELATED):
            counts = Counter(neuron for one in found for neuron in one)
            shared = {neuron for neuron, count in counts.items() if 2 * count > len(found)}
            where = "of more than half of these facts"
        else:
            shared = self._everywhere(engine) & wanted
            where = f"of {judging.MOST} or more of {len(judging.UNRELATED)} unrelated texts too"
        for one in found:
            if mine := [f"({n.layer}, {n.index})" for n in one if n in shared]:
                one.warnings.append(f"shared by everything: {', '.join(mine)}, coarse {where}")

    def _everywhere(self, engine: Engine) -> set[Neuron]:
        """Neurons that unrelated texts have, found once for the layers."""
        layers = tuple(engine.scheme.layers)
        if layers not in self._shared:
            self._shared[layers] = judging.everywhere(engine)
        return self._shared[layers]


def _counts(
    model: Model, scores: Sequence[PromptScores], asked: Asked, keep: float | None = None
) -> Counter[Neuron]:
    """In how many prompts each neuron is coarse."""
    thresholds.check(asked.coarse, asked.by, asked.shared, asked.shared_by)
    total = model.model.shape.layers * model.model.shape.neurons
    keep = getattr(scores, "keep", refine.KEEP) if keep is None else keep
    counts: Counter[Neuron] = Counter()
    for prompt in scores:
        counts.update(thresholds.coarse(prompt.of_answer, asked.coarse, asked.by, total, keep))
    return counts


def _chosen(counts: Counter[Neuron], prompts: int, asked: Asked) -> list[Neuron]:
    least = min(asked.min_prompts, prompts)
    return thresholds.shared(counts, prompts, asked.shared, asked.shared_by, least)


def _with_triplets(scores: PromptScores) -> PromptScores:
    """The same with Triplet where scoring leaves plain tuples."""
    return replace(
        scores,
        of_answer=[Triplet(*one) for one in scores.of_answer],
        baseline=[Triplet(*one) for one in scores.baseline],
    )
