"""Diminishing returns: exact curves are found again, and no gain is said to be none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals
from disco_lib.saturation import Saturation, saturation, saturation_rows, seed_values

N = (1, 2, 4, 8, 16, 32, 64, 128)
TURNS = 60
BASE = np.random.default_rng(5).uniform(0.1, 0.5, TURNS)


def along(curve, seeds=1, noise=0.0):
    """Values (seeds, turns) at every n whose mean follows curve(n), turns differing by BASE."""
    rng = np.random.default_rng(11)
    level = BASE - BASE.mean()
    return {n: curve(n) + level + noise * rng.normal(size=(seeds, TURNS)) for n in N}


# Curves that are known


@pytest.mark.parametrize(
    ("curve", "exponent", "enough"),
    [
        (lambda n: 0.3 + 0.002 * n, -1.0, 1 + 0.95 * 127),
        (lambda n: 0.3 + 0.05 * np.log(n), 0.0, 128**0.95),
        (lambda n: 0.6 - 0.3 / n, 1.0, 1 / (1 - 0.95 * 127 / 128)),
        (lambda n: 0.6 - 0.3 * n**-0.5, 0.5, (1 - 0.95 * (1 - 128**-0.5)) ** -2),
        (lambda n: 0.6 - 0.3 * n**-2.0, 2.0, (1 - 0.95 * (1 - 128**-2.0)) ** -0.5),
    ],
)
def test_exact_curves_are_found_again(curve, exponent, enough):
    found = saturation(along(curve), resamples=20)
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.gain == pytest.approx(curve(128) - curve(1)) and found.fitted
    assert found.start == pytest.approx(curve(1))
    assert found.enough == pytest.approx(enough, rel=1e-6)
    assert found.at(np.array(N)) == pytest.approx([curve(n) for n in N])
    # What all n share leaves no doubt.
    assert found.gain_interval == pytest.approx((found.gain, found.gain))
    assert found.rising == 1.0


@given(exponent=st.floats(-1, 4), gain=st.floats(0.01, 1), share=st.floats(0.05, 0.99))
@settings(max_examples=50, deadline=None)
def test_enough_is_where_the_share_of_the_gain_is_reached(exponent, gain, share):
    interval = (gain, gain)
    curve = Saturation(1, 128, 0.2, gain, exponent, 0, interval, interval, interval, 1.0, share)
    from disco_lib.saturation import _enough

    enough = _enough(share, np.array([exponent]), 1, 128)
    assert 1 <= enough[0] <= 128
    assert curve.at(enough)[0] == pytest.approx(0.2 + share * gain, rel=1e-6)
    assert curve.at(np.array([1, 128])) == pytest.approx([0.2, 0.2 + gain])


def test_a_larger_exponent_needs_fewer_samples():
    curves = [lambda n, c=c: -(n ** -float(c)) for c in (0.25, 0.5, 1, 2)]
    enough = [saturation(along(curve), resamples=5).enough for curve in curves]
    assert enough == sorted(enough, reverse=True)


# No gain


def test_a_flat_and_a_falling_curve_have_no_gain():
    flat = saturation(along(lambda n: 0.3, seeds=3, noise=0.05), resamples=400)
    assert not flat.fitted and flat.gain_interval[0] < 0 < flat.gain_interval[1]
    assert 0.02 < flat.rising < 0.98
    falling = saturation(along(lambda n: 0.6 - 0.05 * np.log(n)), resamples=20)
    assert not falling.fitted and falling.rising == 0.0 and falling.gain < 0
    assert np.isnan(falling.enough) and np.isnan(falling.enough_interval).all()
    rows = saturation_rows({"flat": flat, "falling": falling}, "metric")
    assert [row["95% of the gain at"] for row in rows] == ["no gain can be fitted"] * 2
    assert rows[1]["resamples that rise"] == "0%"


def test_a_row_has_the_numbers_with_their_intervals():
    found = saturation(along(lambda n: 0.6 - 0.3 / n, seeds=3, noise=0.02), resamples=200)
    (row,) = saturation_rows({"MRR@10": found}, "metric")
    assert list(row) == [
        "metric", "gain, 1 to 128", "exponent c", "resamples that rise", "95% of the gain at",
    ]  # fmt: skip
    assert row["metric"] == "MRR@10" and row["gain, 1 to 128"].startswith("+0.2")
    low, high = found.enough_interval
    assert low < found.enough < high and low <= 17.7 <= high
    assert row["95% of the gain at"] == f"{found.enough:.0f} [{low:.0f}, {high:.0f}]"


# Resampling


def test_intervals_grow_with_the_noise_and_repeat():
    def of(noise):
        return saturation(along(lambda n: 0.6 - 0.3 / n, 3, noise), resamples=300)

    quiet, loud = of(0.01), of(0.1)
    width = [high - low for low, high in (quiet.gain_interval, loud.gain_interval)]
    assert 0 < width[0] < width[1]
    assert of(0.1) == loud


def test_differences_between_seeds_count():
    # Every turn of a seed is shifted alike: over turns alone there would be no spread.
    shift = np.array([[-0.1], [0.0], [0.1]])
    values = {n: 0.6 - 0.3 / n + shift + np.zeros((3, TURNS)) for n in N}
    found = saturation(values, resamples=300)
    low, high = found.gain_interval
    assert low < found.gain - 0.01 and high > found.gain + 0.01


def test_values_of_a_record():
    values = {"1": {"MRR": [1.0, 0.5]}, "2": {"MRR": [0.0, 0.5]}}
    record = Record(
        "t", "s", "S", {}, "h", ["a", "b"], values, {}, {"1": {}, "2": {}}, intervals(values), {}
    )
    assert seed_values(record, "MRR").tolist() == [[1.0, 0.5], [0.0, 0.5]]
    with pytest.raises(DiscoError, match="record of s on t has no R@10"):
        seed_values(record, "R@10")


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        ({n: None for n in N[3:]}, {}, "needs 4 numbers"),
        ({0: np.zeros((1, TURNS))}, {}, "0 samples: the curve begins at 1"),
        ({8: np.zeros((1, TURNS + 1))}, {}, r"of the same turns, not .*8: \(1, 61\)"),
        ({8: np.zeros(TURNS)}, {}, r"8: \(60,\)"),
        ({8: np.zeros((0, TURNS))}, {}, r"8: \(0, 60\)"),
        ({}, {"share": 1.0}, "share 1.0 must lie between"),
        ({}, {"share": 0.0}, "share 0.0 must lie between"),
        ({}, {"resamples": 1}, "resamples 1 above 1"),
    ],
)
def test_what_cannot_be_fitted_is_named(changes, options, problem):
    values = {**along(lambda n: 0.3), **changes}
    values = {n: table for n, table in values.items() if table is not None}
    with pytest.raises(DiscoError, match=problem):
        saturation(values, **options)
