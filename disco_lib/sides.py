"""What a comparison sets side by side: values of both systems, of the turns that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.records import MEASURE_AGAIN, Record
from disco_lib.rules import COSTS, OF_TURNS, Comparison
from disco_lib.significance import late_and_early

SHARED = ("collection", "split", "depth", "evaluation")


class NotMeasured(DiscoError):
    """A record does not hold what a comparison needs, as one from before it was kept."""


class Sides(NamedTuple):
    """Values of a and of b, each (seeds, n): of n turns or conversations, in the same order."""

    a: np.ndarray
    b: np.ndarray


def paired_values(a: Record, b: Record, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Per-turn values (shared turns,) of two records on the turns both have, mean over seeds."""
    rows = _shared_turns(a, b)
    x, y = _values(a, metric)[:, rows[:, 0]], _values(b, metric)[:, rows[:, 1]]
    return x.mean(axis=0), y.mean(axis=0)


def both_sides(
    item: Comparison,
    a: Record,
    b: Record | None,
    than: Sequence[Record] = (),
    where: Sequence[Record] = (),
) -> Sides:
    """Values of a and of b, or of what stands in b's place, as a comparison over turns needs them.

    than: records (c, d) where the item compares a - b with c - d; the sides are these differences.
    where: records (c, d) where the item looks only at turns on which c has more than d.
    Raises NotMeasured where a record lacks what depth, growth or a cost of turns needs, or leaves
    fewer than two values; DiscoError where two records do not belong together, or lack the metric.
    """
    for other in (b, *than, *where):
        _check_together(a, other)
    rows = _turns_where(item, _turns_at_depth(item, a, b, *than, *where), where)
    if b is not None and than:
        x, y = _two_gains(item.metric, rows, (a, b, *than))
        if x.shape[1] < 2:
            raise _too_few(item, a, b, x.shape[1])
        return Sides(x, y)
    x = _values(a, item.metric)[:, rows[:, 0]]
    if b is not None:
        y = item.factor * _values(b, item.metric)[:, rows[:, 1]]
    else:
        y = np.full((1, len(rows)), item.bound or 0.0)
    if item.growth:
        x, y = (_growths(values, rows, a, b) for values in (x, y))
    if x.shape[1] < 2:
        raise _too_few(item, a, b, x.shape[1])
    return Sides(x, y)


def seed_costs(item: Comparison, a: Record, b: Record) -> tuple[np.ndarray, np.ndarray]:
    """A cost that is one number a seed, of a and of b: two (seeds,). Raises as `both_sides`."""
    _check_together(a, b)
    _check_timed_alike(item, a, b)
    return _seed_costs(a, item.metric), item.factor * _seed_costs(b, item.metric)


def _shared_turns(*records: Record | None) -> np.ndarray:
    # Places (turns, records) of the shared turns in each, in the first one's order. A column for
    # None is of no use and holds 0.
    places = [
        None if record is None else {turn: i for i, turn in enumerate(record.turn_ids)}
        for record in records
    ]
    shared = [
        [0 if place is None else place[turn] for place in places]
        for turn in places[0]
        if all(place is None or turn in place for place in places)
    ]
    return np.array(shared, dtype=int).reshape(-1, len(records))


def _two_gains(metric: str, rows: np.ndarray, records: Sequence[Record]) -> Sides:
    # a - b and c - d: seed by seed where all four have the same seeds, else of their means.
    every = [_values(r, metric)[:, rows[:, i]] for i, r in enumerate(records)]
    if any(record.seeds != records[0].seeds for record in records):
        every = [values.mean(axis=0, keepdims=True) for values in every]
    a, b, c, d = every
    return Sides(a - b, c - d)


def _turns_at_depth(item: Comparison, *records: Record | None) -> np.ndarray:
    rows = _shared_turns(*records)
    if item.depth is None:
        return rows
    depths = np.array([depth for _, depth in _places(rows, *records)], dtype=int)
    first, last = item.depth
    inside = (depths >= (first or 1)) & (depths <= (last or np.inf))
    return rows[inside]


