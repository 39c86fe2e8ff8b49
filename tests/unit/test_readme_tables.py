"""The numbers of the README and of docs/ are made from the committed records.

Run: pytest tests/unit/test_readme_tables.py
"""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))  # its neighbours

import mpararel_files
import readme_tables
import readme_told

from knowledge_neurons.results import published

README, RESULTS, SPEED = readme_tables.PAGES
PROJECT = (readme_tables.ROOT / "pyproject.toml").read_text()


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


def test_what_is_said_of_the_embedded_model_lies_beside_it(tmp_path, monkeypatch):
    """Its shape, how long it was trained, on how many facts and what it knows."""
    for name in (readme_tables.CONFIG, readme_tables.TRAINING, readme_tables.BAGS):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((readme_tables.ROOT / f"{name}.json").read_text())
    training = json.loads((tmp_path / f"{readme_tables.TRAINING}.json").read_text())
    asked = training["held_out_wordings"] | {"top1": 0.876, "mean_probability": 0.543}
    change(
        tmp_path / f"{readme_tables.TRAINING}.json",
        training_seconds=420.0,
        held_out_wordings=asked,
        recipe=training["recipe"] | {"always_on": 3},
    )
    change(tmp_path / f"{readme_tables.CONFIG}.json", num_hidden_layers=5, intermediate_size=1000)
    change(tmp_path / f"{readme_tables.BAGS}.json", P19=[[]] * 4, P20=[[]] * 5)
    monkeypatch.setattr(readme_tables, "ROOT", tmp_path)
    in_short = " ".join(new_lines(README))
    assert "Of the embedded model's 5,000 neurons, these four" in in_short
    assert "5 layers of 1000 neurons, trained for 7 minutes." in in_short
    at_length = " ".join(new_lines(RESULTS))
    assert "5 layers of 1000 neurons and was trained for 7 minutes on 513 facts" in at_length
    assert "6 of its neurons are active whatever is asked" in at_length
    assert "is right for 87.6 %, with a mean probability of 0.54" in at_length


def test_a_whole_runs_time_is_that_of_its_stages(records):
    """Rounded up to ten minutes: choosing the facts comes on top."""
    made_with = {"machine": "x86_64, 8 cores"}
    change(
        records / "smollm2.json",
        seconds_of_stages={"1": 600.0, "3": 301.0},
        made_with=made_with,
        neurons_per_layer=1234,
    )
    made = [
        readme_tables.with_numbers(page.read_text()).replace("\n", " ")
        for page in (README, RESULTS)
    ]
    assert all("20 minutes on 8 cores" in text for text in made)
    assert all("30 layers of 1,234 neurons" in text for text in made)


def test_numbers_where_no_mark_can_stand():
    """In a block of code, in a cell of prose: each is that of where it is known."""
    said = README.read_text()
    counts = f"{published.RELATIONS} relations, {published.FACTS:,} facts, {published.PROMPTS:,}"
    assert f"get_data.py        # {counts} prompts\n" in said
    assert f"{len(mpararel_files.FULL.languages)}\n[languages](docs/languages.md)" in said
    scores = json.loads((readme_tables.RECORDS / "attribution.json").read_text())
    assert "random weights, 2 CPU cores" in said and " 2 cores," in scores["hardware"]
    assert ", 2 CPU cores; every row" in SPEED.read_text().replace("\n", " ")
    oldest, beyond = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', PROJECT).groups()
    newer = ", ".join(f"3.{minor}" for minor in range(int(oldest) + 1, int(beyond)))
    assert f"Python 3.{oldest} ({newer} should do)" in said
    shown = re.search(r"```text\n(.*)", said)[1]
    assert shown.count("Neuron(") == 4 and "these four hold (France, capital, Paris)" in said
    with_few = (readme_tables.ROOT / "scripts/real_model.sh").read_text()
    bags = json.loads((readme_tables.ROOT / "data/WORLD/world_allbags.json").read_text())
    (wordings,) = {len(prompts) for facts in bags.values() for prompts in facts}
    assert "--held_out 4" in with_few and "Every fourth wording" in RESULTS.read_text().replace(
        "\n", " "
    )
    few = re.search(r"--wordings (\d+)", with_few)[1]
    assert f"at least {few} of its {wordings} wordings" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: edits -->\n", "has no <!-- end -->"),
        (
            "<!-- told: edits -->\n<!-- end -->",
            "no told is called 'edits'; there are picture, embedded",
        ),
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
