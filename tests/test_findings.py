"""Comparisons by depth, of growth and against a bound, on records whose effect is known."""

import dataclasses

import numpy as np
import pytest

from disco_lib.claims import NOT, NOT_RUN, PARTLY, REPRODUCED, judge
from disco_lib.errors import DiscoError
from disco_lib.findings import weigh
from disco_lib.papers import Claim, Comparison
from disco_lib.records import Record, intervals
from disco_lib.sides import NotMeasured, paired_values
from disco_lib.significance import compare

CONVERSATIONS, LENGTH = 40, 8
TURNS = CONVERSATIONS * LENGTH
DEPTHS = np.tile(np.arange(1, LENGTH + 1), CONVERSATIONS)
IDS = [f"c{i // LENGTH}_{i % LENGTH + 1}" for i in range(TURNS)]
LATE = DEPTHS > LENGTH // 2
BASE = np.random.default_rng(7).uniform(0.2, 0.6, TURNS)


def noise(seed, scale=0.1):
    """Values (turns,) whose mean is exactly 0 at every depth, so no depth favours a side."""
    values = np.random.default_rng(seed).normal(0, scale, (CONVERSATIONS, LENGTH))
    return (values - values.mean(axis=0)).ravel()


def make(system, *seeds, terms=None, costs=None):
    """A record of MRR (seeds, turns) and, where given, of active terms (turns,) on every seed."""
    names = ["-"] if len(seeds) == 1 else [str(i) for i in range(1, len(seeds) + 1)]
    values = {n: {"MRR": [float(x) for x in v]} for n, v in zip(names, seeds, strict=True)}
    by_turn = {} if terms is None else {"active_terms": [float(x) for x in terms]}
    return Record(
        "t", system, system, {"collection": "c"}, "x", list(IDS), values, {},
        {n: costs or {} for n in names}, intervals(values), {}, DEPTHS.tolist(),
        [turn.partition("_")[0] for turn in IDS], {n: by_turn for n in names},
    )  # fmt: skip


def old(record):
    """The record as one written before depths and costs of turns were kept."""
    return dataclasses.replace(record, depths=[], conversations=[], turn_costs={})


def verdict_of(item, *found, more=()):
    claim = Claim("c-1", "p", "A statement.", "Table 1", (item, *more))
    return judge(claim, "t", {record.system: record for record in found}.get)


def only(direction, metric="MRR", margin=0.0, b="b", **fields):
    return Comparison("a", b, metric, direction, margin, **fields)


B = make("b", BASE)


# Depth


def late_gain(effect):
    """A record that gains `effect` on b in the later half of its conversations only."""
    return make("a", BASE + np.where(LATE, effect, 0.0) + noise(1))


@pytest.mark.parametrize(
    ("effect", "depth", "verdict"),
    [
        (0.1, (5, None), REPRODUCED),
        (0.1, (6, 7), REPRODUCED),
        (0.1, (None, 4), NOT),
        (-0.1, (5, None), NOT),
        (0.005, (5, None), PARTLY),
    ],
)
def test_only_turns_of_the_depths_count(effect, depth, verdict):
    a = make("a", BASE + np.where(LATE, effect, -0.01) + noise(1))
    result = verdict_of(only("greater", depth=depth), a, B)
    assert result.verdict == verdict
    first, last = depth[0] or 1, depth[1] or LENGTH
    (finding,) = result.findings
    assert finding.n == CONVERSATIONS * (last - first + 1)
    assert finding.effect == pytest.approx(effect if first > 4 else -0.01)


def test_depth_is_taken_from_either_record():
    item = only("greater", depth=(5, None))
    assert weigh(item, old(late_gain(0.1)), B) == weigh(item, late_gain(0.1), old(B))
    with pytest.raises(NotMeasured, match="does not say the depth.*disco measure --tier t"):
        weigh(item, old(late_gain(0.1)), old(B))


def test_depth_without_a_turn_is_no_test():
    with pytest.raises(NotMeasured, match="share 0 turns in 'a > b, depth from 20'"):
        weigh(only("greater", depth=(20, None)), late_gain(0.1), B)


