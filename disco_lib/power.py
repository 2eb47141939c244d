"""How small a difference a paired test could have found: what a null result is worth."""

from __future__ import annotations

import numpy as np
from scipy import stats

from disco_lib.errors import DiscoError


def detectable_difference(
    a: np.ndarray,
    b: np.ndarray,
    comparisons: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The mean difference that a paired t-test finds with probability `power`, in a's units.

    a, b: values (turns,), whose spread of differences s it is for. With n turns and m comparisons
    (Bonferroni), two-sided: (t_{1 - alpha / 2m} + t_{power}) s / sqrt(n), quantiles of Student's t
    with n - 1 degrees of freedom. Raises DiscoError for lists that differ in length, for fewer than
    two turns, and for a probability that is none.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise DiscoError(f"Two equal lists of two turns or more, please, not {a.shape}, {b.shape}.")
    if not (0 < power < 1 and 0 < alpha < 1) or comparisons < 1:
        raise DiscoError("power and alpha lie between 0 and 1, and comparisons are 1 or more.")
    error = (a - b).std(ddof=1) / np.sqrt(len(a))
    quantiles = stats.t.ppf([1 - alpha / (2 * comparisons), power], len(a) - 1)
    return float(quantiles.sum() * error)
