"""The smallest difference that a test finds, against the tests of many simulated experiments."""

import numpy as np
import pytest
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.power import detectable_difference


@pytest.mark.parametrize(("comparisons", "power"), [(1, 0.8), (6, 0.8), (6, 0.5)])
def test_a_difference_of_that_size_is_found_as_often_as_said(comparisons, power):
    rng = np.random.default_rng(5)
    turns = rng.normal(0, 1, 100)
    turns = turns / turns.std(ddof=1)
    effect = detectable_difference(turns, np.zeros(100), comparisons, power)
    drawn = rng.normal(effect, 1, (4000, 100))
    p = stats.ttest_1samp(drawn, 0, axis=1).pvalue * comparisons
    assert (p < 0.05).mean() == pytest.approx(power, abs=0.03)


def test_more_turns_and_fewer_comparisons_find_smaller_differences():
    a, b = np.random.default_rng(1).random((2, 400))
    found = detectable_difference(a, b)
    assert found < detectable_difference(a[:100], b[:100])
    assert found < detectable_difference(a, b, comparisons=6)
    assert found < detectable_difference(a, b, power=0.95)
    assert detectable_difference(a, b) == pytest.approx(detectable_difference(b, a))
    assert detectable_difference(a, a) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"b": np.zeros(3)}, "Two equal lists"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "Two equal lists"),
        ({"power": 1.0}, "between 0 and 1"),
        ({"alpha": 0.0}, "between 0 and 1"),
        ({"comparisons": 0}, "1 or more"),
    ],
)
def test_faults_are_named(fields, message):
    with pytest.raises(DiscoError, match=message):
        detectable_difference(**({"a": np.arange(4.0), "b": np.zeros(4)} | fields))
