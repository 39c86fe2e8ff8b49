"""`benchmarks.beyond`'s records as the figures and tables of docs/findings.md."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from matplotlib.figure import Figure

from knowledge_neurons import ROOT
from knowledge_neurons.figures import of_controls, of_maps, of_ways
from knowledge_neurons.figures.plots import styled
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.controls import EFFECT_COLUMNS, kind_told, random_of
from knowledge_neurons.results.editors import JUDGED_IN_WORDS, SCORES
from knowledge_neurons.results.estimates import Estimate, Interval, told
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.localisation import OVERLAP_COLUMNS
from knowledge_neurons.results.outcomes import read
from knowledge_neurons.results.symmetry import EDITED_IN_WORDS

DOCS, RECORDS = ROOT / "docs", ROOT / "benchmarks/results"
PAGE = DOCS / "findings.md"
MODELS = {"smollm2": "SmolLM2", "demo": "embedded model", "bert-base-cased": "bert-base-cased"}
Records = dict[str, dict[str, Any]]  # model -> its record


def records() -> Records:
    """Those that are there, in the order of MODELS."""
    paths = {name: RECORDS / f"beyond_{name}.json" for name in MODELS}
    return {name: json.loads(path.read_bytes()) for name, path in paths.items() if path.exists()}


# --- tables ----------------------------------------------------------------------------------


def _told(found: dict[str, Any] | None, digits: int = 2, factor: float = 1, sign: str = "") -> str:
    """An estimate of a record."""
    if found is None:
        return "-"
    ends = found["interval"] and Interval(*found["interval"])
    return told(Estimate(found["value"], ends).times(factor), digits, sign)


def _effects(found: Records) -> Iterator[list[str]]:
    yield ["model", "neurons, suppressed", "a fact", *EFFECT_COLUMNS.values(), "random, own"]
    for name, record in found.items():
        off = {one["kind"]: one for one in record["effects"] if one["factor"] == 0}
        twins = {random_of(kind) for kind in off}
        for kind, one in off.items():
            if kind in twins:
                continue
            cells = [_told(one["changes"].get(c), 1, 100, "+") for c in EFFECT_COLUMNS]
            beside = off.get(random_of(kind), {}).get("changes", {}).get("own")
            yield [MODELS[name], kind_told(kind), f"{one['neurons']:.2f}", *cells,
                   _told(beside, 1, 100, "+")]  # fmt: skip


def _overlaps(found: Records) -> Iterator[list[str]]:
    yield ["model", "facts", *OVERLAP_COLUMNS.values(), "below 0.1, %", "two halves"]
    for name, record in found.items():
        one = record["localisation"]
        cells = [_told(one["overlaps"].get(column)) for column in OVERLAP_COLUMNS]
        rest = [_told(one["disagree"], 1, 100), _told(record["halves"])]
        yield [MODELS[name], str(one["facts"]), *cells, *rest]


def _maps(found: Records) -> Iterator[list[str]]:
    yield ["model", "relation", "facts", "neurons", "r", "r without layer 0", "slope", "sign right",
           "all off take", "random", "10 edges hold"]  # fmt: skip
    for name, record in found.items():
        for relation, own in record["maps"].items():
            held = own["validation"]
            numbers = [held["edges"]["r"], held["upper"]["r"], held["edges"]["slope"]]
            shares = [held["edges"]["sign"], held["taken"], held["taken_by_random"], own["share"]]
            cells = [f"{one:.3f}" for one in numbers]
            cells += [f"{round(100 * one, 1) or 0.0:.1f} %" for one in shares]  # no -0.0
            yield [MODELS[name], relation, str(own["facts"]), str(own["neurons"]), *cells]


def _scorers(found: Records) -> Iterator[list[str]]:
    yield ["model", "scorer", "agreement", "deletion", "insertion", "overlap", "s a prompt"]
    for name, record in found.items():
        for one in record["scorers"]["scorers"]:
            cells = [_told(one[key]) for key in ("agreement", "deletion", "insertion", "overlap")]
            every = record["scorers"]["neurons"] / one["neurons"]
            whole = one["seconds"] * every
            seconds = f"{whole:.0f}" if whole >= 10 else f"{whole:.2g}"
            seconds += "*" * (every > 1.01)
            yield [MODELS[name], one["scorer"], *cells, seconds]


def _one_prompt(found: Records) -> Iterator[list[str]]:
    yield ["model", "way", "facts", "precision", "gain", "better, worse", "s a fact"]
    for name, record in found.items():
        for one in record["one_prompt"]["ways"]:
            gain = _told(one["gain"], 2, 1, "+")
            counts = f"{one['better']}, {one['worse']}"
            cells = [_told(one["precision"]), gain, counts, f"{one['seconds']:.2g}"]
            yield [MODELS[name], one["way"], str(one["facts"]), *cells]


def _editors(found: Records) -> Iterator[list[str]]:
    yield ["model", "neurons edited", "cases", "S", *SCORES]
    for name, record in found.items():
        for one in record["editors"]["judged"]:
            cells = [_told(one["scores"].get(score, {}).get("share"), 1, 100) for score in SCORES]
            whole = _told(one["overall"], 1, 100)
            yield [MODELS[name], JUDGED_IN_WORDS[one["kind"]], str(one["cases"]), whole, *cells]


def _reach(found: Records) -> Iterator[list[str]]:
    asked = ["new answer first", "new pair, head first", "old pair, head first: before", "after"]
    yield ["model", "neurons edited", "edits", *asked, "new first: own name", "other names"]
    for name, record in found.items():
        for one in record["reach"]:
            new, old, names = (one[key] or {} for key in ("new_pair", "old_pair", "names"))
            parts = [one["success"], new.get("first_after"), old.get("first_before"),
                     old.get("first_after"), names.get("own"), names.get("other")]  # fmt: skip
            cells = [_told(part, 1, 100) for part in parts]
            yield [MODELS[name], EDITED_IN_WORDS[one["kind"]], str(one["edits"]), *cells]


TABLES: dict[str, Callable[[Records], Iterator[list[str]]]] = {
    "effects": _effects, "overlaps": _overlaps, "maps": _maps, "scorers": _scorers,
    "one_prompt": _one_prompt, "editors": _editors, "reach": _reach,
}  # fmt: skip


# --- written ---------------------------------------------------------------------------------


def with_tables(text: str, found: Records) -> str:
    """The page with the tables of what the records have."""
    for name, table in TABLES.items():
        first, *rows = (f"| {' | '.join(row)} |" for row in table(found))
        lines = "\n".join([first, "|" + "---|" * (first.count("|") - 1), *rows])
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->\n"
        before, there, rest = text.partition(start)
        if not there or end not in rest:
            raise ValueError(f"{PAGE} has no {start.strip()} with {end.strip()} after it")
        text = before + start + lines + "\n" + end + rest.partition(end)[2]
    return text


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each finding."""
    found = read(results)
    if figure := of_controls.sharing(found.controls):
        yield "sharing", figure
    yield "wordings", of_controls.wordings(found.localisation)
    yield "thresholds", of_controls.thresholds(found.stability)
    relation, own = next(iter(found.maps.items()))
    yield "map", of_maps.neuron_map(relation, own)
    yield "scorers", of_ways.scorers(found.scorers)
    yield "one_prompt", of_ways.one_prompt(found.one_prompt)


def write(model: str, results: Results) -> None:
    """The figures of SmolLM2, and the page."""
    for name, figure in figures(results) if model == "smollm2" else ():
        content = io.BytesIO()
        with styled():
            figure.savefig(content, format="svg", metadata={"Date": None})
        write_atomic(DOCS / f"findings_{name}.svg", content.getvalue())
    write_atomic(PAGE, with_tables(PAGE.read_text(), records()).encode())
