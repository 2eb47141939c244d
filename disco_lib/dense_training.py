"""distil_dense(): teacher's scores of pairs -> selection -> hybrid losses -> a dense student."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import set_seed

from disco_lib.dense_collator import DenseCollator, PairExample
from disco_lib.dense_encoder import REBUILD, DenseEncoder
from disco_lib.dense_head import projection_head
from disco_lib.dense_losses import DenseObjective
from disco_lib.dense_settings import DenseSettings
from disco_lib.dense_trainer import DenseTrainer
from disco_lib.early_stopping import Patience
from disco_lib.encoders import STUDENT_SETTINGS
from disco_lib.errors import DiscoError
from disco_lib.pair_set import Chosen, PairSet, choose
from disco_lib.pairs import Pair
from disco_lib.precision import multiplies_bfloat16
from disco_lib.schedule import Schedule
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    open_sealed,
    read_json,
    sha256_texts,
    sole_writer,
    work_folder,
    write_json,
)
from disco_lib.text_encoder import set_dropout
from disco_lib.trainer_arguments import VALIDATION_LOSS, training_arguments, without_printers
from disco_lib.whole_checkpoints import last_checkpoint

FORMAT = "disco-dense-student-2"
LOG = "distil_log.json"
VALIDATION_LOG = "validation_log.json"
SELECTED = "selected_pairs.json"


def starting_student(base: DenseEncoder, settings: DenseSettings) -> DenseEncoder:
    """The student before training: the base's first layers, pooling, and a head drawn by the seed.

    Its vectors have unit length. Raises DiscoError for more layers than the base has.
    """
    layers = base.layers if settings.layers is None else settings.layers
    head = nn.Sequential()
    if settings.projection is not None:
        head = projection_head(
            base.width,
            settings.projection,
            settings.head_dropout,
            settings.layer_norm,
            settings.seed,
        )
    student = base.first_layers(layers, settings.pooling, head, normalize=True)
    if settings.dropout is not None:
        set_dropout(student.model, settings.dropout)
    return student


def distil_dense(
    teacher: DenseEncoder,
    pairs: Sequence[Pair],
    settings: DenseSettings,
    out: str | Path,
    base: DenseEncoder | None = None,
    teacher_length: int = 256,
    save_steps: int = 100,
    progress: bool = True,
) -> DenseEncoder:
    """Train a dense student on the teacher's similarities of pairs and write it to `out`.

    The student starts from `base`, by default the teacher, as `starting_student` says. The
    teacher reads teacher_length tokens; its embeddings come from the cache. The transformer is
    trained in bfloat16 where the device is fast at it, the rest in float32. Every `save_steps`
    steps a checkpoint is written; after an interruption the same call goes on from the last one
    and ends with the same weights. A finished `out` of the same settings is loaded, not trained
    again. Raises DiscoError where no pair is selected, and for an `out` of other settings.
    """
    out = Path(out)
    base = teacher if base is None else base
    identity = {
        "settings": settings.to_dict(),
        "teacher": teacher.fingerprint(),
        "teacher_length": teacher_length,
        "base": base.fingerprint(),
        "pairs": sha256_texts(text for pair in pairs for text in (pair.query, pair.document)),
        "bfloat16": multiplies_bfloat16(base.device),
    }
    with sole_writer(out):
        work = work_folder(out, identity)
        if not _finished(out, identity):
            annotated = PairSet.of(pairs, teacher, teacher_length, progress).ranked_for(settings)
            chosen = choose(annotated, settings)
            student = starting_student(base, settings)
            trainer = _trainer(student, annotated, chosen, settings, work, save_steps, progress)
            trainer.train(resume_from_checkpoint=last_checkpoint(work, REBUILD))
            trainer.best.restore(student)
            _write(out, identity, student, annotated, chosen, settings, trainer)
        shutil.rmtree(work, ignore_errors=True)
    return DenseEncoder.from_pretrained(out, base.device)


def read_dense_log(student: str | Path) -> list[dict[str, float]]:
    """The training log of a finished student: one entry a step, every loss part by name.

    Raises IntegrityError for a student with a file that is missing or has changed.
    """
    return _sealed_json(Path(student), LOG)


def selected_turns(student: str | Path) -> list[str]:
    """Turn ids of the pairs that a finished student was trained on. Raises as `read_dense_log`."""
    return _sealed_json(Path(student), SELECTED)


def read_validation_log(student: str | Path) -> list[dict[str, float]]:
    """Step and eval_loss of a finished student's every validation; none without early stopping.

    Raises as `read_dense_log`.
    """
    return _sealed_json(Path(student), VALIDATION_LOG)


def _sealed_json(student: Path, name: str) -> Any:
    open_sealed(student, REBUILD, quick=True)
    return read_json(student / name)


def _trainer(
    student: DenseEncoder,
    pairs: PairSet,
    chosen: Chosen,
    settings: DenseSettings,
    work: Path,
    save_steps: int,
    progress: bool,
) -> DenseTrainer:
    tokens = _tokens(student, pairs, settings)
    examples = _examples(student, pairs, chosen.places, settings, tokens)
    schedule = Schedule(examples, settings)
    held_out = _examples(student, pairs, chosen.validation, settings, tokens)
    validate_steps = max(1, len(examples) // settings.batch_size) if held_out else None
    set_seed(settings.seed)
    device, bfloat16 = student.device, multiplies_bfloat16(student.device)
    if bfloat16 and device.type == "cpu":
        # torch's own attention has a backward pass there that is slow in bfloat16.
        student.model.set_attn_implementation("eager")
    # Trainings are short enough to log every step.
    arguments = training_arguments(
        settings, work, schedule.steps, save_steps, 1, device, bfloat16, progress, validate_steps
    )
    trainer = DenseTrainer(
        student,
        DenseObjective(settings.objective),
        pairs,
        settings.queue,
        args=arguments,
        train_dataset=schedule,
        eval_dataset=_batches(held_out, settings.batch_size),
        data_collator=DenseCollator(student, pairs, tokens, settings),
    )
    without_printers(trainer)
    if settings.patience is not None:
        trainer.add_callback(Patience(settings.patience))
    return trainer


def _batches(examples: Sequence[PairExample], size: int) -> list[list[tuple[PairExample, int]]]:
    # As the schedule gives those of its epoch 0, so that the same negatives are drawn each time.
    return [[(e, 0) for e in examples[i : i + size]] for i in range(0, len(examples), size)]


def _tokens(student: DenseEncoder, pairs: PairSet, settings: DenseSettings) -> list[list[int]]:
    """Token ids of every distinct document."""
    texts = [pairs.pairs[place].document for place in pairs.pool.first]
    return student.token_ids(texts, settings.document_length)


def _examples(
    student: DenseEncoder,
    pairs: PairSet,
    places: np.ndarray,
    settings: DenseSettings,
    documents: Sequence[list[int]],
) -> list[PairExample]:
    queries = student.token_ids(
        [pairs.pairs[i].query for i in places.tolist()], settings.query_length
    )
    return [
        PairExample(place, ids, documents[pairs.pool.numbers[place]])
        for place, ids in zip(places.tolist(), queries, strict=True)
    ]


def _write(
    out: Path,
    identity: dict[str, Any],
    student: DenseEncoder,
    pairs: PairSet,
    chosen: Chosen,
    settings: DenseSettings,
    trainer: DenseTrainer,
) -> None:
    # In one order of keys, whatever part of the log came back from a checkpoint.
    history = trainer.state.log_history
    log, validated = (
        [dict(sorted(entry.items())) for entry in history if name in entry]
        for name in ("loss", VALIDATION_LOSS)
    )
    with atomic_folder(out, format=FORMAT, identity=identity) as folder:
        student.save_pretrained(folder)
        write_json(folder / STUDENT_SETTINGS, settings.to_dict())
        write_json(folder / LOG, log)
        write_json(folder / VALIDATION_LOG, validated)
        write_json(folder / SELECTED, [pairs.pairs[i].turn_id for i in chosen.places])


def _finished(out: Path, identity: dict[str, Any]) -> bool:
    if not (out / MANIFEST).is_file():
        return False
    stored = open_sealed(out, REBUILD).get("identity")
    if stored != json.loads(json.dumps(identity)):
        raise DiscoError(
            f"{out}: holds a student of other settings. Choose another folder, or remove it."
        )
    return True
