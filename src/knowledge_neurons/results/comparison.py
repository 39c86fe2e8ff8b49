"""Ours beside the paper's: the rows of its tables and figures, differences, verdicts.

Built once, for the report and for the screen.  A verdict is shown only where `comparability` finds
that weights, data and settings are the paper's; anything else is another experiment, whatever its
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.results import published
from knowledge_neurons.results.activations import SENTENCE_KINDS, TableRow
from knowledge_neurons.results.changes import AMPLIFY, ASKED, SUPPRESS, Changes, Modified
from knowledge_neurons.results.edits import EDITED, EditRun, Summary
from knowledge_neurons.results.erasures import Erasure
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.results.published import Table
from knowledge_neurons.text.relations import by_number
from knowledge_neurons.types import BASELINE, CONTROL, KINDS, KNOWLEDGE

NAMES = {
    KNOWLEDGE: "knowledge neurons",
    BASELINE: "activation baseline",
    CONTROL: "random neurons",
}
EDITED_NAMES = dict(
    zip(EDITED, (NAMES[KNOWLEDGE], NAMES[CONTROL], "random, same size"), strict=True)
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


class Verdict(Enum):
    """What the published number is to ours."""

    INSIDE = "inside the interval"
    OUTSIDE = "outside the interval"
    SAME = "same as printed"
    DIFFERENT = "differs from print"
    NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Comparison:
    """One number of ours, in the unit of the published one.

    quantity: what; neurons: of which kind.  interval: 95 %, None for a count that has none.
    paper: the published number, None where there is none.  digits: after its point.
    signed: it is a change.  detail, paper_detail: what it was made from, such as "1.45 → 2.48".
    """

    quantity: str
    neurons: str
    ours: float | None
    interval: tuple[float, float] | None
    paper: float | None
    digits: int
    unit: str = ""
    signed: bool = False
    detail: str = ""
    paper_detail: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in its unit (percentage points for percentages)."""
        return None if None in (self.ours, self.paper) else self.ours - self.paper

    @property
    def verdict(self) -> Verdict:
        """Of a run that can be compared with the paper's, by weights that are known to be its.

        A published number stands for all that round to it: it is inside where one of them is.
        """
        if self.paper is None or self.ours is None:
            return Verdict.NOT_PUBLISHED
        if self.interval is None:
            same = f"{self.ours:.{self.digits}f}" == f"{self.paper:.{self.digits}f}"
            return Verdict.SAME if same else Verdict.DIFFERENT
        half = 0.5 * 10**-self.digits
        low, high = self.interval
        reaches = low <= self.paper + half and self.paper - half <= high
        return Verdict.INSIDE if reaches else Verdict.OUTSIDE


# Table -> what stands over it.
CAPTIONS = {
    "counts": "Table 2: neurons of a fact and of pairs of facts",
    "suppressed": "Figure 4: change of the right answer's probability, neurons suppressed",
    "amplified": "Figure 5: change of the right answer's probability, neurons amplified",
    "activations": "Table 4: mean activation on web sentences",
    "edits": "Table 6: edits of facts",
    "erasures": "Table 5: growth of the perplexity of right answers",
}


def comparisons(found: Outcomes) -> dict[str, list[Comparison]]:
    """A key of CAPTIONS -> its rows; none where its stage has not run."""
    modified, activations = found.modified, found.activations
    run = main_run(found.edits)
    return {
        "counts": neurons_beside(found.statistics) if found.statistics else [],
        "suppressed": _changed(modified, SUPPRESS) if modified else [],
        "amplified": _changed(modified, AMPLIFY) if modified else [],
        "activations": activations_beside(activations.overall) if activations else [],
        "edits": edits_beside(run.summaries) if run else [],
        "erasures": erasures_beside(found.erasures, found.labels),
    }


def _changed(modified: Modified, factor: float) -> list[Comparison]:
    """Figure 4 or 5 in percent, then in nats."""
    return changes_beside(modified.overall, factor) + log_odds_beside(modified, factor)


# --- the paper's tables ----------------------------------------------------------------------


def neurons_beside(statistics: Mapping[str, Statistics]) -> list[Comparison]:
    """Table 2."""
    table = published.TABLE_2
    fields = ("per_fact", "shared_within", "shared_across")
    return [
        _row(quantity, NAMES[kind], getattr(statistics[kind], field), table, quantity, place)
        for quantity, field in zip(table.rows, fields, strict=True)
        for place, kind in enumerate(KINDS)
        if kind in statistics
    ]