def _turns_where(item: Comparison, rows: np.ndarray, where: Sequence[Record]) -> np.ndarray:
    # The last columns of rows are places in the records (c, d).
    if item.where is None:
        return rows
    c, d = (
        _values(record, item.where[2])[:, rows[:, place]].mean(axis=0)
        for record, place in zip(where, (-2, -1), strict=True)
    )
    return rows[c > d]


class _Place(NamedTuple):
    # What `late_and_early` asks of a turn.
    conv_id: str
    depth: int


def _places(rows: np.ndarray, a: Record, *others: Record | None) -> list[_Place]:
    # The conversation and the depth of each row's turn; any of the records says them.
    for column, record in enumerate((a, *others)):
        if record is not None and record.depths and record.conversations:
            at = rows[:, column].tolist()
            return [_Place(record.conversations[i], record.depths[i]) for i in at]
    raise NotMeasured(
        f"The record of {a.system} on {a.tier} does not say the depth of its turns. "
        f"{MEASURE_AGAIN} disco measure --tier {a.tier} --system {a.system}"
    )


def _growths(values: np.ndarray, rows: np.ndarray, a: Record, b: Record | None) -> np.ndarray:
    # (seeds, turns) -> (seeds, conversations): later half minus earlier half.
    places = _places(rows, a, b)
    halves = [late_and_early(seed, places) for seed in values]
    # 0.3 + 0.3 + 0.3 over 3 is not 0.3 to the last bit; equal halves are no growth.
    return np.array([np.round(late - early, 12) for late, early in halves])


def _values(record: Record, metric: str) -> np.ndarray:
    if metric in COSTS or metric in OF_TURNS:
        return _turn_costs(record, metric)
    for seed, metrics in record.values.items():
        if metric not in metrics:
            raise DiscoError(_lacks(record, metric, seed))
    return np.array([metrics[metric] for metrics in record.values.values()], dtype=np.float64)


def _turn_costs(record: Record, name: str) -> np.ndarray:
    try:
        record.per_turn_cost(name)
    except DiscoError as error:
        raise NotMeasured(str(error)) from error
    return np.array([record.turn_costs[seed][name] for seed in record.values], dtype=np.float64)


def _seed_costs(record: Record, name: str) -> np.ndarray:
    for seed, costs in record.costs.items():
        if name not in costs:
            # Times of a search are kept since later than the other costs.
            error = NotMeasured if name == "search_ms" else DiscoError
            raise error(_lacks(record, name, seed))
    return np.array([costs[name] for costs in record.costs.values()], dtype=np.float64)


# What does not fit


def _lacks(record: Record, what: str, seed: str) -> str:
    return (
        f"The record of {record.system} on {record.tier} has no {what} for seed {seed}. "
        "Measure it again, or mend the claim's comparison."
    )


def _too_few(item: Comparison, a: Record, b: Record | None, n: int) -> DiscoError:
    who = f"{a.tier}: {a.system} has" if b is None else f"{a.tier}: {a.system} and {b.system} share"
    if item.growth:
        return NotMeasured(f"{who} {n} conversations of two turns or more; a test needs 2.")
    if item.depth is not None or item.where is not None:
        return NotMeasured(f"{who} {n} turns in {item.words()!r}; a test needs 2.")
    return DiscoError(f"{who} {n} turns; a test needs 2.")


def _check_together(a: Record, b: Record | None) -> None:
    # Records of two versions of a tier can carry the same turn ids; their difference means nothing.
    for name in SHARED:
        if b is not None and a.settings.get(name) != b.settings.get(name):
            raise DiscoError(
                f"The records of {a.system} and {b.system} on {a.tier} differ in {name!r}: "
                f"{a.settings.get(name)} and {b.settings.get(name)}. Measure the older one again."
            )


def _check_timed_alike(item: Comparison, a: Record, b: Record) -> None:
    machines = {record.provenance.get("machine") for record in (a, b)}
    if item.metric == "search_ms" and len(machines) > 1:
        raise NotMeasured(
            f"{a.system} and {b.system} on {a.tier} were timed on different machines. "
            f"{MEASURE_AGAIN} disco measure --tier {a.tier} --system {b.system}"
        )
