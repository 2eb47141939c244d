"""Out of domain: calls of a language model, foreign words and terms, shifts of unpaired means."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, stats

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.out_of_domain import (
    advantage,
    by_conversation,
    dumbbells,
    lead,
    lead_rows,
    published_with_calls,
    results_with_calls,
    rewritten_by,
    said,
    shift,
    shift_rows,
    taken_results,
    times_shown,
    unseen_weight,
    unseen_words,
)
from disco_lib.papers import load_paper
from disco_lib.plots import Point
from disco_lib.records import Record, intervals
from disco_lib.teachers import DistillationRun
from disco_lib.tiers import load_tier

MINI = load_tier("mini")


def record(name, values, turns=None, conversations=(), label=None):
    seeds = {seed: {"MRR@10": v, "R@100": v} for seed, v in values.items()}
    count = len(next(iter(values.values())))
    return Record(
        "mini", name, label or MINI.label(name), {}, "x", turns or [f"t{i}" for i in range(count)],
        seeds, {}, {}, intervals(seeds), {}, [], list(conversations),
    )  # fmt: skip


# Calls


@pytest.mark.parametrize(
    ("system", "by"),
    [
        ("student-kl", ""),
        ("splade-rewrite@ood", "a person"),
        ("splade-rewrite-smollm2", "a language model"),
        ("splade-aggregate", "a person and history expansion and a language model"),
        ("fusion@ood", "a person"),
    ],
)
def test_it_is_told_who_rewrites(system, by):
    assert rewritten_by(MINI, system) == by


def test_models_that_one_place_has_are_counted_there():
    tier = load_tier("qrecc")
    assert rewritten_by(tier, "splade-aggregate-davinci@ood") == "5 language models"
    assert rewritten_by(tier, "fusion-davinci@ood") == "a language model"


def test_results_name_the_system_without_its_place_and_keep_the_draft():
    name = "splade-rewrite-smollm2@ood"
    found = record(name, {"-": [0.0, 1.0, 0.5]}, label=f"{MINI.label(name)} (draft)")
    (row,) = results_with_calls(MINI, {name: found}, ["MRR@10", "R@100"]).frame.to_dict("records")
    low, high = found.intervals["MRR@10"]
    assert row == {
        "system": "SPLADE, SmolLM2's rewrite (draft)", "rewrite by": "a language model",
        "LLM calls": 1, "MRR@10": f"0.500 [{low:.3f},\u00a0{high:.3f}]", "R@100": "0.500",
    }  # fmt: skip


# Published numbers


def test_published_rows_show_calls_and_leave_gaps_blank():
    sets = ["CAsT 2020", "iKAT 2023"]
    rows = published_with_calls(load_paper("disco"), "3", sets, ["R@100", "nDCG@3"])
    shown = rows.frame.set_index("method")
    assert shown.loc["DiSCo Fusion", "LLM calls"] == 1
    assert shown.loc["LLM4CS"].to_dict() == {
        "rewrite": "GPT 3.5", "LLM calls": 5,
        "CAsT 2020": "0.489\u00a0/\u00a00.455", "iKAT 2023": "",
    }  # fmt: skip
    assert shown.loc["CHIQ FT", "CAsT 2020"] == "–\u00a0/\u00a00.316"


def test_an_advantage_is_one_of_means_over_cells_that_all_rows_have():
    paper = load_paper("disco")
    found = advantage(paper, "3", ["SPLADE MistralQR", "LLM4CS"], ["LeCoRe"])
    assert set(found) == {("CAsT 2020", "R@100"), ("CAsT 2020", "nDCG@3")}
    assert found["CAsT 2020", "R@100"] == pytest.approx((0.572 + 0.489) / 2 / 0.467 - 1)
    rows = [
        {"method": "a", "values": {"X": {"MRR": 0.5}}},
        {"method": "b", "values": {"X": {"MRR": None}}},
    ]
    apart = replace(paper, tables={"9": {"rows": rows}})
    with pytest.raises(DiscoError, match="share no cell"):
        advantage(apart, "9", ["a"], ["b"])


# What is foreign


def test_unseen_words_count_stems_once_and_uses_each_time():
    known = ["The violin is made of wood."]
    stems, uses = unseen_words(["Violins, pottery and pottery", "Which wood?"], known)
    assert stems == pytest.approx(1 / 3)  # violin, potteri, wood
    assert uses == pytest.approx(2 / 4)
    assert np.isnan(unseen_words(["What of it?"], known)).all()


def test_what_was_said_is_utterances_and_answers():
    turn = Turn("c", "c_1", "Why?", (("a", "b"),), "So.", {}, (), None, {})
    assert said([turn]) == ["Why?", "So."]


def test_unseen_weight_is_the_share_on_terms_that_no_known_vector_has():
    known = sparse.csr_matrix(np.array([[1.0, 0, 0, 0], [0, 2.0, 0, 0]]))
    queries = sparse.csr_matrix(np.array([[3.0, 0, 1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]]))
    assert unseen_weight(queries, known).tolist() == [0.25, 0.0, 0.0]


def test_a_passage_is_counted_in_every_window_it_stands_in():
    run = DistillationRun(
        ["q", "r"], ["a", "b", "c"], np.array([[1, 0, 2], [1, 2, -1]], np.int32),
        np.ones((2, 3), np.float32),
    )  # fmt: skip
    turns = [
        Turn("c", str(i), "u", (), "", {}, pids, None, {})
        for i, pids in enumerate([("a",), ("b",), ("c", "b"), ("elsewhere",), ()])
    ]
    assert times_shown(turns, run, 2).tolist() == [1, 2, 2, 0, 0]
    assert times_shown(turns, run, 3).tolist() == [1, 2, 2, 0, 0]
    assert times_shown(turns[2:3], run, 1).tolist() == [2]


# What is lost


def test_a_shift_is_the_difference_of_two_means_with_welchs_test():
    rng = np.random.default_rng(3)
    here, there = rng.normal(0.6, 0.2, 200), rng.normal(0.5, 0.3, 90)
    found = shift(here, there, comparisons=4)
    assert found.difference == pytest.approx(there.mean() - here.mean())
    assert found.p == pytest.approx(4 * stats.ttest_ind(there, here, equal_var=False).pvalue)
    half = 1.96 * np.sqrt(here.var() / 200 + there.var() / 90)
    assert found.low == pytest.approx(found.difference - half, abs=0.01)
    assert found.high == pytest.approx(found.difference + half, abs=0.01)
    assert found == shift(here, there, comparisons=4)


def test_a_shift_of_constants_is_certain_and_one_turn_is_none():
    assert shift(np.ones(3), np.ones(5)).p == 1.0
    assert shift(np.ones(3), np.zeros(5)).p == 0.0
    with pytest.raises(DiscoError, match="two turns"):
        shift(np.ones(1), np.ones(5))


def test_a_lead_is_on_the_turns_that_both_have():
    a = record("student-kl", {"1": [1.0, 0.5, 0.0], "2": [0.0, 0.5, 1.0]}, ["x", "y", "z"])
    b = record("splade-rewrite", {"-": [0.25, 0.5]}, ["z", "x"])
    assert lead(a, b, "MRR@10").tolist() == [0.0, 0.25]


def test_values_by_conversation_are_its_turns_mean():
    found = record("student-kl", {"1": [1.0, 0.0, 0.5]}, conversations=["c", "c", "d"])
    assert by_conversation(found, "MRR@10").tolist() == [0.5, 0.5]
    with pytest.raises(DiscoError, match="no conversations"):
        by_conversation(record("student-kl", {"1": [1.0, 0.0]}), "MRR@10")


def test_rows_show_what_a_system_loses_and_what_its_lead_becomes():
    here = {
        "student-kl": record("student-kl", {"1": [1.0, 0.5], "2": [1.0, 0.0]}),
        "splade-rewrite": record("splade-rewrite", {"-": [0.5, 0.0]}),
    }
    there = {
        "student-kl": record("student-kl@ood", {"1": [0.5, 0.25, 0.0], "2": [0.5, 0.25, 0.0]}),
        "splade-rewrite": record("splade-rewrite@ood", {"-": [0.5, 1.0, 0.0]}),
    }
    (row,) = shift_rows(MINI, here, there, ["student-kl"], "MRR@10")
    assert row["system"] == "DiSCo student (KLD)"
    assert (row["in domain"], row["out of domain"], row["of its value"]) == (
        "0.625",
        "0.250",
        "-60%",
    )
    (row,) = lead_rows(MINI, here, there, ["student-kl"], "splade-rewrite", "MRR@10")
    assert (row["in domain"], row["out of domain"]) == ("+0.375", "-0.250")
    assert row["change"].startswith("-0.625 [")


def test_records_of_other_places_are_listed_tier_by_tier():
    stored = {
        "mini": {
            "student-kl": record("student-kl", {"1": [1.0, 0.0]}),
            "student-kl@ood": record("student-kl@ood", {"1": [0.5, 0.25]}),
        },
        "qrecc": {},
    }
    (row,) = taken_results(stored, ["MRR@10", "R@100"])
    assert row == {
        "where": "mini: out of domain", "system": "DiSCo student (KLD)", "LLM calls": 0,
        "in domain": "0.500", "MRR@10": "0.375", "R@100": "0.375",
    }  # fmt: skip
    assert taken_results({"paper": {}}, ["MRR@10"]) == []


# Figure


def test_dumbbells_put_both_dots_of_each_system_on_its_row():
    rows = {"A": (Point(0.5, 0.4, 0.6), Point(0.3, 0.2, 0.4)), "B": (Point(0.2, 0.1, 0.3),) * 2}
    (axis,) = dumbbells(rows, "MRR@10", ("here", "there")).axes
    dots = [line for line in axis.get_lines() if line.get_marker() in "os"]
    assert [dot.get_xdata().tolist() for dot in dots] == [[0.5, 0.2], [0.3, 0.2]]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["A", "B"]
    with pytest.raises(DiscoError, match="at least one row"):
        dumbbells({}, "MRR@10", ("here", "there"))
