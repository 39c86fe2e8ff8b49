"""Table 6 on the screen: what stage 6 shows of its summary."""

from __future__ import annotations

from knowledge_neurons.results import published
from knowledge_neurons.results.edit_summary import KINDS, Perplexity, Summary, Variant
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.stages import tables

LABELS = dict(zip(KINDS, ("Knowledge neurons", "Random", "Random, same size"), strict=True))


def show_table(summaries: list[Summary], draw: str) -> None:
    """Table 6, of the only variant: a column per kind of neurons, the paper's two beside them.

    draw: how the facts were drawn.
    """
    columns = [values_of(summary) for summary in summaries]
    heads = "".join(f"{LABELS[summary.kind]:>27}" for summary in summaries)
    rows = {"": f"{heads}  | paper: KN  random"}
    paper = {**published.TABLE_6_RATES.rows, **published.TABLE_6_PERPLEXITY.rows}
    for name in columns[0]:
        beside = "{:10.1f}{:8.1f}".format(*paper[name]) if name in paper else ""
        rows[name] = "".join(f"{column[name]:>27}" for column in columns) + f"  |{beside}"
    tables.show(
        f"Table 6: {summaries[0].edits} edits, {draw} draw, {described(summaries[0].variant)} "
        "(95 % intervals; rates in %; the paper's numbers are of bert-base-cased)",
        rows,
    )


def show_variants(summaries: list[Summary], draw: str) -> None:
    """A line for each variant; the rest of the numbers is in the JSON."""
    heads = ("neurons", "change", "success", "random", "same size", "perplexity: same", "other")
    widths = (9, 22, 22, 18, 18, 22, 22)
    rows = {"": "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))}
    for start in range(0, len(summaries), len(KINDS)):
        own, *controls = summaries[start : start + len(KINDS)]
        cells = (
            f"{own.neurons:.2f}",
            *(_percent(rate) for rate in (own.change, own.success)),
            *(_percent(control.success) for control in controls),
            *(_increase(grown) for grown in (own.same_relation, own.other_relations)),
        )
        line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        rows[described(own.variant)] = line
    tables.show(
        f"{summaries[0].edits} edits, {draw} draw, in each of {len(rows) - 1} ways (95 % "
        "intervals; rates in %; random, same size: success of the controls)",
        rows,
    )


def described(variant: Variant) -> str:
    which = "refined neurons" if variant.top_k is None else f"top {variant.top_k} neurons"
    return f"lambdas {variant.lambda_1:g} and {variant.lambda_2:g}, {which}"


def values_of(summary: Summary) -> dict[str, str]:
    """Name of a row -> what stands in the summary's column."""
    return {
        "neurons an edit": f"{summary.neurons:.2f}",
        "size of the change": f"{summary.size:.2f}",
        "change": _percent(summary.change),
        "change, top 5": _percent(summary.change_top5),
        "success": _percent(summary.success),
        "success, top 5": _percent(summary.success_top5),
        "paraphrases, change": _percent(summary.paraphrase_change),
        "paraphrases, success": _percent(summary.paraphrase_success),
        "new answer, probability": told(summary.probability_new, 3),
        "new answer, median rank": f"{summary.rank_new_before:g} -> {summary.rank_new:g}",
        "perplexity, same relation": _increase(summary.same_relation),
        "perplexity, other relations": _increase(summary.other_relations),
    }


def _percent(estimate: Estimate | None) -> str:
    return told(estimate and estimate.times(100), 1)


def _increase(perplexity: Perplexity | None) -> str:
    return told(perplexity and perplexity.increase, 2)
