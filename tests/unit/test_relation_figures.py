"""Figures with a row for each relation: what is drawn, and whether it can be read.

Run: pytest tests/unit/test_relation_figures.py
"""

from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from knowledge_neurons.figures import by_relation, gallery, plots
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.activations import Activations, TableRow
from knowledge_neurons.results.changes import Modified
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, sha256_of
from knowledge_neurons.types import KINDS
from tests.reference import synthetic

COUNTS = (1, 3, 34)


@pytest.fixture(scope="module", params=COUNTS)
def results(request, tmp_path_factory) -> Results:
    """All stages of one relation, of some, of as many as the paper has."""
    return synthetic.write(tmp_path_factory.mktemp("figures"), request.param)


@pytest.fixture(scope="module")
def found(results) -> outcomes.Outcomes:
    return outcomes.read(results)


@pytest.fixture(scope="module")
def pictures(results, found) -> list[gallery.Picture]:
    """All that stage 8 draws of it."""
    return list(gallery.draw(results, found))


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> outcomes.Outcomes:
    return outcomes.read(synthetic.write(tmp_path_factory.mktemp("few"), 3))


def rows_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def bars_of(panel, color: str) -> list[float]:
    """Their ends, from the top."""
    own = [bar for bar in panel.patches if to_hex(bar.get_facecolor()) == color.lower()]
    return [bar.get_x() + bar.get_width() for bar in sorted(own, key=lambda bar: bar.get_y())]


def intervals_of(panel) -> list[tuple[float, float]]:
    """The ends of all horizontal lines, from the top."""
    lines = [path.vertices for lines in panel.collections for path in lines.get_paths()]
    lines = sorted(lines, key=lambda line: line[0, 1])
    return [(line[0, 0], line[1, 0]) for line in lines]


# --- what is drawn ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_bars_are_the_changes(few, factor):
    """All relations first, then each by number; own facts left, others right."""
    figure = by_relation.changes(few.modified, factor, few.labels)
    names = list(synthetic.relations_of(3))
    assert rows_of(figure)[0] == "all relations"
    assert [row.split()[0] for row in rows_of(figure)[1:]] == names
    rows = [few.modified.overall, *(few.modified.relations[name] for name in names)]
    for panel, asked in zip(figure.axes, ("own", "other"), strict=True):
        for kind in KINDS:
            expected = [row[kind][asked][factor].value for row in rows]
            assert bars_of(panel, plots.COLORS[kind]) == pytest.approx(expected)
        ends = [row[kind][asked][factor].interval for row in rows for kind in KINDS]
        assert intervals_of(panel) == [pytest.approx(interval) for interval in ends]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_bars_are_the_changes_of_log_odds_in_nats(few):
    """The same figure of the other averages; its axis tells numbers, not percent."""
    figure = by_relation.changes(few.modified, 0.0, few.labels, plots.NATS)
    nats = few.modified.log_odds
    rows = [nats.overall, *(nats.relations[name] for name in synthetic.relations_of(3))]
    for panel, asked in zip(figure.axes, ("own", "other"), strict=True):
        for kind in KINDS:
            expected = [row[kind][asked][0.0].value for row in rows]
            assert bars_of(panel, plots.COLORS[kind]) == pytest.approx(expected)
    told = figure.axes[0].xaxis.get_major_formatter()
    assert [told(x) for x in (-1.5, 0, 2)] == ["−1.5", "0", "+2"]
    assert "log-odds" in figure.get_label() and "nats" in figure.get_supxlabel()


def test_marks_are_the_mean_activations(few):
    """For each kind of sentence a mark, each with its interval; zero is in sight."""
    figure = by_relation.activations(few.activations, few.labels)
    names = synthetic.relations_of(3)
    rows = [few.activations.overall, *(few.activations.relations[name] for name in names)]
    for panel, kind in zip(figure.axes, KINDS, strict=True):
        marks = [line for line in panel.lines if line.get_marker() in ("o", "D")]
        estimates = [row[kind].by_sentences[s] for row in rows for s in by_relation.SENTENCES]
        assert [line.get_xdata()[0] for line in marks] == [one.value for one in estimates]
        assert {line.get_color() for line in marks} == {plots.COLORS[kind]}
        drawn = {tuple(ends) for ends in intervals_of(panel)}
        assert drawn == {tuple(one.interval) for one in estimates}
        low, high = panel.get_xlim()
        assert low <= 0 < max(one.interval.high for one in estimates) <= high


