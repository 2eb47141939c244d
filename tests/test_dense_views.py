import numpy as np
import pytest

from disco_lib.dense_views import alignment_table, beside_report, pair_scores, study_table
from disco_lib.errors import DiscoError
from disco_lib.papers import load_paper
from disco_lib.records import Record, intervals

TEACHER = [0.1, 0.3, 0.5, 0.9]


def record(*students, **costs):
    metrics = ("Pearson", "MAE", "R@10", "nDCG@10", "F1")
    seeds = {str(i): {m: [0.25, 0.5, 0.75, 1.0] for m in metrics} for i, _ in enumerate(students)}
    by_turn = {
        str(i): {"teacher_score": TEACHER, "score": list(own)} for i, own in enumerate(students)
    }
    return Record(
        "tiny", "one", "One", {}, "hash", ["a", "b", "c", "d"], seeds, {},
        {seed: costs for seed in seeds}, intervals(seeds), {}, turn_costs=by_turn,
    )  # fmt: skip


def test_scores_come_by_seed():
    found = pair_scores(record([0.2, 0.2, 0.6, 1.0], [0.1] * 4))
    assert list(found) == ["0", "1"]
    np.testing.assert_array_equal(found["0"][0], TEACHER)
    np.testing.assert_array_equal(found["1"][1], [0.1] * 4)


def test_a_record_without_similarities_is_told():
    other = record([0.2] * 4)
    other.turn_costs["0"].pop("score")
    with pytest.raises(DiscoError, match="no similarities.*disco measure --tier tiny --system one"):
        pair_scores(other)


def test_a_study_shows_the_costs_that_some_record_has():
    found = {"a": record(TEACHER, pairs=12, training_flops=2.5e12), "b": record(TEACHER)}
    frame = study_table(found, "way", costs=("pairs", "training_flops", "seconds")).frame
    assert list(frame)[:3] == ["way", "pairs", "training, TFLOP"] and "seconds" not in frame
    assert frame["pairs"].tolist() == ["12", ""] and frame["training, TFLOP"][0] == "2.50"
    assert frame["r"][0].startswith("0.625 [") and frame["R@10"][0] == "0.625"
    with pytest.raises(DiscoError, match="No cost 'euros'; there are: pairs"):
        study_table(found, "way", costs=("euros",))


def test_alignment_is_shown_of_all_selected_and_other_pairs():
    frame = alignment_table(record([0.2, 0.4, 0.6, 1.0], [0.0, 0.2, 0.4, 0.8]), 0.5).frame
    assert frame["held-out pairs"].tolist() == ["all", "selected", "the rest"]
    assert frame["pairs"].tolist() == [4, 2, 2]
    assert frame["mae"].tolist() == ["0.100"] * 3 and frame["bias"].tolist() == ["0.000"] * 3
    assert frame["pearson"].tolist() == ["1.000"] * 3
    only = alignment_table(record(TEACHER), 2.0).frame
    assert only["held-out pairs"].tolist() == ["all", "the rest"]


def test_a_cell_that_was_never_filled_stands_above_what_was_measured():
    rows = load_paper("selective").tables["1"]["rows"]
    tiers = {"tiny": {"hybrid-contrastive": record(TEACHER)}, "other": {}}
    frame = beside_report(rows, tiers, ["Pearson", "F1"]).frame
    report = frame[frame["from"] == "report"]
    assert report["Pearson"].tolist() == ["0.xx"] * 3 + ["0.3531", "0.xx"]
    assert frame["from"].tolist() == ["report", "tiny", *["report"] * 4]
    assert frame["F1"][1].startswith("0.625 [") and frame["method"][1] == ""
