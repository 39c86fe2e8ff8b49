"""Records -> matplotlib figures.  Nothing is computed here that is not drawn.

Figures are made without pyplot, so a notebook's own settings and open figures stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.storage import write_atomic

# Okabe and Ito's palette, told apart by colour-blind readers too.
NEURONS, BASELINE, RANDOM = "#0072B2", "#E69F00", "#009E73"
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


def dose_response(relation: str, curve: Mapping[str, Mapping[str, Mapping]]) -> Figure:
    """How the right answer's probability changes with the factor on a fact's neurons.

    curve: kind of neurons -> "own" or "other" prompts -> factor -> {"change", "interval"}, shares.
    Lines for a fact's own prompts, dashed ones for other relations' facts, with 95 % bands.
    """
    with sns.axes_style("whitegrid"), rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        panel = figure.subplots()
        for kind, name, color in (
            ("neurons", "knowledge neurons", NEURONS),
            ("baseline", "activation baseline", BASELINE),
        ):
            for asked, line in (("own", "-"), ("other", "--")):
                points = sorted((float(factor), v) for factor, v in curve[kind][asked].items())
                if not points:
                    continue
                factors = [factor for factor, _ in points]
                means = [100 * value["change"] for _, value in points]
                ends = [[100 * value["interval"][end] for _, value in points] for end in (0, 1)]
                label = name if asked == "own" else f"{name}, other facts"
                panel.plot(factors, means, line, color=color, linewidth=1.2, label=label)
                panel.fill_between(factors, *ends, color=color, alpha=0.2, linewidth=0)
        panel.set_title(f"{relation}: scaling a fact's neurons")
        panel.set_xlabel("Factor on the activations")
        panel.set_ylabel("Change of P(answer)")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:+.0f}%"))
        panel.legend(frameon=False, fontsize=6)
    return figure


def success_curve(curves: Mapping[str, Sequence[tuple[float, float, float, float]]]) -> Figure:
    """Success of edits against the number of neurons edited (section 5.1 asserts that it rises).

    curves: label -> points (neurons, rate, low, high), with the ends of the rate's interval.
    """
    colors = (NEURONS, BASELINE, RANDOM)
    with sns.axes_style("whitegrid"), rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
        panel = figure.subplots()
        for (label, points), color in zip(curves.items(), colors, strict=False):
            x, rate, low, high = zip(*points, strict=True)
            percent = [[100 * value for value in values] for values in (rate, low, high)]
            panel.plot(x, percent[0], marker="o", markersize=3, color=color, label=label)
            panel.fill_between(x, *percent[1:], color=color, alpha=0.2, linewidth=0)
        panel.set_ylim(-2, 102)
        panel.set_xlabel("Neurons edited")
        panel.set_ylabel("Success")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f}%"))
        panel.legend(frameon=False)
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
