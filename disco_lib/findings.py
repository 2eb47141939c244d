"""Findings: one comparison of a claim, tested on the records of the systems that it names.

"a greater than b" holds when the paired difference over turns (mean over seeds) is positive, its
Bonferroni-corrected t-test has p < 0.05, and, with several seeds, the difference has that sign on
every seed; "less" is the reverse. "Similar" holds when the 95 % interval of the difference lies
within the margin, "not greater" when its upper end lies below the margin, "not less" when its lower
end lies above minus the margin. Turns are those that both records have and whose depth the
comparison asks for.

Growth with depth is one number a conversation: the mean of its later turns minus the mean of its
earlier ones, tested over conversations in the same way. A bound takes the place of b on every turn.
A cost that is one number a seed has no test: a direction holds when every pair of seeds shows it,
and "similar", "not greater" and "not less" when every pair lies within the margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.records import MEASURE_AGAIN, Record
from disco_lib.rules import COSTS, Comparison
from disco_lib.significance import compare, late_and_early

ALPHA = 0.05
SHARED = ("collection", "split", "depth", "evaluation")


class NotMeasured(DiscoError):
    """A record does not hold what a comparison needs, as one from before it was kept."""


@dataclass(frozen=True)
class Finding:
    """What one comparison gave: effect is a - b in the metric's units, with its 95 % interval.

    n turns, or conversations where growth is compared. A cost that is one number a seed has no p;
    its interval is the range over n pairs of seeds. points: the effect has the claimed
    sign or lies within the margin of "similar"; "not greater" points where a - b is 0 or below or
    the comparison holds, "not less" likewise.
    """

    comparison: Comparison
    effect: float
    interval: tuple[float, float]
    p: float | None
    n: int
    holds: bool
    points: bool


class Sides(NamedTuple):
    """Values of a and of b, each (seeds, n): of n turns or conversations, in the same order."""

    a: np.ndarray
    b: np.ndarray


def weigh(item: Comparison, a: Record, b: Record | None = None, comparisons: int = 1) -> Finding:
    """Test one comparison on the records of its systems, as one of so many of its claim.

    Raises NotMeasured where a record lacks what depth, growth or a cost needs, DiscoError where two
    records do not belong together or lack the metric.
    """
    if b is not None:
        _check_together(a, b)
    if item.unit == "seeds":
        return _weigh_cost(item, a, b)
    sides = _sides(item, a, b)
    result = compare(sides.a.mean(axis=0), sides.b.mean(axis=0), comparisons=comparisons)
    seeds = [u - v for u, v in _seed_pairs(sides, b is not None and a.seeds == b.seeds)]
    low, high = result.low, result.high
    significant = result.p_t < ALPHA
    holds, points = _outcome(item, result.difference, (low, high), seeds, significant)
    return Finding(item, result.difference, (low, high), result.p_t, result.n, holds, points)


def paired_values(a: Record, b: Record, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Per-turn values (shared turns,) of two records on the turns both have, mean over seeds."""
    rows = _shared_turns(a, b)
    x, y = _values(a, metric)[:, rows[:, 0]], _values(b, metric)[:, rows[:, 1]]
    return x.mean(axis=0), y.mean(axis=0)


def _outcome(
    item: Comparison, effect: float, interval: tuple[float, float], seeds: list[float], sure: bool
) -> tuple[bool, bool]:
    # (holds, points). Margins look at the interval, directions at the test and at every seed.
    low, high = interval
    if item.direction == "similar":
        return -item.margin < low and high < item.margin, abs(effect) < item.margin
    if item.direction == "not greater":
        return high < item.margin, high < item.margin or effect <= 0
    if item.direction == "not less":
        return low > -item.margin, low > -item.margin or effect >= 0
    sign = 1.0 if item.direction == "greater" else -1.0
    points = sign * effect > 0
    return points and sure and all(sign * seed > 0 for seed in seeds), points


def _weigh_cost(item: Comparison, a: Record, b: Record) -> Finding:
    # One cost a seed, not one a turn: no turns to pair, no test.
    _check_timed_alike(item, a, b)
    x, y = _seed_costs(a, item.metric), _seed_costs(b, item.metric)
    differences = np.subtract.outer(x, y).ravel()
    effect = float(differences.mean())
    interval = (float(differences.min()), float(differences.max()))
    holds, points = _outcome(item, effect, interval, differences.tolist(), True)
    return Finding(item, effect, interval, None, len(differences), holds, points)


# Values


def _sides(item: Comparison, a: Record, b: Record | None) -> Sides:
    rows = _turns_at_depth(item, a, b)
    x = _values(a, item.metric)[:, rows[:, 0]]
    if b is not None:
        y = _values(b, item.metric)[:, rows[:, 1]]
    else:
        y = np.full((1, len(rows)), item.bound or 0.0)
    if item.growth:
        x, y = (_growths(values, rows, a, b) for values in (x, y))
    if x.shape[1] < 2:
        raise _too_few(item, a, b, x.shape[1])
    return Sides(x, y)


def _shared_turns(a: Record, b: Record | None) -> np.ndarray:
    # Places (turns, 2) of the shared turns in a and in b, in a's order.
    place = {turn: i for i, turn in enumerate((b or a).turn_ids)}
    shared = [(i, place[turn]) for i, turn in enumerate(a.turn_ids) if turn in place]
    return np.array(shared, dtype=int).reshape(-1, 2)


def _turns_at_depth(item: Comparison, a: Record, b: Record | None) -> np.ndarray:
    rows = _shared_turns(a, b)
    if item.depth is None:
        return rows
    depths = np.array([depth for _, depth in _places(rows, a, b)], dtype=int)
    first, last = item.depth
    inside = (depths >= (first or 1)) & (depths <= (last or np.inf))
    return rows[inside]


class _Place(NamedTuple):
    # What `late_and_early` asks of a turn.
    conv_id: str
    depth: int


def _places(rows: np.ndarray, a: Record, b: Record | None) -> list[_Place]:
    # The conversation and the depth of each row's turn; either record says them.
    for column, record in enumerate((a, b)):
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
    if metric in COSTS:
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


def _seed_pairs(sides: Sides, alike: bool) -> list[tuple[float, float]]:
    # The same seed in both records orders their training turns alike, so it is a pair.
    x, y = sides.a.mean(axis=1).tolist(), sides.b.mean(axis=1).tolist()
    if alike:
        return list(zip(x, y, strict=True))
    return [(u, v) for u in x for v in y]


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
    if item.depth is not None:
        return NotMeasured(f"{who} {n} turns in {item.words()!r}; a test needs 2.")
    return DiscoError(f"{who} {n} turns; a test needs 2.")


def _check_together(a: Record, b: Record) -> None:
    # Records of two versions of a tier can carry the same turn ids; their difference means nothing.
    for name in SHARED:
        if a.settings.get(name) != b.settings.get(name):
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
