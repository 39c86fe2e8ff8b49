"""Runs of several models beside each other: rows, what is said of them, the figure, the page.

Run: pytest tests/unit/test_models_beside.py
"""

import re
from pathlib import Path

import pytest

from knowledge_neurons import report
from knowledge_neurons.figures import gallery, of_models
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.changes import OWN, SUPPRESS
from knowledge_neurons.results.comparison import CAPTIONS, comparisons
from knowledge_neurons.results.controls import SAME, Effects, write_effects
from knowledge_neurons.results.estimates import Estimate, Interval
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.models import TABLES, WHOSE, Models, models_of, read_runs
from knowledge_neurons.stages import tables
from tests.reference.made_results import MadeFact, Shape, Writer

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .")
EFFECTS = [
    Effects(kind, SUPPRESS, 3.0, {OWN: Estimate(value, None), SAME: Estimate(value / 2, None)})
    for kind, value in (("neurons", -0.5), ("random", -0.02))
]


def write(folder: Path, *names: str, shape: Shape, stages: tuple[int, ...] = ()) -> Results:
    """Made results of these relations; stages: none for all."""
    facts = [MadeFact("Ann", "Rome", PROMPTS), MadeFact("Bob", "Oslo", PROMPTS)]
    made = Writer(Results(folder), {name: (f"label of {name}", facts) for name in names}, shape)
    if not stages:
        made.everything()
    for stage in stages:
        getattr(made, f"stage_{stage}")()
    return made.results


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Results, Results]:
    """A run of all stages and of stage 10, and one of stages 1 to 3; not to be changed."""
    here = tmp_path_factory.mktemp("models")
    small = write(here / "small", "P19", "P36", shape=Shape(model="models/small"))
    write_effects(small.controls_summary, EFFECTS)
    large = Shape(layers=6, width=2000, model="there/large")
    return small, write(here / "large", "P36", "P101", "P27", shape=large, stages=(1, 2, 3))


def table_of(*folders: Results) -> Models:
    return models_of(read_runs(folders[0], outcomes.read(folders[0]), folders[1:]))


def test_every_number_is_one_of_the_runs_own_report(folders):
    """Cell by cell the very rows that each run's tables have, under the captions that stand there;
    none of them lost but growths of perplexity beside edits."""
    table = table_of(*folders)
    captions = [CAPTIONS[name] for name in TABLES]
    assert list(table.groups) == [*captions, WHOSE]
    for place, results in enumerate(folders):
        own = comparisons(outcomes.read(results))
        for name in TABLES:
            cells = [(row.name, row.cells[place]) for row in table.groups[CAPTIONS[name]]]
            there = {called: cell for called, cell in cells if cell}
            rows = [one for one in own[name] if not one.quantity.startswith("perplexity")]
            assert there == {f"{one.quantity}, {one.neurons}": one for one in rows}
            assert len(cells) == len(dict(cells))


def test_a_stage_that_a_run_did_not_run_has_empty_cells(folders):
    table = table_of(*folders)
    for caption in (CAPTIONS["edits"], CAPTIONS["erasures"], WHOSE):
        assert all(row.cells[0] and row.cells[1] is None for row in table.groups[caption])
    turned = table_of(*reversed(folders))
    assert [run.name for run in turned.runs] == ["large", "small"]
    assert all(row.cells[0] is None for row in turned.groups[WHOSE])


def test_what_stage_10_found_is_told_in_percent(folders):
    rows = {row.name: row.cells[0].ours for row in table_of(*folders).groups[WHOSE]}
    assert rows == {
        "own prompts, knowledge neurons": -50,
        "same relation, knowledge neurons": -25,
        "own prompts, random neurons": -2,
    }


def test_what_each_run_was_of(folders):
    table = table_of(*folders)
    assert table.about == {
        "layers × neurons of a layer": ["3 × 40", "6 × 2,000"],
        "layers scored": [None, None],  # made manifests tell none
        "relations": ["2", "3"],
        "facts": ["4", "6"],
        "prompts asked": ["8", "12"],
    }
    assert [(run.folder, run.page) for run in table.runs] == [
        ("this run", None),
        ("../large", None),
    ]


def test_what_must_be_kept_in_mind_is_said(folders, tmp_path):
    """Relations in common by name; data by their sha256."""
    said = " ".join(table_of(*folders).in_mind)
    assert "by name: 1 (P36); small has 2, large has 3." in said and "the same file" in said
    other = write(tmp_path, "P1", "P2", shape=Shape(), stages=(2,))
    for path in other.outputs_with_manifest():
        path.unlink() if "kn_" not in path.name else None
    said = " ".join(table_of(folders[0], other).in_mind)
    assert "by name: 0; small has 2," in said and "has 2" in said


def test_runs_of_the_same_model_are_told_apart_by_their_folders(folders, tmp_path):
    again = write(tmp_path / "again", "P36", shape=Shape(model="models/small"), stages=(1, 2))
    first, second = table_of(folders[0], again).runs
    assert first.name == "small (this run)" and second.name == f"small ({second.folder})"
    assert second.folder.endswith("again") and not second.folder.startswith("/")


