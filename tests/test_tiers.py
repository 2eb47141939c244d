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
