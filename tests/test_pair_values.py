import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from disco_lib.errors import DiscoError
from disco_lib.pair_values import PAIR_MEASURES, pair_values


@pytest.fixture
def scores():
    rng = np.random.default_rng(3)
    teacher = rng.normal(size=400)
    return teacher, 0.6 * teacher + rng.normal(size=400)


def test_the_mean_of_the_values_is_the_measure(scores):
    teacher, student = scores
    values = pair_values(teacher, student)
    assert tuple(values) == PAIR_MEASURES
    threshold = np.median(teacher)
    expected = {
        "MAE": np.abs(teacher - student).mean(),
        "bias": (student - teacher).mean(),
        "Pearson": stats.pearsonr(teacher, student).statistic,
        "F1": f1_score(teacher >= threshold, student >= threshold),
    }
    for name, value in expected.items():
        assert values[name].mean() == pytest.approx(value, abs=1e-12)


def test_their_spread_is_that_of_the_measure_over_samples():
    # The error of r by its influence function against that over many samples.
    rng = np.random.default_rng(4)
    found, spread = [], []
    for _ in range(300):
        teacher = rng.normal(size=300)
        values = pair_values(teacher, 0.5 * teacher + rng.normal(size=300))
        found.append([values[name].mean() for name in ("Pearson", "F1")])
        spread.append([values[name].std() / np.sqrt(300) for name in ("Pearson", "F1")])
    np.testing.assert_allclose(np.mean(spread, axis=0), np.std(found, axis=0), rtol=0.2)


def test_a_perfect_student_has_the_same_values_everywhere(scores):
    teacher, _ = scores
    values = pair_values(teacher, teacher)
    np.testing.assert_allclose(values["Pearson"], 1)
    np.testing.assert_allclose(values["F1"], 1)
    assert not values["MAE"].any()


def test_a_student_that_does_not_vary_has_no_correlation():
    values = pair_values(np.array([0.1, 0.5, 0.9]), np.full(3, 0.99))
    assert not values["Pearson"].any()
    assert values["F1"].mean() == pytest.approx(2 * 2 / (2 * 2 + 1))


def test_nothing_relevant_and_nothing_predicted_is_no_hit():
    assert not pair_values(np.zeros(3), np.zeros(3), threshold=0.5)["F1"].any()


def test_lists_of_other_lengths_are_an_error():
    with pytest.raises(DiscoError, match="one score a pair"):
        pair_values(np.zeros(3), np.zeros(2))
