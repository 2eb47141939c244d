"""Figures of the records of benchmarks: engines side by side, and how cost grows."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from disco_lib import plots
from disco_lib.bench import DEPTH, MISSING, Record, Row, common_size, rows_where
from disco_lib.tables import Words


def search_dots(record: Record | None, k: int = DEPTH) -> Figure | Words:
    """Milliseconds a query by engine, logarithmic, at the most documents that all were run with.

    The overlap with the exact ranking (the lower of both kinds of query) stands beside the dots.
    """
    if record is None:
        return Words(MISSING)
    size = common_size(record)
    engines: dict[str, dict[str, Row]] = {}
    for row in rows_where(record, k=k, documents=size):
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
    drawn = {name: {k: (n, y) for k, y in p.items()} for name, p in panels.items()}
    return plots.log_lines(drawn, "documents")
