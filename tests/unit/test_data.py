"""The prompts file -> facts, and what is said of a wrong one.

pytest tests/unit/test_data.py
"""

import json

import pytest

from knowledge_neurons.data import facts_of, read_bags
from knowledge_neurons.types import Fact

BAGS = {
    "P10": [
        [
            ["Ann was born in [MASK].", "Rome", "P10(place of birth)"],
            ["[MASK] is where Ann was born.", "Rome", "P10(place of birth)"],
        ],
        [["Zoë was born in [MASK].", "Paris", "P10(place of birth)"]],
    ],
    "P9": [[["Ann plays [MASK].", "chess", "P9(game (board))"]]],
}
FACTS = [
    Fact(
        "P10",
        "place of birth",
        0,
        "Rome",
        ("Ann was born in [MASK].", "[MASK] is where Ann was born."),
    ),
    Fact("P10", "place of birth", 1, "Paris", ("Zoë was born in [MASK].",)),
]


def row(text="Ann was born in [MASK].", answer="Rome", name="P10(place of birth)"):
    return [text, answer, name]


def written(path, content):
    """The path, holding the content as JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_bags_by_relation_become_facts_in_data_order(tmp_path):
    """Relation, label, place, answer and prompts of each fact, all of them, in order."""
    path = written(tmp_path / "data.json", BAGS)
    assert facts_of(read_bags(path), "P10", path) == FACTS


def test_one_flat_list_holds_the_same_facts(tmp_path):
    """The authors' data_all.json: relations mixed; each relation's facts keep their order."""
    first, second = BAGS["P10"]
    path = written(tmp_path / "flat.json", [first, *BAGS["P9"], second])
    bags = read_bags(path)
    assert bags == BAGS
    assert facts_of(bags, "P10", path) == FACTS


def test_label_may_hold_brackets():
    """Everything between the outermost brackets is the label."""
    assert facts_of(BAGS, "P9", "data")[0].label == "game (board)"


@pytest.mark.parametrize("max_facts, expected", [(None, 2), (1, 1), (2, 2), (99, 2)])
def test_max_facts_takes_the_first(max_facts, expected):
    """The first N facts of the relation; all of them without N or where there are fewer."""
    assert facts_of(BAGS, "P10", "data", max_facts) == FACTS[:expected]


def test_facts_beyond_max_facts_are_not_looked_at():
    """A malformed fact behind the asked ones stops nobody."""
    bags = {"P10": [*BAGS["P10"], "broken"]}
    assert len(facts_of(bags, "P10", "data", 2)) == 2
    with pytest.raises(ValueError, match="P10 fact 2"):
        facts_of(bags, "P10", "data")


def test_missing_file_is_named_with_what_to_do(tmp_path):
    """The path, and how to get the data."""
    with pytest.raises(ValueError, match="no such file") as error:
        read_bags(tmp_path / "nowhere.json")
    assert str(tmp_path / "nowhere.json") in str(error.value)
    assert "scripts/get_data.py" in str(error.value)


def test_folder_in_place_of_a_file_is_named(tmp_path):
    """A folder, as in KN_DATA=data/PARAREL, is the user's to mend: no bare OSError."""
    with pytest.raises(ValueError, match="cannot be read") as error:
        read_bags(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("content", [b'{"P10": [', b"", b"\xff\xfe{}", b"NaN"])
def test_bad_json_names_the_file(tmp_path, content):
    """Cut off, empty, not UTF-8, not JSON."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not valid JSON") as error:
        read_bags(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [3, "P10", None, {"P10": "facts"}, {"P10": {"0": []}}])
def test_other_shapes_are_refused_with_the_expected_one(tmp_path, content):
    """JSON that is neither relation -> facts nor a list of facts."""
    path = written(tmp_path / "shape.json", content)
    with pytest.raises(ValueError, match=r"expected \{relation: \[bag of each fact\]\}") as error:
        read_bags(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("broken", [[], 7, "text", [[]], [["a", "b", 3]], {"a": 1}])
def test_flat_list_with_a_broken_fact_names_its_place(tmp_path, broken):
    """A bag whose relation cannot be read: file and index."""
    path = written(tmp_path / "flat.json", [BAGS["P9"][0], broken])
    with pytest.raises(ValueError, match="fact 1 is no list") as error:
        read_bags(path)
    assert str(path) in str(error.value)


def test_unknown_relation_lists_the_known_in_numeric_order():
    """P9 before P10 before P101, with the source of the bags."""
    bags = {name: BAGS["P10"] for name in ("P101", "P9", "P10")}
    with pytest.raises(ValueError, match=r"'P7' is not in data\.json") as error:
        facts_of(bags, "P7", "data.json")
    assert str(error.value).endswith("It has: P9, P10, P101")


def test_relation_without_facts_is_an_error():
    """An empty list is said, not handed on."""
    with pytest.raises(ValueError, match=r"data\.json: P10 has no facts"):
        facts_of({"P10": []}, "P10", "data.json")


@pytest.mark.parametrize(
    "bag, message",
    [
        ("text", "expected a list of prompts"),
        ([], "expected a list of prompts"),
        ([["Ann was born in [MASK].", "Rome"]], r"expected \[prompt, answer, relation\]"),
        ([["Ann was born in [MASK].", 3, "P10(x)"]], r"expected \[prompt, answer, relation\]"),
        (["Ann was born in [MASK]."], r"expected \[prompt, answer, relation\]"),
        ([row(text="Ann was born in Rome.")], r"expected one \[MASK\] in 'Ann was born in Rome.'"),
        ([row(), row(text="[MASK] or [MASK]")], r"expected one \[MASK\] in '\[MASK\] or"),
        ([row(), row(answer="Paris")], "its prompts differ in answer or relation.*Paris"),
        ([row(), row(name="P10(born)")], "its prompts differ in answer or relation.*born"),
        ([row(name="P1(place of birth)")], r"expected a relation like 'P10\(label\)', got 'P1\("),
        ([row(name="P10")], r"expected a relation like 'P10\(label\)', got 'P10'"),
        ([row(name="P10(born) in")], r"expected a relation like 'P10\(label\)'"),
    ],
)
def test_malformed_fact_is_named(bag, message):
    """Each way a fact can be wrong: source, relation and index, what was got and expected."""
    with pytest.raises(ValueError, match=message) as error:
        facts_of({"P10": [*BAGS["P10"], bag]}, "P10", "data.json")
    assert str(error.value).startswith("data.json: P10 fact 2: ")
