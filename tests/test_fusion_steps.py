"""A fusion step by step: the same order and scores as `fusion.fuse`, which ranx computes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Qrels

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.fusion import fuse
from disco_lib.fusion_steps import Step, min_max, outcomes, rows, stacked_bars, steps
from disco_lib.runs import run_from_dict

A = {"a": 3.0, "b": 2.0, "c": 1.0}
B = {"b": 40.0, "d": 20.0, "a": 0.0}
rankings = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(1, 10_000).map(float), min_size=1, max_size=8
)


def test_min_max_runs_from_the_worst_listed_to_the_best():
    assert min_max(B) == {"b": 1.0, "d": 0.5, "a": 0.0}
    assert min_max({"a": 2.0, "b": 2.0}) == {"a": 0.0, "b": 0.0}


def test_steps_hold_scores_ranks_and_the_mean():
    found = steps([A, B], relevant={"d"})
    assert [step.pid for step in found] == ["b", "a", "d", "c"]
    assert found[0] == Step("b", (2.0, 40.0), (0.5, 1.0), (2, 1), 0.75, False)
    assert found[2] == Step("d", (None, 20.0), (0.0, 0.5), (None, 2), 0.25, True)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rankings, rankings)
def test_steps_are_what_ranx_computes(a, b):
    fused = fuse([run_from_dict({"q": a}), run_from_dict({"q": b})]).to_dict()["q"]
    found = steps([a, b])
    assert {step.pid: 2 * step.mean for step in found} == pytest.approx(fused, abs=1e-6)
    means = [fused[step.pid] for step in found]
    assert all(x >= y - 1e-6 for x, y in zip(means, means[1:], strict=False))


@pytest.mark.parametrize("given", [[A], [A, {}]])
def test_a_fusion_of_one_ranking_or_nothing_is_refused(given):
    with pytest.raises(DiscoError, match="two rankings"):
        steps(given)


def test_rows_show_the_best_and_every_relevant_one():
    shown = rows(steps([A, B], {"c"}), ["A", "B"], {p: p.upper() for p in "abcd"}, k=1)
    assert [row["passage"] for row in shown] == ["B", "C ✓"]
    assert shown[1]["fused"] == 4 and shown[1]["rank, B"] == "" and shown[1]["B's score"] == ""
    assert shown[0]["A's score"] == "2.00\u00a0→\u00a00.50" and shown[0]["mean"] == "0.750"


def test_outcomes_count_turns_and_put_the_largest_gain_first():
    names = ["near", "far", "found", "between", "lost"]
    turns = [Turn("c", name, "u", (), "", {}, ("r",), None, {}) for name in names]
    qrels = Qrels({name: {"r": 1} for name in names})

    def run(*ranks):
        return run_from_dict(
            {
                name: {
                    ("r" if place == rank else f"x{place}"): float(-place) for place in range(1, 9)
                }
                for name, rank in zip(names, ranks, strict=True)
            }
        )

    found = outcomes(run(1, 1, 1, 3, 8), [run(2, 2, 1, 4, 2), run(3, 5, 2, 2, 2)], qrels, turns)
    assert found.counts == {
        "above both": 2, "as the better": 1, "between": 1, "as the worse": 0, "below both": 1
    }  # fmt: skip
    assert [t.turn_id for t in found.by_gain] == ["near", "far", "found", "between", "lost"]


def test_bars_add_up_to_the_mean():
    found = steps([A, B], {"a"})
    (axis,) = stacked_bars(found, ["A", "B"], {p: p.upper() for p in "abcd"}, k=3).axes
    ends = [bar.get_x() + bar.get_width() for bar in axis.patches[3:]]
    assert ends == pytest.approx([step.mean for step in found[:3]])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["B", "A ✓", "D"]
    assert np.array_equal(axis.get_yticks(), [0, 1, 2])
    with pytest.raises(DiscoError, match="at least one document"):
        stacked_bars([], ["A"], {})
