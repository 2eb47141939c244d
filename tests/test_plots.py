"""The figures: what they show is what they were given, and nothing is left behind."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point

TERMS = {"ice": 0.5, "berg": 2.0, "cold": 1.0}
POINTS = {"a": Point(0.4, 0.3, 0.45), "b": Point(0.8, 0.7, 0.95)}
SERIES = {"a": [Point(1, 0.5, 2, x=2), Point(3, 2, 4, x=3)], "b": [Point(2, 1, 3, x=2)]}
PAIRS = {"a": (np.array([1.0, 2.0]), np.array([3.0, 5.0])), "b": (np.array([4.0]), np.array([6.0]))}

FIGURES = {
    "term_bars": lambda: plots.term_bars({"t": TERMS}, {"t": {"berg"}}, ("both", "one")),
    "interval_bars": lambda: plots.interval_bars(POINTS, "MRR (0 to 1)"),
    "lines": lambda: plots.lines(SERIES, "depth (turns)", "terms"),
    "curves": lambda: plots.curves(PAIRS, "rank", "share", log=True),
    "scatter": lambda: plots.scatter(PAIRS, "terms", "postings", {"it": (1, 3)}, (2.0, "even")),
    "log_lines": lambda: plots.log_lines({"ms": PAIRS, "MB": PAIRS}, "documents"),
    "histogram": lambda: plots.histogram(np.arange(9.0), "weight (no unit)", "share"),
}

each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


@each_figure
def test_a_figure_leaves_no_global_state_and_no_open_window(draw):
    settings, opened = dict(mpl.rcParams), plt.get_fignums()
    figure = draw()
    assert isinstance(figure, Figure)
    assert dict(mpl.rcParams) == settings
    assert plt.get_fignums() == opened


@each_figure
def test_every_panel_names_its_axes(draw):
    for axis in (axis for axis in draw().axes if axis.axison):
        assert axis.get_xlabel()
        assert axis.get_ylabel() or [label.get_text() for label in axis.get_yticklabels()]


@each_figure
def test_a_figure_is_the_same_every_time_whatever_the_readers_settings(draw):
    first = png(draw())
    with mpl.rc_context({"font.size": 20, "figure.dpi": 50, "axes.grid": False}):
        second = draw()
        assert second.dpi == plots.SETTINGS["figure.dpi"]
    assert png(second) == first


def test_settings_are_restored_after_an_error():
    before = dict(mpl.rcParams)
    with pytest.raises(ZeroDivisionError), plots.style():
        raise ZeroDivisionError
    assert dict(mpl.rcParams) == before


def test_term_bars_are_the_heaviest_terms_from_the_top_with_marked_ones_in_blue():
    (axis,) = plots.term_bars({"t": TERMS}, {"t": {"cold"}}, ("both", "one"), k=2, columns=1).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["berg", "cold"]
    assert [bar.get_width() for bar in axis.patches] == [2.0, 1.0]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axis.patches] == [
        plots.GREY, plots.COLOURS[0],
    ]  # fmt: skip
    top, second = (bar.get_y() for bar in axis.patches)
    assert axis.yaxis_inverted() and top < second


def test_term_bars_draws_a_text_without_a_single_active_term():
    axes = plots.term_bars({"t": {}, "u": TERMS}, {}, ("both", "one")).axes
    assert [len(axis.patches) for axis in axes[:2]] == [0, 3]


def test_interval_bars_show_value_and_interval_of_each_row():
    (axis,) = plots.interval_bars(POINTS, "MRR (0 to 1)").axes
    assert [bar.get_width() for bar in axis.patches] == [0.4, 0.8]
    (whiskers,) = axis.collections
    ends = [tuple(segment[:, 0]) for segment in whiskers.get_segments()]
    np.testing.assert_allclose(ends, [(0.3, 0.45), (0.7, 0.95)])
    assert [text.get_text() for text in axis.texts] == ["0.400", "0.800"]


def test_lines_bands_and_names_come_from_the_points():
    figure = plots.lines(SERIES, "depth (turns)", "terms")
    (axis,) = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert drawn == {"a": [[2, 1], [3, 3]], "b": [[2, 2]]}
    heights = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.5, 4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_series_differ_in_colour_and_in_marker():
    assert len(set(plots.COLOURS)) == len(plots.COLOURS) <= len(set(plots.MARKERS))
    assert len(set(map(str, plots.DASHES))) >= len(plots.COLOURS)


def test_scatter_holds_the_pairs_and_the_line_its_slope():
    (axis,) = plots.scatter(PAIRS, "terms", "postings", line=(1.5, "even")).axes
    offsets = [c.get_offsets().tolist() for c in axis.collections]
    assert offsets == [[[1, 3], [2, 5]], [[4, 6]]]
    assert axis.lines[0].get_slope() == 1.5


def test_panels_have_their_own_axes():
    figure = plots.log_lines(
        {"a": {"s": ([1, 2, 4], [1, 2, 3])}, "b": {"s": ([1], [1])}}, ["x", "y"]
    )
    assert [axis.get_xlabel() for axis in figure.axes] == ["x", "y"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]
    with pytest.raises(DiscoError, match="Nothing to draw"):
        plots.log_lines({}, "x")


def test_histogram_shows_shares():
    figure = plots.histogram(np.array([0.0, 0.0, 1.0, 1.0]), "x", "share", bins=2)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.5, 0.5]
    with pytest.raises(DiscoError, match="Nothing to draw"):
        plots.histogram(np.zeros(0), "x", "share")


def test_a_figure_is_adjusted():
    figure = plots.adjusted(plots.histogram(np.arange(3.0), "x", "y"), (1.5, "here"), ylim=(0, 2))
    (axis,) = figure.axes
    assert axis.get_ylim() == (0, 2) and axis.texts[0].get_text() == "here"
    assert axis.get_lines()[0].get_xdata() == [1.5, 1.5]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.term_bars({}, {}, ("a", "b")),
        lambda: plots.interval_bars({}, "x"),
        lambda: plots.lines({}, "x", "y"),
        lambda: plots.curves({}, "x", "y"),
        lambda: plots.scatter({}, "x", "y"),
    ],
)
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(DiscoError, match="at least one"):
        draw()
