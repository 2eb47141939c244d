"""Non-inferiority: whether a system keeps at least a share of what another one finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from disco_lib.errors import DiscoError


@dataclass(frozen=True)
class NonInferiority:
    """What a system keeps of a reference, and the one-sided test that it is more than `share`.

    kept: mean(x) / mean(y) of the values x of the system and y of the reference, with its 95 %
    percentile bootstrap interval over turns. p_t, p_bootstrap: of the hypothesis that mean(x) is
    at most share * mean(y), by a paired t-test and by the bootstrap.
    """

    kept: float
    low: float
    high: float
    p_t: float
    p_bootstrap: float
    share: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether both tests reject at 5 % that the system is inferior."""
        return max(self.p_t, self.p_bootstrap) < 0.05


def non_inferiority(
    system: np.ndarray,
    reference: np.ndarray,
    share: float = 0.98,
    seed: int = 0,
    resamples: int = 10_000,
    comparisons: int = 1,
) -> NonInferiority:
    """Test on the same turns that mean(system) > share * mean(reference): values (turns,).

    Tested is the mean of x_i - share * y_i against 0, one-sided. The bootstrap's p is the share of
    resamples of turns in which that mean is 0 or below, the observed sample counting as one of
    them. p-values are multiplied by `comparisons` (Bonferroni), at most 1. Raises DiscoError for
    lengths that differ, fewer than two turns, a reference that finds nothing, and a share outside
    0 to 1.
    """
    x, y = np.asarray(system, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise DiscoError(f"Give two or more turns of both systems, not {x.shape} and {y.shape}.")
    if not 0 < share <= 1:
        raise DiscoError(f"share is {share}; it must lie above 0 and be 1 at most.")
    if y.mean() <= 0:
        raise DiscoError("The reference finds nothing, so no share of it can be kept.")
    above, below = resampled_means(np.stack([x, y]), seed, resamples)
    ratios = above[below > 0] / below[below > 0]
    low, high = np.quantile(ratios, [0.025, 0.975]).tolist()
    lost = np.count_nonzero(above <= share * below)
    return NonInferiority(
        float(x.mean() / y.mean()), low, high,
        min(1.0, _one_sided_t(x - share * y) * comparisons),
        min(1.0, (lost + 1) / (resamples + 1) * comparisons),
        share, len(x),
    )  # fmt: skip


def resampled_means(values: np.ndarray, seed: int = 0, resamples: int = 10_000) -> np.ndarray:
    """Means (systems, resamples) of values (systems, turns) over turns drawn with replacement.

    The turns drawn are the same for all systems. Raises DiscoError for values without a turn.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise DiscoError(f"Give values (systems, turns), not of shape {values.shape}.")
    return values @ _shares_drawn(values.shape[1], seed, resamples).T


@lru_cache(maxsize=2)
def _shares_drawn(turns: int, seed: int, resamples: int) -> np.ndarray:
    # How often each turn is drawn, as a share (resamples, turns).
    rng = np.random.default_rng(seed)
    return rng.multinomial(turns, np.full(turns, 1 / turns), size=resamples) / turns


def _one_sided_t(margin: np.ndarray) -> float:
    # p of a mean of 0 or below. Without any spread there is nothing to test but the sign.
    if np.ptp(margin) <= 1e-12 * max(1.0, np.abs(margin).max()):
        return float(margin.mean() <= 0)
    return float(stats.ttest_1samp(margin, 0.0, alternative="greater").pvalue)
