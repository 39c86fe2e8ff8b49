"""Figures: what is drawn, what is written.  Run: pytest tests/unit/test_figures.py"""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pytest

from knowledge_neurons.figures import plots
from knowledge_neurons.results.estimates import Estimate, Interval

NEURONS, BASELINE = [0.0, 0.1, 0.3, 0.6], [0.4, 0.35, 0.25, 0.0]
SVG = "http://www.w3.org/2000/svg"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figure():
    """Figure 3 of a model of four layers, closed in the end whatever happens."""
    drawn = plots.layer_distribution(NEURONS, BASELINE)
    yield drawn
    plt.close(drawn)


@pytest.mark.parametrize("sides", [(1,), (1, -1)])
def test_bars_are_as_high_as_the_shares(sides):
    """The upper panel is the neurons', the lower the baseline's; layers from 0; in the paper's look
    mirrored, each side as high as the share and none twice."""
    drawn = plots.layer_distribution(NEURONS, BASELINE, paper_look=len(sides) == 2)
    for panel, shares in zip(drawn.axes, (NEURONS, BASELINE), strict=True):
        places = [bar.get_x() + bar.get_width() / 2 for bar in panel.patches]
        assert places == pytest.approx([0, 1, 2, 3] * len(sides))
        assert {bar.get_y() for bar in panel.patches} == {0}
        heights = [side * share for side in sides for share in shares]
        assert [bar.get_height() for bar in panel.patches] == pytest.approx(heights)


def test_axes_tell_what_is_drawn(figure):
    """Titles, labels, a tick per layer; percentages without a sign on both sides of zero."""
    upper, lower = figure.axes
    assert [upper.get_title(), lower.get_title()] == ["Knowledge neurons", "Activation baseline"]
    assert lower.get_xlabel() == "Layer, from 0"
    assert list(lower.get_xticks()) == [0, 1, 2, 3]
    formatter = upper.yaxis.get_major_formatter()
    assert [formatter(y) for y in (-0.2, 0, 0.2)] == ["20%", "0%", "20%"]


@pytest.mark.parametrize(
    ("layers", "numbered"),
    [(1, [0]), (12, list(range(12))), (14, list(range(14))), (15, list(range(0, 15, 2)))],
)
def test_layers_are_numbered(layers, numbered):
    shares = [1 / layers] * layers
    assert list(plots.layer_distribution(shares, shares).axes[1].get_xticks()) == numbered


def test_many_layers_are_numbered_sparsely():
    """bert-large has 24."""
    ticks = list(plots.layer_distribution([1 / 24] * 24, [1 / 24] * 24).axes[1].get_xticks())
    assert ticks == list(range(0, 24, 2))


def test_axes_of_the_layers_leave_room_and_are_never_empty():
    """A tenth above the largest share; a hundredth where there is no neuron at all."""
    for shares, top in ((NEURONS, 0.66), ([0.0] * 4, 0.011), ([0.02] * 4, 0.022)):
        for paper_look, bottom in ((False, 0), (True, -top)):
            panels = plots.layer_distribution(shares, shares, paper_look=paper_look).axes
            assert [panel.get_ylim() for panel in panels] == [pytest.approx((bottom, top))] * 2


def test_save_writes_pdf_and_png_and_nothing_else(figure, tmp_path):
    """In a folder made for them; both whole by their first and last bytes."""
    written = plots.save(figure, tmp_path / "figs" / "name.of.figure")
    expected = [tmp_path / "figs" / f"name.of.figure{suffix}" for suffix in (".pdf", ".png")]
    assert written == expected and sorted((tmp_path / "figs").iterdir()) == expected
    pdf, png = (path.read_bytes() for path in written)
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert png.startswith(PNG_SIGNATURE) and b"IEND" in png[-12:]


def test_png_has_the_width_of_a_column_at_300_dpi(figure, tmp_path):
    """3.4 inches of 300 dots: its header says so."""
    png = plots.save(figure, tmp_path / "figure")[1].read_bytes()
    assert int.from_bytes(png[16:20], "big") == round(plots.COLUMN * 300)


