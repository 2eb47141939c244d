"""Pairs with their teacher's embeddings, and which of them a dense student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_negatives import HardNegatives, Pool
from disco_lib.dense_settings import DenseSettings
from disco_lib.embedding_cache import Annotation, annotate
from disco_lib.errors import DiscoError
from disco_lib.pairs import Pair
from disco_lib.selection import Rule, Selection, UncertaintyRule, select


@dataclass(frozen=True)
class PairSet:
    """Pairs, the teacher's embeddings of them, and the pool of their distinct documents."""

    pairs: Sequence[Pair]
    annotation: Annotation
    pool: Pool

    @classmethod
    def of(
        cls,
        pairs: Sequence[Pair],
        teacher: DenseEncoder,
        max_length: int = 256,
        progress: bool = False,
    ) -> PairSet:
        """Pairs annotated by a teacher, from the cache if there. DiscoError without a pair."""
        return cls(pairs, annotate(teacher, pairs, max_length, progress), Pool.of(pairs))

    def ranked_for(self, settings: DenseSettings) -> PairSet:
        """The same with the teacher's ranking as deep as the settings' negatives need it."""
        if not isinstance(settings.negatives, HardNegatives):
            return self
        depth = settings.negatives.end
        return replace(self, pool=self.pool.ranked(self.annotation, depth))

    def judged(self, rule: Rule, places: np.ndarray) -> np.ndarray:
        """What a rule looks at, of the pairs at int places (n,).

        The teacher's score of each pair, (n,); for uncertainty its scores of every distinct
        document for each query, (n, documents).
        """
        if isinstance(rule, UncertaintyRule):
            return self.annotation.similarities(places, self.pool.first)
        return self.annotation.scores[places]


@dataclass(frozen=True)
class Chosen:
    """The pairs that a student learns from.

    places int64, rising: of the kept pairs in the set. selection: what the rule did with those
    that were there (settings.share of all), before they were cut to settings.keep. validation
    int64, rising: places of those among the kept that early stopping holds out, which are not in
    `places`.
    """

    places: np.ndarray
    selection: Selection
    validation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def choose(pairs: PairSet, settings: DenseSettings) -> Chosen:
    """Draw the share of pairs that there are, select, cut to the number asked for, hold some out.

    Every draw is decided by settings.seed. Raises DiscoError where nothing is kept, and where early
    stopping has too few pairs to hold one out and train on another.
    """
    rng = np.random.default_rng([settings.seed, 1])
    there = _drawn(np.arange(len(pairs.pairs)), settings.share, len(pairs.pairs), rng)
    if not len(there):
        raise DiscoError(f"share {settings.share} of {len(pairs.pairs)} pairs is none. Raise it.")
    judged = pairs.judged(settings.selection, there)
    selection = select(judged, settings.selection, settings.seed)
    kept = there[selection.kept]
    if settings.keep is not None:
        kept = _drawn(kept, settings.keep, len(there), rng)
    if not len(kept):
        raise DiscoError(f"keep {settings.keep} of {len(there)} pairs is none. Raise it.")
    if settings.patience is None:
        return Chosen(kept, selection)
    held = _held_out(kept, settings)
    return Chosen(np.setdiff1d(kept, held), selection, held)


def _held_out(kept: np.ndarray, settings: DenseSettings) -> np.ndarray:
    wanted = max(1, round(settings.validation * len(kept)))
    if wanted >= len(kept):
        raise DiscoError(
            f"Early stopping (patience {settings.patience}) needs two pairs or more, to hold one "
            f"out; there is {len(kept)}. Select more, or leave the patience out."
        )
    rng = np.random.default_rng([settings.seed, 2])
    return np.sort(rng.permutation(kept)[:wanted])


def _drawn(places: np.ndarray, share: float, of: int, rng: np.random.Generator) -> np.ndarray:
    wanted = min(len(places), round(share * of))
    return places if wanted == len(places) else np.sort(rng.permutation(places)[:wanted])
