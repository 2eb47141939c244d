"""distil(): train a student on teachers' scores, with frozen document vectors, resuming exactly."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, set_seed

from disco_lib.datasets import Collection
from disco_lib.distil_settings import DistilSettings
from disco_lib.encoders import REBUILD, STUDENT_SETTINGS, SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.losses import Batch, Objective
from disco_lib.sampling import Sample
from disco_lib.schedule import Example, Schedule, make_examples
from disco_lib.sparsity import activation
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    open_sealed,
    read_json,
    remove_leftovers,
    settings_hash,
    sole_writer,
    work_folder,
    write_json,
)
from disco_lib.teachers import DistillationRun
from disco_lib.vectors import cached_vectors

FORMAT = "disco-student-1"
DOCUMENT_ENCODER = "document_encoder"


def distil(
    student: SpladeEncoder,
    collection: Collection,
    teacher: DistillationRun,
    settings: DistilSettings,
    out: str | Path,
    split: str = "train",
    document_encoder: SpladeEncoder | None = None,
    save_steps: int = 100,
    progress: bool = True,
) -> SpladeEncoder:
    """Train `student` on the teacher's scores and write it to the folder `out`.

    The student reads settings.input of each turn that the teacher's run holds; documents keep the
    vectors of `document_encoder` (default: the student before training). Every `save_steps` steps a
    checkpoint is written; after an interruption the same call goes on from the last one and ends
    with the same weights. A finished `out` of the same settings is loaded, not trained again.
    Raises DiscoError when no turn can be learnt from, and for documents of another vocabulary.
    """
    out = Path(out)
    objective = Objective(settings.objective)
    if document_encoder is not None:
        _check_vocabulary(student, document_encoder)
    identity = {
        "settings": settings.to_dict(),
        "student": student.fingerprint(),
        "documents": (document_encoder or student).fingerprint(),
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
            documents = cached_vectors(
                document_encoder or student,
                collection.passage_texts(),
                collection.pids,
                settings.document_length,
                progress,
            ).rows
            trainer = _trainer(
                student,
                examples,
                teacher,
                documents,
                settings,
                objective,
                work,
                save_steps,
                progress,
            )
            trainer.train(resume_from_checkpoint=_last_checkpoint(work))
            # In one order of keys, whatever part of the log came back from a checkpoint.
            history = trainer.state.log_history
            log = [dict(sorted(entry.items())) for entry in history if "loss" in entry]
            with atomic_folder(out, format=FORMAT, identity=identity) as folder:
                student.save_pretrained(folder)
                write_json(folder / STUDENT_SETTINGS, settings.to_dict())
                write_json(folder / "distil_log.json", log)
        shutil.rmtree(work, ignore_errors=True)
    return SpladeEncoder.from_pretrained(out, student.device)


def _check_vocabulary(student: SpladeEncoder, documents: SpladeEncoder) -> None:
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


class DistilTrainer(Trainer):
    """transformers' Trainer with the objective's parts in its log and whole checkpoints."""

    def __init__(
        self,
        encoder: SpladeEncoder,
        objective: Objective,
        documents_activation: np.ndarray,
        ramp_steps: int,
        **arguments: Any,
    ) -> None:
        super().__init__(model=encoder.model, **arguments)
        self.encoder, self.objective, self.ramp_steps = encoder, objective, ramp_steps
        self.documents_activation = torch.as_tensor(documents_activation, dtype=torch.float32)
        self._sums: dict[str, float] = {}
        self._count = 0
        self._staging: Path | None = None

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The objective of one batch; its parts are added up for the next log entry."""
        queries = self.encoder(inputs["input_ids"], inputs["attention_mask"]).float()
        batch = _score(queries, inputs, self.objective.needs_batch_scores)
        parts = self.objective(batch, self._regularisation())
        self._note(parts, queries.detach())
        return parts["loss"]

    def _regularisation(self) -> float:
        if self.ramp_steps <= 0:
            return 1.0
        return min(1.0, (self.state.global_step + 1) / self.ramp_steps) ** 2

    def _note(self, parts: Mapping[str, Tensor], queries: Tensor) -> None:
        active = (queries > 0).float()
        sparsity = {
            "active_terms": active.sum(-1).mean(),
            "flops_metric": (active.mean(0) * self.documents_activation.to(active.device)).sum(),
        }
        for name, value in {**parts, **sparsity}.items():
            if name != "loss":
                self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each part since the last entry."""
        if "loss" in logs and self._count:
            logs |= {name: total / self._count for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
        super().log(logs, start_time)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging or self.args.output_dir)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Written aside, sealed, then renamed: a checkpoint is whole or not there.
        work = Path(self.args.output_dir)
        target = work / f"checkpoint-{self.state.global_step}"
        remove_leftovers(target)
        with atomic_folder(target) as part:
            self._staging = part / "staging"
            super()._save_checkpoint(model, trial)
            self._staging = None
            for file in (part / "staging" / target.name).iterdir():
                file.rename(part / file.name)
            shutil.rmtree(part / "staging")
        for old in work.glob("checkpoint-*"):
            if old != target:
                shutil.rmtree(old)


@dataclass(frozen=True)
class Collator:
    """Turns into tensors: pads tokens and draws each turn's documents.

    The draw depends on seed, epoch and turn alone, so it is the same after an interruption.
    """

    encoder: SpladeEncoder
    teacher: DistillationRun
    documents: sparse.csr_matrix
    settings: DistilSettings
    objective: Objective

    def __call__(self, items: Sequence[tuple[Example, int]]) -> dict[str, Any]:
        """(example, epoch) pairs -> ids, mask, document matrix, teacher scores, positives."""
        samples = [self._sample(example, epoch) for example, epoch in items]
        ids, mask = self.encoder.pad([example.ids for example, _ in items])
        chosen = np.stack([sample.documents for sample in samples])
        batch = {
            "input_ids": ids,
            "attention_mask": mask,
            "documents": _to_torch(self.documents[chosen.ravel()]),
            "chosen": torch.as_tensor(chosen),
            "teacher_scores": torch.as_tensor(np.stack([sample.scores for sample in samples])),
            "positive": torch.as_tensor([sample.positive for sample in samples]),
        }
        if self.objective.needs_teacher_queries:
            rows = [example.row for example, _ in items]
            batch["teacher_queries"] = torch.as_tensor(self.teacher.queries[rows].toarray())
        if self.objective.needs_positive_documents:
            batch["positive_documents"] = self._positives([example for example, _ in items])
        return batch

    def _positives(self, examples: Sequence[Example]) -> Tensor:
        known = np.array([example.positive >= 0 for example in examples])
        rows = self.documents[[max(example.positive, 0) for example in examples]].toarray()
        return torch.as_tensor(rows * known[:, None].astype(np.float32))

    def _sample(self, example: Example, epoch: int) -> Sample:
        documents, scores = self.teacher.ranking(example.row)
        rng = np.random.default_rng([self.settings.seed, epoch, example.row])
        return self.settings.sampler.sample(
            documents, scores, example.positive, self.documents.shape[0], rng
        )


def _try_sampler(
    settings: DistilSettings, teacher: DistillationRun, examples: Sequence[Example]
) -> None:
    # A sampler that asks for more than there is should fail now, not after hours of encoding.
    documents, scores = teacher.ranking(examples[0].row)
    rng = np.random.default_rng(0)
    settings.sampler.sample(documents, scores, examples[0].positive, len(teacher.pids), rng)


def _trainer(
    student: SpladeEncoder,
    examples: Sequence[Example],
    teacher: DistillationRun,
    documents: sparse.csr_matrix,
    settings: DistilSettings,
    objective: Objective,
    work: Path,
    save_steps: int,
    progress: bool,
) -> DistilTrainer:
    schedule = Schedule(examples, settings)
    set_seed(settings.seed)
    if settings.dropout is not None:
        for module in student.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
    cuda = student.device.type == "cuda"
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * schedule.steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=save_steps,
        # A checkpoint falls on a log entry, so no part's sum is lost with an interruption.
        logging_steps=math.gcd(save_steps, 20) if save_steps % 10 else 10,
        logging_nan_inf_filter=False,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        use_cpu=not cuda,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        disable_tqdm=not progress,
        report_to=[],
        seed=settings.seed,
    )
    trainer = DistilTrainer(
        student,
        objective,
        activation(documents),
        round(settings.ramp * schedule.steps),
        args=arguments,
        train_dataset=schedule,
        data_collator=Collator(student, teacher, documents, settings, objective),
    )
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "NotebookProgressCallback"):
            trainer.remove_callback(type(callback))
    return trainer


def _score(queries: Tensor, inputs: Mapping[str, Any], with_batch: bool) -> Batch:
    chosen = inputs["chosen"]
    n_queries, n_documents = chosen.shape
    with torch.autocast(queries.device.type, enabled=False):
        every = torch.sparse.mm(inputs["documents"], queries.T).T
    blocks = every.reshape(n_queries, n_queries, n_documents)
    own = blocks[torch.arange(n_queries), torch.arange(n_queries)]
    return Batch(
        queries,
        own,
        inputs["teacher_scores"],
        inputs["positive"],
        every if with_batch else None,
        _duplicates(chosen) if with_batch else None,
        inputs.get("teacher_queries"),
        inputs.get("positive_documents"),
    )


def _duplicates(chosen: Tensor) -> Tensor:
    n_queries, n_documents = chosen.shape
    same = (chosen.reshape(1, -1, 1) == chosen.reshape(n_queries, 1, n_documents)).any(-1)
    owner = torch.arange(n_queries, device=chosen.device).repeat_interleave(n_documents)
    return same & (owner != torch.arange(n_queries, device=chosen.device).unsqueeze(1))


def _to_torch(rows: sparse.csr_matrix) -> Tensor:
    coo = rows.tocoo()
    places = np.stack([coo.row, coo.col]).astype(np.int64)
    values = torch.from_numpy(coo.data)
    # Said aloud, because torch warns on stderr where the choice is left to it.
    return torch.sparse_coo_tensor(
        torch.from_numpy(places), values, rows.shape, is_coalesced=True, check_invariants=False
    )


def _last_checkpoint(work: Path) -> str | None:
    found = sorted(work.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
    for checkpoint in found:
        try:
            open_sealed(checkpoint, REBUILD)
            return str(checkpoint)
        except IntegrityError:
            shutil.rmtree(checkpoint)
    return None


def _finished(out: Path, identity: dict[str, Any]) -> bool:
    if not (out / MANIFEST).is_file():
        return False
    stored = open_sealed(out, REBUILD).get("identity")
    if stored != identity:
        raise DiscoError(
            f"{out}: holds a student of other settings. Choose another --out, or remove the folder."
        )
    return True