def test_a_folder_without_results_is_named(folders, tmp_path):
    with pytest.raises(ValueError, match=r"--beside .*: nothing of stages 1 to 7.*--output_dir"):
        table_of(folders[0], Results(tmp_path))


def test_a_screen_shows_the_same_table(folders, capsys):
    table = table_of(*folders)
    tables.show_models(table)
    out = capsys.readouterr().out
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert ["prompts asked", "8", "12"] in lines and ["results", "this run", "../large"] in lines
    cells = [line for line in lines if line[0] == "change, knowledge neurons"]
    assert len(cells) == 1 and cells[0][1].endswith("%") and cells[0][2] == "-"
    assert all(sentence in out for sentence in table.in_mind)
    assert out.count("small") == 2 + len(table.groups)  # a head of every part, and in the sentences


# --- the figure ------------------------------------------------------------------------------


def test_lines_of_models_meet_at_the_same_depth():
    """The same spread of twice as many layers is the same line; it rises by each layer's share."""
    few, many = {"few": [0.0, 0.4, 0.6]}, {"many": [0.0, 0.0, 0.2, 0.2, 0.3, 0.3]}
    panel = of_models.depth(few | many).axes[0]
    short, long = (line.get_xydata() for line in panel.lines[:2])
    assert short == pytest.approx(long[::2])
    assert list(short[:, 0]) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert list(short[:, 1]) == pytest.approx([0, 0, 0.4, 1])
    assert [line.get_label() for line in panel.lines[:2]] == ["few", "many"]
    assert panel.lines[0].get_color() != panel.lines[1].get_color()


def test_many_models_have_lines_of_their_own():
    """Colours come again with another line."""
    lines = of_models.depth({str(name): [0.5, 0.5] for name in range(15)}).axes[0].lines[:15]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 15


def test_the_figure_is_of_runs_with_statistics_and_names_their_files(folders, tmp_path):
    only_scores = write(tmp_path, "P36", shape=Shape(), stages=(1,))
    runs = read_runs(folders[0], outcomes.read(folders[0]), [folders[1], only_scores])
    (picture,) = gallery.depth(runs)
    assert picture.name == "neurons_by_depth"
    assert picture.sources == [one.statistics for one in folders]
    assert list(gallery.depth([runs[0], runs[2]])) == []


# --- the page --------------------------------------------------------------------------------


def test_the_section_stands_where_it_was_asked_for_alone(folders):
    small, large = folders
    plain, beside = report.render(small), report.render(small, beside=[large])
    assert 'id="models"' not in plain and "#models" not in plain
    assert plain == report.render(small, beside=[])
    for part in ('<a href="#models">Models</a>', '<section id="models">', ">../large</td>"):
        assert beside.count(part) == 1
    assert 'data-name="neurons_by_depth"' in beside
    assert beside.index('id="controls"') < beside.index('id="models"') < beside.index('id="cost"')
    start, end = '<section id="models">', '<section id="cost">'
    section = beside[beside.index(start) : beside.index(end)]
    # But for that section and its link it is the page without.
    rest = beside.replace(section, "").replace('<a href="#models">Models</a>\n', "")
    assert rest.split() == plain.split()
    assert all(caption.replace("'", "&#39;") in section for caption in table_of(*folders).groups)


def test_cells_have_their_interval_and_a_true_minus(folders):
    small, large = folders
    html = report.render(small, beside=[large])
    section = html[html.index('<section id="models">') :]
    row = section[section.index("own facts, knowledge neurons") :].split("</tr>")[0]
    assert re.search(r"−\d+\.\d+ % <small>\[−\d+\.\d+, −\d+\.\d+\]</small>", row)
    row = section[section.index("change, knowledge neurons") :].split("</tr>")[0]
    assert row.count("<td") == 2 and row.count(">–<") == 1


def test_names_of_others_are_text_and_their_report_is_linked(folders, tmp_path):
    small = folders[0]
    evil = write(tmp_path / "a b", "P36", shape=Shape(model="<b>x"), stages=(1, 2))
    evil.report.write_text("there")
    html = report.render(small, beside=[evil])
    assert "<b>x" not in html and "&lt;b&gt;x" in html
    assert re.search(r'href="[^":]*a%20b/report\.html">[^<]*a b</a>', html)
    assert str(tmp_path) not in html


def test_an_interval_is_in_the_unit_of_its_number(folders, tmp_path):
    """Of stage 10 too, whose records are shares."""
    own = write(tmp_path, "P36", shape=Shape(), stages=(1, 2))
    change = {OWN: Estimate(-0.5, Interval(-0.6, -0.4))}
    write_effects(own.controls_summary, [Effects("neurons", SUPPRESS, 3.0, change)])
    (row,) = table_of(own, folders[1]).groups[WHOSE]
    assert row.cells[0].interval == pytest.approx((-60, -40)) and row.cells[1] is None
