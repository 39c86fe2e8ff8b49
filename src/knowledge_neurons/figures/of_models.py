"""Where models keep their knowledge neurons, whatever their number of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.figures.plots import COLUMN, INK, PALETTE, legend_above, percent, styled

LINES = ("-", "--", "-.")  # of more models than there are colours
LONG = 24  # letters of a name, beyond which each has a row of the legend


def depth(models: Mapping[str, Sequence[float]]) -> Figure:
    """Knowledge neurons by depth, a line a model.

    models: name -> share of the neurons in each layer, from layer 0.  Layer l of L reaches from
    depth l / L to (l + 1) / L; a line rises over it by its share, so that models are compared at
    the same depth and none is higher for having fewer layers.
    """
    with styled():
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        figure.set_label("Share of the knowledge neurons up to a depth, a line for each model")
        panel = figure.subplots()
        for place, (name, shares) in enumerate(models.items()):
            ends = [layer / len(shares) for layer in range(len(shares) + 1)]
            again, color = divmod(place, len(PALETTE))
            look = {"color": PALETTE[color], "linestyle": LINES[again % len(LINES)], "label": name}
            below = [*accumulate(shares, initial=0.0)]
            panel.plot(ends, below, marker=".", markersize=3.5, linewidth=1.2, **look)
        panel.plot((0, 1), (0, 1), color=INK, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("Depth, from the lowest layer to the highest")
        panel.set_ylabel("Share of neurons up to there")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(FuncFormatter(percent))
        legend_above(figure, columns=1 if any(len(name) > LONG for name in models) else 2)
    return figure
