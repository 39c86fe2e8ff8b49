"""The README's tables are made from the committed records.

Run: pytest tests/unit/test_readme_tables.py
"""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))  # its neighbour

import readme_tables


def test_the_readme_has_the_numbers_of_the_records():
    """`python scripts/readme_tables.py` would change nothing."""
    text = readme_tables.README.read_text()
    assert readme_tables.with_tables(text) == text, "run python scripts/readme_tables.py"


def test_another_record_is_another_table(tmp_path, monkeypatch):
    """A number of a record reaches the cell that tells it; the README's other text stays."""
    for path in readme_tables.RECORDS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    demo = json.loads((tmp_path / "demo.json").read_text())
    demo["table_2"]["neurons"]["per_fact"] = 9.876
    demo["table_6"]["random"]["change"] = {"value": 0.0, "interval": [-0.001, 0.12349]}
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    taken = json.loads((tmp_path / "published_neurons.json").read_text())
    taken["table_2"] |= {"per_fact": 8.0, "shared_within": 2.0, "shared_across": 0.5}
    (tmp_path / "published_neurons.json").write_text(json.dumps(taken))
    monkeypatch.setattr(readme_tables, "RECORDS", tmp_path)
    text = readme_tables.README.read_text()
    changed = [line for line in readme_tables.with_tables(text).splitlines()
               if line not in text.splitlines()]  # fmt: skip
    assert [re.sub(r" \|.*", "", line[2:]) for line in changed] == [
        "neurons a fact", "shared by two facts of a relation; of two",
        "the same, % of a fact's neurons",
        "Table 2: neurons a fact", "Table 6: answer changed, %",
    ]  # fmt: skip
    assert [line.split(" | ")[1] for line in changed[:3]] == ["8.00", "2.00; 0.50", "25.0; 6.2"]
    assert changed[3].split(" | ")[1] == "9.88"
    assert changed[4].split(" | ")[2] == "0.0 [-0.1, 12.3]"


def test_a_readme_without_its_marks_is_an_error():
    """The table's name is told; nothing is written over."""
    with pytest.raises(ValueError, match="no <!-- table: knowledge neurons --> with <!-- end -->"):
        readme_tables.with_tables("# Knowledge Neurons\n")


def test_signs_and_digits():
    """No sign before a rounded zero; changes have theirs; two digits under a second, three over."""
    estimate = {"value": 0.012, "interval": [-0.0004, 0.5]}
    assert readme_tables.told(estimate, 2, "+") == "+0.01 [0.00, +0.50]"
    assert readme_tables.told(estimate, 1, "", 100) == "1.2 [0.0, 50.0]"
    assert [readme_tables.seconds(x) for x in (0.0056, 0.1018, 1.3176, 35.02)] == [
        "0.0056", "0.10", "1.32", "35.0"
    ]  # fmt: skip
