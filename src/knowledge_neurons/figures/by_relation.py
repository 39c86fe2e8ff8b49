"""Figures with a row for each relation: changes of a probability, activations, erasures.

They hold one relation or all 34: a row has the relation's id and, shortened where it must be, its
name; all relations together stand above.  A few rows make a figure of a column's width, more one of
the text's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from knowledge_neurons.figures.plots import (
    BLUE,
    COLORS,
    COLUMN,
    GREEN,
    INK,
    SHARE,
    TEXT,
    Unit,
    label_below,
    percent,
    signed_percent,
    styled,
)
from knowledge_neurons.results.activations import (
    BOTH,
    HEAD,
    RANDOM_SENTENCES,
    Activations,
    TableRow,
)
from knowledge_neurons.results.changes import OTHER, OWN, SUPPRESS, Modified
from knowledge_neurons.results.comparison import NAMES
from knowledge_neurons.results.erasures import EDITS, Effect, Erasure
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import KINDS

ALL = "all relations"
FEW = 16  # rows that a figure of a column's width holds
ROW, LOW_ROW = 0.21, 0.17  # inches, of few rows and of many
ROOM, WIDE_ROOM = 26, 36  # characters of a row's name, likewise
FEW_TICKS, TICKS = 3, 6  # steps of a panel's scale, likewise
BESIDE = (1.7, 1)  # widths of two halves of which one has the names
GAP = 0.4  # rows, below all relations
PAIR = (-0.2, 0.2)  # where the two of a row stand, and how thick they are
BAR = 0.36
SENTENCES = {  # kind -> label, marker, whether it is filled, where in the row it stands
    BOTH: ("T1, head and tail", "o", True, -0.22),
    HEAD: ("T2, head", "D", False, 0.0),
    RANDOM_SENTENCES: ("T3, random", "o", False, 0.22),
}
ASKED = {OWN: "Own facts", OTHER: "Other relations"}
ERASURES = "Perplexity and accuracy before and after erasing relations"
READ = {"relation": "Its own prompts", "others": "All others"}


def changes(
    modified: Modified, factor: float, labels: Mapping[str, str], unit: Unit = SHARE
) -> Figure:
    """Figures 4 and 5: change of the right answer's probability with the neurons times a factor.

    Knowledge neurons beside the baseline, on a fact's own prompts and on other relations', on one
    scale.  labels: relation -> its name.  unit: NATS for the change of log-odds.
    """
    told = modified if unit is SHARE else modified.log_odds
    rows = _with_all(told.overall, told.relations)
    asked = [a for a in ASKED if any(row[k][a] for row in rows.values() for k in KINDS)] or [OWN]
    state = "suppressed" if factor == SUPPRESS else "amplified"
    with styled():
        figure = _figure(rows, f"Change of the right answer's {unit.what} with neurons {state}")
        panels = figure.subplots(1, len(asked), sharex=True, sharey=True, squeeze=False)[0]
        for panel, whose in zip(panels, asked, strict=True):
            for kind, offset in zip(KINDS, PAIR, strict=True):
                found = [row[kind][whose].get(factor) for row in rows.values()]
                _bars(panel, _places(rows), offset, found, COLORS[kind])
            panel.set_title(ASKED[whose], fontsize=7)
            _zero_line(panel)
            _ticks(panel, _room_for_ticks(rows), unit.told)
        _name_rows(panels, rows, labels)
        there = [k for k in KINDS if any(row[k][a] for row in rows.values() for a in ASKED)]
        _legend(figure, [Patch(color=COLORS[kind], label=NAMES[kind]) for kind in there])
        note = " (the released code's averages, no intervals)" if modified.theirs else ""
        label_below(figure, f"{unit.axis}{note}")
    return figure


def activations(found: Activations, labels: Mapping[str, str]) -> Figure:
    """Table 4 as a figure: mean activation on sentences with head and tail, with the head, random.

    A panel for each kind of neurons, each with its own scale from zero.  labels: relation -> name.
    """
    rows = _with_all(found.overall, found.relations)
    with styled():
        figure = _figure(rows, "Mean activation of the neurons by kind of sentence")
        panels = figure.subplots(1, len(found.kinds), sharey=True, squeeze=False)[0]
        for panel, kind in zip(panels, found.kinds, strict=True):
            for place, row in zip(_places(rows), rows.values(), strict=True):
                if kind in row:
                    _activation_marks(panel, place, row[kind], COLORS[kind])
            panel.set_title(NAMES[kind].capitalize(), fontsize=7)
            _zero_line(panel)
            _ticks(panel, _room_for_ticks(rows))
        _name_rows(panels, rows, labels)
        handles = [
            Line2D(
                *([], []),
                color=INK,
                linestyle="",
                marker=marker,
                markersize=3.5,
                markerfacecolor=INK if filled else "none",
                label=label,
            )
            for label, marker, filled, _ in SENTENCES.values()
        ]
        _legend(figure, handles)
        label_below(figure, "Mean activation")
    return figure


def erasures(found: Sequence[Erasure], labels: Mapping[str, str]) -> Figure:
    """Table 5 as a figure: perplexity and accuracy, a row for each relation that was erased.

    By how much the perplexity grew, and the accuracy before, hollow, and after, filled; on the
    relation's own prompts and on all others', on one scale.  The control has as many random
    neurons.  labels: relation -> its name.
    """
    rows = {run.run: run for run in sorted(found, key=lambda run: by_number(run.run))}
    names = {run.run: labels.get(run.relation, "") for run in found}
    with styled():
        if len(rows) <= FEW:
            figure = _figure(rows, ERASURES, stacked=2)
            first, second = figure.subfigures(2, 1)
        else:
            figure = _figure(rows, ERASURES)
            first, second = figure.subfigures(1, 2, width_ratios=BESIDE)
        for panel in _read_panels(first, rows, _growth_bars, signed_percent):
            _zero_line(panel)
        start = _read_panels(second, rows, _before_and_after, percent)[0].get_xlim()[0]
        _name_rows(first.axes, rows, names)
        _name_rows(second.axes, rows, names, named=len(rows) <= FEW)
        erased = Patch(color=BLUE, label="the relation's neurons erased")
        _legend(figure, [erased, Patch(color=GREEN, label="as many random ones")])
        label_below(first, "Increase of perplexity")
        not_zero = f" (axis starts at {100 * start:.3g}%)" if start > 0 else ""
        label_below(second, f"Accuracy{not_zero}")
    return figure


def _read_panels(
    part: SubFigure,
    rows: Mapping[str, Erasure],
    mark: Callable[..., None],
    told: Callable[..., str],
) -> Sequence[Axes]:
    """A panel of the relation's prompts and, where there are any, of all others'.

    mark: draws what was read of them.
    """
    whose = [w for w in READ if any(getattr(run.erased, w) for run in rows.values())]
    panels = part.subplots(1, len(whose), sharex=True, sharey=True, squeeze=False)[0]
    for panel, field in zip(panels, whose, strict=True):
        for edit, color, offset in zip(EDITS, (BLUE, GREEN), PAIR, strict=True):
            read = [getattr(getattr(run, edit), field) for run in rows.values()]
            mark(panel, _places(rows), offset, read, color)
        panel.set_title(READ[field], fontsize=7)
        _ticks(panel, FEW_TICKS, told)
    return panels


# --- rows ------------------------------------------------------------------------------------


def _with_all(overall: object, relations: Mapping[str, object]) -> dict:
    """Name -> content of each row: all relations, where there are several, then each."""
    rows = {ALL: overall} if len(relations) != 1 else {}
    return rows | {name: relations[name] for name in sorted(relations, key=by_number)}


def _places(rows: Iterable[str]) -> list[float]:
    """Where the rows stand, downwards."""
    has_all = ALL in rows
    return [row + GAP * (has_all and row > 0) for row in range(len(list(rows)))]


def _figure(rows: Mapping[str, object], label: str, stacked: int = 1) -> Figure:
    """As wide and as high as the rows need, of which `stacked` panels stand above each other."""
    few = len(rows) <= FEW
    height = stacked * (0.6 + (len(rows) + GAP) * (ROW if few else LOW_ROW)) + 0.4
    figure = Figure(figsize=(COLUMN if few else TEXT, height), layout="constrained")
    figure.set_label(label)
    return figure


def _name_rows(
    panels: Sequence[Axes],
    rows: Mapping[str, object],
    labels: Mapping[str, str],
    named: bool = True,
) -> None:
    """Each row's id and name at its place, the first above; all relations in bold."""
    for panel in panels:
        panel.grid(axis="y", visible=False)
        panel.spines["left"].set_visible(False)
    first, places = panels[0], _places(rows)
    room = ROOM if len(rows) <= FEW else WIDE_ROOM
    names = [name_of(row, labels, room) if named else "" for row in rows]
    first.set_yticks(places, names, fontsize=6.5)
    first.set_ylim(places[-1] + 0.6, -0.6)
    first.tick_params(axis="y", length=0)
    if ALL in rows:
        first.get_yticklabels()[0].set_fontweight("bold")


