"""Rules: the comparisons that a claim rests on, as data/papers writes them before any run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disco_lib.errors import DataError

DIRECTIONS = ("greater", "less", "different", "similar", "not greater", "not less")
#: Directions that say how much does not count.
WITH_MARGIN = ("similar", "not greater", "not less")
#: What dense systems have one number of a seed: operations to encode a query, operations of the
#: training, and the agreement of two orders of one list of pairs (see `dense_experiments`).
DENSE_COSTS = ("query_flops", "training_flops", "agreement@10")
#: What a query costs, and what else is one number a seed, as records keep it.
COSTS = ("active_terms", "flops", "search_ms", *DENSE_COSTS)
#: The costs of which records keep every turn's value too.
TURN_COSTS = ("active_terms",)
#: Kept for every turn beside the metrics; no cost.
OF_TURNS = ("best_score",)
SIGNS = {
    "greater": ">",
    "less": "<",
    "different": "≠",
    "similar": "≈",
    "not greater": "≤",
    "not less": "≥",
}
WITHIN = {"similar": " ± ", "not greater": " + ", "not less": " − "}
WITH_DEPTH = {
    "greater": "grows",
    "less": "falls",
    "different": "changes",
    "similar": "stays even",
    "not greater": "does not grow",
    "not less": "does not fall",
}


@dataclass(frozen=True)
class Comparison:
    """One comparison that a claim rests on: system a against system b in a metric.

    direction "greater": a's metric exceeds b's; "less": the reverse, as for the costs
    "active_terms", "flops" and "search_ms"; "different": one of the two, for a statement that says
    only that a choice matters; "similar": they differ by less than `margin`, in the metric's units;
    "not greater": a's metric exceeds b's by less than the margin, or not at all; "not less": the
    reverse. Only these last three have a margin.

    depth: (first, last) depth of the turns that count, either of them None where it is open.
    growth: what is compared is how much a - b grows with depth, conversation by conversation;
    without b, how much a grows. bound: a number in the place of b. factor: b counts so many times,
    as in "at least 0.98 times b". than: systems (c, d); what is compared is a - b against c - d.
    where: (system, system, metric); only turns count on which the first one has more of it.
    """

    a: str
    b: str | None
    metric: str
    direction: str
    margin: float = 0.0
    depth: tuple[int | None, int | None] | None = None
    growth: bool = False
    bound: float | None = None
    factor: float = 1.0
    than: tuple[str, str] | None = None
    where: tuple[str, str, str] | None = None

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems compared: a, b where there is one, those of `than`, and those of `where`."""
        pair = (self.a,) if self.b is None else (self.a, self.b, *(self.than or ()))
        return (*pair, *(self.where or ())[:2])

    @property
    def unit(self) -> str:
        """What the comparison is made over: "turns", "conversations" or "seeds"."""
        if self.growth:
            return "conversations"
        by_turn = any(x is not None for x in (self.depth, self.bound, self.than, self.where))
        return "turns" if by_turn or self.metric not in COSTS else "seeds"

    def words(self) -> str:
        """The comparison as it is read: "a > b, depth 2 to 4", "a < 55", "a falls with depth"."""
        if self.growth and self.b is None:
            within = f", within {self.margin:g}" if self.margin else ""
            text = f"{self.a} {WITH_DEPTH[self.direction]} with depth{within}"
        else:
            within = f"{WITHIN[self.direction]}{self.margin:g}" if self.margin else ""
            text = f"{self._left()} {SIGNS[self.direction]} {self._right()}{within}"
            text += ", growth with depth" if self.growth else ""
        if self.where is not None:
            text += f", where {self.where[0]} > {self.where[1]} in {self.where[2]}"
        return text if self.depth is None else f"{text}, depth {_span(*self.depth)}"

    def _left(self) -> str:
        return self.a if self.than is None else f"{self.a} − {self.b}"

    def _right(self) -> str:
        if self.than is not None:
            return " − ".join(self.than)
        if self.bound is not None:
            return f"{self.bound:g}"
        return f"{self.b}" if self.factor == 1 else f"{self.factor:g} × {self.b}"


