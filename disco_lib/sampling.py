"""Which documents enter the KL: the positive and a sample of the teacher's ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disco_lib.errors import DiscoError

POSITIVES = ("window", "own", "none")


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
class WindowSampler:
    """Uniform negatives from a window of the teacher's ranking, as in DiSCo's public recipe.

    negatives: documents besides the positive. start, end: the window holds ranks start + 1 to end
    (10, 960: ranks 11 to 960). positive says what the positive's score is:

    - "window" (the public recipe): its own, if it stands in the window, else the window's largest.
      A positive that the teacher ranks above the window so ties with the window's first.
    - "own": the teacher's own score wherever it ranks, 0 if it is not in the run.
    - "none": no positive; one more document of the window instead.

    A turn without a known positive is sampled as "none". A sparse teacher scores 0 whatever it does
    not list: where the window has too few documents, others of the collection fill up with score 0.
    """

    negatives: int = 16
    start: int = 10
    end: int = 960
    positive: str = "window"

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise DiscoError(f"negatives is {self.negatives}; at least 1 is needed.")
        if not 0 <= self.start < self.end:
            raise DiscoError(f"window {self.start}-{self.end}: 0 <= start < end must hold.")
        if self.positive not in POSITIVES:
            raise DiscoError(f"positive {self.positive!r}; allowed: {', '.join(POSITIVES)}.")

    def sample(
        self,
        documents: np.ndarray,
        scores: np.ndarray,
        positive: int,
        collection_size: int,
        rng: np.random.Generator,
    ) -> Sample:
        """Draw from one turn's ranking (documents, scores best first); positive -1 if unknown."""
        with_positive = positive >= 0 and self.positive != "none"
        window = slice(self.start, self.end)
        keep = (
            documents[window] != positive
            if with_positive
            else np.ones_like(documents[window], bool)
        )
        candidates, values = documents[window][keep], scores[window][keep]
        wanted = self.negatives + (not with_positive)
        if wanted + with_positive > collection_size:
            raise DiscoError(
                f"{wanted + with_positive} documents a turn, but the collection has only "
                f"{collection_size}. Lower negatives."
            )
        chosen = rng.permutation(len(candidates))[:wanted]
        drawn, drawn_scores = candidates[chosen].astype(np.int64), values[chosen]
        if len(drawn) < wanted:
            drawn, drawn_scores = _fill(
                drawn, drawn_scores, documents, positive, wanted, collection_size, rng
            )
        if not with_positive:
            return Sample(drawn, drawn_scores.astype(np.float32), -1)
        score = self._positive_score(documents, scores, positive)
        return Sample(
            np.concatenate([[positive], drawn]).astype(np.int64),
            np.concatenate([[score], drawn_scores]).astype(np.float32),
            0,
        )

    def _positive_score(self, documents: np.ndarray, scores: np.ndarray, positive: int) -> float:
        ranks = np.flatnonzero(documents == positive)
        if self.positive == "own":
            return float(scores[ranks[0]]) if len(ranks) else 0.0
        if len(ranks) and self.start <= ranks[0] < self.end:
            return float(scores[ranks[0]])
        inside = scores[self.start : self.end]
        return float(inside[0]) if len(inside) else 0.0


def _fill(
    drawn: np.ndarray,
    drawn_scores: np.ndarray,
    listed: np.ndarray,
    positive: int,
    wanted: int,
    collection_size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    missing = wanted - len(drawn)
    outside = np.setdiff1d(np.arange(collection_size), np.append(listed, positive))
    if len(outside) < missing:
        raise DiscoError(
            f"The window and the documents that the teacher does not list give only "
            f"{len(drawn) + len(outside)} of {wanted} documents. Widen the window."
        )
    extra = rng.choice(outside, missing, replace=False)
    zeros = np.zeros(missing, dtype=np.float32)
    return np.concatenate([drawn, extra]), np.concatenate([drawn_scores, zeros])
