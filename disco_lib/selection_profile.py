"""What a selection keeps of each group of pairs: selection by score is not neutral."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.tables import Table, p_value


@dataclass(frozen=True)
class GroupShare:
    """A group of pairs, and how many of them a selection keeps."""

    group: Hashable
    n: int
    kept: int

    @property
    def share(self) -> float:
        """Share of the group's pairs that are kept."""
        return self.kept / self.n


@dataclass(frozen=True)
class Profile:
    """The shares of all groups, in the groups' order, and a test of their being one share.

    p: of the chi-squared test of independence of group and selection; NaN for one group alone.
    v: Cramer's V, from 0, neutral, to 1, where the group decides.
    """

    groups: list[GroupShare]
    p: float
    v: float


def profile(groups: Sequence[Hashable], kept: np.ndarray) -> Profile:
    """How a selection of the places `kept` treats groups (pairs,), one a pair.

    Raises DiscoError where there is no pair, and for places that there are not.
    """
    kept = np.asarray(kept, dtype=np.int64)
    if not len(groups):
        raise DiscoError("No pair to look at: give each pair's group.")
    if len(kept) and not (0 <= kept.min() and kept.max() < len(groups)):
        raise DiscoError(f"kept: places of pairs lie in 0 to {len(groups) - 1}.")
    inside = np.zeros(len(groups), dtype=bool)
    inside[kept] = True
    found = []
    for group in dict.fromkeys(sorted(groups)):
        rows = np.array([own == group for own in groups])
        found.append(GroupShare(group, int(rows.sum()), int(inside[rows].sum())))
    counts = np.array([[g.kept, g.n - g.kept] for g in found])
    if len(found) < 2 or not counts.sum(axis=0).all():
        return Profile(found, float("nan"), 0.0)
    test = stats.chi2_contingency(counts, correction=False)
    return Profile(found, float(test.pvalue), float(np.sqrt(test.statistic / len(groups))))


def profile_table(profiles: Mapping[str, Profile], name: str) -> Table:
    """One row a group, one column a selection: the share that it keeps; last, the test.

    profiles: {selection: profile} over the same groups. name: of the first column.
    """
    first = next(iter(profiles.values()))
    rows: list[dict[str, Any]] = []
    for place, group in enumerate(first.groups):
        row: dict[str, Any] = {name: str(group.group), "pairs": group.n}
        rows.append(row | {s: f"{p.groups[place].share:.0%}" for s, p in profiles.items()})
    tests = {s: "" if np.isnan(p.p) else f"p {p_value(p.p)}" for s, p in profiles.items()}
    rows.append({name: "one share?", "pairs": ""} | tests)
    return Table.of(rows)


def quarters(values: Sequence[float], digits: int = 0) -> list[str]:
    """The quarter of the values that each lies in, as "1: up to 12": (pairs,) -> (pairs,).

    Equal values are in one quarter, so there can be fewer. Raises DiscoError without a value.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise DiscoError("No value to divide into quarters.")
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75, 1.0]))
    places = np.searchsorted(edges, values, side="left")
    return [f"{place + 1}: up to {edges[place]:.{digits}f}" for place in places]
