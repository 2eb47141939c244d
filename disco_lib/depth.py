"""How systems fare as a conversation grows: Figure 6 of DiSCo, from records that keep depths."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.rules import TURN_COSTS
from disco_lib.sides import paired_values
from disco_lib.significance import (
    Comparison,
    bootstrap_interval,
    compare,
    intervals_by,
    late_and_early,
)
from disco_lib.tables import GLUE, Table, p_value

#: `kind` of a turn -> what it does to the conversation's topic; any other kind stays with it.
SWITCHES = {"shift": "moves to another topic", "return": "goes back to an earlier one"}
STAYS = "stays with the topic"


class Place(NamedTuple):
    """Where a turn stands."""

    conv_id: str
    depth: int


@dataclass(frozen=True)
class Series:
    """One value a turn (turns,), and where each turn stands."""

    turn_ids: list[str]
    places: list[Place]
    values: np.ndarray

    @property
    def depths(self) -> np.ndarray:
        """Depth of each turn, from 1: int (turns,)."""
        return np.array([place.depth for place in self.places], dtype=int)

    def where(self, chosen: Sequence[bool]) -> Series:
        """The series of the chosen turns alone: chosen (turns,)."""
        kept = np.flatnonzero(chosen)
        turn_ids, places = ([side[i] for i in kept] for side in (self.turn_ids, self.places))
        return Series(turn_ids, places, self.values[kept])

    def by_depth(self, fewest: int = 10) -> list[Point]:
        """Mean and 95 % interval over the turns of each depth that has `fewest` of them."""
        rows = intervals_by(self.values, self.depths, fewest)
        return [Point(mean, low, high, x=depth) for depth, mean, low, high in rows]

    def counts(self) -> dict[int, int]:
        """Number of turns at each depth."""
        depths, counts = np.unique(self.depths, return_counts=True)
        return dict(zip(depths.tolist(), counts.tolist(), strict=True))

    def late_and_early(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of each conversation's later and earlier turns; see `significance`."""
        return late_and_early(self.values, self.places)

    def inside_and_outside(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means over each conversation's chosen turns (bool (turns,)) and over its other ones.

        Two (conversations,); a conversation without one of the two is left out.
        """
        conversations = np.array([place.conv_id for place in self.places])
        inside, outside = [], []
        for name in dict.fromkeys(conversations.tolist()):
            own = conversations == name
            if (own & chosen).any() and (own & ~chosen).any():
                inside.append(self.values[own & chosen].mean())
                outside.append(self.values[own & ~chosen].mean())
        return np.array(inside), np.array(outside)


def keeps_depth(record: Record, cost: str = "active_terms") -> bool:
    """Whether a record says where its turns stand, and what each of them cost."""
    costs = record.turn_costs.values()
    return bool(record.depths and record.conversations and costs) and all(cost in c for c in costs)


def series(record: Record, metric: str) -> Series:
    """A metric or a cost of every turn, mean over seeds.

    Raises DiscoError for a record from before depths or costs of turns were kept.
    """
    values = record.per_turn_cost(metric) if metric in TURN_COSTS else record.per_turn(metric)
    return Series(list(record.turn_ids), _places(record), values)


def difference(a: Record, b: Record, metric: str) -> Series:
    """Series a - b on the turns that both have, each the mean over seeds; see `series`."""
    x, y = paired_values(a, b, metric)
    both, places = set(b.turn_ids), _places(a)
    rows = [i for i, turn in enumerate(a.turn_ids) if turn in both]
    return Series([a.turn_ids[i] for i in rows], [places[i] for i in rows], x - y)


def growth_table(given: Mapping[str, Series], what: str, digits: int = 3) -> Table:
    """One row a series: mean of the earlier and of the later turns of a conversation, and the test.

    p: paired t-test over conversations, corrected for the number of rows.
    """
    rows = []
    for name, values in given.items():
        late, early = values.late_and_early()
        test = compare(late, early, comparisons=len(given))
        means = {"earlier turns": early.mean(), "later turns": late.mean()}
        rows.append(
            {
                what: name,
                "conversations": test.n,
                **{head: f"{mean:.{digits}f}" for head, mean in means.items()},
                "later minus earlier": _with_interval(test, digits),
                "p": p_value(test.p_t),
            }
        )
    return Table.of(rows)


def reaching(values: Series, depth: int) -> Series:
    """The turns up to a depth, of the conversations that have a turn at that depth."""
    there = {place.conv_id for place in values.places if place.depth == depth}
    return values.where([p.conv_id in there and p.depth <= depth for p in values.places])


# Records of several tiers


def stored_series(
    stored: Mapping[str, Mapping[str, Record]], names: Mapping[str, str], metric: str
) -> dict[str, Series]:
    """{"tier: short name": series} of every stored record that keeps the depth of its turns.

    stored: {tier: {system: record}}; names: {short name: system}.
    """
    return {
        f"{tier}: {short}": series(found[name], metric)
        for tier, found in stored.items()
        for short, name in names.items()
        if name in found and keeps_depth(found[name])
    }


def without_depth(stored: Mapping[str, Mapping[str, Record]], names: Collection[str]) -> list[str]:
    """One line a tier {tier: {system: record}} where records of these systems keep no depths."""
    lines = []
    for tier, found in stored.items():
        old = [name for name in names if name in found and not keeps_depth(found[name])]
        if old:
            count = f"{len(old)} of {sum(name in found for name in names)} records"
            lines.append(f"{tier}: {count} are from before depths were kept")
    return lines


# Topic switches


def switches(turns: Sequence[Turn]) -> dict[str, str]:
    """What each turn {turn_id: words} does to the topic; empty where no turn's kind is a switch."""
    if not any(turn.kind in SWITCHES for turn in turns):
        return {}
    return {turn.turn_id: SWITCHES.get(turn.kind, STAYS) for turn in turns}


def after_a_shift(turns: Sequence[Turn]) -> set[str]:
    """Ids of the turns that follow a move to another topic and stay with it."""
    kinds = {(turn.conv_id, turn.depth): turn.kind for turn in turns}
    return {
        turn.turn_id
        for turn in turns
        if turn.kind not in SWITCHES and kinds.get((turn.conv_id, turn.depth - 1)) == "shift"
    }


def most_switches(turns: Sequence[Turn]) -> list[Turn]:
    """The turns of the conversation that changes its topic most often; of several the longest."""
    conversations: dict[str, list[Turn]] = {}
    for turn in turns:
        conversations.setdefault(turn.conv_id, []).append(turn)
    if not conversations:
        raise DiscoError("There is no turn to choose a conversation from.")
    return max(
        conversations.values(),
        key=lambda own: (sum(turn.kind in SWITCHES for turn in own), len(own)),
    )


def conversation_table(
    turns: Sequence[Turn], given: Mapping[str, Series], tokens: Mapping[str, int]
) -> Table:
    """One row a turn of a conversation: depth, kind if it switches the topic, each series there.

    tokens: {turn_id: length of the input}. A series without the turn has a blank.
    """
    values = {n: dict(zip(s.turn_ids, s.values, strict=True)) for n, s in given.items()}
    rows = []
    for turn in turns:
        row = {"depth": turn.depth, "switch": turn.kind if turn.kind in SWITCHES else ""}
        row["tokens read"] = tokens[turn.turn_id]
        for name, found in values.items():
            row[name] = f"{found[turn.turn_id]:.0f}" if turn.turn_id in found else ""
        rows.append(row)
    return Table.of(rows)


def staying(values: Series, groups: Mapping[str, str]) -> Series:
    """The turns that stay with their topic; groups {turn_id: words} as `switches` gives them."""
    return values.where([groups[turn] == STAYS for turn in values.turn_ids])


def by_switch(values: Series, groups: Mapping[str, str], fewest: int = 10) -> dict[str, Point]:
    """Mean and 95 % interval over the turns of each group {turn_id: group} with `fewest` turns."""
    found: dict[str, list[float]] = {}
    for turn, value in zip(values.turn_ids, values.values, strict=True):
        found.setdefault(groups[turn], []).append(float(value))
    order = [g for g in (STAYS, *SWITCHES.values()) if len(found.get(g, ())) >= fewest]
    points = {}
    for group in order:
        part = np.array(found[group])
        points[f"{group} ({len(part)} turns)"] = Point(part.mean(), *bootstrap_interval(part))
    return points


def switch_table(
    given: Mapping[str, Series], groups: Mapping[str, str], what: str, digits: int = 3
) -> Table:
    """One row a series: its mean on turns that move to another topic, and on all others.

    Tested within conversations: each gives the mean of its shifts minus that of its other turns. p
    is that of a paired t-test over conversations, corrected for the number of rows.
    """
    rows = []
    for name, values in given.items():
        chosen = np.array([groups[turn] == SWITCHES["shift"] for turn in values.turn_ids])
        inside, outside = values.inside_and_outside(chosen)
        test = compare(inside, outside, comparisons=len(given))
        rows.append(
            {
                what: name,
                "conversations": test.n,
                "on shifts": f"{inside.mean():.{digits}f}",
                "on other turns": f"{outside.mean():.{digits}f}",
                "shifts minus others": _with_interval(test, digits),
                "p": p_value(test.p_t),
            }
        )
    return Table.of(rows)


def _with_interval(test: Comparison, digits: int) -> str:
    interval = f"[{test.low:+.{digits}f},{GLUE}{test.high:+.{digits}f}]"
    return f"{test.difference:+.{digits}f} {interval}"


def _places(record: Record) -> list[Place]:
    if not record.depths or not record.conversations:
        raise DiscoError(
            f"The record of {record.system} on {record.tier} does not say the depth of its turns. "
            f"Measure again: disco measure --tier {record.tier} --system {record.system}"
        )
    pairs = zip(record.conversations, record.depths, strict=True)
    return [Place(conversation, depth) for conversation, depth in pairs]
