"""Inside an index: forms and bytes of its lists, what queries touch, what a bound leaves out."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.postings import ALL, GAPS, PLACES, Postings

FORMS = {GAPS: "gaps", PLACES: "places", ALL: "dense"}


def list_forms(postings: Postings, block: int = 0) -> np.ndarray:
    """The form of every term's list in a block, int64 (vocabulary,): a key of FORMS, or 0."""
    weights, steps = _lengths(postings, block)
    return np.select([weights == 0, steps == 0, steps == weights], [0, ALL, GAPS], PLACES)


def list_bytes(postings: Postings, block: int = 0) -> np.ndarray:
    """Bytes of every term's list in a block, weights and places: int64 (vocabulary,)."""
    weights, steps = _lengths(postings, block)
    return weights * postings.weights.itemsize + steps


def list_parts(postings: Postings, term: int, block: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One list as it is stored: (steps uint8, weights)."""
    parts = []
    for starts, bases, data in (
        (postings.step_starts, postings.step_bases, postings.steps),
        (postings.weight_starts, postings.weight_bases, postings.weights),
    ):
        first, last = int(starts[block, term]), int(starts[block, term + 1])
        parts.append(data[int(bases[block]) + first : int(bases[block]) + last])
    return parts[0], parts[1]


def bytes_touched(queries: sparse.csr_matrix, postings: Postings) -> np.ndarray:
    """Bytes of the lists that a search without skipping walks for each query: int64 (queries,)."""
    total = sum(
        (list_bytes(postings, b) for b in range(len(postings.weight_starts))),
        np.zeros(len(postings.counts), dtype=np.int64),
    )
    return np.asarray((queries != 0).astype(np.int64) @ total).ravel()


def _lengths(postings: Postings, block: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.diff(postings.weight_starts[block].astype(np.int64)),
        np.diff(postings.step_starts[block].astype(np.int64)),
    )


def touched_by_frequency(
    queries: sparse.csr_matrix, documents: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """(f, s): terms that at least a share f of the documents have give a share s of the postings
    that the queries touch. Both rise; f from the rarest term's share to the commonest's.
    """
    held = np.asarray((documents != 0).sum(axis=0)).ravel()
    asked = np.asarray((queries != 0).sum(axis=0)).ravel()
    order = np.argsort(held, kind="stable")
    order = order[(held[order] > 0) & (asked[order] > 0)]
    if not len(order):
        raise DiscoError("The queries touch no posting of these documents.")
    touched = (held * asked)[order].astype(np.float64)
    above = np.cumsum(touched[::-1])[::-1] / touched.sum()
    return held[order] / documents.shape[0], above


def blocks_skipped(
    postings: Postings, queries: sparse.csr_matrix, scores: np.ndarray, k: int
) -> np.ndarray:
    """Share of the blocks that the bound lets a search for the k best leave out: float (queries,).

    scores: float32 (queries, documents), of every document. The rule is that of `block_search`,
    written down again in numpy.
    """
    blocks, size = len(postings.weight_starts), int(postings.sizes[1])
    shares = np.zeros(queries.shape[0])
    for i in range(queries.shape[0]):
        row = queries[i]
        factors = row.data * postings.scales[row.indices]
        best = np.zeros(k, dtype=np.float32)  # 0: not found yet
        for b in range(blocks):
            bound = np.float32(0)
            for addend in factors * postings.highest[b, row.indices]:
                bound += addend
            if best.min() > 0 and bound <= best.min():
                shares[i] += 1 / blocks
                continue
            held = np.concatenate([best, scores[i, b * size : (b + 1) * size]])
            best = np.partition(held, -k)[-k:]
    return shares


def all_scores(queries: sparse.csr_matrix, documents: sparse.csr_matrix) -> np.ndarray:
    """Scores of all documents by the dense product in float64: (queries, documents)."""
    dense = queries.toarray().astype(np.float64)
    parts = [
        dense @ documents[i : i + 500].toarray().astype(np.float64).T
        for i in range(0, documents.shape[0], 500)
    ]
    return np.hstack(parts) if parts else np.zeros((queries.shape[0], 0))


def overlap(expected: np.ndarray, found: np.ndarray) -> float:
    """Share of the expected documents that were found: both (queries, k), -1 for none."""
    shares = []
    for a, b in zip(expected, found, strict=True):
        wanted = set(a[a >= 0].tolist())
        if wanted:
            shares.append(len(wanted & set(b.tolist())) / len(wanted))
    return float(np.mean(shares)) if shares else 1.0
