"""Stage 11: what scorers' strongest neurons do and what scorers cost; what one prompt finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from knowledge_neurons.figures.plots import BLUE, INK, ORANGE, PALETTE, TEXT, percent, styled
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.scorers import ScorersSummary, ScorerSummary
from knowledge_neurons.results.single_prompt import OnePromptSummary

# Colour and marker of each scorer, in the order in which they come.
MARKS = tuple(zip(PALETTE, "os^DvPX", strict=True))
APART = 1.045  # by what factor scorers stand beside each other, so that intervals can be told apart
ROW = 0.24  # inches
LEAST = 1e-7  # seconds, for an axis that has no zero


def scorers(found: ScorersSummary) -> Figure:
    """P(answer) with each scorer's strongest off, and with them alone on; agreement and cost.

    Hollow: a scorer of candidates alone, its cost that of all neurons at the same rate.
    """
    with styled():
        figure = Figure(figsize=(TEXT, 2.9), layout="constrained")
        figure.set_label("Scorers: deletion, insertion, and agreement with zero-out against cost")
        deletion, insertion, cost = figure.subplots(1, 3, width_ratios=(1, 0.8, 1))
        for place, one in enumerate(found.scorers):
            apart = APART ** (place - (len(found.scorers) - 1) / 2)
            _curve(deletion, found.ks, one.deletions, place, apart, one.scorer)
            _curve(insertion, found.shares, one.insertions, place, apart)
            _cost(cost, found, one, place)
        _logarithmic(deletion, found.ks, str)
        _logarithmic(insertion, found.shares, percent)
        deletion.set_xlabel("Strongest neurons off")
        deletion.set_ylabel("P(answer), of what it was")
        insertion.set_xlabel("Strongest on, all others off")
        cost.set_xscale("log")
        cost.xaxis.set_major_locator(LogLocator(numticks=5))
        cost.xaxis.set_minor_locator(NullLocator())
        cost.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "−")))
        cost.set_xlabel("Processor seconds, all neurons")
        cost.set_ylabel("Agreement with zero-out")
        for panel in (deletion, insertion):
            panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
            panel.yaxis.set_major_formatter(FuncFormatter(percent))
        handles = deletion.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=4)
    return figure


def _curve(
    panel: Axes,
    x: Sequence[float],
    values: Sequence[Estimate],
    place: int,
    apart: float,
    label: str | None = None,
) -> None:
    """A line with an interval at each point."""
    color, marker = _mark(place)
    at = [one * apart for one in x[: len(values)]]
    y = [one.value for one in values]
    panel.plot(at, y, marker=marker, markersize=3, linewidth=1, color=color, label=label)
    for where, one in zip(at, values, strict=True):
        if one.interval:
            panel.vlines(where, *one.interval, color=color, linewidth=0.8)


def _cost(panel: Axes, found: ScorersSummary, one: ScorerSummary, place: int) -> None:
    """A point; what the others are compared with agrees with itself."""
    color, marker = _mark(place)
    seconds = max(found.seconds_of_all(one), LEAST)
    filled = color if one.neurons >= found.neurons else "none"
    agreed = one.agreement or Estimate(1.0, None)
    panel.plot(seconds, agreed.value, marker, markersize=5, color=color, markerfacecolor=filled)
    if agreed.interval:
        panel.vlines(seconds, *agreed.interval, color=color, linewidth=0.8)


def _mark(place: int) -> tuple[str, str]:
    return MARKS[place % len(MARKS)]


def _logarithmic(panel: Axes, ticks: Sequence[float], told: Callable[..., str]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(ticks, [told(one) for one in ticks])


def one_prompt(found: OnePromptSummary) -> Figure:
    """How much of what a fact's other wordings find each way of asking one prompt finds, and what
    it costs."""
    rows = found.ways
    with styled():
        figure = Figure(figsize=(TEXT, 0.75 + ROW * max(2, len(rows))), layout="constrained")
        figure.set_label("One prompt: precision of ways of asking it, and their cost")
        precision, cost = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1))
        for place, one in enumerate(rows):
            color = BLUE if one.gain is None else ORANGE
            precision.plot(one.precision.value, place, "o", markersize=4.5, color=color, zorder=3)
            if one.precision.interval:
                precision.hlines(place, *one.precision.interval, color=INK, linewidth=0.7)
            cost.barh(place, one.seconds, height=0.5, color=color, linewidth=0, zorder=2)
        precision.set_yticks(range(len(rows)), [one.way for one in rows])
        precision.set_ylim(max(2, len(rows)) - 0.5, -0.5)
        precision.xaxis.set_major_formatter(FuncFormatter(percent))
        precision.set_xlabel("Precision: of what the other wordings find")
        cost.set_xlabel("Processor seconds a prompt")
        cost.xaxis.set_major_locator(MaxNLocator(4))
        for panel in (precision, cost):
            panel.grid(axis="y", visible=False)
            panel.tick_params(axis="y", length=0)
    return figure
