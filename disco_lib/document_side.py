"""The documents' side of a training: vectors that stay as they are, or an encoder that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.losses import POSITIVE_PARTS, SCORE_PARTS, Objective
from disco_lib.sparsity import activation

#: Documents of similar length that are encoded together, so that little is padding.
GROUP = 16

Tokens = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class FrozenDocuments:
    """Documents by their vectors, CSR (documents, vocabulary), which no step changes."""

    rows: sparse.csr_matrix
    objective: Objective

    def inputs(self, chosen: np.ndarray, positives: Sequence[int]) -> dict[str, Tensor]:
        """What a step needs of the documents at `chosen` (queries, documents), on the CPU.

        positives: each query's relevant document, or -1. "documents" is the sparse matrix of all
        that are chosen; dense vectors come only where the objective looks at them.
        """
        found = {"documents": _to_torch(self.rows[chosen.ravel()])}
        if self.objective.uses("document_flops"):
            distinct = np.unique(chosen)
            found["document_vectors"] = torch.as_tensor(self.rows[distinct].toarray())
        if self.objective.needs_positive_documents:
            found["positive_documents"] = self._dense_or_zero(positives)
        return found

    def scores(self, queries: Tensor, vectors: Tensor | None, inputs: dict[str, Any]) -> Tensor:
        """Dot products (queries, chosen documents one after another)."""
        return torch.sparse.mm(inputs["documents"], queries.T).T

    def activation(self, vectors: Tensor | None) -> Tensor:
        """Share of documents in which each entry is active: of the whole collection."""
        return self._activation

    @cached_property
    def _activation(self) -> Tensor:
        return torch.as_tensor(activation(self.rows), dtype=torch.float32)

    def _dense_or_zero(self, positions: Sequence[int]) -> Tensor:
        rows = self.rows[np.maximum(positions, 0)].toarray()
        rows[np.asarray(positions) < 0] = 0.0
        return torch.as_tensor(rows)


@dataclass(frozen=True)
class TrainedDocuments:
    """Documents by their texts, which an encoder in training reads anew at every step."""

    encoder: SpladeEncoder
    texts: Sequence[str]
    length: int

    def inputs(self, chosen: np.ndarray, positives: Sequence[int]) -> dict[str, Any]:
        """What a step needs of the documents at `chosen` (queries, documents).

        "document_tokens": ids and mask of the distinct documents, in groups of similar length.
        "place" (queries, documents): where each chosen one stands among them.
        """
        distinct, place = np.unique(chosen, return_inverse=True)
        ids = self.encoder.token_ids([self.texts[i] for i in distinct], self.length)
        order = np.argsort([len(row) for row in ids], kind="stable")
        groups = [
            self.encoder.pad([ids[i] for i in order[start : start + GROUP]])
            for start in range(0, len(order), GROUP)
        ]
        rank = np.argsort(order, kind="stable")
        return {
            "document_tokens": groups,
            "place": torch.as_tensor(rank[place].reshape(chosen.shape)),
        }

    def scores(self, queries: Tensor, vectors: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Dot products (queries, chosen documents one after another)."""
        return (queries @ vectors.T)[:, inputs["place"].reshape(-1)]

    def activation(self, vectors: Tensor) -> Tensor:
        """Share of documents in which each entry is active: of the batch's documents."""
        return (vectors > 0).float().mean(0)


DocumentSide = FrozenDocuments | TrainedDocuments


class TwoEncoders(nn.Module):
    """A query and a document encoder with separate weights, as one model to train."""

    def __init__(self, queries: SpladeEncoder, documents: SpladeEncoder) -> None:
        super().__init__()
        self.queries, self.documents = queries, documents

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, document_tokens: Sequence[Tokens]
    ) -> tuple[Tensor, Tensor]:
        """Tokens of queries and groups of documents -> their vectors, each (n, vocabulary)."""
        vectors = [self.documents(ids, mask) for ids, mask in document_tokens]
        return self.queries(input_ids, attention_mask), torch.cat(vectors)


def check_trainable(objective: Objective, encoder: SpladeEncoder, length: int) -> None:
    """Raise DiscoError where documents cannot be trained with this objective, or at this length."""
    for part in POSITIVE_PARTS:
        if objective.uses(part):
            raise DiscoError(
                f"{part} draws queries to vectors of passages that stay as they are; setting "
                "'documents' is 'trained'. Leave that loss out, or make 'documents' 'frozen'."
            )
    if not any(objective.uses(part) for part in SCORE_PARTS):
        raise DiscoError(
            "Setting 'documents' is 'trained', but nothing in the objective scores documents. Add "
            f"one of {', '.join(SCORE_PARTS)}, or make 'documents' 'frozen'."
        )
    try:
        encoder.token_ids([], length)
    except DiscoError as error:
        raise DiscoError(f"Setting 'document_length': lower it. {error}") from error


def _to_torch(rows: sparse.csr_matrix) -> Tensor:
    coo = rows.tocoo()
    places = np.stack([coo.row, coo.col]).astype(np.int64)
    values = torch.from_numpy(coo.data)
    # Said aloud, because torch warns on stderr where the choice is left to it.
    return torch.sparse_coo_tensor(
        torch.from_numpy(places), values, rows.shape, is_coalesced=True, check_invariants=False
    )
