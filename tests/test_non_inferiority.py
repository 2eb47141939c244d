"""Non-inferiority against values worked out otherwise, and what a one-sided test must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.non_inferiority import non_inferiority, resampled_means

RNG = np.random.default_rng(2)
Y = RNG.uniform(0.2, 1.0, 200)


def test_the_test_is_that_of_scipy_on_the_margin():
    x = Y * 0.99 + RNG.normal(0, 0.05, 200)
    found = non_inferiority(x, Y, 0.98)
    expected = stats.ttest_1samp(x - 0.98 * Y, 0, alternative="greater").pvalue
    assert found.p_t == pytest.approx(expected) and found.n == 200 and found.share == 0.98
    assert found.p_bootstrap == pytest.approx(expected, abs=0.02)
    assert found.kept == pytest.approx(x.mean() / Y.mean())
    drawn = RNG.integers(200, size=(4000, 200))
    low, high = np.quantile(x[drawn].mean(1) / Y[drawn].mean(1), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.002)


@pytest.mark.parametrize(("loss", "holds"), [(0.0, True), (0.01, True), (0.03, False)])
def test_a_loss_on_this_side_of_the_margin_is_allowed(loss, holds):
    x = Y * (1 - loss) + RNG.normal(0, 0.01, 200)
    assert non_inferiority(x, Y, 0.98).holds == holds


def test_a_difference_that_is_not_found_is_no_proof_of_none():
    # Few noisy turns: neither worse nor shown to be as good.
    y = RNG.uniform(0.2, 1.0, 12)
    x = y + RNG.normal(0, 0.4, 12)
    x += y.mean() - x.mean()
    found = non_inferiority(x, y, 0.98)
    assert stats.ttest_rel(x, y).pvalue > 0.05 and not found.holds


def test_no_spread_leaves_the_sign():
    assert non_inferiority(Y, Y, 0.98).holds
    same = non_inferiority(np.full(5, 0.98), np.ones(5), 0.98)
    assert same.p_t == 1.0 and same.kept == pytest.approx(0.98) and not same.holds
    assert non_inferiority(np.full(5, 0.99), np.ones(5), 0.98).p_t == 0.0


def test_bonferroni_multiplies_both():
    x = Y * 0.985 + RNG.normal(0, 0.05, 200)
    once, ten = (non_inferiority(x, Y, 0.98, comparisons=n) for n in (1, 10))
    assert ten.p_t == pytest.approx(min(1, 10 * once.p_t))
    assert ten.p_bootstrap == pytest.approx(min(1, 10 * once.p_bootstrap))
    assert (ten.kept, ten.low, ten.high) == (once.kept, once.low, once.high)


@given(share=st.floats(0.5, 0.97))
@settings(max_examples=20, deadline=None)
def test_less_to_keep_is_easier_to_keep(share):
    x = Y * 0.95 + np.random.default_rng(1).normal(0, 0.1, 200)
    easier, harder = (non_inferiority(x, Y, s, resamples=500) for s in (share, share + 0.03))
    assert easier.p_t <= harder.p_t and easier.p_bootstrap <= harder.p_bootstrap
    assert easier.low <= easier.kept <= easier.high


def test_means_are_of_the_same_turns_for_all_systems():
    means = resampled_means(np.stack([Y, 2 * Y]), resamples=300)
    assert means.shape == (2, 300) and means[1] == pytest.approx(2 * means[0])
    assert means[0].std() == pytest.approx(Y.std() / 200**0.5, rel=0.15)
    assert np.array_equal(means, resampled_means(np.stack([Y, 2 * Y]), resamples=300))
    assert not np.array_equal(means, resampled_means(np.stack([Y, 2 * Y]), 1, resamples=300))


@pytest.mark.parametrize(
    ("x", "y", "share", "problem"),
    [
        ([1.0, 1], [1.0, 1, 1], 0.98, r"not \(2,\) and \(3,\)"),
        ([1.0], [1.0], 0.98, r"two or more turns.*\(1,\)"),
        ([[1.0, 1]], [[1.0, 1]], 0.98, "two or more turns"),
        ([1.0, 1], [1.0, 1], 0.0, "share is 0.0"),
        ([1.0, 1], [1.0, 1], 1.1, "share is 1.1"),
        ([1.0, 1], [0.0, 0], 0.98, "finds nothing"),
    ],
)
def test_bad_input_is_named(x, y, share, problem):
    with pytest.raises(DiscoError, match=problem):
        non_inferiority(np.array(x), np.array(y), share)


def test_values_without_a_turn_cannot_be_drawn():
    for values in (np.zeros((2, 0)), np.zeros(3)):
        with pytest.raises(DiscoError, match="systems, turns"):
            resampled_means(values)
