from dataclasses import replace

import pytest

from disco_lib import tiers
from disco_lib.errors import DataError, DiscoError
from disco_lib.tiers import load_tier, tier_names

MINI = load_tier("mini")


@pytest.mark.parametrize("name", tier_names())
def test_every_tier_is_whole(name):
    tier = load_tier(name)
    assert len(tier.seeds) >= 1 and tier.names()
    for system in tier.names():
        assert tier.has(system) and tier.label(system) and tier.place(system).split
        assert tier.llm_calls(system) >= 0
    for grid in tier.grids:
        assert all(tier.has(system) for system in tier.grid(grid).values())


def test_a_system_is_the_same_wherever_it_is_taken():
    assert MINI.system("student-kl@ood") == MINI.system("student-kl")
    here, there = MINI.place("student-kl"), MINI.place("student-kl@ood")
    assert (here.split, there.split) == ("test", "ood") and here.data == there.data
    assert MINI.label("student-kl@ood") == f"{MINI.label('student-kl')}, out of domain"


def test_a_grids_system_is_found_by_its_name_and_by_its_value():
    grid = MINI.grid("lambda-q")
    assert grid["0.0005"] == "student-kl"  # the tier's own setting is not a new system
    assert MINI.system(grid["0"])["objective"]["l1"] == 0
    assert MINI.grid("teachers")["gold+hqe+smollm2"] == "student-kl-mean"


def test_calls_of_a_language_model_are_counted():
    calls = {name: MINI.llm_calls(name) for name in MINI.systems}
    assert calls["splade-rewrite-smollm2"] == calls["splade-aggregate"] == 1
    assert calls["splade-rewrite"] == calls["splade-rewrite-hqe"] == calls["bm25-conversation"] == 0
    # A student learns from a language model, and needs none for a query.
    assert calls["student-kl-smollm2"] == calls["student-kl-mean"] == 0
    fused = {**MINI.systems, "f": {"run": "fusion", "of": ["splade-rewrite-smollm2", "student-kl"]}}
    assert replace(MINI, systems=fused).llm_calls("f") == 1


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(DiscoError, match="No tier 'huge'; there are: mini"):
        load_tier("huge")
    with pytest.raises(DiscoError, match="no system 'gpt'; there are: bm25-conversation"):
        MINI.system("gpt@ood")
    with pytest.raises(DiscoError, match="no grid 'x'; there are: teachers"):
        MINI.grid("x")
    with pytest.raises(DiscoError, match="no place 'moon'; there are: ood"):
        MINI.place("student-kl@moon")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seeds: [1, 2, 3]", "", "seeds"),
        ("run: fusion, of: [student-kl,", "run: fusion, of: [gone,", "no system 'gone'"),
        ("base: fusion", "base: gone", "no system 'gone'"),
        ("{run: bm25, input: conversation", "{run: bm26, input: conversation", "known 'run'"),
        ("    split: ood\n", "", "split"),
        ("    vary: missing\n", "", "lacks 'vary'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, monkeypatch, old, new, named):
    text = (tiers.FOLDER / "mini.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "mini.yaml").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(tiers, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=named) as error:
        load_tier("mini")
    assert "mini.yaml" in str(error.value)
