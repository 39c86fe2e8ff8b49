"""The prompts file -> facts, and what is said of a wrong one.

pytest tests/unit/test_data.py
"""

import json

import pytest

from knowledge_neurons.text.data import check_pairs, facts_of, read_bags, read_pairs, read_sentences
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


def test_prompts_may_have_either_mask_word():
    bags = {"P10": [[["Ann was born in <mask>.", "Rome", "P10(label)"]]]}
    assert facts_of(bags, "P10", "data")[0].prompts == ("Ann was born in <mask>.",)
    bags["P10"][0][0][0] += " [MASK]"
    with pytest.raises(ValueError, match="expected one"):
        facts_of(bags, "P10", "data")


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"P10": [', "line 1 column 10"),
        (b"", "line 1 column 1"),
        (b"\xff\xfe{}", "can't decode byte 0xff"),
        (b"NaN", "NaN is no number of JSON"),
        (b'{"P10": [[["[MASK]", Infinity, "P10(a)"]]]}', "Infinity is no number"),
        (b'{"P10": [], "P9": [], "P10": []}', "the key 'P10' stands twice in one object"),
        (b'{"' + b"x" * 10**6 + b'": 1, "' + b"x" * 10**6 + b'": 2}', "the key 'xxx"),
        (
            rb'{"P10": [[["Ann \ud83d [MASK].", "Rome", "P10(a)"]]]}',
            r"half a character in .*\\ud83d",
        ),
        (rb'{"P10": [[["Ann [MASK].", "Ro\u0000me", "P10(a)"]]]}', r"a NUL .*'Ro\\x00me'"),
        (rb'{"P1\u0000": []}', r"a NUL .*'P1\\x00'"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"P10": ' + b'{"a":' * 10**5, "nested too deeply"),
        (b"1" * 10**5, "Exceeds the limit"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_json_names_the_file_and_the_reason(tmp_path, content, reason):
    """Whatever makes it no JSON, or JSON that two readers take differently; shortly."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    for read in (read_bags, read_pairs, lambda path: read_sentences(path, "P10", [])):
        with pytest.raises(ValueError, match=rf"{path}: not valid JSON \(.*{reason}") as error:
            read(path)
        assert len(str(error.value)) < 400 and "\n" not in str(error.value)


def test_characters_outside_the_first_plane_are_fine(tmp_path):
    """A whole surrogate pair is one character, escaped or not."""
    path = tmp_path / "data.json"
    path.write_text(r'{"P10": [[["\ud83d\ude00 [MASK] 😀.", "Rome", "P10(a)"]]]}', encoding="utf-8")
    assert facts_of(read_bags(path), "P10", path)[0].prompts == ("😀 [MASK] 😀.",)


NO_RELATIONS = [
    *("", " ", ".", "..", "../P19", "P19/", "/P19", "a b", "P19 ", "P19\n", "\x1b[31mP19", "P-19"),
    *("_P19", "P19.json", "P19*", "P\u200b19", "\u0667", "P" * 65),
]


@pytest.mark.parametrize("name", NO_RELATIONS, ids=ascii)
def test_relation_that_cannot_be_part_of_a_file_name_is_refused(tmp_path, name):
    """In either shape of the prompts and in the pairs: file and name, as Python writes it."""
    flat = [[["[MASK] a", "Rome", f"{name}(label)"]]]
    contents = {read_bags: [{"P10": BAGS["P10"], name: []}, flat], read_pairs: [{name: []}]}
    for read, some in contents.items():
        for content in some:
            path = written(tmp_path / "odd.json", content)
            with pytest.raises(ValueError, match="expected a name such as P101") as error:
                read(path)
            assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["P19", "P1", "Q", "7", "place_of_birth", "P" * 64])
def test_other_names_of_relations_are_fine(tmp_path, name):
    """Not only Wikidata's."""
    path = written(tmp_path / "data.json", {name: []})
    assert read_bags(path) == {name: []} and read_pairs(path) == {name: []}


def test_messages_do_not_grow_with_the_file(tmp_path):
    """Whatever is long, prompts, answers, labels, lists or names, a message shows its start."""
    long, deep = "x" * 10**6, [[["y"] * 10**5] * 9]
    bags = [
        *("text" * 10**5, deep, [[long] * 10**4], [row(text=long)], [row(answer=long), row()]),
        *([row(), row(name=f"P10({long})")], [row(name=long)], [row(answer=f"[MASK]{long}")]),
        [row(answer=long, name=long)],
    ]
    for bag in bags:
        with pytest.raises(ValueError) as error:
            facts_of({"P10": [bag]}, "P10", "data.json")
        assert len(str(error.value)) < 300
    many = {f"P{i}": [] for i in range(10**5)}
    with pytest.raises(ValueError, match="and 99960 more") as error:
        facts_of(many, "Q" * 10**6, "data.json")
    assert len(str(error.value)) < 500
    path = written(tmp_path / "pairs.json", {"P10": [[long, long], deep]})
    for pairs in ([("a", long)], [("a", "b")] * 2):
        with pytest.raises(ValueError) as error:
            check_pairs([Fact("P10", "label", 0, long + "y", ())], pairs, path)
        assert len(str(error.value)) < 500
    with pytest.raises(ValueError, match="P10 fact 1") as error:
        read_pairs(path)
    assert len(str(error.value)) < 300
    path = written(tmp_path / "sentences.json", [{"th_bags": [long], "h_bags": long}])
    with pytest.raises(ValueError, match="fact 0") as error:
        read_sentences(path, "P10", [("a", "b")])
    assert len(str(error.value)) < 300


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
        *(
            ([row(answer=answer)], "the answer .* is no word")
            for answer in (
                "",
                " ",
                "[MASK]",
                " [PAD]",
                "a [SEP]",
                "[UNK]",
                "Ro\tme",
                "\x1b[31mRome",
            )
        ),
        ([row(name="P10(\x1b[31mplace)")], r"expected a relation .*, got 'P10\(\\x1b"),
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