def test_what_has_no_interval_is_drawn_without_a_line(few):
    """Bars and marks stay; relations of a single fact have no interval."""
    bare = [replace(one, interval=None) for one in (
        few.modified.relations["P5"]["neurons"]["own"][0.0],
        few.activations.relations["P5"]["neurons"].by_sentences["both"],
    )]  # fmt: skip
    one = {kind: {"own": {0.0: bare[0]}, "other": {}} for kind in KINDS}
    (panel,) = by_relation.changes(Modified(one, {"P5": one}, {}), 0.0, {}).axes
    assert bars_of(panel, plots.BLUE) == [bare[0].value] and not panel.collections
    row = TableRow(1, dict.fromkeys(by_relation.SENTENCES, bare[1]), {})
    rows = {"neurons": row}
    drawn = by_relation.activations(Activations(rows, {"P5": rows}, {}), {})
    assert len(drawn.axes[0].lines) == 3 + 1 and not drawn.axes[0].collections


def test_a_kind_without_neurons_has_an_empty_panel(few):
    rows = {name: {"neurons": row["neurons"]} for name, row in few.activations.relations.items()}
    overall = {"neurons": few.activations.overall["neurons"]}
    figure = by_relation.activations(Activations(overall, rows, {}), {})
    ours, base = figure.axes
    assert len(ours.lines) == 3 * 4 + 1 and len(base.lines) == 1  # the line at zero


def test_erasures_show_growth_and_accuracy(few):
    """Left the relation's prompts, right all others; above bars, below before and after."""
    figure = by_relation.erasures(few.erasures, few.labels)
    runs = sorted(few.erasures, key=lambda run: int(run.run[1:]))
    assert [row.split()[0] for row in rows_of(figure)] == [run.run for run in runs]
    grown, accuracy = figure.axes[:2], figure.axes[2:]
    for place, whose in enumerate(("relation", "others")):
        for edit, color in (("erased", plots.BLUE), ("random", plots.GREEN)):
            read = [getattr(getattr(run, edit), whose) for run in runs]
            expected = [change.perplexity_increase.value for change in read]
            assert bars_of(grown[place], color) == pytest.approx(expected)
            marks = [line for line in accuracy[place].lines if line.get_color() == color]
            ends = [x for one in read for x in (one.accuracy_before, one.accuracy_after)]
            assert [line.get_xdata()[0] for line in marks] == ends
            faces = [line.get_markerfacecolor() for line in marks]
            assert faces == ["none", color] * len(runs)
    own = [getattr(run, edit).relation.perplexity_increase for run in runs
           for edit in ("erased", "random")]  # fmt: skip
    assert intervals_of(grown[0]) == [pytest.approx(one.interval) for one in own]


def test_a_scale_of_accuracies_that_does_not_start_at_zero_says_so(few):
    """One that reaches down to zero says nothing."""
    figure = by_relation.erasures(few.erasures, few.labels)
    start = figure.axes[2].get_xlim()[0]
    ends = [x for panel in figure.axes[2:] for line in panel.lines for x in line.get_xdata()]
    told = figure.subfigs[1].get_supxlabel()
    assert 0.5 < start < min(ends) and told == f"Accuracy (axis starts at {100 * start:.3g}%)"
    lost = replace(few.erasures[0].erased.relation, accuracy_after=0.0)
    run = replace(few.erasures[0], erased=replace(few.erasures[0].erased, relation=lost))
    figure = by_relation.erasures([run], {})
    assert figure.subfigs[1].get_supxlabel() == "Accuracy"


def test_one_relation_has_neither_a_total_nor_others(tmp_path):
    found = outcomes.read(synthetic.write(tmp_path, 1))
    changes = by_relation.changes(found.modified, 0.0, found.labels)
    assert [panel.get_title() for panel in changes.axes] == ["Own facts"]
    assert rows_of(changes) == ["P5 colour"]
    erased = by_relation.erasures(found.erasures, found.labels)
    assert [panel.get_title() for panel in erased.axes] == ["Its own prompts"] * 2