def test_text_of_the_pdf_stays_text(figure, tmp_path):
    """Embedded as TrueType (type 42), which editors and journals take; not as type 3 outlines."""
    pdf = plots.save(figure, tmp_path / "figure")[0].read_bytes()
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf


def test_nothing_is_left_open_or_changed(tmp_path):
    """No figure in pyplot's list, none of its settings changed: a notebook goes on as before."""
    open_before, settings = plt.get_fignums(), dict(plt.rcParams)
    plots.save(plots.layer_distribution(NEURONS, BASELINE), tmp_path / "figure")
    assert plt.get_fignums() == open_before
    assert dict(plt.rcParams) == settings


def test_two_runs_write_the_same_bytes(tmp_path):
    """No dates, no random names: PDF and PNG."""
    first, second = (
        plots.save(plots.layer_distribution(NEURONS, BASELINE), tmp_path / name)
        for name in ("first", "second")
    )
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_other_shares_are_another_picture(tmp_path):
    """The comparison of bytes above can fail."""
    first = plots.save(plots.layer_distribution(NEURONS, BASELINE), tmp_path / "first")
    second = plots.save(plots.layer_distribution(BASELINE, NEURONS), tmp_path / "second")
    assert first[1].read_bytes() != second[1].read_bytes()


def test_percentages_are_written_with_a_true_minus():
    assert [plots.percent(share) for share in (0.3, -0.005, 0.0)] == ["30%", "−0.5%", "0%"]
    assert [plots.signed_percent(s) for s in (0.3, -1.0, 0.0, -0.0)] == [
        "+30%",
        "−100%",
        *2 * ["0%"],
    ]


def test_settings_of_a_notebook_do_not_change_what_is_drawn(tmp_path):
    """The same bytes under another font, size and colour cycle."""
    plain = plots.save(plots.layer_distribution(NEURONS, BASELINE), tmp_path / "plain")
    others = {"font.size": 20, "figure.facecolor": "black", "font.family": "serif"}
    with plt.rc_context(others | {"savefig.bbox": "tight", "figure.dpi": 300}):
        drawn = plots.save(plots.layer_distribution(NEURONS, BASELINE), tmp_path / "drawn")
    assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in drawn]


# --- curves ----------------------------------------------------------------------------------


def test_dose_response_draws_each_kind_and_each_side():
    """Lines over rising factors, bands for intervals; what is missing is not drawn."""
    curve = {
        kind: {
            "own": {
                2.0: Estimate(0.2, Interval(0.1, 0.3)),
                0.0: Estimate(-0.5, Interval(-0.6, -0.4)),
            },
            "other": {},
        }
        for kind in ("neurons", "baseline")
    }
    curve["neurons"]["other"] = {0.0: Estimate(0.0, Interval(0.0, 0.0))}
    drawn = plots.dose_response("P36 capital", curve)
    (panel,) = drawn.axes
    own, base, other = panel.lines
    assert list(own.get_xdata()) == [0, 2] and list(own.get_ydata()) == pytest.approx([-0.5, 0.2])
    assert (own.get_linestyle(), other.get_linestyle()) == ("-", "--")
    assert own.get_color() == other.get_color() == plots.BLUE
    assert base.get_color() == plots.ORANGE
    bands = [band.get_datalim(panel.transData) for band in panel.collections]
    assert [(band.y0, band.y1) for band in bands[:1]] == [pytest.approx((-0.6, 0.3))]
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["knowledge neurons", "activation baseline", "knowledge neurons, other facts"]
    assert panel.get_title() == "P36 capital"


def summary(neurons: float, success: Estimate) -> SimpleNamespace:
    """What the curve reads of a Summary."""
    return SimpleNamespace(neurons=neurons, success=success)


