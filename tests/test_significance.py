import itertools
import math

import numpy as np
import pytest
from scipy import stats

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.significance import (
    bootstrap_interval,
    compare,
    intervals_by,
    late_and_early,
    permutation_p,
    seed_interval,
)


def systems(seed=0, n=60, gain=0.1):
    draw = np.random.default_rng(seed)
    b = draw.random(n)
    return b + draw.normal(gain, 0.3, n), b


# Paired comparison


def test_compare_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation 1, t = 2 sqrt 3 with 2 degrees of freedom.
    found = compare([2, 4, 6], [1, 2, 3], resamples=2000)
    assert (found.difference, found.cohens_d, found.n) == (2.0, 2.0, 3)
    assert found.p_t == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    # Of the 8 ways to give signs to 1, 2, 3 only +++ and --- are as far from 0.
    assert found.p_permutation == pytest.approx(2 / 8)
    assert 1 <= found.low <= 2 <= found.high <= 3


@pytest.mark.parametrize("seed", range(4))
def test_compare_against_scipy(seed):
    a, b = systems(seed)
    found = compare(a, b, resamples=3000)
    assert found.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.difference == pytest.approx((a - b).mean())
    assert found.cohens_d == pytest.approx(stats.ttest_rel(a, b).statistic / math.sqrt(60))
    # The two tests ask nearly the same.
    assert found.p_permutation == pytest.approx(found.p_t, abs=0.03)
    expected = stats.t.interval(0.95, 59, (a - b).mean(), stats.sem(a - b))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)
    swapped = compare(b, a, resamples=3000)
    assert swapped.difference == -found.difference and swapped.p_t == pytest.approx(found.p_t)


def test_a_comparison_can_be_repeated():
    a, b = systems()
    assert compare(a, b, seed=3, resamples=500) == compare(list(a), tuple(b), 3, 500)
    assert compare(a, b, seed=3, resamples=500).low != compare(a, b, seed=4, resamples=500).low


def test_p_values_are_multiplied_by_the_number_of_comparisons():
    a, b = systems()
    one, seven = (compare(a, b, resamples=500, comparisons=n) for n in (1, 7))
    assert seven.p_t == pytest.approx(min(1, 7 * one.p_t))
    assert seven.p_permutation == pytest.approx(min(1, 7 * one.p_permutation))
    a, b = systems(gain=0.0)
    assert compare(a, b, resamples=500, comparisons=1000).p_t == 1.0


def test_equal_systems_do_not_differ():
    values = np.random.default_rng(0).random(20)
    found = compare(values, values, resamples=200)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert (found.p_t, found.p_permutation, found.cohens_d) == (1, 1, 0)


@pytest.mark.parametrize("step", [0.25, 0.1])
def test_a_constant_difference(step):
    # 0.1 is no binary fraction: (x + 0.1) - x varies in its last bits, and must not count.
    b = np.arange(10) / 16
    found = compare(b + step, b, resamples=5000)
    assert found.difference == pytest.approx(step)
    assert (found.low, found.high) == (pytest.approx(step), pytest.approx(step))
    assert (found.p_t, found.cohens_d) == (0.0, 0.0)
    # Two of 1024 ways to give signs are as far from 0.
    assert found.p_permutation == pytest.approx(2 / 1024)


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        ([1, 2], [1, 2, 3], r"two equal lists, not shapes \(2,\) and \(3,\)"),
        ([[1, 2]], [[1, 2]], "two equal lists"),
        ([1], [2], "at least two turns"),
        ([], [], "at least two turns"),
    ],
)
def test_what_cannot_be_paired_is_named(a, b, problem):
    with pytest.raises(DiscoError, match=problem):
        compare(a, b)


# Permutations


