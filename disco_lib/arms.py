"""What an arm of sampling shows a student: the documents of each turn, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disco_lib.collator import Collator
from disco_lib.document_side import FrozenDocuments
from disco_lib.errors import DiscoError
from disco_lib.exact_scores import ExactScores
from disco_lib.experiments import Laboratory
from disco_lib.kl_estimate import TeacherMass, teacher_mass
from disco_lib.losses import Objective
from disco_lib.sampling import Sample
from disco_lib.schedule import Example, Schedule, make_examples
from disco_lib.teachers import DistillationRun


@dataclass(frozen=True)
class Draw:
    """The documents that the KL of one turn runs over in one step.

    row: the turn's row in the teacher's run. ranks (n,): the teacher's rank of each document, from
    1; 0 where its run does not list the document.
    """

    row: int
    sample: Sample
    ranks: np.ndarray


def draws(
    lab: Laboratory, names: Sequence[str], steps: int, seed: int | None = None
) -> dict[str, list[Draw]]:
    """{student: what it sees in its first `steps` steps}, in the order of its training.

    Nothing is trained: batches and samples depend on the settings and the seed (by default the
    tier's first) alone. Of a KL over the batch, a draw holds the documents of all its turns, each
    once. Raises DiscoError for fewer than one step, and for a student without a KL.
    """
    if steps < 1:
        raise DiscoError(f"steps is {steps}; look at one step at least.")
    known: dict[str, list[Example]] = {}
    return {name: _draws(lab, name, steps, seed, known) for name in names}


def teacher_ranks(teacher: DistillationRun, row: int, documents: np.ndarray) -> np.ndarray:
    """The teacher's rank of each document (n,) for the turn of that row, from 1; 0: not listed."""
    listed = teacher.ranking(row)[0]
    order = np.argsort(listed, kind="stable")
    if not len(listed):
        return np.zeros(len(documents), dtype=np.int64)
    place = np.minimum(np.searchsorted(listed, documents, sorter=order), len(listed) - 1)
    rank = order[place]
    return np.where(listed[rank] == documents, rank + 1, 0)


def masses(teacher: DistillationRun, given: Sequence[Draw]) -> list[TeacherMass]:
    """What each draw holds of the teacher's distribution over its run; see `teacher_mass`."""
    return [teacher_mass(draw.sample, *teacher.ranking(draw.row)) for draw in given]


def _draws(
    lab: Laboratory, name: str, steps: int, seed: int | None, known: dict[str, list[Example]]
) -> list[Draw]:
    settings = lab.student_settings(name, seed)
    objective, teacher = Objective(settings.objective), lab.teacher_of(name)
    if not objective.uses("kl_divergence"):
        raise DiscoError(f"{name} learns no KL, so nothing is sampled for one.")
    # What decides the examples of a student with a KL: most arms share them.
    key = repr([lab.tier.system(name)["teachers"], lab.tier.system(name).get("missing")])
    key += repr([settings.input, settings.limits, settings.min_depth])
    if key not in known:
        turns = lab.collection.iter_turns(lab.tier.train)
        known[key] = make_examples(lab.encoder, turns, teacher, settings, objective, False)
    exact = None if teacher.queries is None else ExactScores(teacher.queries, lab.documents)
    documents = FrozenDocuments(lab.documents, objective)
    collator = Collator(lab.encoder, teacher, documents, settings, objective, exact)
    schedule = Schedule(known[key], settings)
    found = []
    for step in range(min(steps, schedule.steps)):
        first = step * settings.batch_size
        items = [schedule[i] for i in range(first, first + settings.batch_size)]
        rows = [example.row for example, _ in items]
        found += _of_batch(teacher, rows, collator(items))
    return found


def _of_batch(teacher: DistillationRun, rows: Sequence[int], batch: dict[str, Any]) -> list[Draw]:
    chosen, scores = batch["chosen"].numpy(), batch["teacher_scores"].numpy()
    found = []
    for i, row in enumerate(rows):
        documents, values = chosen[i], scores[i]
        if "all_teacher_scores" in batch:
            # As in the loss: a document that a turn drew itself keeps the score of its sample.
            others, at = np.unique(chosen.ravel(), return_index=True)
            free = ~np.isin(others, documents)
            theirs = batch["all_teacher_scores"].numpy()[i][at[free]]
            documents, values = np.append(documents, others[free]), np.append(values, theirs)
        sample = Sample(documents, values, int(batch["positive"][i]))
        found.append(Draw(row, sample, teacher_ranks(teacher, row, documents)))
    return found
