import copy

import numpy as np
import pytest
import torch

from disco_lib import dense_training
from disco_lib.dense_collator import DenseCollator, columns_of, teacher_scores
from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_losses import DenseBatch, DenseObjective
from disco_lib.dense_settings import DenseSettings
from disco_lib.dense_training import (
    distil_dense,
    read_dense_log,
    read_validation_log,
    selected_turns,
    starting_student,
)
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.pair_set import PairSet, choose
from disco_lib.pairs import pairs_of_collection

pytestmark = pytest.mark.usefixtures("short_collections")

VALUES = {
    "selection": {"kind": "percentile", "percentile": 40},
    "layers": 1,
    "projection": 8,
    "steps": 7,
    "batch_size": 4,
    "learning_rate": 3e-3,
    "query_length": 24,
    "document_length": 32,
    "seed": 5,
}


def settings(**changes):
    return DenseSettings.from_dict({**VALUES, **changes})


@pytest.fixture
def pairs(collection):
    return pairs_of_collection(collection, "train").pairs


@pytest.fixture
def train(dense_encoder, pairs, tmp_path):
    def run(name="student", **changes):
        return distil_dense(
            copy.deepcopy(dense_encoder), pairs, settings(**changes), tmp_path / name,
            teacher_length=32, save_steps=3, progress=False,
        )  # fmt: skip

    return run


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same(first, second):
    first, second = weights(first), weights(second)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# What is learnt


def test_regression_brings_the_scores_to_the_teachers(train, dense_encoder, pairs, tmp_path):
    student = train(
        objective={"diagonal_mse": 1.0}, steps=40, selection={"kind": "none"}, dropout=0.0,
        head_dropout=0.0,
    )  # fmt: skip
    log = [entry["diagonal_mse"] for entry in read_dense_log(tmp_path / "student")]
    assert log[-1] < 0.5 * log[0]

    def error(encoder):
        sides = ([p.query for p in pairs], [p.document for p in pairs])
        teacher, own = (
            np.einsum("pd,pd->p", *(e.encode(side, 32) for side in sides))
            for e in (dense_encoder, encoder)
        )
        return np.abs(teacher - own).mean()

    start = starting_student(dense_encoder, settings())
    assert error(student) < error(start)


@pytest.mark.parametrize(
    "objective",
    [
        {"contrastive": {"weight": 1.0, "temperature": 0.1}, "diagonal_mse": 0.1},
        {"batch_kl": 1.0},
        {"classical_distillation": {"weight": 1.0, "alpha": 0.5, "temperature": 2, "scale": 32}},
    ],
)
def test_every_objective_trains_and_logs_its_parts(train, tmp_path, objective):
    train(objective=objective)
    first, *_ = read_dense_log(tmp_path / "student")
    assert set(objective) <= set(first)
    assert {"own_similarity", "other_similarity", "teacher_score"} <= set(first)
    assert len(read_dense_log(tmp_path / "student")) == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives": {"kind": "random", "negatives": 2}},
        {"negatives": {"kind": "hard", "negatives": 1, "end": 5}},
        {"queue": 6, "objective": {"batch_kl": 1.0}},
    ],
)
def test_further_negatives_change_what_is_learnt(train, changes):
    assert not same(train("plain"), train("more", **changes))


def test_it_learns_from_the_selected_pairs_alone(train, pairs, dense_encoder, tmp_path):
    train()
    chosen = choose(PairSet.of(pairs, dense_encoder, 32), settings()).places
    assert selected_turns(tmp_path / "student") == [pairs[i].turn_id for i in chosen]
    assert len(chosen) == 18


def test_steps_are_those_asked_for_or_passes_over_the_selected(train, tmp_path):
    train()
    assert read_dense_log(tmp_path / "student")[-1]["step"] == 7
    train("passes", steps=None, epochs=2.5)
    assert read_dense_log(tmp_path / "passes")[-1]["step"] == 10


# The start


