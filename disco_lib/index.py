"""An inverted index over sparse vectors, with exact top-k search.

A posting list holds, for one term, the documents that carry it and their weights. A query walks
its terms' lists and adds weight times weight into one accumulator a document (term at a time); a
bounded heap then keeps the k best. Nothing is pruned, so the result is that of the full product.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np
from ranx import Run
from scipy import sparse

from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.runs import run_from_arrays
from disco_lib.storage import atomic_folder, open_sealed, read_json, write_json

REBUILD = "disco index VECTORS --out INDEX"
FORMAT = "disco-index-1"


class InvertedIndex:
    """Posting lists of a collection: term -> documents in ascending order, and their weights."""

    def __init__(
        self, starts: np.ndarray, documents: np.ndarray, weights: np.ndarray, ids: Sequence[str]
    ) -> None:
        self.starts, self.documents, self.weights = starts, documents, weights
        self.ids = list(ids)

    @classmethod
    def build(cls, vectors: sparse.csr_matrix, ids: Sequence[str]) -> InvertedIndex:
        """Index vectors (documents, vocabulary) under their ids.

        Raises DiscoError for ids that repeat or do not match the rows, and for weights that are
        negative or not finite.
        """
        vectors = check_vectors(vectors, "documents")
        if vectors.shape[0] != len(ids):
            raise DiscoError(
                f"{vectors.shape[0]} vectors, but {len(ids)} ids. Give one id a vector."
            )
        if len(set(ids)) != len(ids):
            raise DiscoError("An id stands twice among the documents. Ids must be unique.")
        postings = vectors.tocsc()
        postings.sort_indices()
        return cls(
            postings.indptr.astype(np.int64),
            postings.indices.astype(np.int32),
            postings.data.astype(np.float32),
            ids,
        )

    @property
    def vocabulary_size(self) -> int:
        """Number of terms, those without a posting included."""
        return len(self.starts) - 1

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self, queries: sparse.csr_matrix, k: int, query_ids: Sequence[str] | None = None
    ) -> Run:
        """The k best documents of each query (queries, vocabulary) as a ranx Run.

        Queries are named "0", "1", ... unless query_ids are given. Only documents that share a
        term with the query are returned; equal scores keep the collection's order.
        """
        documents, scores = self.search_arrays(queries, k)
        names = [str(i) for i in range(len(documents))] if query_ids is None else list(query_ids)
        if len(names) != len(documents):
            raise DiscoError(f"{len(documents)} queries, but {len(names)} query ids.")
        if len(set(names)) != len(names):
            raise DiscoError("A query id stands twice. Query ids must be unique.")
        return run_from_arrays(names, self.ids, documents, scores)

    def search_arrays(self, queries: sparse.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions int32 (queries, k), -1 where there is no further one, and scores float32."""
        queries = check_vectors(queries, "queries")
        if queries.shape[1] != self.vocabulary_size:
            raise DiscoError(
                f"The queries have {queries.shape[1]} dimensions, the index "
                f"{self.vocabulary_size}: they come from encoders of different vocabularies."
            )
        if k < 1:
            raise DiscoError(f"k is {k}; it must be at least 1.")
        depth = min(k, len(self))
        documents = np.full((queries.shape[0], depth), -1, dtype=np.int32)
        scores = np.zeros((queries.shape[0], depth), dtype=np.float32)
        if depth:
            _search(
                self.starts, self.documents, self.weights, len(self),
                queries.indptr, queries.indices, queries.data, documents, scores,
            )  # fmt: skip
        return documents, scores

    def save(self, path: str | Path) -> None:
        """Write the index as a sealed folder; an older one at `path` is replaced at the end."""
        with atomic_folder(Path(path), format=FORMAT, rebuild=REBUILD) as folder:
            np.save(folder / "starts.npy", self.starts, allow_pickle=False)
            np.save(folder / "documents.npy", self.documents, allow_pickle=False)
            np.save(folder / "weights.npy", self.weights, allow_pickle=False)
            write_json(folder / "ids.json", self.ids)

    @classmethod
    def load(cls, path: str | Path) -> InvertedIndex:
        """Open a saved index, memory-mapped, after checking every file's checksum.

        Raises IntegrityError naming a file that is missing or has changed.
        """
        folder = Path(path)
        manifest = open_sealed(folder, REBUILD)
        if manifest.get("format") != FORMAT:
            raise IntegrityError(f"{folder}: not an index of format {FORMAT}. Rebuild: {REBUILD}")
        starts, documents, weights = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("starts", "documents", "weights")
        )
        return cls(starts, documents, weights, read_json(folder / "ids.json"))


def check_vectors(vectors: sparse.spmatrix, what: str) -> sparse.csr_matrix:
    """Float32 CSR with sorted, summed indices; DiscoError for negative, NaN or infinite weights."""
    if not sparse.issparse(vectors):
        raise DiscoError(f"The {what} must be a scipy sparse matrix, not {type(vectors).__name__}.")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is named below
        rows = sparse.csr_matrix(vectors, dtype=np.float32)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    if rows.nnz and not np.isfinite(rows.data).all():
        raise DiscoError(f"A weight of the {what} is not a finite float32 number.")
    if rows.nnz and rows.data.min() < 0:
        raise DiscoError(
            f"A weight of the {what} is negative; sparse retrieval needs weights >= 0."
        )
    return rows


@numba.njit(parallel=True, cache=True)
def _search(
    starts, documents, weights, n_documents, q_starts, q_terms, q_weights, out_documents, out_scores
):  # pragma: no cover - compiled
    for query in numba.prange(len(q_starts) - 1):
        accumulator = np.zeros(n_documents, dtype=np.float32)
        for i in range(q_starts[query], q_starts[query + 1]):
            term, weight = q_terms[i], q_weights[i]
            for p in range(starts[term], starts[term + 1]):
                accumulator[documents[p]] += weight * weights[p]
        _top_k(accumulator, out_documents[query], out_scores[query])


@numba.njit(cache=True, inline="always")
def _worse(score_a, document_a, score_b, document_b):  # pragma: no cover - compiled
    return score_a < score_b or (score_a == score_b and document_a > document_b)


@numba.njit(cache=True)
def _top_k(accumulator, documents, scores):  # pragma: no cover - compiled
    # A heap whose root is the worst of the best so far: lowest score, and last document on a tie.
    k, size = len(documents), 0
    for document in range(len(accumulator)):
        score = accumulator[document]
        if score <= 0 or (size == k and score <= scores[0]):
            continue
        if size < k:
            child, size = size, size + 1
            while child > 0:
                parent = (child - 1) // 2
                if not _worse(score, document, scores[parent], documents[parent]):
                    break
                scores[child], documents[child] = scores[parent], documents[parent]
                child = parent
            scores[child], documents[child] = score, document
        else:
            _sift(scores, documents, size, score, document)
    # Taking the worst away again and again leaves the ranking, best first.
    for last in range(size - 1, 0, -1):
        worst_score, worst_document = scores[0], documents[0]
        _sift(scores, documents, last, scores[last], documents[last])
        scores[last], documents[last] = worst_score, worst_document


@numba.njit(cache=True)
def _sift(scores, documents, size, score, document):  # pragma: no cover - compiled
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _worse(
            scores[right], documents[right], scores[child], documents[child]
        ):
            child = right
        if not _worse(scores[child], documents[child], score, document):
            break
        scores[parent], documents[parent] = scores[child], documents[child]
        parent = child
    scores[parent], documents[parent] = score, document
