"""Who does groups of work: this process alone, or workers (`crew`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LOCAL = "local"  # in place of a cluster's address: one of this machine alone
# A group, as a range of places -> its records.
Work = Callable[[range], Sequence[Any]]


class Executor(Protocol):
    """Hands groups out in their order and yields what each comes to, in that order too.

    However many workers there are, a file has one writer and its lines are in data order.
    workers: how many there are.
    """

    workers: int

    def __call__(self, work: NamedWork, groups: Iterable[range]) -> Iterator[Sequence[Any]]:
        """The records of each group; raises ValueError for one that cannot be done."""

    def everywhere(self, ask: Callable[[], T]) -> list[T]:
        """What a question comes to in each process that has worked."""

    def close(self) -> None:
        """End all workers: another executor may follow in this process."""


@dataclass(frozen=True)
class NamedWork:
    """Work whose errors say at which fact.  told: a place -> its fact, for people."""

    work: Work
    told: Callable[[int], str]

    def __call__(self, group: range) -> Sequence[Any]:
        """The records of a group; ValueError names the first fact that fails alone too."""
        try:
            return self.work(group)
        except ValueError as error:
            for place in group:
                self._alone(place)
            raise ValueError(f"{self.named(group)}: {error}") from error

    def _alone(self, place: int) -> None:
        try:
            self.work(range(place, place + 1))
        except ValueError as error:
            raise ValueError(f"{self.told(place)}: {error}") from error

    def named(self, group: range) -> str:
        """Which facts a group is of."""
        first, last = self.told(group[0]), self.told(group[-1])
        return first if len(group) == 1 else f"{first} to {last}"


class InThisProcess:
    """The groups one after the other, each when the one before it has been taken."""

    workers = 1

    def __call__(self, work: NamedWork, groups: Iterable[range]) -> Iterator[Sequence[Any]]:
        return map(work, groups)

    def everywhere(self, ask: Callable[[], T]) -> list[T]:
        return [ask()]

    def close(self) -> None:
        """There are none."""