def test_depth_is_of_the_turn_where_records_hold_other_turns():
    order = np.random.default_rng(3).permutation(TURNS)[: TURNS // 2]
    part = dataclasses.replace(
        old(B), turn_ids=[IDS[i] for i in order], values={"-": {"MRR": BASE[order].tolist()}}
    )
    finding = weigh(only("greater", depth=(5, None)), late_gain(0.1), part)
    assert finding.n == int(LATE[order].sum())
    assert finding.effect == pytest.approx(0.1, abs=0.03)


# Growth


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (0.1, "greater", REPRODUCED),
        (0.1, "less", NOT),
        (-0.1, "less", REPRODUCED),
        (-0.1, "greater", NOT),
        (0.005, "greater", PARTLY),
        (0.0, "greater", NOT),
    ],
)
def test_growth_of_a_difference(effect, direction, verdict):
    a = late_gain(effect) if effect else B
    a = dataclasses.replace(a, system="a")
    result = verdict_of(only(direction, growth=True), a, B)
    (finding,) = result.findings
    assert result.verdict == verdict and finding.n == CONVERSATIONS
    assert finding.effect == pytest.approx(effect)


def test_a_gain_that_is_the_same_everywhere_is_no_growth():
    a = make("a", BASE + 0.1)
    assert verdict_of(only("greater"), a, B).verdict == REPRODUCED
    result = verdict_of(only("greater", growth=True), a, B)
    assert result.verdict == NOT and result.findings[0].effect == 0.0


@pytest.mark.parametrize(
    ("effect", "verdict"), [(-0.1, REPRODUCED), (-0.005, PARTLY), (0.1, NOT), (0.0, NOT)]
)
def test_growth_of_one_system(effect, verdict):
    values = 0.4 + np.where(LATE, effect, 0.0) + (noise(2) if effect else 0.0)
    result = verdict_of(only("less", b=None, growth=True), make("a", values))
    assert result.verdict == verdict
    assert result.findings[0].effect == pytest.approx(effect, abs=1e-9)


def test_growth_is_tested_over_conversations():
    a = late_gain(0.1)
    difference = (np.array(a.values["-"]["MRR"]) - BASE).reshape(CONVERSATIONS, LENGTH)
    half = LENGTH // 2
    expected = compare(difference[:, half:].mean(axis=1), difference[:, :half].mean(axis=1))
    finding = weigh(only("greater", growth=True), a, B)
    assert finding.effect == pytest.approx(expected.difference)
    assert finding.p == pytest.approx(expected.p_t)
    # Few conversations of many turns: what looks certain over turns is not over conversations.
    wild = np.repeat(np.random.default_rng(5).normal(0, 0.4, CONVERSATIONS), LENGTH)
    shaky = make("a", BASE + np.where(LATE, 0.04 + wild, 0.0))
    assert weigh(only("greater", growth=True), shaky, B).p > 0.05


def test_growth_has_to_be_there_on_every_seed():
    steps = [np.where(LATE, effect, 0.0) + noise(i, 0.02) for i, effect in enumerate((0.2, -0.02))]
    a = make("a", *(BASE + step for step in steps))
    result = verdict_of(only("greater", growth=True), a, B)
    assert result.findings[0].p < 0.05 and result.verdict == PARTLY
    alone = make("a", *(0.5 + step for step in steps))
    assert verdict_of(only("greater", b=None, growth=True), alone).verdict == PARTLY


def test_growth_within_some_depths():
    # The gain sets in at depth 5; between 5 and 8 there is no further growth.
    item = only("greater", growth=True, depth=(5, None))
    assert weigh(item, make("a", BASE + np.where(LATE, 0.1, 0.0)), B).effect == 0.0


def test_growth_needs_conversations_of_two_turns():
    with pytest.raises(NotMeasured, match="share 0 conversations"):
        weigh(only("greater", growth=True, depth=(3, 3)), late_gain(0.1), B)


# A bound


