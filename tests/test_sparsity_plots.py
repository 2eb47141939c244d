"""The figures of chapters 14 and 15: they show what they were given, and leave nothing behind."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from disco_lib import sparsity_plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point

PATH = {"0": Point(0.7, 0.6, 0.8, x=9), "0.1": Point(0.5, 0.4, 0.6, x=2)}
BY_DEPTH = {"a": [Point(0.5, 0.4, 0.6, x=2), Point(0.4, 0.3, 0.5, x=3)], "b": PATH.values()}
GAIN = {"a": [Point(-0.1, -0.2, 0.1, x=2), Point(0.1, 0.0, 0.2, x=3)]}
DOTS = {"a": (np.array([1.0, 2.0]), np.array([3.0, 5.0])), "b": (np.array([4.0]), np.array([9.0]))}

FIGURES = {
    "trade_off": lambda: sparsity_plots.trade_off(PATH, {"teacher": PATH}, "FLOPS", "MRR"),
    "fitted": lambda: sparsity_plots.fitted(DOTS, "FLOPS", "ms"),
    "depth_panels": lambda: sparsity_plots.depth_panels(
        {"MRR": BY_DEPTH, "gain": GAIN}, {2: 30, 3: 12}
    ),
    "difference_bars": lambda: sparsity_plots.difference_bars(PATH, "MRR"),
}

each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


@each_figure
def test_a_figure_leaves_no_global_state_and_no_open_window(draw):
    settings, opened = dict(mpl.rcParams), plt.get_fignums()
    assert isinstance(draw(), plt.Figure)
    assert dict(mpl.rcParams) == settings and plt.get_fignums() == opened


def test_the_line_joins_the_grid_and_other_points_stand_alone():
    (axis,) = sparsity_plots.trade_off(PATH, {"teacher": PATH}, "FLOPS", "MRR").axes
    grid, others = (line for line in axis.get_lines() if len(line.get_xdata()) == 2)
    assert grid.get_xdata().tolist() == [9, 2] and grid.get_linestyle() == "-"
    assert others.get_linestyle() == "None"
    assert [text.get_text() for text in axis.texts] == ["0", "0.1", "0", "0.1"]
    assert axis.get_xscale() == "log"
    # A dead student has no place on such an axis.
    dead = PATH | {"9": Point(0.0, 0.0, 0.0, x=0)}
    (axis,) = sparsity_plots.trade_off(dead, {}, "FLOPS", "MRR").axes
    assert axis.get_xscale() == "linear" and axis.get_xlim()[0] == 0


def test_texts_keep_off_each_other_and_off_other_dots():
    close = {f"{i} (27)": Point(0.7 + i / 500, 0.6, 0.8, x=3 + i / 50) for i in range(4)}
    figure = sparsity_plots.trade_off(close, {}, "FLOPS", "MRR")
    (axis,) = figure.axes
    boxes = [text.get_window_extent() for text in axis.texts]
    assert len(boxes) == 4
    line = axis.get_lines()[0].get_path().transformed(axis.transData)
    assert not any(line.intersects_bbox(box, filled=False) for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_equal_values_have_no_negative_interval():
    sparsity_plots.difference_bars({"a": Point(0.3, 0.3 + 1e-17, 0.3 - 1e-17)}, "MRR")


def test_the_fitted_line_is_that_of_all_points():
    (axis,) = sparsity_plots.fitted(DOTS, "FLOPS", "ms").axes
    fit = axis.get_lines()[-1]
    assert fit.get_ydata().tolist() == pytest.approx([1, 9])
    flat = {"a": (np.array([1.0, 1.0]), np.array([3.0, 5.0]))}
    assert len(sparsity_plots.fitted(flat, "FLOPS", "ms").axes[0].get_lines()) == 1


def test_depth_panels_share_colours_and_count_turns():
    figure = sparsity_plots.depth_panels({"MRR": BY_DEPTH, "gain": GAIN}, {2: 30, 3: 12})
    first, second, counts, _ = figure.axes
    assert first.get_ylim()[0] == 0 and second.get_ylim()[0] < 0
    same = {axis.get_lines()[0].get_color() for axis in (first, second)}
    assert len(same) == 1
    assert [bar.get_height() for bar in counts.patches] == [30, 12]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    # Where differences are shown, so is no difference.
    assert any(set(line.get_ydata()) == {0} for line in second.get_lines())
    assert not any(set(line.get_ydata()) == {0} for line in first.get_lines())


def test_a_panel_may_be_logarithmic():
    figure = sparsity_plots.depth_panels(
        {"MRR": BY_DEPTH, "terms": BY_DEPTH}, {2: 1}, log=["terms"]
    )
    assert [axis.get_yscale() for axis in figure.axes[:2]] == ["linear", "log"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: sparsity_plots.trade_off({}, {}, "x", "y"),
        lambda: sparsity_plots.fitted({}, "x", "y"),
        lambda: sparsity_plots.depth_panels({}, {}),
        lambda: sparsity_plots.difference_bars({}, "x"),
    ],
)
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(DiscoError, match="Nothing to draw"):
        draw()
