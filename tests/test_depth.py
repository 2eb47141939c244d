"""Series by depth: what they take from records, growth within conversations, topic switches."""

from dataclasses import replace

import numpy as np
import pytest

from disco_lib import depth
from disco_lib.conversations import Turn
from disco_lib.depth import STAYS, SWITCHES, Place, Series
from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals

KINDS = {"a": ["first", "followup", "shift", "pronoun"], "b": ["first", "shift", "return"]}
TURNS = [
    Turn(conv, f"{conv}_{i}", "?", (("u", "a"),) * (i - 1), "", {}, (), kind, {})
    for conv, kinds in KINDS.items()
    for i, kind in enumerate(kinds, start=1)
]


def record(
    system="one", values=(1, 1, 0, 0, 1, 0.5, 0), terms=(1, 2, 3, 4, 10, 20, 30), turns=TURNS
):
    given = {"MRR@10": [float(v) for v in values]}
    return Record(
        "tiny", system, system.title(), {"collection": "c"}, "hash", [t.turn_id for t in turns],
        {"1": given, "2": given}, {"1": {"MRR@10": 0.0}}, {}, intervals({"1": given}), {},
        [t.depth for t in turns], [t.conv_id for t in turns],
        {"1": {"active_terms": list(terms)}, "2": {"active_terms": [t + 2 for t in terms]}},
    )  # fmt: skip


def series(values, turns=TURNS):
    places = [Place(turn.conv_id, turn.depth) for turn in turns]
    return Series([turn.turn_id for turn in turns], places, np.array(values, dtype=float))


# From records


def test_a_series_is_the_mean_over_seeds_of_a_metric_or_a_cost():
    assert depth.series(record(), "MRR@10").values.tolist() == [1, 1, 0, 0, 1, 0.5, 0]
    found = depth.series(record(), "active_terms")
    assert found.values.tolist() == [2, 3, 4, 5, 11, 21, 31]
    assert found.turn_ids == [turn.turn_id for turn in TURNS]
    assert found.depths.tolist() == [1, 2, 3, 4, 1, 2, 3]
    assert found.counts() == {1: 2, 2: 2, 3: 2, 4: 1}


def test_a_record_from_before_depths_says_so():
    old = replace(record(), depths=[], conversations=[], turn_costs={})
    assert depth.keeps_depth(record()) and not depth.keeps_depth(old)
    assert not depth.keeps_depth(replace(record(), turn_costs={}))
    assert not depth.keeps_depth(replace(record(), turn_costs={"1": {}}))
    with pytest.raises(DiscoError, match="does not say the depth.*disco measure --tier tiny"):
        depth.series(old, "MRR@10")
    with pytest.raises(DiscoError, match="no active_terms a turn"):
        depth.series(replace(record(), turn_costs={}), "active_terms")


def test_a_difference_is_taken_on_shared_turns_in_the_order_of_the_first():
    fewer = TURNS[:1] + TURNS[3:]
    other = record("two", (0, 1, 1, 1, 1), (0, 0, 0, 0, 0), fewer)
    shuffled = replace(
        record(), turn_ids=[t.turn_id for t in TURNS[::-1]], depths=[t.depth for t in TURNS[::-1]],
        conversations=[t.conv_id for t in TURNS[::-1]],
        values={"1": {"MRR@10": [0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0]}},
    )  # fmt: skip
    found = depth.difference(shuffled, other, "MRR@10")
    assert found.turn_ids == ["b_3", "b_2", "b_1", "a_4", "a_1"]
    assert found.values.tolist() == [-1, -0.5, 0, -1, 1]
    assert found.depths.tolist() == [3, 2, 1, 4, 1]
    # A cost is subtracted as a metric is.
    costs = depth.difference(record(), other, "active_terms")
    assert costs.turn_ids == [t.turn_id for t in fewer]
    assert costs.values.tolist() == [1, 4, 10, 20, 30]


def test_records_of_tiers_are_named_and_old_ones_told():
    old = replace(record("old"), depths=[], conversations=[])
    stored = {"tiny": {"one": record(), "old": old}, "big": {"one": record()}}
    found = depth.stored_series(stored, {"first": "one", "second": "old", "x": "none"}, "MRR@10")
    assert list(found) == ["tiny: first", "big: first"]
    lines = depth.without_depth(stored, ["one", "old", "none"])
    assert lines == ["tiny: 1 of 2 records are from before depths were kept"]


