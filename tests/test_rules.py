import pytest

from disco_lib.errors import DataError
from disco_lib.rules import COSTS, Comparison, read_comparison

BEATS = {"a": "x", "b": "y", "metric": "MRR", "direction": "greater"}
ALONE = {"a": "x", "metric": "MRR", "direction": "greater"}


def read(fields, path):
    return read_comparison(fields, path / "p.yaml", "some-claim")


# Reading


def test_a_plain_comparison_has_none_of_the_further_fields(tmp_path):
    item = read(BEATS, tmp_path)
    assert item == Comparison("x", "y", "MRR", "greater")
    assert (item.depth, item.growth, item.bound, item.margin) == (None, False, None, 0.0)
    assert item.systems == ("x", "y") and item.unit == "turns"


@pytest.mark.parametrize(
    ("fields", "unit", "systems"),
    [
        (BEATS | {"metric": "flops"}, "seeds", ("x", "y")),
        (BEATS | {"metric": "active_terms"}, "seeds", ("x", "y")),
        (BEATS | {"metric": "active_terms", "depth": [3, None]}, "turns", ("x", "y")),
        (BEATS | {"depth": [2, 4]}, "turns", ("x", "y")),
        (ALONE | {"metric": "active_terms", "bound": 55}, "turns", ("x",)),
        (ALONE | {"growth": True}, "conversations", ("x",)),
        (BEATS | {"growth": True, "depth": [None, 9]}, "conversations", ("x", "y")),
        (BEATS | {"factor": 0.98}, "turns", ("x", "y")),
        (BEATS | {"metric": "flops", "factor": 0.5}, "seeds", ("x", "y")),
        (BEATS | {"than": ["z", "x"]}, "turns", ("x", "y", "z", "x")),
        (BEATS | {"metric": "active_terms", "than": ["z", "x"]}, "turns", ("x", "y", "z", "x")),
        (BEATS | {"where": ["z", "w", "MRR"]}, "turns", ("x", "y", "z", "w")),
        (BEATS | {"than": ["z", "x"], "where": ["v", "w", "MRR"]}, "turns", (*"xyzxvw",)),
        (BEATS | {"metric": "active_terms", "where": ["z", "w", "MRR"]}, "turns", (*"xyzw",)),
        (BEATS | {"metric": "best_score"}, "turns", ("x", "y")),
    ],
)
def test_the_unit_follows_from_the_fields(tmp_path, fields, unit, systems):
    item = read(fields, tmp_path)
    assert (item.unit, item.systems) == (unit, systems)
    assert item.depth is None or isinstance(item.depth, tuple)


@pytest.mark.parametrize("direction", ["similar", "not greater", "not less"])
def test_three_directions_need_a_margin(tmp_path, direction):
    read(BEATS | {"direction": direction, "margin": 0.02}, tmp_path)
    for margin in (0, -0.1, "much", True, float("nan")):
        with pytest.raises(DataError, match=f"some-claim.*{direction} with margin"):
            read(BEATS | {"direction": direction, "margin": margin}, tmp_path)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"direction": "more"}, "direction 'more'.*not greater, not less"),
        ({"margin": -0.1}, "greater with margin -0.1"),
        ({"b": None}, "nothing to compare a with"),
        ({"bound": 3}, "a bound and b 'y'"),
        ({"b": None, "bound": 3, "growth": True}, "a bound and growth"),
        ({"b": None, "bound": "3"}, "bound '3'"),
        ({"b": None, "bound": True}, "bound True"),
        ({"growth": "yes"}, "growth 'yes'"),
        ({"growth": 1}, "growth 1"),
        ({"depth": 3}, "depth 3.*first, last"),
        ({"depth": [3]}, r"depth \(3,\)"),
        ({"depth": [None, None]}, "depth .*null where it is open"),
        ({"depth": [4, 2]}, r"depth \[4, 2\]"),
        ({"depth": [0, 2]}, r"depth \[0, 2\]"),
        ({"depth": [2, "end"]}, r"depth \[2, 'end'\]"),
        ({"depth": [2.5, 4]}, r"depth \[2.5, 4\]"),
        ({"metric": "flops", "depth": [2, 4]}, "flops with depth.*active_terms"),
        ({"metric": "search_ms", "growth": True}, "search_ms with depth"),
        ({"factor": 0}, "factor 0.*above 0"),
        ({"factor": -2}, "factor -2"),
        ({"factor": "half"}, "factor 'half'"),
        ({"factor": float("nan")}, "factor nan"),
        ({"b": None, "bound": 3, "factor": 0.5}, "a factor without a b of its own"),
        ({"factor": 0.5, "than": ["z", "w"]}, "a factor without a b of its own"),
        ({"than": "z"}, "than 'z'.*two systems"),
        ({"than": ["z"]}, r"than \('z',\)"),
        ({"than": ["z", 3]}, "than .*two systems"),
        ({"than": ["z", "w"], "b": None, "bound": 3}, "than and no b"),
        ({"than": ["z", "w"], "growth": True}, "than and growth"),
        (
            {"than": ["z", "w"], "metric": "flops"},
            "flops with depth, growth, a bound, than or where",
        ),
        ({"where": ["z", "w"]}, "where .*c, d, metric"),
        ({"where": ["z", "w", 3]}, "where .*c, d, metric"),
        ({"where": ["z", "w", "MRR"], "b": None, "bound": 3}, "where and no b"),
        ({"where": ["z", "w", "MRR"], "growth": True}, "where and growth"),
        ({"where": ["z", "w", "MRR"], "metric": "flops"}, "than or where"),
    ],
)
def test_faults_are_named_with_the_claim(tmp_path, fields, fault):
    with pytest.raises(DataError, match=fault) as error:
        read(BEATS | fields, tmp_path)
    assert "p.yaml" in str(error.value) and "some-claim" in str(error.value)


