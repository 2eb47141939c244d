import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import ndcg_score

from disco_lib.agreement import (
    DEPTHS,
    agreement_at,
    list_ndcg_at,
    ndcg_at,
    recall_at,
    recovery_at,
    top_share,
)
from disco_lib.errors import DiscoError

#: Few distinct values, so that many are equal.
GRADES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
LISTS = st.integers(1, 4).flatmap(
    lambda n: st.tuples(*[arrays(np.float64, n, elements=GRADES)] * 2, st.integers(1, n))
)


def every_order(scores):
    """Return the orders of a list by falling score, one for each way to break its ties."""
    orders = itertools.permutations(range(len(scores)))
    return [o for o in orders if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))]


# One list of pairs


def test_agreement_by_hand():
    teacher = [0.9, 0.8, 0.7, 0.6, 0.5]
    student = [0.99, 0.7, 0.8, 0.1, 0.9]
    # Student's order: pairs 0, 4, 2, 1, 3.
    expected = {1: 1.0, 2: 1 / 2, 3: 2 / 3, 4: 3 / 4, 5: 1.0}
    assert agreement_at(teacher, student, [1, 2, 3, 4, 5]) == pytest.approx(expected)


def test_agreement_can_fall_with_k_as_the_reports_recall_does():
    teacher = np.arange(20, 0, -1.0)
    student = teacher.copy()
    student[[4, 5, 6, 7, 8, 9]] -= 20
    found = agreement_at(teacher, student, [1, 5, 10])
    assert found == {1: 1.0, 5: pytest.approx(0.8), 10: pytest.approx(0.4)}


def test_the_depths_are_the_reports():
    scores = np.random.default_rng(0).random(20)
    assert tuple(agreement_at(scores, scores)) == DEPTHS == (1, 3, 5, 10, 20)
    assert set(agreement_at(scores, scores).values()) == {1.0}


@pytest.mark.parametrize("side", ["teacher", "student", "both"])
def test_constant_scores_agree_by_chance(side):
    varied, flat = np.random.default_rng(0).random(40), np.full(40, 0.99)
    teacher, student = {
        "teacher": (flat, varied), "student": (varied, flat), "both": (flat, flat),
    }[side]  # fmt: skip
    assert agreement_at(teacher, student, [1, 10, 40]) == pytest.approx(
        {1: 1 / 40, 10: 0.25, 40: 1}
    )


@settings(deadline=None, max_examples=50)
@given(LISTS)
def test_agreement_is_the_mean_over_all_ways_to_break_ties(drawn):
    teacher, student, k = drawn
    overlaps = [
        len(set(a[:k]) & set(b[:k])) / k
        for a, b in itertools.product(every_order(teacher), every_order(student))
    ]
    assert agreement_at(teacher, student, [k])[k] == pytest.approx(np.mean(overlaps))


@settings(deadline=None, max_examples=50)
@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_count(drawn, random):
    teacher, student, k = drawn
    order = random.sample(range(len(teacher)), len(teacher))
    first = agreement_at(teacher, student, [k])
    assert agreement_at(teacher[order], student[order], [k]) == pytest.approx(first)
    assert agreement_at(student, teacher, [k]) == pytest.approx(first)
    assert 0 <= first[k] <= 1 + 1e-12


def test_list_ndcg_by_hand():
    # Student's order: gains 0.5, 1.0, 0. DCG@2 = 0.5 + 1 / log2 3, ideal 1 + 0.5 / log2 3.
    found = list_ndcg_at([1.0, 0.5, 0.0], [0.7, 0.9, 0.1], [2])
    assert found[2] == pytest.approx((0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3)))


def test_high_gains_leave_ndcg_no_room_to_fall():
    # Of pairs selected by their teacher score, even the worst order keeps the lowest over the
    # highest gain.
    gains = np.linspace(0.77, 1.0, 500)
    found = list_ndcg_at(gains, -gains)
    assert all(0.77 <= value < 0.79 for value in found.values())


