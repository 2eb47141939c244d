"""Records of benchmarks: written once measured, with what they were measured on."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from disco_lib.records import BENCH, measured_root, provenance
from disco_lib.storage import settings_hash, write_json
from disco_lib.tables import Table

Row = dict[str, Any]
REPEATS = 5


def median_seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median time of `repeats` calls, after one that does not count."""
    work()
    return float(np.median([_seconds(work) for _ in range(repeats)]))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory() -> float:
    """Highest resident memory of this process so far, in MiB.

    Linux's own high-water mark where there is one: getrusage's begins with that of the parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_report(name: str, settings: Mapping[str, Any], rows: Sequence[Row]) -> Path:
    """Write data/measured/bench/NAME.json: settings, provenance, one object a row, a checksum."""
    about = {**provenance(), "numba_threads": numba.get_num_threads()}
    content = {"name": name, "settings": dict(settings), "provenance": about, "rows": list(rows)}
    path = measured_root() / BENCH / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**content, "checksum": settings_hash(content)})
    return path


def show(rows: Sequence[Row], title: str) -> None:
    """Print rows as a table."""
    print(f"\n{title}")
    print(Table.of(list(rows)))
