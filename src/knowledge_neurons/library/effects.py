"""What scaling neurons does to the answer: results of `scale`, `dose` and `against_random`.

Changes of P(answer) as a share of it, and of its log-odds, ln(P / (1 - P)), in nats: where P is
near 0 or 1 its own changes vanish, and those of the log-odds do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from knowledge_neurons.library.model import Said, top_line
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.results.estimates import Estimate, Interval, told
from knowledge_neurons.results.metrics import bootstrap_interval, mean_of, mean_relative_change
from knowledge_neurons.types import Neuron

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEED = 0  # of the bootstraps


def change_of(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Change of the mean probability as a share of it, as Figures 4 and 5 have it.

    before, after: (P,) of each prompt.  The 95 % interval is over prompts drawn anew, None of one.
    """
    both = np.stack([np.asarray(before), np.asarray(after)], axis=1)  # (P, 2)
    value = float(mean_relative_change(both.mean(axis=0)[None]))
    return Estimate(value, bootstrap_interval([both], mean_relative_change, SEED))


def _percent(change: Estimate) -> str:
    """ "-44.5% [-49.0%, -37.9%]"."""
    ends = f" [{change.interval[0]:+.1%}, {change.interval[1]:+.1%}]" if change.interval else ""
    return f"{change.value:+.1%}{ends}"


@dataclass(frozen=True, repr=False)
class Effect(Shown):
    """Neurons times a factor: what the model says to each prompt before and after.

    factor: on activations at [MASK].  log_odds: of the answer to each prompt, before and after.
    """

    answer: str
    neurons: tuple[Neuron, ...]
    factor: float
    before: list[Said]
    after: list[Said]
    log_odds: tuple[list[float], list[float]]

    @property
    def change(self) -> float:
        """Of the mean P(answer), as a share of it: -0.3 is 30 % less."""
        return change_of(*self.probabilities).value

    @property
    def log_odds_change(self) -> Estimate:
        """Of the log-odds, in nats, the mean over prompts."""
        return mean_of(np.subtract(*reversed(self.log_odds)), SEED)

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
            "top answers before": [top_line(one.top) for one in self.before],
            "top answers after": [top_line(one.top) for one in self.after],
            "prompt": [one.text for one in self.before],
        }
        title = (
            f"{several(len(self.neurons), 'neuron')} times {self.factor:g}: P({self.answer}) "
            f"changes by {_percent(change_of(before, after))}"
        )
        return [Table(title, columns, {"before": ".3g", "after": ".3g"})]

    def notes(self) -> list[str]:
        nats = told(self.log_odds_change, 2, "+")
        return [f"its log-odds change by {nats} nats; read these where P is near 0 or 1"]


@dataclass(frozen=True, repr=False)
class Dose(Shown):
    """P(answer) as neurons are scaled by rising factors.

    factors: (K,).  probabilities: (K, P), of each prompt.  before: (P,), unscaled.
    log_odds_changes: (K, P), in nats.
    """

    answer: str
    factors: list[float]
    probabilities: np.ndarray
    before: np.ndarray
    log_odds_changes: np.ndarray

    @property
    def estimates(self) -> list[Estimate]:
        """Change of the mean probability as a share of the unscaled, for each factor."""
        return [change_of(self.before, row) for row in self.probabilities]

    @property
    def changes(self) -> list[float]:
        """The same without intervals."""
        return [one.value for one in self.estimates]

    @property
    def intervals(self) -> list[Interval | None]:
        """95 % of each change, over prompts; None of one prompt."""
        return [one.interval for one in self.estimates]

    def tables(self) -> list[Table]:
        """A row a factor."""
        changes = self.estimates
        columns = {
            "factor": self.factors,
            "P(answer)": self.probabilities.mean(1).tolist(),
            "change": [one.value for one in changes],
        }
        if len(self.before) > 1:  # of one prompt there is no interval
            columns["low"] = [one.interval[0] for one in changes if one.interval]
            columns["high"] = [one.interval[1] for one in changes if one.interval]
        columns["log-odds"] = self.log_odds_changes.mean(1).tolist()
        formats = {"factor": "g", "P(answer)": ".3g", "log-odds": "+z.2f"}
        formats |= dict.fromkeys(("change", "low", "high"), "+.1%")
        title = f"P({self.answer}) as the neurons are scaled; change of its log-odds in nats"
        return [Table(title, columns, formats)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Factor against change: see `figures.of_neurons.dose`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.dose(self.factors, self.estimates, ax)


@dataclass(frozen=True, repr=False)
class AgainstRandom(Shown):
    """The change that neurons bring, beside those of as many random ones of the same layers.

    own: change of the mean probability.  random: of each random set.
    own_log_odds, random_log_odds: change of the log-odds in nats, the mean over prompts.
    """

    answer: str
    factor: float
    own: float
    random: list[float]
    own_log_odds: float
    random_log_odds: list[float]

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
        columns = {
            "neurons": ["these", "random, mean", "random, lowest 2.5 %", "random, highest 2.5 %"],
            "change": [self.own, *_spread(self.random)],
            "log-odds": [self.own_log_odds, *_spread(self.random_log_odds)],
        }
        formats = {"change": "+.1%", "log-odds": "+z.2f"}
        title = (
            f"change of P({self.answer}) with neurons times {self.factor:g}, and of its log-odds "
            "in nats"
        )
        return [Table(title, columns, formats)]

    def notes(self) -> list[str]:
        stronger = f"{self._stronger} of {several(len(self.random), 'random set')}"
        return [f"{stronger} changed it as much as these neurons (p = {self.as_strong:.2g})"]


def _spread(values: Sequence[float]) -> list[float]:
    """Their mean, and the ends of the middle 95 %."""
    return [float(np.mean(values)), *np.quantile(values, (0.025, 0.975)).tolist()]
