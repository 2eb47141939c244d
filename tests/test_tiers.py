from dataclasses import replace

import pytest

from disco_lib.errors import DiscoError
from disco_lib.tiers import load_tier, tier_names

THERE = {
    "data": "other",
    "split": "test",
    "label": "another place",
    "systems": ["splade-utterance", "fusion"],
    "own": {"splade-llm": {"run": "encoder", "input": "rewrite:llm", "label": "An LLM's"}},
}


@pytest.fixture
def tier():
    return replace(load_tier("mini"), elsewhere={"there": THERE})


def test_a_place_may_have_systems_of_its_own(tier):
    assert tier.has("splade-llm@there") and not tier.has("splade-llm")
    assert tier.system("splade-llm@there")["input"] == "rewrite:llm"
    assert tier.label("splade-llm@there") == "An LLM's, another place"
    with pytest.raises(DiscoError, match="no system 'splade-llm'"):
        tier.system("splade-llm")


def test_what_is_taken_to_a_place_is_listed_in_order(tier):
    assert tier.taken_to("there") == ["splade-utterance", "fusion", "splade-llm"]
    assert tier.names()[-3:] == ["splade-utterance@there", "fusion@there", "splade-llm@there"]
    with pytest.raises(DiscoError, match="no place 'nowhere'; there are: there"):
        tier.taken_to("nowhere")


@pytest.mark.parametrize("name", tier_names())
def test_every_system_of_every_tier_can_be_found(name):
    tier = load_tier(name)
    for system in tier.names():
        assert tier.has(system) and tier.label(system)
        there = system.partition("@")[2]
        for part in tier.system(system).get("of", ()):
            assert tier.has(f"{part}@{there}" if there else part)


@pytest.mark.parametrize(
    ("tier", "system", "rewriters", "calls"),
    [
        ("mini", "student-kl", [], 0),
        ("mini", "bm25-conversation", [], 0),
        ("mini", "splade-rewrite@ood", ["gold"], 0),
        ("mini", "splade-rewrite-smollm2", ["smollm2"], 1),
        ("mini", "splade-aggregate", ["gold", "hqe", "smollm2"], 1),
        ("mini", "fused-hqe+smollm2", ["hqe", "smollm2"], 1),
        ("mini", "fused-kld+infonce", [], 0),
        ("qrecc", "fusion-davinci@ood", ["code-davinci-002_rew"], 1),
    ],
)
def test_a_system_calls_a_model_for_each_rewrite_of_one(tier, system, rewriters, calls):
    assert load_tier(tier).rewriters(system) == rewriters
    assert load_tier(tier).llm_calls(system) == calls


def test_five_rewrites_are_five_calls_and_one_that_two_parts_read_is_made_once():
    assert load_tier("qrecc").llm_calls("splade-aggregate-davinci@ood") == 5
    mini = load_tier("mini")
    twice = {"run": "fusion", "of": ["splade-rewrite-smollm2", "splade-aggregate"]}
    assert replace(mini, systems={**mini.systems, "twice": twice}).llm_calls("twice") == 1


def test_a_student_that_reads_rewrites_needs_them():
    mini = load_tier("mini")
    student = {"run": "student", "teachers": ["gold"], "input": "rewrite:smollm2"}
    assert replace(mini, systems={"student": student}, grids={}).llm_calls("student") == 1


# The dense part


def test_the_dense_part_is_apart_from_the_other_systems():
    mini = load_tier("mini")
    assert mini.is_dense("dense-hybrid") and not mini.is_dense("student-kl")
    assert "dense-hybrid" not in mini.systems and mini.has("dense-hybrid")
    assert mini.dense_systems["bm25-rewrite"]["run"] == "bm25"
    assert mini.rewriters("dense-hybrid") == [mini.dense["rewriter"]]
    assert mini.label("temperature-0.2") == "Temperature 0.2"


@pytest.mark.parametrize("name", tier_names())
def test_tiers_share_their_dense_systems(name):
    tier = load_tier(name)
    for grid in ("selection", "hybrid", "temperature", "projection", "negatives", "sd", "kd-size"):
        values = tier.grid(grid)
        assert values == load_tier("mini").grid(grid)
        assert all(tier.has(system) for system in values.values())
    assert set(tier.grid("hybrid").values()) & {"dense-hybrid"}
    assert tier.grid("regression-weight")["0"] == tier.grid("hybrid")["contrastive"]


def test_a_tier_may_have_no_dense_part():
    tier = replace(load_tier("mini"), dense={})
    assert not tier.dense_systems and not tier.has("dense-hybrid")
    with pytest.raises(DiscoError, match="no grid 'hybrid'"):
        tier.grid("hybrid")


def test_tiers_share_the_grids_of_a_file_and_their_own_go_before():
    mini, qrecc = load_tier("mini"), load_tier("qrecc")
    for grid in ("contrastive", "sampling", "samples", "lambda-infonce"):
        assert mini.grid(grid) == qrecc.grid(grid)
    # Both have a grid lambda-q of their own, and what a student of it learns from is the tier's.
    assert mini.grid("lambda-q") != qrecc.grid("lambda-q")
    assert mini.system("samples-8")["teachers"] != qrecc.system("samples-8")["teachers"]
    assert "shared" not in vars(mini)
