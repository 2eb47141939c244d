"""An inverted index over sparse vectors, with exact top-k search.

A posting list holds, for one term, the documents that carry it and their weights; a query walks its
terms' lists and adds weight times weight into one accumulator a document. How the lists lie in
memory is in `postings`, how they are walked in `block_search`. The result is that of the full
product with the stored weights: nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from ranx import Run
from scipy import sparse

from disco_lib.block_search import search_blocks
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.names import NameTable
from disco_lib.postings import BLOCK, Postings, pack
from disco_lib.runs import run_from_arrays
from disco_lib.storage import atomic_folder, open_sealed

REBUILD = "disco index VECTORS --out INDEX"
FORMAT = "disco-index-2"
_TOO_LARGE = "A score is larger than any float32 number. Scale the weights down."
_ARRAYS = [field.name for field in fields(Postings)]


class InvertedIndex:
    """Posting lists of a collection: term -> documents in ascending order, and their weights."""

    def __init__(self, postings: Postings, ids: Sequence[str]) -> None:
        self.postings, self.ids = postings, ids

    @classmethod
    def build(
        cls,
        vectors: sparse.csr_matrix,
        ids: Sequence[str],
        storage: str = "float32",
        block: int = BLOCK,
        progress: bool = False,
    ) -> InvertedIndex:
        """Index vectors (documents, vocabulary) under their ids.

        storage: "float32" keeps the weights as they are; "uint8" keeps 255 levels a term, in about
        a third of the bytes. block: documents that are searched together, 65,536 at most.
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
        return cls(pack(vectors, storage, block, progress), list(ids))

    @property
    def vocabulary_size(self) -> int:
        """Number of terms, those without a posting included."""
        return len(self.postings.counts)

    @property
    def storage(self) -> str:
        """How weights are kept: "float32" or "uint8"."""
        return self.postings.storage

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
        if documents.size:
            self._check_products(queries)
            search_blocks(self.postings, queries, documents, scores)
            if not np.isfinite(scores).all():
                raise DiscoError(_TOO_LARGE)
        return documents, scores

    def _check_products(self, queries: sparse.csr_matrix) -> None:
        # Only a scale can make them infinite before a posting's weight, which may be 0, is known.
        if self.storage == "uint8" and queries.nnz:
            highest = float(queries.data.max()) * float(self.postings.scales.max())
            if highest > float(np.finfo(np.float32).max):
                raise DiscoError(_TOO_LARGE)

    def save(self, path: str | Path) -> None:
        """Write the index as a sealed folder; an older one at `path` is replaced at the end."""
        with atomic_folder(Path(path), format=FORMAT, rebuild=REBUILD) as folder:
            for name in _ARRAYS:
                np.save(folder / f"{name}.npy", getattr(self.postings, name), allow_pickle=False)
            NameTable.write(folder, self.ids)

    @classmethod
    def load(cls, path: str | Path) -> InvertedIndex:
        """Open a saved index, memory-mapped, after checking every file's checksum.

        Raises IntegrityError naming a file that is missing or has changed.
        """
        folder = Path(path)
        manifest = open_sealed(folder, REBUILD, quick=True)
        if manifest.get("format") != FORMAT:
            raise IntegrityError(f"{folder}: not an index of format {FORMAT}. Rebuild: {REBUILD}")
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in _ARRAYS
        }
        return cls(Postings(**arrays), NameTable(folder))


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
