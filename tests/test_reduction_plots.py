"""The figure of what is kept for what is saved: lines, texts, and the two marks of the claim."""

import pytest

from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.reduction_plots import kept_curves

FAMILIES = {
    "KLD": {"0.1": Point(0.9, 0.85, 0.95, x=4.0), "0.01": Point(1.0, 0.98, 1.01, x=1.5)},
    "InfoNCE": {"0.1": Point(0.8, 0.7, 0.9, x=3.0)},
}


def drawn(families=FAMILIES):
    figure = kept_curves(families, "times fewer", "kept", share=0.98, factor=2)
    return figure, figure.axes[0]


def test_a_family_is_a_line_from_the_least_reduction_on():
    figure, axis = drawn()
    first, second = axis.containers
    assert first.lines[0].get_xdata().tolist() == [1.5, 4.0]
    assert first.lines[0].get_ydata().tolist() == [1.0, 0.9]
    assert second.lines[0].get_xdata().tolist() == [3.0]
    segments = [s[:, 1].tolist() for s in first.lines[2][0].get_segments()]
    assert segments == [pytest.approx([0.98, 1.01]), pytest.approx([0.85, 0.95])]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["KLD", "InfoNCE"]


def test_texts_stand_at_their_points_and_marks_at_the_claim():
    _, axis = drawn()
    assert {(t.get_text(), *t.xy) for t in axis.texts} == {
        ("0.1", 4.0, 0.9), ("0.01", 1.5, 1.0), ("0.1", 3.0, 0.8),
    }  # fmt: skip
    dashed = [line for line in axis.lines if line.get_color() == "black"]
    assert [list(line.get_ydata()) for line in dashed] == [[0.98, 0.98], [0, 1]]
    assert list(dashed[1].get_xdata()) == [2, 2]


def test_the_axes_read_factors_and_per_cent():
    figure, axis = drawn()
    assert axis.get_xscale() == "log"
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "2", "4"]
    figure.draw_without_rendering()
    assert all(t.get_text().endswith("%") for t in axis.get_yticklabels())


def test_a_query_that_costs_nothing_has_no_place():
    free = {"empty": Point(0.0, 0.0, 0.0, x=float("inf"))}
    _, axis = drawn({"KLD": {**FAMILIES["KLD"], **free}, "dead": free})
    assert len(axis.texts) == 2
    with pytest.raises(DiscoError, match="Nothing to draw"):
        drawn({"dead": free})


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(DiscoError, match="Nothing to draw"):
        drawn({})
    with pytest.raises(DiscoError, match="x is 0; a reduction"):
        drawn({"KLD": {"a": Point(1, 1, 1, x=0)}})