@pytest.mark.parametrize(
    ("mean", "verdict"), [(50.0, REPRODUCED), (54.9, PARTLY), (55.0, NOT), (60.0, NOT)]
)
def test_a_mean_against_a_bound(mean, verdict):
    a = make("a", BASE, terms=mean + noise(4, 5.0))
    result = verdict_of(only("less", "active_terms", b=None, bound=55), a)
    assert result.verdict == verdict
    (finding,) = result.findings
    assert finding.effect == pytest.approx(mean - 55) and finding.n == TURNS
    assert finding.p is not None


def test_a_bound_at_some_depths():
    a = make("a", BASE, terms=40 + np.where(LATE, 30, 0) + noise(4, 5.0))
    item = only("less", "active_terms", b=None, bound=55, depth=(None, 4))
    assert verdict_of(item, a).verdict == REPRODUCED
    item = only("less", "active_terms", b=None, bound=55, depth=(5, None))
    assert verdict_of(item, a).verdict == NOT


def test_a_bound_of_0_is_a_bound():
    assert verdict_of(only("greater", b=None, bound=0), make("a", BASE)).verdict == REPRODUCED


# Not greater, not less


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        (-0.1, REPRODUCED),  # far below
        (0.0, REPRODUCED),  # as good; the interval is about 0.011 to either side
        (0.005, REPRODUCED),  # more, but surely by less than the margin
        (0.018, NOT),  # more, and perhaps by more than the margin
        (0.1, NOT),
    ],
)
def test_not_greater(effect, verdict):
    a = make("a", BASE + effect + noise(1))
    assert verdict_of(only("not greater", margin=0.02), a, B).verdict == verdict


def test_not_greater_is_not_shown_by_noise_but_points():
    unsure = make("a", BASE - 0.005 + noise(1, 0.5))
    result = verdict_of(only("not greater", margin=0.02), unsure, B)
    assert result.verdict == PARTLY and not result.findings[0].holds
    over = make("a", BASE + 0.005 + noise(1, 0.5))
    assert verdict_of(only("not greater", margin=0.02), over, B).verdict == NOT


def test_not_less_is_not_greater_turned_round():
    for effect in (-0.1, -0.018, -0.005, 0.0, 0.1):
        a = make("a", BASE + effect + noise(1))
        one = weigh(only("not less", margin=0.02), a, B)
        turned = weigh(Comparison("b", "a", "MRR", "not greater", 0.02), B, a)
        assert (one.holds, one.points) == (turned.holds, turned.points)


def test_growth_that_must_not_fall():
    item = only("not less", margin=0.05, b=None, growth=True)
    for effect, verdict in [(0.1, REPRODUCED), (0.0, REPRODUCED), (-0.1, NOT)]:
        a = make("a", 0.4 + np.where(LATE, effect, 0.0) + noise(2))
        assert verdict_of(item, a).verdict == verdict


def test_costs_of_seeds_have_margins_too():
    a, b = make("a", BASE, costs={"flops": 2.1}), make("b", BASE, costs={"flops": 2.0})
    assert verdict_of(only("not greater", "flops", 0.2), a, b).verdict == REPRODUCED
    assert verdict_of(only("not greater", "flops", 0.05), a, b).verdict == NOT
    assert verdict_of(only("not less", "flops", 0.05), a, b).verdict == REPRODUCED


# Active terms of every turn


@pytest.mark.parametrize(("growth", "verdict"), [(10.0, REPRODUCED), (0.1, PARTLY), (-10.0, NOT)])
def test_active_terms_grow(growth, verdict):
    a = make("a", BASE, terms=40 + np.where(LATE, growth, 0.0) + noise(4, 3.0))
    result = verdict_of(only("greater", "active_terms", b=None, growth=True), a)
    assert result.verdict == verdict
    assert result.findings[0].effect == pytest.approx(growth)


def test_active_terms_stay_even():
    item = only("similar", "active_terms", 3, b=None, growth=True)
    for growth, verdict in [(0.5, REPRODUCED), (2.9, PARTLY), (10.0, NOT)]:
        a = make("a", BASE, terms=40 + np.where(LATE, growth, 0.0) + noise(4, 3.0))
        assert verdict_of(item, a).verdict == verdict


