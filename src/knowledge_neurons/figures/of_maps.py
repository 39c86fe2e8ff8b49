"""Neuron maps of a relation: which layers drive which, and whether predictions came true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from knowledge_neurons.figures.plots import (
    BLUE,
    GREEN,
    INK,
    MOST_TICKS,
    ORANGE,
    TEXT,
    percent,
    signed_percent,
    styled,
)
from knowledge_neurons.results.maps import MapSummary, Point

ROW = 0.19  # inches
LOW = 2.6  # inches, of a figure at least
SHADES = colormaps["viridis"].resampled(32)  # few enough for a scale without an image in the SVG
# What was switched off -> colour, marker, name; layer 0 follows words rather than facts.
MARKS = {"random": (GREEN, "x", "random"), "above": (BLUE, "o", "driver")}
MARKS["layer 0"] = (ORANGE, "s", "driver in layer 0")


def neuron_map(relation: str, found: MapSummary) -> Figure:
    """Between which layers drivers work, and predicted against measured changes.

    relation: its id, or id and name.  A row of the left panel is the mean over the facts' neurons
    of a layer, their number in brackets; a row sums to one.
    """
    with styled():
        height = max(LOW, 1.3 + ROW * len(found.flow))
        figure = Figure(figsize=(TEXT, height), layout="constrained")
        figure.set_label(
            f"Neuron map of {relation}: layers that drive, changes predicted and measured"
        )
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _flow(left, found)
        _validation(right, found)
        figure.suptitle(relation)
        figure.get_layout_engine().set(wspace=0.08)  # the scale's name apart from the next panel's
    return figure


def _flow(panel: Axes, found: MapSummary) -> None:
    """A row for each layer that has driven neurons, the highest on top; columns from the first
    layer that was scored."""
    rows = found.flow
    columns = max((len(row.shares) for row in rows), default=1)
    shares = np.full((max(len(rows), 1), columns), np.nan)
    for place, row in enumerate(rows):
        shares[place, : len(row.shares)] = row.shares
    first = int(np.argmax((shares > 0).any(0)))
    panel.grid(visible=False)
    cells = np.ma.masked_invalid(shares)
    mesh = panel.pcolormesh(cells, cmap=SHADES, vmin=0, edgecolors="face", linewidth=0.3)
    numbered = range(first, columns, 1 if columns - first <= MOST_TICKS else 2)
    panel.set_xticks(np.array(numbered) + 0.5, map(str, numbered))
    panel.set_xlim(first, columns)
    panel.set_yticks(np.arange(len(rows)) + 0.5, [f"{row.layer} ({row.neurons})" for row in rows])
    panel.set_xlabel("Drivers' layer, from 0")
    panel.set_ylabel("Layer of the fact's neurons")
    bar = panel.figure.colorbar(mesh, ax=panel, format=FuncFormatter(percent), pad=0.02)
    bar.set_label("Share of all absolute scores")
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")


def _validation(panel: Axes, found: MapSummary) -> None:
    """A point for each neuron that was switched off; on the line the prediction came true."""
    edges = found.edges
    groups = {
        "random": found.random,
        "above": [one for one in edges if one.layer],
        "layer 0": [one for one in edges if not one.layer],
    }
    for name, points in groups.items():
        if points:
            _scatter(panel, points, *MARKS[name][:2])
    ends = [one.predicted for points in groups.values() for one in points] or [0.0, 1.0]
    panel.plot(*[(min(ends), max(ends))] * 2, color=INK, linewidth=0.6, zorder=1)
    panel.set_xlabel("Change predicted, of the activation")
    panel.set_ylabel("Change measured")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(signed_percent))
    keys = [
        Line2D([], [], color=color, marker=marker, linestyle="", markersize=3.5, label=label)
        for name, (color, marker, label) in MARKS.items()
        if groups[name]
    ]
    panel.legend(handles=keys, loc="upper left", handletextpad=0.2)
    agreed = found.validation.edges
    if agreed.r is not None:
        panel.set_title(f"one off at a time: r = {agreed.r:.2f}, slope {agreed.slope:.2f}")


def _scatter(panel: Axes, points: Sequence[Point], color: str, marker: str) -> None:
    x, y, _ = zip(*points, strict=True)
    panel.scatter(
        x,
        y,
        s=7,
        marker=marker,
        color=color,
        alpha=0.6,
        linewidths=0.6,
        zorder=3 if marker == "x" else 2,
    )
