"""What this machine can do at best, and the least time that leaves for what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from disco_lib.bench import MISSING, Record, rows_where
from disco_lib.block_search import add_all, add_gaps, add_places
from disco_lib.errors import IntegrityError
from disco_lib.postings import BLOCK
from disco_lib.records import provenance
from disco_lib.storage import cache_root, read_json, settings_hash, write_json
from disco_lib.tables import Table, Words

#: Multiply-adds that the vocabulary product of SPLADE-tiny takes for one token: width, vocabulary.
PRODUCT = 128 * 30_522


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
        add_gaps(accumulator, steps, weights, np.float32(1))


@numba.njit(cache=True)
def _places_again(accumulator, steps, weights, times):  # pragma: no cover - compiled
    for _ in range(times):
        add_places(accumulator, steps, weights, np.float32(1))


@numba.njit(cache=True)
def _dense_again(accumulator, weights, times):  # pragma: no cover - compiled
    for _ in range(times):
        add_all(accumulator, weights, np.float32(1))


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
    for row in rows_where(training, way="disco_lib"):
        name = f"training step, documents of {row['document tokens']} tokens"
        work.append((name, about["batch"] * row["query tokens"], row["ms a step"]))
    for row in rows_where(encoding, encoder="disco_lib") if encoding is not None else []:
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
