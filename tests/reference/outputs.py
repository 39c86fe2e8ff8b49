"""Outputs that people read, compared as they read them: words as they are, numbers as printed.

Scores differ in their last digits between machines and numbers of threads; a printed number may
then be rounded the other way.
"""

from __future__ import annotations

import doctest
import re

NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def same(got: str, expected: str) -> bool:
    """Whether words are equal, spaces and lines aside, and numbers to one unit of the last digit.

    Whole numbers are equal or are not: they count or name things.
    """
    return _words(got) == _words(expected) and all(
        one == other or abs(float(one) - float(other)) <= 1.001 * max(_unit(one), _unit(other))
        for one, other in zip(NUMBER.findall(got), NUMBER.findall(expected), strict=True)
    )


class AsPrinted(doctest.OutputChecker):
    """Doctest's comparison, or else `same`."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or same(got, want)


def _words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


def _unit(number: str) -> float:
    """What the last printed digit is worth; nothing where there is no fraction."""
    digits, _, exponent = number.partition("e")
    _, point, fraction = digits.partition(".")
    return 10.0 ** (int(exponent or 0) - len(fraction)) if point or exponent else 0.0
