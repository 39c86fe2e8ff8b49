"""What critics ask, of one's own facts: whose their neurons are, and whether wordings agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge_neurons.experiments import controls
from knowledge_neurons.experiments.modify_activation import GROUP
from knowledge_neurons.library.finding import Finding, Question
from knowledge_neurons.library.found import FoundMany
from knowledge_neurons.library.model import own_fact
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.neurons.agreement import Overlaps, coarse_of, overlaps
from knowledge_neurons.neurons.refine import THRESHOLDS
from knowledge_neurons.results.changes import OWN
from knowledge_neurons.results.controls import (
    RANDOM_COLUMN,
    SAME,
    ControlRecord,
    effects_of,
    kind_told,
    with_twins,
)
from knowledge_neurons.results.estimates import told
from knowledge_neurons.results.localisation import LEAST, OVERLAP_COLUMNS, Located, localisation_of
from knowledge_neurons.types import KNOWLEDGE, Fact

THESE = "these"  # a relation of the user's facts


@dataclass(frozen=True, repr=False)
class Whose(Shown):
    """What a fact's neurons do to its own prompts and to another fact's, beside random neurons."""

    records: list[ControlRecord]
    seed: int

    def tables(self) -> list[Table]:
        """A row for each kind of neurons and factor: change of P(answer), as a share."""
        rows = with_twins(effects_of({THESE: self.records}, self.seed))
        random = [twin and twin.changes.get(OWN) for _, twin in rows]

        def percent(estimates: Sequence) -> list[str]:
            return [f"{told(one and one.times(100), 1, '+')} %" for one in estimates]

        columns = {
            "neurons": [f"{kind_told(one.kind)} x {one.factor:g}" for one, _ in rows],
            "a fact": [one.neurons for one, _ in rows],
            "own prompts": percent([one.changes.get(OWN) for one, _ in rows]),
            "another fact's": percent([one.changes.get(SAME) for one, _ in rows]),
            RANDOM_COLUMN: percent(random),
        }
        facts = sum(bool(one.own and one.neurons[KNOWLEDGE]) for one in self.records)
        title = f"change of P(answer) over {several(facts, 'fact')}, 95 % intervals over facts"
        return [Table(title, columns, {"a fact": ".2f"})]


@dataclass(frozen=True, repr=False)
class Wordings(Shown):
    """Whether prompts of a fact name the same neurons: see `neurons.agreement`.

    overlaps: of each fact.  located: what they come to.
    """

    names: list[str]
    overlaps: list[Overlaps]
    located: Located

    def tables(self) -> list[Table]:
        """A row a fact: mean overlap (Jaccard) of the coarse neurons of two prompts."""
        columns = {
            name: [getattr(one, column) for one in self.overlaps]
            for column, name in OVERLAP_COLUMNS.items()
            if column != "elsewhere"
        }
        cells = {
            name: ["-" if value is None else f"{value:.2f}" for value in values]
            for name, values in columns.items()
        }
        return [Table("overlap of two prompts' neurons", {"fact": self.names, **cells})]

    def notes(self) -> list[str]:
        of = self.located.overlaps
        means = (f"{name} {told(of.get(key), 2)}" for key, name in OVERLAP_COLUMNS.items())
        share = self.located.disagree and self.located.disagree.times(100)
        return [
            f"means: {'; '.join(one for one in means if not one.endswith('-'))}",
            f"{told(share, 1)} % of the facts overlap by less than {LEAST:g}",
        ]


class Questioning(Finding):
    """The questions of stage 10 that need no relation."""

    def whose(
        self,
        facts: Mapping[str, Question] | Sequence[Question | Fact],
        shared_by: Sequence[int] = (0, 1, 2, 5),
        seed: int = 0,
        progress: bool = True,
    ) -> Whose:
        """Are the neurons the fact's, or those of all facts like it?

        facts: as of `find_many`, of one relation or kind.  shared_by: s, for those neurons alone
        that at most s other facts have.  seed: of the other facts and the random neurons.
        Raises ValueError for a negative s, and as `find_many` does.
        """
        if any(most < 0 for most in shared_by):
            raise ValueError(f"shared_by is {list(shared_by)}: expected numbers from 0")
        found = self.find_many(facts, progress=progress)
        own = _facts_of(found)
        prompts = [self._encode(one.scores.texts, one.answer) for one in found]
        same = controls.draw_same(own, prompts, seed)
        neurons = {KNOWLEDGE: [list(one) for one in found]}
        sets = controls.sets_of(self.model, neurons, same, shared_by, seed, THESE)
        beside = [None if i is None else (THESE, i, prompts[i]) for i in same]
        records: list[ControlRecord] = []
        for start in range(0, len(own), GROUP):
            some = slice(start, start + GROUP)
            of_these = {kind: every[some] for kind, every in sets.items()}
            their = own[some], prompts[some], beside[some], [None] * len(own[some])
            records += controls.control(self.model, *their, of_these, None)
        return Whose(records, seed)

    def wordings(
        self,
        facts: Mapping[str, Question] | Sequence[Question | Fact],
        seed: int = 0,
        progress: bool = True,
    ) -> Wordings:
        """Do the prompts of a fact name the same neurons, or does each wording name its own?

        facts: as of `find_many`; where all have their wordings in the same order, facts are
        compared by the same wording too.  seed: of the facts compared with.
        """
        found = self.find_many(facts, progress=progress)
        coarse = [
            coarse_of([one.of_answer for one in fact.scores], THRESHOLDS.coarse) for fact in found
        ]
        answers = {THESE: [one.answer for one in found]}
        compared = overlaps({THESE: coarse}, answers, seed)
        told_of = localisation_of(compared, {THESE: found}, seed)
        return Wordings(found.names, compared[THESE], told_of.overall)


def _facts_of(found: FoundMany) -> list[Fact]:
    return [own_fact(one.scores.texts, one.answer, index) for index, one in enumerate(found)]
