"""The paper's numbers agree with each other.  Run: pytest tests/unit/test_published.py"""

import pytest

from knowledge_neurons.results import published


@pytest.mark.parametrize("relation", published.TABLE_5.rows)
def test_printed_increases_follow_from_printed_perplexities(relation):
    """Table 5 prints both; perplexities are rounded, and some percents cut instead of rounded."""
    printed = published.TABLE_5.rows[relation]
    pairs = published.ERASED[relation]
    for increase, (before, after) in zip(printed, (pairs.relation, pairs.others), strict=True):
        slack = 100 * 0.05 * (1 / before + after / before**2) + 0.1
        assert 100 * (after / before - 1) == pytest.approx(increase, abs=slack)


def test_every_number_has_the_digits_that_its_table_prints():
    tables = [one for one in vars(published).values() if isinstance(one, published.Table)]
    assert {table.where for table in tables} == {
        *("Table 2", "Figure 4", "Figure 5", "Table 4", "Table 5", "Table 6")
    }
    for table in tables:
        for pair in table.rows.values():
            assert all(round(value, table.digits) == value for value in pair)


def test_the_numbers_of_each_table_add_up():
    """As added up from the paper: one that is mistyped, or left out, changes its table's sum."""
    sums = {
        name: round(sum(map(sum, table.rows.values())), 3)
        for name, table in vars(published).items()
        if isinstance(table, published.Table)
    }
    assert sums == {
        "TABLE_2": 14.18,
        "SUPPRESSED": -30.5,
        "AMPLIFIED": 29.9,
        "TABLE_4": 7.514,
        "TABLE_5": 432.4,
        "TABLE_6_RATES": 87.6,
        "TABLE_6_PERPLEXITY": 30.0,
    }
    erased = {
        name: (sum(pairs.relation), sum(pairs.others)) for name, pairs in published.ERASED.items()
    }
    assert erased == {
        "P19": (4446.0, pytest.approx(241.9)),
        "P27": (pytest.approx(66.3), pytest.approx(293.1)),
        "P106": (7481.0, pytest.approx(245.4)),
        "P937": (198.0, pytest.approx(289.9)),
    }
    assert (published.RELATIONS, published.FACTS, published.PROMPTS) == (34, 27_738, 253_448)
    assert (published.LAYERS, published.SECONDS_PER_FACT) == (12, 13.3)
    tables = [one for one in vars(published).values() if isinstance(one, published.Table)]
    assert [table.digits for table in tables] == [2, 2, 2, 3, 1, 1, 1]  # in the order of `sums`
    signed = [published.SUPPRESSED, published.AMPLIFIED, published.TABLE_5]
    assert all(table.signed for table in (*signed, published.TABLE_6_PERPLEXITY))
    assert not (published.TABLE_2.signed or published.TABLE_4.signed)
