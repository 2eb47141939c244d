"""Rules: the comparisons that a claim rests on, as data/papers writes them before any run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disco_lib.errors import DataError

DIRECTIONS = ("greater", "less", "similar", "not greater", "not less")
#: Directions that say how much does not count.
WITH_MARGIN = ("similar", "not greater", "not less")
#: What a query costs: one number a seed, as records keep it.
COSTS = ("active_terms", "flops", "search_ms")
#: The costs of which records keep every turn's value too.
TURN_COSTS = ("active_terms",)
SIGNS = {"greater": ">", "less": "<", "similar": "≈", "not greater": "≤", "not less": "≥"}
WITHIN = {"similar": " ± ", "not greater": " + ", "not less": " − "}
WITH_DEPTH = {
    "greater": "grows",
    "less": "falls",
    "similar": "stays even",
    "not greater": "does not grow",
    "not less": "does not fall",
}


@dataclass(frozen=True)
class Comparison:
    """One comparison that a claim rests on: system a against system b in a metric.

    direction "greater": a's metric exceeds b's; "less": the reverse, as for the costs
    "active_terms", "flops" and "search_ms"; "similar": they differ by less than `margin`, in the
    metric's units; "not greater": a's metric exceeds b's by less than the margin, or not at all;
    "not less": the reverse. Only these last three have a margin.

    depth: (first, last) depth of the turns that count, either of them None where it is open.
    growth: what is compared is how much a - b grows with depth, conversation by conversation;
    without b, how much a grows. bound: a number in the place of b.
    """

    a: str
    b: str | None
    metric: str
    direction: str
    margin: float = 0.0
    depth: tuple[int | None, int | None] | None = None
    growth: bool = False
    bound: float | None = None

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems compared: a, and b where there is one."""
        return (self.a,) if self.b is None else (self.a, self.b)

    @property
    def unit(self) -> str:
        """What the comparison is made over: "turns", "conversations" or "seeds"."""
        if self.growth:
            return "conversations"
        by_turn = self.depth is not None or self.bound is not None
        return "turns" if by_turn or self.metric not in COSTS else "seeds"

    def words(self) -> str:
        """The comparison as it is read: "a > b, depth 2 to 4", "a < 55", "a falls with depth"."""
        if self.growth and self.b is None:
            within = f", within {self.margin:g}" if self.margin else ""
            text = f"{self.a} {WITH_DEPTH[self.direction]} with depth{within}"
        else:
            other = self.b if self.bound is None else f"{self.bound:g}"
            within = f"{WITHIN[self.direction]}{self.margin:g}" if self.margin else ""
            text = f"{self.a} {SIGNS[self.direction]} {other}{within}"
            text += ", growth with depth" if self.growth else ""
        return text if self.depth is None else f"{text}, depth {_span(*self.depth)}"


def read_comparison(item: Mapping[str, Any], path: Path, claim: str) -> Comparison:
    """A comparison from its fields in a YAML file.

    Raises DataError, which names the file, the claim and the fault; TypeError where a field is
    unknown or missing.
    """
    depth = item.get("depth")
    if isinstance(depth, list):
        depth = tuple(depth)
    comparison = Comparison(**{"b": None, **item, "depth": depth})
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
            f"{item.metric} with depth, growth or a bound",
            f"It is one number a seed; a cost of every turn is {' or '.join(TURN_COSTS)}.",
        )
    return None


CHECKS: tuple[Callable[[Comparison], Fault | None], ...] = (_direction, _other_side, _depth, _cost)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _span(first: int | None, last: int | None) -> str:
    if first is None:
        return f"up to {last}"
    if last is None:
        return f"from {first}"
    return str(first) if first == last else f"{first} to {last}"
