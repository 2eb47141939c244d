"""Two searches that anybody can write: public SPLADE code's accumulator, and scipy's product."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from scipy import sparse

from disco_lib.engines import Engine
from disco_lib.index import InvertedIndex


class OwnIndex(Engine):
    """This library's index behind the interface of the others."""

    def __init__(self, index: InvertedIndex, name: str) -> None:
        self.index, self.name = index, name

    @property
    def nbytes(self) -> int:
        """Bytes of the index's arrays."""
        return self.index.postings.nbytes

    def prepare(self, query: sparse.csr_matrix) -> sparse.csr_matrix:
        """The query itself."""
        return query

    def find(self, prepared: sparse.csr_matrix, k: int) -> Any:
        """Positions and scores."""
        return self.index.search_arrays(prepared, k)

    def search_arrays(self, queries: sparse.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores of all queries."""
        return self.index.search_arrays(queries, k)


class PlainAccumulator(Engine):
    """int32 and float32 lists, one accumulator a document, argpartition: public SPLADE code."""

    name = "plain accumulator"

    def __init__(self, documents: sparse.csr_matrix) -> None:
        columns = documents.tocsc()
        columns.sort_indices()
        self.starts = columns.indptr.astype(np.int64)
        self.documents = columns.indices.astype(np.int32)
        self.weights, self.size = columns.data.astype(np.float32), documents.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the lists."""
        return self.starts.nbytes + self.documents.nbytes + self.weights.nbytes

    def prepare(self, query: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Terms and weights."""
        return query.indices, query.data

    def find(self, prepared: tuple[np.ndarray, np.ndarray], k: int) -> Any:
        """Accumulate, partition, sort the k best."""
        scores = accumulate(self.starts, self.documents, self.weights, self.size, *prepared)
        return _best(scores, k)


class ScipyProduct(Engine):
    """The query times the transposed collection, both sparse."""

    name = "scipy product"

    def __init__(self, documents: sparse.csr_matrix) -> None:
        self.lists = documents.T.tocsr()

    @property
    def nbytes(self) -> int:
        """Bytes of the transposed matrix."""
        return self.lists.data.nbytes + self.lists.indices.nbytes + self.lists.indptr.nbytes

    def prepare(self, query: sparse.csr_matrix) -> sparse.csr_matrix:
        """The query itself."""
        return query

    def find(self, prepared: sparse.csr_matrix, k: int) -> Any:
        """Multiply and pick the k best of what is not 0."""
        product = prepared @ self.lists
        best, scores = _best(product.data, min(k, product.nnz))
        return product.indices[best], scores


def _best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    top = np.argpartition(scores, -k)[-k:]
    top = top[np.lexsort((top, -scores[top]))]
    return top, scores[top]


@numba.njit(cache=True)
def accumulate(starts, documents, weights, size, terms, given):  # pragma: no cover - compiled
    """Scores float32 (size,) of one query, term at a time over the whole collection."""
    scores = np.zeros(size, dtype=np.float32)
    for i in range(len(terms)):
        term, weight = terms[i], given[i]
        for p in range(starts[term], starts[term + 1]):
            scores[documents[p]] += weight * weights[p]
    return scores