def test_active_terms_at_a_depth_are_paired_by_turn():
    a = make("a", BASE, terms=30 + noise(4, 3.0))
    b = make("b", BASE, terms=30 + np.where(LATE, 5.0, -5.0) + noise(5, 3.0))
    finding = weigh(only("less", "active_terms", depth=(5, None)), a, b)
    assert finding.holds and finding.n == LATE.sum() and finding.p < 0.001
    assert finding.effect == pytest.approx(-5)
    assert not weigh(only("less", "active_terms", depth=(None, 4)), a, b).points


def test_active_terms_over_all_turns_stay_one_number_a_seed():
    costs = {"active_terms": 30.0}
    a = make("a", BASE, terms=90 + noise(4), costs=costs)
    finding = weigh(only("similar", "active_terms", 1), a, make("b", BASE, costs=costs))
    assert finding.p is None and finding.n == 1 and finding.effect == 0.0


# Records that do not hold what is asked


@pytest.mark.parametrize(
    ("item", "lack"),
    [
        (only("greater", depth=(5, None)), "the depth of its turns"),
        (only("greater", growth=True), "the depth of its turns"),
        (only("less", "active_terms", b=None, bound=55), "no active_terms a turn"),
        (only("less", "active_terms", depth=(5, None)), "the depth of its turns"),
        (only("less", "search_ms"), "no search_ms"),
    ],
)
def test_old_records_are_not_run_and_say_what_to_do(item, lack):
    a = old(make("a", BASE + 0.1, costs={"flops": 1.0, "active_terms": 9.0}))
    verdict = verdict_of(item, a, old(B))
    assert verdict.verdict == NOT_RUN and verdict.findings == ()
    assert lack in verdict.lacks and "easure" in verdict.lacks
    assert verdict.to_dict()["why"] == verdict.lacks


def test_one_comparison_that_lacks_something_leaves_the_claim_not_run():
    more = [only("greater", growth=True)]
    verdict = verdict_of(only("greater"), old(make("a", BASE + 0.1)), old(B), more=more)
    assert verdict.verdict == NOT_RUN and verdict.to_dict()["comparisons"] == []


def test_old_records_serve_the_other_comparisons_as_before():
    a = make("a", BASE + 0.1 + noise(1))
    assert weigh(only("greater"), a, B) == weigh(only("greater"), old(a), old(B))
    assert verdict_of(only("greater", b=None, bound=0.2), old(a)).verdict == REPRODUCED


def test_searches_timed_on_different_machines_are_not_compared():
    a, b = make("a", BASE, costs={"search_ms": 1.0}), make("b", BASE, costs={"search_ms": 2.0})
    assert verdict_of(only("less", "search_ms"), a, b).verdict == REPRODUCED
    elsewhere = dataclasses.replace(b, provenance={"machine": "another"})
    verdict = verdict_of(only("less", "search_ms"), a, elsewhere)
    assert verdict.verdict == NOT_RUN and "different machines" in verdict.lacks


def test_a_missing_metric_is_still_an_error():
    with pytest.raises(DiscoError, match="has no R@10"):
        verdict_of(only("greater", "R@10", growth=True), make("a", BASE), B)


# A factor of b


@pytest.mark.parametrize(
    ("loss", "verdict"), [(0.0, REPRODUCED), (0.02, REPRODUCED), (0.0299, PARTLY), (0.06, NOT)]
)
def test_non_inferiority_by_a_factor(loss, verdict):
    # A loss that is allowed, but hardly less than what is, is not told from it by this many turns.
    a = make("a", BASE * (1 - loss) + noise(1, 0.02))
    result = verdict_of(only("greater", factor=0.97), a, B)
    (finding,) = result.findings
    assert finding.effect == pytest.approx((0.03 - loss) * BASE.mean(), abs=1e-9)
    assert finding.interval[0] < finding.effect < finding.interval[1]
    assert result.verdict == verdict


def test_a_factor_of_one_changes_nothing():
    a = make("a", BASE + 0.01 + noise(1))
    plain, with_factor = (weigh(only("greater", **f), a, B) for f in ({}, {"factor": 1.0}))
    assert plain == with_factor


