import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.selection import (
    MEASURES,
    RULES,
    DeviationRule,
    PercentileRule,
    RandomRule,
    StratifiedRule,
    Summary,
    UncertaintyRule,
    rule_from_dict,
    select,
    uncertainty,
)

SCORES = arrays(np.float64, st.integers(2, 40), elements=st.sampled_from(np.linspace(0, 1, 21)))
SCORE_RULES = [
    {"kind": "none"},
    *({"kind": "percentile", "percentile": p} for p in (60, 75, 80, 85, 90)),
    {"kind": "deviations", "deviations": 0.5},
    {"kind": "deviations", "deviations": 1.0},
    {"kind": "random", "share": 0.3},
    {"kind": "stratified", "share": 0.3, "bands": 4},
]


def teacher_scores(n=1000, seed=0):
    return np.random.default_rng(seed).normal(0.67, 0.12, n).clip(-1, 1)


# Thresholds


@pytest.mark.parametrize(("percentile", "pairs"), [(75, 15_336), (80, 12_269), (85, 9_202)])
def test_percentiles_keep_as_many_of_61344_pairs_as_the_report(percentile, pairs):
    scores = np.random.default_rng(0).permutation(61_344) / 61_344
    found = select(scores, PercentileRule(percentile))
    assert len(found.kept) == found.after.n == pairs


def test_percentile_by_hand():
    found = select([0.5, 0.1, 0.9, 0.3, 0.7], {"kind": "percentile", "percentile": 75})
    # Sorted 0.1 0.3 0.5 0.7 0.9: the 75th percentile is 0.7, which is kept itself.
    assert found.threshold == pytest.approx(0.7)
    assert found.kept.tolist() == [2, 4] and found.kept.dtype == np.int64
    assert found.share == pytest.approx(2 / 5)
    assert found.after == Summary(2, *map(pytest.approx, (0.8, 0.1, 0.8, 0.7, 0.9)))
    assert found.before.mean == pytest.approx(0.5) and found.before.median == 0.5


def test_deviations_by_hand():
    # Mean 0.5, std sqrt(0.4 / 5) = 0.2828: thresholds 0.6414 and 0.7828.
    scores = [0.5, 0.1, 0.9, 0.3, 0.7]
    half, one = (select(scores, DeviationRule(d)) for d in (0.5, 1.0))
    assert half.threshold == pytest.approx(0.5 + 0.5 * math.sqrt(0.08))
    assert half.kept.tolist() == [2, 4] and one.kept.tolist() == [2]


def test_pairs_that_tie_with_the_percentile_are_all_kept():
    found = select([0.1, 0.8, 0.8, 0.8, 0.8], PercentileRule(80))
    assert found.kept.tolist() == [1, 2, 3, 4] and found.share == 0.8


def test_deviations_below_the_mean():
    found = select([0.0, 1.0, 1.0, 1.0], DeviationRule(-1.0))
    assert found.kept.tolist() == [1, 2, 3]


def test_a_threshold_that_keeps_nothing_is_named_with_the_numbers():
    with pytest.raises(DiscoError) as caught:
        select([1.0, 1.0, 1.0, 0.0], DeviationRule(1.0))
    # 0.75 + sqrt(3) / 4
    assert "selection deviations: none of 4 pairs is kept at threshold 1.1830" in str(caught.value)
    assert "0.0000 to 1.0000" in str(caught.value)


@pytest.mark.parametrize("rule", [PercentileRule(80), DeviationRule(0.5)])
@pytest.mark.parametrize("scores", [[0.1] * 3, [0.0] * 5, [0.7]])
def test_a_threshold_asked_of_constant_scores_is_named(rule, scores):
    with pytest.raises(DiscoError, match=f"all {len(scores)} scores are.*no threshold"):
        select(scores, rule)


# Without a threshold


def test_none_keeps_all():
    found = select([0.3, 0.3, 0.3], {"kind": "none"})
    assert found.kept.tolist() == [0, 1, 2] and found.share == 1.0
    assert math.isnan(found.threshold) and found.before == found.after


def test_random_is_a_share_of_any_scores():
    scores = teacher_scores()
    found = select(scores, RandomRule(0.25), seed=1)
    assert len(found.kept) == 250
    assert found.after.mean == pytest.approx(found.before.mean, abs=0.02)
    assert (select(scores, RandomRule(0.25), seed=1).kept == found.kept).all()
    assert (select(scores, RandomRule(0.25), seed=2).kept != found.kept).any()
    assert len(select([0.5] * 10, RandomRule(0.3)).kept) == 3


