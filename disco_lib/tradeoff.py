"""What sparsity costs and saves: Figure 5 of DiSCo, and how well FLOPS predicts the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse, stats

from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.tables import GLUE, Table

#: Cost -> the head of its column and how many digits it is shown with.
COSTS = {
    "document_terms": ("terms a passage", 1),
    "postings": ("postings", 0),
    "index_mb": ("index, MB", 2),
    "active_terms": ("terms a query", 1),
    "flops": ("FLOPS", 2),
    "search_ms": ("ms a query", 3),
}
#: From so many points on a correlation has an interval.
FEWEST = 4


def trade_off_point(record: Record, metric: str, cost: str = "flops") -> Point:
    """The metric's mean and 95 % interval over turns, at what a query costs (mean over seeds)."""
    return Point(record.mean(metric), *record.intervals[metric], x=record.cost(cost))


def trade_off_table(
    records: Mapping[str, Record],
    name: str,
    metrics: Sequence[str],
    costs: Sequence[str] = tuple(COSTS),
) -> Table:
    """One row a record under its short name: the costs that some of them has, then the metrics.

    name: of the first column. The first metric has its 95 % interval over turns.
    """
    kept = [c for c in costs if any(not np.isnan(r.cost(c)) for r in records.values())]
    rows = []
    for short, record in records.items():
        row = {name: short}
        for cost in kept:
            head, digits = COSTS[cost]
            value = record.cost(cost)
            row[head] = "" if np.isnan(value) else f"{value:,.{digits}f}"
        for metric in metrics:
            row[metric] = f"{record.mean(metric):.3f}"
        low, high = record.intervals[metrics[0]]
        row[metrics[0]] += f" [{low:.3f},{GLUE}{high:.3f}]"
        rows.append(row)
    return Table.of(rows)


def with_documents(record: Record, costs: Mapping[str, float]) -> Record:
    """The record with what its passages cost, where every seed shares these passages."""
    return replace(record, costs={seed: {**own, **costs} for seed, own in record.costs.items()})


def heaviest(vectors: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The vectors (n, vocabulary) with their k largest weights each; of equal ones the earlier."""
    if k < 1:
        raise DiscoError(f"k is {k}; keep at least one term.")
    rows = sparse.csr_matrix(vectors, copy=True)
    for first, last in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        order = np.argsort(-rows.data[first:last], kind="stable")
        rows.data[first:last][order[k:]] = 0
    rows.eliminate_zeros()
    return rows


# Records of `make bench`


def walked_and_took(growth: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{kind of query: (postings walked by a query, milliseconds)}, a value a collection's size.

    growth: the bench record of growing collections, from the smallest.
    """
    rows = sorted(growth["rows"], key=lambda row: row["documents"])
    return {
        f"{kind} queries": (
            np.array([row[f"postings, {kind}"] for row in rows], dtype=np.float64),
            np.array([row[f"ms, {kind}, index"] for row in rows], dtype=np.float64),
        )
        for kind in ("short", "long")
    }


def posting_table(growth: Mapping[str, Any]) -> Table:
    """One row a kind of query and size of the collection: FLOPS, postings, and time of each."""
    sizes = sorted(row["documents"] for row in growth["rows"])
    return Table.of(
        [
            {
                "queries": kind.removesuffix(" queries"),
                "passages": f"{size:,}",
                "FLOPS": f"{postings / size:.1f}",
                "postings a query": f"{postings:,.0f}",
                "ms a query": f"{ms:.3f}",
                "ns a posting": f"{1e6 * ms / postings:.2f}",
            }
            for kind, (walked, took) in walked_and_took(growth).items()
            for size, postings, ms in zip(sizes, walked, took, strict=True)
        ]
    )


# Correlation


@dataclass(frozen=True)
class Correlation:
    """A coefficient of n pairs, with its 95 % interval (NaN where there are fewer than 4)."""

    value: float
    low: float
    high: float
    n: int


def correlation(
    x: np.ndarray, y: np.ndarray, kind: str = "pearson", seed: int = 0, resamples: int = 10_000
) -> Correlation:
    """Correlation of x and y (points,): "pearson" of values, or "spearman" of ranks.

    The interval is the percentile bootstrap's over points; a sample in which one side is constant
    says nothing and is left out. NaN where x or y does not vary.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise DiscoError(f"A correlation needs two equal lists, not {x.shape} and {y.shape}.")
    if kind not in ("pearson", "spearman"):
        raise DiscoError(f'correlation {kind!r}; allowed: "pearson", "spearman".')
    ranked = (lambda z: stats.rankdata(z, axis=-1)) if kind == "spearman" else (lambda z: z)
    n = len(x)
    value = float(_pearson(ranked(x[None]), ranked(y[None]))[0]) if n > 1 else float("nan")
    if n < FEWEST or np.isnan(value):
        return Correlation(value, float("nan"), float("nan"), n)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    every = _pearson(ranked(x[drawn]), ranked(y[drawn]))
    low, high = np.quantile(every[~np.isnan(every)], [0.025, 0.975])
    return Correlation(value, float(low), float(high), n)


def correlation_table(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], head: str = "what is compared"
) -> Table:
    """One row a pair {name: (x, y)}, each (points,): both coefficients with their intervals."""
    rows = []
    for name, (x, y) in pairs.items():
        row = {head: name}
        for kind in ("pearson", "spearman"):
            found = correlation(x, y, kind)
            row[kind.title()] = f"{found.value:+.2f} [{found.low:+.2f},{GLUE}{found.high:+.2f}]"
        rows.append(row | {"points": found.n})
    return Table.of(rows)


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Of each row of x (rows, points) with the same row of y; NaN where one of them is constant.
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    flat = (np.ptp(x, axis=1) == 0) | (np.ptp(y, axis=1) == 0) | (size == 0)
    return np.where(flat, np.nan, (x * y).sum(axis=1) / np.where(flat, 1, size))
