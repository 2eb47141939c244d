"""distil(): train a student on teachers' scores, with frozen document vectors, resuming exactly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import Trainer, TrainingArguments, set_seed

from disco_lib.conversations import INPUTS, Limits, Turn, context_ids
from disco_lib.datasets import Collection
from disco_lib.encoders import REBUILD, STUDENT_SETTINGS, SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.losses import Batch, Objective
from disco_lib.sampling import Sample, WindowSampler
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

#: Setting -> (type, least value or None, greatest value); None: the least itself is not allowed.
_RANGES: dict[str, tuple[type, float | None, float]] = {
    "epochs": (float, None, math.inf),
    "steps": (int, 1, math.inf),
    "min_depth": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "learning_rate": (float, None, math.inf),
    "warmup": (float, 0, 1),
    "weight_decay": (float, 0, math.inf),
    "max_grad_norm": (float, 0, math.inf),
    "ramp": (float, 0, 1),
    "dropout": (float, 0, 1),
    "document_length": (int, 2, math.inf),
    "seed": (int, 0, 2**32 - 1),
}
_OPTIONAL = ("steps", "dropout")


@dataclass(frozen=True)
class DistilSettings:
    """Everything that decides a student's weights, besides data, teacher and initial weights.

    The defaults are DiSCo's public recipe; see `Objective`, `WindowSampler` and `Limits` for the
    nested settings. warmup: share of steps in which the learning rate rises. ramp: share of steps
    in which the regularisers' weights rise quadratically (0: full weight from the start).
    dropout: None keeps the model's own. steps, where given, replaces epochs: objectives that can
    use different numbers of turns are so compared at equal cost. min_depth: shallowest turn to
    learn from; a first turn (depth 1) is its own rewrite and teaches the least.
    """

    objective: Mapping[str, Any] = field(
        default_factory=lambda: {"kl_divergence": 0.99, "info_nce": 0.01, "l1": 1e-3}
    )
    input: str = "conversation"
    limits: Limits = Limits()
    sampler: WindowSampler = WindowSampler()
    epochs: float = 5
    steps: int | None = None
    min_depth: int = 1
    batch_size: int = 10
    learning_rate: float = 2e-5
    warmup: float = 0.01
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    ramp: float = 0.0
    dropout: float | None = None
    document_length: int = 256
    seed: int = 123

    def __post_init__(self) -> None:
        for name, (kind, least, greatest) in _RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in _OPTIONAL):
                _check_number(name, value, kind, least, greatest)
        if not isinstance(self.objective, Mapping):
            raise DiscoError(
                f"Setting 'objective' is {self.objective!r}; give a loss and its weight, as in "
                "{kl_divergence: 1.0}."
            )
        if self.input not in INPUTS and not str(self.input).startswith("rewrite:"):
            raise DiscoError(f"Setting 'input' is {self.input!r}; use one of {', '.join(INPUTS)}.")
        for name, kind in (("limits", Limits), ("sampler", WindowSampler)):
            if not isinstance(getattr(self, name), kind):
                there = ", ".join(f.name for f in dataclasses.fields(kind))
                raise DiscoError(
                    f"Setting {name!r} is {getattr(self, name)!r}; give a mapping of: {there}."
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistilSettings:
        """Settings from a mapping, as YAML holds them.

        DiscoError names a setting that does not exist, or whose value is of the wrong form.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise DiscoError(f"No setting {unknown[0]!r}; there are: {', '.join(sorted(known))}.")
        nested = {name: _number_if_written_so(name, value) for name, value in values.items()}
        for name, kind in (("limits", Limits), ("sampler", WindowSampler)):
            if isinstance(nested.get(name), Mapping):
                nested[name] = _nested(name, kind, nested[name])
        return cls(**nested)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def _check_number(name: str, value: Any, kind: type, least: float | None, greatest: float) -> None:
    allowed = int if kind is int else int | float
    number = isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)
    if number and (value > 0 if least is None else value >= least) and value <= greatest:
        return
    what = "a whole number" if kind is int else "a number"
    low = "above 0" if least is None else f"from {least:g}"
    high = "" if math.isinf(greatest) else f" to {greatest:g}"
    raise DiscoError(f"Setting {name!r} is {value!r}; give {what} {low}{high}.")