def test_stratified_spreads_over_the_bands():
    scores = np.concatenate([np.linspace(0, 0.1, 900), np.linspace(0.9, 1.0, 90), [0.5] * 10])
    found = select(scores, StratifiedRule(share=0.09, bands=3))
    bands = found.bands(np.array([0, 1 / 3, 2 / 3, 1]))
    assert [pairs for _, _, pairs, _ in bands] == [900, 10, 90]
    # 90 wanted, 30 a band: the middle one has 10 only, the others share its 20.
    assert [kept for *_, kept in bands] == [40, 10, 40]


def test_stratified_of_constant_scores_is_random():
    found = select([0.7] * 50, StratifiedRule(share=0.2, bands=5))
    assert len(found.kept) == 10


@pytest.mark.parametrize("rule", [RandomRule(0.0), StratifiedRule(share=0.01)])
def test_a_share_of_no_pair_is_named(rule):
    with pytest.raises(DiscoError, match="none of 10 pairs is kept; what it looks at lies in 0.0"):
        select(np.arange(10) / 10, rule)


# Uncertainty


def test_uncertainty_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4).
    scores = np.array([[math.log(3), 0.0], [5.0, 5.0], [1000.0, -1000.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert uncertainty(scores) == pytest.approx([entropy, 1.0, 0.0])
    assert uncertainty(scores, "margin") == pytest.approx([0.5, 1.0, 0.0])
    # T = 2 takes the root of the odds.
    share = math.sqrt(3) / (1 + math.sqrt(3))
    assert uncertainty(scores, "margin", 2.0)[0] == pytest.approx(1 - (2 * share - 1))


def test_entropy_against_scipy():
    scores = np.random.default_rng(0).normal(size=(9, 5))
    shares = np.exp(scores * 4) / np.exp(scores * 4).sum(axis=1, keepdims=True)
    expected = stats.entropy(shares, axis=1) / math.log(5)
    assert uncertainty(scores, temperature=0.25) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.float64, (4, 5), elements=st.floats(-30, 30)),
    st.sampled_from(MEASURES),
    st.floats(0.01, 5),
    st.permutations(range(5)),
)
def test_uncertainty_lies_in_0_to_1_and_knows_no_order(scores, measure, temperature, order):
    found = uncertainty(scores, measure, temperature)
    assert ((found >= 0) & (found <= 1)).all()
    assert uncertainty(scores[:, order], measure, temperature) == pytest.approx(found)
    assert uncertainty(scores + 3.0, measure, temperature) == pytest.approx(found, abs=1e-6)


def test_cosines_at_temperature_1_leave_nothing_to_choose():
    cosines = np.random.default_rng(0).uniform(0.1, 0.9, (100, 16))
    assert uncertainty(cosines).min() > 0.97
    assert np.ptp(uncertainty(cosines, temperature=0.05)) > 0.5


def test_uncertainty_rule_keeps_above_or_below():
    scores = np.array([[5.0, 0.0], [0.1, 0.0], [1.0, 1.0]])
    above, below = (select(scores, UncertaintyRule(0.5, keep=keep)) for keep in ("above", "below"))
    assert above.kept.tolist() == [1, 2] and below.kept.tolist() == [0]
    assert above.threshold == 0.5
    assert above.values == pytest.approx(uncertainty(scores))
    assert above.before.n == 3 and below.after.high < 0.5


def test_one_query_is_enough():
    assert select([[0.2, 0.2, 0.2]], UncertaintyRule(0.9)).kept.tolist() == [0]
    with pytest.raises(DiscoError, match="selection uncertainty: none of 1 pairs.*1.0000 to 1.0"):
        select([[0.2, 0.2, 0.2]], UncertaintyRule(0.9, keep="below"))


@pytest.mark.parametrize("scores", [[0.1, 0.2], [[0.1], [0.2]], [[[0.1, 0.2]]]])
def test_uncertainty_needs_a_choice(scores):
    for found in (uncertainty, lambda s: select(s, UncertaintyRule())):
        with pytest.raises(DiscoError, match="2 or more documents a query"):
            found(scores)


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf, "1", None])
def test_a_temperature_that_is_not_above_0_is_named(temperature):
    with pytest.raises(DiscoError, match="temperature is"):
        uncertainty([[0.1, 0.2]], temperature=temperature)


