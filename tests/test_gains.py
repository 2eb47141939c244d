"""Gains: paired and corrected, told by seed; the best of several is partly luck."""

from dataclasses import replace

import numpy as np
import pytest

from disco_lib.errors import DiscoError
from disco_lib.gains import (
    best_of,
    gain_rows,
    gains,
    luck_of_best,
    plain_label,
    point,
    span,
    with_interval,
)
from disco_lib.plots import Point
from disco_lib.records import Record, intervals
from disco_lib.significance import compare
from disco_lib.tiers import load_tier

MINI = load_tier("mini")
RNG = np.random.default_rng(2)
BASE = RNG.random((3, 50))


def record(name, values, turns=None):
    rows = {str(seed): {"MRR@10": list(v)} for seed, v in enumerate(values, 1)}
    return Record(
        "mini", name, MINI.label(name), {}, "x", turns or [f"t{i}" for i in range(len(values[0]))],
        rows, {}, {}, intervals(rows), {},
    )  # fmt: skip


RECORDS = {
    "student-kl": record("student-kl", BASE),
    "student-kl-mean": record("student-kl-mean", BASE + 0.1),
    "student-infonce": record("student-infonce", RNG.random((2, 50))),
    "splade-rewrite": record("splade-rewrite", BASE[:1, :40], [f"t{i}" for i in range(40)]),
}


def test_gains_are_paired_corrected_and_told_by_seed():
    pairs = [(name, "student-kl") for name in RECORDS if name != "student-kl"]
    mean, noise, teacher = gains(RECORDS, pairs, "MRR@10")
    assert mean.by_seed == pytest.approx((0.1,) * 3) and mean.p == 0.0
    own = np.mean([v["MRR@10"] for v in RECORDS["student-infonce"].values.values()], axis=0)
    test = compare(own, BASE.mean(axis=0), comparisons=3)
    assert (noise.p, noise.low, noise.n) == (test.p_t, test.low, 50)
    assert len(noise.by_seed) == 6  # two seeds against three
    assert teacher.n == 40
    assert teacher.by_seed == pytest.approx(
        tuple(BASE[0, :40].mean() - BASE[:, :40].mean(axis=1)), abs=1e-12
    )
    (once,) = gains(RECORDS, [("student-infonce", "student-kl")], "MRR@10", comparisons=1)
    assert once.p <= noise.p
    both = gains(RECORDS, pairs, ("MRR@10", "MRR@10"))
    assert len(both) == 6 and both[1].p == pytest.approx(min(1, 2 * noise.p))
    with pytest.raises(DiscoError, match="No record of 'three'"):
        gains(RECORDS, [("three", "student-kl")], "MRR@10")


def test_rows_of_gains_name_both_and_count_the_seeds_that_agree():
    found = gains(RECORDS, [("student-kl-mean", "student-kl")], "MRR@10")
    (row,) = gain_rows(found, {"student-kl": "one teacher"})
    assert (row["system"], row["over"], row["in"]) == ("student-kl-mean", "one teacher", "MRR@10")
    assert row["difference"].startswith("+0.100 [") and row["p"] == "<\u00a00.001"
    assert row["seeds"] == "3 of 3"
    away = {f"{name}@ood": record for name, record in RECORDS.items()}
    (row,) = gain_rows(gains(away, [("student-kl-mean@ood", "student-kl@ood")], "MRR@10"))
    assert (row["system"], row["over"]) == ("student-kl-mean", "student-kl")


def test_a_label_loses_its_place_and_keeps_the_draft():
    name = "splade-rewrite-smollm2@ood"
    found = replace(RECORDS["student-kl"], system=name, label=f"{MINI.label(name)} (draft)")
    assert plain_label(MINI, found) == "SPLADE, SmolLM2's rewrite (draft)"
    tier = load_tier("qrecc")
    name = "splade-rewrite-t5@ood"
    own = replace(found, system=name, label=tier.label(name))
    assert plain_label(tier, own) == "SPLADE, T5's rewrite"
    assert plain_label(MINI, replace(found, system="gone@ood", label="Gone")) == "Gone"


def test_a_span_is_printed_with_its_signs_in_one_piece():
    assert span(-0.1, -0.2, 0.01) == "-0.100 [-0.200,\u00a0+0.010]"


def test_a_value_is_printed_with_its_interval():
    assert with_interval(Point(0.5, 0.4, 0.61)) == "0.500 [0.400,\u00a00.610]"


def test_a_point_has_the_records_interval():
    found = RECORDS["student-kl"]
    assert point(found, "MRR@10") == Point(found.mean("MRR@10"), *found.intervals["MRR@10"])


def test_the_best_of_equals_leads_by_chance_and_one_system_ten_times_does_not():
    values = np.random.default_rng(1).normal(0.5, 0.3, (6, 400))
    mean, most = luck_of_best(values, resamples=500)
    # The largest of six independent means stands 1.267 standard errors above their mean.
    assert mean == pytest.approx(1.267 * 0.3 / 20, rel=0.1) and most > mean
    assert luck_of_best(values, resamples=500) == (mean, most)
    assert luck_of_best(np.repeat(values[:1], 10, axis=0), 100) == pytest.approx((0, 0), abs=1e-12)
    with pytest.raises(DiscoError, match="at least two"):
        luck_of_best(values[:1])


def test_the_best_of_equal_means_is_the_first():
    assert best_of({"a": 0.5, "b": 0.7, "c": 0.7}) == "b"
