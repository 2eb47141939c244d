"""Students' KL to their teacher on turns that they have not learnt from, as records keep it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.gains import span, with_interval
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.significance import bootstrap_interval, compare
from disco_lib.tables import p_value

#: What stands in the place of a KL that a record does not hold.
NOT_MEASURED = "not measured"


def kl_by_turn(record: Record) -> dict[str, float] | None:
    """{turn_id: KL(teacher || student) in nats, mean over seeds}; see `teacher_distance`.

    Turns without a teacher are left out. None for a record from before the KL was kept, and where
    no turn has one.
    """
    if not record.values or any("kl" not in record.turn_costs.get(s, {}) for s in record.values):
        return None
    pairs = zip(record.turn_ids, record.per_turn_cost("kl"), strict=True)
    return {turn: float(value) for turn, value in pairs if not np.isnan(value)} or None


def kl_point(record: Record, x: float = 0.0) -> Point | None:
    """Mean KL in nats with its 95 % interval over turns, at x; None where it was not measured."""
    found = kl_by_turn(record)
    if found is None:
        return None
    values = np.array(list(found.values()))
    return Point(float(values.mean()), *bootstrap_interval(values), x=x)


def kl_rows(
    records: Mapping[str, Record], base: str, head: str, digits: int = 3
) -> list[dict[str, str]]:
    """One row a record: its KL, and the difference from that of `base`, paired by turn.

    head: of the first column, which has the records' names. p: paired t-test, corrected for the
    number of records besides `base` (Bonferroni). Raises DiscoError where `base` is not among them.
    """
    own = _base(records, base)
    return [
        {head: name, "KL (nats)": _cell(record, digits)}
        | _difference(record, None if name == base else own, len(records) - 1, digits)
        for name, record in records.items()
    ]


def kl_differences(records: Mapping[str, Record], base: str) -> dict[str, Point]:
    """{name: difference in nats from the KL of `base`, paired by turn, with its 95 % interval}.

    Only of records that hold a KL; the base itself is 0. Raises DiscoError where it is not among
    them.
    """
    own = _base(records, base)
    found = {}
    for name, record in records.items():
        pair = _paired(kl_by_turn(record), own)
        if pair is not None:
            test = compare(*pair)
            found[name] = Point(test.difference, test.low, test.high)
    return found


def _base(records: Mapping[str, Record], base: str) -> dict[str, float] | None:
    if base not in records:
        raise DiscoError(f"No record of {base!r}; there are: {', '.join(records)}.")
    return kl_by_turn(records[base])


def _paired(
    found: dict[str, float] | None, base: dict[str, float] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    # Values of the turns that both have; None where these are too few for a test.
    shared = [turn for turn in found or {} if turn in (base or {})]
    if len(shared) < 2:
        return None
    return np.array([found[turn] for turn in shared]), np.array([base[turn] for turn in shared])


def _cell(record: Record, digits: int) -> str:
    point = kl_point(record)
    return NOT_MEASURED if point is None else with_interval(point, digits)


def _difference(
    record: Record, base: dict[str, float] | None, tests: int, digits: int
) -> dict[str, str]:
    columns = {"difference": "", "p": ""}
    pair = _paired(kl_by_turn(record), base)
    if pair is None:
        return columns
    test = compare(*pair, comparisons=tests)
    cells = span(test.difference, test.low, test.high, digits), p_value(test.p_t)
    return dict(zip(columns, cells, strict=True))