def read_comparison(item: Mapping[str, Any], path: Path, claim: str) -> Comparison:
    """A comparison from its fields in a YAML file.

    Raises DataError, which names the file, the claim and the fault; TypeError where a field is
    unknown or missing.
    """
    pairs = {name: item.get(name) for name in ("depth", "than", "where")}
    pairs = {name: tuple(x) if isinstance(x, list) else x for name, x in pairs.items()}
    comparison = Comparison(**{"b": None, **item, **pairs})
    for check in CHECKS:
        fault = check(comparison)
        if fault is not None:
            raise DataError(path, None, claim, *fault)
    return comparison


Fault = tuple[str, str]


def _direction(item: Comparison) -> Fault | None:
    if item.direction not in DIRECTIONS:
        return f"direction {item.direction!r}", f"Use one of {', '.join(DIRECTIONS)}."
    with_margin = item.direction in WITH_MARGIN
    if not _number(item.margin) or (item.margin <= 0 if with_margin else item.margin != 0):
        return (
            f"{item.direction} with margin {item.margin}",
            f"Give {', '.join(WITH_MARGIN)} a margin above 0, and nothing else a margin.",
        )
    return None


def _other_side(item: Comparison) -> Fault | None:
    if type(item.growth) is not bool:
        return f"growth {item.growth!r}", "Write true, or leave it out."
    if item.bound is not None and not _number(item.bound):
        return f"bound {item.bound!r}", "Give a number."
    if item.bound is not None and (item.b is not None or item.growth):
        other = "growth" if item.b is None else f"b {item.b!r}"
        return f"a bound and {other}", "A bound stands in place of b and has no growth; keep one."
    if item.bound is None and item.b is None and not item.growth:
        return "nothing to compare a with", "Give b, a bound, or growth: true."
    return None


def _depth(item: Comparison) -> Fault | None:
    if item.depth is None:
        return None
    remedy = "Give [first, last], depths from 1 on, one of them null where it is open."
    if not isinstance(item.depth, tuple) or len(item.depth) != 2 or item.depth == (None, None):
        return f"depth {item.depth!r}", remedy
    ends = [end for end in item.depth if end is not None]
    if any(type(end) is not int or end < 1 for end in ends) or ends != sorted(ends):
        return f"depth {list(item.depth)}", remedy
    return None


def _cost(item: Comparison) -> Fault | None:
    if item.metric in COSTS and item.metric not in TURN_COSTS and item.unit != "seeds":
        return (
            f"{item.metric} with depth, growth, a bound, than or where",
            f"It is one number a seed; a cost of every turn is {' or '.join(TURN_COSTS)}.",
        )
    return None


def _factor(item: Comparison) -> Fault | None:
    if not _number(item.factor) or item.factor <= 0:
        return f"factor {item.factor!r}", "Give a number above 0."
    if item.factor != 1 and (item.b is None or item.than is not None):
        return "a factor without a b of its own", "It says how many times b counts; leave it out."
    return None


def _than(item: Comparison) -> Fault | None:
    if item.than is None:
        return None
    two = isinstance(item.than, tuple) and len(item.than) == 2
    if not two or not all(isinstance(name, str) for name in item.than):
        return f"than {item.than!r}", "Give [c, d], two systems: a - b is compared with c - d."
    if item.b is None or item.growth:
        what = "growth" if item.growth else "no b"
        return f"than and {what}", "It compares a - b with c - d over turns; give b, no growth."
    return None


def _where(item: Comparison) -> Fault | None:
    if item.where is None:
        return None
    three = isinstance(item.where, tuple) and len(item.where) == 3
    if not three or not all(isinstance(name, str) for name in item.where):
        return f"where {item.where!r}", "Give [c, d, metric]: turns on which c has more than d."
    if item.b is None or item.growth:
        what = "growth" if item.growth else "no b"
        return f"where and {what}", "It chooses turns on which a and b are compared; give b alone."
    return None


CHECKS: tuple[Callable[[Comparison], Fault | None], ...] = (
    _direction,
    _other_side,
    _depth,
    _factor,
    _than,
    _where,
    _cost,
)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _span(first: int | None, last: int | None) -> str:
    if first is None:
        return f"up to {last}"
    if last is None:
        return f"from {first}"
    return str(first) if first == last else f"{first} to {last}"
