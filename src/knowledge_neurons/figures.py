"""Records -> matplotlib figures.  Nothing is computed here that is not drawn.

Figures are made without pyplot, so a notebook's own settings and open figures stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.artifacts import write_atomic

# Okabe and Ito's palette, told apart by colour-blind readers too.
NEURONS, BASELINE = "#0072B2", "#E69F00"
COLUMN = 3.4  # inches, the width of a column of a two-column paper

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def layer_distribution(neurons: Sequence[float], baseline: Sequence[float]) -> Figure:
    """Figure 3: share of the facts' neurons in each layer, ours above, the baseline's below.

    neurons, baseline: shares from layer 0, each summing to 1.  Bars are mirrored about zero as in
    the paper.  DEVIATION: the axis tells true percentages (difference 7).
    """
    layers = range(1, len(neurons) + 1)
    with sns.axes_style("whitegrid"), rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.8), layout="constrained")
        panels = figure.subplots(2, 1, sharex=True)
        rows = zip(
            panels,
            (neurons, baseline),
            ("Knowledge neurons", "Activation baseline"),
            (NEURONS, BASELINE),
            strict=True,
        )
        for panel, shares, title, color in rows:
            half = [100 * share for share in shares]
            heights, bottoms = [2 * h for h in half], [-h for h in half]
            panel.bar(layers, heights, bottom=bottoms, color=color, linewidth=0, zorder=2)
            top = 1.1 * max(*half, 1)
            panel.set_ylim(-top, top)
            panel.set_title(title)
            panel.set_ylabel("Percentage")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):.0f}%"))
            panel.grid(axis="x", visible=False)
        panels[-1].set_xlabel("Layer")
        panels[-1].set_xticks(list(layers))
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """Write path.pdf (vector text) and path.png (200 dpi), each atomically; return both paths."""
    written = []
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        content = io.BytesIO()
        with rc_context(STYLE):  # the font type is chosen when the file is written
            figure.savefig(content, format=suffix[1:], dpi=200, metadata=metadata)
        target = path.with_name(path.name + suffix)
        write_atomic(target, content.getvalue())
        written.append(target)
    return written
