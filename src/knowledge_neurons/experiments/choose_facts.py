"""Stage 6, first half: which facts are edited, into what, and which others watch.

Section 5.1 of the paper: facts that the model answers right, each with another answer of its
relation, and those of its neurons that few facts of the relation share.  They are drawn as the
released code does it, or so that no fact comes twice and all answers are as likely.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons.refine import strongest
from knowledge_neurons.types import Neuron, Prompt, Triplet

Answer = tuple[int, ...]  # token ids
# The prompts of each fact of a relation, in data order; none where a fact was left out.
Facts = Sequence[Sequence[Prompt]]
Bags = Mapping[str, Facts]

# How facts are drawn: as the released code does it; each at most once, answers alike.
RELEASED, DISTINCT = DRAWS = ("released", "distinct")
MOST_TRIES = 10_000  # UPSTREAM: facts drawn in one relation before it is left with fewer edits


class Place(NamedTuple):
    """Where a prompt stands in the data: relation, index of the fact, index of the prompt."""

    relation: str
    fact: int
    prompt: int


class Watching(NamedTuple):
    """A fact on which the side effects of an edit are measured: which of its prompts are read."""

    relation: str
    fact: int
    prompts: tuple[int, ...]

    @property
    def places(self) -> list[Place]:
        return [Place(self.relation, self.fact, prompt) for prompt in self.prompts]


class Try(NamedTuple):
    """A fact that may be edited: the prompt it is asked by, and its new answer."""

    asked: Place
    new: Answer


@dataclass(frozen=True)
class Selection:
    """How facts are chosen; the defaults are the paper's and the released code's.

    facts: edits of a relation, at most.  common: a neuron that this share of the relation's facts
    have, or more, is left alone.  others: facts of the same relation, and of other ones, on which
    the side effects are measured.  draw: one of DRAWS.
    """

    facts: int = 10
    common: float = 0.1
    others: int = 5
    seed: int = 42
    draw: str = RELEASED

    def __post_init__(self):
        if self.facts < 1:
            raise ValueError(f"{self.facts} facts a relation: expected 1 or more")
        if self.common <= 0:
            raise ValueError(f"common is {self.common}: expected a share above 0")
        if self.draw not in DRAWS:
            raise ValueError(f"draw is {self.draw!r}: expected one of {', '.join(DRAWS)}")


@dataclass(frozen=True)
class Planned:
    """An edit that will be made: the prompt its fact is asked by, its answers (token ids), its
    neurons, and the facts of the same relation and of other ones that watch the side effects.

    repeat: how many edits of the same fact come before it.
    """

    asked: Place
    old: Answer
    new: Answer
    neurons: tuple[Neuron, ...]
    same: tuple[Watching, ...]
    other: tuple[Watching, ...]
    repeat: int = 0


@dataclass(frozen=True)
class Plan:
    """The edits of one relation, and what was passed over on the way to them.

    drawn: facts drawn; of them wrong: answered wrong, without_neurons: without a neuron of its own,
    below `common`.  answers: different ones in the relation.
    """

    relation: str
    facts: tuple[Planned, ...]
    drawn: int
    wrong: int
    without_neurons: int
    answers: int

    @property
    def different(self) -> int:
        """Edited facts, each counted once."""
        return len({planned.asked.fact for planned in self.facts})

    def __str__(self) -> str:
        """In words, for people."""
        if self.answers < 2:
            return f"no edit: all its facts have the same answer ({self.answers})"
        if not self.drawn:
            return f"no edit: none of its {self.without_neurons} facts has neurons of its own"
        found = f"{len(self.facts)} edits of {self.different} facts" if self.facts else "no edit"
        return (
            f"{found}: {self.drawn} drawn, {self.without_neurons} of them without neurons of their "
            f"own, {self.wrong} answered wrong"
        )


def plan(
    model: Network,
    bags: Bags,
    relation: str,
    neurons: Sequence[Sequence[Neuron]],
    settings: Selection,
) -> Plan:
    """Choose the facts of a relation that will be edited.

    neurons: of each of its facts, in data order.
    Two generators of the relation's own (seed and name): one draws facts, prompts and new answers
    (`_released`, `_distinct`) until enough are answered right; the other draws, for each of these
    in turn, the facts that watch (`_watching`).
    """
    facts = bags[relation]
    shared = common_neurons(facts, neurons, settings.common)
    own = [[neuron for neuron in fact if neuron not in shared] for fact in neurons]
    there = {name: _there(bags[name]) for name in sorted(bags)}
    answers = len({prompts[0].answers for prompts in facts if prompts})
    bare = sum(not own[fact] for fact in there[relation])
    if answers < 2 or bare == len(there[relation]):
        return Plan(relation, (), 0, 0, bare, answers)
    draw = _released if settings.draw == RELEASED else _distinct
    tries = draw(random.Random(f"{settings.seed} {relation}"), relation, facts)
    right, drawn, wrong, bare = _answered_right(model, bags, tries, own, settings.facts)
    rng = random.Random(f"{settings.seed} {relation} watching")
    edits: list[Planned] = []
    for asked, new in right:
        same, other = _watching(rng, bags, there, asked, settings)
        repeat = sum(edit.asked.fact == asked.fact for edit in edits)
        chosen = asked, prompt_at(bags, asked).answers, new, tuple(own[asked.fact])
        edits.append(Planned(*chosen, same, other, repeat))
    return Plan(relation, tuple(edits), drawn, wrong, bare, answers)


def common_neurons(bags: Facts, neurons: Sequence[Sequence[Neuron]], common: float) -> set[Neuron]:
    """The neurons that this share of a relation's facts have, or more."""
    # DEVIATION: a fact counts once; the released code counts the one at hand twice (difference 14)
    counts = Counter(neuron for fact in neurons for neuron in fact)
    fewest = common * sum(1 for prompts in bags if prompts)
    return {neuron for neuron, count in counts.items() if count >= fewest}


