"""What scaling neurons does to the answer: results of `scale`, `dose` and `against_random`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from knowledge_neurons.library.model import Said, told
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.results.estimates import Interval
from knowledge_neurons.types import Neuron

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOOTSTRAPS = 1000


def change(before: Sequence[float], after: Sequence[float]) -> float:
    """Change of the mean probability as a share of it, as Figures 4 and 5 have it."""
    return float(np.mean(after) / np.mean(before) - 1)


def change_interval(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """95 % interval of `change` over prompts drawn anew; of one prompt it has no width."""
    rows = np.random.default_rng(seed).integers(len(before), size=(BOOTSTRAPS, len(before)))
    drawn = np.asarray(after)[rows].mean(1) / np.asarray(before)[rows].mean(1) - 1
    return Interval(*np.quantile(drawn, (0.025, 0.975)).tolist())


@dataclass(frozen=True, repr=False)
class Effect(Shown):
    """Neurons times a factor: what the model says to each prompt before and after.

    factor: on activations at [MASK].
    """

    answer: str
    neurons: tuple[Neuron, ...]
    factor: float
    before: list[Said]
    after: list[Said]

    @property
    def change(self) -> float:
        """Of the mean P(answer), as a share of it: -0.3 is 30 % less."""
        return change(*self.probabilities)

    @property
    def probabilities(self) -> tuple[list[float], list[float]]:
        """P(answer) of each prompt before and after."""
        return [s.probability for s in self.before], [s.probability for s in self.after]

    def tables(self) -> list[Table]:
        """A row a prompt."""
        before, after = self.probabilities
        columns = {
            "before": before,
            "after": after,
            "top answers before": [told(one.top) for one in self.before],
            "top answers after": [told(one.top) for one in self.after],
            "prompt": [one.text for one in self.before],
        }
        low, high = change_interval(before, after)
        title = (
            f"{several(len(self.neurons), 'neuron')} times {self.factor:g}: P({self.answer}) "
            f"changes by {self.change:+.1%} [{low:+.1%}, {high:+.1%}]"
        )
        return [Table(title, columns, {"before": ".3g", "after": ".3g"})]


@dataclass(frozen=True, repr=False)
class Dose(Shown):
    """P(answer) as neurons are scaled by rising factors.

    factors: (K,).  probabilities: (K, P), of each prompt.  before: (P,), unscaled.
    """

    answer: str
    factors: list[float]
    probabilities: np.ndarray
    before: np.ndarray

    @property
    def changes(self) -> list[float]:
        """Of the mean probability, as a share of the unscaled, for each factor."""
        return [change(self.before, row) for row in self.probabilities]

    @property
    def intervals(self) -> list[Interval]:
        """95 % of each change, over prompts."""
        return [change_interval(self.before, row) for row in self.probabilities]

    def tables(self) -> list[Table]:
        """A row a factor."""
        columns = {
            "factor": self.factors,
            "P(answer)": self.probabilities.mean(1).tolist(),
            "change": self.changes,
            "low": [one.low for one in self.intervals],
            "high": [one.high for one in self.intervals],
        }
        formats = {"factor": "g", "P(answer)": ".3g"}
        formats |= dict.fromkeys(("change", "low", "high"), "+.1%")
        return [Table(f"P({self.answer}) as the neurons are scaled", columns, formats)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Factor against change: see `figures.of_neurons.dose`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.dose(self.factors, self.changes, self.intervals, ax)


@dataclass(frozen=True, repr=False)
class AgainstRandom(Shown):
    """The change that neurons bring, beside those of as many random ones of the same layers.

    own: change of the mean probability.  random: of each random set.
    """

    answer: str
    factor: float
    own: float
    random: list[float]

    @property
    def as_strong(self) -> float:
        """Share of sets whose change, up or down, is at least as large, the neurons themselves
        counted: the p-value of a permutation test."""
        return (1 + self._stronger) / (1 + len(self.random))

    @property
    def _stronger(self) -> int:
        return sum(abs(one) >= abs(self.own) for one in self.random)

    def tables(self) -> list[Table]:
        """Own and random."""
        low, high = np.quantile(self.random, (0.025, 0.975)).tolist()
        columns = {
            "neurons": ["these", "random, mean", "random, lowest 2.5 %", "random, highest 2.5 %"],
            "change": [self.own, float(np.mean(self.random)), low, high],
        }
        formats = {"change": "+.1%"}
        title = f"change of P({self.answer}) with neurons times {self.factor:g}"
        return [Table(title, columns, formats)]

    def notes(self) -> list[str]:
        stronger = f"{self._stronger} of {several(len(self.random), 'random set')}"
        return [f"{stronger} changed it as much as these neurons (p = {self.as_strong:.2g})"]
