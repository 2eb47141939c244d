import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Qrels, Run

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.metrics import METRICS, evaluate, remove_earlier_answers
from disco_lib.runs import run_from_dict

#: The book's metrics in ir_measures' spelling; its nDCG has linear gain unless told otherwise.
PEERS = {
    "MRR@10": ir_measures.RR @ 10,
    "MRR": ir_measures.RR,
    "R@10": ir_measures.R @ 10,
    "R@100": ir_measures.R @ 100,
    "nDCG@3": ir_measures.nDCG @ 3,
}


def qrels(judgements):
    """Return ranx qrels of {turn: {pid: grade}}."""
    # With names of one length, because ranx compiles anew for each length.
    assert all(len(pid) == 2 for grades in judgements.values() for pid in grades)
    return Qrels(judgements)


def pid(number):
    """Return a name of two letters; names are in the order of their numbers."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


def random_case(seed, turns=12, passages=200):
    """Draw graded judgements and a run with distinct scores; some turns have no result."""
    draw = np.random.default_rng(seed)
    pids = [pid(i) for i in range(passages)]
    judged, results = {}, {}
    for i in range(turns):
        some = draw.choice(passages, draw.integers(1, 30), replace=False)
        grades = {pids[j]: int(draw.integers(0, 5)) for j in some}
        judged[f"t{i:02d}"] = grades | {pids[some[0]]: int(draw.integers(1, 5))}
        listed = draw.choice(passages, draw.integers(0, min(151, passages)), replace=False)
        scores = draw.permutation(len(listed)) / 7 - 3
        results[f"t{i:02d}"] = {pids[j]: float(s) for j, s in zip(listed, scores, strict=True)}
    return judged, results


def peer_values(judged, results, turn_ids):
    """Return ir_measures' value of each metric and turn; 0 where it has none."""
    found = {
        (str(row.measure), row.query_id): row.value
        for row in ir_measures.iter_calc(list(PEERS.values()), judged, results)
    }
    return {
        name: [found.get((str(measure), turn), 0.0) for turn in turn_ids]
        for name, measure in PEERS.items()
    }


def turn(turn_id, history=(), positives=()):
    return Turn("c", turn_id, "and then?", tuple(history), "", {}, tuple(positives), None, {})


# Values


def test_the_metrics_by_hand():
    # Relevant: a (grade 3), b (1), c (1). The run has b at rank 2 and a at rank 3, c nowhere.
    judged = {"t": {"aa": 3, "bb": 1, "cc": 1, "xx": 0}}
    run = run_from_dict({"t": {"xx": 9.0, "bb": 8.0, "aa": 7.0, "yy": 6.0}})
    found = evaluate(qrels(judged), run).mean()
    assert found["MRR"] == found["MRR@10"] == 0.5
    assert found["R@10"] == found["R@100"] == pytest.approx(2 / 3)
    # Gains 0, 1, 3 over log2 of 2, 3, 4; the best order has 3, 1, 1.
    best = 3 + 1 / np.log2(3) + 1 / 2
    assert found["nDCG@3"] == pytest.approx((1 / np.log2(3) + 3 / 2) / best)


def test_the_cutoffs_by_hand():
    ranking = {pid(i): 200.0 - i for i in range(150)}
    for rank, expected in {
        1: (1, 1, 1, 1, 1),
        3: (1 / 3, 1 / 3, 1, 1, 1 / 2),
        4: (1 / 4, 1 / 4, 1, 1, 0),
        10: (1 / 10, 1 / 10, 1, 1, 0),
        11: (0, 1 / 11, 0, 1, 0),
        100: (0, 1 / 100, 0, 1, 0),
        101: (0, 1 / 101, 0, 0, 0),
    }.items():
        found = evaluate(qrels({"t": {pid(rank - 1): 1}}), run_from_dict({"t": ranking}))
        means = found.mean()
        values = [means[name] for name in ("MRR@10", "MRR", "R@10", "R@100", "nDCG@3")]
        assert values == pytest.approx(expected), f"rank {rank}"


