"""Figures over the number of samples: panels one above the other that share a doubling axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point

#: How far series of one panel stand apart, as a factor of x.
APART = 1.07


@dataclass(frozen=True)
class Panel:
    """One panel: {series: points with their intervals}, and what else is drawn in it.

    fitted: {series: (x, y)}, a smooth line in the series' colour; its points are then not joined.
    levels: {text: y}, dashed horizontal lines. log: whether the vertical axis is logarithmic.
    """

    ylabel: str
    series: Mapping[str, Sequence[Point]]
    fitted: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    log: bool = False


def stacked(panels: Sequence[Panel], xlabel: str) -> Figure:
    """The panels from top to bottom over one logarithmic x axis, ticked where there are points.

    A series has one colour in all panels; intervals are vertical lines. Raises DiscoError without
    a point, for an x that is not above 0, and for a fitted line of a series that is not there.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    every = sorted({p.x for panel in panels for points in panel.series.values() for p in points})
    if not every:
        raise DiscoError("Nothing to draw: give at least one point.")
    if every[0] <= 0:
        raise DiscoError(f"x is {every[0]:g}; a logarithmic axis has none at 0 or below.")
    with plots.style():
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(plots.WIDTH, 2.3 * len(panels) + 0.7), sharex=True,
            squeeze=False,
        )  # fmt: skip
        plt.close(figure)
        handles = {}
        for axis, panel in zip(axes.flat, panels, strict=True):
            handles |= _draw(axis, panel, names)
        below = axes.flat[-1]
        below.set_xscale("log", base=2)
        below.set_xticks(every, [f"{x:g}" for x in every])
        below.xaxis.set_minor_locator(NullLocator())
        below.set(xlabel=xlabel)
        if len(handles) > 1:
            figure.legend(handles.values(), handles, loc="outside upper left", ncols=3)
    return figure


def _draw(axis: Axes, panel: Panel, names: Sequence[str]) -> dict[str, object]:
    unknown = [name for name in panel.fitted if name not in panel.series]
    if unknown:
        raise DiscoError(f"A line is fitted to {unknown[0]!r}, of which the panel has no point.")
    handles = {}
    for i, (name, points) in enumerate(panel.series.items()):
        number = names.index(name)
        shift = APART ** (i - (len(panel.series) - 1) / 2)
        look = {"color": plots.COLOURS[number % len(plots.COLOURS)]}
        dashes = plots.DASHES[number % len(plots.DASHES)]
        sides = [[p.value - p.low for p in points], [p.high - p.value for p in points]]
        handles[name] = axis.errorbar(
            [p.x * shift for p in points], [p.value for p in points],
            yerr=np.maximum(sides, 0.0),  # of equal values the mean's last digit may differ
            linestyle="none" if name in panel.fitted else dashes, elinewidth=0.9,
            marker=plots.MARKERS[number % len(plots.MARKERS)], linewidth=1.2, **look,
        )  # fmt: skip
        if name in panel.fitted:
            axis.plot(*panel.fitted[name], linestyle=dashes, linewidth=1.2, **look)
    for text, level in panel.levels.items():
        axis.axhline(level, color="black", linestyle="--", linewidth=0.9)
        axis.annotate(
            text, (0.99, level), (0, 3), xycoords=axis.get_yaxis_transform(), ha="right",
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    axis.set(ylabel=panel.ylabel)
    if panel.log:
        axis.set(yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    return handles
