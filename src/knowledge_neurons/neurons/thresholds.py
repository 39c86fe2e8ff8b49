"""Other ways to say how large a score, or how many prompts, make a neuron count.

The paper's own, a share of the prompt's largest score and a share of the prompts, are in `refine`.
Percentiles are those of numpy's "higher" method: what reaches one is a score that was seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from knowledge_neurons.neurons import refine
from knowledge_neurons.types import Neuron, Triplet

SHARE, ABSOLUTE, PERCENTILE = WAYS = ("share", "absolute", "percentile")


def check(coarse: float, by: str, shared: float, shared_by: str, min_prompts: int) -> None:
    """Raise ValueError for thresholds that are no numbers or out of their range."""
    if not min_prompts >= 0:
        raise ValueError(f"min_prompts is {min_prompts}: expected 0 or more")
    for name, value, way, ways in (
        ("coarse", coarse, by, WAYS),
        ("shared", shared, shared_by, (SHARE, PERCENTILE)),
    ):
        if way not in ways:
            raise ValueError(f"{name} by {way!r}: expected one of {', '.join(ways)}")
        most = {SHARE: 1.0, ABSOLUTE: math.inf, PERCENTILE: 100.0}[way]
        if not 0 < value <= most or value == math.inf:
            raise ValueError(f"{name} is {value} by {way}: expected above 0, at most {most:g}")


def coarse(
    prompt: Sequence[Triplet], t: float, by: str = SHARE, total: int = 0, keep: float = refine.KEEP
) -> list[Neuron]:
    """Neurons of one prompt whose score reaches the threshold t.

    by: "share" of its largest score, "absolute" in the unit of scores, "percentile" of all of them.
    total: how many scores the prompt has, for a percentile.  keep: the prompt holds those from this
    share of its largest, and none below zero.
    Raises ValueError where the threshold asks for scores that were not kept.
    """
    if not prompt:
        return []
    threshold = _threshold([one[2] for one in prompt], t, by, total, keep)
    return [Neuron(layer, index) for layer, index, score in prompt if score >= threshold]


def _threshold(scores: Sequence[float], t: float, by: str, total: int, keep: float) -> float:
    """The score that is asked for; ValueError below those that are there."""
    largest = max(scores)
    if by == PERCENTILE:
        place = max(1, math.floor(total - (total - 1) * t / 100 + 1e-9))  # so many reach it
        if place > len(scores):
            there = f"{place:,} of {total:,} scores, only {len(scores):,} {_kept(keep)}"
            raise ValueError(f"coarse {t:g} by percentile asks for {there}")
        return sorted(scores, reverse=True)[place - 1]
    threshold = t * largest if by == SHARE else t
    if threshold < keep * largest * (1 - 1e-6):
        share = f"{threshold / largest:.2g} of a prompt's largest"
        raise ValueError(f"coarse {t:g} by {by} asks for scores from {share}, those {_kept(keep)}")
    return threshold


def _kept(keep: float) -> str:
    """What was kept, and what to do where that is too little."""
    if keep <= 0:
        return "that are not negative were kept: ask for a higher percentile, the largest is 100"
    return f"from {keep:.2g} of the largest were kept: ask for scores(..., keep=) as low as that"


def shared(counts: Counter[Neuron], prompts: int, p: float, by: str, min_prompts: int) -> list:
    """Neurons that are coarse in enough prompts, first seen first.

    by: p is a "share" of the prompts, or a "percentile" of the counts of all that are coarse in
    any.  min_prompts: in any case in so many.
    """
    wanted = prompts * p
    if by == PERCENTILE:
        values = list(counts.values()) or [0]
        wanted = float(np.percentile(values, p, method="higher"))
    return refine.at_least(counts, max(wanted, min_prompts))
