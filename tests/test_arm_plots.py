"""Figures of arms: marks at the drawn ranks, one look a name."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from disco_lib.arm_plots import marked_panels, rank_strips
from disco_lib.errors import DiscoError
from disco_lib.plots import Point

SHARES = np.full(100, 0.01)


def test_a_mark_stands_at_each_rank_and_unlisted_ones_apart():
    rows = {"top": np.array([1, 2, 3]), "uniform": np.array([0, 70, 0])}
    figure = rank_strips(rows, SHARES, positive=4)
    above, below = figure.axes
    top, uniform = below.lines[:2]
    assert top.get_xdata().tolist() == [1, 2, 3] and set(top.get_ydata()) == {0}
    assert sorted(uniform.get_xdata().tolist()) == [70, 200, 200]
    assert [text.get_text() for text in below.texts] == ["2"]
    assert above.lines[0].get_ydata()[-1] == pytest.approx(1.0)
    assert [axis.lines[-1].get_xdata()[0] for axis in (above, below)] == [4, 4]
    assert [text.get_text() for text in below.get_xticklabels()] == [
        "1",
        "10",
        "100",
        "not\nlisted",
    ]
    assert plt.get_fignums() == []


def test_without_a_positive_there_is_no_line():
    figure = rank_strips({"top": np.array([1])}, SHARES)
    assert len(figure.axes[0].lines) == 1 and len(figure.axes[1].lines) == 1


def test_a_name_looks_the_same_in_every_panel_and_like_no_other():
    points = {f"arm {i}": Point(0.5, 0.4, 0.6, x=i) for i in range(9)}
    figure = marked_panels([("x", "y", points), ("x", "z", {"arm 8": points["arm 8"]})])
    first, second = figure.axes
    looks = [(c.lines[0].get_color(), c.lines[0].get_marker()) for c in first.containers]
    assert len(set(looks)) == 9
    (again,) = second.containers
    assert (again.lines[0].get_color(), again.lines[0].get_marker()) == looks[8]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(points)


def test_a_panel_without_points_says_so():
    figure = marked_panels([("x", "y", {"a": Point(1, 1, 1)}), ("x", "KL", {}), ("x", "y", {})])
    assert [text.get_text() for text in figure.axes[1].texts] == ["not measured"]
    assert not figure.axes[3].axison


def test_nothing_to_draw():
    with pytest.raises(DiscoError, match="at least one row"):
        rank_strips({}, SHARES)
    with pytest.raises(DiscoError, match="teacher's shares"):
        rank_strips({"a": np.array([1])}, SHARES[:0])
    with pytest.raises(DiscoError, match="at least one point"):
        marked_panels([("x", "y", {})])
