"""Which way won on what, in sentences that are made from the numbers alone."""

from __future__ import annotations

from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.scorers import ScorersSummary
from knowledge_neurons.results.single_prompt import OnePromptSummary

# Column of the scorers' table -> what is best in it, and whether more is better.
BEST = {
    "agreement": ("Closest to zero-out", True),
    "deletion": ("Takes most with its strongest off", False),
    "insertion": ("Keeps most with its strongest alone on", True),
    "overlap": ("Finds most of the refined neurons", True),
}


def of_scorers(found: ScorersSummary) -> list[str]:
    """The best of each column and what it cannot be told from, then the cheapest of all."""
    said = []
    for column, (best, more) in BEST.items():
        values = {one.scorer: getattr(one, column) for one in found.scorers}
        there = {name: value for name, value in values.items() if value is not None}
        if len(there) > 1:
            said.append(f"{best}: {_first(there, more)}.")
    if len(found.scorers) > 1:
        seconds = {one.scorer: found.seconds_of_all(one) for one in found.scorers}
        least, most = (choose(seconds, key=seconds.__getitem__) for choose in (min, max))
        said.append(f"Cheapest for all neurons: {least}; dearest: {most}.")
    return said


def _first(values: dict[str, Estimate], more: bool) -> str:
    """The best by its mean, and those whose intervals reach into its."""
    sign = 1 if more else -1
    name, *others = sorted(values, key=lambda one: -sign * values[one].value)
    alike = [other for other in others if _overlap(values[name], values[other])]
    which = f"{name}, {told(values[name], 2)}"
    return f"{which}; with an interval that overlaps: {', '.join(alike)}" if alike else which


def _overlap(a: Estimate, b: Estimate) -> bool:
    """Whether intervals do; without one a number cannot be told from any."""
    if a.interval is None or b.interval is None:
        return True
    return a.interval.low <= b.interval.high and b.interval.low <= a.interval.high


def of_one_prompt(found: OnePromptSummary) -> list[str]:
    """Ways that find more than one prompt alone, less, and those of which nothing can be told."""
    ways = {one.way: one.gain for one in found.ways if one.gain}
    kinds: dict[str, list[str]] = {"more": [], "less": [], "neither": []}
    for way, gain in ways.items():
        kinds[_side(gain)].append(f"{way} ({told(gain, 2, '+')})")
    heads = {
        "more": "Finds more than one prompt alone",
        "less": "Finds less",
        "neither": "No difference can be told",
    }
    return [f"{head}: {'; '.join(kinds[kind])}." for kind, head in heads.items() if kinds[kind]]


def _side(gain: Estimate) -> str:
    """Whether the interval of a gain lies above 0, below it, or holds it."""
    if gain.interval is None or gain.interval.low <= 0 <= gain.interval.high:
        return "neither"
    return "more" if gain.value > 0 else "less"
