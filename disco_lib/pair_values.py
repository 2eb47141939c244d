"""Measures of a list of pairs as one value a pair, whose mean is the measure.

So that intervals and paired tests over pairs are possible for measures that are no means of their
own. Where a measure m is none, pair i has the value m + I_i with I the empirical influence
function, whose mean over the pairs is 0: the infinitesimal jackknife. A paired t-test of two lists
of such values is the delta method's test of the difference of the two measures.
"""

from __future__ import annotations

import numpy as np

from disco_lib.alignment import paired_scores

PAIR_MEASURES = ("MAE", "bias", "Pearson", "F1")


def pair_values(
    teacher: np.ndarray, student: np.ndarray, threshold: float | None = None
) -> dict[str, np.ndarray]:
    """{measure: values (pairs,)} of the student's scores: teacher, student (pairs,).

    MAE: |s - t|. bias: s - t, above 0 where the student is overconfident. Pearson:
    r + z_t z_s - r (z_t^2 + z_s^2) / 2 with z the standardised scores; all 0 where one side does
    not vary. F1: of deciding by `threshold` (the teacher's median where it is not given) on both
    sides, F + (2 TP_i - F (2 TP_i + FP_i + FN_i)) / mean(2 TP + FP + FN).
    Raises DiscoError as `alignment.align` does.
    """
    teacher, student = paired_scores(teacher, student)
    threshold = float(np.median(teacher)) if threshold is None else threshold
    return {
        "MAE": np.abs(student - teacher),
        "bias": student - teacher,
        "Pearson": _pearson_values(teacher, student),
        "F1": _f1_values(teacher >= threshold, student >= threshold),
    }


def _pearson_values(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    for scores in (teacher, student):
        if len(scores) < 2 or np.ptp(scores) <= 1e-12 * np.abs(scores).max():
            return np.zeros(len(scores))
    t, s = ((scores - scores.mean()) / scores.std() for scores in (teacher, student))
    r = float((t * s).mean())
    return r + t * s - r * (t**2 + s**2) / 2


def _f1_values(relevant: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    hits = 2.0 * (relevant & predicted)
    every = relevant.astype(np.float64) + predicted
    if not every.any():
        return np.zeros(len(every))
    f1 = hits.sum() / every.sum()
    return f1 + (hits - f1 * every) / every.mean()
