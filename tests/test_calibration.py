import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from disco_lib.calibration import Line, calibration_error, fit_line, reliability
from disco_lib.errors import DiscoError

SCORES = arrays(np.float64, st.integers(1, 30), elements=st.sampled_from(np.linspace(-1, 1, 7)))


def test_reliability_by_hand():
    teacher = [0.5, 0.1, 0.3, 0.9]
    student = [0.6, 0.2, 0.4, 0.8]
    low, high = reliability(teacher, student, bins=2)
    assert (low.low, low.high, low.n) == (0.2, 0.4, 2)
    assert (low.student, low.teacher, low.gap) == pytest.approx((0.3, 0.2, 0.1))
    assert (high.student, high.teacher, high.gap) == pytest.approx((0.7, 0.7, 0.0))
    assert calibration_error(teacher, student, bins=2) == pytest.approx(0.05)


@settings(deadline=None, max_examples=50)
@given(SCORES, st.integers(1, 12))
def test_bins_hold_every_pair_once_and_equal_scores_together(student, bins):
    curve = reliability(student / 2, student, bins)
    assert sum(b.n for b in curve) == len(student) and len(curve) <= bins
    assert all(
        b.n > 0 and b.low <= b.student + 1e-12 and b.student <= b.high + 1e-12 for b in curve
    )
    for left, right in zip(curve, curve[1:], strict=False):
        assert left.high < right.low


@settings(deadline=None, max_examples=50)
@given(SCORES, st.integers(1, 12))
def test_error_is_0_of_equal_scores_and_the_shift_of_shifted_ones(teacher, bins):
    assert calibration_error(teacher, teacher, bins) == pytest.approx(0)
    assert calibration_error(teacher, teacher + 0.2, bins) == pytest.approx(0.2)


def test_bins_are_of_equal_size_where_scores_differ():
    student = np.random.default_rng(0).permutation(1000) / 1000
    assert {b.n for b in reliability(student, student)} == {100}


def test_constant_scores_are_one_bin():
    (only,) = reliability([0.2, 0.4], [0.99, 0.99])
    assert (only.n, only.low, only.high) == (2, 0.99, 0.99)
    assert only.gap == pytest.approx(0.69)


def test_one_pair_is_one_bin():
    assert [b.n for b in reliability([0.5], [0.7])] == [1]


def test_fit_line_against_numpy():
    draw = np.random.default_rng(0)
    student = draw.random(50)
    teacher = 0.3 * student + 0.2 + draw.normal(0, 0.1, 50)
    line = fit_line(teacher, student)
    assert (line.slope, line.intercept) == pytest.approx(tuple(np.polyfit(student, teacher, 1)))


def test_a_line_mends_what_a_line_spoilt():
    teacher = np.array([0.2, 0.5, 0.9])
    student = 0.95 + 0.05 * teacher
    line = fit_line(teacher, student)
    assert line.apply(student) == pytest.approx(teacher)
    assert line.slope == pytest.approx(20)
    assert Line(2.0, 1.0).apply([1, 2]).tolist() == [3.0, 5.0]


def test_constant_scores_give_the_teachers_mean():
    for student in ([0.1] * 3, [0.0] * 3):
        line = fit_line([0.2, 0.4, 0.9], student)
        assert (line.slope, line.intercept) == (0.0, pytest.approx(0.5))
    assert fit_line([0.2], [0.7]) == Line(0.0, 0.2)


@pytest.mark.parametrize("function", [reliability, calibration_error, fit_line])
@pytest.mark.parametrize(
    ("teacher", "student", "problem"),
    [
        ([], [], "No pair to compare"),
        ([1, 2], [1], "one score a pair"),
        ([1, math.nan], [1, 2], "teacher: score 1"),
    ],
)
def test_lists_that_are_no_pairs_are_named(function, teacher, student, problem):
    with pytest.raises(DiscoError, match=problem):
        function(teacher, student)


@pytest.mark.parametrize("function", [reliability, calibration_error])
def test_no_bin_is_named(function):
    with pytest.raises(DiscoError, match="bins is 0"):
        function([0.1], [0.1], 0)
