import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from disco_lib.alignment import (
    RANGES,
    align,
    align_by_range,
    difference_tests,
    paired_interval,
    paired_scores,
    pearson,
    restricted_pearson,
    spearman,
)
from disco_lib.errors import DiscoError
from disco_lib.significance import compare

SCORES = arrays(np.float64, st.integers(2, 30), elements=st.floats(-1, 1, width=16))
BAD = [
    ([], [], "No pair to compare"),
    ([1, 2], [1, 2, 3], r"teacher \(2,\) and student \(3,\)"),
    ([[1, 2]], [[1, 2]], "one score a pair"),
    ([1, math.nan], [1, 2], "teacher: score 1 is nan"),
    ([1, 2], [-math.inf, 2], "student: score 0 is -inf"),
]


def pairs(n=200, seed=0, noise=0.05):
    draw = np.random.default_rng(seed)
    teacher = draw.normal(0.6, 0.1, n).clip(-1, 1)
    return teacher, (0.9 * teacher + draw.normal(0.1, noise, n)).clip(-1, 1)


# Errors and correlations


def test_align_by_hand():
    # Errors 0.1, 0.2, -0.3: mean of sizes 0.2, of squares 0.14 / 3, of signed errors 0.
    found = align([0.5, 0.6, 0.9], [0.6, 0.8, 0.6])
    assert (found.n, found.mae) == (3, pytest.approx(0.2))
    assert found.mse == pytest.approx(0.14 / 3)
    assert found.rmse == pytest.approx(math.sqrt(0.14 / 3))
    assert found.bias == pytest.approx(0.0)
    # Deviations (-1, 0, 7) and (-1, 5, -1) of other units' means: hand-checked below by scipy.
    assert found.pearson == pytest.approx(stats.pearsonr([0.5, 0.6, 0.9], [0.6, 0.8, 0.6])[0])


@pytest.mark.parametrize("seed", range(3))
def test_align_against_scikit_learn_and_scipy(seed):
    from sklearn import metrics

    teacher, student = pairs(seed=seed)
    found = align(teacher, student)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(teacher, student))
    assert found.mse == pytest.approx(metrics.mean_squared_error(teacher, student))
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(teacher, student))
    assert found.pearson == pytest.approx(stats.pearsonr(teacher, student).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(teacher, student).statistic)
    assert found.bias == pytest.approx(student.mean() - teacher.mean())


@settings(deadline=None, max_examples=50)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_count(teacher, random):
    student = np.sin(3 * teacher)
    order = list(range(len(teacher)))
    random.shuffle(order)
    first, second = align(teacher, student), align(teacher[order], student[order])
    for name in ("mae", "mse", "rmse", "bias", "pearson", "spearman"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-9, nan_ok=True)
    assert first.mae <= first.rmse + 1e-12 and abs(first.bias) <= first.mae + 1e-12


@settings(deadline=None, max_examples=50)
@given(SCORES)
def test_scores_align_with_themselves(scores):
    found = align(scores, scores)
    assert (found.mae, found.rmse, found.bias) == (0, 0, 0)
    if np.ptp(scores) > 0:
        assert found.pearson == pytest.approx(1) and found.spearman == pytest.approx(1)


@pytest.mark.parametrize("step", [0.25, 0.1])
def test_constant_scores_have_errors_and_no_correlation(step):
    # 0.1 + 0.1 + 0.1 is not 0.3: the mean's rounding must not become a spread.
    found = align(np.full(7, 0.1) + step, np.linspace(0, 1, 7))
    assert math.isnan(found.pearson) and math.isnan(found.spearman)
    assert found.mae > 0 and found.n == 7
    assert math.isnan(align([0.2, 0.4], [0.3, 0.3]).pearson)


def test_one_pair_has_errors_and_no_correlation():
    found = align([0.8], [0.9])
    assert (found.n, found.mae, found.bias) == (1, pytest.approx(0.1), pytest.approx(0.1))
    assert math.isnan(found.pearson) and math.isnan(found.spearman)


@pytest.mark.parametrize(("teacher", "student", "problem"), BAD)
def test_lists_that_are_no_pairs_are_named(teacher, student, problem):
    for function in (align, align_by_range, paired_scores, difference_tests):
        with pytest.raises(DiscoError, match=problem):
            function(teacher, student)
    with pytest.raises(DiscoError, match=problem):
        paired_interval(pearson, teacher, student)


