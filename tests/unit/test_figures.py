"""Figures: what is drawn, what is written.  Run: pytest tests/unit/test_figures.py"""

import matplotlib.pyplot as plt
import pytest

from knowledge_neurons import figures

NEURONS, BASELINE = [0.0, 0.1, 0.3, 0.6], [0.4, 0.35, 0.25, 0.0]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figure():
    """Figure 3 of a model of four layers, closed in the end whatever happens."""
    drawn = figures.layer_distribution(NEURONS, BASELINE)
    yield drawn
    plt.close(drawn)


def test_bars_reach_the_shares_above_and_below_zero(figure):
    """The upper panel is the neurons', the lower the baseline's; mirrored; layers from 1."""
    for panel, shares in zip(figure.axes, (NEURONS, BASELINE), strict=True):
        bars = panel.patches
        assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx([1, 2, 3, 4])
        percentages = [100 * share for share in shares]
        assert [bar.get_y() + bar.get_height() for bar in bars] == pytest.approx(percentages)
        assert [-bar.get_y() for bar in bars] == pytest.approx(percentages)


def test_axes_tell_what_is_drawn(figure):
    """Titles, labels, a tick per layer; percentages without a sign on both sides of zero."""
    upper, lower = figure.axes
    assert [upper.get_title(), lower.get_title()] == ["Knowledge neurons", "Activation baseline"]
    assert lower.get_xlabel() == "Layer" and list(lower.get_xticks()) == [1, 2, 3, 4]
    formatter = upper.yaxis.get_major_formatter()
    assert [formatter(y) for y in (-20, 0, 20)] == ["20%", "0%", "20%"]


def test_save_writes_pdf_and_png_and_nothing_else(figure, tmp_path):
    """In a folder made for them; both whole by their first and last bytes."""
    written = figures.save(figure, tmp_path / "figs" / "name.of.figure")
    expected = [tmp_path / "figs" / f"name.of.figure{suffix}" for suffix in (".pdf", ".png")]
    assert written == expected and sorted((tmp_path / "figs").iterdir()) == expected
    pdf, png = (path.read_bytes() for path in written)
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert png.startswith(PNG_SIGNATURE) and b"IEND" in png[-12:]


def test_png_has_the_width_of_a_column_at_200_dpi(figure, tmp_path):
    """3.4 inches of 200 dots: its header says so."""
    png = figures.save(figure, tmp_path / "figure")[1].read_bytes()
    assert int.from_bytes(png[16:20], "big") == round(figures.COLUMN * 200)


def test_text_of_the_pdf_stays_text(figure, tmp_path):
    """Embedded as TrueType (type 42), which editors and journals take; not as type 3 outlines."""
    pdf = figures.save(figure, tmp_path / "figure")[0].read_bytes()
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf


def test_nothing_is_left_open_or_changed(tmp_path):
    """No figure in pyplot's list, none of its settings changed: a notebook goes on as before."""
    open_before, settings = plt.get_fignums(), dict(plt.rcParams)
    figures.save(figures.layer_distribution(NEURONS, BASELINE), tmp_path / "figure")
    assert plt.get_fignums() == open_before
    assert dict(plt.rcParams) == settings


def test_two_runs_write_the_same_bytes(tmp_path):
    """No dates, no random names: PDF and PNG."""
    first, second = (
        figures.save(figures.layer_distribution(NEURONS, BASELINE), tmp_path / name)
        for name in ("first", "second")
    )
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_other_shares_are_another_picture(tmp_path):
    """The comparison of bytes above can fail."""
    first = figures.save(figures.layer_distribution(NEURONS, BASELINE), tmp_path / "first")
    second = figures.save(figures.layer_distribution(BASELINE, NEURONS), tmp_path / "second")
    assert first[1].read_bytes() != second[1].read_bytes()


def test_dose_response_draws_each_kind_and_each_side():
    """Lines in percent over rising factors, bands for intervals; what is missing is not drawn."""
    curve = {
        kind: {
            "own": {
                "2": {"change": 0.2, "interval": (0.1, 0.3)},
                "0": {"change": -0.5, "interval": (-0.6, -0.4)},
            },
            "other": {},
        }
        for kind in ("neurons", "baseline")
    }
    curve["neurons"]["other"] = {"0": {"change": 0.0, "interval": (0.0, 0.0)}}
    (panel,) = figures.dose_response("P36", curve).axes
    own, other, base = panel.lines
    assert list(own.get_xdata()) == [0, 2] and list(own.get_ydata()) == pytest.approx([-50, 20])
    assert (own.get_linestyle(), other.get_linestyle()) == ("-", "--")
    assert own.get_color() == other.get_color() != base.get_color()
    bands = [band.get_datalim(panel.transData) for band in panel.collections]
    assert [(band.y0, band.y1) for band in bands[:1]] == [pytest.approx((-60, 30))]
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == ["knowledge neurons", "knowledge neurons, other facts", "activation baseline"]
    assert "P36" in panel.get_title()


def test_success_curve_draws_rates_and_their_intervals():
    """A labelled line for each kind, in percent, with its interval as a band."""
    curves = {
        "Knowledge neurons": [(1.0, 0.2, 0.1, 0.3), (2.9, 0.5, 0.4, 0.7)],
        "Random": [(1.0, 0.0, 0.0, 0.05), (2.9, 0.0, 0.0, 0.05)],
    }
    (panel,) = figures.success_curve(curves).axes
    own, control = panel.lines
    assert own.get_xdata().tolist() == [1.0, 2.9]
    assert own.get_ydata().tolist() == pytest.approx([20, 50])
    assert control.get_ydata().tolist() == [0, 0]
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((10, 70))
    assert [text.get_text() for text in panel.get_legend().get_texts()] == list(curves)
