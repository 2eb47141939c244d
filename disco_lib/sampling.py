"""Which documents enter the KL: the positive and a sample of the teacher's ranking."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from disco_lib.errors import DiscoError

POSITIVES = ("window", "own", "none")

#: score(documents (n,)) -> (n,): the teacher's exact scores of any documents of the collection.
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Documents of one turn and the teacher's scores for them.

    documents int64 (n,), positions in the collection; scores float32 (n,); positive: the column of
    the positive, 0, or -1 where the sample holds none.
    """

    documents: np.ndarray
    scores: np.ndarray
    positive: int


@dataclass(frozen=True)
class Ranking:
    """What a sampler draws from: one turn's documents and scores, both (listed,), best first.

    positive: the relevant document, or -1 if unknown. score: exact scores of what is not listed;
    without it that counts 0, as for a sparse teacher whose run lists all that shares a term.
    """

    documents: np.ndarray
    scores: np.ndarray
    positive: int
    collection_size: int
    score: Score | None = None

    def without(self, taken: np.ndarray) -> np.ndarray:
        """The listed documents that are not among `taken`, best first."""
        return _besides(self.documents, taken)

    def unlisted(self, taken: np.ndarray) -> np.ndarray:
        """Documents of the collection that are neither listed nor among `taken`, in its order."""
        return np.setdiff1d(np.arange(self.collection_size), np.append(self.documents, taken))

    def scores_of(self, wanted: np.ndarray) -> np.ndarray:
        """The teacher's scores float32 of the documents `wanted` (n,): its run's, else exact."""
        scores = np.zeros(len(wanted), dtype=np.float32)
        listed = np.zeros(len(wanted), dtype=bool)
        if len(self.documents):
            place = np.searchsorted(self.documents, wanted, sorter=self._order)
            rank = self._order[np.minimum(place, len(self._order) - 1)]
            listed = self.documents[rank] == wanted
            scores[listed] = self.scores[rank[listed]]
        if self.score is not None and not listed.all():
            scores[~listed] = self.score(np.asarray(wanted)[~listed])
        return scores

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.documents, kind="stable")


