"""Who does groups of work: this process alone, so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

# A group, as a range of places -> its records.
Work = Callable[[range], Sequence[Any]]
# Hands the groups out in their order and yields what each comes to, in that order too, however many
# workers there are: a file has one writer, and its lines are in data order.
Executor = Callable[[Work, Iterable[range]], Iterator[Sequence[Any]]]


def in_this_process(work: Work, groups: Iterable[range]) -> Iterator[Sequence[Any]]:
    """The groups one after the other, each when the one before it has been taken."""
    return map(work, groups)
