"""What was aimed at, against what the records of benchmarks hold.

The aims were set before the code was written; whether one is reached is computed from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from disco_lib.bench import DEPTH, NO_RECORD, SIZE, Record, Row, common_size, rows_where

OWN, OWN_FLOAT, PLAIN = "InvertedIndex uint8", "InvertedIndex float32", "plain accumulator"
#: The engines that a comparison has to hold; Lucene has a target of its own.
OTHERS = {"Seismic", "BMP"}
PEERS = ("public recipe", "sentence-transformers")


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
    return rows_where(record, **{"documents": SIZE, "k": DEPTH} | where)


def _lowest_overlap(engine: str) -> Callable[[Record], tuple[float, str] | None]:
    def measure(record: Record) -> tuple[float, str] | None:
        found = [row["overlap"] for row in _search(record, engine=engine)]
        return (min(found), "") if found else None

    return measure


def _over_plain(kind: str) -> Callable[[Record], tuple[float, str] | None]:
    def measure(record: Record) -> tuple[float, str] | None:
        own = _search(record, engine=OWN, queries=kind)
        return (own[0]["times faster"], "") if own else None

    return measure


def _ratio(own: Row, peer: Row) -> float:
    # Each engine was timed beside the plain accumulator, in a process of its own.
    return own["times faster"] / peer["times faster"]


def _over_others(kind: str, size: int | None) -> Callable[[Record], tuple[float, str] | None]:
    """Against the fastest other engine, all of OTHERS present; size None: the common size."""

    def measure(record: Record) -> tuple[float, str] | None:
        documents = common_size(record) if size is None else size
        rows = _search(record, queries=kind, documents=documents)
        own = [row for row in rows if row["engine"] == OWN]
        others = [row for row in rows if row["engine"] not in (OWN, OWN_FLOAT, PLAIN)]
        if not own or not OTHERS <= {row["engine"] for row in others}:
            return None
        best = max(
            (row for row in others if row["engine"] != "Seismic" or row["overlap"] < 0.99),
            key=lambda row: row["times faster"],
        )
        note = f"{best['engine']}, overlap {best['overlap']:.1%}, {documents:,} documents"
        return _ratio(own[0], best), note

    return measure


def _over_lucene(record: Record) -> tuple[float, str] | None:
    sizes = [row["documents"] for row in rows_where(record, engine="Lucene impact", k=DEPTH)]
    if not sizes:
        return None
    ratios = [
        _ratio(own, peer)
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
    return rows_where(record, documents=SIZE)


def _ours(record: Record) -> list[Row]:
    return rows_where(record, encoder="disco_lib")


def _steps(longest: bool) -> Callable[[Record], list[Row]]:
    def of(record: Record) -> list[Row]:
        lengths = [row["document tokens"] for row in record["rows"]]
        tokens = 128 if longest else min(lengths, default=128)
        return rows_where(record, way="disco_lib", **{"document tokens": tokens})

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
        _field("share of its memory", lambda r: rows_where(r, way="disco_lib"), max), False,
    ),
)  # fmt: skip