def test_an_unknown_measure_is_named():
    with pytest.raises(DiscoError, match="measure 'variance'; there are: entropy, margin"):
        uncertainty([[0.1, 0.2]], "variance")


# Any rule


@pytest.mark.parametrize("rule", SCORE_RULES, ids=lambda r: "-".join(map(str, r.values())))
@settings(deadline=None, max_examples=30)
@given(scores=SCORES)
def test_what_is_kept_is_in_order_and_reported(rule, scores):
    try:
        found = select(scores, rule, seed=3)
    except DiscoError as error:
        assert "none of" in str(error) or "no threshold" in str(error)
        return
    assert (np.diff(found.kept) > 0).all() and 0 < len(found.kept) <= len(scores)
    assert found.before == Summary.of(scores) and found.after == Summary.of(scores[found.kept])
    assert (select(scores, rule, seed=3).kept == found.kept).all()
    if not math.isnan(found.threshold):
        left = np.delete(scores, found.kept)
        assert scores[found.kept].min() >= found.threshold
        assert not len(left) or left.max() < found.threshold
    counts = found.bands(np.array([0, 0.25, 0.5, 0.75, 1]))
    assert sum(pairs for _, _, pairs, _ in counts) == len(scores)
    assert sum(kept for *_, kept in counts) == len(found.kept)


@settings(deadline=None, max_examples=30)
@given(SCORES, st.floats(0, 100), st.floats(0, 100))
def test_a_higher_percentile_keeps_a_part_of_what_a_lower_one_keeps(scores, a, b):
    if np.ptp(scores) == 0:
        return
    low, high = (set(select(scores, PercentileRule(p)).kept) for p in sorted((a, b)))
    assert high <= low


@pytest.mark.parametrize("kind", sorted(RULES))
def test_rules_there_and_back(kind):
    rule = RULES[kind]()
    assert rule_from_dict(rule.to_dict()) == rule
    assert rule_from_dict({"kind": kind}) == rule


@pytest.mark.parametrize("kind", sorted(set(RULES) - {"uncertainty"}))
def test_a_matrix_for_a_rule_of_single_scores_is_named(kind):
    with pytest.raises(DiscoError, match=rf"selection {kind}: scores of shape \(2, 2\)"):
        select([[0.1, 0.2], [0.3, 0.4]], {"kind": kind})


@pytest.mark.parametrize("kind", sorted(RULES))
def test_scores_that_are_none_or_no_numbers_are_named(kind):
    with pytest.raises(DiscoError, match="No scores to select from"):
        select([], {"kind": kind})
    with pytest.raises(DiscoError, match="1 of 2 teacher scores are no finite numbers"):
        select([0.1, math.nan], {"kind": kind})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "no kind None; there are: none, percentile"),
        ({"kind": "top"}, "no kind 'top'"),
        ({"kind": ["none"]}, "no kind"),
        ({"kind": "percentile", "share": 0.2}, "no setting 'share'; there are: percentile, kind"),
        ({"kind": "percentile", "percentile": 101}, "percentile is 101; give a number from 0"),
        ({"kind": "percentile", "percentile": "80"}, "percentile is '80'"),
        ({"kind": "percentile", "percentile": True}, "percentile is True"),
        ({"kind": "deviations", "deviations": math.nan}, "deviations is nan; give a number"),
        ({"kind": "random", "share": 1.5}, "share is 1.5"),
        ({"kind": "stratified", "share": -0.1}, "share is -0.1"),
        ({"kind": "stratified", "bands": 0}, "bands is 0"),
        ({"kind": "stratified", "bands": 2.5}, "'bands' is 2.5; give a whole number"),
        ({"kind": "uncertainty", "threshold": 2}, "threshold is 2"),
        ({"kind": "uncertainty", "keep": "over"}, "keep 'over'; allowed"),
        ({"kind": "uncertainty", "measure": "variance"}, "measure 'variance'"),
        ({"kind": "uncertainty", "temperature": 0}, "temperature is 0"),
    ],
)
def test_rules_that_cannot_be_are_named(values, problem):
    with pytest.raises(DiscoError, match=problem):
        select([0.1, 0.2, 0.3], values)


def test_the_summary_of_nothing_is_nan():
    found = Summary.of(np.array([]))
    assert found.n == 0 and all(map(math.isnan, (found.mean, found.std, found.median, found.low)))
