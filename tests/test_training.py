import copy
import json

import numpy as np
import pytest
import torch
from scipy import sparse

from disco_lib import storage, training
from disco_lib.conversations import Limits
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.losses import Objective, kl_divergence
from disco_lib.sampling import WindowSampler
from disco_lib.teachers import DistillationRun, mean_over_teachers, teach
from disco_lib.training import (
    Collator,
    DistilSettings,
    DistilTrainer,
    Example,
    Schedule,
    distil,
    read_log,
)
from disco_lib.vectors import cached_vectors

LENGTH = 48
SETTINGS = DistilSettings(
    objective={"kl_divergence": 1.0, "info_nce": {"weight": 0.1, "negatives": "batch"}, "l1": 0.01},
    limits=Limits(16, 16, LENGTH),
    sampler=WindowSampler(negatives=6, start=1, end=20),
    steps=12,
    batch_size=4,
    learning_rate=3e-3,
    warmup=0.1,
    document_length=LENGTH,
    seed=5,
)


def settings(**changes):
    return DistilSettings.from_dict({**SETTINGS.to_dict(), **changes})


@pytest.fixture
def teacher(collection, encoder):
    return teach(collection, "train", ["gold"], encoder, 40, max_length=LENGTH)


@pytest.fixture
def train(collection, encoder, teacher, tmp_path):
    """Train a fresh copy of the tiny encoder into a folder of that name."""

    def run(name="student", wanted=SETTINGS, **options):
        options = {"save_steps": 3, "progress": False, "teacher": teacher, **options}
        start = copy.deepcopy(encoder)
        return distil(start, collection, settings=wanted, out=tmp_path / name, **options)

    return run


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


def same_weights(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stop_at(patch, step):
    """Let the collator fail, as an interruption would, when it is asked for batch `step` + 1."""
    collate, calls = Collator.__call__, []

    def failing(self, items):
        calls.append(len(items))
        if len(calls) > step:
            raise KeyboardInterrupt
        return collate(self, items)

    patch.setattr(Collator, "__call__", failing)
    return calls


def mean_kl(student, collection, teacher, wanted):
    """Return the KL divergence over the teacher's whole ranking of every training turn."""
    turns = collection.iter_turns("train")
    ids = [
        training.context_ids(turn, wanted.input, student.tokenizer, wanted.limits)
        for turn in turns
    ]
    assert [turn.turn_id for turn in turns] == teacher.turn_ids
    documents = cached_vectors(student, collection.passage_texts(), collection.pids, LENGTH)
    product = student.encode(ids, LENGTH) @ documents.rows.T
    own = np.take_along_axis(product.toarray(), np.asarray(teacher.documents), axis=1)
    return float(kl_divergence(torch.from_numpy(own), torch.as_tensor(np.array(teacher.scores))))


# Training


def test_training_brings_the_student_nearer_to_its_teacher(train, collection, encoder, teacher):
    wanted = settings(objective={"kl_divergence": 1.0}, steps=60, dropout=0.0)
    student = train(wanted=wanted, document_encoder=encoder)
    log = [entry["kl_divergence"] for entry in read_log(train.__closure__ and student_folder(train))]
    assert np.mean(log[-5:]) < 0.6 * np.mean(log[:5])


def student_folder(train):
    return train.folder


def test_a_checkpoint_is_whole_or_not_there(train, tmp_path, monkeypatch):
    pass
