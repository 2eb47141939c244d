"""The KL to the teacher from records: means, pairs, and records that do not hold it."""

import numpy as np
import pytest

from disco_lib.errors import DiscoError
from disco_lib.held_out_kl import NOT_MEASURED, kl_by_turn, kl_differences, kl_point, kl_rows
from disco_lib.plots import Point
from disco_lib.records import Record, intervals
from disco_lib.significance import compare

TURNS = [f"t{i}" for i in range(30)]
FAR = np.random.default_rng(3).uniform(0.5, 1.5, (2, 30))


def record(name, seeds, turns=TURNS):
    """A record whose seeds have these KLs (seeds, turns); None for a seed without any."""
    values = {str(i): {"MRR": [0.5] * len(turns)} for i in range(1, len(seeds) + 1)}
    costs = {
        str(i): {} if own is None else {"kl": [None if np.isnan(x) else float(x) for x in own]}
        for i, own in enumerate(seeds, 1)
    }
    return Record(
        "t", name, name, {}, "x", list(turns), values, {}, {}, intervals(values), {},
        turn_costs=costs,
    )  # fmt: skip


def with_gap(values):
    values = values.copy()
    values[:, 4] = np.nan
    return values


def test_the_mean_over_seeds_of_the_turns_that_have_a_teacher():
    found = kl_by_turn(record("a", with_gap(FAR)))
    assert list(found) == [turn for turn in TURNS if turn != "t4"]
    assert found["t7"] == pytest.approx(FAR[:, 7].mean())
    point = kl_point(record("a", with_gap(FAR)), x=2)
    kept = np.delete(FAR, 4, axis=1).mean(axis=0)
    assert point.value == pytest.approx(kept.mean()) and point.x == 2
    assert point.low < point.value < point.high


@pytest.mark.parametrize("seeds", [[None, None], [FAR[0], None], FAR * np.nan])
def test_a_record_without_it_has_none(seeds):
    lacking = record("a", list(seeds))
    assert kl_by_turn(lacking) is None and kl_point(lacking) is None


def test_differences_are_paired_on_shared_turns_and_corrected():
    noise = np.random.default_rng(4).normal(0, 0.05, 30)
    given = {
        "base": record("base", FAR),
        "far": record("far", with_gap(FAR + 0.03 + noise)),
        "old": record("old", [None]),
    }
    base, far, old = kl_rows(given, "base", "w", digits=2)
    assert list(base) == list(far) == ["w", "KL (nats)", "difference", "p"]
    assert base["difference"] == "" and base["KL (nats)"].startswith(f"{FAR.mean():.2f} [")
    test = compare(
        np.delete((FAR + 0.03 + noise).mean(axis=0), 4), np.delete(FAR.mean(axis=0), 4),
        comparisons=2,
    )  # fmt: skip
    assert far["difference"].startswith(f"{test.difference:+.2f} [")
    assert float(far["p"]) == pytest.approx(test.p_t, abs=5e-4)
    assert old == {"w": "old", "KL (nats)": NOT_MEASURED, "difference": "", "p": ""}


def test_a_base_without_it_leaves_the_differences_blank():
    given = {"base": record("base", [None]), "far": record("far", FAR)}
    assert [row["p"] for row in kl_rows(given, "base", "w")] == ["", ""]
    with pytest.raises(DiscoError, match="No record of 'none'; there are: base, far"):
        kl_rows(given, "none", "w")


def test_points_of_differences_are_those_of_the_rows():
    far = FAR + np.random.default_rng(4).normal(0.1, 0.05, 30)
    given = {"base": record("base", FAR), "far": record("far", far), "old": record("old", [None])}
    found = kl_differences(given, "base")
    assert list(found) == ["base", "far"] and found["base"] == Point(0.0, 0.0, 0.0)
    test = compare(far.mean(axis=0), FAR.mean(axis=0))
    assert found["far"] == Point(test.difference, test.low, test.high)
    assert kl_differences(given, "old") == {}
    with pytest.raises(DiscoError, match="No record of 'none'"):
        kl_differences(given, "none")