def changes_beside(overall: Changes, factor: float) -> list[Comparison]:
    """Figure 4 (factor 0) or 5 (factor 2)."""
    table = {SUPPRESS: published.SUPPRESSED, AMPLIFY: published.AMPLIFIED}[factor]
    return [
        _row(WHOSE[asked], NAMES[kind], change.times(100), table, asked, place)
        for asked in ASKED
        for place, kind in enumerate(KINDS)
        if (change := overall[kind][asked].get(factor))
    ]


def log_odds_beside(modified: Modified, factor: float) -> list[Comparison]:
    """The same in log-odds, which the paper does not tell; none where the records have none."""
    if modified.log_odds is None:
        return []
    return [
        Comparison(quantity, NAMES[kind], one.value, one.interval, None, 2, "nats", signed=True)
        for asked in ASKED
        for quantity in [f"log-odds, {WHOSE[asked]}"]
        for kind in KINDS
        if (one := modified.log_odds.overall[kind][asked].get(factor))
    ]


def activations_beside(overall: Mapping[str, TableRow | None]) -> list[Comparison]:
    """Table 4."""
    return [
        _row(name, NAMES[kind], row.by_sentences[sentences], published.TABLE_4, sentences, place)
        for sentences, name in SENTENCES.items()
        for place, kind in enumerate(KINDS)
        if (row := overall.get(kind))
    ]


def main_run(runs: Sequence[EditRun]) -> EditRun | None:
    """The run that Table 6 is about: of refined neurons, with the paper's lambdas."""
    return next((run for run in runs if not run.by_count and run.lambdas == [LAMBDAS]), None)


RATES = {
    "change": lambda summary: summary.change,
    "success": lambda summary: summary.success,
    "success on paraphrases": lambda summary: summary.paraphrase_success,
}
PERPLEXITIES = {
    "perplexity, same relation": lambda summary: summary.same_relation,
    "perplexity, other relations": lambda summary: summary.other_relations,
}


def edits_beside(summaries: Sequence[Summary]) -> list[Comparison]:
    """Table 6."""
    rates, perplexities = published.TABLE_6_RATES, published.TABLE_6_PERPLEXITY
    rows = []
    for quantity, value_of in RATES.items():
        for one in summaries:
            if rate := value_of(one):
                rows.append(_edit_row(quantity, one, rate.times(100), rates))
    for quantity, value_of in PERPLEXITIES.items():
        for one in summaries:
            if found := value_of(one):
                detail = _arrow(found.before, found.after)
                rows.append(_edit_row(quantity, one, found.increase, perplexities, detail))
    return rows


def _edit_row(
    quantity: str, summary: Summary, estimate: Estimate, table: Table, detail: str = ""
) -> Comparison:
    place = EDITED.index(summary.kind)
    return _row(quantity, EDITED_NAMES[summary.kind], estimate, table, quantity, place, detail)


def erasures_beside(found: Sequence[Erasure], labels: Mapping[str, str]) -> list[Comparison]:
    """Table 5, with the control that the paper does not have.  labels: relation -> its name."""
    table, rows = published.TABLE_5, []
    for run in sorted(found, key=lambda one: by_number(one.run)):
        name = f"{run.run} {labels.get(run.relation, '')}".strip()
        for place, (whose, who) in enumerate(
            (("relation", name), ("others", f"{name}: all others"))
        ):
            for kind, erased in ((KNOWLEDGE, run.erased), (CONTROL, run.random)):
                effect = getattr(erased, whose)
                if effect is None:
                    continue
                key = run.run if kind == KNOWLEDGE and run.run in published.ERASED else ""
                theirs = getattr(published.ERASED[key], whose) if key else None
                rows.append(
                    _row(
                        *(who, NAMES[kind], effect.perplexity_increase.times(100)),
                        *(table, key, place),
                        _arrow(effect.perplexity_before, effect.perplexity_after),
                        _arrow(*theirs, digits=table.digits) if theirs else "",
                    )
                )
    return rows


def _row(
    quantity: str,
    neurons: str,
    estimate: Estimate | float | None,
    table: Table,
    key: str,
    place: int,
    detail: str = "",
    paper_detail: str = "",
) -> Comparison:
    """A row with the number that stands in the table under key, at place; none beyond it."""
    if not isinstance(estimate, Estimate):
        estimate = Estimate(estimate, None)
    return Comparison(
        quantity,
        neurons,
        estimate.value,
        estimate.interval,
        (*table.rows.get(key, ()), None, None, None)[place],
        table.digits,
        table.unit,
        table.signed,
        detail,
        paper_detail,
    )


def _arrow(before: float, after: float, digits: int = 2) -> str:
    return f"{before:.{digits}f} → {after:.{digits}f}"