@pytest.mark.parametrize("seed", range(8))
def test_random_runs_against_ir_measures(seed):
    judged, results = random_case(seed)
    found = evaluate(qrels(judged), run_from_dict(results))
    assert found.turn_ids == tuple(judged)
    for name, expected in peer_values(judged, results, found.turn_ids).items():
        np.testing.assert_allclose(found.values[name], expected, atol=1e-6, err_msg=name)
        assert found.mean()[name] == pytest.approx(np.mean(expected), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_more_random_runs_against_ir_measures(seed, passages):
    judged, results = random_case(seed, turns=3, passages=max(passages, 30))
    found = evaluate(qrels(judged), run_from_dict(results))
    for name, expected in peer_values(judged, results, found.turn_ids).items():
        np.testing.assert_allclose(found.values[name], expected, atol=1e-6, err_msg=name)


# Turns


def test_turns_without_a_result_count_0():
    judged = {f"t{i}": {"aa": 1} for i in range(4)}
    run = run_from_dict({"t1": {"aa": 1.0}, "t3": {}, "other": {"aa": 1.0}})
    found = evaluate(qrels(judged), run)
    assert found.turn_ids == ("t0", "t1", "t2", "t3")
    for values in found.values.values():
        assert values.tolist() == [0, 1, 0, 0]
    assert found.mean() == dict.fromkeys(METRICS, 0.25)


def test_a_run_without_any_result_counts_0():
    for run in (Run(), run_from_dict({}), run_from_dict({"t": {}})):
        assert set(evaluate(qrels({"t0": {"aa": 1}}), run).mean().values()) == {0.0}


def test_the_order_of_turn_ids_is_kept():
    # In another order than that of text, of which "t10" < "t2" < "t9" < "ü".
    names = ["t9", "ü", "t10", "t2"]
    judged = {name: {"aa": 1} for name in names}
    ranking = [{"aa": 9.0}, {"bb": 9.0, "aa": 8.0}, {"bb": 9.0}, {"bb": 9.0, "cc": 8.0, "aa": 7.0}]
    run = run_from_dict(dict(zip(names, ranking, strict=True)))
    expected = dict(zip(names, [1, 1 / 2, 0, 1 / 3], strict=True))
    for order in (names, names[::-1], sorted(names), ["ü", "t2"]):
        found = evaluate(qrels(judged), run, ["MRR"], order)
        assert found.turn_ids == tuple(order)
        assert found.values["MRR"].tolist() == [expected[name] for name in order]


def test_a_turn_asked_for_twice_counts_once():
    judged = {"t0": {"aa": 1}, "t1": {"aa": 1}}
    found = evaluate(qrels(judged), run_from_dict({"t1": {"aa": 1.0}}), ["MRR"], ["t1", "t1", "t0"])
    assert found.turn_ids == ("t1", "t0")
    assert found.values["MRR"].tolist() == [1, 0]


def test_turns_without_a_relevant_passage_are_left_out():
    judged = {"t0": {"aa": 0}, "t1": {"aa": 1}}
    run = run_from_dict({"t0": {"aa": 1.0}, "t1": {"aa": 1.0}})
    assert evaluate(qrels(judged), run).turn_ids == ("t1",)
    for asked in ("t0", "t7"):
        with pytest.raises(DiscoError, match=f"Turn '{asked}' has no relevant passage"):
            evaluate(qrels(judged), run, turn_ids=["t1", asked])


def test_nothing_to_evaluate_is_an_error():
    run = run_from_dict({"t0": {"aa": 1.0}})
    for judged, asked in (({"t0": {"aa": 0}}, None), ({"t0": {"aa": 1}}, [])):
        with pytest.raises(DiscoError, match="No turn to evaluate"):
            evaluate(qrels(judged), run, turn_ids=asked)


# Ties


@pytest.mark.parametrize("n", [2, 15, 16, 40, 120])
def test_equal_scores_count_in_the_runs_order(n):
    ranking = {pid(i): 1.0 for i in range(n)}
    for place in (0, n // 2, n - 1):
        judged = {"t": {pid(place): 1}}
        found = evaluate(qrels(judged), run_from_dict({"t": ranking})).mean()
        assert found["MRR"] == pytest.approx(1 / (place + 1))
        assert found["R@10"] == (place < 10)


def test_ties_in_the_order_of_trec_eval_agree_with_it():
    # trec_eval takes the later name first among equals. RR@10 is by another provider, with ties of
    # its own.
    results = {"t": {pid(i): float(i // 7) for i in reversed(range(60))}}
    judged = {"t": {pid(40): 2, pid(52): 1, pid(59): 3, pid(57): 1}}
    found = evaluate(qrels(judged), run_from_dict(results))
    expected_values = peer_values(judged, results, ["t"])
    for name in ("MRR", "R@10", "R@100", "nDCG@3"):
        expected = expected_values[name]
        np.testing.assert_allclose(found.values[name], expected, atol=1e-6, err_msg=name)


def test_the_run_itself_is_not_changed():
    run = run_from_dict({"t0": {"aa": 1.0, "bb": 2.0}, "t1": {"aa": 1.0}})
    before = run.to_dict()
    evaluate(qrels({"t0": {"aa": 1}}), run)
    assert run.to_dict() == before


# Metrics by name


def test_only_the_metrics_asked_for_are_given_in_their_order():
    judged, results = random_case(1)
    every = evaluate(qrels(judged), run_from_dict(results))
    some = evaluate(qrels(judged), run_from_dict(results), ["nDCG@3", "MRR"])
    one = evaluate(qrels(judged), run_from_dict(results), ["R@10"])
    assert list(some.values) == ["nDCG@3", "MRR"] and list(one.values) == ["R@10"]
    for found in (some, one):
        for name, values in found.values.items():
            np.testing.assert_array_equal(values, every.values[name])


def test_an_unknown_metric_lists_those_there_are():
    with pytest.raises(DiscoError, match=r"No metric 'MAP'; there are: MRR@10, MRR, R@10"):
        evaluate(qrels({"t0": {"aa": 1}}), Run(), ["MRR", "MAP"])


# Earlier answers


TEXTS = {"p1": "Four strings.", "p2": "Of  wood.\n", "p3": "Four strings.", "p4": "Gut."}


def test_earlier_answers_are_removed():
    run = run_from_dict({"t": {"p2": 4.0, "p1": 3.0, "p4": 2.0, "p3": 1.0}})
    history = [("how many?", "Four strings."), ("of what?", "Of wood.")]
    found = remove_earlier_answers(run, [turn("t", history)], TEXTS)
    # Both passages with the text of the first answer go, and white space does not matter.
    assert found.to_dict() == {"t": {"p4": 2.0}}
    assert len(run.to_dict()["t"]) == 4


def test_the_turns_positive_stays_even_if_it_was_said_before():
    run = run_from_dict({"t": {"p1": 3.0, "p3": 2.0, "p4": 1.0}})
    history = [("how many?", "Four strings."), ("of what?", "Gut.")]
    found = remove_earlier_answers(run, [turn("t", history, ["p3"])], TEXTS)
    assert found.to_dict() == {"t": {"p3": 2.0}}


def test_only_the_turns_own_history_counts():
    ranking = {"p1": 3.0, "p4": 1.0}
    run = run_from_dict({name: ranking for name in ("first", "later", "other", "unknown")})
    turns = [
        turn("first"),
        turn("later", [("how many?", "Four strings.")]),
        turn("other", [("how many?", "Four"), ("strings?", ""), ("which?", "four strings.")]),
        turn("not in the run", [("how many?", "Four strings.")]),
    ]
    found = remove_earlier_answers(run, turns, TEXTS).to_dict()
    assert found == {
        "first": ranking, "later": {"p4": 1.0}, "other": ranking, "unknown": ranking
    }  # fmt: skip


def test_a_turn_whose_every_result_goes_counts_0():
    run = run_from_dict({"t": {"p4": 3.0}})
    found = remove_earlier_answers(run, [turn("t", [("of what?", "Gut.")])], TEXTS)
    assert len(found) == 0
    assert evaluate(qrels({"t": {"p1": 1}}), found, ["MRR"]).mean() == {"MRR": 0.0}


def test_an_empty_run_stays_empty():
    assert len(remove_earlier_answers(Run(), [turn("t", [("a", "Gut.")])], TEXTS)) == 0
