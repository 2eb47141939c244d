"""distil(): train a student on teachers' scores, resuming exactly."""

from __future__ import annotations

import copy
import hashlib
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from disco_lib.collator import Collator
from disco_lib.datasets import Collection
from disco_lib.dense_rows import Encoder
from disco_lib.distil_settings import DistilSettings
from disco_lib.document_side import (
    DocumentSide,
    FrozenDocuments,
    TrainedDocuments,
    check_trainable,
)
from disco_lib.encoders import REBUILD, STUDENT_SETTINGS, SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.exact_scores import ExactScores
from disco_lib.losses import Objective
from disco_lib.precision import multiplies_bfloat16
from disco_lib.schedule import Example, Schedule, make_examples
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    open_sealed,
    read_json,
    seal_folder,
    settings_hash,
    sole_writer,
    work_folder,
    write_json,
)
from disco_lib.teachers import DistillationRun
from disco_lib.text_encoder import set_dropout
from disco_lib.trainer import DistilTrainer
from disco_lib.trainer_arguments import training_arguments, without_printers
from disco_lib.vectors import cached_vectors
from disco_lib.whole_checkpoints import last_checkpoint

FORMAT = "disco-student-1"
DOCUMENT_ENCODER = "document_encoder"


def distil(
    student: Encoder,
    collection: Collection,
    teacher: DistillationRun,
    settings: DistilSettings,
    out: str | Path,
    split: str = "train",
    document_encoder: Encoder | None = None,
    save_steps: int = 100,
    progress: bool = True,
) -> Encoder:
    """Train `student` on the teacher's scores and write it to the folder `out`.

    The student reads settings.input of each turn that the teacher's run holds; documents keep the
    vectors of `document_encoder` (default: the student before training). With settings.documents
    "trained" a copy of that encoder learns too, and `document_encoder_of(out)` returns it. Every
    `save_steps` steps a checkpoint is written; after an interruption the same call goes on from the
    last one and ends with the same weights. A finished `out` of the same settings is loaded, not
    trained again. Raises DiscoError when no turn can be learnt from, for documents of another
    vocabulary, and for an objective with which documents cannot be trained.
    """
    out = Path(out)
    objective = Objective(settings.objective)
    if document_encoder is not None:
        _check_vocabulary(student, document_encoder)
    document_encoder = document_encoder or student
    if settings.documents == "trained":
        check_trainable(objective, document_encoder, settings.document_length)
    identity = {
        "settings": settings.to_dict(),
        "student": student.fingerprint(),
        "documents": document_encoder.fingerprint(),
        "teacher": teacher.settings or {"sha256": _digest(teacher)},
        "turns": settings_hash({"ids": teacher.turn_ids}),
        "collection": collection.fingerprint,
        "split": split,
    }
    with sole_writer(out):
        work = work_folder(out, identity)
        if not _finished(out, identity):
            turns = collection.iter_turns(split)
            examples = make_examples(student, turns, teacher, settings, objective, progress)
            _try_sampler(settings, teacher, examples)
            _check_exact_scores(teacher, document_encoder, settings, objective)
            documents = _documents(collection, document_encoder, settings, objective, progress)
            exact = _exact_scores(
                teacher, documents, collection, document_encoder, settings, objective, progress
            )
            trainer = _trainer(
                student,
                examples,
                teacher,
                documents,
                exact,
                settings,
                objective,
                work,
                save_steps,
                progress,
            )
            trainer.train(resume_from_checkpoint=last_checkpoint(work, REBUILD))
            # In one order of keys, whatever part of the log came back from a checkpoint.
            history = trainer.state.log_history
            log = [dict(sorted(entry.items())) for entry in history if "loss" in entry]
            with atomic_folder(out, format=FORMAT, identity=identity) as folder:
                student.save_pretrained(folder)
                if isinstance(documents, TrainedDocuments):
                    documents.encoder.save_pretrained(folder / DOCUMENT_ENCODER)
                    seal_folder(folder / DOCUMENT_ENCODER)  # it may be opened by itself
                write_json(folder / STUDENT_SETTINGS, settings.to_dict())
                write_json(folder / "distil_log.json", log)
        shutil.rmtree(work, ignore_errors=True)
    return type(student).from_pretrained(out, student.device)


def _documents(
    collection: Collection,
    encoder: Encoder,
    settings: DistilSettings,
    objective: Objective,
    progress: bool,
) -> DocumentSide:
    texts, length = collection.passage_texts(), settings.document_length
    if settings.documents == "trained":
        return TrainedDocuments(copy.deepcopy(encoder), texts, length)
    found = cached_vectors(encoder, texts, collection.pids, length, progress)
    return FrozenDocuments(found.rows, objective)