# Every query


def test_recovery_and_recall_by_hand():
    teacher = np.array([[3, 2, 1, 0.0], [0, 1, 2, 3]])
    student = np.array([[3, 0, 2, 1.0], [3, 2, 1, 0]])
    assert recovery_at(teacher, student, 2).tolist() == [0.5, 0.0]
    assert recovery_at(teacher, student, 3).tolist() == pytest.approx([2 / 3, 2 / 3])
    relevant = np.array([[1, 0, 0, 1], [0, 0, 1, 0]], bool)
    assert recall_at(relevant, student, 1).tolist() == [0.5, 0.0]
    assert recall_at(relevant, student, 3).tolist() == [1.0, 1.0]


def test_recall_of_the_diagonal():
    similarities = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.5, 0.5, 0.5]])
    found = recall_at(np.eye(3), similarities, 1)
    # In the last row, one of three equal documents is the relevant one.
    assert found.tolist() == pytest.approx([1, 0, 1 / 3])


@settings(deadline=None, max_examples=50)
@given(LISTS)
def test_ndcg_is_that_of_scikit_learn(drawn):
    gains, student, k = drawn
    if len(gains) == 1 or not gains.any():
        return
    rows = np.stack([gains, gains[::-1]]), np.stack([student, student])
    expected = [ndcg_score(g[None], s[None], k=k) for g, s in zip(*rows, strict=True)]
    assert ndcg_at(*rows, k) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(LISTS)
def test_top_share_sums_to_k(drawn):
    _, scores, k = drawn
    share = top_share(scores[None], k)
    assert share.sum() == pytest.approx(k) and share.min() >= 0 and share.max() <= 1
    orders = every_order(scores)
    expected = [np.mean([i in order[:k] for order in orders]) for i in range(len(scores))]
    assert share[0] == pytest.approx(expected)


# What goes in


@pytest.mark.parametrize("k", [-1, 0, 4])
def test_depths_beyond_the_list_are_named(k):
    scores = np.array([[0.1, 0.2, 0.3]])
    for found in (recovery_at, ndcg_at, recall_at):
        with pytest.raises(DiscoError, match=f"K is {k}; of 3 documents it can be 1 to 3"):
            found(scores, scores, k)
    for found in (agreement_at, list_ndcg_at):
        with pytest.raises(DiscoError, match=f"K is {k}"):
            found(scores[0], scores[0], [k])
    with pytest.raises(DiscoError, match=f"K is {k}"):
        top_share(scores, k)


@pytest.mark.parametrize(
    ("left", "right", "problem"),
    [
        ([[1, 2]], [[1, 2, 3]], r"shapes \(1, 2\) and \(1, 3\)"),
        ([1, 2], [1, 2], r"two matrices of one shape, \(queries, documents\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "two matrices"),
        ([[1, math.nan]], [[1, 2]], "no finite number"),
        ([[1, 2]], [[1, math.inf]], "no finite number"),
    ],
)
def test_matrices_that_do_not_fit_are_named(left, right, problem):
    for found in (recovery_at, ndcg_at, recall_at):
        with pytest.raises(DiscoError, match=problem):
            found(left, right, 1)


def test_lists_that_are_no_pairs_are_named():
    for found in (agreement_at, list_ndcg_at):
        with pytest.raises(DiscoError, match="No pair to compare"):
            found([], [])


def test_queries_without_relevant_documents_are_named():
    scores = np.array([[1.0, 2.0], [1.0, 2.0]])
    for found in (recall_at, ndcg_at):
        with pytest.raises(DiscoError, match="Query 1 has no relevant document"):
            found(np.array([[1.0, 0.0], [0.0, 0.0]]), scores, 1)


def test_gains_below_0_are_named():
    with pytest.raises(DiscoError, match=r"A gain is -0.100.*Clip"):
        ndcg_at(np.array([[0.5, -0.1]]), np.array([[1.0, 2.0]]), 1)
