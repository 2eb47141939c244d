"""Losses of dense students: similarities of a batch's pairs, against the teacher's.

A batch holds B queries and N >= B documents, of which document i is query i's own and those from B
on are further negatives. S = Q D^T (the report's equation 7) is (B, N); every function returns a
scalar. Vectors are of unit length where their encoder normalises, so that S holds cosines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from disco_lib.errors import DiscoError
from disco_lib.losses import Objective, info_nce, kl_divergence


def diagonal_mse(similarities: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the pairs' own similarities (the report's equation 9).

    L = 1/B sum_i (S_ii - t_i)^2. similarities (B, N); teacher (B,), the teacher's score of each
    query and its own document. Raises DiscoError for shapes that do not fit.
    """
    own = _diagonal(similarities)
    if teacher.shape != own.shape:
        raise DiscoError(
            f"similarities {tuple(similarities.shape)}, teacher {tuple(teacher.shape)}: give one "
            "teacher score a query."
        )
    return F.mse_loss(own, teacher)


def in_batch_contrastive(
    similarities: Tensor, temperature: float = 0.1, duplicates: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each query's own document against all (the report's equation 8).

    L = -1/B sum_i log(exp(S_ii / T) / sum_j exp(S_ij / T)). similarities (B, N). duplicates: bool
    (B, N), True where a column repeats the query's own document and must not count as a negative.
    One pair without further negatives gives 0. Raises DiscoError for shapes that do not fit, and
    for a temperature that is not above 0.
    """
    _check_temperature(temperature)
    own = torch.arange(len(_diagonal(similarities)), device=similarities.device)
    return info_nce(_without(similarities, duplicates), own, temperature)


def batch_kl(
    similarities: Tensor,
    teacher: Tensor,
    temperature: float = 0.1,
    scaled: bool = False,
    duplicates: Tensor | None = None,
) -> Tensor:
    """KL of the teacher's and the student's distributions over the batch's documents.

    L = 1/B sum_i KL(softmax(t_i / T) || softmax(S_i / T)). similarities, teacher (B, N). scaled
    multiplies by T^2, which keeps the gradients' size as T changes (Hinton et al., 2015); the
    report does not. duplicates as in `in_batch_contrastive`. Raises DiscoError for shapes that
    differ, and for a temperature that is not above 0.
    """
    _check_temperature(temperature)
    _diagonal(similarities)
    student, teacher = (_without(scores, duplicates) for scores in (similarities, teacher))
    loss = kl_divergence(student, teacher, temperature)
    return loss if scaled else loss / temperature**2


def classical_distillation(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 0.5,
    temperature: float = 2.0,
    scaled: bool = False,
) -> Tensor:
    """The report's procedure: (1 - alpha) CE(s, y) + alpha KL(softmax(t / T) || softmax(s / T)).

    student, teacher: scores (queries, documents); labels int64 (queries,), each query's relevant
    column. The cross-entropy is at temperature 1. scaled multiplies the KL by T^2 as Hinton et al.
    (2015) do; the report does not. Raises DiscoError for shapes that do not fit, an alpha outside
    [0, 1] and a temperature that is not above 0.
    """
    _check_temperature(temperature)
    if not 0 <= alpha <= 1:
        raise DiscoError(f"alpha is {alpha}; it weighs labels against the teacher, in [0, 1].")
    if labels.shape != student.shape[:1]:
        raise DiscoError(
            f"{tuple(labels.shape)} labels for scores {tuple(student.shape)}: give one a query."
        )
    soft = kl_divergence(student, teacher, temperature)
    soft = soft if scaled else soft / temperature**2
    return (1 - alpha) * F.cross_entropy(student, labels) + alpha * soft


@dataclass
class DenseBatch:
    """What a loss of a dense student may look at.

    queries (B, dimensions), documents (N, dimensions), N >= B: the student's vectors. teacher: the
    teacher's similarities, (B, N), or (B,) of the pairs alone. duplicates: bool (B, N) or None,
    see `in_batch_contrastive`.
    """

    queries: Tensor
    documents: Tensor
    teacher: Tensor
    duplicates: Tensor | None = None

    @property
    def similarities(self) -> Tensor:
        """S = Q D^T, (B, N) (the report's equation 7)."""
        return self.queries @ self.documents.T


def _contrastive_part(batch: DenseBatch, temperature: float = 0.1) -> Tensor:
    return in_batch_contrastive(batch.similarities, temperature, batch.duplicates)


def _diagonal_part(batch: DenseBatch) -> Tensor:
    teacher = batch.teacher if batch.teacher.ndim == 1 else _diagonal(batch.teacher)
    return diagonal_mse(batch.similarities, teacher)


def _kl_part(batch: DenseBatch, temperature: float = 0.1, scaled: bool = False) -> Tensor:
    teacher = _matrix_of_teacher(batch, "batch_kl")
    return batch_kl(batch.similarities, teacher, temperature, scaled, batch.duplicates)


def _classical_part(
    batch: DenseBatch,
    alpha: float = 0.5,
    temperature: float = 2.0,
    scaled: bool = False,
    scale: float = 1.0,
) -> Tensor:
    # scale: what a cosine counts as a score; at 1, cosines are too near each other to teach much.
    teacher = _matrix_of_teacher(batch, "classical_distillation")
    similarities = batch.similarities
    labels = torch.arange(len(batch.queries), device=similarities.device)
    scores = (_without(scale * scores, batch.duplicates) for scores in (similarities, teacher))
    return classical_distillation(*scores, labels, alpha, temperature, scaled)


DENSE_PARTS: Mapping[str, Callable[..., Tensor]] = {
    "contrastive": _contrastive_part,
    "diagonal_mse": _diagonal_part,
    "batch_kl": _kl_part,
    "classical_distillation": _classical_part,
}


@dataclass(frozen=True)
class DenseObjective(Objective):
    """A weighted sum of dense losses, as `Objective` is of sparse ones.

    The report's hybrid (its equation 10), L = L_contrastive + lambda L_regression, is
    DenseObjective({"contrastive": {"weight": 1, "temperature": 0.1}, "diagonal_mse": 0.1}).
    """

    losses: ClassVar[Mapping[str, Callable[..., Tensor]]] = DENSE_PARTS

    @property
    def needs_teacher_matrix(self) -> bool:
        """Whether a part looks at the teacher's similarities of all the batch's documents."""
        return any(self.uses(name) for name in ("batch_kl", "classical_distillation"))

    def __call__(self, batch: DenseBatch, regularisation: float = 1.0) -> dict[str, Tensor]:
        """The total under "loss", and each part, unweighted, under its name."""
        return super().__call__(batch, regularisation)


def hybrid_variants(
    temperature: float = 0.1, regression: float = 0.1, kl: float = 1.0
) -> dict[str, DenseObjective]:
    """The five objectives of the report's Table 1, by its names.

    temperature: of the contrastive term and the KL. regression: lambda of equation 10. kl: weight
    of the KL, of which the report says nothing.
    """
    _check_temperature(temperature)
    contrast = {"contrastive": {"weight": 1.0, "temperature": temperature}}
    divergence = {"batch_kl": {"weight": kl, "temperature": temperature}}
    error = {"diagonal_mse": regression}
    return {
        "Contrastive Only": DenseObjective(contrast),
        "Regression Only": DenseObjective({"diagonal_mse": 1.0}),
        "Contrastive + KL": DenseObjective({**contrast, **divergence}),
        "Hybrid": DenseObjective({**contrast, **error}),
        "Hybrid + KL": DenseObjective({**contrast, **error, **divergence}),
    }


def _diagonal(scores: Tensor) -> Tensor:
    if scores.ndim != 2 or not 0 < scores.shape[0] <= scores.shape[1]:
        raise DiscoError(
            f"similarities {tuple(scores.shape)}: give (queries, documents), where document i is "
            "query i's own."
        )
    return scores.diagonal()


def _without(scores: Tensor, duplicates: Tensor | None) -> Tensor:
    if duplicates is None:
        return scores
    if duplicates.shape != scores.shape:
        raise DiscoError(
            f"duplicates {tuple(duplicates.shape)}, scores {tuple(scores.shape)}: mark every score."
        )
    own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(duplicates & ~own, -math.inf)


def _matrix_of_teacher(batch: DenseBatch, part: str) -> Tensor:
    if batch.teacher.ndim != 2:
        raise DiscoError(
            f"{part} needs the teacher's similarities of all the batch's documents, (queries, "
            f"documents), not {tuple(batch.teacher.shape)}."
        )
    return batch.teacher


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise DiscoError(f"temperature is {temperature}; it must be above 0.")
