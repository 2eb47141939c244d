"""Turns into a batch: tokens padded, documents drawn, and what else the objective looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from disco_lib.dense_rows import Encoder
from disco_lib.distil_settings import DistilSettings
from disco_lib.document_side import DocumentSide
from disco_lib.errors import DiscoError
from disco_lib.exact_scores import ExactScores
from disco_lib.losses import Objective
from disco_lib.sampling import Sample
from disco_lib.schedule import Example
from disco_lib.teachers import DistillationRun


@dataclass(frozen=True)
class Collator:
    """Turns into tensors: pads tokens and draws each turn's documents.

    The draw depends on seed, epoch and turn alone, so it is the same after an interruption. exact:
    the teacher's scores of documents that its run does not list, where there are any; a sampler
    that asks for them has 0 without, and a KL over the batch raises DiscoError.
    """

    encoder: Encoder
    teacher: DistillationRun
    documents: DocumentSide
    settings: DistilSettings
    objective: Objective
    exact: ExactScores | None = None

    def __call__(self, items: Sequence[tuple[Example, int]]) -> dict[str, Any]:
        """(example, epoch) pairs -> ids, mask, documents, teacher scores, positives."""
        examples = [example for example, _ in items]
        samples = [self._sample(example, epoch) for example, epoch in items]
        ids, mask = self.encoder.pad([example.ids for example in examples])
        chosen = np.stack([sample.documents for sample in samples])
        batch = {
            "input_ids": ids,
            "attention_mask": mask,
            "chosen": torch.as_tensor(chosen),
            "teacher_scores": torch.as_tensor(np.stack([sample.scores for sample in samples])),
            "positive": torch.as_tensor([sample.positive for sample in samples]),
            **self.documents.inputs(chosen, [example.positive for example in examples]),
        }
        if self.objective.needs_teacher_queries:
            rows = [example.row for example in examples]
            batch["teacher_queries"] = torch.as_tensor(self.teacher.queries[rows].toarray())
        if self.objective.needs_all_teacher_scores:
            batch["all_teacher_scores"] = self._all_teacher_scores(examples, chosen)
        return batch

    def _sample(self, example: Example, epoch: int) -> Sample:
        documents, scores = self.teacher.ranking(example.row)
        rng = np.random.default_rng([self.settings.seed, epoch, example.row])
        sampler, exact = self.settings.sampler, self.exact
        # Asked for the few documents only that are drawn and not listed.
        asked = exact is not None and sampler.needs_scores
        score = partial(exact.of, example.row) if asked else None
        return sampler.sample(
            documents, scores, example.positive, len(self.teacher.pids), rng, score
        )

    def _all_teacher_scores(self, examples: Sequence[Example], chosen: np.ndarray) -> torch.Tensor:
        if self.exact is None:
            raise DiscoError("kl_divergence over the batch needs the teacher's exact scores.")
        rows = [example.row for example in examples]
        return torch.as_tensor(self.exact.of_all(rows, chosen.ravel()))