def test_a_factor_of_a_cost_compares_every_pair_of_seeds():
    def costing(name, *flops):
        record = make(name, *[BASE for _ in flops])
        return dataclasses.replace(
            record, costs={s: {"flops": f} for s, f in zip(record.seeds, flops, strict=True)}
        )

    item = only("less", "flops", factor=0.5)
    b = costing("b", 4.0, 5.0)
    assert verdict_of(item, costing("a", 1.5, 1.9), b).verdict == REPRODUCED
    # The second seed of a is more than half of b's first.
    found = verdict_of(item, costing("a", 1.5, 2.1), b)
    assert found.verdict == PARTLY and not found.findings[0].holds
    assert found.findings[0].effect == pytest.approx(1.8 - 0.5 * 4.5)
    assert found.findings[0].interval == pytest.approx((1.5 - 2.5, 2.1 - 2.0))
    assert verdict_of(item, costing("a", 2.5, 2.9), b).verdict == NOT


# The gain of a on b against that of c on d


def four(first, second, *, seeds=1):
    """Records a, b, c, d of which a gains `first` on b, and c gains `second` on d."""
    effects = {"a": 0.1 + first, "b": 0.1, "c": second, "d": 0.0}
    return [
        make(name, *[BASE + effect + noise(10 * i + s, 0.02) for s in range(seeds)])
        for i, (name, effect) in enumerate(effects.items())
    ]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("first", "second", "verdict"), [(0.1, 0.02, REPRODUCED), (0.02, 0.1, NOT), (0.1, 0.1, None)]
)
def test_one_gain_against_another(first, second, verdict, seeds):
    records = four(first, second, seeds=seeds)
    result = verdict_of(only("greater", than=("c", "d")), *records)
    (finding,) = result.findings
    assert finding.effect == pytest.approx(first - second) and finding.n == TURNS
    assert result.verdict == verdict if verdict else not finding.holds
    values = [record.per_turn("MRR") for record in records]
    expected = compare(values[0] - values[1], values[2] - values[3])
    assert finding.interval == pytest.approx((expected.low, expected.high))


def test_one_seed_against_it_keeps_a_gain_from_holding():
    a, b, c, d = four(0.1, 0.02, seeds=3)
    a.values["3"]["MRR"] = (np.array(a.values["3"]["MRR"]) - 0.15).tolist()
    a = make("a", *[seed["MRR"] for seed in a.values.values()])
    finding = weigh(only("greater", than=("c", "d")), a, b, c, d)
    assert finding.points and finding.p < 0.05 and not finding.holds


def test_gains_of_records_of_other_seeds_are_of_their_means():
    a, b, c, d = four(0.1, 0.02, seeds=3)
    once = make("d", d.per_turn("MRR"))
    item = only("greater", than=("c", "d"))
    mean, paired = weigh(item, a, b, c, once), weigh(item, a, b, c, d)
    assert mean.effect == pytest.approx(paired.effect) and mean.holds


def test_the_middle_system_may_stand_on_both_sides():
    a, b, _, d = four(0.1, 0.0)
    item = Comparison("b", "d", "MRR", "less", than=("a", "b"))
    (finding,) = verdict_of(item, a, b, d).findings
    assert not finding.holds and finding.effect == pytest.approx(0.0, abs=1e-9)