def name_of(relation: str, labels: Mapping[str, str], room: int = WIDE_ROOM) -> str:
    """ "P101 field of work", cut after `room` characters; the id alone where it has no label."""
    name = f"{relation} {labels.get(relation, '')}".strip()
    return name if len(name) <= room else f"{name[: room - 1].rstrip()}…"


# --- marks -----------------------------------------------------------------------------------


def _bars(
    panel: Axes,
    places: Sequence[float],
    offset: float,
    values: Sequence[Estimate | None],
    color: str,
) -> None:
    """A bar from zero for each value that is there, its interval as a line."""
    there = [(place + offset, one) for place, one in zip(places, values, strict=True) if one]
    if not there:
        return
    y, widths = zip(*((place, one.value) for place, one in there), strict=True)
    panel.barh(y, widths, height=BAR, color=color, linewidth=0, zorder=2)
    for place, one in there:
        if one.interval:
            panel.hlines(place, *one.interval, color=INK, linewidth=0.7, zorder=3)


def _growth_bars(
    panel: Axes, places: Sequence[float], offset: float, read: Sequence[Effect | None], color: str
) -> None:
    """By how much the perplexity grew."""
    _bars(panel, places, offset, [one and one.perplexity_increase for one in read], color)


def _activation_marks(panel: Axes, place: float, row: TableRow, color: str) -> None:
    """A mark for each kind of sentence, its interval as a line."""
    for kind, (_, marker, filled, offset) in SENTENCES.items():
        estimate, y = row.by_sentences[kind], place + offset
        if estimate.interval:
            panel.hlines(y, *estimate.interval, color=INK, linewidth=0.7, zorder=2)
        panel.plot(
            estimate.value, y, marker, markersize=3, color=color, markeredgewidth=0.8, zorder=3,
            markerfacecolor=color if filled else "none",
        )  # fmt: skip


