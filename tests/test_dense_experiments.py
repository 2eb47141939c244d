from dataclasses import replace

import numpy as np
import pytest

from disco_lib import records
from disco_lib.alignment import align
from disco_lib.dense_costs import encoding_flops
from disco_lib.dense_experiments import SEARCH_METRICS, DenseLaboratory
from disco_lib.dense_training import starting_student
from disco_lib.errors import DiscoError
from disco_lib.pair_values import PAIR_MEASURES
from disco_lib.records import read_record
from disco_lib.tiers import Tier

pytestmark = pytest.mark.usefixtures("short_collections")

STUDENT = {
    "selection": {"kind": "percentile", "percentile": 50},
    "layers": 1,
    "projection": 8,
    "steps": 4,
    "batch_size": 4,
    "learning_rate": 3e-3,
    "query_length": 24,
    "document_length": 32,
}
SYSTEMS = {
    "teacher": {"run": "dense", "encoder": "teacher", "label": "The teacher"},
    "start": {"run": "dense", "encoder": "start"},
    "hybrid": {"run": "dense-student", "label": "A student"},
    "all": {"run": "dense-student", "selection": {"kind": "none"}, "steps": None, "epochs": 1},
}
EARLY = {"run": "dense-student", "steps": None, "epochs": 6, "patience": 1, "validation": 0.2}
THERE = {"data": "", "split": "train", "label": "there", "systems": ["hybrid"]}


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path / "repository")


@pytest.fixture
def tier(collection_folder, encoder_folder, dense_encoder, tmp_path):
    dense_encoder.save_pretrained(tmp_path / "teacher")
    dense = {
        "teacher": str(tmp_path / "teacher"), "rewriter": "gold", "teacher_length": 32,
        "selected": 80, "student": STUDENT, "systems": SYSTEMS, "draft_share": 0.5,
        "grids": {"layers": {"base": "hybrid", "vary": "layers", "values": [1, 2]}},
    }  # fmt: skip
    return Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        seeds=(1, 2), depth=20, teacher_depth=20,
        evaluation={"later_turns": True, "remove_earlier_answers": False},
        distil={}, systems={}, dense=dense, draft={"seeds": [1]},
        elsewhere={"there": {**THERE, "data": str(collection_folder)}},
    )  # fmt: skip


@pytest.fixture
def laboratory(tier):
    return DenseLaboratory(tier, progress=False)


def test_a_record_holds_search_pairs_and_costs(laboratory, collection):
    record = laboratory.measure("hybrid")
    turns = [turn for turn in collection.iter_turns("test") if turn.depth > 1]
    assert record.turn_ids == [turn.turn_id for turn in turns] and len(turns) == 10
    assert record.seeds == ["1", "2"] and record.label == "A student"
    for values in record.values.values():
        assert set(values) == {*SEARCH_METRICS, *PAIR_MEASURES}
    for seed in (1, 2):
        encoder, costs = laboratory.student("hybrid", seed), record.turn_costs[str(seed)]
        queries = encoder.encode([turn.rewrites["gold"] for turn in turns], 24)
        documents = encoder.encode([turn.answer for turn in turns], 32)
        np.testing.assert_allclose(costs["score"], (queries * documents).sum(1), atol=2e-6)
        found = align(np.array(costs["teacher_score"]), np.array(costs["score"]))
        assert np.mean(record.values[str(seed)]["MAE"]) == pytest.approx(found.mae, abs=1e-5)
        assert np.mean(record.values[str(seed)]["Pearson"]) == pytest.approx(
            found.pearson, abs=1e-4
        )
        passages = encoder.encode(collection.passage_texts(), 32)
        best = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :10]
        own = [collection.pids.index(turn.positives[0]) for turn in turns]
        hits = [place in row for place, row in zip(own, best, strict=True)]
        assert record.values[str(seed)]["R@10"] == hits
    ids = encoder.token_ids([turn.rewrites["gold"] for turn in turns], 24)
    flops = encoding_flops(encoder, map(len, ids)).mean()
    assert record.cost("query_flops") == pytest.approx(flops)
    assert (record.cost("pairs"), record.cost("steps")) == (15, 4)
    assert record.cost("training_flops") > 0 and record.cost("seconds") >= 0
    assert record.cost("agreement@10") == 1  # ten pairs, of which ten are looked at


