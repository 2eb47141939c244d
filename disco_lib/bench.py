"""What benchmarks measured: records, read and shown as tables.

Records are written by `make bench` (see benchmarks/) into data/measured/bench and only read here.
Where one is missing, whatever would be drawn from it is one line that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.records import BENCH, measured_root
from disco_lib.storage import read_json, settings_hash
from disco_lib.tables import Table, Words

Record = Mapping[str, Any]
Row = Mapping[str, Any]

NAMES = ("search", "growth", "encoding", "training")
NO_RECORD = "no record yet"
MISSING = f"{NO_RECORD}: `make bench`"
#: The search that comparisons are about: so many documents, so many results.
SIZE, DEPTH = 1_000_000, 100


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
    rows = rows_where(record, **where)
    if not rows:
        return Words("the record has no such row")
    shown = columns or [name for name in rows[0] if name not in where]
    return Table.of([{name: _number(row.get(name)) for name in shown} for row in rows])


def rows_where(record: Record, **where: Any) -> list[Row]:
    """The rows of a record whose fields have the given values, in the record's order."""
    return [row for row in record["rows"] if all(row.get(name) == x for name, x in where.items())]


def common_size(record: Record) -> int:
    """The most documents that every engine of the record was run with; DiscoError where none is."""
    sizes: dict[str, set[int]] = {}
    for row in record["rows"]:
        sizes.setdefault(row["engine"], set()).add(row["documents"])
    common = set.intersection(*sizes.values()) if sizes else set()
    if not common:
        raise DiscoError("No size that all engines were run with. Measure again: make bench")
    return max(common)


def _number(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
