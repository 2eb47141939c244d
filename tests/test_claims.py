import json

import numpy as np
import pytest

from disco_lib import claims as claims_module
from disco_lib import records
from disco_lib.claims import (
    NOT,
    NOT_RUN,
    PARTLY,
    PUBLISHED,
    REPRODUCED,
    judge,
    paired_values,
    tiers_measured,
    verdicts,
)
from disco_lib.errors import DiscoError
from disco_lib.papers import Claim, Comparison, load_paper, paper_names
from disco_lib.records import Record, intervals, write_record
from disco_lib.storage import settings_hash

TURNS = 200
BASE = np.random.default_rng(7).uniform(0.2, 0.6, TURNS)


def noise(seed, scale=0.1):
    """Values (turns,) whose mean is exactly 0."""
    values = np.random.default_rng(seed).normal(0, scale, TURNS)
    return values - values.mean()


def make(system, seeds, costs=None, turn_ids=None, settings=None):
    """A record of one metric, MRR, from per-turn values for each seed."""
    settings = {"collection": "c"} | (settings or {})
    values = {seed: {"MRR": [float(x) for x in v]} for seed, v in seeds.items()}
    return Record(
        tier="t",
        system=system,
        label=system,
        settings=settings,
        settings_hash=settings_hash(settings),
        turn_ids=turn_ids or [f"t{i}" for i in range(TURNS)],
        values=values,
        unremoved={},
        costs=costs or {seed: {} for seed in seeds},
        intervals=intervals(values),
        provenance={},
    )


def claim(*comparisons, why=""):
    return Claim("c-1", "p", "A statement.", "Table 1", tuple(comparisons), why)


def verdict_of(item, *found):
    by_name = {record.system: record for record in found}
    return judge(item, "t", by_name.get)


def greater(a="a", b="b", metric="MRR"):
    return Comparison(a, b, metric, "greater")


def less(a="a", b="b", metric="MRR"):
    return Comparison(a, b, metric, "less")


def similar(margin, metric="MRR"):
    return Comparison("a", "b", metric, "similar", margin)


def base(system="b", **kwargs):
    return make(system, {"-": BASE}, **kwargs)


def better(effect, system="a", spread=0.1, **kwargs):
    """A record with the mean `effect` above base's, by turn-wise differences of that spread."""
    return make(system, {"-": BASE + effect + noise(1, spread)}, **kwargs)


# Directions


def test_a_clear_gain_is_reproduced():
    verdict = verdict_of(claim(greater()), better(0.05), base())
    (finding,) = verdict.findings
    assert verdict.verdict == REPRODUCED
    assert finding.effect == pytest.approx(0.05)
    assert finding.interval[0] < 0.05 < finding.interval[1]
    assert finding.interval[0] > 0 and finding.p < 0.001 and finding.n == TURNS


def test_a_gain_within_chance_is_partly_reproduced():
    # The standard error is 0.1 / sqrt(200) = 0.007.
    verdict = verdict_of(claim(greater()), better(0.007), base())
    assert verdict.verdict == PARTLY
    assert verdict.findings[0].points and not verdict.findings[0].holds


def test_a_loss_is_not_reproduced():
    verdict = verdict_of(claim(greater()), better(-0.05), base())
    assert verdict.verdict == NOT and verdict.findings[0].effect == pytest.approx(-0.05)


def test_equal_systems_do_not_reproduce_a_gain():
    assert verdict_of(claim(greater()), base("a"), base()).verdict == NOT


def test_less_is_greater_turned_round():
    assert verdict_of(claim(less()), better(-0.05), base()).verdict == REPRODUCED
    assert verdict_of(claim(less()), better(-0.007), base()).verdict == PARTLY
    assert verdict_of(claim(less()), better(0.05), base()).verdict == NOT


@pytest.mark.parametrize("effect", [0.05, -0.05])
def test_different_is_greater_or_less(effect):
    item = claim(Comparison("a", "b", "MRR", "different"))
    verdict = verdict_of(item, better(effect), base())
    assert verdict.verdict == REPRODUCED and verdict.findings[0].effect == pytest.approx(effect)
    assert verdict.findings[0].comparison.words() == "a ≠ b"


