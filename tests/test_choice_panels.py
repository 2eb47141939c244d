"""Panels over choices: means, paired differences, and what is drawn where."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from disco_lib.choice_panels import APART, Panel, choice_panels, differences, means
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.records import Record, intervals
from disco_lib.significance import compare

RNG = np.random.default_rng(1)
BASE = RNG.random((2, 40))


def record(name, values, turns=None):
    rows = {str(seed): {"MRR@10": list(v)} for seed, v in enumerate(values, 1)}
    turns = turns or [f"t{i}" for i in range(len(values[0]))]
    return Record("t", name, name, {}, "x", turns, rows, {}, {}, intervals(rows), {})


RECORDS = {
    "0": record("a", BASE),
    "0.1": record("b", BASE + RNG.normal(0.1, 0.05, BASE.shape)),
    "1": record("c", BASE[:, :30] - 0.1),
}


def test_means_have_the_records_intervals():
    found = means(RECORDS, "MRR@10")
    assert list(found) == list(RECORDS)
    own = RECORDS["0.1"]
    assert found["0.1"] == Point(own.mean("MRR@10"), *own.intervals["MRR@10"])


def test_differences_are_paired_on_shared_turns():
    found = differences(RECORDS, "0", "MRR@10")
    assert found["0"] == Point(0.0, 0.0, 0.0)
    more = np.array([v["MRR@10"] for v in RECORDS["0.1"].values.values()]).mean(axis=0)
    test = compare(more, BASE.mean(axis=0))
    assert found["0.1"] == Point(test.difference, test.low, test.high)
    assert found["1"].value == pytest.approx(-0.1)
    with pytest.raises(DiscoError, match="No record of '2'; there are: 0, 0.1, 1"):
        differences(RECORDS, "2", "MRR@10")


def panel(series, choices=("0", "0.1", "1")):
    return Panel(series, choices, "w", "MRR@10")


def test_a_series_has_one_colour_and_its_place_in_every_panel():
    up = {c: Point(0.5, 0.4, 0.6) for c in ("0", "0.1", "1")}
    figure = choice_panels(
        [panel({"here": up, "there": {"0.1": up["0.1"]}}), panel({"there": up}), panel({})]
    )
    first, second, third, empty = figure.axes
    assert not empty.axison and third.axison
    here, there = (container.lines[0] for container in first.containers)
    (again,) = (container.lines[0] for container in second.containers)
    assert there.get_color() == again.get_color() != here.get_color()
    assert here.get_xdata() == pytest.approx(np.arange(3) - APART / 2)
    assert there.get_xdata() == pytest.approx([1 + APART / 2])
    assert [text.get_text() for text in first.get_xticklabels()] == ["0", "0.1", "1"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["here", "there"]
    assert plt.get_fignums() == []


def test_zero_is_marked_where_something_lies_below_it():
    above = choice_panels([panel({"a": {"0": Point(0.2, 0.1, 0.3)}})])
    below = choice_panels([panel({"a": {"0": Point(0.2, -0.1, 0.3)}})])
    marked = [
        [line for line in f.axes[0].lines if line.get_linestyle() == "--"] for f in (above, below)
    ]
    assert [len(lines) for lines in marked] == [0, 1]
    assert above.legends == []  # one series needs none


def test_faults_are_named():
    with pytest.raises(DiscoError, match="give at least one panel"):
        choice_panels([])
    with pytest.raises(DiscoError, match="a: no choice '2'; there are: 0, 0.1, 1"):
        choice_panels([panel({"a": {"2": Point(1, 1, 1)}})])