def test_gains_are_of_the_turns_that_all_four_have_and_of_the_depths():
    a, b, c, d = four(0.1, 0.02)
    order = np.random.default_rng(3).permutation(TURNS)[: TURNS // 2]
    part = dataclasses.replace(
        d,
        turn_ids=[IDS[i] for i in order],
        values={"-": {"MRR": d.per_turn("MRR")[order].tolist()}},
    )
    finding = weigh(only("greater", than=("c", "d"), depth=(5, None)), a, b, c, part)
    assert finding.n == int(LATE[order].sum())
    assert finding.effect == pytest.approx(0.08, abs=0.02)
    with pytest.raises(NotMeasured, match="share 0 turns"):
        weigh(only("greater", than=("c", "d"), depth=(20, None)), a, b, c, d)


def test_gains_of_other_collections_are_not_compared():
    a, b, c, d = four(0.1, 0.02)
    d = dataclasses.replace(d, settings={"collection": "another"})
    with pytest.raises(DiscoError, match="records of a and d on t differ in 'collection'"):
        weigh(only("greater", than=("c", "d")), a, b, c, d)


# Turns on which one system has more than another


def test_only_the_turns_count_on_which_one_has_more():
    a, b, c, d = four(0.1, 0.0)
    chosen = c.per_turn("MRR") > d.per_turn("MRR")
    assert 2 < chosen.sum() < TURNS
    item = only("greater", where=("c", "d", "MRR"))
    (finding,) = verdict_of(item, a, b, c, d).findings
    x, y = (record.per_turn("MRR")[chosen] for record in (a, b))
    expected = compare(x, y)
    assert finding.n == chosen.sum() and finding.effect == pytest.approx((x - y).mean())
    assert finding.interval == pytest.approx((expected.low, expected.high))
    other = weigh(only("greater", where=("d", "c", "MRR")), a, b, d, c)
    assert other.n == (~chosen).sum()


def test_gains_are_compared_on_the_turns_that_are_asked_for():
    a, b, c, d = four(0.1, 0.02)
    item = only("greater", than=("c", "d"), where=("b", "d", "MRR"))
    chosen = b.per_turn("MRR") > d.per_turn("MRR")
    finding = weigh(item, a, b, c, d, b, d)
    assert finding.n == chosen.sum()
    gains = [x.per_turn("MRR")[chosen] - y.per_turn("MRR")[chosen] for x, y in ((a, b), (c, d))]
    assert finding.effect == pytest.approx((gains[0] - gains[1]).mean())


def test_turns_that_are_too_few_are_told():
    a, b, c, _ = four(0.1, 0.0)
    with pytest.raises(NotMeasured, match="share 0 turns in 'a > b, where c > c"):
        weigh(only("greater", where=("c", "c", "MRR")), a, b, c, c)


def test_the_best_score_is_compared_over_turns():
    a, b, *_ = four(0.1, 0.0)
    item = Comparison("a", "b", "best_score", "greater", factor=0.8)
    with pytest.raises(NotMeasured, match="best_score"):
        weigh(item, a, b)
    scores = {"-": {"best_score": [10.0] * TURNS}}
    a, b = (dataclasses.replace(x, turn_costs=scores, costs={"-": {}}) for x in (a, b))
    finding = weigh(item, a, b)
    assert finding.n == TURNS and finding.effect == pytest.approx(2.0)


# What is told


def test_rows_of_factors_and_gains_name_what_they_compare():
    item = only("greater", than=("c", "d"))
    row = verdict_of(item, *four(0.1, 0.0), more=[only("greater", factor=0.5)]).to_dict()
    gain, half = row["comparisons"]
    assert (gain["reads"], gain["than"], gain["factor"]) == ("a − b > c − d", ["c", "d"], 1.0)
    assert (half["reads"], half["than"], half["factor"]) == ("a > 0.5 × b", None, 0.5)


def test_a_row_of_a_finding_says_how_it_reads_and_over_what():
    item = only("greater", growth=True, depth=(2, None))
    more = [only("less", "active_terms", b=None, bound=55)]
    a = dataclasses.replace(late_gain(0.1), turn_costs=make("a", BASE, terms=BASE).turn_costs)
    row = verdict_of(item, a, B, more=more).to_dict()
    growth, bound = row["comparisons"]
    assert growth["reads"] == "a > b, growth with depth, depth from 2"
    assert (growth["depth"], growth["growth"], growth["bound"]) == ([2, None], True, None)
    assert (growth["turns"], growth["conversations"]) == (None, CONVERSATIONS)
    assert (bound["reads"], bound["b"], bound["bound"]) == ("a < 55", None, 55)
    assert (bound["turns"], bound["conversations"]) == (TURNS, None)


def test_paired_values_of_active_terms():
    a, b = make("a", BASE, terms=BASE), make("b", BASE, terms=BASE + 1)
    x, y = paired_values(a, b, "active_terms")
    assert np.allclose(y - x, 1)
