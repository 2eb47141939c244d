"""How far the vectors of one encoder are from another's that should be the same: export, int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disco_lib.agreement import recovery_at
from disco_lib.alignment import Alignment, align
from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class VectorDrift:
    """Differences of the same texts' vectors by two encoders.

    largest: of any entry. mean_cosine, lowest_cosine: of a text's two vectors; 1 where both are
    vectors of zeros, 0 where one is.
    """

    n: int
    largest: float
    mean_cosine: float
    lowest_cosine: float


@dataclass(frozen=True)
class SearchDrift:
    """Differences of the same queries' scores and rankings by two encoders.

    scores: alignment of the second encoder's scores with the first's, over all queries and
    documents. recovery: share of the first's k best documents among the second's, (queries,).
    """

    scores: Alignment
    recovery: np.ndarray
    k: int


def vector_drift(reference: np.ndarray, other: np.ndarray) -> VectorDrift:
    """Compare vectors (texts, dimensions) of two encoders.

    Raises DiscoError for shapes that differ, for no text, and for entries that are no numbers.
    """
    reference, other = _vectors(reference, other)
    products = np.einsum("nd,nd->n", reference, other)
    lengths = np.linalg.norm(reference, axis=1), np.linalg.norm(other, axis=1)
    both = lengths[0] * lengths[1]
    same = (lengths[0] == lengths[1]).astype(np.float64)
    cosines = np.divide(products, both, out=same, where=both > 0)
    # The quotient of a vector with itself passes 1 by its last bits.
    cosines = cosines.clip(-1, 1)
    largest = float(np.abs(reference - other).max(initial=0.0))
    return VectorDrift(len(reference), largest, float(cosines.mean()), float(cosines.min()))


def search_drift(
    reference: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], k: int = 10
) -> SearchDrift:
    """Compare scores and rankings: of each encoder the vectors of queries and of documents.

    reference, other: ((queries, dimensions), (documents, dimensions)). Scores are dot products.
    Raises DiscoError as `vector_drift`, and for a k below 1 or above the number of documents.
    """
    for ours, theirs in zip(reference, other, strict=True):
        _vectors(ours, theirs)
    scores = [np.asarray(q) @ np.asarray(d).T for q, d in (reference, other)]
    aligned = align(scores[0].ravel(), scores[1].ravel())
    return SearchDrift(aligned, recovery_at(*scores, k), k)


def _vectors(reference: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, other = (np.asarray(rows, dtype=np.float64) for rows in (reference, other))
    if reference.shape != other.shape or reference.ndim != 2 or not reference.size:
        raise DiscoError(
            f"Vectors of shapes {reference.shape} and {other.shape}: encode the same texts with "
            "both encoders, one text at least."
        )
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        raise DiscoError("A vector holds an entry that is no finite number.")
    return reference, other
