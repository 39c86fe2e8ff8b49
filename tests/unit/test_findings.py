"""docs/findings.md tells what the records say.  Run: pytest tests/unit/test_findings.py"""

import pytest

from benchmarks import beyond_shown

PAGE = beyond_shown.PAGE


def test_the_tables_are_those_of_the_records():
    """`python -m benchmarks.beyond --shown` would change no table."""
    found = beyond_shown.records()
    assert {"smollm2", "demo"} <= found.keys()
    text = PAGE.read_text()
    assert beyond_shown.with_tables(text, found) == text


def test_every_table_has_rows_of_both_models():
    found = beyond_shown.records()
    for name, table in beyond_shown.TABLES.items():
        heads, *rows = table(found)
        assert {row[0] for row in rows} == {beyond_shown.MODELS[one] for one in found}, name
        assert all(len(row) == len(heads) for row in rows)


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="table: maps"):
        beyond_shown.with_tables(PAGE.read_text().replace("table: maps", "maps"), {})
