"""Turns into a batch: tokens padded, documents drawn, and what else the objective looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from disco_lib.distil_settings import DistilSettings
from disco_lib.document_side import DocumentSide
from disco_lib.encoders import SpladeEncoder
from disco_lib.losses import Objective
from disco_lib.sampling import Sample
from disco_lib.schedule import Example
from disco_lib.teachers import DistillationRun


@dataclass(frozen=True)
class Collator:
    """Turns into tensors: pads tokens and draws each turn's documents.

    The draw depends on seed, epoch and turn alone, so it is the same after an interruption.
    """

    encoder: SpladeEncoder
    teacher: DistillationRun
    documents: DocumentSide
    settings: DistilSettings
    objective: Objective

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
        return batch

    def _sample(self, example: Example, epoch: int) -> Sample:
        documents, scores = self.teacher.ranking(example.row)
        rng = np.random.default_rng([self.settings.seed, epoch, example.row])
        return self.settings.sampler.sample(
            documents, scores, example.positive, len(self.teacher.pids), rng
        )
