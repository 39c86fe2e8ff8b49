"""Files in CounterFact's format and files of inverse relations: read, refused, and our samples.

Run: pytest tests/unit/test_counterfact.py
"""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge_neurons import ROOT
from knowledge_neurons.text import data
from knowledge_neurons.text.counterfact import Case, read_cases
from knowledge_neurons.text.inverses import read_inverses
from knowledge_neurons.types import Fact

SCRIPTS = ROOT / "scripts"
RECORD = {
    "case_id": 7,
    "pararel_idx": 1,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Ann",
    },
    "paraphrase_prompts": ["It rained.\n\nAnn, a native "],
    "neighborhood_prompts": ["The mother tongue of Bob is", "Cid speaks"],
    "attribute_prompts": [],
    "generation_prompts": [],
}
INVERSES = {
    "P36": {
        "inverse": "P1376",
        "templates": ["From [X] they govern [Y]."],
        "aliases": {"France": ["the French Republic", "Gaul"]},
    }
}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(content: dict, path: str, value: object) -> object:
    """A copy with another value at "a.b"; None takes the key away."""
    content = copy.deepcopy(content)
    *parents, last = path.split(".")
    inner = content
    for key in parents:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return content


def test_a_record_as_a_case(tmp_path):
    (case,) = read_cases(write(tmp_path / "c.json", [RECORD]))
    assert case == Case(
        *(7, "P103", "Ann", "French", "English", "The mother tongue of Ann is [MASK]."),
        ("It rained.\n\nAnn, a native [MASK].",),
        ("The mother tongue of Bob is [MASK].", "Cid speaks [MASK]."),
    )
    assert case.asking("x") == Fact("P103", "CounterFact", 7, "x", case.prompts)
    assert len(case.prompts) == 4


