"""Search: time a query on one thread, size, and agreement with the exact ranking, by engine.

Every engine is built and timed in a process of its own, so that one's memory does not press on the
next, and beside it the plain accumulator, in the same minutes. What is measured is kept: an
interrupted benchmark goes on with the engine that it had come to.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from benchmarks.peers import OwnIndex, PlainAccumulator, ScipyProduct, accumulate
from benchmarks.report import REPEATS, Row, show, write_report
from benchmarks.vectors import real_vectors, recombined, source
from disco_lib.engines import BmpEngine, Engine, LuceneEngine, SeismicEngine
from disco_lib.index import InvertedIndex
from disco_lib.records import provenance
from disco_lib.storage import cache_root, read_json, settings_hash, write_json
from disco_lib.vectors import read_csr, write_csr

QUERIES = 100
#: Documents up to which the other engines are built: at a million, Seismic takes five minutes,
#: Lucene ten or more, and searching with BMP ten more.
PEERS_LIMIT = 200_000
_CHECKED = 50  # queries whose ranking is compared

#: Engine -> (vectors, folder) -> the engine, built.
BUILDERS: dict[str, Callable[[sparse.csr_matrix, Path], Engine]] = {
    PlainAccumulator.name: lambda vectors, _: PlainAccumulator(vectors),
    "InvertedIndex uint8": lambda vectors, _: _own(vectors, "uint8"),
    "InvertedIndex float32": lambda vectors, _: _own(vectors, "float32"),
    ScipyProduct.name: lambda vectors, _: ScipyProduct(vectors),
    SeismicEngine.name: SeismicEngine.build,
    BmpEngine.name: BmpEngine.build,
    LuceneEngine.name: LuceneEngine.build,
}
PEERS = (SeismicEngine.name, BmpEngine.name, LuceneEngine.name)


def measure_search(sizes: list[int], depths: list[int], limit: int = PEERS_LIMIT) -> Path:
    """Time every engine at every size and write data/measured/bench/search.json.

    limit: documents up to which Lucene, BMP and Seismic take part.
    """
    numba.set_num_threads(1)
    documents, queries = real_vectors(QUERIES)
    settings = {
        "data": source()[0],
        "sizes": sizes,
        "k": depths,
        "queries": QUERIES,
        "repeats": REPEATS,
        "threads": 1,
    }
    rows: list[Row] = []
    for size in sizes:
        names = [name for name in BUILDERS if size <= limit or name not in PEERS]
        with tempfile.TemporaryDirectory() as folder:
            for name in tqdm(names, desc=f"{size:,} documents", unit="engine"):
                rows += _kept(name, size, depths, documents, queries, Path(folder))
        show([row for row in rows if row["documents"] == size], f"{size:,} documents")
    return write_report("search", settings, rows)


def _kept(
    name: str,
    size: int,
    depths: list[int],
    documents: sparse.csr_matrix,
    queries: dict[str, sparse.csr_matrix],
    folder: Path,
) -> list[Row]:
    about = {"engine": name, "size": size, "k": depths, "queries": QUERIES, "repeats": REPEATS}
    versions = {k: v for k, v in provenance().items() if k in ("commit", "versions", "machine")}
    key = settings_hash({**about, "data": source(), "real": documents.nnz, **versions})
    path = cache_root() / "bench" / f"search-{key}.json"
    if not path.is_file():
        if not (folder / "documents").is_dir():
            _write(folder, recombined(documents, size), queries)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows = pool.apply(measure_engine, (name, size, depths, folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, rows)
    return read_json(path)


def _write(folder: Path, vectors: sparse.csr_matrix, queries: dict[str, sparse.csr_matrix]) -> None:
    for name, rows in {"documents": vectors, **queries}.items():
        (folder / name).mkdir()
        write_csr(folder / name, rows)


def measure_engine(name: str, size: int, depths: list[int], folder: Path) -> list[Row]:
    """Build one engine over the vectors in a folder and time it, and the plain accumulator."""
    numba.set_num_threads(1)
    vectors = sparse.csr_matrix(read_csr(folder / "documents"))
    queries = {kind: sparse.csr_matrix(read_csr(folder / kind)) for kind in ("short", "long")}
    start = time.perf_counter()
    engine = BUILDERS[name](vectors, folder / name.replace(" ", "-"))
    seconds = time.perf_counter() - start
    plain = PlainAccumulator(vectors)
    rows = []
    for kind, own in queries.items():
        for k in depths:
            peer = _milliseconds(plain, own, k)
            found = _milliseconds(engine, own, k) if name != plain.name else peer
            rows.append(
                {
                    "engine": name,
                    "documents": size,
                    "queries": kind,
                    "k": k,
                    "median ms": round(float(np.median(found)), 3),
                    "p99 ms": round(float(np.quantile(found, 0.99)), 3),
                    "plain ms": round(float(np.median(peer)), 3),
                    "times faster": round(float(np.median(peer) / np.median(found)), 2),
                    "overlap": round(_overlap(engine, own, k, plain), 5),
                    "bytes a posting": round(engine.nbytes / vectors.nnz, 3),
                    "share of 8 bytes": round(engine.nbytes / vectors.nnz / 8, 4),
                    "build s": round(seconds, 1),
                }
            )
    return rows


def _own(vectors: sparse.csr_matrix, storage: str) -> OwnIndex:
    names = [str(i) for i in range(vectors.shape[0])]
    return OwnIndex(InvertedIndex.build(vectors, names, storage), f"InvertedIndex {storage}")


def _milliseconds(engine: Engine, queries: sparse.csr_matrix, k: int) -> np.ndarray:
    """Median milliseconds of each query over REPEATS searches: (queries,)."""
    times = []
    for i in range(queries.shape[0]):
        prepared = engine.prepare(queries[i])
        taken = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            engine.find(prepared, k)
            taken.append(time.perf_counter() - start)
        times.append(1e3 * np.median(taken))
    return np.array(times)


def _overlap(engine: Engine, queries: sparse.csr_matrix, k: int, plain: PlainAccumulator) -> float:
    """Share of the k found documents that score no less than the exact k-th, on average.

    By score, not by name: which of several documents of the same score comes k-th is open.
    """
    lists = (plain.starts, plain.documents, plain.weights, plain.size)
    shares = []
    for i in range(min(_CHECKED, queries.shape[0])):
        scores = accumulate(*lists, queries[i].indices, queries[i].data)
        wanted = min(k, int((scores > 0).sum()))
        if not wanted:
            continue
        least = np.partition(scores, -wanted)[-wanted]
        places = _places(engine, queries[i], k)
        good = scores[places[places >= 0]] >= least * (1 - 1e-6)
        shares.append(min(1.0, good.sum() / wanted))
    return float(np.mean(shares))


def _places(engine: Engine, query: sparse.csr_matrix, k: int) -> np.ndarray:
    if isinstance(engine, OwnIndex):
        return engine.search_arrays(query, k)[0][0]
    found = engine.find(engine.prepare(query), k)
    if isinstance(engine, (PlainAccumulator, ScipyProduct)):
        return found[0]
    return np.array([place for place, _ in found], dtype=np.int64)