def test_the_start_is_the_first_layers_with_a_head_of_the_seed(dense_encoder):
    start = starting_student(dense_encoder, settings())
    assert (start.layers, start.dimensions, start.pooling) == (1, 8, "cls") and start.normalize
    assert same(start, starting_student(dense_encoder, settings()))
    assert not same(start, starting_student(dense_encoder, settings(seed=6)))
    plain = starting_student(dense_encoder, settings(projection=None, layers=None, dropout=0.3))
    assert (plain.layers, plain.dimensions) == (2, 16)
    assert {m.p for m in plain.model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}


def test_a_student_may_start_from_another_encoder(pairs, dense_encoder, tmp_path):
    base = starting_student(dense_encoder, settings(projection=None))
    wanted = settings(layers=None)
    student = distil_dense(dense_encoder, pairs, wanted, tmp_path / "s", base, progress=False)
    assert student.layers == 1


# Early stopping

EARLY = {"steps": None, "epochs": 20, "patience": 2, "validation": 0.25, "learning_rate": 0.03}


def test_it_stops_after_so_many_passes_without_a_lower_loss(train, tmp_path):
    train(**EARLY)
    found = read_validation_log(tmp_path / "student")
    losses = [entry["eval_loss"] for entry in found]
    assert len(losses) < 20 and int(np.argmin(losses)) == len(losses) - 3
    assert [entry["step"] for entry in found] == [3 * (i + 1) for i in range(len(losses))]
    assert read_dense_log(tmp_path / "student")[-1]["step"] == found[-1]["step"]


def test_the_student_is_that_of_the_lowest_loss(train, pairs, dense_encoder, tmp_path):
    student = train(**EARLY)
    losses = [entry["eval_loss"] for entry in read_validation_log(tmp_path / "student")]
    annotated, wanted = PairSet.of(pairs, dense_encoder, 32), settings(**EARLY)
    held = choose(annotated, wanted).validation  # one batch
    sides = (
        torch.tensor(student.encode([getattr(pairs[i], side) for i in held], length))
        for side, length in (("query", 24), ("document", 32))
    )
    batch = DenseBatch(*sides, torch.tensor(annotated.annotation.scores[held]))
    loss = float(DenseObjective(wanted.objective)(batch)["loss"])
    assert loss == pytest.approx(min(losses), abs=0.005) and losses[-1] > min(losses) + 0.02
    assert not same(student, train("whole", **EARLY | {"patience": None}))


def test_the_held_out_are_selected_pairs_that_are_not_trained_on(pairs, dense_encoder):
    annotated = PairSet.of(pairs, dense_encoder, 32)
    every = choose(annotated, settings()).places
    chosen = choose(annotated, settings(**EARLY))
    assert len(chosen.validation) == 4 and not set(chosen.validation) & set(chosen.places)
    assert sorted([*chosen.validation, *chosen.places]) == every.tolist()
    other = choose(annotated, settings(**EARLY, seed=6))
    assert chosen.validation.tolist() != other.validation.tolist()
    assert not len(choose(annotated, settings()).validation)


def test_one_pair_cannot_be_held_out_and_trained_on(pairs, dense_encoder):
    annotated = PairSet.of(pairs, dense_encoder, 32)
    with pytest.raises(DiscoError, match="needs two pairs or more"):
        choose(annotated, settings(**EARLY, keep=1 / len(pairs)))


def test_without_patience_there_is_no_validation(train, tmp_path):
    train()
    assert read_validation_log(tmp_path / "student") == []