def test_all_permutations_by_hand():
    difference = np.array([0.5, -0.2, 0.9, 0.1, 0.3])
    signs = np.array(list(itertools.product([1, -1], repeat=5)))
    means = np.abs((signs * difference).mean(axis=1))
    expected = (means >= abs(difference.mean()) - 1e-12).mean()
    assert permutation_p(difference) == pytest.approx(expected)


def test_many_turns_are_sampled_and_p_is_never_zero():
    found = permutation_p(np.full(40, 0.5) + np.arange(40) / 1000, resamples=999)
    assert found == pytest.approx(1 / 1000)


@pytest.mark.parametrize(("turns", "gain"), [(9, 0.3), (60, 0.05), (1500, 0.01)])
def test_permutation_p_against_scipy(turns, gain):
    draw = np.random.default_rng(turns)
    # Many turns tie, as they do in the rankings of two retrievers.
    difference = np.where(draw.random(turns) < 0.4, 0.0, draw.normal(gain, 0.3, turns))
    expected = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=4000, rng=draw
    )
    # Standard error of either: at most sqrt(.25 / 4000) = .008.
    assert permutation_p(difference, resamples=4000) == pytest.approx(expected.pvalue, abs=0.04)


def test_the_batches_and_ties_of_the_throws_change_nothing():
    difference = np.random.default_rng(5).normal(0.05, 0.3, 50)
    p = permutation_p(difference, resamples=2500)
    assert p == permutation_p(np.concatenate([difference, np.zeros(30)]), resamples=2500)
    assert p == permutation_p(-difference, resamples=2500)
    assert 1 / 2501 <= p < 1
    assert permutation_p(np.zeros(4)) == 1.0


# Intervals


def test_bootstrap_interval_against_the_normal_one():
    values = np.random.default_rng(2).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx(
        stats.norm.interval(0.95, values.mean(), stats.sem(values)), abs=0.03
    )
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high
    assert bootstrap_interval(values) == (low, high)


def test_bootstrap_interval_of_what_does_not_vary():
    assert bootstrap_interval(np.array([0.4])) == (0.4, 0.4)
    assert bootstrap_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_seed_interval_by_hand():
    # Mean 2, standard deviation 1, sem 1 / sqrt 3, t(2 degrees, 97.5 %) = 4.302653.
    low, high = seed_interval([1, 2, 3])
    half = 4.302653 / math.sqrt(3)
    assert (low, high) == pytest.approx((2 - half, 2 + half))
    assert all(math.isnan(bound) for bound in seed_interval([0.4]))
    assert seed_interval([0.5, 0.5]) == (0.5, 0.5)


def test_intervals_by_group():
    values = np.array([1.0, 1, 1, 5, 0, 2, 0, 2])
    groups = [3, 3, 3, 7, 2, 2, 2, 2]
    found = intervals_by(values, groups, fewest=3)
    assert [(group, mean) for group, mean, _, _ in found] == [(2, 1.0), (3, 1.0)]
    assert found[1] == (3, 1.0, 1.0, 1.0)
    assert found[0][2:] == bootstrap_interval(np.array([0.0, 2, 0, 2]))
    assert intervals_by(values, groups) == []


# Within a conversation


def turn(conversation, depth):
    history = (("q", "a"),) * (depth - 1)
    name = f"{conversation}_{depth}"
    return Turn(conversation, name, "q", history, "", {}, (), None, {})


def test_late_and_early_by_hand():
    # a: depths 1 to 3, cut after the second, given in another order; b: two turns, of which one
    # does not count here; c: depths 2 and 5.
    turns = [turn("a", 3), turn("a", 1), turn("b", 2), turn("c", 2), turn("a", 2), turn("c", 5)]
    late, early = late_and_early(np.array([6.0, 1, 9, 3, 2, 4]), turns)
    assert late.tolist() == [6.0, 4.0]
    assert early.tolist() == [1.5, 3.0]


def test_values_and_turns_must_be_as_many():
    with pytest.raises(ValueError):
        late_and_early(np.array([1.0]), [turn("a", 1), turn("a", 2)])