def test_a_difference_within_chance_points_nowhere():
    item = Comparison("a", "b", "MRR", "different")
    for record in (better(0.007), better(-0.007), base("a")):
        (finding,) = verdict_of(claim(item), record, base()).findings
        assert not finding.holds and not finding.points
        assert verdict_of(claim(item), record, base()).verdict == NOT


def test_different_has_to_be_so_on_every_seed_and_takes_costs():
    item = claim(Comparison("a", "b", "MRR", "different"))
    seeds = {"1": BASE - 0.2 + noise(1), "2": BASE + 0.02 + noise(2)}
    shaky = verdict_of(item, make("a", seeds), base())
    assert shaky.findings[0].p < 0.05 and shaky.verdict == NOT
    costs = claim(Comparison("a", "b", "flops", "different"))
    teacher = costly("b", {"-": 2.0})
    assert verdict_of(costs, costly("a", {"1": 1.0, "2": 1.6}), teacher).verdict == REPRODUCED
    assert verdict_of(costs, costly("a", {"1": 1.0, "2": 2.5}), teacher).verdict == NOT
    assert verdict_of(costs, costly("a", {"1": 2.0}), teacher).verdict == NOT


@pytest.mark.parametrize("effect", [0.005, -0.005])
def test_similar_needs_its_interval_within_the_margin(effect):
    # The interval is about 0.014 to either side.
    found = better(effect), base()
    assert verdict_of(claim(similar(0.03)), *found).verdict == REPRODUCED
    assert verdict_of(claim(similar(0.01)), *found).verdict == PARTLY
    assert verdict_of(claim(similar(0.002)), *found).verdict == NOT


def test_similar_is_not_shown_by_a_noisy_difference_of_zero():
    verdict = verdict_of(claim(similar(0.02)), better(0.0, spread=0.5), base())
    assert verdict.verdict == PARTLY


# Several comparisons


def test_one_of_two_comparisons_is_partly():
    item = claim(greater(), greater("c"))
    verdict = verdict_of(item, better(0.05), base(), better(-0.05, "c"))
    assert verdict.verdict == PARTLY
    assert [finding.holds for finding in verdict.findings] == [True, False]


def test_neither_holds_and_one_points_away_is_not():
    item = claim(greater(), greater("c"))
    assert verdict_of(item, better(0.007), base(), better(-0.007, "c")).verdict == NOT


def test_bonferroni_counts_the_claims_comparisons():
    # p is about 0.02 alone, and 0.06 as one of three.
    alone = verdict_of(claim(greater()), better(0.0155), base())
    item = claim(greater(), greater("c"), greater("d"))
    many = verdict_of(item, better(0.0155), base(), better(0.1, "c"), better(0.1, "d"))
    assert 0.05 / 3 < alone.findings[0].p < 0.05
    assert many.findings[0].p == pytest.approx(3 * alone.findings[0].p)
    assert alone.verdict == REPRODUCED
    assert many.verdict == PARTLY and [f.holds for f in many.findings] == [False, True, True]


# Seeds


def seeded(effects, system="a", turns=slice(None)):
    seeds = {
        str(i): (BASE + effect + noise(i, 0.05))[turns] for i, effect in enumerate(effects, start=1)
    }
    ids = [f"t{i}" for i in range(TURNS)][turns]
    return make(system, seeds, turn_ids=ids)


def test_every_seed_has_to_agree():
    assert verdict_of(claim(greater()), seeded([0.05, 0.06, 0.04]), base()).verdict == REPRODUCED
    verdict = verdict_of(claim(greater()), seeded([0.15, 0.06, -0.01]), base())
    assert verdict.verdict == PARTLY
    assert verdict.findings[0].effect == pytest.approx(0.2 / 3)
    assert verdict.findings[0].p < 0.001