def _exact_scores(
    teacher: DistillationRun,
    documents: DocumentSide,
    collection: Collection,
    encoder: Encoder,
    settings: DistilSettings,
    objective: Objective,
    progress: bool,
) -> ExactScores | None:
    if not _wants_exact_scores(teacher, settings, objective):
        return None
    if isinstance(documents, FrozenDocuments):
        return ExactScores(teacher.queries, documents.rows)
    texts, length = collection.passage_texts(), settings.document_length
    found = cached_vectors(encoder, texts, collection.pids, length, progress)
    return ExactScores(teacher.queries, found.rows)


def _wants_exact_scores(
    teacher: DistillationRun, settings: DistilSettings, objective: Objective
) -> bool:
    asked = settings.sampler.needs_scores or objective.needs_all_teacher_scores
    return asked and teacher.queries is not None


def _check_exact_scores(
    teacher: DistillationRun,
    encoder: Encoder,
    settings: DistilSettings,
    objective: Objective,
) -> None:
    # Dot products with other documents' vectors are no scores of this teacher.
    if not _wants_exact_scores(teacher, settings, objective):
        return
    own = {"encoder": encoder.fingerprint(), "max_length": settings.document_length}
    for name, value in own.items():
        if teacher.settings.get(name, value) != value:
            raise DiscoError(
                f"The teacher's exact scores are asked for, but its run was made with another "
                f"{name} than the documents are encoded with here. Distil with the document "
                "encoder and the document_length of `disco teach`."
            )


def _check_vocabulary(student: Encoder, documents: Encoder) -> None:
    sizes = (student.vocabulary_size, documents.vocabulary_size)
    words = (student.tokenizer.get_vocab(), documents.tokenizer.get_vocab())
    if sizes[0] != sizes[1] or words[0] != words[1]:
        raise DiscoError(
            f"The student's vocabulary ({sizes[0]} dimensions) is not that of the documents' "
            f"encoder ({sizes[1]}). Encode the documents with a model of the student's tokenizer."
        )


def _digest(teacher: DistillationRun) -> str:
    # What a run read from .json or .trec, which says nothing of its making, is known by.
    digest = hashlib.sha256()
    for row in range(len(teacher)):
        documents, scores = teacher.ranking(row)
        digest.update(len(documents).to_bytes(8, "little"))
        digest.update(documents.astype("<i4").tobytes() + scores.astype("<f4").tobytes())
    return digest.hexdigest()


def read_log(student: str | Path) -> list[dict[str, float]]:
    """The training log of a finished student: one entry a logging step, every loss part by name.

    Raises IntegrityError for a student with a file that is missing or has changed.
    """
    open_sealed(Path(student), REBUILD, quick=True)
    return read_json(Path(student) / "distil_log.json")


def document_encoder_of(
    student: str | Path, device: torch.device | str | None = None
) -> SpladeEncoder | None:
    """The document encoder that was trained with a finished student; None if none was.

    Raises IntegrityError for a student with a file that is missing or has changed.
    """
    manifest = open_sealed(Path(student), REBUILD, quick=True)
    if not any(name.startswith(f"{DOCUMENT_ENCODER}/") for name in manifest["files"]):
        return None
    return SpladeEncoder.from_pretrained(Path(student) / DOCUMENT_ENCODER, device)


def _try_sampler(
    settings: DistilSettings, teacher: DistillationRun, examples: Sequence[Example]
) -> None:
    # A sampler that asks for more than there is should fail now, not after hours of encoding.
    documents, scores = teacher.ranking(examples[0].row)
    rng = np.random.default_rng(0)
    settings.sampler.sample(documents, scores, examples[0].positive, len(teacher.pids), rng)


def _trainer(
    student: Encoder,
    examples: Sequence[Example],
    teacher: DistillationRun,
    documents: DocumentSide,
    exact: ExactScores | None,
    settings: DistilSettings,
    objective: Objective,
    work: Path,
    save_steps: int,
    progress: bool,
) -> DistilTrainer:
    schedule = Schedule(examples, settings)
    set_seed(settings.seed)
    if settings.dropout is not None:
        set_dropout(student, settings.dropout)
        if isinstance(documents, TrainedDocuments):
            set_dropout(documents.encoder, settings.dropout)
    logging_steps = math.gcd(save_steps, 20) if save_steps % 10 else 10
    device = student.device
    # The head, most of a step on a CPU, chooses its own format.
    bfloat16 = device.type == "cuda" and multiplies_bfloat16(device)
    arguments = training_arguments(
        settings, work, schedule.steps, save_steps, logging_steps, device, bfloat16, progress
    )
    trainer = DistilTrainer(
        student,
        objective,
        documents,
        round(settings.ramp * schedule.steps),
        args=arguments,
        train_dataset=schedule,
        data_collator=Collator(student, teacher, documents, settings, objective, exact),
    )
    without_printers(trainer)
    return trainer


def _finished(out: Path, identity: dict[str, Any]) -> bool:
    if not (out / MANIFEST).is_file():
        return False
    stored = open_sealed(out, REBUILD).get("identity")
    if stored != identity:
        raise DiscoError(
            f"{out}: holds a student of other settings. Choose another --out, or remove the folder."
        )
    return True
