"""How near a student's similarity scores are to its teacher's, over one list of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.significance import Comparison, compare

#: Ranges of the teacher's score: those of the report, and one for cosines below 0.
RANGES = (-1.0, 0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
#: A cosine of float32 vectors can pass 1 by its last bits.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Alignment:
    """Errors of the student's scores s against the teacher's t, and how the two correlate.

    mae: mean |s - t|. mse: mean (s - t)^2. rmse: its root. bias: mean (s - t), above 0 where the
    student is overconfident. pearson, spearman: in [-1, 1], NaN where one side does not vary.
    """

    n: int
    mae: float
    mse: float
    rmse: float
    bias: float
    pearson: float
    spearman: float


@dataclass(frozen=True)
class RangeAlignment:
    """The alignment of the pairs whose teacher score lies in a range, and their share of all."""

    low: float
    high: float
    share: float
    alignment: Alignment


@dataclass(frozen=True)
class DifferenceTests:
    """Tests of teacher minus student.

    paired: mean difference with its 95 % interval, paired t-test, permutation test and Cohen's d,
    d = mean / standard deviation of the differences (the report's equation 11). t: statistic of
    the t-test, d sqrt(n). w, p_wilcoxon: statistic and p of the Wilcoxon signed-rank test.
    """

    paired: Comparison
    t: float
    w: float
    p_wilcoxon: float


def align(teacher: np.ndarray, student: np.ndarray) -> Alignment:
    """Regression metrics of the student's scores: teacher, student (pairs,).

    Of one pair, or where one side is constant, the correlations are NaN. Raises DiscoError for
    lists that are empty, differ in length, or hold what is no number.
    """
    return _align(*paired_scores(teacher, student))


def align_by_range(
    teacher: np.ndarray, student: np.ndarray, edges: Sequence[float] = RANGES
) -> list[RangeAlignment]:
    """The alignment in each range [low, high) of the teacher's score; the last one holds its high.

    teacher, student (pairs,). In a range without pairs every metric is NaN. Raises DiscoError as
    `align` does, for edges that do not rise, and for scores outside all ranges.
    """
    teacher, student = paired_scores(teacher, student)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise DiscoError(f"edges {list(edges)}: give two or more numbers, each above the last.")
    outside = (teacher < edges[0] - ROUNDING) | (teacher > edges[-1] + ROUNDING)
    if outside.any():
        raise DiscoError(
            f"{outside.sum()} of {len(teacher)} teacher scores lie outside {edges[0]} to "
            f"{edges[-1]}, the first is {teacher[outside][0]:.3f}. Widen the edges."
        )
    place = np.searchsorted(edges, teacher, side="right") - 1
    place = place.clip(0, len(edges) - 2)
    rows = []
    for i, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        inside = place == i
        found = _align(teacher[inside], student[inside])
        rows.append(RangeAlignment(low, high, float(inside.mean()), found))
    return rows


def difference_tests(
    teacher: np.ndarray, student: np.ndarray, seed: int = 0, resamples: int = 10_000
) -> DifferenceTests:
    """Whether teacher and student scores differ on the whole: teacher, student (pairs,).

    Of thousands of pairs, any difference is significant; Cohen's d says whether it is large.
    Differences that are all equal have d and t of 0, and p_t of 0 unless they are 0 themselves, as
    in `significance.compare`; differences that are all 0 have a Wilcoxon p of 1. Raises DiscoError
    as `align` does, and for fewer than two pairs.
    """
    teacher, student = paired_scores(teacher, student)
    paired = compare(teacher, student, seed, resamples)
    w, p = 0.0, 1.0
    if np.any(teacher != student):
        w, p = map(float, stats.wilcoxon(teacher, student))
    return DifferenceTests(paired, paired.cohens_d * math.sqrt(paired.n), w, p)


def restricted_pearson(pearson: float, ratio: float) -> float:
    """Pearson's r to expect where the teacher's scores spread `ratio` times as much.

    r' = r u / sqrt(1 - r^2 + r^2 u^2) with u the ratio of standard deviations (Thorndike's second
    case), for a linear relation with errors of one size. A pair selected by the teacher's score
    restricts its range, u < 1: r falls though no score has changed. Raises DiscoError for an r
    outside [-1, 1] and a ratio that is not above 0.
    """
    if not -1 <= pearson <= 1 or not 0 < ratio < math.inf:
        raise DiscoError(f"r {pearson}, ratio {ratio}: r lies in [-1, 1], the ratio above 0.")
    return pearson * ratio / math.sqrt(1 - pearson**2 + (pearson * ratio) ** 2)


def paired_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    teacher: np.ndarray,
    student: np.ndarray,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval over pairs of any metric(teacher, student).

    teacher, student (pairs,); pairs are drawn together. Draws for which the metric is NaN, as a
    correlation of one pair drawn many times, do not count; where no draw counts the interval is
    (NaN, NaN). Raises DiscoError as `align` does, and for fewer than 2 resamples.
    """
    teacher, student = paired_scores(teacher, student)
    if resamples < 2:
        raise DiscoError(f"resamples is {resamples}; an interval needs 2 at least.")
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(teacher), size=len(teacher)) for _ in range(resamples))
    values = np.array([metric(teacher[rows], student[rows]) for rows in drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_scores(teacher: np.ndarray, student: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both lists as float64 (pairs,).

    Raises DiscoError for lists that are empty, differ in length, or hold what is no number.
    """
    teacher, student = (np.asarray(scores, dtype=np.float64) for scores in (teacher, student))
    if teacher.shape != student.shape or teacher.ndim != 1:
        raise DiscoError(
            f"teacher {teacher.shape} and student {student.shape}: give one score a pair, two "
            "lists of one length."
        )
    if not len(teacher):
        raise DiscoError("No pair to compare: both lists of scores are empty.")
    for name, scores in (("teacher", teacher), ("student", student)):
        if not np.isfinite(scores).all():
            place = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise DiscoError(f"{name}: score {place} is {scores[place]}; give finite numbers.")
    return teacher, student


def pearson(teacher: np.ndarray, student: np.ndarray) -> float:
    """Pearson's r of two lists (pairs,); NaN where one of them does not vary."""
    if _flat(teacher) or _flat(student):
        return math.nan
    sides = (np.asarray(scores, dtype=np.float64) for scores in (teacher, student))
    centred = (scores - scores.mean() for scores in sides)
    # Squares of the smallest numbers would be 0.
    t, s = (scores / np.abs(scores).max() for scores in centred)
    return min(1.0, max(-1.0, float(t @ s / math.sqrt((t @ t) * (s @ s)))))


def spearman(teacher: np.ndarray, student: np.ndarray) -> float:
    """Spearman's rho of two lists (pairs,), Pearson's r of their ranks; NaN as `pearson`."""
    return pearson(stats.rankdata(teacher), stats.rankdata(student))


def _align(teacher: np.ndarray, student: np.ndarray) -> Alignment:
    if not len(teacher):
        return Alignment(0, *[math.nan] * 6)
    error = student - teacher
    mse = float(np.square(error).mean())
    return Alignment(
        len(teacher),
        float(np.abs(error).mean()),
        mse,
        math.sqrt(mse),
        float(error.mean()),
        pearson(teacher, student),
        spearman(teacher, student),
    )


def _flat(scores: np.ndarray) -> bool:
    # What differs in its last bits alone carries no order.
    return len(scores) < 2 or np.ptp(scores) <= 1e-12 * np.abs(scores).max()
