import numpy as np
import pytest

from disco_lib.errors import DiscoError
from disco_lib.plots import curves
from disco_lib.score_plots import cumulative, densities, radar


def test_a_density_integrates_to_nearly_one_and_curves_takes_it():
    rng = np.random.default_rng(0)
    scores = {"teacher": rng.normal(0, 1, 500), "student": rng.normal(4, 1, 500)}
    found = densities(scores)
    (x, teacher), (other, _) = found["teacher"], found["student"]
    np.testing.assert_array_equal(x, other)
    assert np.trapezoid(teacher, x) == pytest.approx(1, abs=0.02)
    assert len(curves(found, "score", "density").axes) == 1


def test_a_distribution_function_rises_to_one():
    x, share = cumulative({"a": np.array([3.0, 1.0, 2.0])})["a"]
    assert x.tolist() == [1, 2, 3] and share[-1] == 1


def test_a_radar_chart_closes_its_lines():
    values = {"accuracy": 0.5, "precision": 0.7, "recall": 1.0}
    (axis,) = radar({"here": values, "report": dict.fromkeys(values, 0.2)}).axes
    assert len(axis.lines) == 2
    y = axis.lines[0].get_ydata()
    assert y[0] == y[-1] and len(y) == 4


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({}, "0 metrics"),
        ({"a": {"x": 1, "y": 1}}, "2 metrics"),
        ({"a": {"x": 1, "y": 1, "z": 1}, "b": {"x": 1}}, "b: its metrics are x"),
        ({"a": {"x": 1, "y": 1, "z": 1.2}}, "outside 0 to 1"),
    ],
)
def test_what_a_radar_chart_cannot_show_is_told(series, message):
    with pytest.raises(DiscoError, match=message):
        radar(series)


def test_one_score_alone_has_no_density():
    with pytest.raises(DiscoError, match="a: a density needs two"):
        densities({"a": np.ones(3)})
