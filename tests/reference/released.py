"""Draws and averages of the released code as it makes them, one after the other.

The slow twins of `choose_facts`, `edits` and `activations`: plain lists, one prompt at a
time, nothing remembered.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

TRIES = 10_000


def edits(
    bags: dict[str, list],
    relation: str,
    own: Sequence[Sequence],
    is_right: Callable[[int, int], bool],
    wanted: int,
    seed: int,
) -> list[tuple]:
    """(fact, prompt, new answer, facts of the relation that watch, facts of others) of each edit.

    own: the neurons of each fact under the filter.  is_right: whether the model answers a prompt
    of a fact.  Every fact has prompts.  One generator draws edits, another what watches.
    """
    rng = random.Random(f"{seed} {relation}")
    watching = random.Random(f"{seed} {relation} watching")
    facts, found = list(range(len(bags[relation]))), []
    for _ in range(TRIES):
        if len(found) == wanted:
            break
        fact = rng.choice(facts)
        while True:
            new = bags[relation][rng.choice(facts)][0].answer
            if new != bags[relation][fact][0].answer:
                break
        prompt = rng.randrange(len(bags[relation][fact]))
        if not own[fact] or not is_right(fact, prompt):
            continue
        beside = [other for other in facts if other != fact]
        same = [(relation, watching.choice(beside)) for _ in range(5)]
        others = []
        for _ in range(5):
            name = watching.choice(sorted(other for other in bags if other != relation))
            others.append((name, watching.choice(range(len(bags[name])))))
        found.append((fact, prompt, new, same, others))
    return found


def perplexity(watched: list[list[list[float]]]) -> float:
    """watched: edits, of each the facts that watch it, of each P(right answer) of all its prompts.

    Per edit the mean of log(1 / p) over all prompts, then the mean over edits, then exp.
    """
    of_edits = []
    for facts in watched:
        values = []
        for prompts in facts:
            for p in prompts:
                values.append(math.log(1 / p))
        of_edits.append(sum(values) / len(values))
    return math.exp(sum(of_edits) / len(of_edits))


def mean_activation(relations: dict[str, list[list[float]]]) -> float:
    """relations: of each its facts, of each the activation of its neurons (means over sentences).

    Table 4: all values of a relation in one list, its mean, then the mean over relations.
    """
    of_relations = []
    for facts in relations.values():
        values = []
        for neurons in facts:
            values.extend(neurons)
        of_relations.append(sum(values) / len(values))
    return sum(of_relations) / len(of_relations)
