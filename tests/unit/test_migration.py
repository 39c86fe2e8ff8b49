"""docs/migration.md: its numbers are those of the benchmark's record, its names are there.

Run: pytest tests/unit/test_migration.py
"""

import json
import re

from knowledge_neurons import ROOT, compat

TEXT = (ROOT / "docs/migration.md").read_text()
RECORD = json.loads((ROOT / "benchmarks/results/peers.json").read_text())
MODELS = ("demo", "random")
SETS = {
    "coarse at 0.3 of the largest, sets equal": "coarse at 0.3 of the largest",
    "coarse above the 99.5th percentile": "coarse above the 99.5th percentile",
    "coarse above an absolute score": "coarse above a score",
    "refined, of a fact": "refined",
}


def rows() -> dict[str, list[str]]:
    """First cell -> the others, of every table."""
    lines = [line for line in TEXT.splitlines() if line.startswith("| ")]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {first: rest for first, *rest in cells}


def test_the_package_itself_finds_the_same_with_peer_numbers():
    """Every set equal, on a trained and a random model, more than twenty prompts; as the table."""
    assert RECORD["prompts"] >= 20 and f"{RECORD['prompts']} prompts" in TEXT
    for model in MODELS:
        one = RECORD[model]
        assert one["ok"] and not one["said_differently"]
        assert all(count["equal"] == count["sets"] for count in one["sets"].values())
    for row, name in SETS.items():
        told = []
        for model in MODELS:
            count = RECORD[model]["sets"][name]
            told += [f"{count['equal']} of {count['sets']}", str(count["equal_by_default"])]
        assert rows()[row] == told


def test_largest_differences_are_the_records():
    scores, changes = [], []
    for model in MODELS:
        found = dict(RECORD[model]["largest_differences"])
        scores += [found.pop("scores"), found.pop("scores, by default")]
        changes += [max(found.values())]
    table = rows()
    told = table["scores, largest difference of the largest"]
    assert [float(cell) for cell in told] == scores
    told = table["suppressed, enhanced, erased (zero, [UNK]): probabilities"]
    assert [float(cell) for cell in told if cell] == changes


def test_every_method_that_the_table_names_is_there():
    """And every public one of the class stands in it."""
    column = "\n".join(TEXT.split("## Names")[1].splitlines())
    public = {name for name in dir(compat.KnowledgeNeurons) if not name.startswith("_")}
    named = set(re.findall(r"`(\w+)", column))
    assert public - named == {"n_layers", "intermediate_size"}
    assert set(compat.__all__) <= named
