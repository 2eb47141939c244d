"""What chapters show of dense records: similarities of pairs, and a row for each system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from disco_lib.alignment import align
from disco_lib.errors import DiscoError
from disco_lib.gains import point, with_interval
from disco_lib.records import MEASURE_AGAIN, Record
from disco_lib.tables import Table

#: Cost -> the head of its column, its unit's size, and digits.
COSTS: Mapping[str, tuple[str, float, int]] = {
    "pairs": ("pairs", 1, 0),
    "steps": ("steps", 1, 0),
    "best_step": ("kept step", 1, 0),
    "seconds": ("seconds", 1, 0),
    "training_flops": ("training, TFLOP", 1e12, 2),
    "query_flops": ("a query, MFLOP", 1e6, 0),
    "agreement@10": ("agreement@10", 1, 2),
    "list nDCG@10": ("list nDCG@10", 1, 3),
    "MAE, selected": ("MAE, selected", 1, 3),
    "Pearson, selected": ("r, selected", 1, 3),
}
_NAMES = {"Pearson": "r"}


def pair_scores(record: Record) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{seed: (teacher's, student's similarity of each turn's pair)}, both (turns,).

    Raises DiscoError for a record that is not of a dense system.
    """
    found = {}
    for seed, costs in record.turn_costs.items():
        if not {"score", "teacher_score"} <= set(costs):
            raise DiscoError(
                f"The record of {record.system} on {record.tier} holds no similarities of pairs. "
                f"{MEASURE_AGAIN} disco measure --tier {record.tier} --system {record.system}"
            )
        found[seed] = (np.array(costs["teacher_score"]), np.array(costs["score"]))
    return found


def study_table(
    records: Mapping[str, Record],
    name: str,
    metrics: Sequence[str] = ("Pearson", "MAE", "R@10", "nDCG@10"),
    costs: Sequence[str] = (),
) -> Table:
    """One row a record under its short name: costs that some of them has, metrics, intervals.

    name: of the first column. Means over turns and seeds; the first metric has its 95 % interval
    over turns. Raises DiscoError for a cost that is not in COSTS.
    """
    unknown = [cost for cost in costs if cost not in COSTS]
    if unknown:
        raise DiscoError(f"No cost {unknown[0]!r}; there are: {', '.join(COSTS)}.")
    kept = [c for c in costs if any(not np.isnan(r.cost(c)) for r in records.values())]
    rows = []
    for short, record in records.items():
        row: dict[str, Any] = {name: short}
        for cost in kept:
            head, size, digits = COSTS[cost]
            value = record.cost(cost) / size
            row[head] = "" if np.isnan(value) else f"{value:,.{digits}f}"
        for metric in metrics:
            row[_NAMES.get(metric, metric)] = f"{record.mean(metric):.3f}"
        row[_NAMES.get(metrics[0], metrics[0])] = with_interval(point(record, metrics[0]))
        rows.append(row)
    return Table.of(rows)


def alignment_table(record: Record, selected_from: float) -> Table:
    """Errors and correlations of a record's pairs: all, selected and the rest; means over seeds.

    selected_from: the teacher's score from which a pair counts as selected.
    """
    groups: dict[str, list[Any]] = {"all": [], "selected": [], "the rest": []}
    spreads: dict[str, float] = {}
    for teacher, student in pair_scores(record).values():
        inside = teacher >= selected_from
        for group, rows in (("all", inside | True), ("selected", inside), ("the rest", ~inside)):
            if rows.any():
                groups[group].append(align(teacher[rows], student[rows]))
                spreads[group] = float(teacher[rows].std())
    rows = []
    for group, found in groups.items():
        if found:
            row: dict[str, Any] = {"held-out pairs": group, "pairs": found[0].n}
            row["teacher's std"] = f"{spreads[group]:.3f}"
            for key in ("mae", "rmse", "bias", "pearson", "spearman"):
                row[key] = f"{np.mean([getattr(one, key) for one in found]):.3f}"
            rows.append(row)
    return Table.of(rows)


def beside_report(
    report_rows: Sequence[Mapping[str, Any]],
    tiers: Mapping[str, Mapping[str, Record]],
    metrics: Sequence[str],
) -> Table:
    """Rows of a table of the report, each above what was measured; a cell never filled says 0.xx.

    report_rows: of data/papers, each with one data set's values; tiers: {tier: records by system}.
    A tier without a record of the row's system has no line below it. Means have 95 % intervals.
    """
    rows = []
    for published in report_rows:
        ((_, values),) = published["values"].items()
        unfilled = {metric for _, metric in published.get("unfilled", ())}
        given = {m: "0.xx" if m in unfilled else _given(values.get(m)) for m in metrics}
        rows.append({"method": published["method"], "from": "report"} | given)
        for tier, records in tiers.items():
            record = records.get(published["measured"][0])
            if record is not None:
                found = {m: with_interval(point(record, m)) for m in metrics}
                rows.append({"method": "", "from": tier} | found)
    return Table.of(rows)


def _given(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
