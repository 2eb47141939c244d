"""The figure of what is kept for what is saved: shares of a metric over reductions of FLOPS."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point
from disco_lib.sparsity_plots import place_texts


def kept_curves(
    families: Mapping[str, Mapping[str, Point]],
    xlabel: str,
    ylabel: str,
    share: float,
    factor: float,
) -> Figure:
    """One line a family {name: {text: point}}, through its points from the least reduction on.

    A point is the share of the metric that is kept, with its interval, at x times fewer FLOPS; its
    text stands beside it. Dashed lines mark the share that has to be kept and the factor that has
    to be reached. A point without a finite x, a query that costs nothing, is left out. Raises
    DiscoError where nothing is left, and for an x that is not above 0.
    """
    drawn = {
        name: {text: p for text, p in points.items() if np.isfinite(p.x)}
        for name, points in families.items()
    }
    places = [p.x for points in drawn.values() for p in points.values()]
    if not places:
        raise DiscoError("Nothing to draw: give at least one point.")
    if min(places) <= 0:
        raise DiscoError(f"x is {min(places):g}; a reduction is a factor above 0.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 4.2))
        texts: list[tuple[str, tuple[float, float], str]] = []
        lines: list[list[Point]] = []
        for number, (name, points) in enumerate(drawn.items()):
            ordered = sorted(points.items(), key=lambda item: item[1].x)
            sides = [[p.value - p.low, p.high - p.value] for _, p in ordered]
            colour = plots.COLOURS[number % len(plots.COLOURS)]
            axis.errorbar(
                [p.x for _, p in ordered], [p.value for _, p in ordered],
                yerr=np.maximum(np.array(sides).T, 0.0) if sides else None, label=name,
                color=colour, elinewidth=0.8, linewidth=1.2,
                marker=plots.MARKERS[number % len(plots.MARKERS)],
                linestyle=plots.DASHES[number % len(plots.DASHES)],
            )  # fmt: skip
            texts += [(text, (p.x, p.value), colour) for text, p in ordered]
            lines.append([p for _, p in ordered])
        axis.axhline(share, color="black", linestyle="--", linewidth=0.9)
        axis.axvline(factor, color="black", linestyle="--", linewidth=0.9)
        axis.set_xscale("log", base=2)
        powers = np.arange(np.floor(np.log2(min(places))), np.ceil(np.log2(max(places))) + 1)
        axis.set_xticks(2.0**powers, [f"{x:g}" for x in 2.0**powers])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter("{x:.0%}")
        axis.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside upper left", ncols=2)
        place_texts(figure, axis, texts, lines)
        plt.close(figure)
    return figure
