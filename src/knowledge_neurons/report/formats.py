"""How numbers, text and rows look on the page: the template's filters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any

from markupsafe import Markup, escape

from knowledge_neurons.results import estimates
from knowledge_neurons.results.comparison import Comparison
from knowledge_neurons.results.edits import EditRun
from knowledge_neurons.results.metrics import binomial_at_most


def number(value: float | None, digits: int, unit: str = "", signed: bool = False) -> str:
    """With a true minus sign, and none before 0; "–" for what is not there."""
    if value is None:
        return "–"
    rounded = round(value, digits) or 0.0  # no sign before 0.0
    text = f"{rounded:{'+' if signed and rounded else ''},.{digits}f}"
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def percent(share: float | None, digits: int) -> str:
    """A share in percent, "–" for what is not there."""
    return number(None if share is None else 100 * share, digits, "%")


def digits(row: Comparison) -> int:
    """As many as were published, or more where our interval is narrower than they can tell."""
    return estimates.digits(row.interval, row.digits)


def between(interval: tuple[float, float] | None, least: int, signed: bool = False) -> str:
    """ "35.0 to 51.1" with the digits that fit; "–" for what is not there."""
    if interval is None:
        return number(None, 0)
    count = estimates.digits(interval, least)
    return " to ".join(number(end, count, signed=signed) for end in interval)


def total(audits: Mapping[str, Mapping[str, Any]], field: str) -> int:
    return sum(audit[field] for audit in audits.values())


def over_at_most(audits: Mapping[str, Mapping[str, Any]]) -> float:
    """The share of all prompts over the tolerance that the audited ones allow."""
    return binomial_at_most(total(audits, "over_tolerance"), total(audits, "audited_prompts"))


def weighted(integrals: Mapping[str, Mapping[str, Any]], field: str) -> float:
    """A mean over all prompts, from the means of relations."""
    prompts = total(integrals, "prompts") or 1
    return sum(one[field] * one["prompts"] for one in integrals.values()) / prompts


def lambdas(runs: Iterable[EditRun]) -> str:
    """The pairs that some runs tried: "1 and 8; 0 and 4"."""
    pairs = dict.fromkeys(pair for run in runs for pair in run.lambdas)
    return "; ".join("{:g} and {:g}".format(*pair) for pair in pairs)


def short_commit(commit: str) -> str:
    """Ten digits, and the mark of changed files where there is one."""
    found = re.match(r"[0-9a-f]{10}", commit)
    return commit if found is None else found[0] + "-dirty" * commit.endswith("-dirty")


def scientific(value: float) -> str:
    """ "2 × 10⁻⁴"; 0 is "0"."""
    if not value:
        return "0"
    digit, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digit} × 10{raised}".replace("-", "−")


def duration(seconds: float) -> str:
    """ "0.8 s", "75 s", "12 min", "3.4 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def marked(sentence: str, words: Iterable[str]) -> Markup:
    """A sentence with some words in <mark>, everything escaped."""
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word)
    parts = re.split(f"({pattern})", sentence) if pattern else [sentence]
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def code(text: str) -> Markup:
    """`Code` of Markdown as <code>, everything escaped."""
    parts: Sequence[str] = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


# --- rows of a table -------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """A row and where its numbers lie on the axis of its plot, in percent of its width."""

    row: Comparison
    zero: float
    ours: float
    paper: float | None
    low: float | None
    width: float


def grouped(rows: Sequence[Comparison], judged: bool = True) -> list[list[Placed]]:
    """Rows of one quantity together; the axis is the same for all rows of one unit.

    judged: whether the paper's numbers are on it too, which they are where they can be compared.
    """
    placed = []
    for row in rows:
        values = [0.0]
        for other in rows:
            if other.unit == row.unit:
                shown = (other.ours, other.paper) if judged else (other.ours,)
                values += [value for value in shown if value is not None]
                values += other.interval or ()
        low, high = min(values), max(values)
        span = (high - low) or 1.0

        def place(value: float | None, low=low, span=span) -> float | None:
            return None if value is None else round(2 + 96 * (value - low) / span, 2)

        ends = [place(value) for value in row.interval or (None, None)]
        width = round(ends[1] - ends[0], 2) if row.interval else 0.0
        paper = place(row.paper) if judged else None
        placed.append(Placed(row, place(0.0), place(row.ours), paper, ends[0], width))
    return [list(group) for _, group in groupby(placed, key=lambda one: one.row.quantity)]


FILTERS = {
    "number": number,
    "percent": percent,
    "digits": digits,
    "between": between,
    "scientific": scientific,
    "duration": duration,
    "thousands": "{:,}".format,
    "total": total,
    "over_at_most": over_at_most,
    "weighted": weighted,
    "lambdas": lambdas,
    "told": estimates.told,
    "marked": marked,
    "code": code,
    "ucfirst": lambda text: text[:1].upper() + text[1:],
    "file_name": lambda path: PurePath(path).name,
    "short_commit": short_commit,
    "grouped": grouped,
}
