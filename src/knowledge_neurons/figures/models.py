"""Where the neurons of several models lie, as a figure: by depth, whatever the number of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.figures.plots import BLUE, COLUMN, GREEN, ORANGE, percent, styled

COLORS = (BLUE, ORANGE, GREEN, "#D55E00", "#CC79A7", "#56B4E9")  # one after the other, and again
DASHES = ("-", "--", ":")  # of those that share a colour


def depths(layers: Mapping[str, Sequence[float]]) -> Figure:
    """The share of neurons below each depth.

    layers: run -> the share of its neurons in each of its L layers, of which each takes 1 / L of
    the depth.
    """
    with styled():
        figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
        figure.set_label("Share of knowledge neurons below a depth, by model")
        panel = figure.subplots()
        for place, (name, shares) in enumerate(layers.items()):
            below = np.concatenate([[0.0], np.cumsum(shares)])  # (L + 1,)
            color, dash = COLORS[place % len(COLORS)], DASHES[place // len(COLORS) % len(DASHES)]
            depth = np.linspace(0, 1, len(below))
            panel.plot(depth, below, color=color, linestyle=dash, linewidth=1.5, label=name)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("Depth, from the lowest layer to the highest")
        panel.set_ylabel("Neurons below")
        panel.yaxis.set_major_formatter(FuncFormatter(percent))
        panel.legend(loc="upper left")
    return figure
