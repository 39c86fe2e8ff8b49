"""The numbers of the README and of docs/ are made from the committed records.

Run: pytest tests/unit/test_readme_tables.py
"""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))  # its neighbours

import readme_tables
import readme_told

from knowledge_neurons.results import published

README, RESULTS, SPEED = readme_tables.PAGES


@pytest.fixture
def records(tmp_path, monkeypatch) -> Path:
    """A copy of the records, to be changed."""
    for path in readme_tables.RECORDS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(readme_tables, "RECORDS", tmp_path)
    return tmp_path


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def new_lines(page: Path) -> list[str]:
    """Of a page that is made anew."""
    text = page.read_text()
    made = readme_tables.with_numbers(text).splitlines()
    return [line for line in made if line not in text.splitlines()]


@pytest.mark.parametrize("page", readme_tables.PAGES, ids=lambda page: page.name)
def test_a_page_has_the_numbers_of_the_records(page):
    """`python scripts/readme_tables.py` would change nothing."""
    text = page.read_text()
    assert readme_tables.with_numbers(text) == text, "run python scripts/readme_tables.py"


def test_every_table_and_sentence_stands_on_a_page():
    text = "".join(page.read_text() for page in readme_tables.PAGES)
    assert {name for _, kind, name, *_ in readme_tables.BLOCK.findall(text) if kind == "table"} == (
        readme_tables.TABLES.keys()
    )
    assert {name for _, kind, name, *_ in readme_tables.BLOCK.findall(text) if kind == "told"} == (
        readme_tables.TOLD.keys()
    )


def test_the_readme_is_short():
    """Tables and marks counted, as `wc -w` does."""
    assert len(README.read_text().split()) <= 1500


def test_another_record_is_another_table(records):
    """A number of a record reaches the cells that tell it; the other text stays."""
    demo = json.loads((records / "demo.json").read_text())
    demo["table_2"]["neurons"]["per_fact"] = 9.876
    demo["table_6"]["random"]["change"] = {"value": 0.0, "interval": [-0.001, 0.12349]}
    change(records / "demo.json", **demo)
    taken = json.loads((records / "published_neurons.json").read_text())["table_2"]
    taken |= {"per_fact": 8.0, "shared_within": 2.0, "shared_across": 0.5}
    change(records / "published_neurons.json", table_2=taken)
    changed = new_lines(RESULTS)
    assert [re.sub(r" \|.*", "", line[2:]) for line in changed] == [
        "neurons a fact", "shared by two facts of a relation; of two",
        "the same, % of a fact's neurons",
        "Table 2: neurons a fact", "Table 6: answer changed, %",
    ]  # fmt: skip
    assert [line.split(" | ")[1] for line in changed[:3]] == ["8.00", "2.00; 0.50", "25.0; 6.2"]
    assert changed[3].split(" | ")[1] == "9.88"
    assert changed[4].split(" | ")[2] == "0.0 [-0.1, 12.3]"
    table_2, table_6, sentence = new_lines(README)
    assert table_2 == "| Table 2: neurons a fact | 9.88 | 4.08 | 4.13 | 3.96 |"
    assert table_6.endswith("| 0.0 | 48.5 | 4.7 |")
    assert sentence.startswith("8.00 neurons a fact over 23,749 facts") and "25.0 %" in sentence


def test_what_is_like_for_like_and_what_is_not(records):
    """Ratios to ours with all points in the table, of fewer points and padding in the sentence."""
    scores = json.loads((records / "attribution.json").read_text())
    change(
        records / "attribution.json",
        captum_s=12.34,
        over_exact=scores["over_exact"] | {"captum": 9.87, "released": 55.4},
        over_default=scores["over_default"] | {"exact": 7.77},
    )
    changed = new_lines(README)
    assert changed[0] == "| captum | 12.3 | 9.9 |"
    sentence = " ".join(changed[1:])
    assert "7.8 times" in sentence and " 55 times" in sentence


BEYOND = {
    "model": "SmolLM2", "map_r": 0.987, "map_s_per_fact": 2.84, "edges_per_node": 10,
    "zero_out_rank_agreement": {"ig": 0.6, "logit": 0.25, "log-probability": 0.71,
                                "zero-out": None},
    "smooth_precision": 0.534, "one_prompt_precision": 0.506,
    "localisation": {"overlaps": {"wordings": {"value": 0.21}, "same_wording": {"value": 0.2}}},
}  # fmt: skip


def effect(kind: str, factor: float, value: float) -> dict:
    estimate = {"value": value, "interval": [value - 0.01, value + 0.01]}
    changes = dict.fromkeys(("own", "held_out", "same", "other"), estimate)
    return {"kind": kind, "factor": factor, "neurons": 2.5, "changes": changes}