def test_the_same_seeds_are_compared_pair_by_pair():
    # Seed 2 is bad for both systems: a is better on each seed, but not than b on every other seed.
    a, b = seeded([0.10, 0.02]), seeded([0.08, 0.0], "b")
    assert verdict_of(claim(greater()), a, b).verdict == REPRODUCED


def test_different_seeds_are_compared_all_with_all():
    a, b = seeded([0.10, 0.02, 0.1]), seeded([0.08, 0.0], "b")
    verdict = verdict_of(claim(greater()), a, b)
    assert verdict.findings[0].p < 0.05 and verdict.verdict == PARTLY


def test_seeds_have_to_agree_on_shared_turns_too():
    # A teacher has no rewrite for some turns; that must not switch the seeds' agreement off.
    teacher = make("b", {"-": BASE[:150]}, turn_ids=[f"t{i}" for i in range(150)])
    verdict = verdict_of(claim(greater()), seeded([0.15, 0.06, -0.03]), teacher)
    assert verdict.findings[0].n == 150 and verdict.findings[0].p < 0.001
    assert verdict.verdict == PARTLY


# Turns


def test_turns_are_paired_by_id_on_those_that_both_have():
    ids = [f"t{i}" for i in range(TURNS)]
    order = np.random.default_rng(3).permutation(TURNS)[:120]
    b = make("b", {"-": BASE[order]}, turn_ids=[ids[i] for i in order])
    # The turns that b lacks would turn the effect round.
    values = np.where(np.isin(np.arange(TURNS), order), BASE + 0.05 + noise(1, 0.01), 0.0)
    a = make("a", {"-": values})
    x, y = paired_values(a, b, "MRR")
    expected = np.sort(order)
    assert np.allclose(x, values[expected]) and np.allclose(y, BASE[expected])
    verdict = verdict_of(claim(greater()), a, b)
    assert verdict.verdict == REPRODUCED and verdict.findings[0].n == 120
    assert verdict.findings[0].effect == pytest.approx(0.05, abs=0.005)


def test_records_without_shared_turns_are_refused():
    a = make("a", {"-": BASE}, turn_ids=[f"u{i}" for i in range(TURNS)])
    with pytest.raises(DiscoError, match="a and b share 0 turns"):
        verdict_of(claim(greater()), a, base())


def test_records_of_different_data_are_refused():
    with pytest.raises(DiscoError, match="differ in 'collection'.*Measure the older"):
        verdict_of(claim(greater()), better(0.05, settings={"collection": "new"}), base())


def test_a_missing_metric_is_named():
    with pytest.raises(DiscoError, match="record of a on t has no R@10"):
        verdict_of(claim(greater(metric="R@10")), better(0.05), base())


# Costs


def costly(system, costs):
    seeds = {seed: BASE for seed in costs}
    return make(system, seeds, costs={seed: {"flops": cost} for seed, cost in costs.items()})


def test_costs_compare_every_pair_of_seeds():
    item = claim(less(metric="flops"))
    teacher = costly("b", {"-": 2.0})
    verdict = verdict_of(item, costly("a", {"1": 1.0, "2": 1.6}), teacher)
    (finding,) = verdict.findings
    assert verdict.verdict == REPRODUCED and finding.p is None
    assert finding.effect == pytest.approx(-0.7)
    assert finding.interval == pytest.approx((-1.0, -0.4))
    assert verdict_of(item, costly("a", {"1": 1.0, "2": 2.1}), teacher).verdict == PARTLY
    assert verdict_of(item, costly("a", {"1": 2.5, "2": 1.9}), teacher).verdict == NOT
    assert verdict_of(claim(greater(metric="flops")), costly("a", {"1": 3}), teacher).verdict == (
        REPRODUCED
    )


def test_similar_costs():
    teacher = costly("b", {"-": 2.0})
    item = claim(similar(0.2, "flops"))
    assert verdict_of(item, costly("a", {"1": 1.9, "2": 2.1}), teacher).verdict == REPRODUCED
    assert verdict_of(item, costly("a", {"1": 1.9, "2": 2.3}), teacher).verdict == PARTLY
    assert verdict_of(item, costly("a", {"1": 3.0}), teacher).verdict == NOT


