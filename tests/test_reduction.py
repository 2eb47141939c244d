"""What is kept for what is saved: shares, reductions, choice by cost alone, families compared."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib import reduction
from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals
from disco_lib.reduction import Outcome

BASE = np.random.default_rng(4).uniform(0.2, 1.0, 80)


def outcome(flops, kept, noise=0.0, seed=0):
    values = BASE * kept + noise * np.random.default_rng(seed).normal(size=len(BASE))
    return Outcome(flops, values)


GRID = {"0": outcome(4, 1), "0.1": outcome(3, 0.99), "1": outcome(2, 0.97), "9": outcome(1, 0.8)}


def record(name, flops, values):
    seeds = {"1": {"R@100": values}, "2": {"R@100": [1.0] * len(values)}}
    costs = {"1": {"flops": flops}, "2": {"flops": flops + 1}}
    ids = [f"t{i}" for i in range(len(values))]
    return Record("t", name, name, {}, "h", ids, seeds, {}, costs, intervals(seeds), {})


def test_outcomes_are_means_over_seeds():
    found = reduction.outcomes(
        {"a": record("a", 3, [0.0, 1.0]), "b": record("b", 1, [1.0, 1.0])}, "R@100"
    )
    assert found["a"].flops == 3.5 and found["a"].values.tolist() == [0.5, 1.0]
    assert reduction.outcomes({}, "R@100") == {}
    other = dataclasses.replace(record("b", 1, [1.0, 1.0]), turn_ids=["t1", "t0"])
    with pytest.raises(DiscoError, match="'b' is of other turns"):
        reduction.outcomes({"a": record("a", 3, [0.0, 1.0]), "b": other}, "R@100")


def test_the_choice_looks_at_costs_alone():
    assert reduction.weakest_within(GRID, "0") == "1"
    assert reduction.weakest_within(GRID, "0", 0.49) == "9"
    assert reduction.weakest_within(GRID, "0", 0.1) is None
    lost = {name: Outcome(o.flops, o.values * 0) for name, o in GRID.items()}
    assert reduction.weakest_within(lost, "0") == "1"
    with pytest.raises(DiscoError, match="No 'none' to compare with; there are: 0, 0.1, 1, 9"):
        reduction.weakest_within(GRID, "none")


def test_reductions():
    assert reduction.reduction(GRID["1"], GRID["0"]) == 2.0
    assert reduction.reduction(Outcome(0.0, BASE), GRID["0"]) == float("inf")


def test_points_lie_at_the_reduction_with_the_share_kept():
    points = reduction.kept_points(GRID, "0")
    assert [p.x for p in points.values()] == [1, 4 / 3, 2, 4]
    assert [p.value for p in points.values()] == pytest.approx([1, 0.99, 0.97, 0.8])
    assert points["0"].low == points["0"].high == 1.0


def test_a_table_tests_every_system_against_the_base():
    noisy = {**GRID, "1": outcome(2, 0.975, 0.2)}
    frame = reduction.kept_table(noisy, "0", "λ", "R@100").frame
    assert list(frame.columns) == [
        "λ", "FLOPS", "times fewer", "R@100 kept", "p (t), > 98%", "p (bootstrap)",
    ]  # fmt: skip
    assert frame["λ"].tolist() == ["0.1", "1", "9"]
    assert frame["times fewer"].tolist() == ["1.33", "2.00", "4.00"]
    assert frame["p (t), > 98%"].tolist()[0] == "<\u00a00.001"
    assert frame["p (t), > 98%"].tolist()[2] == "1.000"
    assert frame["R@100 kept"][0] == "99.0% [99.0%,\u00a099.0%]"


# Families


def test_the_same_family_twice_differs_by_nothing():
    family = list(GRID.values())
    for found in reduction.compare_kept(family, family, [1, 1.2, 2, 3, 4], resamples=50):
        assert found.difference == found.low == found.high == 0


def test_between_two_systems_the_mean_is_interpolated():
    # 2.828 = 2 * sqrt(2) is half way from 2 to 4 on the logarithmic axis.
    family, flat = list(GRID.values()), [outcome(8, 1), outcome(1, 1)]
    (found,) = reduction.compare_kept(family, flat, [2 * 2**0.5], resamples=200)
    assert found.first == pytest.approx((0.97 + 0.8) / 2) and found.second == pytest.approx(1)
    assert found.difference == pytest.approx(-0.115)
    assert found.low == pytest.approx(-0.115) and found.high == pytest.approx(-0.115)


def test_intervals_hold_the_difference_of_noisy_families():
    one = [outcome(4, 1), outcome(1, 0.9, 0.1, 1)]
    two = [outcome(6, 1), outcome(1.5, 0.8, 0.1, 2)]
    (found,) = reduction.compare_kept(one, two, [4], resamples=500)
    assert found.low < found.difference < found.high and found.high - found.low < 0.2
    assert found == reduction.compare_kept(one, two, [4], resamples=500)[0]
    (row,) = reduction.kept_difference_rows([found], "KLD", "InfoNCE")
    assert row["times fewer FLOPS"] == "4" and row["KLD"] == f"{found.first:.1%}"
    assert row["difference"].startswith(f"{found.difference:+.3f} [")


def test_reductions_that_one_family_does_not_reach_are_left_out():
    family, short = list(GRID.values()), [outcome(4, 1), outcome(2, 0.9)]
    found = reduction.compare_kept(family, short, [0.5, 1.5, 2, 3], resamples=20)
    assert [item.reduction for item in found] == [1.5, 2.0]


def test_a_system_that_costs_more_than_its_base_does_not_count():
    family = [outcome(4, 1), outcome(5, 0.2), outcome(1, 0.8)]
    (found,) = reduction.compare_kept(family, list(GRID.values()), [2], resamples=20)
    assert found.first == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ([outcome(4, 1)], "its base and one system more"),
        ([Outcome(4, BASE[:5]), Outcome(2, BASE[:5])], "other turns"),
        ([outcome(4, 0), outcome(2, 1)], "finds nothing"),
    ],
)
def test_families_that_cannot_be_compared(first, problem):
    with pytest.raises(DiscoError, match=problem):
        reduction.compare_kept(first, list(GRID.values()), [2])


# Depth


def test_bands_of_depth_by_hand():
    assert reduction.depth_bands([2] * 4 + [3] * 4 + [4] * 4) == [(2, 2), (3, 3), (4, 4)]
    assert reduction.depth_bands([1, 1, 1, 1, 9], 2) == [(1, 1), (2, 9)]
    assert reduction.depth_bands([5, 5], 3) == [(5, 5)]
    with pytest.raises(DiscoError, match="0 turns"):
        reduction.depth_bands([])
    with pytest.raises(DiscoError, match="0 bands"):
        reduction.depth_bands([1, 2], 0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 14), min_size=1, max_size=60), st.integers(1, 5))
def test_bands_hold_every_depth_once(depths, bands):
    found = reduction.depth_bands(depths, bands)
    assert len(found) <= bands
    assert found[0][0] == min(depths) and found[-1][1] == max(depths)
    assert all(b[0] == a[1] + 1 for a, b in zip(found, found[1:], strict=False))
    assert all(any(first <= d <= last for d in depths) for first, last in found)
