"""Ours beside the published number: the difference, and a verdict that means something.

A verdict is passed only where `comparability` finds that model, data and settings are the paper's;
anything else is another experiment, whatever its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What the published number is to ours."""

    INSIDE = "inside the interval"
    OUTSIDE = "outside the interval"
    SAME = "same as printed"
    DIFFERENT = "differs from print"
    NOT_COMPARABLE = "not comparable"
    NOT_VERIFIED = "not verified"
    NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Comparison:
    """One number of ours, in the unit of the published one.

    quantity: what; neurons: of which kind.  interval: 95 %, None for a count that has none.
    paper: the published number, None where there is none.  digits: after its point.
    signed: it is a change.  detail, paper_detail: what it was made from, such as "1.45 → 2.48".
    """

    quantity: str
    neurons: str
    ours: float | None
    interval: tuple[float, float] | None
    paper: float | None
    digits: int
    unit: str = ""
    signed: bool = False
    detail: str = ""
    paper_detail: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in its unit (percentage points for percentages)."""
        return None if None in (self.ours, self.paper) else self.ours - self.paper

    def verdict(self, obstacles: Sequence[str], verified: bool = True) -> Verdict:
        """obstacles: why the run cannot be compared with the paper's, empty where it can; verified:
        whether its weights are known to be the paper's.

        A published number stands for all that round to it: it is inside where one of them is.
        """
        if self.paper is None or self.ours is None:
            return Verdict.NOT_PUBLISHED
        if obstacles:
            return Verdict.NOT_COMPARABLE
        if not verified:
            return Verdict.NOT_VERIFIED
        if self.interval is None:
            same = f"{self.ours:.{self.digits}f}" == f"{self.paper:.{self.digits}f}"
            return Verdict.SAME if same else Verdict.DIFFERENT
        half = 0.5 * 10**-self.digits
        low, high = self.interval
        reaches = low <= self.paper + half and self.paper - half <= high
        return Verdict.INSIDE if reaches else Verdict.OUTSIDE
