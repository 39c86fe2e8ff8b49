"""Records -> matplotlib figures.  Nothing is computed here that is not drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only, no display

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

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
    the paper; the axis tells true percentages.
    """
    layers = range(1, len(neurons) + 1)
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            2, 1, figsize=(COLUMN, 2.8), sharex=True, layout="constrained"
        )
        rows = zip(
            panels,
            (neurons, baseline),
            ("Knowledge neurons", "Activation baseline"),
            (NEURONS, BASELINE),
            strict=True,
        )
        for panel, shares, title, color in rows:
            half = [100 * share for share in shares]
            panel.bar(layers, [2 * h for h in half], bottom=[-h for h in half], color=color)
            panel.set_title(title)
            panel.set_ylabel("Percentage")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):.0f}%"))
            panel.grid(axis="x", visible=False)
        panels[-1].set_xlabel("Layer")
        panels[-1].set_xticks(list(layers))
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """Write path.pdf (vector text) and path.png (200 dpi), close the figure; return both paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        target = path.with_name(path.name + suffix)
        temporary = target.with_name(f".{target.name}")
        with plt.rc_context(STYLE):  # the font type is chosen when the file is written
            figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
        written.append(temporary.replace(target))
    plt.close(figure)
    return written
