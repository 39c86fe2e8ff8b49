"""What stage 10 shows on the screen: effects, overlaps, grids of thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from knowledge_neurons.results.changes import OWN
from knowledge_neurons.results.controls import (
    EFFECT_COLUMNS,
    RANDOM_COLUMN,
    Effects,
    kind_told,
    with_twins,
)
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.localisation import LEAST, OVERLAP_COLUMNS, Localisation
from knowledge_neurons.results.stability import AtThresholds, Stability
from knowledge_neurons.stages.tables import NO_LOG_ODDS, show, show_columns

INTERVALS = "(95 % intervals)"


def show_effects(found: Sequence[Effects]) -> None:
    """Whose the neurons are: a line for each kind of neurons and factor, its random twin beside."""
    pairs = with_twins(found)
    in_percent = [(one, one.changes, twin and twin.changes) for one, twin in pairs]
    _show_effects("probability", in_percent, _percent)
    if any(one.log_odds for one in found):
        in_nats = [(one, one.log_odds, twin and twin.log_odds) for one, twin in pairs]
        _show_effects("log-odds, in nats", in_nats, lambda nats: told(nats, 2, "+"))
    elif found:
        print(NO_LOG_ODDS)


Column = Mapping[str, Estimate]


def _show_effects(
    what: str,
    rows: Sequence[tuple[Effects, Column, Column | None]],
    cell: Callable[[Estimate | None], str],
) -> None:
    lines = {}
    for one, changes, of_random in rows:
        own = [cell(changes.get(column)) for column in EFFECT_COLUMNS]
        beside = cell((of_random or {}).get(OWN))
        lines[f"{kind_told(one.kind)} x {one.factor:g}"] = [f"{one.neurons:.2f}", *own, beside]
    title = f"Whose are the neurons?  Change of the right answer's {what} {INTERVALS}"
    heads = ["neurons", *EFFECT_COLUMNS.values(), RANDOM_COLUMN]
    show_columns(title, {"": heads, **lines})


def show_localisation(found: Localisation) -> None:
    """How far prompts name the same neurons: all relations together, then each."""
    heads = ["facts", *OVERLAP_COLUMNS.values(), f"below {LEAST:g}", "no neurons"]
    lines = {}
    for name, one in {"all": found.overall, **found.relations}.items():
        overlaps = (told(one.overlaps.get(column), 2) for column in OVERLAP_COLUMNS)
        shares = map(_percent, (one.disagree, one.without), ("", ""))
        lines[name] = [str(one.facts), *overlaps, *shares]
    title = f"Do prompts name the same neurons?  Jaccard's index {INTERVALS}"
    show_columns(title, {"": heads, **lines})


def show_stability(found: Stability) -> None:
    """Three grids of t and p, halves of the prompts, and other scores."""
    _show_grid("Neurons a fact, by t and p", found, lambda one: f"{one.neurons:.2f}")
    _show_grid("Overlap with stage 2's (Jaccard)", found, lambda one: _short(one.overlap, 1, ""))
    _show_grid(
        f"Change of P(answer) with them off, {found.sampled} facts",
        found,
        lambda one: _short(one.change, 100, " %"),
    )
    rows = {"two halves of a fact's prompts": told(found.halves, 2)}
    for other in found.against:
        what = ", ".join(f"{name} {value}" for name, value in other.differs.items()) or "the same"
        rows[other.folder] = f"{told(other.overlap, 2)}  {other.neurons:.2f} neurons, {what}"
    show(f"Overlap of refined neurons (Jaccard) {INTERVALS}", rows)


def _show_grid(title: str, found: Stability, cell: Callable[[AtThresholds], str]) -> None:
    by_t: dict[str, list[str]] = {}
    for one in found.cells:
        by_t.setdefault(f"t = {one.t:g}", []).append(cell(one))
    heads = [f"p = {p:g}" for p in dict.fromkeys(one.p for one in found.cells)]
    show_columns(title, {"": heads, **by_t})


def _short(estimate: Estimate | None, factor: float, unit: str) -> str:
    """Without its interval, for a grid."""
    digits = 1 if factor > 1 else 2
    return "-" if estimate is None else f"{factor * estimate.value:.{digits}f}{unit}"


def _percent(estimate: Estimate | None, sign: str = "+") -> str:
    return told(estimate and estimate.times(100), 1, sign) + " %" * bool(estimate)