def test_paired_scores_takes_lists_and_narrow_floats():
    teacher, student = paired_scores([1, 0], np.array([0.5, 0.25], np.float32))
    assert teacher.dtype == student.dtype == np.float64
    assert student.tolist() == [0.5, 0.25]


def test_spearman_sees_order_alone():
    teacher = np.array([0.1, 0.2, 0.5, 0.9])
    assert spearman(teacher, teacher**9) == pytest.approx(1)
    assert pearson(teacher, teacher**9) < 0.9
    assert spearman(teacher, -teacher) == pytest.approx(-1)


# Ranges of scores


def test_ranges_by_hand():
    teacher = np.array([-0.4, 0.0, 0.29, 0.3, 0.69, 0.7, 0.9, 1.0])
    rows = align_by_range(teacher, teacher + 0.1)
    assert [(row.low, row.high) for row in rows] == list(zip(RANGES, RANGES[1:], strict=False))
    # Closed below, open above; the last one holds 1.0.
    assert [row.alignment.n for row in rows] == [1, 2, 1, 1, 1, 2]
    assert [row.share for row in rows] == [1 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8, 2 / 8]
    assert all(row.alignment.mae == pytest.approx(0.1) for row in rows)


def test_a_range_without_pairs_is_nan():
    low, high = align_by_range([0.8, 0.9], [0.7, 0.9], edges=[0, 0.5, 1])
    assert (low.alignment.n, low.share) == (0, 0.0) and math.isnan(low.alignment.mae)
    assert high.alignment == align([0.8, 0.9], [0.7, 0.9])


def test_a_cosine_above_1_by_its_last_bits_is_in_the_last_range():
    rows = align_by_range(np.array([1.0000001, -1.0000001]), [1, -1])
    assert [row.alignment.n for row in rows] == [1, 0, 0, 0, 0, 1]


@settings(deadline=None, max_examples=50)
@given(SCORES)
def test_ranges_share_out_all_pairs(teacher):
    rows = align_by_range(teacher, teacher / 2)
    assert sum(row.alignment.n for row in rows) == len(teacher)
    assert sum(row.share for row in rows) == pytest.approx(1)
    mae = sum(row.share * row.alignment.mae for row in rows if row.alignment.n)
    assert mae == pytest.approx(align(teacher, teacher / 2).mae)


def test_scores_outside_all_ranges_are_named():
    with pytest.raises(DiscoError, match="2 of 3 teacher scores lie outside 0.0 to 1.0.*23.400"):
        align_by_range([23.4, 0.5, -0.2], [1, 1, 1], edges=[0.0, 0.5, 1.0])


@pytest.mark.parametrize("edges", [[], [0.5], [0, 0], [1, 0], [0, math.nan, 1]])
def test_edges_that_do_not_rise_are_named(edges):
    with pytest.raises(DiscoError, match="two or more numbers, each above the last"):
        align_by_range([0.5], [0.5], edges)


# Tests of the difference


def test_difference_tests_against_scipy():
    teacher, student = pairs(seed=4)
    found = difference_tests(teacher, student, resamples=500)
    expected = stats.ttest_rel(teacher, student)
    assert found.t == pytest.approx(expected.statistic)
    assert found.paired.p_t == pytest.approx(expected.pvalue)
    assert found.paired == compare(teacher, student, resamples=500)
    expected = stats.wilcoxon(teacher, student)
    assert (found.w, found.p_wilcoxon) == (expected.statistic, pytest.approx(expected.pvalue))


def test_cohens_d_by_hand():
    # Differences 1, 2, 3: mean 2, standard deviation 1; t = 2 sqrt 3. All positive: W = 0, and of
    # the 8 ways to give signs two are as far from the middle.
    found = difference_tests([2, 4, 6], [1, 2, 3], resamples=500)
    assert found.paired.cohens_d == 2.0 and found.t == pytest.approx(2 * math.sqrt(3))
    assert (found.w, found.p_wilcoxon) == (0.0, pytest.approx(2 / 8))


