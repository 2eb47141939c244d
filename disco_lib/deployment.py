"""Systems as they are served: text in, ranking out, with time, throughput, size and effectiveness.

Every system answers the same queries in the same run, one at a time and in batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ranx import Qrels, Run

from disco_lib.bm25 import Bm25Index
from disco_lib.dense_rows import DenseIndex
from disco_lib.errors import DiscoError
from disco_lib.metrics import evaluate
from disco_lib.text_encoder import TextEncoder

#: Texts -> a run of their rankings under the ids given.
Answer = Callable[[Sequence[str], Sequence[str]], Run]


@dataclass(frozen=True)
class Served:
    """A system: its name, how it answers texts, and bytes of weights and of the index."""

    name: str
    answer: Answer
    weights: int
    index: int


def serve_dense(
    name: str,
    encoder: TextEncoder,
    passages: np.ndarray,
    pids: Sequence[str],
    weights: int,
    k: int = 10,
    max_length: int = 64,
) -> Served:
    """A dense encoder with its passages' vectors (passages, dimensions), searched exactly.

    encoder: any whose `encode` gives vectors, as `DenseEncoder` and `OnnxEncoder`. weights: bytes.
    """
    index = DenseIndex.build(passages, pids)

    def answer(texts: Sequence[str], names: Sequence[str]) -> Run:
        return index.search(encoder.encode(texts, max_length), k, names)

    return Served(name, answer, weights, index.vectors.nbytes)


def serve_bm25(name: str, passages: Sequence[str], pids: Sequence[str], k: int = 10) -> Served:
    """BM25 over the passages' texts; it has no weights, and its index is its postings."""
    index = Bm25Index(passages, pids)
    return Served(name, lambda texts, names: index.search(texts, names, k), 0, index.nbytes)


def weight_bytes(encoder: Any) -> int:
    """Bytes of a torch encoder's parameters, or of an ONNX encoder's graph."""
    size = getattr(encoder, "size", None)
    if isinstance(size, int):
        return size
    return sum(p.numel() * p.element_size() for p in encoder.parameters())


def serving_rows(
    systems: Sequence[Served],
    queries: Sequence[str],
    turn_ids: Sequence[str],
    qrels: Qrels,
    batch: int = 32,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """One row a system: milliseconds a query, queries a second, megabytes, MRR@10.

    Milliseconds: median and 95th percentile over queries answered one at a time, each timed
    `repeats` times, of which the fastest counts, by the clock. Queries a second: in batches, the
    fastest of `repeats` passes. Every system answers one query before its clock starts. Raises
    DiscoError without a query, and for numbers of ids and queries that differ.
    """
    if not queries or len(queries) != len(turn_ids):
        raise DiscoError(f"{len(queries)} queries, {len(turn_ids)} ids: give one id a query.")
    rows = []
    for system in systems:
        system.answer(queries[:1], turn_ids[:1])
        single = [
            min(_seconds(system, [text], [name]) for _ in range(repeats))
            for text, name in zip(queries, turn_ids, strict=True)
        ]
        whole = min(_in_batches(system, queries, turn_ids, batch) for _ in range(repeats))
        found = evaluate(qrels, system.answer(queries, turn_ids), ["MRR@10"], turn_ids)
        rows.append(
            {
                "system": system.name,
                "ms a query": round(1e3 * float(np.median(single)), 3),
                "ms, 95 %": round(1e3 * float(np.percentile(single, 95)), 3),
                "queries a second": round(len(queries) / whole, 1),
                "weights, MB": round(system.weights / 1e6, 2),
                "index, MB": round(system.index / 1e6, 3),
                "MRR@10": round(found.mean()["MRR@10"], 4),
            }
        )
    return rows


def _seconds(system: Served, texts: Sequence[str], names: Sequence[str]) -> float:
    start = time.perf_counter()
    system.answer(texts, names)
    return time.perf_counter() - start


def _in_batches(system: Served, queries: Sequence[str], names: Sequence[str], batch: int) -> float:
    parts = [slice(start, start + batch) for start in range(0, len(queries), batch)]
    return sum(_seconds(system, queries[part], names[part]) for part in parts)
