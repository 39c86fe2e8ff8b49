"""Numbers of the command line: no value that would fail, or never end, only after hours of work.

Each is for argparse's `type`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

LARGEST = 2**63 - 1


def whole(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """A whole number within bounds, for argparse's `type`."""
    return _number(int, lambda value: low <= value <= high, _from(low, high, "whole "))


def real(low: float, high: float, above: bool = False) -> Callable[[str], float]:
    """A finite number within bounds, for argparse's `type`; above: `low` itself is not allowed."""
    bounds = f"a number above {low:g}, at most {high:g}" if above else _from(low, high)
    return _number(
        float, lambda value: low <= value <= high and not (above and value == low), bounds
    )


def _number(kind: Callable[[str], Any], fits: Callable[[Any], bool], bounds: str) -> Callable:
    def parse(text: str) -> Any:
        try:
            if fits(value := kind(text)):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected {bounds}")

    return parse


def _from(low: float, high: float, kind: str = "") -> str:
    upper = "or more" if high == LARGEST else f"to {high:,}" if kind else f"to {high:g}"
    return f"a {kind}number, {low} {upper}"


seed = whole(0)
count = whole(1, 10**9)
share = real(0, 1, above=True)
tokens = whole(3, 1 << 20)  # [CLS] [MASK] [SEP] at least
LARGEST_FACTOR = 1e6  # of an activation, a lambda
factor = real(-LARGEST_FACTOR, LARGEST_FACTOR)


def layers(text: str) -> tuple[int, int]:
    """ "1-29", or "3" for one layer: the first and the last, for argparse's `type`."""
    match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", text)
    first, last = (int(n) for n in (match[1], match[2] or match[1])) if match else (1, 0)
    if first > last:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected FIRST-LAST, such as 1-29")
    return first, last


def counts(text: str) -> list[int]:
    """ "1,2,5" -> [1, 2, 5]."""
    return sorted(set(map(count, text.split(","))))


def wholes(text: str) -> list[int]:
    """ "0,1,5" -> [0, 1, 5]."""
    return sorted(set(map(whole(0, 10**9), text.split(","))))


def some_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    """ "b,a" -> ["a", "b"], in the order of the names, for argparse's `type`."""

    def parse(text: str) -> list[str]:
        asked = [part.strip() for part in text.split(",")]
        if unknown := [part for part in asked if part not in names]:
            raise argparse.ArgumentTypeError(
                f"{unknown[0][:40]!r}: expected some of {', '.join(names)}"
            )
        return [name for name in names if name in asked]

    return parse


def pairs(text: str) -> list[tuple[float, float]]:
    """ "1:8,0:4" -> [(1.0, 8.0), (0.0, 4.0)]."""
    found = [tuple(map(factor, part.split(":"))) for part in text.split(",")]
    if any(len(pair) != 2 for pair in found):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected L1:L2,L1:L2 ...")
    return found