@pytest.mark.parametrize("queue", [0, 6])
@pytest.mark.parametrize("batches", [5, 9, 11])
def test_an_interrupted_early_stop_ends_with_the_same_student(
    train, monkeypatch, tmp_path, batches, queue
):
    whole = train("whole", **EARLY, queue=queue)
    compute, calls = dense_training.DenseTrainer.compute_loss, []

    def failing(self, *arguments, **named):
        calls.append(arguments)
        if len(calls) > batches:
            raise KeyboardInterrupt
        return compute(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(dense_training.DenseTrainer, "compute_loss", failing)
        with pytest.raises(KeyboardInterrupt):
            train(**EARLY, queue=queue)
    assert same(train(**EARLY, queue=queue), whole)
    for read in (read_dense_log, read_validation_log):
        assert read(tmp_path / "whole") == read(tmp_path / "student")


def test_an_early_stop_before_it_is_written_is_repeated(train, monkeypatch, tmp_path):
    whole = train("whole", **EARLY)
    with monkeypatch.context() as patch:
        patch.setattr(dense_training, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(**EARLY)
    assert same(train(**EARLY), whole)
    logs = [read_validation_log(tmp_path / name) for name in ("whole", "student")]
    assert logs[0] == logs[1]


# Kept, found again, resumed


def test_a_finished_student_is_loaded_and_not_trained_again(train, monkeypatch):
    first = train()
    monkeypatch.setattr(dense_training, "_trainer", None)
    assert same(train(), first)
    assert isinstance(first, DenseEncoder) and not first.training


def test_a_folder_of_other_settings_is_not_replaced(train):
    train()
    with pytest.raises(DiscoError, match="student of other settings"):
        train(steps=8)


def test_a_student_of_another_precision_is_another_student(train, monkeypatch):
    train()
    fast = dense_training.multiplies_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(dense_training, "multiplies_bfloat16", lambda device: not fast)
    with pytest.raises(DiscoError, match="student of other settings"):
        train()


def test_a_changed_file_is_found(train, tmp_path):
    train()
    log = tmp_path / "student" / "distil_log.json"
    log.write_text(log.read_text().replace("1", "2", 1))
    with pytest.raises(IntegrityError, match="distil_log.json"):
        read_dense_log(tmp_path / "student")


@pytest.mark.parametrize("changes", [{}, {"queue": 6}])
def test_an_interrupted_training_ends_with_the_same_student(train, monkeypatch, tmp_path, changes):
    whole = train("whole", **changes)
    collate, calls = DenseCollator.__call__, []

    def failing(self, items):
        calls.append(items)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return collate(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(DenseCollator, "__call__", failing)
        with pytest.raises(KeyboardInterrupt):
            train(**changes)
    assert not (tmp_path / "student").exists()
    assert [p.name for p in tmp_path.glob(".student.*.work/checkpoint-*")] == ["checkpoint-3"]
    assert same(train(**changes), whole)
    one, other = (read_dense_log(tmp_path / name) for name in ("whole", "student"))
    assert one == other and not list(tmp_path.glob(".student.*.work"))


def test_a_damaged_checkpoint_is_left_aside(train, monkeypatch, tmp_path):
    whole = train("whole")
    with monkeypatch.context() as patch:
        patch.setattr(dense_training, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train()
    (checkpoint,) = tmp_path.glob(".student.*.work/checkpoint-*")
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    assert same(train(), whole)


# A batch


def test_a_batch_holds_the_pairs_own_documents_first(dense_encoder, pairs):
    wanted = settings(negatives={"kind": "random", "negatives": 2})
    pair_set = PairSet.of(pairs, dense_encoder, 32)
    documents = dense_encoder.token_ids([p.document for p in pairs], 32)
    collator = DenseCollator(dense_encoder, pair_set, documents, wanted)
    examples = dense_training._examples(
        dense_encoder, pair_set, choose(pair_set, wanted).places, wanted, documents
    )
    items = [(example, 0) for example in examples[:3]]
    batch, again = collator(items), collator(items)
    assert torch.equal(batch["columns"], again["columns"])
    assert batch["columns"].shape == (9,) and batch["duplicates"].shape == (3, 9)
    assert batch["columns"][:3].tolist() == [e.place for e, _ in items]
    assert batch["document_ids"].shape[0] == 9 and batch["query_ids"].shape[0] == 3
    columns = columns_of(batch)
    matrix = teacher_scores(pair_set, batch, columns, True)
    own = teacher_scores(pair_set, batch, columns, False)
    torch.testing.assert_close(matrix.diagonal(), own)
    expected = pair_set.annotation.similarities(batch["places"].tolist(), columns.documents)
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
