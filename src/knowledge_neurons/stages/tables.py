"""What stages show on the screen: their numbers beside the paper's, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knowledge_neurons.results.comparison import (
    EDITED_NAMES,
    Comparison,
    edits_beside,
    erasures_beside,
)
from knowledge_neurons.results.editors import Editors
from knowledge_neurons.results.edits import EDITED, EditRun, Variant
from knowledge_neurons.results.erasures import Erasure
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.languages import LEVELS, Level, Sharing
from knowledge_neurons.results.maps import Agreement, MapSummary
from knowledge_neurons.results.models import Models
from knowledge_neurons.results.questioned import editors_table, editors_title, reach_table
from knowledge_neurons.results.scorers import ScorersSummary
from knowledge_neurons.results.single_prompt import OnePromptSummary
from knowledge_neurons.results.symmetry import Reach
from knowledge_neurons.stages import program

NO_LOG_ODDS = (
    "  no log-odds: some of the records are of an earlier version, which kept none; remove them "
    "and run this stage again to have them"
)


def show(title: str, rows: Mapping[str, object]) -> None:
    """Print a small aligned table under a title."""
    width = max(map(len, rows), default=0)
    print(program.printable(title))
    for name, value in rows.items():
        print(program.printable(f"  {name:<{width}}  {value}"))


def show_beside(title: str, rows: Sequence[Comparison], more: Mapping[str, str] = {}) -> None:
    """A table of the paper's, and more that it does not have."""
    lines = {f"{row.quantity}, {row.neurons}": _line(row) for row in rows}
    title += " (95 % intervals; the paper's numbers are of bert-base-cased)"
    show(title, {**lines, **more})


def _line(row: Comparison) -> str:
    sign = "+" if row.signed else ""
    line = f"{_ours(row):>26} {row.unit:1}  {row.detail.replace('→', '->'):20}"
    beside = "" if row.paper is None else f"paper {row.paper:{sign}.{row.digits}f} {row.unit}"
    return f"{line}  {beside}".rstrip()


def _ours(row: Comparison) -> str:
    ours = None if row.ours is None else Estimate(row.ours, row.interval)
    return told(ours, row.digits, "+" if row.signed else "")


def show_audit(audit: dict[str, Any]) -> None:
    """The audit and the integral, a line each."""
    if audit["audited_prompts"]:
        bound = f"at most {audit['share_over_at_most']:.1%} of all, 95 % confidence"
        print(
            f"  audit: {audit['over_tolerance']} of {audit['audited_prompts']} prompts over "
            f"{audit['tolerance']:g} of the largest score ({bound}), worst error "
            f"{audit['worst_error']:.0e}; same coarse neurons in {audit['coarse_same']}"
        )
    if audit["layers_failed"]:
        print(f"  layers that failed and get all points: {audit['layers_failed']}, from 0")
    if integral := audit.get("integral"):
        print(
            f"  the sum over all points is {integral['median']:.1%} from the integral (median of "
            f"{integral['prompts']} prompts); same coarse neurons in {integral['coarse_same']:.0%}"
        )
        if integral["layers_far"]:
            print(
                f"  warning: in layers {integral['layers_far']}, from 0, half of the prompts are "
                "over 10 % of their largest score from it: leave them out with --layers, or try "
                "more --steps"
            )


def show_columns(title: str, table: Mapping[str, Sequence[str]]) -> None:
    """Rows of cells, each column as wide as its widest cell; the heads are a row too."""
    widths = [2 + max(map(len, column)) for column in zip(*table.values(), strict=True)]
    show(
        title,
        {
            name: "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            for name, cells in table.items()
        },
    )


def pair(*values: float | None) -> str:
    """A number of the knowledge neurons and that of what they are compared with, if anything."""
    return " and ".join("-" if one is None else f"{one:.2f}" for one in values)


