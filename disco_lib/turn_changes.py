"""Which turns a change of a system helps and which it hurts: counts, ranks and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from disco_lib.depth import Series
from disco_lib.errors import DiscoError
from disco_lib.gains import span
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.significance import compare
from disco_lib.tables import Table, p_value

#: Ranks of the relevant passage that are looked at together: first to last, None is open.
GROUPS: tuple[tuple[int, int | None], ...] = ((1, 1), (2, 3), (4, 10), (11, 100), (101, None))


def tally_table(given: Mapping[str, Series], head: str, digits: int = 3) -> Table:
    """One row a series of differences: how many turns gain, lose and stay, and by how much.

    p: sign test of gaining against losing turns, corrected for the number of rows (Bonferroni).
    head: of the first column, which has the series' names.
    """
    rows = []
    for name, series in given.items():
        values = series.values
        up, down = values[values > 0], values[values < 0]
        changed = len(up) + len(down)
        p = stats.binomtest(len(up), changed).pvalue if changed else 1.0
        rows.append(
            {
                head: name,
                "gain": f"{len(up)} of {len(values)}",
                "mean gain": f"{up.mean():+.{digits}f}" if len(up) else "",
                "lose": str(len(down)),
                "mean loss": f"{down.mean():+.{digits}f}" if len(down) else "",
                "p (sign test)": p_value(min(1.0, p * len(given))),
            }
        )
    return Table.of(rows)


def most_changed(series: Series, count: int) -> tuple[list[str], list[str]]:
    """Ids of the turns that gain most and of those that lose most, at most `count` each.

    The largest change first; of equal ones the earlier turn. Raises DiscoError for a count below 1.
    """
    if count < 1:
        raise DiscoError(f"count is {count}; ask for one turn at least.")
    chosen = []
    for sign in (1, -1):
        order = np.argsort(-sign * series.values, kind="stable")
        chosen.append([series.turn_ids[i] for i in order[:count] if sign * series.values[i] > 0])
    return chosen[0], chosen[1]


# Ranks


def first_ranks(record: Record) -> np.ndarray:
    """Rank of each turn's first relevant passage on every seed (seeds, turns), from 1.

    Infinite where the ranking holds none. Raises DiscoError for a record without MRR.
    """
    if any("MRR" not in metrics for metrics in record.values.values()):
        raise DiscoError(f"The record of {record.system} has no MRR, which says the ranks.")
    reciprocal = np.array([metrics["MRR"] for metrics in record.values.values()], dtype=np.float64)
    found = reciprocal > 0
    # Six digits of 1 / rank are kept: enough for every rank up to 1,000.
    return np.where(found, np.rint(1 / np.where(found, reciprocal, 1.0)), np.inf)


def rank_rows(records: Mapping[str, Record], turn_id: str, head: str) -> list[dict[str, str]]:
    """One row a record: the rank of a turn's first relevant passage on each seed.

    Raises DiscoError for a turn that a record does not have.
    """
    rows = []
    for name, record in records.items():
        if turn_id not in record.turn_ids:
            raise DiscoError(f"The record of {record.system} has no turn {turn_id!r}.")
        ranks = first_ranks(record)[:, record.turn_ids.index(turn_id)]
        shown = [f"{rank:.0f}" if np.isfinite(rank) else "not found" for rank in ranks]
        rows.append({head: name, "rank, seed by seed": ", ".join(shown)})
    return rows


@dataclass(frozen=True)
class RankGroup:
    """Turns whose relevant passage stood at such ranks: their difference, its interval and p."""

    name: str
    turns: int
    difference: float
    low: float
    high: float
    p: float

    def at(self, x: float) -> Point:
        """The difference and its interval, at x."""
        return Point(self.difference, self.low, self.high, x=x)


def by_rank_elsewhere(a: Record, b: Record, judge: Record, metric: str) -> list[RankGroup]:
    """Difference a - b by the rank that a third system gives the relevant passage.

    That of its first seed, over the turns that all three have. A group of fewer than two turns is
    left out.
    """
    turns = _shared(a, b, judge)
    ranks = first_ranks(judge)[0, _places(judge, turns)]
    x, y = (_values(record, turns, metric).mean(axis=0) for record in (a, b))
    return _groups(ranks, x - y)


def by_own_rank(a: Record, b: Record, metric: str) -> list[RankGroup]:
    """Difference a - b by the rank that b itself gives the relevant passage.

    A turn that one training happened to rank low will mostly rank higher with the next one,
    whatever that is: regression to the mean. So the first seed of b groups the turns, and the
    difference is that of the other seeds. Raises DiscoError where b has fewer than two seeds, or a
    has other ones.
    """
    if len(b.seeds) < 2 or a.seeds != b.seeds:
        raise DiscoError(
            f"{a.system} and {b.system} need the same seeds, two at least: one says the rank, the "
            "others the difference."
        )
    turns = _shared(a, b)
    ranks = first_ranks(b)[0, _places(b, turns)]
    x, y = (_values(record, turns, metric)[1:].mean(axis=0) for record in (a, b))
    return _groups(ranks, x - y)


def rank_table(found: Sequence[RankGroup], head: str, digits: int = 3) -> Table:
    """One row a group: turns, difference with its 95 % interval, and p."""
    return Table.of(
        [
            {
                head: group.name,
                "turns": group.turns,
                "difference": span(group.difference, group.low, group.high, digits),
                "p": p_value(group.p),
            }
            for group in found
        ]
    )


def _groups(ranks: np.ndarray, differences: np.ndarray) -> list[RankGroup]:
    # Both (turns,). p: paired t-test over turns, corrected for the number of groups.
    chosen = []
    for first, last in GROUPS:
        inside = (ranks >= first) & (ranks <= (np.inf if last is None else last))
        if inside.sum() > 1:
            chosen.append((_name(first, last), differences[inside]))
    groups = []
    for name, values in chosen:
        test = compare(values, np.zeros(len(values)), comparisons=len(chosen))
        groups.append(RankGroup(name, test.n, test.difference, test.low, test.high, test.p_t))
    return groups


def _name(first: int, last: int | None) -> str:
    if last is None:
        return f"{first} or more"
    return str(first) if first == last else f"{first} to {last}"


def _shared(*records: Record) -> list[str]:
    others = [set(record.turn_ids) for record in records[1:]]
    turns = [turn for turn in records[0].turn_ids if all(turn in other for other in others)]
    if not turns:
        raise DiscoError(f"{' and '.join(r.system for r in records)} share no turn.")
    return turns


def _places(record: Record, turns: Sequence[str]) -> list[int]:
    place = {turn: i for i, turn in enumerate(record.turn_ids)}
    return [place[turn] for turn in turns]


def _values(record: Record, turns: Sequence[str], metric: str) -> np.ndarray:
    # (seeds, turns)
    if any(metric not in metrics for metrics in record.values.values()):
        raise DiscoError(f"The record of {record.system} has no {metric}.")
    every = np.array([metrics[metric] for metrics in record.values.values()], dtype=np.float64)
    return every[:, _places(record, turns)]