def _number_if_written_so(name: str, value: Any) -> Any:
    # YAML 1.1 reads 5e-4, without a point, as text.
    if isinstance(value, str) and name in _RANGES:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _nested(name: str, kind: type, values: Mapping[str, Any]) -> Any:
    there = [f.name for f in dataclasses.fields(kind)]
    unknown = sorted(set(map(str, values)) - set(there))
    if unknown:
        raise DiscoError(f"{name}: no setting {unknown[0]!r}; there are: {', '.join(there)}.")
    for option in dataclasses.fields(kind):
        value = values.get(option.name, option.default)
        if isinstance(option.default, int) and type(value) is not int:
            raise DiscoError(f"{name}: {option.name!r} is {value!r}; give a whole number.")
    return kind(**values)


@dataclass(frozen=True)
class Example:
    """One turn to learn from: its tokens, its row in the teacher's run, its positive or -1."""

    ids: list[int]
    row: int
    positive: int


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
            examples = _examples(student, turns, teacher, settings, objective, progress)
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
        if self.objective.uses("representation_mse"):
            rows = [example.row for example, _ in items]
            batch["teacher_queries"] = torch.as_tensor(self.teacher.queries[rows].toarray())
        return batch

    def _sample(self, example: Example, epoch: int) -> Sample:
        documents, scores = self.teacher.ranking(example.row)
        rng = np.random.default_rng([self.settings.seed, epoch, example.row])
        return self.settings.sampler.sample(
            documents, scores, example.positive, self.documents.shape[0], rng
        )


class Schedule(torch.utils.data.Dataset):
    """Every (example, epoch) of a training in its order, fixed by the seed.

    Each epoch is shuffled and cut to whole batches; within stretches of 32 batches turns of similar
    length share a batch, and batches are shuffled again, which saves padding.
    """

    def __init__(self, examples: Sequence[Example], settings: DistilSettings) -> None:
        self.examples = examples
        each = max(1, len(examples) // settings.batch_size)
        self.steps = settings.steps or max(1, round(each * settings.epochs))
        order = [
            (i, epoch)
            for epoch in range(math.ceil(self.steps / each))
            for i in _epoch_order(examples, settings, epoch)
        ]
        self.order = order[: self.steps * settings.batch_size]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> tuple[Example, int]:
        example, epoch = self.order[place]
        return self.examples[example], epoch


def _epoch_order(examples: Sequence[Example], settings: DistilSettings, epoch: int) -> list[int]:
    rng = np.random.default_rng([settings.seed, epoch])
    size = settings.batch_size
    lengths = np.array([len(example.ids) for example in examples])
    shuffled = rng.permutation(len(examples))
    if len(examples) > size:
        shuffled = shuffled[: len(examples) // size * size]
    batches: list[np.ndarray] = []
    for start in range(0, len(shuffled), 32 * size):
        stretch = shuffled[start : start + 32 * size]
        stretch = stretch[np.argsort(lengths[stretch], kind="stable")]
        batches += [stretch[i : i + size] for i in range(0, len(stretch), size)]
    return [int(i) for batch in rng.permutation(len(batches)) for i in batches[batch]]


def _examples(
    student: SpladeEncoder,
    turns: Sequence[Turn],
    teacher: DistillationRun,
    settings: DistilSettings,
    objective: Objective,
    progress: bool,
) -> list[Example]:
    try:
        student.token_ids([], settings.limits.total)
    except DiscoError as error:
        raise DiscoError(f"Setting 'limits': lower its total. {error}") from error
    rows = {turn: i for i, turn in enumerate(teacher.turn_ids)}
    place = {pid: i for i, pid in enumerate(teacher.pids)}
    # Without score distillation a turn teaches nothing but its positive.
    label_only = not any(objective.uses(n) for n in ("kl_divergence", "representation_mse"))
    examples = []
    for turn in tqdm(turns, desc="tokenise", unit=" turns", delay=2, disable=not progress):
        if turn.turn_id not in rows or turn.depth < settings.min_depth:
            continue
        if label_only and not turn.positives:
            continue
        ids = context_ids(turn, settings.input, student.tokenizer, settings.limits)
        positive = place[turn.positives[0]] if turn.positives else -1
        examples.append(Example(ids, rows[turn.turn_id], positive))
    if not examples:
        raise DiscoError("No turn to learn from: the teacher's run and the split share no turn.")
    if objective.uses("representation_mse") and teacher.queries is None:
        raise DiscoError(
            "representation_mse needs the teacher's query vectors; a run read from .json or .trec "
            "has none. Use the folder that `disco teach` writes."
        )
    if objective.uses("representation_mse"):
        width = teacher.queries.shape[1]
        if width != student.vocabulary_size:
            raise DiscoError(
                f"representation_mse: the teacher's vectors have {width} dimensions, the student's "
                f"{student.vocabulary_size}. Teach with an encoder of the student's vocabulary."
            )
    return examples


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
