"""What systems gain on others: paired, with every seed, and how good the best of several looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disco_lib.claims import paired_values
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.significance import compare
from disco_lib.tables import GLUE, p_value
from disco_lib.tiers import AT, Tier


@dataclass(frozen=True)
class Gain:
    """What system a gains on b: mean, 95 % interval, corrected p and Cohen's d over turns.

    by_seed: the mean gain of every seed; a system without training has one for all seeds.
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    cohens_d: float
    by_seed: tuple[float, ...]
    n: int


def gains(
    records: Mapping[str, Record],
    pairs: Sequence[tuple[str, str]],
    metrics: str | Sequence[str],
    comparisons: int | None = None,
) -> list[Gain]:
    """Paired gains of a on b for pairs of the records' names, on the turns that both have.

    Metric by metric. Tested are means over seeds; p is multiplied by `comparisons` (Bonferroni),
    by default the number of all these tests. Raises DiscoError for a pair without a record.
    """
    for name in (name for pair in pairs for name in pair):
        if name not in records:
            raise DiscoError(f"No record of {name!r}; there are: {', '.join(records)}.")
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    tests = comparisons or len(pairs) * len(metrics)
    return [_gain(records[a], records[b], a, b, m, tests) for m in metrics for a, b in pairs]


def _gain(a: Record, b: Record, name_a: str, name_b: str, metric: str, tests: int) -> Gain:
    x, y = paired_values(a, b, metric)
    test = compare(x, y, comparisons=tests)
    return Gain(
        name_a, name_b, metric, test.difference, test.low, test.high, test.p_t, test.cohens_d,
        tuple(_by_seed(a, b, metric)), test.n,
    )  # fmt: skip


def gain_rows(
    found: Sequence[Gain], names: Mapping[str, str] | None = None
) -> list[dict[str, object]]:
    """One row a gain: who on whom, with interval, corrected p, Cohen's d, seeds that agree.

    names: what to call a system; by default its own name, without the place it was taken to.
    """
    rows = []
    for gain in found:
        a, b = ((names or {}).get(name, name.partition(AT)[0]) for name in (gain.a, gain.b))
        agree = sum(np.sign(seed) == np.sign(gain.difference) for seed in gain.by_seed)
        row: dict[str, object] = {"system": a, "over": b, "in": gain.metric}
        row["difference"] = span(gain.difference, gain.low, gain.high)
        row |= {"p": p_value(gain.p), "d": f"{gain.cohens_d:+.2f}"}
        rows.append(row | {"seeds": f"{agree} of {len(gain.by_seed)}"})
    return rows


def _by_seed(a: Record, b: Record, metric: str) -> list[float]:
    # Seeds order training turns alike in both records; where only one was trained, its seeds count.
    place = {turn: i for i, turn in enumerate(b.turn_ids)}
    rows = [(i, place[turn]) for i, turn in enumerate(a.turn_ids) if turn in place]
    left, right = (list(column) for column in zip(*rows, strict=True))
    x = np.array([seed[metric] for seed in a.values.values()])[:, left].mean(axis=1)
    y = np.array([seed[metric] for seed in b.values.values()])[:, right].mean(axis=1)
    if len(x) != len(y) and 1 not in (len(x), len(y)):
        x, y = x[:, None], y[None, :]
    return (x - y).ravel().tolist()


# How it is shown


def plain_label(tier: Tier, record: Record) -> str:
    """A record's label without the place that it was taken to; "(draft)" stays."""
    if not tier.has(record.system):  # measured when the tier had it
        return record.label
    own = str(tier.system(record.system).get("label", record.system.partition(AT)[0]))
    return record.label.replace(tier.label(record.system), own, 1)


def span(difference: float, low: float, high: float, digits: int = 3) -> str:
    """A difference with its interval, as it is printed."""
    return f"{difference:+.{digits}f} [{low:+.{digits}f},{GLUE}{high:+.{digits}f}]"


def with_interval(at: Point, digits: int = 3) -> str:
    """A value with its interval, as it is printed."""
    return f"{at.value:.{digits}f} [{at.low:.{digits}f},{GLUE}{at.high:.{digits}f}]"


def point(record: Record, metric: str) -> Point:
    """Mean and 95 % interval of a metric."""
    return Point(record.mean(metric), *record.intervals[metric])


# The best of several


def best_of(means: Mapping[str, float]) -> str:
    """The name of the largest value; of equal ones the first."""
    return max(means, key=lambda name: means[name])


def luck_of_best(values: np.ndarray, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """How far the best of some equally good systems seems to lie above their mean, by chance.

    values (systems, turns): all are brought to one mean, then turns are resampled for all at once.
    Returns the mean over resamples, and the value that one in twenty of them exceeds. Raises
    DiscoError for fewer than two systems.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise DiscoError("The best of several needs at least two systems' values.")
    level = values - values.mean(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    leads = []
    for _ in range(resamples):
        means = level[:, rng.integers(level.shape[1], size=level.shape[1])].mean(axis=1)
        leads.append(means.max() - means.mean())
    return float(np.mean(leads)), float(np.quantile(leads, 0.95))
