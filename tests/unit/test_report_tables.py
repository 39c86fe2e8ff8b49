"""Outcomes -> rows beside the published numbers.  Run: pytest tests/unit/test_report_tables.py"""

from dataclasses import replace

import pytest

from knowledge_neurons.results import outcomes, published
from knowledge_neurons.results.changes import AMPLIFY, SUPPRESS
from knowledge_neurons.results.comparison import (
    NAMES,
    activations_beside,
    changes_beside,
    edits_beside,
    erasures_beside,
    main_run,
    neurons_beside,
)
from knowledge_neurons.types import KINDS
from tests.reference import synthetic


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> outcomes.Outcomes:
    """Results of three relations, one of them of Table 5."""
    names = {"P19": "place of birth", "P101": "field of work", "P7": "colour"}
    parts = ("statistics", "modified", "activations", "edits", "erasures")
    return outcomes.read(synthetic.write_of(tmp_path_factory.mktemp("tables"), names, parts))


def numbers(rows, quantity):
    """neurons -> (ours, paper) of a quantity's rows."""
    return {row.neurons: (row.ours, row.paper) for row in rows if row.quantity == quantity}


def test_table_2(found):
    rows = numbers(neurons_beside(found.statistics), "shared, same relation")
    assert rows == {
        "knowledge neurons": (found.statistics["neurons"].shared_within, 1.23),
        "activation baseline": (found.statistics["baseline"].shared_within, 2.85),
    }


@pytest.mark.parametrize("factor, paper", [(SUPPRESS, (-29.03, -1.47)), (AMPLIFY, (31.17, -1.27))])
def test_changes_are_in_percent_with_their_intervals(found, factor, paper):
    rows = changes_beside(found.modified.overall, factor)
    own = numbers(rows, "own facts")
    for kind, name, published_one in zip(KINDS, map(NAMES.get, KINDS), paper, strict=True):
        change = found.modified.overall[kind]["own"][factor]
        assert own[name] == (pytest.approx(100 * change.value), published_one)
    row = rows[0]
    interval = found.modified.overall["neurons"]["own"][factor].interval
    assert row.interval == pytest.approx([100 * end for end in interval])
    assert (row.unit, row.digits, row.signed) == ("%", 2, True)
    assert numbers(rows, "facts of other relations")["knowledge neurons"][1] is None


def test_table_4(found):
    rows = activations_beside(found.activations.overall)
    assert [row.paper for row in rows] == [0.485, 2.472, 0.019, 2.312, -0.018, 2.244]
    assert rows[0].ours == found.activations.overall["neurons"].by_sentences["both"].value


def test_table_6_is_of_the_papers_lambdas_and_the_refined_neurons(found):
    run = main_run(found.edits)
    assert run.name == "edit-1-8"
    assert main_run([one for one in found.edits if one is not run]) is None
    rows = edits_beside(run.summaries)
    by_kind = {summary.kind: summary for summary in run.summaries}
    assert numbers(rows, "success") == {
        "knowledge neurons": (100 * by_kind["knowledge"].success.value, 34.4),
        "random neurons": (100 * by_kind["random"].success.value, 0.0),
        "random, same size": (100 * by_kind["random_same_size"].success.value, None),
    }
    (row,) = (
        row
        for row in rows
        if (row.quantity, row.neurons) == ("perplexity, same relation", "knowledge neurons")
    )
    same = by_kind["knowledge"].same_relation
    assert (row.ours, row.paper) == (same.increase.value, 8.4)
    assert row.detail == f"{same.before:.2f} → {same.after:.2f}"


def test_table_5_has_published_numbers_for_the_papers_relations_alone(found):
    rows = erasures_beside(found.erasures, {"P19": "place of birth", "P7": "colour"})
    assert [row.quantity for row in rows][::4] == ["P7 colour", "P19 place of birth", "P101"]
    own, others = (
        numbers(rows, f"P19 place of birth{end}")["knowledge neurons"]
        for end in ("", ": all others")
    )
    (erasure,) = (one for one in found.erasures if one.relation == "P19")
    grown = (erasure.erased.relation, erasure.erased.others)
    assert own == (pytest.approx(100 * grown[0].perplexity_increase.value), 106.6)
    assert others == (pytest.approx(100 * grown[1].perplexity_increase.value), 1.1)
    papers = {row.quantity for row in rows if row.paper is not None}
    assert papers == {"P19 place of birth", "P19 place of birth: all others"}
    assert all(row.paper is None for row in rows if row.neurons == "random neurons")
    assert next(row for row in rows if row.paper).paper_detail == "1450.0 → 2996.0"


def test_an_erasure_to_another_value_is_not_the_papers(found):
    """P19-unk sets the slots to an embedding; Table 5 sets them to zero."""
    unk = [replace(one, run=f"{one.run}-unk") for one in found.erasures]
    assert all(row.paper is None for row in erasures_beside(unk, {}))
    assert set(published.TABLE_5.rows) == set(published.ERASED)
