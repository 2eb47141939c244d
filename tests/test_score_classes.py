import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from disco_lib.errors import DiscoError
from disco_lib.score_classes import best_cut, classify

SCORES = arrays(np.float64, 12, elements=st.sampled_from(np.linspace(0, 1, 9)))


def test_classify_by_hand():
    teacher = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    student = [0.9, 0.6, 0.8, 0.7, 0.3, 0.2]
    found = classify(teacher, student)
    # Median 0.65: pairs 0, 1, 2 are relevant; predicted are 0, 2, 3.
    assert (found.threshold, found.cut) == (pytest.approx(0.65), pytest.approx(0.65))
    assert (found.n, found.relevant, found.accuracy) == (6, 0.5, pytest.approx(4 / 6))
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.f1 == pytest.approx(2 / 3)
    # Of 9 pairs of a relevant and another pair, only 1 against 3 is the wrong way round.
    assert found.roc_auc == pytest.approx(8 / 9)


def test_a_student_that_says_yes_to_all_has_the_reports_numbers():
    teacher = np.linspace(0.77, 1, 1000)
    found = classify(teacher, np.full(1000, 0.99))
    assert (found.recall, found.precision, found.accuracy) == (1.0, 0.5, 0.5)
    assert found.f1 == pytest.approx(2 / 3) and found.precision == found.relevant
    assert found.roc_auc == 0.5


@settings(deadline=None, max_examples=50)
@given(SCORES, SCORES, st.sampled_from([0.3, 0.6, None]))
def test_classify_against_scikit_learn(teacher, student, threshold):
    found = classify(teacher, student, threshold)
    relevant, predicted = teacher >= found.threshold, student >= found.cut
    assert found.accuracy == pytest.approx(metrics.accuracy_score(relevant, predicted))
    assert found.f1 == pytest.approx(metrics.f1_score(relevant, predicted, zero_division=0))
    if relevant.any() and not relevant.all():
        assert found.roc_auc == pytest.approx(metrics.roc_auc_score(relevant, student))
    else:
        assert math.isnan(found.roc_auc)


def test_the_cut_can_differ_from_the_threshold():
    found = classify([0.9, 0.1], [0.4, 0.3], threshold=0.5, cut=0.35)
    assert (found.threshold, found.cut, found.f1) == (0.5, 0.35, 1.0)
    assert classify([0.9, 0.1], [0.4, 0.3], threshold=0.5).f1 == 0.0


def test_a_constant_teacher_makes_every_pair_relevant():
    found = classify([0.8] * 4, [0.9, 0.1, 0.9, 0.9])
    assert (found.relevant, found.recall, found.precision) == (1.0, 0.75, 1.0)
    assert math.isnan(found.roc_auc)


def test_no_relevant_pair_and_no_predicted_one_give_0():
    found = classify([0.1, 0.2], [0.3, 0.4], threshold=0.5)
    assert (found.accuracy, found.precision, found.recall, found.f1) == (1.0, 0.0, 0.0, 0.0)


def test_one_pair():
    found = classify([0.8], [0.9])
    assert (found.n, found.accuracy, found.f1) == (1, 1.0, 1.0) and math.isnan(found.roc_auc)


@settings(deadline=None, max_examples=50)
@given(SCORES, SCORES)
def test_the_best_cut_has_the_highest_f1_of_all(teacher, student):
    cut = best_cut(teacher, student)
    best = classify(teacher, student, cut=cut).f1
    for other in np.unique(student):
        f1 = classify(teacher, student, cut=other).f1
        assert f1 <= best + 1e-12
        assert f1 < best - 1e-12 or other >= cut, "of several, the lowest"


@pytest.mark.parametrize("function", [classify, best_cut])
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


def test_a_threshold_above_all_has_no_best_cut():
    with pytest.raises(DiscoError, match=r"No teacher score reaches 0.9; the highest is 0.200"):
        best_cut([0.1, 0.2], [0.3, 0.4], threshold=0.9)
