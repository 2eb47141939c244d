"""What a training shows, and when: an Example is a turn, a Schedule the order of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from disco_lib.conversations import Turn, context_ids
from disco_lib.dense_rows import Encoder
from disco_lib.distil_settings import DistilSettings
from disco_lib.errors import DiscoError
from disco_lib.losses import TEACHER_QUERY_PARTS, Objective
from disco_lib.teachers import DistillationRun


@dataclass(frozen=True)
class Example:
    """One turn to learn from: its tokens, its row in the teacher's run, its positive or -1."""

    ids: list[int]
    row: int
    positive: int


def make_examples(
    student: Encoder,
    turns: Sequence[Turn],
    teacher: DistillationRun,
    settings: DistilSettings,
    objective: Objective,
    progress: bool,
) -> list[Example]:
    """The turns that can be learnt from, tokenised as settings.input and settings.limits say.

    Left out are turns without a teacher, above settings.min_depth, and, where the objective learns
    from labels alone, without a positive. Raises DiscoError when none is left, for limits that the
    student cannot read, and for teacher's vectors that are missing or of another vocabulary.
    """
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
    if objective.needs_teacher_queries or objective.needs_all_teacher_scores:
        _check_teacher_queries(student, teacher, objective)
    return examples


def _check_teacher_queries(
    student: Encoder, teacher: DistillationRun, objective: Objective
) -> None:
    parts = [name for name in TEACHER_QUERY_PARTS if objective.uses(name)]
    part = parts[0] if parts else "kl_divergence over the batch"
    if teacher.queries is None:
        raise DiscoError(
            f"{part} needs the teacher's query vectors; a run read from .json or .trec has none. "
            "Use the folder that `disco teach` writes."
        )
    width = teacher.queries.shape[1]
    if width != student.vocabulary_size:
        raise DiscoError(
            f"{part}: the teacher's vectors have {width} dimensions, the student's "
            f"{student.vocabulary_size}. Teach with an encoder of the student's vocabulary."
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
