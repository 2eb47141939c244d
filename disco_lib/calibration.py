"""Whether a student's score means what its teacher's means, and a line that mends it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disco_lib.alignment import paired_scores
from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class Bin:
    """Pairs whose student score lies in [low, high], and the mean score of each side."""

    low: float
    high: float
    n: int
    student: float
    teacher: float

    @property
    def gap(self) -> float:
        """Student minus teacher: above 0 where the student is overconfident."""
        return self.student - self.teacher


@dataclass(frozen=True)
class Line:
    """teacher ~ intercept + slope * student."""

    slope: float
    intercept: float

    def apply(self, student: np.ndarray) -> np.ndarray:
        """The student's scores (pairs,) brought to the teacher's scale.

        Their order stays where the slope is above 0.
        """
        return self.intercept + self.slope * np.asarray(student, dtype=np.float64)


def reliability(teacher: np.ndarray, student: np.ndarray, bins: int = 10) -> list[Bin]:
    """The reliability curve: bins of as equal a number of pairs as can be, by student score.

    teacher, student (pairs,). Bins of equal width would leave a student that gives nearly every
    pair its highest score in one bin. Equal scores stay in one bin, so there can be fewer bins,
    and one alone for constant scores. Raises DiscoError as `alignment.align` does, and for a
    number of bins below 1.
    """
    teacher, student = paired_scores(teacher, student)
    if bins < 1:
        raise DiscoError(f"bins is {bins}; at least 1 is needed.")
    order = np.argsort(student, kind="stable")
    teacher, student = teacher[order], student[order]
    cuts = np.linspace(0, len(student), min(bins, len(student)) + 1).round().astype(int)[1:-1]
    # Where a cut falls among equal scores, it moves to before them.
    starts = np.unique(np.append(0, np.searchsorted(student, student[cuts], side="left")))
    parts = zip(np.split(student, starts[1:]), np.split(teacher, starts[1:]), strict=True)
    return [
        Bin(float(s[0]), float(s[-1]), len(s), float(s.mean()), float(t.mean())) for s, t in parts
    ]


def calibration_error(teacher: np.ndarray, student: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: sum over bins of |mean student - mean teacher|, by their share.

    teacher, student (pairs,). Raises DiscoError as `reliability`.
    """
    curve = reliability(teacher, student, bins)
    return sum(b.n * abs(b.gap) for b in curve) / sum(b.n for b in curve)


def fit_line(teacher: np.ndarray, student: np.ndarray) -> Line:
    """Least-squares line from the student's scores to the teacher's: teacher, student (pairs,).

    Fit it on other pairs than those that are reported. A slope far from 1 says that the student
    spreads its scores otherwise than the teacher. Constant student scores give slope 0 and the
    teacher's mean. Raises DiscoError as `alignment.align` does.
    """
    teacher, student = paired_scores(teacher, student)
    centred = student - student.mean()
    spread = float(centred @ centred)
    flat = np.ptp(student) <= 1e-12 * np.abs(student).max()
    slope = 0.0 if flat else float(centred @ (teacher - teacher.mean())) / spread
    return Line(slope, float(teacher.mean() - slope * student.mean()))
