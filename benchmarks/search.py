"""Search: time a query on one thread, size, and agreement with the exact ranking, by engine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
from scipy import sparse

from benchmarks.peers import OwnIndex, PlainAccumulator, ScipyProduct, accumulate
from benchmarks.report import REPEATS, Row, show, write_report
from benchmarks.vectors import real_vectors, recombined, source
from disco_lib.engines import BmpEngine, Engine, LuceneEngine, SeismicEngine
from disco_lib.index import InvertedIndex

QUERIES = 100
#: Documents up to which the other engines are built: at a million, Seismic takes 20 minutes and
#: Lucene, whose builder writes every weight as that many words, over half an hour.
PEERS_LIMIT = 200_000


def measure_search(sizes: list[int], depths: list[int], limit: int = PEERS_LIMIT) -> Path:
    """Time every engine at every size and write data/measured/bench/search.json.

    limit: documents up to which Lucene, BMP and Seismic take part.
    """
    numba.set_num_threads(1)
    documents, queries = real_vectors(QUERIES)
    rows: list[Row] = []
    for size in sizes:
        vectors = recombined(documents, size)
        exact = _exact(vectors, queries, max(depths))
        for engine in _engines(vectors, size <= limit):
            rows += _rows(engine, size, vectors, queries, depths, exact)
        _ratios(rows)
        show([row for row in rows if row["documents"] == size], f"{size:,} documents")
    settings = {
        "data": source()[0],
        "sizes": sizes,
        "k": depths,
        "queries": QUERIES,
        "repeats": REPEATS,
        "threads": 1,
    }
    return write_report("search", settings, rows)


def _exact(
    vectors: sparse.csr_matrix, queries: dict[str, sparse.csr_matrix], k: int
) -> dict[str, list[np.ndarray]]:
    """Scores of the k best documents of every query by the plain product, best first."""
    plain = PlainAccumulator(vectors)
    lists = (plain.starts, plain.documents, plain.weights, plain.size)
    return {
        kind: [accumulate(*lists, rows[i].indices, rows[i].data) for i in range(_CHECKED)]
        for kind, rows in queries.items()
    }


_CHECKED = 50  # queries whose ranking is compared


def _engines(vectors: sparse.csr_matrix, others: bool) -> Iterator[Engine]:
    names = [str(i) for i in range(vectors.shape[0])]
    yield _built(lambda _: PlainAccumulator(vectors))
    for storage in ("uint8", "float32"):
        yield _built(
            lambda _, storage=storage: OwnIndex(
                InvertedIndex.build(vectors, names, storage), f"InvertedIndex {storage}"
            )
        )
    yield _built(lambda _: ScipyProduct(vectors))
    for builder in (SeismicEngine, BmpEngine, LuceneEngine) if others else ():
        with tempfile.TemporaryDirectory() as folder:
            yield _built(lambda at, builder=builder: builder.build(vectors, at), Path(folder))


def _built(build: Callable[[Path], Engine], folder: Path = Path()) -> Engine:
    start = time.perf_counter()
    engine = build(folder / "index")
    engine.build_seconds = time.perf_counter() - start
    return engine


def _rows(engine, size, vectors, queries, depths, exact) -> Iterator[Row]:
    for kind, rows in queries.items():
        prepared = [engine.prepare(rows[i]) for i in range(rows.shape[0])]
        for k in depths:
            times = np.array([_times(engine, query, k) for query in prepared])
            found = engine.search_arrays(rows[:_CHECKED], k) if _is_own(engine) else None
            yield {
                "engine": engine.name,
                "documents": size,
                "queries": kind,
                "k": k,
                "median ms": round(1e3 * float(np.median(times)), 3),
                "p99 ms": round(1e3 * float(np.quantile(times, 0.99)), 3),
                "overlap": round(_overlap(engine, rows, k, exact[kind], found), 5),
                "bytes a posting": round(engine.nbytes / vectors.nnz, 3),
                "share of 8 bytes": round(engine.nbytes / vectors.nnz / 8, 4),
                "build s": round(engine.build_seconds, 1),
            }


def _times(engine: Engine, query, k: int) -> float:
    """Median seconds of one query over five searches."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        engine.find(query, k)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def _is_own(engine: Engine) -> bool:
    return isinstance(engine, OwnIndex)


def _overlap(engine, rows, k, exact, found) -> float:
    """Share of the k found documents that score no less than the exact k-th, on average.

    By score, not by name: which of several documents of the same score comes k-th is open.
    """
    shares = []
    for i, scores in enumerate(exact):
        wanted = min(k, int((scores > 0).sum()))
        if not wanted:
            continue
        least = np.partition(scores, -wanted)[-wanted]
        if found is not None:
            places = found[0][i]
        elif isinstance(engine, (PlainAccumulator, ScipyProduct)):
            places = engine.find(engine.prepare(rows[i]), k)[0]
        else:
            places = np.array([place for place, _ in engine.find(engine.prepare(rows[i]), k)])
        good = scores[places[places >= 0]] >= least * (1 - 1e-6)
        shares.append(min(1.0, good.sum() / wanted))
    return float(np.mean(shares))


def _ratios(rows: list[Row]) -> None:
    """Add how many times faster than the plain accumulator each row is."""
    peers = {
        (row["documents"], row["queries"], row["k"]): row["median ms"]
        for row in rows
        if row["engine"] == PlainAccumulator.name
    }
    for row in rows:
        peer = peers[row["documents"], row["queries"], row["k"]]
        row["times faster"] = round(peer / row["median ms"], 2)