def test_a_system_without_the_cost_is_named():
    with pytest.raises(DiscoError, match="record of b on t has no flops"):
        verdict_of(claim(less(metric="flops")), costly("a", {"1": 1.0}), base())


# No comparison


def test_a_missing_record_is_not_run():
    verdict = verdict_of(claim(greater(), greater("c")), better(0.05), base())
    assert verdict.verdict == NOT_RUN and verdict.findings == ()


def test_without_comparisons_the_reason_decides():
    assert verdict_of(claim(why="published only: no system")).verdict == PUBLISHED
    assert verdict_of(claim(why="not measured yet: needs a run")).verdict == NOT_RUN


# Output and records on disk


def test_to_dict_is_json_with_the_documented_keys():
    item = claim(greater(), similar(0.02), less(metric="flops"))
    a = better(0.05, costs={"-": {"flops": 1.0}})
    row = verdict_of(item, a, base(costs={"-": {"flops": 3.0}})).to_dict()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert {"id", "paper", "statement", "tier", "verdict", "effect", "interval"} <= set(row)
    assert (row["id"], row["paper"], row["tier"]) == ("c-1", "p", "t")
    assert row["effect"] == 0.05 and len(row["interval"]) == 2 and row["verdict"] == PARTLY
    assert [c["holds"] for c in row["comparisons"]] == [True, False, True]
    assert [c["turns"] for c in row["comparisons"]] == [TURNS, TURNS, None]
    assert [c["margin"] for c in row["comparisons"]] == [0.0, 0.02, 0.0]


@pytest.mark.parametrize("why", ["published only: no system", "not measured yet: needs a run"])
def test_to_dict_without_findings(why):
    row = verdict_of(claim(why=why)).to_dict()
    assert row["effect"] is None and row["interval"] is None and row["comparisons"] == []
    assert row["why"] == why and json.dumps(row)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """An empty folder of published records."""
    monkeypatch.setattr(records, "measured_root", lambda: tmp_path / "measured")
    monkeypatch.setattr(claims_module, "measured_root", lambda: tmp_path / "measured")


def test_no_records_no_verdicts(measured):
    assert tiers_measured() == [] and verdicts() == []


def test_verdicts_of_the_papers_from_records_on_disk(measured):
    values = {"R@100": 0.05, "R@10": 0.05, "MRR": 0.05, "nDCG@3": 0.05}
    for system, gain in [("splade-rewrite", 0.0), ("student-kl", 1.0)]:
        record = make(system, {"-": BASE})
        own = {m: list(BASE + gain * (x + noise(1, 0.02))) for m, x in values.items()}
        write_record(
            Record(
                **{
                    **vars(record),
                    "values": {"-": own},
                    "costs": {"-": {"flops": 1.0, "active_terms": 9.0}},
                }
            ),
            publish=True,
        )
    assert tiers_measured() == ["t"]
    claim_id = "disco-student-over-teacher"
    found = {v.claim.id: v for v in verdicts() if v.claim.paper in ("disco", "efficiency")}
    assert set(found) == {c.id for n in ("disco", "efficiency") for c in load_paper(n).claims}
    assert found[claim_id].verdict == REPRODUCED and len(found[claim_id].findings) == 4
    assert found["disco-over-convsplade"].verdict == NOT_RUN
    assert found["disco-latency"].verdict == PUBLISHED
    assert found["eff-samples"].verdict == NOT_RUN
    assert {v.tier for v in verdicts(["u"], ["disco"])} == {"u"}
    assert len(verdicts(["t", "u"])) == 2 * sum(len(load_paper(n).claims) for n in paper_names())


def test_claims_are_judged_on_the_other_tiers_with_records(monkeypatch):
    monkeypatch.setattr(claims_module, "tiers_measured", lambda: ["here", "near", "there"])
    monkeypatch.setattr(claims_module, "judge", lambda claim, tier: (claim, tier))
    found = claims_module.judge_elsewhere(iter(["x", "y"]), "near")
    assert found == [("x", "here"), ("x", "there"), ("y", "here"), ("y", "there")]
