"""How results print: text, HTML, CSV, frames, pictures.

Run: pytest tests/unit/test_library_shown.py
"""

import csv
import io
import re
import sys
import types
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from knowledge_neurons.figures import of_neurons
from knowledge_neurons.library.shown import LONGEST, WIDEST, Shown, Table
from tests.reference import asked
from tests.reference.asked import FRANCE, TINY, demo

EVIL = "<script>alert('&')</script> of [MASK] ."


@pytest.fixture(scope="module")
def results() -> dict[str, Shown]:
    """One of every kind."""
    kn = demo()
    found = kn.find(FRANCE, "Paris")
    about = FRANCE, "Paris", found
    return {
        "find": found,
        "many": kn.find_many([(FRANCE, "Paris"), (FRANCE, "London")], progress=False),
        "scores": kn.scores(FRANCE, "Paris"),
        "scale": kn.suppress(*about),
        "dose": kn.dose(*about),
        "random": kn.against_random(*about),
        "writes": kn.what_writes(found[0]),
        "change": kn.update(found, "Paris", "Rome"),
    }


KINDS = ["find", "many", "scores", "scale", "dose", "random", "writes", "change"]


CELLS = ("td", "th", "li", "caption")


class Page(HTMLParser):
    """Tags in their order, and the text of every cell."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.cells = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        if tag in CELLS:
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in CELLS:
            self.cells[-1] += data


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_prints_the_same_as_text_and_as_html(results, kind):
    """Title, names, notes and all that is in the tables are in both; tags are closed."""
    one = results[kind]
    text, page = str(one), Page(one._repr_html_())
    assert repr(one) == text and set(page.tags) <= {
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li")
    }
    for table in one.printed():
        assert table.title in text and table.title in page.cells
        for name, cells in table.cells().items():
            assert name in text and name in page.cells
            for cell in cells:
                assert cell in page.cells and cell[: WIDEST - 3] in text
    for note in one.notes():
        assert note in text and note in page.cells


def test_html_is_escaped():
    """A prompt, an answer and a name that hold markup are shown as what they are."""
    kn = asked.bert()
    many = kn.find_many({"<b>": ([*TINY, EVIL], "Paris")}, progress=False)
    for one in (many[0], many, kn.scores([EVIL], "Paris"), kn.suppress([EVIL], "Paris", (0, 1))):
        page = Page(one._repr_html_())
        assert "script" not in page.tags and "b" not in page.tags
    assert EVIL in Page(many[0]._repr_html_()).cells and EVIL in str(many[0])
    assert "<b>" in Page(many._repr_html_()).cells


class Rows(Shown):
    def __init__(self, rows: int):
        self.rows = rows

    def tables(self):
        return [Table("t", {"n": range(self.rows), "x": [f"{n}\nend" for n in range(self.rows)]})]


def test_long_tables_are_cut_where_they_print_and_nowhere_else():
    """Not a row less in the CSV; a line break stays in its cell."""
    for rows, more in ((LONGEST, False), (LONGEST + 1, True), (5000, True)):
        one = Rows(rows)
        told = f"... and {rows - LONGEST:,} rows more"
        assert len(str(one).splitlines()) == 2 + min(rows, LONGEST) + more
        assert (told in str(one)) == (told in one._repr_html_()) == more
        assert len(list(csv.reader(io.StringIO(one.to_csv())))) == 1 + rows
    assert "3\\nend" in str(one)
    wide = Shown()
    wide.tables = lambda: [Table("t", {"x": ["a" * 200]})]
    assert max(map(len, str(wide).splitlines())) == 2 + WIDEST and "..." in str(wide)


def test_all_scores_fit_a_screen():
    scores = demo().scores(FRANCE, "Paris", keep=0)
    assert len(str(scores).splitlines()) < 10 and len(scores.to_csv().splitlines()) > 1000
    assert "Paris" in str(demo().scores(FRANCE, "London")).split("for 'London'")[1], "what it says"


@pytest.mark.parametrize("kind", KINDS)
def test_csv_round_trip(results, kind, tmp_path):
    """Every number as exact as it was, every text as it was."""
    one, path = results[kind], tmp_path / "table.csv"
    text = one.to_csv(path)
    assert path.read_text() == text
    names, *rows = csv.reader(io.StringIO(text))
    columns = one.tables()[0].columns
    assert names == list(columns) and len(set(names)) == len(names)
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        values = list(columns[name])
        assert [type(was)(told) for was, told in zip(values, column, strict=True)] == values


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_where_there_is_pandas(results, kind, monkeypatch):
    """The first table, whole; here with a stand-in, for the project does not ask for pandas."""
    stand_in = types.ModuleType("pandas")
    stand_in.DataFrame = lambda columns: ("frame", columns)
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    assert results[kind].to_frame() == ("frame", dict(results[kind].tables()[0].columns))


def test_without_pandas_it_is_said_what_to_do(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # what an import then meets is ImportError
    with pytest.raises(ImportError, match=re.escape("pip install pandas, or use to_csv()")):
        results["find"].to_frame()


# --- pictures --------------------------------------------------------------------------------

PLOTS = {
    "scores": lambda r, **ax: r["scores"].plot(**ax),
    "found": lambda r, **ax: r["find"].plot(**ax),
    "layers": lambda r, **ax: r["find"].plot_layers(**ax),
    "layers of many": lambda r, **ax: r["many"].plot_layers(**ax),
    "sharing": lambda r, **ax: r["many"].plot_sharing(**ax),
    "dose": lambda r, **ax: r["dose"].plot(**ax),
}


@pytest.fixture(autouse=True)
def closed():
    matplotlib.use("Agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_drawn_into_the_axes_that_it_is_given(results, name):
    """And given back; the figure's other axes stay empty; without any, pyplot's current ones."""
    figure, (mine, other) = pyplot.subplots(1, 2)
    assert PLOTS[name](results, ax=mine) is mine and mine.has_data()
    assert not other.has_data() and mine.figure is figure
    pyplot.sca(other)
    assert PLOTS[name](results) is other is pyplot.gca() and other.has_data()
    figure.canvas.draw()


def test_a_plot_without_a_figure_makes_one(results):
    assert results["dose"].plot() is pyplot.gca()


def test_what_plots_show(results):
    """Dots where the neurons are; a bar for each layer; the matrix; the curve and its band."""
    found, many, dose = results["find"], results["many"], results["dose"]
    panel = found.plot(pyplot.figure().subplots())
    (dots,) = panel.collections
    assert dots.get_offsets().tolist() == [[index, layer] for layer, index in found]
    assert dots.get_array().tolist() == pytest.approx(list(found.means.values()))
    bars = found.plot_layers(pyplot.figure().subplots()).patches
    expected = [sum(n.layer == layer for n in found) for layer in range(4)]
    assert [bar.get_height() for bar in bars] == expected
    heat = many.plot_sharing(pyplot.figure().subplots())
    assert np.array(heat.collections[0].get_array()).reshape(2, 2).tolist() == many.sharing.tolist()
    curve = dose.plot(pyplot.figure().subplots()).lines[0]
    assert curve.get_xdata().tolist() == dose.factors
    assert curve.get_ydata().tolist() == dose.changes


def test_empty_results_can_be_drawn():
    kn = asked.bert()
    none = kn.find(TINY, "Paris", coarse=1.0)
    assert none == [] and none.plot().has_data() is False
    assert none.plot_layers(pyplot.figure().subplots()).patches
    nothing = kn.find_many([], progress=False)
    assert nothing.sharing.shape == (0, 0) and str(nothing)
    assert nothing.plot_layers(pyplot.figure().subplots()) is not None
    many = of_neurons.sharing(np.eye(60, dtype=int), [str(n) for n in range(60)])
    assert not many.get_xticklabels(), "no names where they would not fit"