def test_the_teacher_agrees_with_itself(laboratory):
    record = laboratory.measure("teacher")
    assert record.seeds == ["-"] and record.mean("MAE") == 0
    assert record.mean("Pearson") == pytest.approx(1) and record.mean("F1") == pytest.approx(1)
    assert record.cost("agreement@5") == 1
    assert record.cost("query_flops") > laboratory.measure("start").cost("query_flops")


def test_the_start_is_a_student_that_was_not_trained(laboratory):
    start = laboratory.encoder_of("start", 2)
    expected = starting_student(laboratory.teacher, laboratory.student_settings("start", 2))
    assert start.fingerprint() == expected.fingerprint() and not start.training
    assert not laboratory.learns("start") and laboratory.learns("hybrid")


def test_passes_over_more_pairs_are_more_steps_and_cost_more(laboratory):
    every, half = laboratory.measure("all"), laboratory.measure("hybrid")
    assert (every.cost("pairs"), every.cost("steps")) == (30, 7)
    assert every.cost("training_flops") > half.cost("training_flops")
    assert every.cost("query_flops") == half.cost("query_flops")


def test_a_system_can_be_taken_elsewhere(laboratory):
    record = laboratory.measure("hybrid@there")
    assert len(record.turn_ids) == 30 and record.settings["split"] == "train"


def test_early_stopping_leaves_its_best_step_in_the_record(tier):
    dense = {**tier.dense, "systems": {**SYSTEMS, "early": EARLY}}
    laboratory = DenseLaboratory(replace(tier, dense=dense), progress=False)
    record = laboratory.measure("early")
    for seed in (1, 2):
        log, costs = laboratory.validation_log("early", seed), record.costs[str(seed)]
        best = min(log, key=lambda entry: entry["eval_loss"])
        assert costs["best_step"] == best["step"]
        assert costs["validation_loss"] == pytest.approx(best["eval_loss"], abs=1e-6)
        assert costs["steps"] == laboratory.training_log("early", seed)[-1]["step"]
        assert costs["pairs"] == len(laboratory.chosen("early", seed).places)
    assert "best_step" not in laboratory.measure("hybrid").costs["1"]


def test_a_record_is_found_again_and_published(laboratory, monkeypatch):
    first = laboratory.measure("hybrid")
    monkeypatch.setattr(DenseLaboratory, "student", None)
    assert laboratory.record("hybrid") == first
    laboratory.measure("hybrid", publish=True)
    assert read_record(records.measured_root() / "tiny" / "hybrid.json") == first
    assert laboratory.record_if_there("hybird") is None


def test_settings_tell_systems_apart(laboratory, tier):
    names = ["teacher", "start", "hybrid", "all", "layers-2", "hybrid@there"]
    found = [records.settings_hash(laboratory.settings(name)) for name in names]
    assert len(set(found)) == len(names)
    other = replace(tier, dense={**tier.dense, "selected": 70})
    changed = DenseLaboratory(other, progress=False).settings("hybrid")
    assert records.settings_hash(changed) not in found


def test_a_draft_is_shorter_and_says_so(laboratory):
    record = laboratory.record("hybrid")
    assert record.label == "A student (draft)" and record.seeds == ["1"]
    assert record.cost("steps") == 2
    assert laboratory.record("all").cost("steps") == 4
    assert laboratory.record("teacher").label == "The teacher"


def test_the_log_and_the_chosen_pairs_of_a_student(laboratory):
    log = laboratory.training_log("hybrid", 1)
    assert {"contrastive", "diagonal_mse"} <= set(log[0])
    assert len(laboratory.chosen("hybrid", 1).places) == 15


def test_the_score_from_which_a_pair_is_selected_is_of_the_training_pairs(laboratory):
    scores = laboratory.train_pairs.annotation.scores
    assert laboratory.selected_from == pytest.approx(np.percentile(scores, 80))


def test_a_tier_without_dense_systems_is_told(tier):
    with pytest.raises(DiscoError, match="Tier tiny has no dense systems"):
        DenseLaboratory(replace(tier, dense={}))
