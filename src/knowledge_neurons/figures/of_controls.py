"""Stage 10's answers: effects of neurons that few facts share, wordings, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.figures.plots import (
    BLUE,
    COLUMN,
    DARK,
    GREEN,
    INK,
    LIGHT,
    ORANGE,
    TEXT,
    legend_above,
    line_with_band,
    signed_percent,
    styled,
)
from knowledge_neurons.results.changes import OTHER, OWN, SUPPRESS
from knowledge_neurons.results.controls import SAME, Effects, random_of, shared_by
from knowledge_neurons.results.localisation import OVERLAP_COLUMNS, Localisation
from knowledge_neurons.results.stability import AtThresholds, Stability
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import KNOWLEDGE

PINK = "#CC79A7"  # of Okabe and Ito's too
ASKED = {OWN: (BLUE, "own prompts"), SAME: (ORANGE, "same relation"), OTHER: (PINK, "others")}
ROW = 0.3  # inches
BESIDE = 0.18  # rows, between the points of one


def sharing(found: Sequence[Effects]) -> Figure | None:
    """What suppressing those of a fact's neurons does that at most s other facts have, by s.

    None where no s was tried.
    """
    off = {one.kind: one for one in found if one.factor == SUPPRESS}
    swept = [kind for kind in off if shared_by(kind) is not None and random_of(kind) in off]
    if not swept or KNOWLEDGE not in off:
        return None
    kinds = [*swept, KNOWLEDGE]
    with styled():
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        figure.set_label("Neurons that few facts share, suppressed: whose answers change")
        panel = figure.subplots()
        for column, (color, label) in ASKED.items():
            rows = [(x, off[kind].changes.get(column)) for x, kind in enumerate(kinds)]
            if known := [(x, one) for x, one in rows if one]:
                line_with_band(panel, known, color, label, "-", "o")
        rows = [(x, off[random_of(kind)].changes.get(OWN)) for x, kind in enumerate(kinds)]
        if known := [(x, one) for x, one in rows if one]:
            line_with_band(panel, known, GREEN, "random, own prompts", "--", "s")
        names = [f"{shared_by(kind)}" for kind in swept] + ["all"]
        counts = [
            f"{name}\n({off[kind].neurons:.1f})" for name, kind in zip(names, kinds, strict=True)
        ]
        panel.set_xticks(range(len(kinds)), counts)
        panel.set_xlabel("Facts that may share a neuron (neurons a fact)")
        panel.set_ylabel("Change of P(answer)")
        panel.yaxis.set_major_formatter(FuncFormatter(signed_percent))
        legend_above(figure, columns=2)
    return figure


COLORS = dict(zip(OVERLAP_COLUMNS, (BLUE, ORANGE, GREEN, PINK), strict=True))


def wordings(found: Localisation) -> Figure:
    """How far two prompts name the same neurons, by what they have in common, a row a relation."""
    rows = {"all": found.overall}
    rows |= {name: found.relations[name] for name in sorted(found.relations, key=by_number)}
    with styled():
        figure = Figure(figsize=(COLUMN, 1.2 + ROW * len(rows)), layout="constrained")
        figure.set_label("Overlap of the neurons of two prompts, by relation")
        panel = figure.subplots()
        for place, (column, label) in enumerate(OVERLAP_COLUMNS.items()):
            known = [
                (y + BESIDE * (place - 1.5), estimate)
                for y, one in enumerate(rows.values())
                if (estimate := one.overlaps.get(column))
            ]
            if not known:  # of one relation alone there is nothing elsewhere
                continue
            ends = [(*(one.interval or (one.value,) * 2),) for _, one in known]
            panel.hlines([y for y, _ in known], *zip(*ends, strict=True), color=INK, linewidth=0.6)
            x, y = [one.value for _, one in known], [y for y, _ in known]
            panel.plot(x, y, "o", markersize=3.5, color=COLORS[column], label=label, zorder=3)
        panel.set_yticks(range(len(rows)), rows)
        panel.invert_yaxis()
        panel.set_xlim(0, 1)
        panel.set_xlabel("Overlap of coarse neurons (Jaccard)")
        legend_above(figure, columns=1)
    return figure


GRIDS: dict[str, tuple[Callable[[AtThresholds], float | None], str, str]] = {
    "Neurons a fact": (lambda one: one.neurons, "Blues", "{:.1f}"),
    "Overlap with stage 2's": (lambda one: one.overlap and one.overlap.value, "Greens", "{:.2f}"),
    "Shared by two facts": (lambda one: one.shared, "Blues", "{:.2f}"),
    "Suppressed: change of P": (
        lambda one: one.change and 100 * one.change.value, "Purples_r", "{:.0f}%",
    ),
}  # fmt: skip


def thresholds(found: Stability) -> Figure:
    """Four numbers by the two thresholds, t and p."""
    ts = sorted({one.t for one in found.cells})
    ps = sorted({one.p for one in found.cells})
    with styled():
        figure = Figure(figsize=(TEXT, 1.3 + 0.36 * len(ts)), layout="constrained")
        figure.set_label("Neurons and their effect at other thresholds t and p")
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for panel, (title, (value, colors, told)) in zip(panels.flat, GRIDS.items(), strict=True):
            grid = np.full((len(ts), len(ps)), np.nan)
            for one in found.cells:
                number = value(one)
                grid[ts.index(one.t), ps.index(one.p)] = np.nan if number is None else number
            _heatmap(panel, grid, colors, told)
            panel.set_title(title)
            panel.set_xticks(np.arange(len(ps)) + 0.5, [f"{p:g}" for p in ps])
            panel.set_yticks(np.arange(len(ts)) + 0.5, [f"{t:g}" for t in ts])
        for panel in panels[-1]:
            panel.set_xlabel("p, share of the prompts")
        for panel in panels[:, 0]:
            panel.set_ylabel("t, share of the largest")
    return figure


def _heatmap(panel: Axes, grid: np.ndarray, colors: str, told: str) -> None:
    """A panel without a number stays empty."""
    if np.isnan(grid).all():
        return
    mesh = panel.pcolormesh(np.ma.masked_invalid(grid), cmap=colors, norm=_norm(grid))
    panel.grid(visible=False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for (row, column), number in np.ndenumerate(grid):
        if not np.isnan(number):
            r, g, b, _ = mesh.cmap(mesh.norm(number))
            ink = DARK if 0.3 * r + 0.6 * g + 0.1 * b > 0.5 else LIGHT
            text = told.format(number).replace("-", "−")
            panel.text(
                column + 0.5, row + 0.5, text, color=ink, ha="center", va="center", fontsize=6
            )


def _norm(grid: np.ndarray) -> Normalize:
    """Counts of neurons run over orders of magnitude: their square root is what is shaded."""
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    if high > 10:
        return PowerNorm(0.4, min(0.0, low), high)
    return Normalize(low, max(high, low + 1e-9))
