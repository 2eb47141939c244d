"""How search time, index size, build time and opening time grow with the collection."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numba
import numpy as np

from benchmarks.peers import OwnIndex, PlainAccumulator
from benchmarks.report import REPEATS, Row, median_seconds, show, write_report
from benchmarks.vectors import real_vectors, recombined, source
from disco_lib.index import InvertedIndex

QUERIES = 50


def measure_growth(sizes: list[int], k: int = 100) -> Path:
    """Build, save, open and search at every size; write data/measured/bench/growth.json."""
    numba.set_num_threads(1)
    documents, queries = real_vectors(QUERIES)
    InvertedIndex.build(documents[:100], [str(i) for i in range(100)], "uint8")  # compiled
    rows: list[Row] = []
    for size in sizes:
        vectors = recombined(documents, size)
        names = [str(i) for i in range(size)]
        start = time.perf_counter()
        index = InvertedIndex.build(vectors, names, "uint8")
        build = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            index.save(Path(folder) / "index")
            opened = median_seconds(lambda at=folder: InvertedIndex.load(Path(at) / "index"))
        row = {
            "documents": size,
            "postings a document": round(vectors.nnz / size, 1),
            "documents a second, built": round(size / build),
            "ms to open": round(1e3 * opened, 1),
            "MB": round(index.postings.nbytes / 1e6, 2),
            "share of 8 bytes": round(index.postings.nbytes / vectors.nnz / 8, 4),
        }
        plain = PlainAccumulator(vectors)
        for kind, rows_of in queries.items():
            touched = (rows_of != 0).astype(np.int64) @ index.postings.counts
            row[f"postings, {kind}"] = round(float(np.mean(touched)))
            for engine in (OwnIndex(index, "index"), plain):
                label = "plain" if engine is plain else "index"
                row[f"ms, {kind}, {label}"] = round(1e3 * _median(engine, rows_of, k), 3)
        rows.append(row)
        show([row], f"{size:,} documents")
    settings = {"data": source()[0], "k": k, "queries": QUERIES, "repeats": REPEATS, "threads": 1}
    return write_report("growth", settings, rows)


def _median(engine, queries, k) -> float:
    times = []
    for i in range(queries.shape[0]):
        query = engine.prepare(queries[i])
        times.append(median_seconds(lambda q=query: engine.find(q, k), 3))
    return float(np.median(times))
