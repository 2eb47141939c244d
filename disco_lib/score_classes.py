"""Scores as a decision: pairs from a threshold on count as relevant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from disco_lib.alignment import paired_scores
from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class Classification:
    """How well the student tells relevant pairs apart from others, all values in [0, 1].

    threshold: teacher scores from here on make a pair relevant. cut: student scores from here on
    predict so. relevant: share of relevant pairs, which is the precision of saying yes to all.
    """

    n: int
    threshold: float
    cut: float
    relevant: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float


def classify(
    teacher: np.ndarray,
    student: np.ndarray,
    threshold: float | None = None,
    cut: float | None = None,
) -> Classification:
    """Binary metrics of the student's scores: teacher, student (pairs,).

    threshold: the teacher's median where it is not given. cut: the threshold where it is not given,
    as in the report; `best_cut` of other pairs is the optimised one. Precision is 0 where nothing
    is predicted relevant, recall and F1 are 0 where nothing is. ROC-AUC is NaN where pairs are of
    one class, as those of a constant teacher are. Raises DiscoError as `alignment.align` does.
    """
    teacher, student = paired_scores(teacher, student)
    threshold = float(np.median(teacher)) if threshold is None else threshold
    cut = threshold if cut is None else cut
    relevant, predicted = teacher >= threshold, student >= cut
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        relevant, predicted, average="binary", zero_division=0.0
    )
    one_class = relevant.all() or not relevant.any()
    return Classification(
        len(teacher),
        float(threshold),
        float(cut),
        float(relevant.mean()),
        float((relevant == predicted).mean()),
        float(precision),
        float(recall),
        float(f1),
        math.nan if one_class else float(metrics.roc_auc_score(relevant, student)),
    )


def best_cut(teacher: np.ndarray, student: np.ndarray, threshold: float | None = None) -> float:
    """The student score of highest F1 on the precision-recall curve, the lowest of several.

    teacher, student (pairs,); threshold as in `classify`. Found and applied on the same pairs, it
    flatters: find it on other pairs than those that are reported. Raises DiscoError as
    `alignment.align` does, and where no pair is relevant.
    """
    teacher, student = paired_scores(teacher, student)
    threshold = float(np.median(teacher)) if threshold is None else threshold
    relevant = teacher >= threshold
    if not relevant.any():
        raise DiscoError(
            f"No teacher score reaches {threshold}; the highest is {teacher.max():.3f}. Lower it."
        )
    precision, recall, cuts = metrics.precision_recall_curve(relevant, student)
    both = precision[:-1] + recall[:-1]
    f1 = np.divide(2 * precision[:-1] * recall[:-1], both, out=np.zeros(len(cuts)), where=both > 0)
    # Cuts that are equally good can differ in the last bits of their F1.
    return float(cuts[np.argmax(f1 >= f1.max() - 1e-12)])