def test_the_reports_three_numbers_fit_each_other():
    # Its d of -3.623 over 12,269 pairs is its t of -401.29: both come from one mean and deviation.
    draw = np.random.default_rng(0)
    gap = draw.normal(size=12_269)
    gap = (gap - gap.mean()) / gap.std(ddof=1)
    teacher = np.full(12_269, 0.8)
    found = difference_tests(teacher, teacher + 0.04013 * (gap + 3.623), resamples=10)
    assert found.paired.cohens_d == pytest.approx(-3.623, abs=1e-6)
    assert found.t == pytest.approx(-401.29, abs=0.02)


def test_equal_scores_do_not_differ():
    found = difference_tests([0.1, 0.5, 0.9], [0.1, 0.5, 0.9], resamples=100)
    assert (found.t, found.w, found.p_wilcoxon) == (0.0, 0.0, 1.0)
    assert (found.paired.p_t, found.paired.cohens_d) == (1.0, 0.0)


def test_a_constant_difference_is_documented():
    found = difference_tests(np.arange(10) / 16, np.arange(10) / 16 + 0.1, resamples=100)
    assert (found.t, found.paired.p_t, found.paired.cohens_d) == (0.0, 0.0, 0.0)
    assert found.p_wilcoxon < 0.01


def test_one_pair_cannot_be_tested():
    with pytest.raises(DiscoError, match="at least two"):
        difference_tests([0.5], [0.6])


# Restriction of range


def test_restricted_pearson_by_hand():
    # r = 0.6, u = 0.5: 0.3 / sqrt(1 - 0.36 + 0.09).
    assert restricted_pearson(0.6, 0.5) == pytest.approx(0.3 / math.sqrt(0.73))
    assert restricted_pearson(0.6, 1.0) == pytest.approx(0.6)
    assert restricted_pearson(1.0, 0.1) == pytest.approx(1.0)
    assert restricted_pearson(-0.6, 0.5) == -restricted_pearson(0.6, 0.5)


def test_restricted_pearson_foretells_what_selection_does():
    draw = np.random.default_rng(0)
    teacher = draw.normal(0.67, 0.12, 100_000)
    student = teacher + draw.normal(0, 0.12, 100_000)
    chosen = teacher >= np.quantile(teacher, 0.8)
    ratio = teacher[chosen].std() / teacher.std()
    measured = pearson(teacher[chosen], student[chosen])
    assert measured < 0.5 < pearson(teacher, student)
    assert restricted_pearson(pearson(teacher, student), ratio) == pytest.approx(measured, abs=0.02)


@settings(deadline=None, max_examples=50)
@given(st.floats(-1, 1), st.floats(0.01, 1))
def test_a_narrower_range_never_raises_r(r, ratio):
    assert abs(restricted_pearson(r, ratio)) <= abs(r) + 1e-12


@pytest.mark.parametrize(
    ("r", "ratio"), [(1.1, 1), (math.nan, 1), (0.5, 0), (0.5, -1), (0.5, math.inf), (0, math.nan)]
)
def test_what_is_no_correlation_or_ratio_is_named(r, ratio):
    with pytest.raises(DiscoError, match=r"r lies in \[-1, 1\], the ratio above 0"):
        restricted_pearson(r, ratio)


# Intervals


def test_paired_interval_against_fishers():
    teacher, student = pairs(400, noise=0.1)
    low, high = paired_interval(pearson, teacher, student, resamples=2000)
    expected = stats.pearsonr(teacher, student).confidence_interval()
    assert (low, high) == pytest.approx(tuple(expected), abs=0.03)
    assert paired_interval(pearson, teacher, student, resamples=2000) == (low, high)
    inner = paired_interval(pearson, teacher, student, resamples=2000, level=0.5)
    assert low < inner[0] < inner[1] < high


def test_draws_without_a_correlation_do_not_count():
    # Of two pairs, half of the draws are one pair twice.
    assert paired_interval(pearson, [0.1, 0.2], [0.3, 0.5]) == pytest.approx((1.0, 1.0))
    assert all(math.isnan(bound) for bound in paired_interval(pearson, [0.1, 0.2], [0.3, 0.3]))


def test_one_resample_is_no_interval():
    with pytest.raises(DiscoError, match="resamples is 1"):
        paired_interval(pearson, [0.1, 0.2], [0.3, 0.5], resamples=1)
