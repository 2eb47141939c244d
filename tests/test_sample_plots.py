"""Panels over the number of samples: what is drawn where, and what is refused."""

import numpy as np
import pytest

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.sample_plots import Panel, stacked


def points(*values):
    return [Point(value, value - 0.1, value + 0.2, x=2.0**i) for i, value in enumerate(values)]


def test_panels_share_a_doubling_axis_with_a_tick_at_every_point():
    figure = stacked(
        [Panel("error", {"bias": points(0.5, 0.4, 0.3)}), Panel("MRR", {"s": points(0.1)})], "n"
    )
    above, below = figure.axes
    assert above.get_xscale() == below.get_xscale() == "log"
    assert below.get_xticks().tolist() == [1, 2, 4]
    assert [t.get_text() for t in below.get_xticklabels()] == ["1", "2", "4"]
    assert (above.get_ylabel(), below.get_ylabel()) == ("error", "MRR")
    assert (above.get_xlabel(), below.get_xlabel()) == ("", "n")


def test_a_series_has_one_colour_and_its_interval_in_every_panel():
    figure = stacked(
        [Panel("a", {"x": points(1.0), "y": points(2.0)}), Panel("b", {"y": points(3.0)})], "n"
    )
    colours = [[box.lines[0].get_color() for box in axis.containers] for axis in figure.axes]
    assert colours == [list(plots.COLOURS[:2]), [plots.COLOURS[1]]]
    ((start, end),) = figure.axes[1].containers[0].lines[2][0].get_segments()
    assert (start[1], end[1]) == pytest.approx((2.9, 3.2))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["x", "y"]


def test_series_of_one_panel_stand_apart_around_their_x():
    (axis,) = stacked([Panel("a", {"x": points(1.0), "y": points(2.0)})], "n").axes
    first, second = (box.lines[0].get_xdata()[0] for box in axis.containers)
    assert first < 1 < second and first * second == pytest.approx(1)
    assert axis.get_xticks().tolist() == [1]


def test_a_fitted_line_takes_the_place_of_the_joining_one():
    curve = (np.array([1.0, 2.0]), np.array([0.4, 0.6]))
    (axis,) = stacked([Panel("m", {"s": points(0.5, 0.5)}, {"s": curve})], "n").axes
    assert axis.containers[0].lines[0].get_linestyle() == "None"
    fitted = axis.lines[-1]
    assert fitted.get_color() == plots.COLOURS[0]
    assert fitted.get_ydata().tolist() == [0.4, 0.6]


def test_levels_and_a_logarithmic_scale():
    panel = Panel("m", {"s": points(0.5, 0.6)}, levels={"whole": 0.55}, log=True)
    (axis,) = stacked([panel], "n").axes
    assert axis.get_yscale() == "log"
    assert [text.get_text() for text in axis.texts] == ["whole"]
    assert any(list(line.get_ydata()) == [0.55, 0.55] for line in axis.lines)


def test_a_mean_beside_its_interval_by_a_last_digit_is_drawn():
    stacked([Panel("m", {"s": [Point(0.3, 0.3 + 1e-17, 0.3 - 1e-17, x=1.0)]})], "n")


@pytest.mark.parametrize(
    ("panels", "problem"),
    [
        ([], "Nothing to draw"),
        ([Panel("m", {})], "Nothing to draw"),
        ([Panel("m", {"s": [Point(1, 1, 1, x=0)]})], "x is 0; a logarithmic axis"),
        ([Panel("m", {"s": points(1.0)}, {"other": ([1], [1])})], "fitted to 'other'"),
    ],
)
def test_what_cannot_be_drawn_is_named(panels, problem):
    with pytest.raises(DiscoError, match=problem):
        stacked(panels, "n")
