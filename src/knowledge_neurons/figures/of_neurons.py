"""Pictures of neurons for people who explore: each draws into an Axes and gives it back.

    ax = scores(triplets, (12, 3072))        # into pyplot's current axes, as seaborn does
    scores(triplets, (12, 3072), ax=mine)    # or into one of your own

The paper's figures, whole ones in the stages' look, are in `plots` and `by_relation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from knowledge_neurons.figures.plots import BLUE, INK, ORANGE, signed_percent
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.maps import MapRecord

MOST_NAMES = 40  # facts that are named on an axis


def scores(
    triplets: Sequence[tuple[int, int, float]],
    shape: tuple[int, int],
    ax: Axes | None = None,
    label: str = "score (probability)",
) -> Axes:
    """Neurons of a prompt or a fact: layer upwards, index along, the score as size and colour.

    triplets: (layer, index, score).  shape: (L, F).  label: of the scores, with their unit.
    """
    panel, (layers, width) = _axes(ax), shape
    if triplets:
        layer, index, score = map(np.asarray, zip(*triplets, strict=True))
        largest = max(float(np.abs(score).max()), 1e-30)
        dots = panel.scatter(
            index, layer, s=4 + 60 * np.abs(score) / largest, c=score, cmap="viridis", linewidths=0
        )
        panel.figure.colorbar(dots, ax=panel, label=label)
    panel.set_xlim(-0.02 * width, 1.02 * width)
    panel.set_ylim(-0.6, layers - 0.4)
    panel.set_xlabel("neuron")
    panel.set_ylabel("layer, from 0")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return panel


def layers(neurons: Sequence[tuple[int, int]], count: int, ax: Axes | None = None) -> Axes:
    """How many of the neurons lie in each of the layers, from 0."""
    panel = _axes(ax)
    found = np.bincount([layer for layer, _ in neurons], minlength=count)
    panel.bar(range(count), found, color=BLUE)
    panel.set_xlabel("layer, from 0")
    panel.set_ylabel("neurons")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return panel


def sharing(matrix: np.ndarray, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """How many neurons two facts have in common: (facts, facts), their own numbers on the diagonal.

    names: of the facts; shown where there are not too many.
    """
    panel = _axes(ax)
    told = list(names) if len(names) <= MOST_NAMES else False
    sns.heatmap(
        matrix,
        ax=panel,
        cmap="viridis",
        annot=len(names) <= MOST_NAMES // 2,
        fmt="d",
        square=True,
        xticklabels=told,
        yticklabels=told,
        cbar_kws={"label": "neurons in common"},
    )
    return panel


def dose(factors: Sequence[float], changes: Sequence[Estimate], ax: Axes | None = None) -> Axes:
    """Change of P(answer), as a share of it, against the factor on the neurons; 95 % as a band."""
    panel = _axes(ax)
    banded = [(x, *one.interval) for x, one in zip(factors, changes, strict=True) if one.interval]
    if banded:
        panel.fill_between(*zip(*banded, strict=True), color=ORANGE, alpha=0.25, linewidth=0)
    panel.plot(factors, [one.value for one in changes], color=ORANGE, marker=".")
    panel.axhline(0, color=INK, linewidth=0.6)
    panel.set_xlabel("factor on the neurons' activations")
    panel.set_ylabel("change of P(answer)")
    panel.yaxis.set_major_formatter(FuncFormatter(signed_percent))
    return panel


def neuron_map(record: MapRecord, layers: int, ax: Axes | None = None) -> Axes:
    """A fact's neurons and their drivers: layers upwards, the answer on top.

    An edge is as wide as what it adds to its neuron's activation (of the answer: to P), blue where
    it adds and orange where it takes away.  The fact's own neurons are filled; drivers in layer 0,
    which follow words rather than facts, are squares.
    """
    panel = _axes(ax)
    own = [node.neuron for node in record.nodes]
    drivers = [(layer, index) for node in record.nodes for layer, index, _ in node.edges]
    rows: dict[int, list[tuple[int, int]]] = {}
    for one in sorted({*own, *drivers}):
        rows.setdefault(one[0], []).append(one)
    at = {
        one: ((place + 0.5) / len(row), layer)
        for layer, row in rows.items()
        for place, one in enumerate(row)
    }
    top = (0.5, layers)
    largest = max((abs(node.score) for node in record.nodes), default=0.0) or 1.0
    for node in record.nodes:
        _edge(panel, at[node.neuron], top, node.score / largest)
        size = max((abs(score) for *_, score in node.edges), default=0.0) or 1.0
        for layer, index, score in node.edges:
            # A neuron that fires negatively is driven by what makes it more so.
            sign = 1 if node.activation >= 0 else -1
            _edge(panel, at[layer, index], at[node.neuron], sign * score / size)
    for one, place in at.items():
        filled, marker = one in own, "s" if one[0] == 0 else "o"
        face = BLUE if filled else "white"
        panel.plot(*place, marker, color=INK, markerfacecolor=face, markersize=5, zorder=3)
        if filled:
            panel.annotate(str(one[1]), place, (0, 5), textcoords="offset points", fontsize=6,
                           ha="center")  # fmt: skip
    panel.annotate(record.answer, top, ha="center", va="bottom")
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(-0.6, layers + 0.8)
    panel.set_xticks([])
    panel.set_ylabel("layer, from 0")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return panel


def _edge(panel: Axes, start: tuple[float, float], end: tuple[float, float], weight: float) -> None:
    panel.plot(
        *zip(start, end, strict=True),
        color=BLUE if weight >= 0 else ORANGE,
        linewidth=0.3 + 1.7 * abs(weight),
        alpha=0.25 + 0.5 * abs(weight),
        zorder=1,
    )


def _axes(ax: Axes | None) -> Axes:
    """The given axes, or pyplot's current ones."""
    if ax is not None:
        return ax
    from matplotlib import pyplot  # chooses a backend: only for who gives no axes

    return pyplot.gca()
