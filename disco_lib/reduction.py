"""What is kept for what is saved: systems of a grid against the one that nothing presses on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.gains import span
from disco_lib.non_inferiority import NonInferiority, non_inferiority, resampled_means
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.tables import GLUE, Table, p_value


@dataclass(frozen=True)
class Outcome:
    """A system's FLOPS of a query, and its values of a metric (turns,), mean over seeds."""

    flops: float
    values: np.ndarray


def outcomes(records: Mapping[str, Record], metric: str) -> dict[str, Outcome]:
    """{name: outcome} of records on the same turns; DiscoError where their turns differ."""
    first = next(iter(records.values()), None)
    for name, record in records.items():
        if record.turn_ids != first.turn_ids:
            raise DiscoError(f"The record of {name!r} is of other turns than the first one.")
    return {n: Outcome(r.cost("flops"), r.per_turn(metric)) for n, r in records.items()}


def weakest_within(found: Mapping[str, Outcome], base: str, share: float = 0.5) -> str | None:
    """The first name whose FLOPS are at most `share` of the base's; None where none is.

    Give the weakest regularisation first. Only costs are looked at, never the metric.
    """
    limit = share * _base(found, base).flops
    return next((n for n, outcome in found.items() if outcome.flops <= limit), None)


def reduction(outcome: Outcome, base: Outcome) -> float:
    """How many times fewer FLOPS: 2.0 is half of the base's. Infinite for a cost of 0."""
    return base.flops / outcome.flops if outcome.flops > 0 else float("inf")


def kept_points(found: Mapping[str, Outcome], base: str, share: float = 0.98) -> dict[str, Point]:
    """{name: share of the base's metric that is kept, with its interval, at the reduction}."""
    own = _base(found, base)
    points = {}
    for name, outcome in found.items():
        test = non_inferiority(outcome.values, own.values, share)
        points[name] = Point(test.kept, test.low, test.high, x=reduction(outcome, own))
    return points


def kept_table(
    found: Mapping[str, Outcome], base: str, head: str, metric: str, share: float = 0.98
) -> Table:
    """One row a system besides the base: FLOPS, what of the metric is kept, non-inferiority.

    head: of the first column, which has the names. Both p-values are one-sided and corrected for
    the number of rows (Bonferroni).
    """
    own = _base(found, base)
    others = {name: outcome for name, outcome in found.items() if name != base}
    rows = []
    for name, outcome in others.items():
        test = non_inferiority(outcome.values, own.values, share, comparisons=len(others))
        cells = {head: name, "FLOPS": f"{outcome.flops:.2f}"}
        cells["times fewer"] = f"{reduction(outcome, own):.2f}"
        rows.append(cells | kept_cells(test, metric))
    return Table.of(rows)


def kept_cells(test: NonInferiority, metric: str) -> dict[str, str]:
    """The cells of a test of non-inferiority: what is kept with its interval, and both p-values."""
    return {
        f"{metric} kept": f"{test.kept:.1%} [{test.low:.1%},{GLUE}{test.high:.1%}]",
        f"p (t), > {test.share:.0%}": p_value(test.p_t),
        "p (bootstrap)": p_value(test.p_bootstrap),
    }


# Two families of systems, compared where they save equally


@dataclass(frozen=True)
class KeptDifference:
    """What of a metric two families keep at one reduction, and first - second with its interval."""

    reduction: float
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """First minus second, in shares of each family's own base."""
        return self.first - self.second


def compare_kept(
    first: Sequence[Outcome],
    second: Sequence[Outcome],
    reductions: Sequence[float],
    seed: int = 0,
    resamples: int = 5000,
) -> list[KeptDifference]:
    """What two families keep of their own base's metric, at the same reductions of FLOPS.

    Each family begins with its base. Between two systems the mean is interpolated over the
    logarithm of FLOPS. The 95 % percentile bootstrap interval is over turns, drawn alike for
    both families; it holds nothing of how trainings differ. A reduction that one of them does not
    reach is left out. Raises DiscoError for a family without a second system, or other turns.
    """
    families = [_family(list(outcomes)) for outcomes in (first, second)]
    if families[0][1].shape[1] != families[1][1].shape[1]:
        raise DiscoError("The two families are of other turns.")
    drawn = [resampled_means(values, seed, resamples) for _, values in families]
    found = []
    for x in reductions:
        if any(not 1 <= x <= np.exp(places.max()) for places, _ in families):
            continue
        exact = [
            float(_kept_at(places, values.mean(axis=1, keepdims=True), x)[0])
            for places, values in families
        ]
        many = [
            _kept_at(places, means, x) for (places, _), means in zip(families, drawn, strict=True)
        ]
        low, high = np.quantile(many[0] - many[1], [0.025, 0.975]).tolist()
        found.append(KeptDifference(float(x), *exact, low, high))
    return found


def kept_difference_rows(
    found: Sequence[KeptDifference], first: str, second: str, digits: int = 3
) -> list[dict[str, str]]:
    """One row a reduction: what each family keeps, and the difference with its interval."""
    return [
        {
            "times fewer FLOPS": f"{item.reduction:g}",
            first: f"{item.first:.1%}",
            second: f"{item.second:.1%}",
            "difference": span(item.difference, item.low, item.high, digits),
        }
        for item in found
    ]


def depth_bands(depths: Sequence[int], bands: int = 3) -> list[tuple[int, int]]:
    """(first, last) depth of so many bands that hold about equally many turns.

    A depth is never cut, so there may be fewer bands. DiscoError without a turn.
    """
    if not len(depths) or bands < 1:
        raise DiscoError(f"{len(depths)} turns cannot be cut to {bands} bands.")
    ends = np.unique(np.quantile(depths, np.arange(1, bands + 1) / bands, method="inverted_cdf"))
    starts = [int(min(depths)), *(int(end) + 1 for end in ends[:-1])]
    return list(zip(starts, map(int, ends), strict=True))


def _base(found: Mapping[str, Outcome], base: str) -> Outcome:
    if base not in found:
        raise DiscoError(f"No {base!r} to compare with; there are: {', '.join(found)}.")
    return found[base]


def _family(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    # (log of the reduction (systems,), values (systems, turns)), the least reduction first. What
    # costs more than its base, as a weak penalty may by chance, counts as far as it is reached.
    if len(outcomes) < 2:
        raise DiscoError("A family needs its base and one system more.")
    places = np.array([np.log(reduction(outcome, outcomes[0])) for outcome in outcomes])
    values = np.stack([outcome.values for outcome in outcomes])
    if values.shape[1] < 2 or values[0].mean() <= 0:
        raise DiscoError("A family's base finds nothing, or has fewer than two turns.")
    order = [0, *(i for i in np.argsort(places, kind="stable") if i != 0 and places[i] > 0)]
    return places[order], values[order]


def _kept_at(places: np.ndarray, means: np.ndarray, x: float) -> np.ndarray:
    # means (systems, resamples) -> share kept (resamples,) at a reduction of x times.
    at = float(np.log(x))
    right = int(np.clip(np.searchsorted(places, at), 1, len(places) - 1))
    left = right - 1
    width = places[right] - places[left]
    weight = (at - places[left]) / width if width > 0 else 0.0
    return ((1 - weight) * means[left] + weight * means[right]) / means[0]
