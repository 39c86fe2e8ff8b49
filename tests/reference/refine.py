"""Refinement as section 3.2 of the paper and rows 3 to 5 of its table of differences describe it.

The slow twin of `refine`: triplets again and again for every p, plain lists, no dataclasses.
"""

from __future__ import annotations

from collections import Counter


def triplets(scores: list[list[float]], keep: float) -> list[tuple[int, int, float]]:
    """What of one prompt's scores, layer by layer, reaches keep times the largest (row 2)."""
    least = keep * max(score for layer in scores for score in layer)
    return [
        (layer, index, score)
        for layer, row in enumerate(scores)
        for index, score in enumerate(row)
        if score >= least
    ]


def coarse_of_prompt(triplets: list, t: float) -> list[tuple[int, int]]:
    """What reaches t times the largest score of the prompt."""
    largest = max([score for _, _, score in triplets], default=None)
    return [(layer, index) for layer, index, score in triplets if score >= largest * t]


def refine_fact(prompts: list[list], t: float, p: float, min_prompts: int) -> list:
    """What is coarse in at least a share p of the prompts, and in at least min_prompts (row 4)."""
    pool = []
    for triplets in prompts:
        pool.extend(coarse_of_prompt(triplets, t))
    counted = Counter(pool)
    needed = len(prompts) * p
    return [n for n in counted if counted[n] >= needed and counted[n] >= min_prompts]


def refine_relation(
    facts: list[list[list]],
    t: float,
    p: float,
    rounds: int,
    min_prompts: int,
    fewest: float = 2,
    most: float = 5,
) -> tuple[list, float, float, int]:
    """Neurons of each fact, the p that gave them, their average, how many values of p were tried.

    facts: for each fact the triplets of each of its prompts; a fact left out has no prompts.
    """
    tried = 0
    for last in [False] * (rounds - 1) + [True]:
        tried += 1
        neurons = [refine_fact(prompts, t, p, min_prompts) for prompts in facts]
        counted = [len(n) for n, prompts in zip(neurons, facts, strict=True) if prompts]
        if not counted:
            return neurons, p, 0.0, 1
        average = sum(counted) / len(counted)
        if fewest <= average <= most or last:
            break
        if average < fewest:
            p -= 0.05
        else:
            p += 0.05
        p = min(p, 1.0)  # floats: six steps from 0.7 end above 1, which no neuron could reach
    return neurons, p, average, tried


def relation_neurons(facts: list[list], share: float) -> list:
    """The neurons of at least this share of the facts, which are those that have prompts."""
    counted = Counter([neuron for neurons in facts for neuron in neurons])
    return [neuron for neuron in counted if counted[neuron] >= share * len(facts)]
