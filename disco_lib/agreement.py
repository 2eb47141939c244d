"""How much of the teacher's ranking a student keeps: over one list of pairs, and for each query.

Scores can be equal, most of all those of a student that gives nearly every pair its highest. Every
function here is the expectation over random orders of equal scores, so no result depends on the
order in which pairs stand, and constant scores come out as chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disco_lib.alignment import paired_scores
from disco_lib.errors import DiscoError

#: The depths of the report.
DEPTHS = (1, 3, 5, 10, 20)


def agreement_at(
    teacher: np.ndarray, student: np.ndarray, depths: Sequence[int] = DEPTHS
) -> dict[int, float]:
    """agreement@K: the share of the teacher's K highest pairs among the student's K highest.

    teacher, student: scores (pairs,) of one list of pairs, whatever their queries. The report
    calls this Recall@K; as it is no recall of relevant passages, it may fall as K grows. Its value
    by chance is K / pairs, and constant scores on either side give that. Raises DiscoError as
    `alignment.align` does, and for a K below 1 or above the number of pairs.
    """
    teacher, student = paired_scores(teacher, student)
    return {k: float(recovery_at(teacher[None], student[None], k)[0]) for k in depths}


def list_ndcg_at(
    gains: np.ndarray, student: np.ndarray, depths: Sequence[int] = DEPTHS
) -> dict[int, float]:
    """nDCG@K of one list of pairs in the student's order: gains, student (pairs,).

    gains: the teacher's scores, or 1 for what counts as relevant. With gains between a and b the
    value is a / b at least, however bad the order. Raises DiscoError as `ndcg_at`.
    """
    gains, student = paired_scores(gains, student)
    return {k: float(ndcg_at(gains[None], student[None], k)[0]) for k in depths}


def recovery_at(teacher: np.ndarray, student: np.ndarray, k: int) -> np.ndarray:
    """The share of the teacher's K best documents among the student's K best, (queries,).

    teacher, student: scores (queries, documents). Raises DiscoError for shapes that differ, for
    scores that are no numbers, and for a K below 1 or above the number of documents.
    """
    teacher, student = _matrices(teacher, student)
    return (top_share(teacher, k) * top_share(student, k)).sum(axis=1) / k


def recall_at(relevant: np.ndarray, student: np.ndarray, k: int) -> np.ndarray:
    """Recall@K of each query, (queries,): |relevant among the student's K best| / |relevant|.

    relevant: bool (queries, documents), for instance the diagonal of a square of pairs; student:
    scores of the same shape. Raises DiscoError as `recovery_at`, and for a query without relevant
    documents.
    """
    relevant, student = _matrices(relevant, student)
    relevant = relevant > 0
    _needs_one(relevant)
    return (relevant * top_share(student, k)).sum(axis=1) / relevant.sum(axis=1)


def ndcg_at(gains: np.ndarray, student: np.ndarray, k: int) -> np.ndarray:
    """nDCG@K of each query, (queries,), with linear gain.

    DCG@K = sum over ranks r <= K of gain / log2(1 + r), divided by that of the best order. gains,
    student: (queries, documents), gains from 0. Raises DiscoError as `recovery_at`, for gains
    below 0, and for a query whose gains are all 0.
    """
    gains, student = _matrices(gains, student)
    _check_depth(k, gains.shape[1])
    if (gains < 0).any():
        raise DiscoError(f"A gain is {gains.min():.3f}; gains must not be below 0. Clip them to 0.")
    _needs_one(gains > 0)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    found = np.stack([_by_rank(*rows)[:k] @ discounts for rows in zip(gains, student, strict=True)])
    ideal = -np.sort(-gains, axis=1)[:, :k] @ discounts
    return found / ideal


def top_share(scores: np.ndarray, k: int) -> np.ndarray:
    """How surely each document is among its query's K highest scores, in [0, 1], shape as given.

    scores (queries, documents). 1 above the Kth score, 0 below; equal scores at the Kth place
    share what is left of the K places. Rows sum to K. Raises DiscoError for a K below 1 or above
    the number of documents.
    """
    _check_depth(k, scores.shape[1])
    cut = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > cut, scores == cut
    left = k - above.sum(axis=1, keepdims=True)
    return above + tied * (left / tied.sum(axis=1, keepdims=True))


def _by_rank(gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The gain to expect at each rank: that of equal scores is their mean."""
    _, group, size = np.unique(-scores, return_inverse=True, return_counts=True)
    return np.repeat(np.bincount(group, weights=gains) / size, size)


def _matrices(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, right = (np.asarray(scores, dtype=np.float64) for scores in (left, right))
    if left.shape != right.shape or left.ndim != 2 or not left.size:
        raise DiscoError(
            f"Scores of shapes {left.shape} and {right.shape}: give two matrices of one shape, "
            "(queries, documents)."
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise DiscoError("A score is no finite number; score every document of every query.")
    return left, right


def _check_depth(k: int, documents: int) -> None:
    if not 1 <= k <= documents:
        raise DiscoError(f"K is {k}; of {documents} documents it can be 1 to {documents}.")


def _needs_one(relevant: np.ndarray) -> None:
    empty = np.flatnonzero(~relevant.any(axis=1))
    if len(empty):
        raise DiscoError(f"Query {empty[0]} has no relevant document; leave such queries out.")
