"""Results of EleutherAI's `pararel_evaluate.py` and of its multilingual fork, as a figure.

Their files are {uuid: {"suppression" and "enhancement": {"related" and "unrelated": {"pct_change":
[share of the probability before, ...], ...}}, "n_refined_neurons", "n_unrelated_neurons",
"relation_name"}}; the fork's have no unrelated facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from knowledge_neurons.figures.plots import BLUE, INK, ORANGE, TEXT, signed_percent, styled
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.text.strict_json import short

SUPPRESSION, ENHANCEMENT = KEYS = ("suppression", "enhancement")
RELATED, UNRELATED = WHOSE = ("related", "unrelated")
COLORS = {RELATED: BLUE, UNRELATED: ORANGE}
BAR = 0.4  # of the room of a relation


def plot_pararel_results(
    results: Mapping[str, Any], key: str = SUPPRESSION, axes: Axes | None = None
) -> Axes:
    """How much the neurons of facts change the right answer's probability, a pair of bars for each
    relation: on the fact's own prompts, and on those of the unrelated fact drawn for it.

    results: one of their files, or several joined.  key: "suppression" or "enhancement".
    axes: where to draw, None for a figure of its own (`axes.figure`).
    Raises ValueError for another key and for results of another shape.

        axes = plot_pararel_results(json.loads(Path("..._results_0.json").read_text()))
        axes.figure.savefig("suppress.png")
    """
    changes = changes_by_relation(results, key)
    with styled():
        if axes is None:
            figure = Figure(figsize=(TEXT, 2.6), layout="constrained")
            axes = figure.subplots()
        for whose, offset in zip(WHOSE, (-BAR / 2, BAR / 2), strict=True):
            bars = [(i, own[whose]) for i, own in enumerate(changes.values()) if whose in own]
            if bars:
                places, heights = zip(*bars, strict=True)
                places = [place + offset for place in places]
                label = f"{whose} facts{_doubt(results, key, whose)}"
                axes.bar(places, heights, BAR, color=COLORS[whose], linewidth=0, label=label)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xticks(range(len(changes)), list(changes), rotation=90)
        axes.grid(axis="x", visible=False)
        verb = "Suppressing" if key == SUPPRESSION else "Enhancing"
        axes.set_title(f"{verb} knowledge neurons")
        axes.set_ylabel("Change of P(answer)")
        axes.yaxis.set_major_formatter(FuncFormatter(signed_percent))
        axes.legend()
    return axes


def changes_by_relation(results: Mapping[str, Any], key: str) -> dict[str, dict[str, float]]:
    """Relation -> "related" and "unrelated" -> mean over its facts of their mean change, a share.

    Facts for which either set of neurons is empty are left out, as in the package's own plot.
    There a fact without unrelated prompts counts as unchanged; here as absent.
    """
    if key not in KEYS:
        raise ValueError(f"key is {key!r}: expected one of {', '.join(KEYS)}")
    if not isinstance(results, Mapping) or not results:
        raise ValueError("expected the results of facts by their uuid, got none")
    means: dict[str, dict[str, list[float]]] = {}
    for uuid, fact in results.items():
        own = means.setdefault(str(_part(uuid, fact, "relation_name")), {})
        neurons = fact.get("n_refined_neurons", 1), fact.get("n_unrelated_neurons", 1)
        for whose in WHOSE if all(neurons) else ():
            if changes := _changes(uuid, fact, key, whose):
                own.setdefault(whose, []).append(fmean(changes))
    return {
        relation: {whose: fmean(values) for whose, values in means[relation].items()}
        for relation in sorted(means, key=by_number)
    }


def _changes(uuid: str, fact: Any, key: str, whose: str) -> list[float]:
    """A fact's changes, one a prompt; none where there are no unrelated facts at all."""
    part = _part(uuid, fact, key)
    if whose == UNRELATED and isinstance(part, Mapping) and whose not in part:
        return []
    changes = _part(uuid, _part(uuid, part, whose), "pct_change")
    if not isinstance(changes, list) or not all(
        isinstance(one, (int, float)) and isfinite(one) for one in changes
    ):
        raise ValueError(f"fact {uuid}: {key}, {whose}: expected numbers, got {short(changes)}")
    return changes


def _part(uuid: str, whole: Any, name: str) -> Any:
    if not isinstance(whole, Mapping) or name not in whole:
        raise ValueError(
            f"fact {uuid}: no {name!r}; expected the results of pararel_evaluate.py, not its "
            "neurons"
        )
    return whole[name]


def _doubt(results: Mapping[str, Any], key: str, whose: str) -> str:
    """Says where the package suppressed in place of enhancing, as it does for unrelated facts."""
    if (key, whose) != (ENHANCEMENT, UNRELATED):
        return ""
    same = all(
        _changes(uuid, fact, ENHANCEMENT, whose) == _changes(uuid, fact, SUPPRESSION, whose)
        for uuid, fact in results.items()
    )
    return " (measured by suppressing, a fault of pararel_evaluate.py)" if same else ""
