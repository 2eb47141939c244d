"""How sparse vectors are, and what that costs at search time."""

from __future__ import annotations

import numpy as np
from scipy import sparse


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
