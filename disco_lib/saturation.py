"""Where returns diminish: a power law fitted to a metric by the number of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.gains import span
from disco_lib.records import Record

Interval = tuple[float, float]

#: Exponents that are tried: from returns that grow in proportion to n to ones that end at once.
EXPONENTS = np.linspace(-1.0, 4.0, 201)
#: With fewer points the curve goes through all of them, whatever they are.
FEWEST = 4


@dataclass(frozen=True)
class Saturation:
    """The curve m(n) = start + gain u(n), where u(n) = (n0^-c - n^-c) / (n0^-c - n1^-c).

    n0 and n1 are the fewest and the most samples, so u runs from 0 to 1 between them. At exponent
    c = -1 every further sample brings the same; at c = 0 every doubling does, and u is a logarithm;
    above 0 each doubling brings less than the last one, and the curve has a ceiling.

    enough: the n at which `share` of the gain up to n1 is reached; NaN where the curve does not
    rise. rising: share of resamples in which it does. The intervals are 95 % percentile bootstrap
    intervals over turns and seeds; that of `enough` over the resamples that rise.
    """

    fewest: int
    most: int
    start: float
    gain: float
    exponent: float
    enough: float
    gain_interval: Interval
    exponent_interval: Interval
    enough_interval: Interval
    rising: float
    share: float

    @property
    def fitted(self) -> bool:
        """Whether there is a gain to speak of: its interval lies above 0."""
        return self.gain_interval[0] > 0

    def at(self, n: np.ndarray) -> np.ndarray:
        """The curve at n (points,), in the metric's units."""
        return self.start + self.gain * _rise(np.asarray(n), self.exponent, self.fewest, self.most)


def saturation(
    values: Mapping[int, np.ndarray], share: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Saturation:
    """Fit the curve to {n: values (seeds, turns)}, the turns being the same at every n.

    Least squares in start and gain for each of `EXPONENTS`; that of the smallest error is taken.
    A resample draws turns for all n together and seeds for each n apart, since trainings with
    another n are other trainings. Of three seeds that shows little of their spread. Raises
    DiscoError for fewer than four n, turns that differ in number, n below 1, and a share outside 0
    to 1.
    """
    _check(values, share, resamples)
    n = np.array(sorted(values), dtype=np.float64)
    tables = [np.asarray(values[int(x)], dtype=np.float64) for x in n]
    start, gain, exponent = _fit(n, np.array([[table.mean() for table in tables]]))
    many = _fit(n, _resampled(tables, resamples, seed))
    rises = many[1] > 0
    enough = _enough(share, many[2][rises], n[0], n[-1])
    own = float(_enough(share, exponent, n[0], n[-1])[0]) if gain[0] > 0 else float("nan")
    return Saturation(
        int(n[0]), int(n[-1]), float(start[0]), float(gain[0]), float(exponent[0]), own,
        _interval(many[1]), _interval(many[2]), _interval(enough), float(rises.mean()), share,
    )  # fmt: skip


def seed_values(record: Record, metric: str) -> np.ndarray:
    """A metric (seeds, turns) of a record, as `saturation` takes it; DiscoError without it."""
    try:
        return np.array([seed[metric] for seed in record.values.values()], dtype=np.float64)
    except KeyError as error:
        raise DiscoError(
            f"The record of {record.system} on {record.tier} has no {metric}."
        ) from error


def saturation_rows(found: Mapping[str, Saturation], head: str, digits: int = 3) -> list[dict]:
    """One row a fitted curve: gain, exponent and how many samples are enough, with 95 % intervals.

    head: of the first column, which has the names. Without a gain there is no number that is
    enough, and the row says so.
    """
    rows = []
    for name, fit in found.items():
        enough = "no gain can be fitted"
        if fit.fitted:
            low, high = fit.enough_interval
            enough = f"{fit.enough:.0f} [{low:.0f}, {high:.0f}]"
        rows.append(
            {
                head: name,
                f"gain, {fit.fewest} to {fit.most}": span(fit.gain, *fit.gain_interval, digits),
                "exponent c": span(fit.exponent, *fit.exponent_interval, 2),
                "resamples that rise": f"{fit.rising:.0%}",
                f"{fit.share:.0%} of the gain at": enough,
            }
        )
    return rows


def _rise(n: np.ndarray, exponent: float | np.ndarray, fewest: float, most: float) -> np.ndarray:
    # u(n): 0 at the fewest, 1 at the most samples. Of logarithms, so that 0 is its own limit.
    total = np.log(most / fewest)
    x = np.log(np.asarray(n, dtype=np.float64) / fewest) / total
    k = np.asarray(exponent) * total
    flat = np.abs(k) < 1e-9
    k = np.where(flat, 1.0, k)
    return np.where(flat, x, np.expm1(-k * x) / np.expm1(-k))


def _enough(share: float, exponent: np.ndarray, fewest: float, most: float) -> np.ndarray:
    # The n at which u(n) is `share`: the inverse of _rise.
    total = np.log(most / fewest)
    k = exponent * total
    flat = np.abs(k) < 1e-9
    k = np.where(flat, 1.0, k)
    x = np.where(flat, share, -np.log1p(share * np.expm1(-k)) / k)
    return fewest * np.exp(x * total)


def _fit(n: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # means (curves, points) -> start, gain, exponent (curves,) of least squares.
    errors, starts, gains = [], [], []
    for exponent in EXPONENTS:
        u = _rise(n, exponent, n[0], n[-1])
        away = u - u.mean()
        gain = means @ away / (away @ away)
        start = means.mean(axis=1) - gain * u.mean()
        errors.append(((means - start[:, None] - gain[:, None] * u) ** 2).sum(axis=1))
        starts.append(start)
        gains.append(gain)
    best = np.argmin(errors, axis=0)
    row = np.arange(len(means))
    return np.array(starts)[best, row], np.array(gains)[best, row], EXPONENTS[best]


def _resampled(tables: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    # Means (resamples, points) of drawn turns, alike at every point, and of seeds drawn at each.
    rng = np.random.default_rng(seed)
    turns = tables[0].shape[1]
    drawn = rng.multinomial(turns, np.full(turns, 1 / turns), size=resamples) / turns
    columns = []
    for table in tables:
        each = drawn @ table.T  # (resamples, seeds)
        seeds = rng.integers(len(table), size=each.shape)
        columns.append(np.take_along_axis(each, seeds, axis=1).mean(axis=1))
    return np.stack(columns, axis=1)


def _interval(values: np.ndarray) -> Interval:
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return low, high


def _check(values: Mapping[int, np.ndarray], share: float, resamples: int) -> None:
    if len(values) < FEWEST:
        raise DiscoError(f"A curve with an exponent needs {FEWEST} numbers of samples or more.")
    if min(values) < 1:
        raise DiscoError(f"{min(values)} samples: the curve begins at 1.")
    shapes = {n: np.shape(table) for n, table in values.items()}
    if any(len(shape) != 2 or 0 in shape for shape in shapes.values()) or (
        len({shape[1] for shape in shapes.values()}) > 1
    ):
        raise DiscoError(f"Give values (seeds, turns) of the same turns, not {shapes}.")
    if not 0 < share < 1 or resamples < 2:
        raise DiscoError(f"share {share} must lie between 0 and 1, resamples {resamples} above 1.")
