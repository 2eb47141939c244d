"""What was tried for a better student: one change each, against the same seeds of the same base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from disco_lib.claims import paired_values
from disco_lib.errors import DiscoError
from disco_lib.gains import gains, span
from disco_lib.records import Record, intervals
from disco_lib.significance import compare
from disco_lib.tables import GLUE, p_value
from disco_lib.tiers import Tier

METRICS = ("MRR@10", "R@100")


def of_seeds(record: Record, seeds: Sequence[str]) -> Record:
    """The record of these seeds alone; DiscoError for a seed that it does not have."""
    missing = sorted(set(seeds) - set(record.seeds))
    if missing:
        known = ", ".join(record.seeds)
        raise DiscoError(f"{record.system}: no seed {missing[0]}; there are: {known}.")
    values = {seed: record.values[seed] for seed in seeds}
    own = {
        part: {seed: x for seed, x in getattr(record, part).items() if seed in seeds}
        for part in ("unremoved", "costs", "turn_costs")
    }
    return replace(record, values=values, intervals=intervals(values), **own)


def tried_rows(
    tier: Tier,
    records: Mapping[str, Record],
    grid: str = "tries",
    metrics: Sequence[str] = METRICS,
) -> list[dict[str, str]]:
    """One row a change of the grid that has a record: its values, and its gains on the base.

    records: of the tier, by system. The base is the grid's, of the seeds that the change was
    trained with, on the same turns; p is corrected for all rows and metrics. No rows where the
    tier has no such grid, or the base no record.
    """
    if grid not in tier.grids or tier.grids[grid]["base"] not in records:
        return []
    base = records[tier.grids[grid]["base"]]
    found = {
        value: records[name]
        for value, name in tier.grid(grid).items()
        if name in records and name != base.system
    }
    rows = [{"tried": "nothing", "seeds": str(len(base.seeds))} | _means(base, metrics)]
    tests = len(found) * len(metrics)
    bases = {seeds: of_seeds(base, seeds) for seeds in {tuple(r.seeds) for r in found.values()}}
    for value, record in found.items():
        pair = {"try": record, "base": bases[tuple(record.seeds)]}
        row = {"tried": value, "seeds": str(len(record.seeds))} | _means(record, metrics)
        for gain in gains(pair, [("try", "base")], metrics, comparisons=tests):
            interval = span(gain.difference, gain.low, gain.high)
            row[f"gain, {gain.metric}"] = f"{interval} p{GLUE}{p_value(gain.p)}"
        rows.append(row)
    return rows


def beside_teacher_rows(
    records: Mapping[str, Record],
    names: Sequence[str],
    teacher: str,
    metrics: Sequence[str] = METRICS,
) -> list[dict[str, str]]:
    """Systems on the turns that the teacher has a rewrite of, each beside the teacher.

    Of each metric: the mean, its share of the teacher's, and p of the paired difference, corrected
    for all rows and metrics. Names without a record are left out; no rows without the teacher's.
    """
    there = [name for name in names if name in records]
    if teacher not in records or not there:
        return []
    own = records[teacher]
    row = {"system": own.label, "turns": str(len(own.turn_ids))}
    rows = [row | {metric: f"{own.mean(metric):.3f}" for metric in metrics}]
    for name in there:
        row = {"system": records[name].label}
        for metric in metrics:
            x, y = paired_values(records[name], own, metric)
            test = compare(x, y, comparisons=len(there) * len(metrics))
            row["turns"] = str(test.n)
            row[metric] = f"{x.mean():.3f}"
            row[f"{metric} / teacher's"] = f"{x.mean() / np.maximum(y.mean(), 1e-12):.1%}"
            row[f"p, {metric}"] = p_value(test.p_t)
        rows.append(row)
    return rows


def _means(record: Record, metrics: Sequence[str]) -> dict[str, str]:
    return {metric: f"{record.mean(metric):.3f}" for metric in metrics}
