"""How sparse vectors are, and what that costs at search time."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex


def active_terms(vectors: sparse.csr_matrix) -> np.ndarray:
    """Number of non-zero entries of each vector: int64 (vectors,)."""
    return np.asarray((vectors != 0).sum(axis=1)).ravel().astype(np.int64)


def activation(vectors: sparse.csr_matrix) -> np.ndarray:
    """Share of vectors in which each vocabulary entry is active: float64 (vocabulary,)."""
    if vectors.shape[0] == 0:
        return np.zeros(vectors.shape[1])
    return np.asarray((vectors != 0).sum(axis=0)).ravel() / vectors.shape[0]


def flops(queries: sparse.csr_matrix, documents: sparse.csr_matrix) -> float:
    """Expected multiply-adds of one query with one document (DiSCo, equation 7).

    FLOPS = sum_j p_j(q) p_j(d), with the activation probabilities estimated on the queries and on
    the collection given. queries and documents: (n, vocabulary).
    """
    return float(activation(queries) @ activation(documents))


def postings_touched(queries: sparse.csr_matrix, index: InvertedIndex) -> np.ndarray:
    """Number of postings that an exact search walks for each query: int64 (queries,).

    These are all the postings of its active terms. Their mean over queries is FLOPS times the
    number of documents: sum_j p_j(q) n_j, and n_j / n = p_j(d).
    """
    return np.asarray((queries != 0).astype(np.int64) @ index.postings.counts).ravel()


def shrink(vectors: sparse.csr_matrix, pull: np.ndarray, keep: float) -> sparse.csr_matrix:
    """The vectors after one step against `pull`, as long as leaves a share `keep` of the entries.

    Every weight w_ij loses s * pull_j and stops at 0; s is the smallest step after which at most
    that share is active. pull: float (vocabulary,), above 0 wherever a vector is active. This is
    what a regulariser with the gradient `pull` does on its own.
    """
    if not 0 < keep < 1:
        raise DiscoError(f"keep is {keep}; give a share between 0 and 1.")
    vectors = sparse.csr_matrix(vectors, dtype=np.float64, copy=True)
    if vectors.nnz == 0:
        return vectors.astype(np.float32)
    loss = np.asarray(pull, dtype=np.float64)[vectors.indices]
    lives = vectors.data / loss
    step = np.sort(lives)[-1 - int(keep * len(lives))]
    vectors.data = np.where(lives > step, vectors.data - step * loss, 0.0)
    vectors.eliminate_zeros()
    return vectors.astype(np.float32)
