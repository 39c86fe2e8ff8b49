"""Records -> matplotlib figures.  Nothing is computed here that is not drawn.

One look for all: the width of a column or of a page's text, Okabe and Ito's colours (told apart by
colour-blind readers too), one colour for a kind of neurons wherever it stands, 95 % intervals as
lines or bands.  Figures are made without pyplot, under settings of their own, so that a notebook's
settings and open figures neither change nor are changed.

Here: the look, how a figure is written, and figures over layers, factors and counts.  Those with a
row for each relation are in `by_relation`.  A figure's label says in a line what it shows.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, MaxNLocator

from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.changes import ASKED, OWN
from knowledge_neurons.results.comparison import NAMES
from knowledge_neurons.results.edits import EDITED, Summary
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.types import BASELINE, CONTROL, KINDS, KNOWLEDGE

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
COLORS = {KNOWLEDGE: BLUE, BASELINE: ORANGE, CONTROL: GREEN}
PALETTE = (BLUE, ORANGE, GREEN, "#D55E00", "#808080", "#CC79A7", "#56B4E9")  # of many lines
INK = "#262626"  # text, axes, intervals; nothing else has this colour, see `svg`
DARK, LIGHT = "#1a1a1a", "#ffffff"  # of numbers in squares, whose colours are the same on any page
COLUMN, TEXT = 3.4, 7.0  # inches, a column and the text of a two-column paper
DPI = 300  # of a PNG, what printers of journals ask for
MOST_TICKS = 14  # layers that are numbered at the width of a column

STYLE = {
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.color": INK,
    "text.parse_math": False,  # a label with a $ is no formula
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "knowledge neurons",  # the same ids every time
}


@contextmanager
def styled() -> Iterator[None]:
    """The look of all figures; needed where one is made and where it is written."""
    import seaborn as sns  # takes a second, for pandas

    with style.context(["default", sns.axes_style("whitegrid"), STYLE]):
        yield


def percent(share: float, _: object = None, sign: bool = False) -> str:
    """A share in percent as an axis tells it, with a true minus; sign: + where it grew."""
    rounded = f"{100 * share:+.10g}" if sign else f"{100 * share:.10g}"
    return f"{rounded.replace('-', '−')}%" if 100 * share else "0%"


def signed_percent(share: float, _: object = None) -> str:
    return percent(share, sign=True)


def signed(number: float, _: object = None) -> str:
    """A number as an axis tells it, with its sign and a true minus."""
    return f"{number:+.10g}".replace("-", "−") if number else "0"


class Unit(NamedTuple):
    """What of an answer changes: in words, on an axis, and how its numbers are told there."""

    what: str
    axis: str
    told: Callable[..., str]


SHARE = Unit("probability", "Change of P(answer)", signed_percent)
NATS = Unit("log-odds", "Change of log-odds (nats)", signed)


# --- how a figure is written -----------------------------------------------------------------


def save(figure: Figure, path: Path) -> list[Path]:
    """Write path.pdf (vector text) and path.png (DPI), each atomically; return both paths.

    The same figure gives the same bytes: no date is written.
    """
    written = []
    for suffix, metadata in ((".pdf", {"CreationDate": None}), (".png", {"Software": None})):
        content = io.BytesIO()
        with styled():  # the font type is chosen when the file is written
            figure.savefig(content, format=suffix[1:], dpi=DPI, metadata=metadata)
        target = path.with_name(path.name + suffix)
        write_atomic(target, content.getvalue())
        written.append(target)
    return written


def svg(figure: Figure) -> str:
    """The figure as an <svg> element to stand in an HTML page, one of many.

    The background is transparent and all ink is currentColor: text, axes and intervals take the
    text colour of the page, light or dark.  Text is text, in the page's sans-serif where DejaVu
    Sans is not there.  Nothing refers outside, no style leaks into the page, and the ids start with
    a digest of the figure, so that different figures share none.  The figure's label is what a
    screen reader says.
    """
    content = io.StringIO()
    with styled():
        none = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(content, format="svg", transparent=True, metadata=none)
    drawn = content.getvalue()
    drawn = drawn[drawn.index("<svg") :]  # no prolog inside a page
    drawn = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", drawn, flags=re.S)
    drawn = drawn.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    drawn = drawn.replace("xlink:href=", "href=").replace(INK, "currentColor")
    prefix = f"f{hashlib.sha256(drawn.encode()).hexdigest()[:10]}-"
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", drawn)
    root = f'role="img" aria-label={quoteattr(figure.get_label())}'
    joins = 'stroke-linejoin="round" stroke-linecap="butt"'  # what its style had said of all
    return drawn.replace("<svg ", f"<svg {root} {joins} ", 1)


# --- layers, factors, counts -----------------------------------------------------------------


def layer_distribution(*kinds: Sequence[float], paper_look: bool = False) -> Figure:
    """Figure 3: share of the facts' neurons in each layer, ours above, the baseline's below.

    kinds: of each of KINDS the shares from layer 0, summing to 1; the baseline's may be missing.
    DEVIATION: bars rise from zero (difference 7).  paper_look: they are mirrored about zero as in
    the paper, and the axis tells true percentages on both sides.
    """
    layers = range(len(kinds[0]))
    with styled():
        figure = Figure(figsize=(COLUMN, 0.8 + len(kinds)), layout="constrained")
        figure.set_label("Figure 3: share of the neurons in each layer")
        panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
        for panel, kind, shares in zip(panels, KINDS, kinds, strict=False):
            panel.bar(layers, shares, color=COLORS[kind], linewidth=0, zorder=2)
            if paper_look:
                below = [-share for share in shares]
                panel.bar(layers, below, color=COLORS[kind], linewidth=0, zorder=2)
            top = 1.1 * max(*shares, 0.01)
            panel.set_ylim(-top if paper_look else 0, top)
            panel.set_title(NAMES[kind].capitalize())
            panel.set_ylabel("Share of neurons")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(abs(y))))
            panel.grid(axis="x", visible=False)
        panels[-1].set_xlabel("Layer, from 0")
        panels[-1].set_xticks(layers[:: math.ceil(len(layers) / MOST_TICKS)])
    return figure


def dose_response(
    relation: str, curve: Mapping[str, Mapping[str, Mapping[float, Estimate]]], unit: Unit = SHARE
) -> Figure:
    """How the right answer's probability, or its log-odds, changes with the factor on the neurons.

    relation: its id, or id and name.  curve: kind of neurons -> "own" or "other" prompts -> factor
    -> change, in this unit.  Lines for a fact's own prompts, dashed ones for other relations'.
    """
    with styled():
        figure = Figure(figsize=(COLUMN, 2.7), layout="constrained")
        of = f"{', log-odds' * (unit is NATS)}: scaling the neurons of the facts of {relation}"
        figure.set_label(f"Dose and response{of}")
        panel = figure.subplots()
        for asked, line in zip(ASKED, ("-", "--"), strict=True):
            for kind in KINDS:
                points = sorted(curve[kind][asked].items())
                if points:
                    label = NAMES[kind] if asked == OWN else f"{NAMES[kind]}, other facts"
                    line_with_band(panel, points, COLORS[kind], label, line, ".")
        panel.set_title(relation)
        panel.set_xlabel("Factor on the neurons' activations")
        panel.set_ylabel(unit.axis)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.yaxis.set_major_formatter(FuncFormatter(unit.told))
        legend_above(figure, columns=2)
    return figure


MARKS = dict(zip(EDITED, ((BLUE, "-", "o"), (GREEN, "-", "s"), (GREEN, "--", "^")), strict=True))
EDITED_LABELS = dict(zip(EDITED, (NAMES[KNOWLEDGE], "random", "random, same size"), strict=True))


def success_curve(curves: Mapping[str, Sequence[Summary]]) -> Figure:
    """Success of edits against the number of neurons edited (section 5.1 asserts that it rises).

    curves: kind of neurons -> summaries of one pair of lambdas, by rising count.
    """
    with styled():
        figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
        figure.set_label("Success of edits against the number of neurons edited")
        panel = figure.subplots()
        for kind, (color, line, marker) in MARKS.items():
            rows = [(s.neurons, s.success) for s in curves.get(kind, ())]
            if rows:
                line_with_band(panel, rows, color, EDITED_LABELS[kind], line, marker)
        panel.set_ylim(-0.02, max(0.5, 1.05 * panel.get_ylim()[1]))
        panel.set_xlabel("Neurons edited (mean)")
        panel.set_ylabel("Success of edits")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(percent))
        legend_above(figure, columns=3)
    return figure


def line_with_band(
    panel: Axes,
    rows: Sequence[tuple[float, Estimate]],
    color: str,
    label: str,
    line: str,
    marker: str,
) -> None:
    """rows: x and a value there; no band where a value has no interval."""
    x, values = zip(*((place, one.value) for place, one in rows), strict=True)
    panel.plot(
        x, values, line, marker=marker, markersize=3, linewidth=1.2, color=color, label=label
    )
    banded = [(place, *one.interval) for place, one in rows if one.interval]
    if banded:
        panel.fill_between(*zip(*banded, strict=True), color=color, alpha=0.2, linewidth=0)


def legend_above(figure: Figure, columns: int) -> None:
    """One legend for all panels, where no line can run into it."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center",
                  ncols=columns)  # fmt: skip


def label_below(figure: FigureBase, text: str) -> None:
    """What the axes of all panels tell, under their middle."""
    figure.figure.get_layout_engine().execute(figure.figure)
    ends = figure.axes[0].get_position().x0, figure.axes[-1].get_position().x1
    figure.supxlabel(text, x=sum(ends) / 2, fontsize=8)
