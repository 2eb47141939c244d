"""Paired tests, corrections, effect sizes and intervals, on per-turn values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class Comparison:
    """A paired comparison: mean of a - b, its 95 % interval, p-values and Cohen's d."""

    difference: float
    low: float
    high: float
    p_t: float
    p_permutation: float
    cohens_d: float
    n: int


def compare(
    a: np.ndarray, b: np.ndarray, seed: int = 0, resamples: int = 10_000, comparisons: int = 1
) -> Comparison:
    """Compare two systems on the same turns: values a, b (turns,).

    Two-sided paired t-test, sign-flip permutation test and percentile bootstrap of the mean
    difference. p-values are multiplied by `comparisons` (Bonferroni), at most 1. Raises DiscoError
    when the lengths differ or there are fewer than two turns.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DiscoError(
            f"A paired test needs two equal lists, not shapes {a.shape} and {b.shape}."
        )
    if len(a) < 2:
        raise DiscoError("A paired test needs at least two turns.")
    difference = a - b
    low, high = bootstrap_interval(difference, seed, resamples)
    spread = difference.std(ddof=1)
    # 0.3 - 0.2 and 0.2 - 0.1 differ in their last bits; that is no spread.
    nothing = 1e-12 * max(np.abs(a).max(), np.abs(b).max())
    flat = spread <= nothing
    same = flat and abs(difference.mean()) <= nothing
    p_t = float(same) if flat else float(stats.ttest_rel(a, b).pvalue)
    return Comparison(
        float(difference.mean()),
        low,
        high,
        min(1.0, p_t * comparisons),
        min(1.0, permutation_p(difference, seed, resamples) * comparisons),
        0.0 if flat else float(difference.mean() / spread),
        len(a),
    )


def permutation_p(difference: np.ndarray, seed: int = 0, resamples: int = 10_000) -> float:
    """Two-sided p of mean(difference) when each turn's sign is a coin's throw: (turns,).

    The share of throws whose sum is at least as far from 0 as the observed one. Where 2^turns is
    no more than `resamples`, every throw is counted once; else `resamples` are drawn, and the
    observed one counts as one of them, so p is never 0. A turn without a difference is left out:
    its sign changes nothing.
    """
    kept = difference[difference != 0]
    if len(kept) == 0:
        return 1.0
    every = 2 ** len(kept) <= resamples
    throws = _all_signs(len(kept)) if every else _random_signs(len(kept), seed, resamples)
    # Sums of the same numbers in other orders differ in their last bits.
    far = np.abs(kept.sum()) - 1e-12 * np.abs(kept).sum()
    reached = sum(int((np.abs(signs @ kept) >= far).sum()) for signs in throws)
    return reached / 2 ** len(kept) if every else (reached + 1) / (resamples + 1)


def _all_signs(turns: int) -> Iterator[np.ndarray]:
    places = np.arange(2**turns)[:, None]
    yield 1.0 - 2.0 * ((places >> np.arange(turns)) & 1)


def _random_signs(turns: int, seed: int, resamples: int, batch: int = 1000) -> Iterator[np.ndarray]:
    """Throws in batches: (batch, turns) of -1 and 1, each bit of the generator one coin."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        coins = np.frombuffer(rng.bytes(rows * turns // 8 + 1), np.uint8)
        yield 1.0 - 2.0 * np.unpackbits(coins, count=rows * turns).reshape(rows, turns)


def bootstrap_interval(
    values: np.ndarray, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over turns: values (turns,)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(np.mean(values)), float(np.mean(values))
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        batch=200,  # no other numbers; smaller arrays stay in the processor's cache
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def seed_interval(means: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over seeds; from one seed there is none (NaN, NaN)."""
    if len(means) < 2:
        return float("nan"), float("nan")
    half = stats.sem(means) * stats.t.ppf((1 + level) / 2, len(means) - 1)
    return float(np.mean(means) - half), float(np.mean(means) + half)


def intervals_by(
    values: np.ndarray, groups: Sequence[int], fewest: int = 10
) -> list[tuple[int, float, float, float]]:
    """(group, mean, low, high) of the values (turns,) in each group, in the groups' order.

    A group of fewer than `fewest` turns is left out: its interval would say nothing.
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    chosen = [g for g in np.unique(groups) if (groups == g).sum() >= fewest]
    rows = [(int(g), values[groups == g]) for g in chosen]
    return [(group, float(part.mean()), *bootstrap_interval(part)) for group, part in rows]


def late_and_early(values: np.ndarray, turns: Sequence[Turn]) -> tuple[np.ndarray, np.ndarray]:
    """Mean value of each conversation's later and of its earlier turns: two (conversations,).

    values (turns,). A conversation is cut in the middle of its turns in `turns`, a middle turn
    belongs to the earlier ones; a conversation of one turn is left out.
    """
    by_conversation: dict[str, list[tuple[int, float]]] = {}
    for turn, value in zip(turns, values, strict=True):
        by_conversation.setdefault(turn.conv_id, []).append((turn.depth, float(value)))
    late, early = [], []
    for pairs in by_conversation.values():
        ordered = [value for _, value in sorted(pairs)]
        middle = (len(ordered) + 1) // 2
        if len(ordered) > 1:
            early.append(np.mean(ordered[:middle]))
            late.append(np.mean(ordered[middle:]))
    return np.array(late), np.array(early)
