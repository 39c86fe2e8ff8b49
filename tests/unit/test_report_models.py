"""Runs of several models beside each other.  Run: pytest tests/unit/test_report_models.py"""

import os
import re

import pytest

from knowledge_neurons import report
from knowledge_neurons.figures import gallery
from knowledge_neurons.report.models import depths_of, in_common, read_models, rows_of
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.estimates import told
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_statistics
from tests.reference.made_results import MadeFact, Shape, Writer

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .", "{} , dweller of [MASK]")


def written(folder, relations: str, shape: Shape, stages: range) -> Writer:
    facts = [MadeFact(f"Head{i}", f"Tail{i % 3}", PROMPTS) for i in range(6)]
    made = Writer(Results(folder), {name: ("r", facts) for name in relations.split()}, shape)
    for stage in stages:
        getattr(made, f"stage_{stage}")()
    return made


@pytest.fixture
def made(tmp_path) -> list[Writer]:
    """A run of stages 1 to 7 and one of 1 to 3 of another model; P36 is in both."""
    return [
        written(tmp_path / "own", "P19 P36", Shape(), range(1, 8)),
        written(tmp_path / "other", "P36 P101", Shape(5, 30, model="hub/large"), range(1, 4)),
    ]


def models_of(made: list[Writer], *folders: str):
    own = made[0].results
    there = folders or [str(one.results.root) for one in made[1:]]
    return read_models(own, outcomes.read(own), there)


def test_numbers_are_those_of_each_runs_own_tables(made):
    """A column a run, this one first; "-" for what a run has not measured."""
    models = models_of(made)
    assert [one.name for one in models] == ["tiny", "large"]
    rows = rows_of(models)
    assert rows["Run"]["layers x neurons"] == ["3 x 40", "5 x 30"]
    assert rows["Run"]["facts"] == ["12", "12"] and rows["Run"]["prompts"] == ["36", "36"]
    of_facts = [read_statistics(one.results)["neurons"] for one in made]
    expected = [f"{one.per_fact:.2f}" for one in of_facts]
    assert rows["Neurons"]["neurons per fact, knowledge neurons"] == expected
    for one, place in zip(made, (0, 1), strict=True):
        overall = outcomes.read(one.results).modified.overall["neurons"]["own"][0.0]
        cell = rows["P(answer), neurons suppressed"]["own facts, knowledge neurons, %"][place]
        assert cell == told(overall.times(100), 2, "+") and "[" in cell
    edited = rows["Edits"]["success, knowledge neurons, %"]
    assert edited[0] != "-" and edited[1] == "-"
    assert in_common(models) == ["P36"]
    assert all(len(cells) == 2 for table in rows.values() for cells in table.values())


def test_nothing_stands_beside_where_nothing_was_named(made):
    """The page is, byte for byte, that of one run."""
    assert models_of(made[:1]) == [] and rows_of([]) == {} and in_common([]) == []
    html = report.render(made[0].results)
    assert 'id="models"' not in html and "#models" not in html
    assert "models" not in {
        one.name for one in gallery.draw(made[0].results, outcomes.read(made[0].results))
    }


def test_the_page_has_them_with_their_figure(made):
    own = made[0].results
    html = report.render(own, models=models_of(made))
    section = html[html.index('<section id="models">') :]
    section = section[: section.index("</section>")]
    assert '<a href="#models">' in html
    for text in ('<th scope="col" class="n">large</th>', "relation in common: P36.", "5 x 30"):
        assert text in re.sub(r"\s+", " ", section)
    assert 'data-name="models"' in section and "<svg" in section


def test_the_figure_is_of_all_that_have_statistics(made, tmp_path):
    """Each layer takes its part of the depth; the files are named relative to this run's."""
    found, models = outcomes.read(made[0].results), models_of(made)
    depths = depths_of(models)
    assert [len(layers) for _, layers in depths.values()] == [3, 5]
    (picture,) = (
        one for one in gallery.draw(made[0].results, found, depths=depths) if one.name == "models"
    )
    lines = picture.figure.axes[0].get_lines()
    assert [len(line.get_xdata()) for line in lines] == [4, 6]
    for line, (_, layers) in zip(lines, depths.values(), strict=True):
        assert line.get_ydata()[1] == pytest.approx(layers[0])
        assert line.get_ydata()[-1] == pytest.approx(1.0)
    gallery.save(made[0].results, picture, {})
    manifest = (made[0].results.root / "figs/manifests/models.pdf.manifest.json").read_text()
    assert os.path.join("..", "other", "kn", "statistics.json") in manifest


def test_two_runs_of_a_model_are_told_apart_by_their_folders(made, tmp_path):
    again = written(tmp_path / "again", "P36", Shape(), range(1, 3))
    models = models_of(made, str(made[1].results.root), str(again.results.root))
    assert [one.name for one in models] == ["tiny, own", "large", "tiny, again"]


def test_wrong_folders_are_refused(made, tmp_path):
    """Not there; this run; named twice; without results."""
    own, other = (str(one.results.root) for one in made)
    for folders, message in (
        ((str(tmp_path / "none"),), "none: no such folder; expected one with the results"),
        ((os.path.join(own, "..", "own"),), "this run is there already"),
        ((other, other + "/"), "this run is there already"),
        ((str(tmp_path),), "nothing of stages 1 to 7 is there"),
    ):
        with pytest.raises(ValueError, match=f"--beside .*{message}"):
            models_of(made, *folders)
