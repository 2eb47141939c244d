"""Figures of similarity scores: distributions over each other, and a radar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.plots import COLOURS, DASHES, style


def densities(
    scores: Mapping[str, np.ndarray], points: int = 200
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel density estimates {name: (x, density)} for `plots.curves`, on one range of x.

    scores: {name: (n,)}. Gaussian kernels of Scott's width. Raises DiscoError for fewer than two
    different scores.
    """
    for name, values in scores.items():
        if len(np.unique(values)) < 2:
            raise DiscoError(f"{name}: a density needs two different scores at least.")
    every = np.concatenate(list(scores.values()))
    x = np.linspace(every.min(), every.max(), points)
    return {name: (x, stats.gaussian_kde(values)(x)) for name, values in scores.items()}


def cumulative(scores: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Empirical distribution functions {name: (x, share of scores up to x)} for `plots.curves`."""
    return {
        name: (np.sort(values), np.arange(1, len(values) + 1) / len(values))
        for name, values in scores.items()
    }


def radar(series: Mapping[str, Mapping[str, float]], ticks: Sequence[float] = (0.5, 1.0)) -> Figure:
    """A radar chart: one closed line a series over its metrics, all in [0, 1].

    series: {name: {metric: value}}, the same metrics in each. Raises DiscoError for fewer than
    three metrics, metrics that differ, and values outside [0, 1].
    """
    metrics = list(next(iter(series.values()), {}))
    if len(metrics) < 3:
        raise DiscoError(f"A radar chart of {len(metrics)} metrics; it takes 3 or more.")
    for name, values in series.items():
        if list(values) != metrics:
            raise DiscoError(f"{name}: its metrics are {', '.join(values)}, not as in the others.")
        if not all(0 <= value <= 1 for value in values.values()):
            raise DiscoError(f"{name}: a value lies outside 0 to 1.")
    angles = np.linspace(0, 2 * np.pi, len(metrics), endpoint=False)
    with style():
        figure, axis = plt.subplots(figsize=(5.2, 4.2), subplot_kw={"projection": "polar"})
        for number, (name, values) in enumerate(series.items()):
            colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
            around = np.append(list(values.values()), next(iter(values.values())))
            axis.plot(
                np.append(angles, angles[0]), around, color=colour, linestyle=dash, label=name
            )
            axis.fill(np.append(angles, angles[0]), around, color=colour, alpha=0.08)
        axis.set_xticks(angles, metrics)
        axis.set_yticks(list(ticks))
        axis.set_ylim(0, 1)
        figure.legend(loc="outside lower center", ncols=min(4, len(series)))
        plt.close(figure)
    return figure