@pytest.mark.parametrize(
    ("relation", "room", "expected"),
    [
        ("P19", 18, "P19 place of birth"),
        ("P19", 13, "P19 place of…"),
        ("P19", 14, "P19 place of…"),
        ("P7", 9, "P7"),
    ],
)
def test_names_are_cut_where_there_is_no_room(relation, room, expected):
    assert by_relation.name_of(relation, {"P19": "place of birth"}, room) == expected


# --- whether it can be read ------------------------------------------------------------------


def texts_of(figure: Figure) -> list[Text]:
    """All text that is visible, but for ticks beyond the ends of their axis."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    beyond = set()
    for panel in figure.axes:
        for axis, limits in ((panel.xaxis, panel.get_xlim()), (panel.yaxis, panel.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not min(limits) <= tick.get_loc() <= max(limits):
                    beyond |= {tick.label1, tick.label2}
    return [text for text in texts if text not in beyond]


def test_no_text_overlaps_or_leaves_the_figure(pictures):
    """Titles, legends, names of rows and ticks of every figure that stage 8 draws."""
    assert len(pictures) == 11
    for picture in pictures:
        figure = picture.figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [
            (t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts_of(figure)
        ]
        assert len(boxes) > 6
        width, height = figure.bbox.size
        for text, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, (picture.name, text)
        for (one, a), (other, b) in combinations(boxes, 2):
            apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
            assert apart, (picture.name, one, other)


def test_figures_are_as_wide_as_a_column_or_the_text(pictures):
    """And no higher than a page; ink and palette alone, nothing else is coloured."""
    palette = {color.lower() for color in (plots.BLUE, plots.ORANGE, plots.GREEN)}
    for picture in pictures:
        width, height = picture.figure.get_size_inches()
        assert width in (plots.COLUMN, plots.TEXT) and height < 8
        assert picture.figure.get_label()
        for panel in picture.figure.axes:
            bars = {to_hex(bar.get_facecolor()) for bar in panel.patches}
            lines = {to_hex(line.get_color()) for line in panel.lines}
            assert bars | lines <= palette | {plots.INK}


@pytest.mark.parametrize(("relations", "width"), [(15, plots.COLUMN), (16, plots.TEXT)])
def test_sixteen_rows_are_few(few, relations, width):
    """Fifteen relations and all of them; of erasures, which have no total, sixteen."""
    one = few.modified.relations["P5"]
    names = {f"P{place}": one for place in range(relations)}
    figure = by_relation.changes(Modified(few.modified.overall, names, {}), 0.0, {})
    assert len(rows_of(figure)) == relations + 1 and figure.get_size_inches()[0] == width
    runs = [replace(few.erasures[0], run=f"P{place}") for place in range(relations + 1)]
    assert by_relation.erasures(runs, {}).get_size_inches()[0] == width


def test_many_rows_take_the_width_of_the_text(found, pictures):
    (width,) = {p.figure.get_size_inches()[0] for p in pictures if p.name == "suppress"}
    assert (width == plots.TEXT) == (len(found.modified.relations) > by_relation.FEW)


def test_facts_that_could_not_be_asked_leave_an_empty_panel():
    """All answers of the only relation are of several tokens: stage 3 has no change to tell."""
    nothing = {kind: {"own": {}, "other": {}} for kind in KINDS}
    found = Modified(nothing, {"P1": nothing}, {})
    figure = by_relation.changes(found, 0.0, {"P1": "colour"})
    assert [panel.get_title() for panel in figure.axes] == ["Own facts"]
    assert rows_of(figure) == ["P1 colour"] and not figure.axes[0].patches


def test_a_saved_figure_tells_what_it_was_made_from_and_how_long_it_took(tmp_path):
    """Both files have a manifest, with the digest of each source."""
    results = Results(tmp_path)
    source = results.curve("P5")
    write_json(source, {})
    figure = plots.layer_distribution([1.0], [1.0])
    paths = gallery.save(results, gallery.Picture("small", [source], figure), {"a": 1})
    assert [path.name for path in paths] == ["small.pdf", "small.png"]
    for path in paths:
        manifest = read_manifest(path)
        assert manifest["identity"] == {
            "sources_sha256": {"dose_response/P5.json": sha256_of(source)}
        }
        assert manifest["arguments"] == {"a": 1} and 0 < manifest["wall_seconds"] < 60