def _before_and_after(
    panel: Axes, places: Sequence[float], offset: float, read: Sequence[Effect | None], color: str
) -> None:
    """The accuracy before, hollow, and after, filled, and a line between them."""
    for place, change in zip(places, read, strict=True):
        if change is not None:
            ends, y = (change.accuracy_before, change.accuracy_after), place + offset
            panel.hlines(y, *ends, color=color, linewidth=1.2, zorder=2)
            for x, face in zip(ends, ("none", color), strict=True):
                panel.plot(x, y, "o", markersize=3.2, color=color, markerfacecolor=face, zorder=3)


def _zero_line(panel: Axes) -> None:
    panel.axvline(0, color=INK, linewidth=0.6, zorder=4)


def _room_for_ticks(rows: Mapping[str, object]) -> int:
    """The largest number of ticks of each of two panels."""
    return FEW_TICKS if len(rows) <= FEW else TICKS


def _ticks(panel: Axes, most: int, told: Callable[..., str] | None = None) -> None:
    """Round values, at most so many steps; told: how they are written."""
    panel.xaxis.set_major_locator(MaxNLocator(most, steps=(1, 2, 5, 10)))
    if told:
        panel.xaxis.set_major_formatter(FuncFormatter(told))


def _legend(figure: Figure, handles: Sequence[Patch | Line2D]) -> None:
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