# By depth


def test_by_depth_leaves_out_depths_of_few_turns():
    points = series([1, 2, 3, 9, 3, 4, 5]).by_depth(fewest=2)
    assert [(p.x, p.value) for p in points] == [(1, 2), (2, 3), (3, 4)]
    assert all(p.low <= p.value <= p.high for p in points)


def test_growth_compares_halves_of_each_conversation():
    found = series([1, 3, 5, 7, 0, 0, 9])
    late, early = found.late_and_early()
    assert late.tolist() == [6, 9] and early.tolist() == [2, 0]
    frame = depth.growth_table({"it": found, "also": found}, "terms of", digits=1).frame
    assert frame["terms of"].tolist() == ["it", "also"]
    assert frame["earlier turns"][0] == "1.0" and frame["later turns"][0] == "7.5"
    assert frame["conversations"][0] == 2
    assert frame["later minus earlier"][0].startswith("+6.5 [")


def test_survivors_are_followed_to_a_depth():
    found = depth.reaching(series([1, 2, 3, 4, 5, 6, 7]), 4)
    assert found.turn_ids == ["a_1", "a_2", "a_3", "a_4"] and found.values.tolist() == [1, 2, 3, 4]
    assert depth.reaching(series([1, 2, 3, 4, 5, 6, 7]), 2).values.tolist() == [1, 2, 5, 6]


# Topic switches


def test_what_a_turn_does_to_the_topic():
    groups = depth.switches(TURNS)
    assert groups["a_3"] == SWITCHES["shift"] and groups["b_3"] == SWITCHES["return"]
    assert groups["a_4"] == groups["a_1"] == STAYS
    assert depth.switches(TURNS[:2]) == {}
    # b_3 follows a shift too, but goes back.
    assert depth.after_a_shift(TURNS) == {"a_4"}


def test_values_by_what_the_turn_does():
    found = series([1, 2, 30, 3, 4, 50, 600])
    groups = depth.switches(TURNS)
    points = depth.by_switch(found, groups, fewest=1)
    assert list(points) == [
        f"{STAYS} (4 turns)", f"{SWITCHES['shift']} (2 turns)", f"{SWITCHES['return']} (1 turns)",
    ]  # fmt: skip
    assert [p.value for p in points.values()] == [2.5, 40, 600]
    assert len(depth.by_switch(found, groups, fewest=2)) == 2


def test_turns_that_stay_with_their_topic():
    found = depth.staying(series([1, 2, 30, 3, 4, 50, 600]), depth.switches(TURNS))
    assert found.turn_ids == ["a_1", "a_2", "a_4", "b_1"]
    assert found.values.tolist() == [1, 2, 3, 4] and found.depths.tolist() == [1, 2, 4, 1]


def test_shifts_are_compared_with_the_other_turns_of_their_conversation():
    found = series([1, 2, 30, 3, 4, 50, 6])
    frame = depth.switch_table({"it": found}, depth.switches(TURNS), "terms of", digits=1).frame
    assert frame["on shifts"][0] == "40.0" and frame["on other turns"][0] == "3.5"
    assert frame["shifts minus others"][0].startswith("+36.5 [")
    inside, outside = found.inside_and_outside(np.array([True] + [False] * 6))
    assert inside.tolist() == [1] and outside.tolist() == [35 / 3]  # b has nothing inside


def test_a_conversation_turn_by_turn():
    assert [turn.turn_id for turn in depth.most_switches(TURNS)] == ["b_1", "b_2", "b_3"]
    with pytest.raises(DiscoError, match="no turn"):
        depth.most_switches([])
    short = series([1, 2], TURNS[5:])
    tokens = {turn.turn_id: 7 * turn.depth for turn in TURNS}
    frame = depth.conversation_table(TURNS[4:], {"it": short}, tokens).frame
    assert frame["depth"].tolist() == [1, 2, 3] and frame["tokens read"].tolist() == [7, 14, 21]
    assert frame["switch"].tolist() == ["", "shift", "return"]
    assert frame["it"].tolist() == ["", "1", "2"]