def show_edits(run: EditRun) -> None:
    """Table 6, or a line for each variant where there are several; the rest is in the JSON."""
    first = run.summaries[0]
    done = f"{first.edits} edits, {run.draw} draw"
    if len(run.summaries) == len(EDITED):
        more = {}
        for one in run.summaries:
            ranks = f"median rank {one.rank_new_before:g} -> {one.rank_new:g}"
            more[f"new answer, {EDITED_NAMES[one.kind]}"] = (
                f"P {told(one.probability_new, 3)}, {ranks}; {one.neurons:.2f} neurons an edit, "
                f"size of the change {one.size:.2f}"
            )
        title = f"Table 6: {done}, {described(first.variant)}"
        show_beside(title, edits_beside(run.summaries), more)
        return
    heads = ("neurons", "change", "success", "random", "same size", "perplexity: same", "other")
    widths = (9, 22, 22, 18, 18, 22, 22)
    rows = {"": "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))}
    for start in range(0, len(run.summaries), len(EDITED)):
        own, *controls = run.summaries[start : start + len(EDITED)]
        rates = (own.change, own.success, *(control.success for control in controls))
        grown = (own.same_relation, own.other_relations)
        cells = (
            f"{own.neurons:.2f}",
            *(told(rate.times(100), 1) for rate in rates),
            *(told(one and one.increase, 2) for one in grown),
        )
        line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        rows[described(own.variant)] = line
    show(
        f"{done}, in each of {len(rows) - 1} ways (95 % intervals; rates in %; random, same size: "
        "success of the controls)",
        rows,
    )


def described(variant: Variant) -> str:
    """A way to edit in words."""
    which = "refined neurons" if variant.top_k is None else f"top {variant.top_k} neurons"
    return f"lambdas {variant.lambda_1:g} and {variant.lambda_2:g}, {which}"


def show_reach(found: Sequence[Reach]) -> None:
    """Stage 10: how far edits reach, a column for each kind of neurons."""
    title = "Do edits reach other ways to ask?  (95 % intervals over edits)"
    show_columns(title, reach_table(found))


def show_editors(found: Editors) -> None:
    """Stage 10: edits judged as editors are, a column for each kind of neurons."""
    title = f"Edits judged on {editors_title(found)} (95 % intervals over cases)"
    show_columns(title, editors_table(found))


def show_erasure(found: Erasure) -> None:
    """Table 5 of one relation, and the accuracy."""
    more = {}
    for edit, erased in (("", found.erased), (", random neurons", found.random)):
        for whose, effect in ((found.relation, erased.relation), ("others", erased.others)):
            if effect:
                accuracy = (effect.accuracy_before, effect.accuracy_after)
                more[f"accuracy, {whose}{edit}"] = (
                    "{:.1f} -> {:.1f} %".format(*(100 * one for one in accuracy))
                    + f", {effect.facts} facts, {effect.prompts} prompts"
                )
    title = f"Table 5: growth of perplexity, {found.relation} erased with {found.neurons} neurons"
    show_beside(title, erasures_beside([found], {}), more)


def show_models(found: Models) -> None:
    """Stage 8: runs of several models, a column each, as the report has them."""
    heads = [run.name for run in found.runs]
    about = {name: [cell or "-" for cell in told] for name, told in found.about.items()}
    folders = [run.folder for run in found.runs]
    show_columns("Models beside each other", {"": heads, "results": folders, **about})
    for caption, rows in found.groups.items():
        lines = {row.name: [_cell(cell) for cell in row.cells] for row in rows}
        show_columns(f"{caption} (95 % intervals)", {"": heads, **lines})
    for sentence in found.in_mind:
        print(program.printable(sentence))


def _cell(row: Comparison | None) -> str:
    if row is None or row.ours is None:
        return "-"
    return f"{_ours(row)} {row.unit}".rstrip()


MOST_PAIRS = 15  # of languages that are told one by one


def show_sharing(found: Sharing) -> None:
    """What every two languages share of a fact and of a relation, and what is in all or in one."""
    for name in LEVELS:
        level: Level = getattr(found, name)
        heads = ("compared", "shared", f"other {name}", "random", "Jaccard", f"other {name}")
        rows = {"": "".join(f"{head:>21}" for head in heads)}
        for pair in level.pairs[:MOST_PAIRS]:
            estimates = (pair.shared, pair.shared_other, pair.shared_random)
            estimates += (pair.jaccard, pair.jaccard_other)
            cells = (str(pair.compared), *(told(one, 2) for one in estimates))
            rows[f"{pair.first}, {pair.second}"] = "".join(f"{cell:>21}" for cell in cells)
        if more := len(level.pairs) - MOST_PAIRS:
            rows |= {"...": f"and {more} more pairs, in the file"} if more > 0 else {}
        show(f"Neurons that two languages share of the same {name} (95 % intervals)", rows)
        if spread := level.spread:
            lines = {
                "in any language": told(spread.distinct, 2),
                "independent of language": f"{told(spread.independent, 2)}; if languages had other "
                f"{name} {told(spread.independent_other, 2)}; random neurons "
                f"{told(spread.independent_random, 3)}",
                "in one language alone": told(spread.specific, 2),
            }
            enough = "all" if found.share == 1 else f"{found.share:.0%}"
            show(f"Neurons of {spread.facts} {name}, in {enough} of their languages or one", lines)


def show_map(name: str, found: MapSummary) -> None:
    """Stage 9: what the maps of a relation come to, the validation a line each."""
    held, rows = found.validation, {}
    if found.driven:
        rows["drivers kept"] = (
            f"hold {found.share:.1%} of all absolute scores of a neuron; half is held by "
            f"{found.half:g} drivers (median)"
        )
    said = {"one off": held.edges, "without layer 0": held.upper, "random, one off": held.random}
    rows |= {what: _agreed(one) for what, one in said.items()}
    if held.taken is not None:
        of_random, of_predicted = map(_number, (held.taken_by_random, held.together))
        rows["all that add off"] = (
            f"take {held.taken:.3f} of the activation (median; as many random neurons "
            f"{of_random}), {of_predicted} of what was predicted"
        )
    counts = f"{found.facts} facts, {found.driven} of {found.neurons} neurons driven from below"
    left_out = f", {found.left_out} facts without neurons or prompts" * bool(found.left_out)
    show(f"Neuron map of {name}: {counts}{left_out}", rows)


def _agreed(one: Agreement) -> str:
    """Predicted against measured, in a line."""
    sign = "-" if one.sign is None else f"{one.sign:.1%}"
    return (
        f"predicted against measured: r {_number(one.r)}, slope {_number(one.slope)}, sign right "
        f"in {sign}, {one.count} changes"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def show_scorers(found: ScorersSummary) -> None:
    """Stage 11: a line a scorer."""
    table = {"": ["agreement", "deletion", "insertion", "overlap", "s a prompt", "of all neurons"]}
    for one in found.scorers:
        estimates = (one.agreement, one.deletion, one.insertion, one.overlap)
        seconds = (one.seconds, found.seconds_of_all(one))
        table[one.scorer] = [told(value, 2) for value in estimates] + [f"{s:.4f}" for s in seconds]
    asked = f"{found.prompts} prompts of {found.facts} facts"
    show_columns(f"Scorers on {asked} (95 % intervals; left out: {found.chosen})", table)


def show_one_prompt(found: OnePromptSummary) -> None:
    """Stage 11: a line a way of asking."""
    table = {"": ["precision", "gain", "better / worse", "s a prompt"]}
    for one in found.ways:
        changed = f"{one.better} / {one.worse}" if one.gain else "-"
        cells = [told(one.precision, 2), told(one.gain, 2, "+"), changed, f"{one.seconds:.3f}"]
        table[one.way] = cells
    title = f"One prompt against the other wordings of {found.facts} facts"
    show_columns(f"{title} (95 % intervals; left out: {found.chosen})", table)