def test_success_curve_draws_rates_and_their_intervals():
    """A labelled line for each kind in its colour, with its interval as a band."""
    own = [
        summary(1.0, Estimate(0.2, Interval(0.1, 0.3))),
        summary(2.9, Estimate(0.5, Interval(0.4, 0.7))),
    ]
    none = Estimate(0.0, Interval(0.0, 0.05))
    control = [summary(1.0, none), summary(2.9, none)]
    drawn = plots.success_curve({"random_same_size": control, "knowledge": own})
    (panel,) = drawn.axes
    line, other = panel.lines
    assert line.get_xdata().tolist() == [1.0, 2.9]
    assert line.get_ydata().tolist() == pytest.approx([0.2, 0.5])
    assert other.get_ydata().tolist() == [0, 0]
    assert (line.get_color(), other.get_color()) == (plots.BLUE, plots.GREEN)
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.1, 0.7))
    assert panel.get_ylim()[1] >= 0.7
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["knowledge neurons", "random, same size"]


@pytest.mark.parametrize("success, top", [(0.0, 0.5), (0.3, 0.5), (0.9, 0.9686)])
def test_axis_of_success_begins_at_zero_and_reaches_a_half_at_least(success, top):
    """Above that with a twentieth of room beside matplotlib's own."""
    own = [summary(1.0, Estimate(success / 2, None)), summary(2.0, Estimate(success, None))]
    low, high = plots.success_curve({"knowledge": own}).axes[0].get_ylim()
    assert (low, high) == pytest.approx((-0.02, top), abs=1e-3)


def test_values_without_an_interval_are_drawn_without_a_band():
    """A single edit, or the curve of a single fact: lines alone."""
    own = [summary(1.0, Estimate(0.2, None)), summary(2.9, Estimate(0.5, None))]
    (panel,) = plots.success_curve({"knowledge": own}).axes
    assert panel.lines[0].get_ydata().tolist() == [0.2, 0.5] and not panel.collections
    curve = {kind: {"own": {0.0: Estimate(-0.5, None)}, "other": {}} for kind in plots.COLORS}
    (panel,) = plots.dose_response("P36", curve).axes
    assert len(panel.lines) == 2 and not panel.collections


# --- in a page -------------------------------------------------------------------------------


def ids_of(drawn: str) -> list[str]:
    return re.findall(r'\bid="([^"]*)"', drawn)


def test_svg_is_an_element_that_refers_to_nothing_outside(figure):
    """Well-formed, no prolog, style or metadata; the only address is the name of its namespace;
    every reference finds its id."""
    drawn = plots.svg(figure)
    root = ElementTree.fromstring(drawn)
    assert root.tag == f"{{{SVG}}}svg" and drawn.startswith("<svg ")
    assert re.findall(r"https?:[^\"' ]*", drawn) == [SVG]
    assert not {"metadata", "style", "script", "image"} & {
        one.tag.split("}")[1] for one in root.iter()
    }
    references = re.findall(r"url\(#([^)]*)\)|href=\"#([^\"]*)\"", drawn)
    assert references and {a or b for a, b in references} <= set(ids_of(drawn))


def test_svg_takes_the_ink_of_the_page(figure):
    """Text is text; no colour but those of the palette, nothing behind the figure."""
    drawn = plots.svg(figure)
    colors = set(
        re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"url\(#[^)]*\)|id=\"[^\"]*\"", "", drawn))
    )
    assert {color.upper() for color in colors} == {plots.BLUE, plots.ORANGE}
    texts = ElementTree.fromstring(drawn).findall(f".//{{{SVG}}}text")
    told = {text.text for text in texts}
    assert {"Layer, from 0", "Share of neurons", "Knowledge neurons"} <= told
    assert all("fill: currentColor" in text.get("style") for text in texts)


def test_svg_says_what_it_shows(figure):
    figure.set_label('a "label" & more')
    root = ElementTree.fromstring(plots.svg(figure))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "label" & more')


def test_ids_of_figures_in_one_page_are_their_own(figure):
    """The same figure twice is the same text; another one shares no id."""
    first = plots.svg(figure)
    assert first == plots.svg(plots.layer_distribution(NEURONS, BASELINE))
    other = plots.svg(plots.layer_distribution(BASELINE, NEURONS))
    assert len(ids_of(first)) == len(set(ids_of(first))) > 10
    assert not set(ids_of(first)) & set(ids_of(other))
