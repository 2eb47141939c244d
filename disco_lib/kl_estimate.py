"""How well a sample of a teacher's ranking stands for the whole: bias and spread of the KL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from disco_lib.errors import DiscoError
from disco_lib.sampling import Sample, Sampler

Interval = tuple[float, float]


@dataclass(frozen=True)
class KlEstimate:
    """The KL on samples of `documents` documents against `full`, that of the whole ranking, nats.

    mean: of the samples' KL, over turns and draws. bias: mean - full. deviation: standard deviation
    over the draws of one turn, the root of the turns' mean variance. The intervals are percentile
    bootstrap intervals over draws; what they leave out is how turns differ.
    """

    documents: int
    full: float
    mean: float
    mean_interval: Interval
    bias: float
    bias_interval: Interval
    deviation: float
    deviation_interval: Interval


def kl_estimates(
    student: np.ndarray,
    teacher: np.ndarray,
    sampler: Sampler,
    sizes: Sequence[int],
    depth: int = 1000,
    positives: Sequence[int] | None = None,
    draws: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> list[KlEstimate]:
    """Bias and spread of the KL on samples, one estimate for each of `sizes`.

    With p = softmax(t / T) over the `depth` documents that the teacher scores best, and q of the
    student likewise, the whole is KL = T^2 sum_j p_j log(p_j / q_j). A sample S has
    KL_S = T^2 sum_{j in S} p_j|S log(p_j|S / q_j|S), where p_j|S = p_j / sum_{k in S} p_k: what
    `losses.kl_divergence` takes of a sample. Neither mass outside S nor its share enters KL_S, so
    its mean over samples is not KL.

    student, teacher: scores (turns, documents) of the same documents, or (documents,) of one turn;
    a sampler may draw all of them, and its ranking lists the best `depth`. sizes: documents in a
    sample, from 2; the sampler's own number of negatives does not count. positives: (turns,), each
    turn's relevant document, or -1; none by default. draws: samples of a turn. Raises DiscoError
    for shapes that differ, for numbers out of range, and where a sampler has too few documents.
    """
    # Float32, as a run holds them and a sample gives them back.
    student, teacher = (np.atleast_2d(np.asarray(x, np.float32)) for x in (student, teacher))
    positives = [-1] * len(teacher) if positives is None else list(positives)
    _check(student, teacher, positives)
    if min(*sizes, draws, depth, 2) < 2 or temperature <= 0:
        raise DiscoError("sizes, draws and depth must be 2 or more, temperature above 0.")
    turns = list(zip(student, teacher, positives, strict=True))
    full = float(np.mean([_full(s, t, depth, temperature) for s, t, _ in turns]))
    estimates = []
    for size in sizes:
        sized = sampler.with_negatives(size - 1)
        values = [
            _drawn(*turn, sized, depth, draws, temperature, seed=[seed, size, i])
            for i, turn in enumerate(turns)
        ]
        estimates.append(_estimate(np.stack(values), size, full, seed, resamples, level))
    return estimates


@dataclass(frozen=True)
class TeacherMass:
    """What a sample holds of a teacher: share of its probability mass in [0, 1], entropies in nats.

    mass: of the documents that the ranking lists. entropy: of the teacher's distribution over the
    sample's documents, as the KL sees it, at most log(documents). full_entropy: over the ranking.
    """

    mass: float
    entropy: float
    full_entropy: float


def teacher_mass(
    sample: Sample, documents: np.ndarray, scores: np.ndarray, temperature: float = 1.0
) -> TeacherMass:
    """Share of the teacher's probability mass, and the entropy, that a sample holds.

    With p = softmax(t / T) over the ranking (documents, scores), both (listed,): the mass of a
    sample S is sum_{j in S} p_j, in which a document that the ranking does not list counts 0, and
    its entropy is -sum_{j in S} p_j|S log p_j|S, p_j|S = softmax over the sample's own scores.
    Raises DiscoError for a ranking that is empty or whose lengths differ.
    """
    if len(documents) == 0 or len(documents) != len(scores):
        raise DiscoError(f"{len(documents)} documents and {len(scores)} scores are no ranking.")
    share = softmax(np.asarray(scores, dtype=np.float64) / temperature)
    own = softmax(np.asarray(sample.scores, dtype=np.float64) / temperature)
    mass = share[np.isin(documents, sample.documents)].sum()
    return TeacherMass(float(min(mass, 1.0)), float(entropy(own)), float(entropy(share)))


def kl(student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """KL(teacher || student) in nats over the last axis of scores (..., documents), times T^2."""
    log_p = log_softmax(np.asarray(teacher, dtype=np.float64) / temperature, axis=-1)
    log_q = log_softmax(np.asarray(student, dtype=np.float64) / temperature, axis=-1)
    return (np.exp(log_p) * (log_p - log_q)).sum(-1) * temperature**2


def _check(student: np.ndarray, teacher: np.ndarray, positives: Sequence[int]) -> None:
    if student.shape != teacher.shape or student.ndim != 2 or student.size == 0:
        raise DiscoError(
            f"student {student.shape} and teacher {teacher.shape}: give the scores of the same "
            "turns and documents."
        )
    if len(positives) != len(teacher):
        raise DiscoError(f"{len(positives)} positives for {len(teacher)} turns; give one each.")


def _full(student: np.ndarray, teacher: np.ndarray, depth: int, temperature: float) -> float:
    best = np.sort(_best(teacher, depth))
    return float(kl(student[best], teacher[best], temperature))


def _best(teacher: np.ndarray, depth: int) -> np.ndarray:
    return np.argsort(-teacher, kind="stable")[:depth]


def _drawn(
    student: np.ndarray,
    teacher: np.ndarray,
    positive: int,
    sampler: Sampler,
    depth: int,
    draws: int,
    temperature: float,
    seed: Sequence[int],
) -> np.ndarray:
    # The KL (draws,) of one turn's samples.
    best, rng = _best(teacher, depth), np.random.default_rng(seed)
    listed = teacher[best]
    samples = [
        sampler.sample(best, listed, positive, len(teacher), rng, teacher.__getitem__)
        for _ in range(draws)
    ]
    chosen = np.stack([sample.documents for sample in samples])
    scores = np.stack([sample.scores for sample in samples])
    # In one order, so that equal samples have equal sums to the last bit.
    order = np.argsort(chosen, axis=1)
    of_student = student[np.take_along_axis(chosen, order, axis=1)]
    return kl(of_student, np.take_along_axis(scores, order, axis=1), temperature)


def _estimate(
    values: np.ndarray, size: int, full: float, seed: int, resamples: int, level: float
) -> KlEstimate:
    # values: the KL (turns, draws)
    rng = np.random.default_rng([seed, size])
    means, deviations = np.empty(resamples), np.empty(resamples)
    for i in range(resamples):
        again = values[:, rng.integers(values.shape[1], size=values.shape[1])]
        means[i], deviations[i] = again.mean(), _deviation(again)
    tails = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.percentile(means, tails).tolist()
    mean = float(values.mean())
    return KlEstimate(
        size,
        full,
        mean,
        (low, high),
        mean - full,
        (low - full, high - full),
        _deviation(values),
        tuple(np.percentile(deviations, tails).tolist()),
    )


def _deviation(values: np.ndarray) -> float:
    # Taken from the first draw, so that equal values have no spread to the last bit.
    return float(np.sqrt((values - values[:, :1]).var(axis=1, ddof=1).mean()))
