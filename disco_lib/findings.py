"""Findings: one comparison of a claim, tested on the records of the systems that it names.

"a greater than b" holds when the paired difference over turns (mean over seeds) is positive, its
Bonferroni-corrected t-test has p < 0.05, and, with several seeds, the difference has that sign on
every seed; "less" is the reverse, and "different" holds when either of them does. "Similar" holds
when the 95 % interval of the difference lies within the margin, "not greater" when its upper end
lies below the margin, "not less" when its lower end lies above minus the margin. Turns are those
that both records have and whose depth the comparison asks for.

Growth with depth is one number a conversation: the mean of its later turns minus the mean of its
earlier ones, tested over conversations in the same way. A bound takes the place of b on every turn.
With a factor b counts so many times: "a greater than 0.98 times b" is the paired test of
non-inferiority by 2 %. With `than` the difference is (a - b) - (c - d), turn by turn. With
`where` only the turns count on which one further system has more than another.
A cost that is one number a seed has no test: a direction holds when every pair of seeds shows it,
and "similar", "not greater" and "not less" when every pair lies within the margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disco_lib.records import Record
from disco_lib.rules import Comparison
from disco_lib.sides import Sides, both_sides, seed_costs
from disco_lib.significance import compare

ALPHA = 0.05


@dataclass(frozen=True)
class Finding:
    """What one comparison gave: effect is a - b in the metric's units, with its 95 % interval.

    With a factor it is a - factor * b, with `than` (a - b) - (c - d).

    n turns, or conversations where growth is compared. A cost that is one number a seed has no p;
    its interval is the range over n pairs of seeds. points: the effect has the claimed
    sign or lies within the margin of "similar"; "not greater" points where a - b is 0 or below or
    the comparison holds, "not less" likewise; "different" points where it holds.
    """

    comparison: Comparison
    effect: float
    interval: tuple[float, float]
    p: float | None
    n: int
    holds: bool
    points: bool


def weigh(
    item: Comparison, a: Record, b: Record | None = None, *others: Record, comparisons: int = 1
) -> Finding:
    """Test one comparison on the records of its systems, as one of so many of its claim.

    b is None where something else stands in its place; others: the records of the item's `than`,
    then those of its `where`. Raises as `sides.both_sides` does.
    """
    if item.unit == "seeds":
        return _weigh_cost(item, a, b)
    cut = 0 if item.than is None else 2
    than, where = others[:cut], others[cut:]
    sides = both_sides(item, a, b, than, where)
    result = compare(sides.a.mean(axis=0), sides.b.mean(axis=0), comparisons=comparisons)
    alike = b is not None and all(a.seeds == record.seeds for record in (b, *than))
    seeds = [u - v for u, v in _seed_pairs(sides, alike)]
    low, high = result.low, result.high
    significant = result.p_t < ALPHA
    # Two equal gains differ in the last bit of a float, and point nowhere.
    effect = round(result.difference, 12)
    holds, points = _outcome(item, effect, (low, high), seeds, significant)
    return Finding(item, effect, (low, high), result.p_t, result.n, holds, points)


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
    upwards = item.direction == "greater" or (item.direction == "different" and effect > 0)
    sign = 1.0 if upwards else -1.0
    points = sign * effect > 0
    holds = points and sure and all(sign * seed > 0 for seed in seeds)
    return holds, holds if item.direction == "different" else points


def _weigh_cost(item: Comparison, a: Record, b: Record) -> Finding:
    # One cost a seed, not one a turn: no turns to pair, no test.
    differences = np.subtract.outer(*seed_costs(item, a, b)).ravel()
    effect = float(differences.mean())
    interval = (float(differences.min()), float(differences.max()))
    holds, points = _outcome(item, effect, interval, differences.tolist(), True)
    return Finding(item, effect, interval, None, len(differences), holds, points)


def _seed_pairs(sides: Sides, alike: bool) -> list[tuple[float, float]]:
    # The same seed in both records orders their training turns alike, so it is a pair.
    x, y = sides.a.mean(axis=1).tolist(), sides.b.mean(axis=1).tolist()
    if alike:
        return list(zip(x, y, strict=True))
    return [(u, v) for u in x for v in y]
