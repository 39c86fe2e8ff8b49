"""Stage 6, first half: which facts are edited, into what, and which others watch.

Section 5.1 of the paper: facts that the model answers right, each with another answer of its
relation, and those of its neurons that few facts of the relation share.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from custom_bert import Bert
from knowledge_neurons.evaluation import Reader
from knowledge_neurons.refine import strongest
from knowledge_neurons.types import Neuron, Prompt, Triplet

# Relation -> the prompts of each fact, in data order; none where a fact was left out.
Bags = Mapping[str, Sequence[Sequence[Prompt]]]


class Place(NamedTuple):
    """Where a prompt stands in the data: relation, index of the fact, index of the prompt."""

    relation: str
    fact: int
    prompt: int


@dataclass(frozen=True)
class Settings:
    """How facts are chosen; the defaults are the paper's.

    facts: edited facts of a relation, at most.  common: a neuron that this share of the relation's
    facts have, or more, is left alone.  others: facts of the same relation, and of other ones, on
    which the side effects are measured.
    """

    facts: int = 10
    common: float = 0.1
    others: int = 5
    seed: int = 42

    def __post_init__(self):
        if self.facts < 1:
            raise ValueError(f"{self.facts} facts a relation: expected 1 or more")
        if self.common <= 0:
            raise ValueError(f"common is {self.common}: expected a share above 0")


@dataclass(frozen=True)
class Planned:
    """A fact that will be edited: the prompt it is asked by, its answers (token ids), its neurons,
    and the prompts of facts of the same relation and of other ones that watch the side effects."""

    asked: Place
    old: int
    new: int
    neurons: tuple[Neuron, ...]
    same: tuple[Place, ...]
    other: tuple[Place, ...]


@dataclass(frozen=True)
class Plan:
    """The facts of one relation to be edited, and what was passed over on the way to them.

    tried: facts asked, wrong: those of them answered wrong.  without_neurons: facts of the relation
    with no neuron of their own, below `common`; they are not asked.  answers: different ones.
    """

    relation: str
    facts: tuple[Planned, ...]
    tried: int
    wrong: int
    without_neurons: int
    answers: int

    def __str__(self) -> str:
        """In words, for people."""
        if self.answers < 2:
            return f"no edit: all its facts have the same answer ({self.answers})"
        if not self.tried:
            return f"no edit: none of its {self.without_neurons} facts has neurons of its own"
        found = f"{len(self.facts)} facts to edit" if self.facts else "no edit"
        return (
            f"{found}: {self.tried} asked, {self.wrong} of them answered wrong; "
            f"{self.without_neurons} others have no neurons of their own"
        )


def plan(
    model: Bert,
    bags: Bags,
    relation: str,
    neurons: Sequence[Sequence[Neuron]],
    settings: Settings,
) -> Plan:
    """Choose the facts of a relation that will be edited.

    neurons: of each of its facts, in data order.
    Draw order, from a generator of the relation's own (seed and name): the facts are shuffled; then
    for each in turn the prompt it is asked by, its new answer, the facts of its relation, those of
    others, and the prompt of each.  Facts are asked in that order until enough are answered right.
    """
    rng = random.Random(f"{settings.seed} {relation}")
    shared = common_neurons(bags[relation], neurons, settings.common)
    own = [[neuron for neuron in fact if neuron not in shared] for fact in neurons]
    answers = sorted({prompts[0].answer for prompts in bags[relation] if prompts})
    elsewhere = [
        (name, fact) for name in sorted(bags) if name != relation for fact in _there(bags[name])
    ]
    candidates = []
    order = _there(bags[relation])
    rng.shuffle(order)
    for fact in order:
        if own[fact] and len(answers) > 1:
            candidates.append(
                _draw(rng, bags, relation, fact, own[fact], answers, elsewhere, settings.others)
            )
    facts, tried = _answered_right(model, bags, candidates, settings.facts)
    return Plan(
        relation,
        tuple(facts),
        tried,
        tried - len(facts),
        sum(not own[fact] for fact in order),
        len(answers),
    )


def common_neurons(
    bags: Sequence[Sequence[Prompt]], neurons: Sequence[Sequence[Neuron]], common: float
) -> set[Neuron]:
    """The neurons that this share of a relation's facts have, or more."""
    # DEVIATION: a fact counts once; the released code counts the one at hand twice (difference 13)
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


def _there(bags: Sequence[Sequence[Prompt]]) -> list[int]:
    """Indices of the facts that have prompts."""
    return [index for index, prompts in enumerate(bags) if prompts]


def _draw(
    rng: random.Random,
    bags: Bags,
    relation: str,
    fact: int,
    neurons: Sequence[Neuron],
    answers: Sequence[int],
    elsewhere: Sequence[tuple[str, int]],
    others: int,
) -> Planned:
    """All that is random about one edit; see `plan` for the order."""

    def watch(facts: Sequence[tuple[str, int]]) -> tuple[Place, ...]:
        chosen = rng.sample(facts, min(others, len(facts)))
        return tuple(Place(r, f, rng.randrange(len(bags[r][f]))) for r, f in chosen)

    prompt = rng.randrange(len(bags[relation][fact]))
    old = bags[relation][fact][prompt].answer
    new = rng.choice([answer for answer in answers if answer != old])
    beside = [(relation, index) for index in _there(bags[relation]) if index != fact]
    return Planned(
        Place(relation, fact, prompt), old, new, tuple(neurons), watch(beside), watch(elsewhere)
    )


def _answered_right(
    model: Bert, bags: Bags, candidates: Sequence[Planned], wanted: int
) -> tuple[list[Planned], int]:
    """The first `wanted` candidates whose prompt is answered right, and how many were asked."""
    # UPSTREAM: one random prompt decides whether the model knows a fact (difference 14)
    right: list[Planned] = []
    tried = 0
    at_once = 4 * wanted
    for start in range(0, len(candidates), at_once):
        some = candidates[start : start + at_once]
        reading = Reader(model, [prompt_at(bags, planned.asked) for planned in some]).read()
        for planned, token in zip(some, reading.predicted.tolist(), strict=True):
            tried += 1
            if token == planned.old:
                right.append(planned)
            if len(right) == wanted:
                return right, tried
    return right, tried


def prompt_at(bags: Bags, place: Place) -> Prompt:
    """The prompt that stands there."""
    return bags[place.relation][place.fact][place.prompt]
