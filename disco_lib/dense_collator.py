"""Pairs into a batch: tokens padded, further documents drawn, the teacher's similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_negatives import Columns
from disco_lib.dense_settings import DenseSettings
from disco_lib.pair_set import PairSet


@dataclass(frozen=True)
class PairExample:
    """One pair to learn from: its place in the pair set, tokens of its query and document."""

    place: int
    query_ids: list[int]
    ids: list[int]


@dataclass(frozen=True)
class DenseCollator:
    """Pairs into tensors.

    documents: token ids of every distinct document of the pool. What is drawn depends on seed,
    epoch and the batch's first pair alone, so it is the same after an interruption.
    """

    encoder: DenseEncoder
    pairs: PairSet
    documents: Sequence[Sequence[int]]
    settings: DenseSettings

    def __call__(self, items: Sequence[tuple[PairExample, int]]) -> dict[str, Any]:
        """(example, epoch) of B pairs -> tokens of B queries and N documents, and what they are.

        places int64 (B,): of the pairs. columns int64 (N,): numbers of the documents. duplicates
        bool (B, N): see `dense_losses.in_batch_contrastive`.
        """
        examples = [example for example, _ in items]
        places = np.array([example.place for example in examples])
        rng = np.random.default_rng([self.settings.seed, items[0][1], int(places[0])])
        columns = self.settings.negatives.columns(places, self.pairs.pool, rng)
        queries = self.encoder.pad([example.query_ids for example in examples])
        documents = self.encoder.pad([self.documents[number] for number in columns.documents])
        return {
            "query_ids": queries[0],
            "query_mask": queries[1],
            "document_ids": documents[0],
            "document_mask": documents[1],
            "places": torch.as_tensor(places),
            "columns": torch.as_tensor(columns.documents),
            "duplicates": torch.as_tensor(columns.duplicates),
        }


def columns_of(inputs: dict[str, Any]) -> Columns:
    """The columns that the collator drew for a batch."""
    return Columns(inputs["columns"].cpu().numpy(), inputs["duplicates"].cpu().numpy())


def teacher_scores(
    pairs: PairSet, inputs: dict[str, Any], columns: Columns, matrix: bool
) -> Tensor:
    """The teacher's similarities of a batch: (B, N) of its columns, or (B,) of the pairs alone."""
    places = inputs["places"].cpu().numpy()
    if not matrix:
        return torch.as_tensor(pairs.annotation.scores[places])
    documents = pairs.pool.first[columns.documents]
    return torch.as_tensor(pairs.annotation.similarities(places, documents))
