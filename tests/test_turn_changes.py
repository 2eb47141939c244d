"""Which turns change: counts, ranks from records, and groups by rank without regression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from disco_lib import turn_changes
from disco_lib.depth import Place, Series
from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals
from disco_lib.significance import compare


def record(name, ranks, turns=None):
    """A record of these ranks (seeds, turns) of the first relevant passage; inf: not found."""
    values = {}
    for seed, own in enumerate(np.atleast_2d(ranks), 1):
        mrr = [0.0 if np.isinf(r) else round(1 / r, 6) for r in own]
        values[str(seed)] = {"MRR": mrr, "MRR@10": [x if x >= 0.1 else 0.0 for x in mrr]}
    turns = turns or [f"t{i}" for i in range(len(mrr))]
    return Record("t", name, name, {}, "x", turns, values, {}, {}, intervals(values), {})


def series(values):
    turns = [f"t{i}" for i in range(len(values))]
    return Series(turns, [Place("c", i + 1) for i in range(len(values))], np.array(values))


# Counts


def test_turns_that_gain_lose_and_stay_are_counted():
    found = turn_changes.tally_table(
        {"one": series([0.5, 0.1, -0.2, 0.0]), "none": series([0.0, 0.0])}, "w", digits=2
    ).frame
    one, none = found.to_dict("records")
    assert (one["w"], one["gain"], one["lose"]) == ("one", "2 of 4", "1")
    assert (one["mean gain"], one["mean loss"]) == ("+0.30", "-0.20")
    assert (none["gain"], none["lose"]) == ("0 of 2", "0")
    assert none["mean gain"] == none["mean loss"] == ""
    assert none["p (sign test)"] == "1.000"


def test_the_sign_test_is_corrected_for_the_rows():
    many = series([0.1] * 14 + [-0.1] * 4)
    once = turn_changes.tally_table({"a": many}, "w").frame["p (sign test)"][0]
    twice = turn_changes.tally_table({"a": many, "b": many}, "w").frame["p (sign test)"][0]
    p = stats.binomtest(14, 18).pvalue
    assert (float(once), float(twice)) == pytest.approx((p, 2 * p), abs=5e-4)


def test_the_turns_that_change_most():
    values = series([0.1, -0.3, 0.0, 0.4, 0.1, -0.1])
    assert turn_changes.most_changed(values, 2) == (["t3", "t0"], ["t1", "t5"])
    assert turn_changes.most_changed(values, 9) == (["t3", "t0", "t4"], ["t1", "t5"])
    assert turn_changes.most_changed(series([0.0]), 1) == ([], [])
    with pytest.raises(DiscoError, match="count is 0"):
        turn_changes.most_changed(values, 0)


# Ranks


def test_every_rank_of_a_ranking_comes_back_from_its_record():
    ranks = np.append(np.arange(1.0, 1001.0), np.inf)
    assert (turn_changes.first_ranks(record("a", ranks))[0] == ranks).all()


def test_ranks_of_a_turn_seed_by_seed():
    given = {"w 0": record("a", [[1, 3], [2, np.inf]]), "w 1": record("b", [[7, 8]])}
    first, second = turn_changes.rank_rows(given, "t1", "student")
    assert first == {"student": "w 0", "rank, seed by seed": "3, not found"}
    assert second["rank, seed by seed"] == "8"
    with pytest.raises(DiscoError, match="a has no turn 'x'"):
        turn_changes.rank_rows(given, "x", "student")


def test_a_record_without_mrr_has_no_ranks():
    bare = record("a", [[1.0, 2.0]])
    for metrics in bare.values.values():
        del metrics["MRR"]
    with pytest.raises(DiscoError, match="a has no MRR"):
        turn_changes.first_ranks(bare)
    with pytest.raises(DiscoError, match="b has no R@10"):
        b = record("b", [[1.0, 2.0]])
        turn_changes.by_rank_elsewhere(b, b, b, "R@10")


# Groups by rank


def test_groups_by_another_systems_rank():
    judge = record("teacher", [1, 1, 1, 2, 3, 3, 50, 60, 500, np.inf])
    b = record("b", [[2] * 10, [2] * 10])
    a = record("a", [[1, 2, 1, 2, 2, 2, 4, 4, 2, 2]] * 2)
    found = turn_changes.by_rank_elsewhere(a, b, judge, "MRR")
    assert [(g.name, g.turns) for g in found] == [
        ("1", 3), ("2 to 3", 3), ("11 to 100", 2), ("101 or more", 2),
    ]  # fmt: skip
    assert [g.difference for g in found] == pytest.approx([1 / 3, 0, -0.25, 0])
    test = compare(np.array([0.5, 0.0, 0.5]), np.zeros(3), comparisons=4)
    assert (found[0].p, found[0].low, found[0].high) == (test.p_t, test.low, test.high)
    assert found[0].at(2).x == 2 and found[0].at(2).value == found[0].difference
    rows = turn_changes.rank_table(found, "rank").frame
    assert rows["turns"].tolist() == [3, 3, 2, 2]
    assert rows["difference"][2].startswith("-0.250 [")


def test_only_turns_that_all_have_count():
    judge = record("teacher", [1, 1, 1], ["t2", "t0", "x"])
    a, b = record("a", [1, 5, 2]), record("b", [2, 7, 4])
    (group,) = turn_changes.by_rank_elsewhere(a, b, judge, "MRR")
    assert (group.turns, group.difference) == (2, pytest.approx((0.5 + 0.25) / 2))
    with pytest.raises(DiscoError, match="a and b and y share no turn"):
        turn_changes.by_rank_elsewhere(a, b, record("y", [1], ["x"]), "MRR")


def test_the_seed_that_groups_does_not_count_in_the_difference():
    b = record("b", [[1, 1, 100, 100], [4, 4, 4, 4]])
    a = record("a", [[1, 1, 100, 100], [2, 2, 2, 2]])
    found = {g.name: g for g in turn_changes.by_own_rank(a, b, "MRR")}
    # Seed 1 groups and says of itself nothing; seed 2 differs by 1/2 - 1/4.
    assert [(g.name, g.turns) for g in found.values()] == [("1", 2), ("11 to 100", 2)]
    assert found["1"].difference == found["11 to 100"].difference == pytest.approx(0.25)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_noise_alone_gains_nothing_where_the_rank_was_bad(seed):
    rng = np.random.default_rng(seed)
    ranks = rng.choice([1.0, 2.0, 6.0, 40.0], size=(3, 4000))
    others = rng.choice([1.0, 2.0, 6.0, 40.0], size=(3, 4000))
    for group in turn_changes.by_own_rank(record("a", others), record("b", ranks), "MRR"):
        assert abs(group.difference) < 0.05
    # What grouping and measuring on the same seed would show: a gain of about 0.4 where it was bad.
    bad = ranks[0] == 40
    assert (1 / others[0] - 1 / ranks[0])[bad].mean() > 0.3


def test_groups_by_own_rank_need_two_seeds_that_both_have():
    one, two = record("a", [[1, 2]]), record("b", [[1, 2], [2, 1]])
    for pair in ((one, one), (one, two), (two, one)):
        with pytest.raises(DiscoError, match="need the same seeds, two at least"):
            turn_changes.by_own_rank(*pair, "MRR")
