"""A number with its confidence interval, and how both are told on the screen and in the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

MOST_DIGITS = 6  # after the point: an interval as narrow as rounding errors needs no more


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where fewer than two units could tell of one."""

    value: float
    interval: Interval | None

    def times(self, factor: float) -> Estimate:
        """The same in another unit, such as percent."""
        ends = self.interval and Interval(*(factor * end for end in self.interval))
        return Estimate(factor * self.value, ends)


def digits(interval: tuple[float, float] | None, least: int) -> int:
    """Digits after the point that fit: `least`, more where the width has not two that count.

    digits(Interval(0.01, 0.08), 1)  # 3: 0.010 to 0.080
    """
    width = interval[1] - interval[0] if interval else 0.0
    if not width > 0:
        return least
    return max(least, min(1 - math.floor(math.log10(width)), MOST_DIGITS))


def told(estimate: Estimate | None, least: int, sign: str = "") -> str:
    """ "0.43 [0.39, 0.47]" with the digits that fit; "-" for None; sign: "+" for a change."""
    if estimate is None:
        return "-"
    count = digits(estimate.interval, least)
    rounded = (round(x, count) or 0.0 for x in (estimate.value, *(estimate.interval or ())))
    value, *ends = (f"{x:{sign if x else ''}.{count}f}" for x in rounded)  # no sign before 0
    return f"{value} [{ends[0]}, {ends[1]}]" if ends else value
