"""Posting lists in blocks of documents, each list in the smallest of three forms.

The documents are cut into blocks, so small that one accumulator a document stays in the
processor's cache. The list of a term in a block is

    gaps    one byte a posting: its distance from the one before; where that is more than 255, a
            posting of weight 0 bridges it
    places  two bytes a posting: its place in the block; for lists too thin for gaps
    dense   no places, one weight for every document of the block; for a term that many of them
            have, where a processor adds whole vectors at a time

A weight is a float32, or one byte: w = scale_j c with c = 1..255 and scale_j = max_d w_dj / 255,
so that it is off by at most scale_j / 2; one below that is kept as scale_j.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numba
import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.errors import DiscoError

BLOCK = 32_768  # documents: 128 KiB of float32 accumulators
LARGEST_BLOCK = 65_536  # places are two bytes
#: Share of a block's documents from which a term's list is stored densely.
DENSE = {"uint8": 1 / 8, "float32": 1 / 4}

GAPS, PLACES, ALL = 1, 2, 3


@dataclass(frozen=True)
class Postings:
    """All lists of a collection, block by block and term by term; see `pack` for the shapes.

    weights: uint8 or float32. steps: uint8, gaps and places. weight_starts and step_starts: uint32
    (blocks, vocabulary + 1), where a list begins within its block. weight_bases and step_bases:
    int64 (blocks + 1), where a block begins. scales: float32 (vocabulary), what a stored weight is
    multiplied with. highest: float32 (blocks, vocabulary), a list's highest stored weight. counts:
    int64 (vocabulary), a term's postings. sizes: int64 (2), documents, and documents a block.
    """

    weights: np.ndarray
    steps: np.ndarray
    weight_starts: np.ndarray
    step_starts: np.ndarray
    weight_bases: np.ndarray
    step_bases: np.ndarray
    scales: np.ndarray
    highest: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray

    @property
    def storage(self) -> str:
        """How weights are kept, "uint8" or "float32"."""
        return str(self.weights.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


def pack(
    vectors: sparse.csr_matrix, storage: str = "float32", block: int = BLOCK, progress: bool = False
) -> Postings:
    """Lists of canonical float32 CSR vectors (documents, vocabulary) without negative weights.

    storage: "float32", exact, or "uint8", one byte a weight. Raises DiscoError for another storage
    and for a block of no or too many documents.
    """
    if storage not in DENSE:
        raise DiscoError(f"storage {storage!r}; use {' or '.join(map(repr, DENSE))}.")
    if not 1 <= block <= LARGEST_BLOCK:
        raise DiscoError(f"block is {block}; use 1 to {LARGEST_BLOCK:,} documents.")
    n, vocabulary = vectors.shape
    starts, terms, data = vectors.indptr.astype(np.int64), vectors.indices, vectors.data
    scales = np.ones(vocabulary, dtype=np.float32)
    if storage == "uint8":
        most = _highest(terms, data, vocabulary)
        scales = most / np.float32(255)
        scales[scales == 0] = most[scales == 0]  # so small that its 255th part is no number
        data = _codes(terms, data, scales)
    blocks = -(-n // block)
    weight_starts = np.zeros((blocks, vocabulary + 1), dtype=np.uint32)
    step_starts = np.zeros_like(weight_starts)
    highest = np.zeros((blocks, vocabulary), dtype=np.float32)
    counts = np.zeros(vocabulary, dtype=np.int64)
    weights, steps = [data[:0]], [np.zeros(0, dtype=np.uint8)]
    width = data.dtype.itemsize
    for b in tqdm(range(blocks), desc="index", unit=" blocks", disable=not progress, delay=2):
        first, last = b * block, min(n, (b + 1) * block)
        held, bridges = _count(starts, terms, first, last, vocabulary)
        form = np.where((held + bridges) * (1 + width) <= held * (2 + width), GAPS, PLACES)
        form[held >= DENSE[storage] * (last - first)] = ALL
        form[held == 0] = 0
        chosen = [form == GAPS, form == PLACES, form == ALL]
        weight_starts[b, 1:] = np.cumsum(np.select(chosen, [held + bridges, held, last - first], 0))
        step_starts[b, 1:] = np.cumsum(np.select(chosen, [held + bridges, 2 * held, 0], 0))
        part = np.zeros(weight_starts[b, -1], dtype=data.dtype)
        moves = np.zeros(step_starts[b, -1], dtype=np.uint8)
        _fill(
            starts, terms, data, first, last, form, weight_starts[b].astype(np.int64),
            step_starts[b].astype(np.int64), part, moves, highest[b],
        )  # fmt: skip
        counts += held
        weights.append(part)
        steps.append(moves)
    return Postings(
        np.concatenate(weights), np.concatenate(steps), weight_starts, step_starts,
        np.cumsum([len(part) for part in weights], dtype=np.int64),
        np.cumsum([len(part) for part in steps], dtype=np.int64),
        scales, highest, counts, np.array([n, block], dtype=np.int64),
    )  # fmt: skip


@numba.njit(cache=True)
def _highest(terms, data, vocabulary):  # pragma: no cover - compiled
    found = np.zeros(vocabulary, dtype=np.float32)
    for p in range(len(terms)):
        found[terms[p]] = max(found[terms[p]], data[p])
    return found


@numba.njit(cache=True)
def _codes(terms, data, scales):  # pragma: no cover - compiled
    codes = np.zeros(len(data), dtype=np.uint8)
    for p in range(len(data)):
        scale = scales[terms[p]]
        if data[p] > 0:
            # A weight that is there stays there: 0 stands for none.
            codes[p] = min(255, max(1, int(data[p] / scale + np.float32(0.5))))
    return codes


@numba.njit(cache=True)
def _count(starts, terms, first, last, vocabulary):  # pragma: no cover - compiled
    held = np.zeros(vocabulary, dtype=np.int64)
    bridges = np.zeros(vocabulary, dtype=np.int64)
    before = np.full(vocabulary, -1, dtype=np.int64)
    for document in range(first, last):
        place = document - first
        for p in range(starts[document], starts[document + 1]):
            term = terms[p]
            held[term] += 1
            bridges[term] += (place - before[term] - 1) // 255
            before[term] = place
    return held, bridges


@numba.njit(cache=True)
def _fill(
    starts, terms, data, first, last, form, at, step_at, weights, steps, highest
):  # pragma: no cover - compiled
    before = np.full(len(form), -1, dtype=np.int64)
    for document in range(first, last):
        place = document - first
        for p in range(starts[document], starts[document + 1]):
            term, weight = terms[p], data[p]
            highest[term] = max(highest[term], np.float32(weight))
            if form[term] == ALL:
                weights[at[term] + place] = weight
                continue
            if form[term] == GAPS:
                gap = place - before[term]
                while gap > 255:
                    steps[step_at[term]] = 255
                    step_at[term] += 1
                    at[term] += 1
                    gap -= 255
                steps[step_at[term]] = gap
                step_at[term] += 1
                before[term] = place
            else:
                steps[step_at[term]] = place & 255
                steps[step_at[term] + 1] = place >> 8
                step_at[term] += 2
            weights[at[term]] = weight
            at[term] += 1
