"""Outcomes -> the rows of the paper's tables, each with the published number beside it."""

from __future__ import annotations

from collections.abc import Sequence

from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.report.comparison import Comparison
from knowledge_neurons.results import published
from knowledge_neurons.results.distant_summary import SENTENCE_KINDS, TableRow
from knowledge_neurons.results.edit_summary import KINDS as EDIT_KINDS
from knowledge_neurons.results.erase_summary import Change as Erasing
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.modify_summary import AMPLIFY, ASKED, SUPPRESS
from knowledge_neurons.results.outcomes import Changes, EditRun, Erasure
from knowledge_neurons.results.published import Table
from knowledge_neurons.types import KINDS

NAMES = dict(zip(KINDS, ("knowledge neurons", "activation baseline"), strict=True))
EDITED = dict(
    zip(EDIT_KINDS, ("knowledge neurons", "random neurons", "random, same size"), strict=True)
)
WHOSE = dict(zip(ASKED, ("own facts", "facts of other relations"), strict=True))
SENTENCES = dict(
    zip(
        SENTENCE_KINDS,
        ("T1, sentences with head and tail", "T2, with the head", "T3, random sentences"),
        strict=True,
    )
)
LAMBDAS = (1.0, 8.0)  # of the paper's edits


def neuron_counts(statistics: dict[str, Statistics]) -> list[Comparison]:
    """Table 2."""
    fields = ("per_fact", "shared_within", "shared_across")
    return [
        Comparison(
            quantity,
            NAMES[kind],
            getattr(statistics[kind], field),
            None,
            published.TABLE_2.rows[quantity][place],
            published.TABLE_2.digits,
        )
        for quantity, field in zip(published.TABLE_2.rows, fields, strict=True)
        for place, kind in enumerate(KINDS)
    ]


def changes(overall: Changes, factor: float) -> list[Comparison]:
    """Figure 4 (factor 0) or 5 (factor 2)."""
    table = {SUPPRESS: published.SUPPRESSED, AMPLIFY: published.AMPLIFIED}[factor]
    rows = []
    for asked in ASKED:
        for place, kind in enumerate(KINDS):
            change = overall[kind][asked].get(factor)
            if change:
                percent = change.times(100)
                rows.append(_row(WHOSE[asked], NAMES[kind], percent, table, asked, place))
    return rows


def activations(overall: dict[str, TableRow]) -> list[Comparison]:
    """Table 4."""
    rows = []
    for sentences in SENTENCE_KINDS:
        for place, kind in enumerate(KINDS):
            if kind in overall:
                found, name = overall[kind].by_sentences[sentences], SENTENCES[sentences]
                rows.append(_row(name, NAMES[kind], found, published.TABLE_4, sentences, place))
    return rows


def main_run(runs: Sequence[EditRun]) -> EditRun | None:
    """The run that Table 6 is about: of refined neurons, with the paper's lambdas."""
    return next((run for run in runs if not run.by_count and run.lambdas == [LAMBDAS]), None)


def edits(run: EditRun) -> list[Comparison]:
    """Table 6."""
    rows = []
    for quantity, value_of in RATES.items():
        for summary in run.summaries:
            rate = value_of(summary)
            if rate:
                table = published.TABLE_6_RATES
                rows.append(_edit_row(quantity, summary.kind, rate.times(100), table))
    for quantity, value_of in PERPLEXITIES.items():
        for summary in run.summaries:
            found = value_of(summary)
            if found:
                table, detail = published.TABLE_6_PERPLEXITY, _arrow(found.before, found.after)
                rows.append(_edit_row(quantity, summary.kind, found.increase, table, detail))
    return rows


RATES = {
    "change": lambda summary: summary.change,
    "success": lambda summary: summary.success,
    "success on paraphrases": lambda summary: summary.paraphrase_success,
}
PERPLEXITIES = {
    "perplexity, same relation": lambda summary: summary.same_relation,
    "perplexity, other relations": lambda summary: summary.other_relations,
}


def _edit_row(
    quantity: str, kind: str, estimate: Estimate, table: Table, detail: str = ""
) -> Comparison:
    place = EDIT_KINDS.index(kind)
    return _row(quantity, EDITED[kind], estimate, table, quantity, place, detail)


def erasures(found: Sequence[Erasure], labels: dict[str, str]) -> list[Comparison]:
    """Table 5, with the control that the paper does not have."""
    rows = []
    for erasure in sorted(found, key=lambda one: (len(one.run), one.run)):  # P19 before P106
        name = f"{erasure.run} {labels.get(erasure.relation, '')}".strip()
        theirs = published.ERASED.get(erasure.relation) if erasure.run == erasure.relation else None
        for who, place, pair in (
            (name, 0, theirs and theirs.relation),
            (f"{name}: all others", 1, theirs and theirs.others),
        ):
            for kind, erased in (
                ("knowledge neurons", erasure.erased),
                ("random neurons", erasure.random),
            ):
                change = erased.others if place else erased.relation
                if change:
                    printed = pair if kind == "knowledge neurons" else None
                    rows.append(_erasure_row(who, kind, change, erasure.relation, place, printed))
    return rows


def _erasure_row(
    who: str,
    kind: str,
    change: Erasing,
    relation: str,
    place: int,
    printed: tuple[float, float] | None,
) -> Comparison:
    grown = change.perplexity_increase.times(100)
    return Comparison(
        who,
        kind,
        grown.value,
        grown.interval,
        published.TABLE_5.rows[relation][place] if printed else None,
        published.TABLE_5.digits,
        published.TABLE_5.unit,
        published.TABLE_5.signed,
        _arrow(change.perplexity_before, change.perplexity_after),
        _arrow(*printed, digits=published.TABLE_5.digits) if printed else "",
    )


def _row(
    quantity: str,
    neurons: str,
    estimate: Estimate,
    table: Table,
    key: str,
    place: int,
    detail: str = "",
) -> Comparison:
    """A row with the number that stands in the table under key, at place; none beyond it."""
    paper = (*table.rows.get(key, ()), None, None, None)[place]
    return Comparison(
        quantity,
        neurons,
        estimate.value,
        estimate.interval,
        paper,
        table.digits,
        table.unit,
        table.signed,
        detail,
    )


def _arrow(before: float, after: float, digits: int = 2) -> str:
    return f"{before:.{digits}f} → {after:.{digits}f}"