def test_studies_beyond_the_paper_are_told_once_they_are_there(records):
    """The table's controls are theirs then; the README has the few kinds, docs/ all."""
    kinds = {"neurons": -0.8, "random": 0.0, "shared_by_1": -0.3, "random_shared_by_1": 0.01,
             "rest": -0.7, "random_rest": 0.02}  # fmt: skip
    effects = [effect(kind, factor, x) for factor in (0.0, 2.0) for kind, x in kinds.items()]
    (records / "beyond_smollm2.json").write_text(json.dumps(BEYOND | {"effects": effects}))
    made = readme_tables.with_numbers(README.read_text())
    one = "-70.0 [-71.0, -69.0]"
    assert f"| found without the held out | 2.50 | {one} | {one} | {one} | {one} |" in made
    assert "held out from finding them lose 70 %, the others 70 %" in made.replace("\n", " ")
    assert "| those in at most 1 other fact | 2.50 | -30.0" in made
    assert "rare of them" not in made and "-80.0" not in made
    told = made.replace("\n", " ")
    assert "0.99. Of all scorers log-probability increase ranks" in told
    assert "(0.71; integrated gradients 0.60)" in told
    assert "overlap by 0.21, of two facts in one wording by 0.20." in told
    assert len(made.split()) <= 1500
    at_length = readme_tables.with_numbers(RESULTS.read_text()).replace("\n", " ")
    assert "increase 0.71, integrated gradients 0.60, logit contribution 0.25." in at_length
    assert "| found without the held out, 2 | 2.50 | -70.0" in at_length
    assert "random, as many as those in at most 1 other fact, 0 | 2.50 | +1.0" in at_length
    assert "random, as many as found without the held out, 2 | 2.50 | +2.0" in at_length


def test_the_prose_about_the_demo_is_of_its_training():
    """Its numbers are no record's: they lie beside the model."""
    asked = json.loads((readme_tables.ROOT / "models/demo-bert/training.json").read_text())[
        "held_out_wordings"
    ]
    layers = json.loads((readme_tables.RECORDS / "demo.json").read_text())["table_2"]["neurons"][
        "layers"
    ]
    said = RESULTS.read_text().replace("\n", " ")
    assert f"first guess is right for {100 * asked['top1']:.1f} %" in said
    assert f"a mean probability of {asked['mean_probability']:.2f}" in said
    assert f"{100 * layers[-1]:.0f} % of its neurons lie in the top layer" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: edits -->\n", "has no <!-- end -->"),
        ("<!-- told: edits -->\n<!-- end -->", "no told is called 'edits'; there are facts asked"),
    ],
)
def test_a_mark_that_says_nothing_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        readme_tables.with_numbers(text)


def test_signs_and_digits():
    """No sign before a rounded zero; changes have theirs; two digits under a second, three over."""
    estimate = {"value": 0.012, "interval": [-0.0004, 0.5]}
    assert readme_told.told(estimate, 2, "+") == "+0.01 [0.00, +0.50]"
    assert readme_told.told(estimate, 1, "", 100) == "1.2 [0.0, 50.0]"
    assert [readme_told.seconds(x) for x in (0.0056, 0.1018, 1.3176, 35.02)] == [
        "0.0056", "0.10", "1.32", "35.0"
    ]  # fmt: skip


def test_a_number_and_its_percent_stay_on_a_line():
    lines = readme_told.lines_of("word " * 23 + "12 % of it")
    assert lines[1] == "12 % of it"


def test_numbers_that_stand_in_prose_are_those_of_records():
    """What no mark can make, for it stands in a caption, a comment or the middle of a sentence."""
    readme, results = (" ".join(page.read_text().split()) for page in (README, RESULTS))
    training = json.loads((readme_tables.ROOT / "models/demo-bert/training.json").read_text())
    demo = json.loads((readme_tables.RECORDS / "demo.json").read_text())
    recipe = training["recipe"]
    layers, width = recipe["layers"], recipe["neurons"]
    minutes = ("", "one", "two", "three")[round(training["training_seconds"] / 60)]
    assert f"Of the embedded model's {layers * width:,} neurons, these four hold" in readme
    assert f"{layers} layers of {width} neurons, trained for {minutes} minutes" in readme
    assert f"it has {layers} layers of {width} neurons and was trained for {minutes} min" in results
    counts = f"{published.RELATIONS} relations, {published.FACTS:,} facts, {published.PROMPTS:,} pr"
    assert f"# {counts}ompts" in readme
    held_out = training["held_out_wordings"]
    assert f"is right for {100 * held_out['top1']:.1f} %, with a mean probability of " in results
    assert f"probability of {held_out['mean_probability']:.2f} (" in results
    top = demo["table_2"]["neurons"]["layers"][-1]
    assert f"{100 * top:.0f} % of its neurons lie in the top layer" in results


def test_forty_minutes_are_what_the_real_model_took():
    """Its stages together, as the record has them; before them the facts are chosen."""
    assert "40 minutes on 2 cores" in README.read_text()
    assert "in 40 minutes on 2 cores" in " ".join(RESULTS.read_text().split())
    real = json.loads((readme_tables.RECORDS / "smollm2.json").read_text())
    assert 25 * 60 < sum(real["seconds_of_stages"].values()) < 40 * 60