@dataclass(frozen=True)
class Sampler(ABC):
    """Which documents of a turn enter the KL; a kind of sampler says how negatives are drawn.

    negatives: documents besides the positive. positive: "own" has the positive in the sample with
    the teacher's own score, "none" has one more document instead, as has a turn without a known
    positive. needs_scores: whether `sample` is to be given the teacher's exact scores.
    """

    kind: ClassVar[str]
    positives: ClassVar[tuple[str, ...]] = ("own", "none")
    needs_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise DiscoError(f"negatives is {self.negatives}; at least 1 is needed.")
        if self.positive not in self.positives:
            raise DiscoError(f"positive {self.positive!r}; allowed: {', '.join(self.positives)}.")

    @property
    @abstractmethod
    def negatives(self) -> int:
        """Documents besides the positive."""

    @property
    @abstractmethod
    def positive(self) -> str:
        """What the positive's score is."""

    @abstractmethod
    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` distinct documents (wanted,), none of which is among `taken`."""

    def sample(
        self,
        documents: np.ndarray,
        scores: np.ndarray,
        positive: int,
        collection_size: int,
        rng: np.random.Generator,
        score: Score | None = None,
    ) -> Sample:
        """Draw from one turn's ranking (documents, scores best first); positive -1 if unknown.

        score: the teacher's exact scores of documents that the ranking does not list; without it
        they count 0. Raises DiscoError where the collection has too few documents.
        """
        ranking = Ranking(documents, scores, positive, collection_size, score)
        with_positive = positive >= 0 and self.positive != "none"
        wanted = self.negatives + (not with_positive)
        if wanted + with_positive > collection_size:
            raise DiscoError(
                f"{wanted + with_positive} documents a turn, but the collection has only "
                f"{collection_size}. Lower negatives."
            )
        taken = np.array([positive] if with_positive else [], dtype=np.int64)
        drawn = self.draw(ranking, taken, wanted, rng).astype(np.int64)
        values = ranking.scores_of(drawn)
        if not with_positive:
            return Sample(drawn, values, -1)
        own = np.float32(self.score_of_positive(ranking))
        return Sample(np.append(taken, drawn), np.append(own, values), 0)

    def score_of_positive(self, ranking: Ranking) -> float:
        """The positive's score in the sample: the teacher's own, wherever it ranks."""
        return float(ranking.scores_of(np.array([ranking.positive]))[0])

    def with_negatives(self, negatives: int) -> Sampler:
        """The same sampler of another number of negatives."""
        return dataclasses.replace(self, negatives=negatives)

    def to_dict(self) -> dict[str, Any]:
        """The sampler as plain values, from which `sampler_from_dict` makes it again."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"kind": self.kind, **values}


@dataclass(frozen=True)
class WindowSampler(Sampler):
    """Uniform negatives from a window of the teacher's ranking, as in DiSCo's public recipe.

    negatives: documents besides the positive. start, end: the window holds ranks start + 1 to end
    (10, 960: ranks 11 to 960). positive says what the positive's score is:

    - "window" (the public recipe): its own, if it stands in the window, else the window's largest.
      A positive that the teacher ranks above the window so ties with the window's first.
    - "own": the teacher's own score wherever it ranks, 0 if it is not in the run.
    - "none": no positive; one more document of the window instead.

    A turn without a known positive is sampled as "none". A sparse teacher scores 0 whatever it does
    not list: where the window has too few documents, others of the collection fill up with score 0.
    Exact scores are so not asked for; where `sample` is given them, they take the place of the 0.
    """

    negatives: int = 16
    start: int = 10
    end: int = 960
    positive: str = "window"
    kind: ClassVar[str] = "window"
    positives: ClassVar[tuple[str, ...]] = POSITIVES
    needs_scores: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start < self.end:
            raise DiscoError(f"window {self.start}-{self.end}: 0 <= start < end must hold.")

    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` documents of the window that are not `taken`, else such as are not listed."""
        inside = _besides(ranking.documents[self.start : self.end], taken)
        drawn = inside[rng.permutation(len(inside))[:wanted]]
        # Without its score, an unlisted positive would count 0 among the documents that fill up.
        return fill(drawn, ranking, np.append(taken, ranking.positive), wanted, rng)

    def score_of_positive(self, ranking: Ranking) -> float:
        """The positive's score in the sample, as `positive` says."""
        if self.positive == "own":
            return super().score_of_positive(ranking)
        ranks = np.flatnonzero(ranking.documents == ranking.positive)
        if len(ranks) and self.start <= ranks[0] < self.end:
            return float(ranking.scores[ranks[0]])
        inside = ranking.scores[self.start : self.end]
        return float(inside[0]) if len(inside) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The sampler as plain values, without its kind: students are found by their hash."""
        return {name: value for name, value in super().to_dict().items() if name != "kind"}


def fill(
    drawn: np.ndarray,
    ranking: Ranking,
    taken: np.ndarray,
    wanted: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """`drawn`, filled up to `wanted` documents with such as the ranking does not list.

    Drawn uniformly and none of `taken`. Raises DiscoError where there are too few.
    """
    missing = wanted - len(drawn)
    if missing <= 0:
        return drawn
    outside = ranking.unlisted(np.append(taken, drawn))
    if len(outside) < missing:
        raise DiscoError(
            f"The window and the documents that the teacher does not list give only "
            f"{len(drawn) + len(outside)} of {wanted} documents. Widen the window."
        )
    return np.append(drawn, rng.choice(outside, missing, replace=False))


def _besides(documents: np.ndarray, taken: np.ndarray) -> np.ndarray:
    # Of one document, as most often, a comparison is quicker than a search.
    if len(taken) <= 1:
        return documents[documents != taken[0]] if len(taken) else documents
    return documents[~np.isin(documents, taken)]
