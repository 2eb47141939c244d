"""A teacher's exact scores of any documents, listed in its run or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class ExactScores:
    """Dot products of a teacher's query vectors with documents, taken when they are asked for.

    queries CSR (turns, vocabulary), rows as in the teacher's run; documents CSR (collection,
    vocabulary), by the encoder that the run was made with. Of a mean of teachers they are the mean
    of the scores. Raises DiscoError where the two vocabularies differ in size.
    """

    queries: sparse.csr_matrix
    documents: sparse.csr_matrix

    def __post_init__(self) -> None:
        widths = self.queries.shape[1], self.documents.shape[1]
        if widths[0] != widths[1]:
            raise DiscoError(
                f"The teacher's query vectors have {widths[0]} dimensions, the documents' "
                f"{widths[1]}. Use the encoder that the teacher's run was made with."
            )

    def of(self, row: int, documents: np.ndarray) -> np.ndarray:
        """Scores float32 (n,) that the teacher of turn `row` gives to the documents (n,)."""
        return (self.documents[documents] @ self.queries[row].T).toarray().ravel()

    def of_all(self, rows: Sequence[int], documents: np.ndarray) -> np.ndarray:
        """Scores float32 (rows, n) that the teacher of each turn gives to the documents (n,)."""
        queries = self.queries[list(rows)].toarray()
        return np.ascontiguousarray((self.documents[documents] @ queries.T).T)
