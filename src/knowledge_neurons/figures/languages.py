"""What languages share, as a figure: two maps of every pair of them, and neurons over layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from knowledge_neurons.figures.plots import BLUE, DARK, LIGHT, ORANGE, TEXT, percent, styled
from knowledge_neurons.results.languages import PairOfLanguages, Sharing

FEW = 8  # languages whose numbers fit into their squares


def sharing(found: Sharing) -> Figure:
    """Neurons that two languages share of a fact, beside those of other facts, and by layer."""
    pairs, spread = found.facts.pairs, found.facts.spread
    own, others = (_square(found.languages, pairs, which) for which in ("jaccard", "jaccard_other"))
    top = max(np.nanmax(own, initial=0), np.nanmax(others, initial=0), 0.01)
    with styled():
        figure = Figure(figsize=(TEXT, 2.7), layout="constrained")
        figure.set_label("Neurons of a fact that two languages share, and by layer")
        first, second, last = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
        for panel, values, title in (
            (first, own, "The same fact"),
            (second, others, "Other facts of the relation"),
        ):
            image = _map(panel, values, found.languages, top)
            panel.set_title(title)
        bar = figure.colorbar(image, ax=[first, second], location="bottom", aspect=40, pad=0.04)
        bar.set_label("Shared, of the neurons in either language")
        bar.ax.xaxis.set_major_formatter(percent)
        bar.outline.set_visible(False)
        if spread:
            _bars(last, spread.layers_independent, spread.layers_specific)
    return figure


def _square(languages: Sequence[str], pairs: Sequence[PairOfLanguages], which: str) -> np.ndarray:
    """(languages, languages), the same both ways; NaN where nothing was compared."""
    values = np.full((len(languages), len(languages)), np.nan)
    for pair in pairs:
        estimate = getattr(pair, which)
        if estimate:
            i, j = languages.index(pair.first), languages.index(pair.second)
            values[i, j] = values[j, i] = estimate.value
    return values


def _map(panel: Axes, values: np.ndarray, languages: Sequence[str], top: float) -> QuadMesh:
    squares = panel.pcolormesh(values, cmap="Blues", vmin=0, vmax=top)
    panel.set_aspect("equal")
    panel.invert_yaxis()
    size = 7 if len(languages) <= FEW else 4
    places = np.arange(len(languages)) + 0.5
    panel.set_xticks(places, languages, fontsize=size, rotation=90 * (size < 7))
    panel.set_yticks(places, languages, fontsize=size)
    panel.tick_params(length=0)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    if len(languages) <= FEW:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = LIGHT if value > 0.6 * top else DARK
                panel.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", color=color, ha="center",
                           va="center", fontsize=7)  # fmt: skip
    return squares


def _bars(panel: Axes, independent: Sequence[float], specific: Sequence[float]) -> None:
    layers = np.arange(len(independent))
    for values, shift, color, label in (
        (independent, -0.2, BLUE, "independent of language"),
        (specific, 0.2, ORANGE, "in one language alone"),
    ):
        panel.bar(
            layers + shift, values, width=0.4, color=color, linewidth=0, label=label, zorder=2
        )
    panel.set_title("Neurons of a fact")
    panel.set_xlabel("Layer, from 0")
    panel.set_ylabel("Neurons a fact")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(axis="x", visible=False)
    top = max(*independent, *specific, 0.01)
    panel.set_ylim(0, 1.45 * top)  # room for the legend
    panel.legend(loc="upper left")
