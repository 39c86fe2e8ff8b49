"""Scorers and ways of asking compared on one's own facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.experiments import compare_scorers, single_prompt
from knowledge_neurons.library.finding import Finding, Question
from knowledge_neurons.library.model import own_fact
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.results import scorers
from knowledge_neurons.results import single_prompt as singles
from knowledge_neurons.results.estimates import told
from knowledge_neurons.results.scorers import ScorerRecord
from knowledge_neurons.results.single_prompt import SingleRecord
from knowledge_neurons.types import Fact


@dataclass(frozen=True, repr=False)
class ScorersCompared(Shown):
    """What each scorer costs, how it agrees with zero-out, and what its strongest neurons do."""

    records: list[ScorerRecord]

    def tables(self) -> list[Table]:
        """A row a scorer."""
        found = scorers.summaries_of(self.records)
        columns = {
            "scorer": [one.scorer for one in found],
            "seconds a prompt": [one.seconds for one in found],
            "neurons scored": [round(one.neurons) for one in found],
            "agreement": [told(one.agreement, 2) for one in found],
            "deletion": [told(one.deletion, 2) for one in found],
            "insertion": [told(one.insertion, 2) for one in found],
            "overlap": [told(one.overlap, 2) for one in found],
        }
        facts = max((one.facts for one in found), default=0)
        title = f"scorers over {facts} facts, 95 % intervals over facts"
        return [Table(title, columns, {"seconds a prompt": ".3f"})]

    def notes(self) -> list[str]:
        return [
            "agreement: rank correlation with zero-out; overlap: of the refined neurons",
            "deletion: P(answer) left with the strongest off, less is better; insertion: with them "
            "alone on, more is better",
        ]


@dataclass(frozen=True, repr=False)
class SinglePromptStudied(Shown):
    """How much of what a fact's other wordings find one prompt finds, asked in several ways."""

    records: list[SingleRecord]
    left_out: int  # facts

    def tables(self) -> list[Table]:
        """A row a way."""
        found = singles.summaries_of(self.records)
        columns = {
            "way": [one.way for one in found],
            "precision": [told(one.precision, 2) for one in found],
            "gain": [told(one.gain, 2, "+") for one in found],
            "better / worse": [f"{one.better} / {one.worse}" for one in found],
            "seconds": [one.seconds for one in found],
        }
        facts = max((one.facts for one in found), default=0)
        title = f"one prompt against the other wordings of {facts} facts, 95 % intervals over facts"
        return [Table(title, columns, {"seconds": ".2f"})]

    def notes(self) -> list[str]:
        why = "too few prompts, or the other wordings share no neuron"
        return [f"{several(self.left_out, 'fact')} left out: {why}"] * bool(self.left_out)


class Comparing(Finding):
    """Questions about the method rather than a fact."""

    def compare_scorers(
        self,
        facts: Mapping[str, Question] | Sequence[Question | Fact],
        scorers: Sequence[str] = compare_scorers.Settings().scorers,
        wordings: int = 2,
        seed: int = 0,
        progress: bool = True,
    ) -> ScorersCompared:
        """Every scorer on the first prompts of each fact: cost, agreement, deletion, insertion.

        facts: as of `find_many`.  scorers: names of `attribution.scorers.SCORERS`.  wordings:
        prompts of a fact.  seed: of the random neurons among those that zero-out is measured of.
        Of an answer of several tokens all is said of its first.
        """
        settings = compare_scorers.Settings(tuple(scorers), wordings=wordings)
        found = self.find_many(facts, progress=progress)
        records = []
        for index, one in enumerate(tqdm(found, unit="fact", disable=not progress)):
            texts = one.scores.texts
            fact = own_fact(texts, one.answer, index)
            prompts = self._encode(texts, one.answer)
            records += compare_scorers.compare(self.model, fact, prompts, one, settings, seed)
        return ScorersCompared(records)

    def single_prompt_study(
        self,
        facts: Mapping[str, Question] | Sequence[Question | Fact],
        smoothings: Sequence[Smoothing] = single_prompt.Settings().smoothings,
        wordings: Sequence[int] = (2, 3),
        rewordings: bool = True,
        progress: bool = True,
    ) -> SinglePromptStudied:
        """Precision of one prompt, smoothed, reworded, or with a second and third wording.

        facts: as of `find_many`; of a fact three prompts more than the largest of wordings are
        needed, and those with fewer are left out and counted.
        """
        settings = single_prompt.Settings(tuple(smoothings), tuple(wordings), rewordings)
        ready = self._each(facts)
        how = Settings(tolerance=adaptive.TOLERANCE, baseline=False)
        engine = self._engine(how, [one for own in ready.values() for one in own.prompts])
        records: list[SingleRecord] = []
        left_out = 0
        for index, own in enumerate(tqdm(ready.values(), unit="fact", disable=not progress)):
            fact = own_fact(own.texts, own.answer, index)
            encode = partial(self._encode, answer=own.answer)
            found = single_prompt.study(engine, fact, encode, settings)
            left_out += not found
            records += found
        return SinglePromptStudied(records, left_out)
