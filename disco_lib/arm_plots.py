"""Figures of sampling arms: where in a teacher's ranking they draw, and what comes of it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point


def rank_strips(
    rows: Mapping[str, np.ndarray], shares: np.ndarray, positive: int | None = None
) -> Figure:
    """One strip a row with a mark at each drawn rank, below the teacher's cumulative mass.

    rows: {arm: ranks (n,) from 1, 0 for a document that the teacher does not list}; shares
    (listed,): the teacher's probability of each rank, best first; positive: the rank of the
    relevant passage, a line. Documents that are not listed stand in a column at the right. Raises
    DiscoError without a row or a share.
    """
    if not rows or not len(shares):
        raise DiscoError("Nothing to draw: give at least one row and the teacher's shares.")
    beyond = 2.0 * len(shares)
    with plots.style():
        size = (plots.WIDTH, 0.27 * len(rows) + 2.0)
        figure, (above, below) = plt.subplots(
            2, 1, figsize=size, sharex=True, height_ratios=(1.3, 0.27 * len(rows))
        )
        plt.close(figure)
        above.plot(np.arange(1, len(shares) + 1), np.cumsum(shares), color="black", linewidth=1.2)
        above.set(ylabel="mass up\nto here", ylim=(0, 1.05), xscale="log", xlim=(0.8, 1.5 * beyond))
        for place, ranks in enumerate(rows.values()):
            x = np.where(ranks > 0, ranks, beyond)
            look = {"marker": "|", "markersize": 9, "markeredgewidth": 1.1, "linestyle": "none"}
            below.plot(x, np.full(len(x), place), color=plots.COLOURS[0], **look)
            if (outside := int((ranks == 0).sum())) > 0:
                note = {"textcoords": "offset points", "fontsize": 7, "va": "center"}
                below.annotate(f"{outside}", (beyond, place), (5, 0), **note)
        if positive is not None:
            for axis in (above, below):
                axis.axvline(positive, color=plots.COLOURS[1], linestyle="--", linewidth=1)
        ticks = [10**power for power in range(len(str(len(shares)))) if 10**power <= len(shares)]
        below.set_xticks([*ticks, beyond], [*map("{:,}".format, ticks), "not\nlisted"])
        below.xaxis.set_minor_formatter(NullFormatter())
        below.set_yticks(range(len(rows)), list(rows))
        below.set(xlabel="rank in the teacher's ranking", ylim=(len(rows) - 0.5, -0.5))
        below.grid(axis="y", visible=False)
    return figure


def marked_panels(
    panels: Sequence[tuple[str, str, Mapping[str, Point]]], columns: int = 2
) -> Figure:
    """Panels (xlabel, ylabel, {name: point}); a name has one colour and marker in all of them.

    Intervals are vertical lines. Raises DiscoError where no panel has a point.
    """
    names = list(dict.fromkeys(name for _, _, points in panels for name in points))
    if not names:
        raise DiscoError("Nothing to draw: give at least one point.")
    rows = -(-len(panels) // columns)
    with plots.style():
        size = (plots.WIDTH, 2.5 * rows + 0.7)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        plt.close(figure)
        handles: dict[str, Any] = {}
        for axis, (xlabel, ylabel, points) in zip(axes.flat, panels, strict=False):
            for name, point in points.items():
                sides = [[point.value - point.low], [point.high - point.value]]
                handles[name] = axis.errorbar(
                    point.x, point.value, yerr=np.maximum(sides, 0.0), elinewidth=0.8,
                    linestyle="none", markersize=6, **_look(names.index(name)),
                )  # fmt: skip
            axis.set(ylabel=ylabel, xlabel=textwrap.fill(xlabel, 84 // columns))
            if not points:
                axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        ordered = [handles[name] for name in names]
        figure.legend(ordered, names, loc="outside upper left", ncols=3)
    return figure


def _look(number: int) -> dict[str, str]:
    # Seven colours and markers; the second time round they meet in other pairs.
    kinds, again = len(plots.COLOURS), number // len(plots.COLOURS)
    marker = plots.MARKERS[(number + 3 * again) % kinds]
    return {"color": plots.COLOURS[number % kinds], "marker": marker}
