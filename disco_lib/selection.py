"""Which pairs enter training: by the teacher's score, at random, or by its uncertainty.

    selection = select(scores, {"kind": "percentile", "percentile": 80})
    chosen = [pairs[i] for i in selection.kept]

Every rule takes the teacher's scores and gives the indices of what is kept with a report.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax

from disco_lib.errors import DiscoError
from disco_lib.nested_settings import check_fields
from disco_lib.sampling_arms import StratifiedSampler, even_shares

MEASURES = ("entropy", "margin")


@dataclass(frozen=True)
class Summary:
    """A list of numbers in few; NaN where it is empty. std: with n, not n - 1, below the root."""

    n: int
    mean: float
    std: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Summary:
        """The summary of values (n,)."""
        if not len(values):
            return cls(0, *[math.nan] * 5)
        middle = (values.mean(), values.std(), np.median(values), values.min(), values.max())
        return cls(len(values), *map(float, middle))


@dataclass(frozen=True)
class Selection:
    """What a rule keeps.

    kept int64, rising: indices of the kept pairs. values (pairs,): what the rule looked at, scores
    or uncertainties. threshold: kept are the values from here on (for a rule that keeps what lies
    below: up to here), NaN for a rule without one. before, after: the values of all pairs and of
    the kept ones.
    """

    rule: Rule
    kept: np.ndarray
    values: np.ndarray
    threshold: float
    before: Summary
    after: Summary

    @property
    def share(self) -> float:
        """Share of the pairs that are kept, in (0, 1]."""
        return self.after.n / self.before.n

    def bands(self, edges: np.ndarray) -> list[tuple[float, float, int, int]]:
        """(low, high, pairs, kept pairs) of each band of the values; the last one holds its high.

        edges (bands + 1,), rising.
        """
        counts = (np.histogram(v, edges)[0].tolist() for v in (self.values, self.values[self.kept]))
        return list(zip(edges[:-1], edges[1:], *counts, strict=True))


@dataclass(frozen=True)
class Rule(ABC):
    """How pairs are chosen. A rule that draws does so by the seed that `select` is given."""

    kind: ClassVar[str]

    @abstractmethod
    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Whether each pair is kept, bool (pairs,); the values looked at; the threshold or NaN."""

    def to_dict(self) -> dict[str, Any]:
        """The rule as plain values, from which `rule_from_dict` makes it again."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class NoSelection(Rule):
    """Every pair is kept."""

    kind: ClassVar[str] = "none"

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """All pairs."""
        scores = _own_scores(scores, self.kind)
        return np.ones(len(scores), dtype=bool), scores, math.nan


@dataclass(frozen=True)
class PercentileRule(Rule):
    """Scores from a percentile on (the report's equation 4): {s >= tau}, 80 keeps the top fifth.

    The percentile is interpolated linearly between scores. Pairs that tie with it are all kept.
    """

    percentile: float = 80.0
    kind: ClassVar[str] = "percentile"

    def __post_init__(self) -> None:
        _check_number("percentile", self.percentile, 0, 100)

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Pairs from the percentile on."""
        scores = _varying(_own_scores(scores, self.kind), self.kind)
        threshold = float(np.percentile(scores, self.percentile))
        return scores >= threshold, scores, threshold


@dataclass(frozen=True)
class DeviationRule(Rule):
    """Scores from mean + deviations * std on, std with n below the root."""

    deviations: float = 0.5
    kind: ClassVar[str] = "deviations"

    def __post_init__(self) -> None:
        _check_number("deviations", self.deviations, -math.inf, math.inf)

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Pairs from so many standard deviations above the mean on."""
        scores = _varying(_own_scores(scores, self.kind), self.kind)
        threshold = float(scores.mean() + self.deviations * scores.std())
        return scores >= threshold, scores, threshold


@dataclass(frozen=True)
class RandomRule(Rule):
    """A share of the pairs, each as likely: the control that any choice by score has to beat."""

    share: float = 0.2
    kind: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        _check_number("share", self.share, 0, 1)

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """round(share * pairs) pairs drawn uniformly."""
        scores = _own_scores(scores, self.kind)
        keep = np.zeros(len(scores), dtype=bool)
        keep[rng.permutation(len(scores))[: round(self.share * len(scores))]] = True
        return keep, scores, math.nan


@dataclass(frozen=True)
class StratifiedRule(Rule):
    """A share of the pairs, spread as evenly as can be over bands of the score.

    The range from the lowest to the highest score is cut to bands of equal width. Each gives as
    equal a number as it holds, drawn uniformly; what a thin band lacks comes from the others.
    Constant scores are one band, from which is drawn as by the random rule.
    """

    share: float = 0.2
    bands: int = 10
    kind: ClassVar[str] = "stratified"

    def __post_init__(self) -> None:
        _check_number("share", self.share, 0, 1)
        if self.bands < 1:
            raise DiscoError(f"bands is {self.bands}; at least 1 is needed.")

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """round(share * pairs) pairs, as equal a number from each band as it holds."""
        scores = _own_scores(scores, self.kind)
        band = StratifiedSampler(strata=self.bands).stratum_of(scores)
        held = np.bincount(band, minlength=self.bands)
        keep = np.zeros(len(scores), dtype=bool)
        for i, wanted in enumerate(even_shares(held, round(self.share * len(scores)), rng)):
            keep[rng.permutation(np.flatnonzero(band == i))[:wanted]] = True
        return keep, scores, math.nan


@dataclass(frozen=True)
class UncertaintyRule(Rule):
    """Pairs about which the teacher is uncertain (keep "above"), or certain ("below").

    It looks at the teacher's scores of several documents a query (pairs, documents); see
    `uncertainty`. The report's procedure keeps uncertainty > threshold, and the report's text asks
    for confident pairs: the two are `keep`'s two values.
    """

    threshold: float = 0.7
    measure: str = "entropy"
    keep: str = "above"
    temperature: float = 1.0
    kind: ClassVar[str] = "uncertainty"

    def __post_init__(self) -> None:
        _check_number("threshold", self.threshold, 0, 1)
        if self.keep not in ("above", "below"):
            raise DiscoError(f'keep {self.keep!r}; allowed: "above", "below".')
        _check_uncertainty(self.measure, self.temperature)

    def choose(
        self, scores: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Pairs whose uncertainty lies above the threshold, or below it."""
        values = uncertainty(scores, self.measure, self.temperature)
        above = self.keep == "above"
        kept = values > self.threshold if above else values < self.threshold
        return kept, values, self.threshold


RULES: dict[str, type[Rule]] = {
    rule.kind: rule
    for rule in (
        NoSelection,
        PercentileRule,
        DeviationRule,
        RandomRule,
        StratifiedRule,
        UncertaintyRule,
    )
}


def rule_from_dict(values: Mapping[str, Any]) -> Rule:
    """A rule from a mapping, as YAML holds it: {kind: percentile, percentile: 80}.

    Raises DiscoError for a kind or a setting that there is not, and for a value out of range.
    """
    own = dict(values)
    kind = own.pop("kind", None)
    if not isinstance(kind, str) or kind not in RULES:
        raise DiscoError(f"selection: no kind {kind!r}; there are: {', '.join(RULES)}.")
    check_fields("selection", RULES[kind], own, besides=["kind"])
    return RULES[kind](**own)


def select(scores: np.ndarray, rule: Rule | Mapping[str, Any], seed: int = 0) -> Selection:
    """Choose pairs by a rule, or by a mapping of one.

    scores: the teacher's score of every pair, (pairs,), or for uncertainty (pairs, documents).
    Raises DiscoError where there are no scores or one is no number, where a threshold is asked of
    scores that do not vary, and where a rule keeps nothing, with the numbers that say why.
    """
    rule = rule if isinstance(rule, Rule) else rule_from_dict(rule)
    keep, values, threshold = rule.choose(_checked(scores), np.random.default_rng(seed))
    before, after = Summary.of(values), Summary.of(values[keep])
    if not keep.any():
        limit = "" if math.isnan(threshold) else f" at threshold {threshold:.4f}"
        raise DiscoError(
            f"selection {rule.kind}: none of {before.n} pairs is kept{limit}; what it looks at "
            f"lies in {before.low:.4f} to {before.high:.4f}. Choose a weaker rule."
        )
    return Selection(rule, np.flatnonzero(keep), values, threshold, before, after)


def uncertainty(
    scores: np.ndarray, measure: str = "entropy", temperature: float = 1.0
) -> np.ndarray:
    """The teacher's uncertainty about each query's documents, (queries,), in [0, 1].

    With p = softmax(scores / T) over a query's documents: "entropy" is -sum_j p_j log p_j /
    log(documents), "margin" 1 - (p_1 - p_2), the two largest. Equal scores give 1. Cosines differ
    by so little that at T = 1 every query is nearly 1: lower T. scores (queries, documents), 2
    documents at least. Raises DiscoError for other shapes, an unknown measure, and a temperature
    that is not above 0.
    """
    _check_uncertainty(measure, temperature)
    scores = _checked(scores)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise DiscoError(
            f"Scores of shape {scores.shape}: uncertainty is about a choice, so give scores of 2 "
            "or more documents a query, (queries, documents)."
        )
    log_share = log_softmax(scores / temperature, axis=1)
    share = np.exp(log_share)
    if measure == "entropy":
        values = -(share * log_share).sum(axis=1) / math.log(scores.shape[1])
    else:
        second, first = np.partition(share, -2, axis=1)[:, -2:].T
        values = 1 - (first - second)
    return values.clip(0, 1)


def _checked(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if not scores.size:
        raise DiscoError("No scores to select from.")
    if not np.isfinite(scores).all():
        raise DiscoError(
            f"{(~np.isfinite(scores)).sum()} of {scores.size} teacher scores are no finite "
            "numbers. Score every pair."
        )
    return scores


def _own_scores(scores: np.ndarray, kind: str) -> np.ndarray:
    if scores.ndim != 1:
        raise DiscoError(
            f"selection {kind}: scores of shape {scores.shape}; give one score a pair, (pairs,), "
            "for instance the diagonal."
        )
    return scores


def _varying(scores: np.ndarray, kind: str) -> np.ndarray:
    if np.ptp(scores) <= 1e-12 * np.abs(scores).max():
        raise DiscoError(
            f"selection {kind}: all {len(scores)} scores are {scores[0]:.4f}, so no threshold "
            'can tell pairs apart. Use "none" or "random", or look at the teacher.'
        )
    return scores


def _check_uncertainty(measure: str, temperature: float) -> None:
    if measure not in MEASURES:
        raise DiscoError(f"measure {measure!r}; there are: {', '.join(MEASURES)}.")
    if not isinstance(temperature, Real) or not 0 < temperature < math.inf:
        raise DiscoError(f"temperature is {temperature!r}; give a number above 0.")


def _check_number(name: str, value: float, low: float, high: float) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        limits = "" if math.isinf(low) else f" from {low} to {high}"
        raise DiscoError(f"{name} is {value!r}; give a number{limits}.")