@pytest.mark.parametrize("fields", [BEATS | {"metrics": "R@10"}, {"b": "y", "metric": "MRR"}])
def test_unknown_and_missing_fields_are_refused(tmp_path, fields):
    with pytest.raises(TypeError):
        read(fields, tmp_path)


def test_every_cost_compares_seed_by_seed():
    assert {Comparison("x", "y", name, "less").unit for name in COSTS} == {"seeds"}


# Words


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Comparison("x", "y", "MRR", "greater"), "x > y"),
        (Comparison("x", "y", "MRR", "less"), "x < y"),
        (Comparison("x", "y", "MRR", "similar", 0.02), "x ≈ y ± 0.02"),
        (Comparison("x", "y", "MRR", "not greater", 0.02), "x ≤ y + 0.02"),
        (Comparison("x", "y", "MRR", "not less", 0.02), "x ≥ y − 0.02"),
        (Comparison("x", "y", "MRR", "greater", depth=(2, 4)), "x > y, depth 2 to 4"),
        (Comparison("x", "y", "MRR", "greater", depth=(None, 4)), "x > y, depth up to 4"),
        (Comparison("x", "y", "MRR", "greater", depth=(8, None)), "x > y, depth from 8"),
        (Comparison("x", "y", "MRR", "greater", depth=(3, 3)), "x > y, depth 3"),
        (Comparison("x", "y", "MRR", "greater", growth=True), "x > y, growth with depth"),
        (Comparison("x", None, "active_terms", "less", bound=55), "x < 55"),
        (Comparison("x", "y", "R@100", "greater", factor=0.98), "x > 0.98 × y"),
        (Comparison("x", "y", "MRR", "not less", 0.02, factor=2), "x ≥ 2 × y − 0.02"),
        (Comparison("x", "y", "MRR", "greater", than=("z", "w")), "x − y > z − w"),
        (
            Comparison("x", "y", "MRR", "similar", 0.02, (2, None), than=("z", "w")),
            "x − y ≈ z − w ± 0.02, depth from 2",
        ),
        (
            Comparison("x", "y", "MRR", "greater", depth=(2, 4), where=("z", "w", "R@10")),
            "x > y, where z > w in R@10, depth 2 to 4",
        ),
        (Comparison("x", None, "MRR", "less", growth=True), "x falls with depth"),
        (
            Comparison("x", None, "active_terms", "similar", 3, growth=True),
            "x stays even with depth, within 3",
        ),
        (
            Comparison("x", None, "MRR", "not less", 0.02, (2, None), True),
            "x does not fall with depth, within 0.02, depth from 2",
        ),
    ],
)
def test_a_comparison_reads_as_words(item, words):
    assert item.words() == words
