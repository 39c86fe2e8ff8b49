"""Outcomes -> the page.  What is said stands in page.html.jinja; here it is put in order."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from knowledge_neurons import activation_files, figures, gallery, outcomes, published
from knowledge_neurons.artifacts import Results
from knowledge_neurons.experiments.modify_summary import AMPLIFY, SUPPRESS
from knowledge_neurons.outcomes import Outcomes
from knowledge_neurons.provenance import TIMED, Provenance, provenance
from knowledge_neurons.report import tables
from knowledge_neurons.report.comparison import Comparison, model_name, obstacles
from knowledge_neurons.report.embedding import STRONGEST, embed, numeric

STAGES = {
    1: "attribution",
    2: "neurons and statistics",
    3: "suppressing and amplifying",
    4: "activation on sentences",
    5: "trigger sentences",
    6: "edits",
    7: "erasures",
}
TRIGGER_FACTS, TRIGGER_SENTENCES = 4, 2  # facts shown; sentences at either end of their ranking


def render(results: Results) -> str:
    """The report of a results folder, as HTML.

    Raises ValueError for a folder without results, and for a file that is broken.
    """
    found = outcomes.read(results)
    made = provenance(found.manifests)
    script = asset("browser.js")
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            style=Markup(asset("style.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            obstacles=obstacles(found.manifests),
            missing=found.missing,
            found=found,
            made=made,
            run=run_of(found.manifests),
            tables=comparisons(found),
            figures=drawn(found),
            triggers=triggers_of(found),
            differences=differences(),
            paper=published,
            embedded=embed(results),
            strongest=STRONGEST,
            **quadrature_of(made),
        )
    )


def environment() -> Environment:
    """Jinja with everything escaped that is not marked as ours."""
    made = Environment(
        loader=PackageLoader("knowledge_neurons.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": number,
        "duration": duration,
        "marked": marked,
        "code": code,
        "grouped": grouped,
        "lambdas": lambdas,
        "thousands": "{:,}".format,
        "scientific": scientific,
        "total": total,
        "weighted": weighted,
        "ucfirst": lambda text: text[:1].upper() + text[1:],
        "file_name": lambda path: PurePath(path).name,
        "short_commit": short_commit,
    }
    made.globals["stage_names"] = STAGES
    return made


@cache
def asset(name: str) -> str:
    """A file of this package."""
    return files("knowledge_neurons.report").joinpath(name).read_text("utf-8")


# --- parts of the page -----------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What stage 1 scored, over all relations.  skipped: facts whose answer is not one token."""

    model: str
    layers: list[int]
    relations: int
    facts: int
    prompts: int
    skipped: int
    cut: int


def run_of(manifests: Mapping[str, Mapping[str, Any]]) -> Run | None:
    """None where no manifest of stage 1 is there."""
    scored = [manifest for name, manifest in manifests.items() if re.fullmatch(TIMED[1], name)]
    if not scored:
        return None
    return Run(
        model=", ".join(sorted({model_name(manifest) for manifest in scored})),
        layers=sorted({manifest["layers"] for manifest in scored if "layers" in manifest}),
        relations=len(scored),
        facts=sum(manifest.get("facts", 0) for manifest in scored),
        prompts=sum(manifest.get("prompts", 0) for manifest in scored),
        skipped=sum(len(manifest.get("skipped_facts", ())) for manifest in scored),
        cut=sum(manifest.get("prompts_cut", 0) for manifest in scored),
    )


def comparisons(found: Outcomes) -> dict[str, list[Comparison]]:
    """Table or figure -> its rows; none where its stage has not run."""
    modified, activations = found.modified, found.activations
    run = tables.main_run(found.edits)
    return {
        "counts": tables.neuron_counts(found.statistics) if found.statistics else [],
        "suppressed": tables.changes(modified.overall, SUPPRESS) if modified else [],
        "amplified": tables.changes(modified.overall, AMPLIFY) if modified else [],
        "activations": tables.activations(activations.overall) if activations else [],
        "edits": tables.edits(run) if run else [],
        "erasures": tables.erasures(found.erasures, found.labels),
    }


def drawn(found: Outcomes) -> dict[str, Markup]:
    """Name of a figure, as its file is called -> the figure as SVG."""
    return {one.name: Markup(figures.svg(one.figure)) for one in gallery.draw(found)}


def quadrature_of(made: Provenance) -> dict[str, Any]:
    """Relation -> audit of its quadrature, and -> how far it is from the integral, where told."""
    audits = {name: made.quadrature[name] for name in sorted(made.quadrature, key=numeric)}
    integrals = {name: one["integral"] for name, one in audits.items() if one.get("integral")}
    return {"audits": audits, "integrals": integrals}


def triggers_of(found: Outcomes) -> list[activation_files.TriggerRecord]:
    """A few facts, of relations spread evenly over all: of each its first with enough sentences."""
    step = max(1, len(found.triggers) // TRIGGER_FACTS)
    chosen = found.triggers[::step][:TRIGGER_FACTS]
    firsts = (
        next((one for one in activation_files.read_triggers(path) if enough_sentences(one)), None)
        for path in chosen
    )
    return [record for record in firsts if record]


def enough_sentences(record: activation_files.TriggerRecord) -> bool:
    """For both ends of the ranking to be different ones."""
    return record.sentences >= 2 * TRIGGER_SENTENCES


def differences() -> list[list[str]]:
    """Rows of the table of differences, the heads first; its cells are Markdown with `code`."""
    rows = [line.strip().strip("|").split(" | ") for line in asset("differences.md").splitlines()]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set("-| ")]


@dataclass(frozen=True)
class Placed:
    """A row and where its numbers lie on the axis of its plot, in percent of its width."""

    row: Comparison
    zero: float
    ours: float
    paper: float | None
    low: float | None
    width: float


def grouped(rows: Sequence[Comparison]) -> list[list[Placed]]:
    """Rows of one quantity together; the axis is the same for all rows of one unit."""
    placed = []
    for row in rows:
        values = [0.0]
        for other in rows:
            if other.unit == row.unit:
                values += [v for v in (other.ours, other.paper) if v is not None]
                values += other.interval or ()
        low, high = min(values), max(values)
        span = (high - low) or 1.0

        def place(value: float | None, low=low, span=span) -> float | None:
            return None if value is None else round(2 + 96 * (value - low) / span, 2)

        ends = [place(value) for value in row.interval or (None, None)]
        width = round(ends[1] - ends[0], 2) if row.interval else 0.0
        placed.append(Placed(row, place(0.0), place(row.ours), place(row.paper), ends[0], width))
    return [list(group) for _, group in groupby(placed, key=lambda one: one.row.quantity)]


# --- numbers and text ------------------------------------------------------------------------


def number(value: float | None, digits: int, unit: str = "", signed: bool = False) -> str:
    """With a true minus sign, and none before 0; "–" for what is not there."""
    if value is None:
        return "–"
    rounded = round(value, digits) or 0.0  # no sign before 0.0
    text = f"{rounded:{'+' if signed and rounded else ''},.{digits}f}"
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def total(audits: Mapping[str, Mapping[str, Any]], field: str) -> int:
    return sum(audit[field] for audit in audits.values())


def weighted(integrals: Mapping[str, Mapping[str, Any]], field: str) -> float:
    """A mean over all prompts, from the means of relations."""
    prompts = total(integrals, "prompts") or 1
    return sum(one[field] * one["prompts"] for one in integrals.values()) / prompts


def lambdas(runs: Iterable[outcomes.EditRun]) -> str:
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
