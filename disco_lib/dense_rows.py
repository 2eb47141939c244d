"""Dense encoders in the place of SPLADE: the same trainings and searches on short vectors.

A dense vector is kept as a sparse row without zeros, so that losses, samplers and teachers need not
know of two kinds; only the search differs, which here is the whole product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ranx import Run
from scipy import sparse

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.runs import run_from_arrays
from disco_lib.text_encoder import Texts

Encoder = SpladeEncoder | DenseEncoder


class DenseRowEncoder(DenseEncoder):
    """A dense encoder whose vectors are CSR rows (texts, dimensions), as SPLADE's are."""

    @property
    def vocabulary_size(self) -> int:
        """Number of dimensions of a vector."""
        return self.dimensions

    def encode(
        self,
        texts: Texts,
        max_length: int = 256,
        batch_size: int = 32,
        progress: bool = False,
    ) -> sparse.csr_matrix:
        """Encode texts, or lists of token ids, to float32 CSR; see `DenseEncoder.encode`."""
        return sparse.csr_matrix(super().encode(texts, max_length, batch_size, progress))


class DenseIndex:
    """Passages' vectors, searched exactly: every query is multiplied with every passage."""

    def __init__(self, vectors: np.ndarray, ids: Sequence[str]) -> None:
        self.vectors, self.ids = vectors, list(ids)

    @classmethod
    def build(cls, vectors: sparse.csr_matrix | np.ndarray, ids: Sequence[str]) -> DenseIndex:
        """Index vectors (passages, dimensions) under their ids.

        Raises DiscoError for ids that repeat or do not match the rows, and for weights that are not
        finite.
        """
        rows = _matrix(vectors)
        if len(rows) != len(ids) or len(set(ids)) != len(ids):
            raise DiscoError(f"{len(rows)} vectors, {len(set(ids))} ids. Give each one id.")
        if not np.isfinite(rows).all():
            raise DiscoError("A passage's vector holds a number that is not finite.")
        return cls(rows, ids)

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self,
        queries: sparse.csr_matrix | np.ndarray,
        k: int,
        query_ids: Sequence[str] | None = None,
    ) -> Run:
        """The k best passages of each query (queries, dimensions) as a ranx Run."""
        documents, scores = self.search_arrays(queries, k)
        names = [str(i) for i in range(len(documents))] if query_ids is None else list(query_ids)
        if len(names) != len(documents) or len(set(names)) != len(names):
            raise DiscoError(f"{len(documents)} queries, {len(set(names))} ids. Give each one id.")
        return run_from_arrays(names, self.ids, documents, scores)

    def search_arrays(
        self, queries: sparse.csr_matrix | np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions int32 and scores float32, both (queries, min(k, passages)), best first.

        Equal scores keep the collection's order. Raises DiscoError for a k below 1 and for another
        number of dimensions.
        """
        asked = _matrix(queries)
        if k < 1:
            raise DiscoError(f"k is {k}; it must be at least 1.")
        if asked.shape[1] != self.vectors.shape[1]:
            raise DiscoError(
                f"The queries have {asked.shape[1]} dimensions, the index {self.vectors.shape[1]}."
            )
        scores = asked @ self.vectors.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return best.astype(np.int32), np.take_along_axis(scores, best, axis=1)


def index_of(
    encoder: Encoder, vectors: sparse.csr_matrix, ids: Sequence[str]
) -> InvertedIndex | DenseIndex:
    """The exact index for an encoder's vectors (passages, dimensions)."""
    dense = isinstance(encoder, DenseEncoder)
    return (DenseIndex if dense else InvertedIndex).build(vectors, ids)


def _matrix(vectors: sparse.csr_matrix | np.ndarray) -> np.ndarray:
    rows = vectors.toarray() if sparse.issparse(vectors) else vectors
    return np.asarray(rows, dtype=np.float32)