def with_strongest(
    plan: Plan,
    scores: Mapping[int, Sequence[Sequence[Triplet]]],
    shared: set[Neuron],
    at_most: int,
) -> Plan:
    """The same plan with each fact's neurons replaced by those of highest mean score.

    scores: fact -> the triplets of each of its prompts.  shared: neurons that are left alone.
    Raises ValueError for a fact none of whose neurons remains.
    """
    facts = []
    for planned in plan.facts:
        ranked = [n for n in strongest(scores[planned.asked.fact]) if n not in shared]
        if not ranked:
            raise ValueError(
                f"{plan.relation} fact {planned.asked.fact} has neurons, its scores name none of "
                "its own: scores and neurons do not belong together; run stage 2 again"
            )
        facts.append(replace(planned, neurons=tuple(ranked[:at_most])))
    return replace(plan, facts=tuple(facts))


# --- draws -----------------------------------------------------------------------------------


def _released(rng: random.Random, relation: str, facts: Facts) -> Iterator[Try]:
    """Any fact, again and again: frequent answers come up more often, as old ones and as new.

    Draw order, for each: the fact, uniformly; another fact whose answer is the new one, uniformly,
    again while that is the fact's own; the prompt.
    """
    # UPSTREAM: with replacement, so that a fact may be edited twice
    there = _there(facts)
    for _ in range(MOST_TRIES):
        fact = rng.choice(there)
        old = new = facts[fact][0].answers
        while new == old:
            new = facts[rng.choice(there)][0].answers
        yield Try(Place(relation, fact, rng.randrange(len(facts[fact]))), new)


def _distinct(rng: random.Random, relation: str, facts: Facts) -> Iterator[Try]:
    """Every fact once, and new answers that are equally likely however many facts have them.

    Draw order: the facts are shuffled; then for each in turn the prompt, and its new answer.
    """
    there = _there(facts)
    answers = sorted({facts[fact][0].answers for fact in there})
    rng.shuffle(there)
    for fact in there:
        prompt = rng.randrange(len(facts[fact]))
        old = facts[fact][0].answers  # in tokens that answers have: other prompts may have others
        yield Try(Place(relation, fact, prompt), rng.choice([new for new in answers if new != old]))


def _watching(
    rng: random.Random,
    bags: Bags,
    there: Mapping[str, Sequence[int]],
    asked: Place,
    settings: Selection,
) -> tuple[tuple[Watching, ...], tuple[Watching, ...]]:
    """The facts of the same relation that watch an edit, and those of other ones.

    Released: with replacement, all prompts of each; of other relations first the relation is drawn,
    uniformly, then its fact.  Distinct: no fact twice, one prompt of each, which is drawn after
    them; of other relations any fact, uniformly.
    """
    beside = [(asked.relation, fact) for fact in there[asked.relation] if fact != asked.fact]
    elsewhere = [name for name in there if name != asked.relation and there[name]]
    released = settings.draw == RELEASED
    if released:
        same = [rng.choice(beside) for _ in range(settings.others)]
        names = (rng.choice(elsewhere) for _ in range(settings.others if elsewhere else 0))
        other = [(name, rng.choice(there[name])) for name in names]
    else:
        anywhere = [(name, fact) for name in elsewhere for fact in there[name]]
        same, other = (
            rng.sample(facts, min(settings.others, len(facts))) for facts in (beside, anywhere)
        )

    def watch(relation: str, fact: int) -> Watching:
        count = len(bags[relation][fact])
        read = range(count) if released else (rng.randrange(count),)
        return Watching(relation, fact, tuple(read))

    return tuple(watch(*pair) for pair in same), tuple(watch(*pair) for pair in other)


def _answered_right(
    model: Network, bags: Bags, tries: Iterator[Try], own: Sequence[Sequence[Neuron]], wanted: int
) -> tuple[list[Try], int, int, int]:
    """The first `wanted` tries with neurons of their own whose prompt is answered right, and how
    many were drawn, were answered wrong, had no neurons."""
    # UPSTREAM: one random prompt decides whether the model knows a fact
    right: list[Try] = []
    said: dict[Place, bool] = {}  # facts are drawn again and again, but asked once
    drawn = wrong = bare = 0
    while some := list(islice(tries, 4 * wanted)):
        asked = dict.fromkeys(one.asked for one in some if own[one.asked.fact])
        unread = [place for place in asked if place not in said]
        if unread:
            reading = Reader(model, [prompt_at(bags, place) for place in unread]).read()
            said |= zip(unread, reading.said[:, 0].tolist(), strict=True)
        for one in some:
            drawn += 1
            if not own[one.asked.fact]:
                bare += 1
            elif not said[one.asked]:
                wrong += 1
            else:
                right.append(one)
                if len(right) == wanted:
                    return right, drawn, wrong, bare
    return right, drawn, wrong, bare


def _there(bags: Facts) -> list[int]:
    return [index for index, prompts in enumerate(bags) if prompts]  # facts that can be asked


def prompt_at(bags: Bags, place: Place) -> Prompt:
    """The prompt that stands there."""
    return bags[place.relation][place.fact][place.prompt]