@pytest.mark.parametrize(
    "path, value, told",
    [
        ("case_id", None, "missing required field `case_id`"),
        ("case_id", "7", "Expected `int`, got `str` - at `$.case_id`"),
        ("requested_rewrite.prompt", "It is", "(case_id 7): expected one {} in the prompt 'It is'"),
        ("requested_rewrite.prompt", "{} and {}", "expected one {} in the prompt '{} and {}'"),
        ("requested_rewrite.subject", " ", "the subject ' ' is empty or no name"),
        ("requested_rewrite.target_new", {"id": "Q1"}, "missing required field `str`"),
        ("requested_rewrite.target_new", {"str": "a [MASK]"}, "the target_new 'a [MASK]'"),
        ("requested_rewrite.target_new", {"str": " French"}, "are both 'French'"),
        ("paraphrase_prompts", ["a", 3], "at `$.paraphrase_prompts[1]`"),
        ("paraphrase_prompts", [" "], "the prompt ' ' is empty"),
        ("neighborhood_prompts", None, "missing required field `neighborhood_prompts`"),
        ("neighborhood_prompts", ["an [SEP]"], "holds a special token"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path, path, value, told):
    """By file, place and case."""
    whole = RECORD | {"case_id": 1}
    file = write(tmp_path / "c.json", [whole, changed(RECORD, path, value)])
    with pytest.raises(ValueError) as error:
        read_cases(file)
    assert str(error.value).startswith(f"{file}: record 1") and told in str(error.value)


@pytest.mark.parametrize(
    "content, told",
    [
        ("", "not valid JSON"),
        ("[]", "expected a list of CounterFact's records, got an empty list"),
        (RECORD, "expected a list of CounterFact's records, got dict"),
        ([RECORD, RECORD], "record 1: case_id 7 stands there twice"),
        ([3], "record 0: Expected `object`, got `int`"),
    ],
)
def test_a_file_of_another_shape_is_named(tmp_path, content, told):
    file = write(tmp_path / "c.json", content)
    with pytest.raises(ValueError) as error:
        read_cases(file)
    assert str(file) in str(error.value) and told in str(error.value)


def test_a_file_that_is_not_there_says_where_to_get_it(tmp_path):
    with pytest.raises(ValueError, match=r"get_data\.py --counterfact"):
        read_cases(tmp_path / "c.json")
    with pytest.raises(ValueError, match=r"sample_inverses\.json"):
        read_inverses(tmp_path / "c.json")


# --- inverse relations and other names -------------------------------------------------------


def test_a_fact_backwards_and_by_other_names(tmp_path):
    inverse = read_inverses(write(tmp_path / "i.json", INVERSES))["P36"]
    back = inverse.backwards("Rome", "France", 3)
    assert (back.relation, back.index, back.answer) == ("P1376", 3, "France")
    assert back.prompts == ("From Rome they govern [MASK].",)
    texts = ("The France of [MASK].", "France, [MASK]; France.", "Francesca, [MASK].")
    found = inverse.renamed(Fact("P36", "capital", 3, "Paris", texts), "France")
    assert {name: one.prompts for name, one in found.items()} == {
        "the French Republic": (
            "The French Republic of [MASK].",
            "The French Republic, [MASK]; the French Republic.",
        ),
        "Gaul": ("Gaul of [MASK].", "Gaul, [MASK]; Gaul."),
    }
    assert inverse.renamed(Fact("P36", "capital", 4, "Rome", texts), "Italy") == {}
    assert inverse.renamed(Fact("P36", "capital", 3, "Paris", texts[2:]), "France") == {}


@pytest.mark.parametrize(
    "path, value, told",
    [
        ("P36.templates", ["From [X]."], "expected one [X], one [Y] and no [MASK] in 'From [X].'"),
        ("P36.templates", ["[X] [Y] [MASK]"], "no [MASK]"),
        ("P36.templates", [], "expected an inverse relation with its templates"),
        ("P36.inverse", None, "expected an inverse relation with its templates"),
        ("P36.aliases", {"France": []}, "expected other names of 'France', each once, got "),
        ("P36.aliases", {"France": ["France"]}, "each once, got France"),
        ("P36.aliases", {"France": ["a", "a"]}, "each once, got a, a"),
        ("P36.alias", {}, "unknown field `alias`"),
        ("P36", [], "P36: Expected `object`, got `array`"),
        ("../x", {}, "expected a name such as P101"),
    ],
)
def test_an_inverse_that_is_none_is_named(tmp_path, path, value, told):
    file = write(tmp_path / "i.json", {"P36": changed(INVERSES, path, value)["P36"]}
                 if path != "../x" else {"../x": {}})  # fmt: skip
    with pytest.raises(ValueError) as error:
        read_inverses(file)
    assert str(file) in str(error.value) and told in str(error.value)


@pytest.mark.parametrize("content, told", [({}, "got no relation"), ([], "expected a JSON object")])
def test_inverses_of_another_shape(tmp_path, content, told):
    with pytest.raises(ValueError, match=told):
        read_inverses(write(tmp_path / "i.json", content))


# --- our samples -----------------------------------------------------------------------------


def test_the_samples_are_what_their_script_writes():
    command = [sys.executable, SCRIPTS / "make_counterfact_sample.py", "--check"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", ["PARAREL/sample", "WORLD/world"])
def test_cases_of_the_samples_are_facts(name):
    """Subject and true answer are a fact's; neighbours are other heads with the same answer."""
    pairs = data.read_pairs(ROOT / f"data/{name}_query_pairs.json")
    cases = read_cases(ROOT / f"data/COUNTERFACT/{Path(name).name}_counterfact.json")
    assert len(cases) == 36 and len({case.relation for case in cases}) == 6
    for case in cases:
        facts = dict(pairs[case.relation])
        head = case.subject.removeprefix("the ")
        assert facts[head] == case.true and case.new in facts.values()
        assert len(case.paraphrases) == 2 and 1 <= len(case.neighbours) <= 5
        assert all(case.subject in text for text in (case.rewrite, *case.paraphrases))
        assert len({*case.prompts}) == len(case.prompts)
        same = [other for other, answer in facts.items() if answer == case.true]
        for text in case.neighbours:
            start, end = case.rewrite.split(case.subject)
            other = text.removeprefix(start).removesuffix(end).removeprefix("the ")
            assert other in same and other != head


def test_sample_inverses_are_of_the_samples_relations():
    """Other names are of heads there, and no head themselves."""
    found = read_inverses(ROOT / "data/PAIRS/sample_inverses.json")
    files = [
        ROOT / "data" / f"{name}_query_pairs.json" for name in ("PARAREL/sample", "WORLD/world")
    ]
    samples = [data.read_pairs(path) for path in files]
    for relation, one in found.items():
        heads = {head for pairs in samples for head, _ in pairs.get(relation, ())}
        assert heads >= one.aliases.keys()
        other = {name.removeprefix("the ") for names in one.aliases.values() for name in names}
        assert not heads & other
        assert all(text.endswith("[Y].") for text in one.templates), "for decoders"
