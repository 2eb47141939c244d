from dataclasses import replace

import numpy as np
import pytest

from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals
from disco_lib.significance import compare
from disco_lib.tiers import load_tier
from disco_lib.tries import beside_teacher_rows, of_seeds, tried_rows

RNG = np.random.default_rng(5)
BASE = RNG.random((3, 60))
GRID = {"base": "student-kl", "values": {"longer": {"steps": 9}, "wider": {"steps": 7}}}
TIER = replace(load_tier("mini"), grids={"tries": GRID})


def record(name, values, turns=60):
    rows = {str(s): {"MRR@10": list(v), "R@100": list(v)} for s, v in enumerate(values, 1)}
    costs = {seed: {"flops": 1.0} for seed in rows}
    ids = [f"t{i}" for i in range(turns)]
    return Record("mini", name, name, {}, "x", ids, rows, {}, costs, intervals(rows), {})


def test_a_record_of_some_seeds():
    part = of_seeds(record("student-kl", BASE), ["2"])
    assert part.seeds == ["2"] and list(part.costs) == ["2"]
    np.testing.assert_allclose(part.per_turn("MRR@10"), BASE[1])
    assert part.intervals["MRR@10"][0] < BASE[1].mean() < part.intervals["MRR@10"][1]
    with pytest.raises(DiscoError, match="no seed 7; there are: 1, 2, 3"):
        of_seeds(record("student-kl", BASE), ["7"])


def test_each_change_stands_against_the_same_seed_of_its_base():
    found = {"student-kl": record("student-kl", BASE)}
    found["tries-longer"] = record("tries-longer", BASE[:1] + RNG.normal(0.1, 0.2, (1, 60)))
    nothing, longer = tried_rows(TIER, found)
    assert nothing["tried"] == "nothing" and nothing["seeds"] == "3"
    assert nothing["MRR@10"] == f"{BASE.mean():.3f}"
    test = compare(found["tries-longer"].per_turn("R@100"), BASE[0], comparisons=2)
    assert longer["tried"] == "longer" and longer["seeds"] == "1"
    assert longer["gain, R@100"].startswith(f"{test.difference:+.3f} [{test.low:+.3f}")


def test_without_a_grid_or_a_base_there_is_nothing():
    assert tried_rows(replace(TIER, grids={}), {}) == []
    assert tried_rows(TIER, {"tries-longer": record("tries-longer", BASE)}) == []


def test_systems_beside_their_teacher():
    teacher = record("splade-rewrite", np.full((1, 20), 0.8), 20)
    found = {"splade-rewrite": teacher, "student-kl": record("student-kl", BASE)}
    first, second = beside_teacher_rows(found, ["student-kl", "absent"], "splade-rewrite")
    assert first["MRR@10"] == "0.800" and first["turns"] == second["turns"] == "20"
    mean = BASE[:, :20].mean()
    assert second["MRR@10"] == f"{mean:.3f}"
    assert second["MRR@10 / teacher's"] == f"{mean / 0.8:.1%}"
    assert beside_teacher_rows(found, ["absent"], "splade-rewrite") == []
    assert beside_teacher_rows({}, ["student-kl"], "splade-rewrite") == []
