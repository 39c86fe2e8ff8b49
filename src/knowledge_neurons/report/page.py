"""Outcomes -> the page.  What is said stands in page.html.jinja; here it is put in order."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from knowledge_neurons.figures import gallery, plots
from knowledge_neurons.report.active import SHOWN_LEAST, SHOWN_MOST
from knowledge_neurons.report.beside import HIGHEST, LOWEST
from knowledge_neurons.report.browser import joined
from knowledge_neurons.report.comparability import comparability
from knowledge_neurons.report.embedding import STRONGEST, embed
from knowledge_neurons.report.formats import FILTERS
from knowledge_neurons.report.packing import MOST
from knowledge_neurons.report.sources import sources_of
from knowledge_neurons.report.ways import of_one_prompt, of_scorers
from knowledge_neurons.report.written import SHOWN_WORDS
from knowledge_neurons.results import outcomes, published
from knowledge_neurons.results.adopted import taken
from knowledge_neurons.results.comparison import CAPTIONS, NAMES, comparisons, main_run
from knowledge_neurons.results.controls import (
    EFFECT_COLUMNS,
    RANDOM_COLUMN,
    kind_told,
    with_twins,
)
from knowledge_neurons.results.layout import BASE_NEURONS, NEURONS, Results
from knowledge_neurons.results.localisation import LEAST, OVERLAP_COLUMNS
from knowledge_neurons.results.metrics import RESAMPLES
from knowledge_neurons.results.models import ModelRun, models_of, read_runs
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.results.provenance import Provenance, provenance, run_of
from knowledge_neurons.results.questioned import editors_table, editors_title, reach_table
from knowledge_neurons.results.triggers import TriggerRecord, read_triggers
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import BASELINE, KNOWLEDGE

STAGES = {
    1: "attribution",
    2: "neurons and statistics",
    3: "suppressing and amplifying",
    4: "activation on sentences",
    5: "trigger sentences",
    6: "edits",
    7: "erasures",
    9: "neuron maps",
    10: "questions of critics",
    11: "ways compared",
}
SCRIPTS = ("contents.js", "saving.js")
TRIGGER_FACTS, TRIGGER_SENTENCES = 4, 2  # facts shown; sentences at either end of their ranking


def render(results: Results, paper_look: bool = False, beside: Sequence[Results] = ()) -> str:
    """The report of a results folder, as HTML.

    paper_look: of Figure 3.  beside: results of other models' runs.

    Raises ValueError for a folder without results, and for a file that is broken.
    """
    found = outcomes.read(results)
    runs = read_runs(results, found, beside)
    made, edited = provenance(found.manifests), main_run(found.edits)
    embedded = embed(results)
    # One script, of which the policy has the digest; that of the facts only where there are any.
    script = "".join(map(asset, SCRIPTS)) + (joined() if embedded else "")
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            style=Markup(asset("style.css") + asset("browser.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            comparable=comparability(found.manifests),
            missing=found.missing,
            sources=sources_of(results, found.manifests),
            found=found,
            made=made,
            run=run_of(found.manifests),
            taken=taken(found.manifests),
            tables=comparisons(found),
            captions=CAPTIONS,
            reach=reach_table(found.reach) if found.reach else {},
            judged=editors_table(found.editors) if found.editors else {},
            judged_on=editors_title(found.editors) if found.editors else "",
            models=models_of(runs) if runs else None,
            figures=drawn(results, found, paper_look, runs),
            effect_columns=EFFECT_COLUMNS,
            random_column=RANDOM_COLUMN,
            effects=with_twins(found.controls),
            kind_told=kind_told,
            overlap_columns=OVERLAP_COLUMNS,
            least_overlap=LEAST,
            triggers=triggers_of(found),
            won=won(found),
            differences=differences(),
            checked_the_same=checked_the_same(),
            paper=published,
            outside_band=outside_band(found.manifests),
            resamples=RESAMPLES,
            edit_draw=edited.draw if edited else "",
            embedded=embedded,
            strongest=STRONGEST,
            sentence_ends=(HIGHEST, LOWEST),
            waking_ends=(SHOWN_MOST, SHOWN_LEAST),
            with_sentences=MOST,
            words_shown=SHOWN_WORDS,
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
    made.filters |= FILTERS
    made.globals["stage_names"] = STAGES
    return made


@cache
def asset(name: str) -> str:
    """A file of this package."""
    return files("knowledge_neurons.report").joinpath(name).read_text("utf-8")


# --- parts of the page -----------------------------------------------------------------------


def outside_band(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Kind of neurons -> the relations that stage 2 could not bring to 2 to 5 neurons a fact, with
    what they have instead; as far as its manifests say so."""
    found: dict[str, list[str]] = {}
    for kind, pattern in ((KNOWLEDGE, NEURONS), (BASELINE, BASE_NEURONS)):
        for name in sorted(manifests, key=by_number):
            manifest, refined = manifests[name], re.fullmatch(pattern, name)
            if refined and manifest.get("in_band") is False:
                told = "{}: {:.2f} at p = {:.2f}"
                values = manifest["neurons_per_fact"], manifest["shared_used"]
                found.setdefault(NAMES[kind], []).append(told.format(refined[1], *values))
    return found


def drawn(
    results: Results, found: Outcomes, paper_look: bool, runs: Sequence[ModelRun]
) -> dict[str, Markup]:
    """Name of a figure, as its file is called -> the figure as SVG."""
    pictures = gallery.draw(results, found, paper_look, runs)
    made = {one.name: Markup(plots.svg(one.figure)) for one in pictures}
    return {name: made[name] for name in sorted(made, key=by_number)}


def won(found: Outcomes) -> dict[str, list[str]]:
    """Which way won on what, of each of stage 11's studies that is there."""
    scorers, single = found.scorers, found.one_prompt
    return {
        "scorers": of_scorers(scorers) if scorers else [],
        "one_prompt": of_one_prompt(single) if single else [],
    }


def quadrature_of(made: Provenance) -> dict[str, Any]:
    """Relation -> audit of its quadrature, and -> how far it is from the integral, where told."""
    audits = {name: made.quadrature[name] for name in sorted(made.quadrature, key=by_number)}
    integrals = {name: one["integral"] for name, one in audits.items() if one.get("integral")}
    return {"audits": audits, "integrals": integrals}


def triggers_of(found: Outcomes) -> list[TriggerRecord]:
    """A few facts, of relations spread evenly over all: of each its first with enough sentences."""
    step = max(1, len(found.triggers) // TRIGGER_FACTS)
    chosen = found.triggers[::step][:TRIGGER_FACTS]
    firsts = (
        next((one for one in read_triggers(path) if enough_sentences(one)), None) for path in chosen
    )
    return [record for record in firsts if record]


def enough_sentences(record: TriggerRecord) -> bool:
    """For both ends of the ranking to be different ones."""
    return record.sentences >= 2 * TRIGGER_SENTENCES


def differences() -> list[list[str]]:
    """Rows of the table of differences, the heads first; its cells are Markdown with `code`."""
    lines = [line for line in asset("differences.md").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set("-| ")]


def checked_the_same() -> list[str]:
    """What was compared with the released code and agrees, from the same file."""
    lines = asset("differences.md").splitlines()
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]
