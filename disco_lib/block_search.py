"""Exact top-k search over posting lists in blocks, compiled.

One block after the other: a bound from the highest weights of its lists says whether any of its
documents can enter the k best; if so, each of the query's lists is added into the block's
accumulators (term at a time), and the documents that score above the worst of the k best so far are
kept; whenever there are 2k of them, the k best stay. Nothing is left out that could be a result.

The bound is safe in floating point too: rounded products and sums never fall when a factor or an
addend grows, and the bound adds the same terms in the same order.
"""

from __future__ import annotations

import numba
import numpy as np

_CHUNK = 512  # documents that are looked at together


def search_blocks(postings, queries, documents, scores) -> None:
    """Fill documents int32 (queries, k), preset to -1, and scores float32, preset to 0.

    queries: canonical float32 CSR (queries, vocabulary). Threads share the queries among them.
    """
    arguments = (
        postings.weights, postings.steps, postings.weight_starts, postings.step_starts,
        postings.weight_bases, postings.step_bases, postings.scales, postings.highest,
        postings.sizes,
    )  # fmt: skip
    if queries.shape[0] == 1:  # handing one query to threads would cost more than it
        block = min(int(postings.sizes[1]), int(postings.sizes[0]))
        accumulator = np.zeros(block, dtype=np.float32)
        _query(*arguments, queries.indices, queries.data, accumulator, documents[0], scores[0])
        return
    _search(
        *arguments, queries.indptr, queries.indices, queries.data, numba.get_num_threads(),
        documents, scores,
    )  # fmt: skip


@numba.njit(parallel=True, cache=True)
def _search(
    weights, steps, weight_starts, step_starts, weight_bases, step_bases, scales, highest, sizes,
    q_starts, q_terms, q_weights, threads, documents, scores,
):  # fmt: skip  # pragma: no cover - compiled
    queries = len(q_starts) - 1
    for thread in numba.prange(threads):
        accumulator = np.zeros(min(sizes[0], sizes[1]), dtype=np.float32)
        for query in range(thread, queries, threads):
            first, last = q_starts[query], q_starts[query + 1]
            _query(
                weights, steps, weight_starts, step_starts, weight_bases, step_bases, scales,
                highest, sizes, q_terms[first:last], q_weights[first:last], accumulator,
                documents[query], scores[query],
            )  # fmt: skip


@numba.njit(cache=True)
def _query(
    weights, steps, weight_starts, step_starts, weight_bases, step_bases, scales, highest, sizes,
    q_terms, q_weights, accumulator, documents, scores,
):  # fmt: skip  # pragma: no cover - compiled
    k, found, least = len(documents), 0, np.float32(0)
    kept_documents = np.empty(2 * k + _CHUNK, dtype=np.int32)
    kept_scores = np.empty(2 * k + _CHUNK, dtype=np.float32)
    for b in range(len(weight_starts)):
        if least > 0:
            bound = np.float32(0)
            for i in range(len(q_terms)):
                bound += q_weights[i] * scales[q_terms[i]] * highest[b, q_terms[i]]
            if bound <= least:  # of equal scores the earlier document is better
                continue
        for i in range(len(q_terms)):
            term = q_terms[i]
            first = weight_bases[b] + np.int64(weight_starts[b, term])
            last = weight_bases[b] + np.int64(weight_starts[b, term + 1])
            if first == last:
                continue
            step_first = step_bases[b] + np.int64(step_starts[b, term])
            step_last = step_bases[b] + np.int64(step_starts[b, term + 1])
            weight = q_weights[i] * scales[term]
            if step_first == step_last:
                add_all(accumulator, weights[first:last], weight)
            elif step_last - step_first == last - first:
                add_gaps(accumulator, steps[step_first:step_last], weights[first:last], weight)
            else:
                add_places(accumulator, steps[step_first:step_last], weights[first:last], weight)
        size = min(sizes[0] - b * sizes[1], sizes[1])
        found, least = _collect(
            accumulator, size, b * sizes[1], kept_documents, kept_scores, found, least, k
        )
    found, least = _prune(kept_documents, kept_scores, found, least, k)
    order = np.argsort(-kept_scores[:found], kind="mergesort")  # stable: ties stay in order
    for rank in range(found):
        documents[rank], scores[rank] = kept_documents[order[rank]], kept_scores[order[rank]]


@numba.njit(cache=True)
def add_all(accumulator, weights, weight):  # pragma: no cover - compiled
    """Add a dense list into a block's accumulators float32: weight times each stored weight."""
    for place in range(len(weights)):
        accumulator[place] += weight * np.float32(weights[place])


@numba.njit(cache=True)
def add_gaps(accumulator, steps, weights, weight):  # pragma: no cover - compiled
    """Add a list of gaps: steps uint8 (postings,), the first counts from the place before 0."""
    place = np.uint64(0xFFFFFFFFFFFFFFFF)  # one before the first; unsigned numbers wrap around
    for p in range(len(steps)):
        place += np.uint64(steps[p])
        accumulator[place] += weight * np.float32(weights[p])


@numba.njit(cache=True)
def add_places(accumulator, steps, weights, weight):  # pragma: no cover - compiled
    """Add a list of places: steps uint8 (2 postings,), the low byte of each place first."""
    for p in range(len(weights)):
        place = np.uint64(steps[2 * p]) | (np.uint64(steps[2 * p + 1]) << np.uint64(8))
        accumulator[place] += weight * np.float32(weights[p])


@numba.njit(cache=True)
def _collect(
    accumulator, size, offset, documents, scores, found, least, k
):  # pragma: no cover - compiled
    """Keep what scores above `least` and empty the accumulators; returns (found, least)."""
    bits = accumulator.view(np.int32)  # floats above 0 are ordered as their bits are
    for first in range(0, size, _CHUNK):
        last = min(size, first + _CHUNK)
        if _maximum(bits[first:last]) <= np.float32(least).view(np.int32):
            continue
        for place in range(first, last):
            if accumulator[place] > least:
                documents[found], scores[found] = offset + place, accumulator[place]
                found += 1
        if found >= 2 * k:
            found, least = _prune(documents, scores, found, least, k)
    for place in range(size):
        accumulator[place] = np.float32(0)
    return found, least


@numba.njit(cache=True)
def _prune(documents, scores, found, least, k):  # pragma: no cover - compiled
    """Leave the k best of what was kept, in the collection's order; returns (found, least)."""
    if found < k:
        return found, least
    least = np.partition(scores[:found], found - k)[found - k]
    above = 0
    for i in range(found):
        above += scores[i] > least
    ties, kept = k - above, 0
    for i in range(found):
        if scores[i] > least or (scores[i] == least and ties > 0):
            ties -= scores[i] == least
            documents[kept], scores[kept] = documents[i], scores[i]
            kept += 1
    return kept, least


@numba.njit(cache=True)
def _maximum(numbers):  # pragma: no cover - compiled
    highest = np.int32(0)
    for i in range(len(numbers)):
        number = numbers[i]
        highest = number if number > highest else highest
    return highest
