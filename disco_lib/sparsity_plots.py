"""Figures of what sparsity costs and of how systems fare with depth: 5 and 6 of DiSCo."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from disco_lib import plots
from disco_lib.errors import DiscoError
from disco_lib.plots import Point

#: Where a text may stand beside its dot, the best place first: points to the right and up.
SIDES = [
    (right, sign * up, "left" if right > 0 else "right")
    for up in (7, 16, 25, 34)
    for right in (6, -6)
    for sign in (1, -1)
]


def trade_off(
    path: Mapping[str, Point],
    others: Mapping[str, Mapping[str, Point]],
    xlabel: str,
    ylabel: str,
    title: str = "students",
) -> Figure:
    """Figure 5: one line through the points of a grid, in the order given, others as dots.

    path: {text beside the point: point}, named `title` in the legend; others: {series: {text:
    point}}. Every point has its interval as a line.
    """
    if not path:
        raise DiscoError("Nothing to draw: give at least one point.")
    series = {title: path, **others}
    texts: list[tuple[str, tuple[float, float], str]] = []
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 4.4))
        for number, (label, points) in enumerate(series.items()):
            look = _look(number)
            axis.errorbar(
                [p.x for p in points.values()],
                [p.value for p in points.values()],
                yerr=_errors(points.values()),
                label=label, linestyle="-" if number == 0 else "", elinewidth=0.8, **look,
            )  # fmt: skip
            texts += [(text, (p.x, p.value), look["color"]) for text, p in points.items()]
        axis.set(xlabel=xlabel, ylabel=ylabel)
        places = [x for _, (x, _), _ in texts]
        if min(places) > 0:
            axis.set(xscale="log", xlim=(0.85 * min(places), 1.5 * max(places)))
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            axis.set(xlim=(0, 1.2 * max(places)))
        figure.legend(loc="outside upper left", ncols=min(3, len(series)))
        place_texts(figure, axis, texts, [list(path.values())])
        plt.close(figure)
    return figure


def fitted(series: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """One dot a pair (x, y) of each series, and the line that fits all of them best."""
    if not series:
        raise DiscoError("Nothing to draw: give at least one point.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 3.4))
        for number, (name, (x, y)) in enumerate(series.items()):
            axis.plot(x, y, linestyle="", label=name, alpha=0.8, **_look(number))
        x, y = (np.concatenate(side) for side in zip(*series.values(), strict=True))
        if np.ptp(x) > 0:
            slope, fixed = np.polyfit(x, y, 1)
            ends = np.array([0.0, x.max()])
            line = {"color": "black", "linewidth": 1, "label": "least squares"}
            axis.plot(ends, fixed + slope * ends, **line)
        axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, None))
        figure.legend(loc="outside upper left", ncols=3)
        plt.close(figure)
    return figure


def depth_panels(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    counts: Mapping[int, int],
    log: Collection[str] = (),
    xlabel: str = "depth of the turn",
) -> Figure:
    """Figure 6: panels {ylabel: {series: points by depth}} side by side, turns counted below.

    Intervals are bands; a series has the same colour in every panel. log: ylabels of the panels
    with a logarithmic axis.
    """
    if not panels or not counts:
        raise DiscoError("Nothing to draw: give at least one panel and the number of turns.")
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    shape = {"figsize": (plots.WIDTH, 4.2), "squeeze": False, "sharex": "col"}
    with plots.style():
        figure, axes = plt.subplots(2, len(panels), height_ratios=(5, 1), **shape)
        for column, (ylabel, given) in enumerate(panels.items()):
            above, below = axes[0][column], axes[1][column]
            for name, points in given.items():
                _band(above, name, names.index(name), points)
            above.set(ylabel=ylabel)
            if ylabel in log:
                above.set(yscale="log")
                above.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                above.yaxis.set_major_formatter("{x:g}")
                above.yaxis.set_minor_formatter(NullFormatter())
            elif min((p.low for points in given.values() for p in points), default=0) < 0:
                above.axhline(0, color="black", linestyle="--", linewidth=1)
            else:
                above.set(ylim=(0, None))
            below.bar(list(counts), list(counts.values()), color=plots.GREY)
            below.set(xlabel=xlabel, ylabel="turns")
            below.xaxis.get_major_locator().set_params(integer=True)
            below.grid(axis="x", visible=False)
        found = axes[0][0].get_legend_handles_labels()
        if len(names) > 1:
            figure.legend(*found, loc="outside upper left", ncols=2)
        plt.close(figure)
    return figure


def difference_bars(rows: Mapping[str, Point], xlabel: str) -> Figure:
    """One dot a row with its interval, first row on top, and a dashed line at no difference."""
    if not rows:
        raise DiscoError("Nothing to draw: give at least one row.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.42 * len(rows) + 0.8))
        places = np.arange(len(rows))
        values = np.array([p.value for p in rows.values()])
        look = {"fmt": "o", "color": plots.COLOURS[0], "capsize": 3}
        axis.errorbar(values, places, xerr=_errors(rows.values()), **look)
        axis.axvline(0, color="black", linestyle="--", linewidth=1)
        axis.set_yticks(places, list(rows))
        axis.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
        axis.grid(axis="y", visible=False)
        plt.close(figure)
    return figure


def _band(axis: Axes, name: str, number: int, points: Sequence[Point]) -> None:
    x = [p.x for p in points]
    look = {"linestyle": plots.DASHES[number % len(plots.DASHES)], **_look(number)}
    axis.plot(x, [p.value for p in points], label=name, **look)
    low, high = [p.low for p in points], [p.high for p in points]
    axis.fill_between(x, low, high, color=look["color"], alpha=0.13, linewidth=0)


def place_texts(
    figure: Figure,
    axis: Axes,
    texts: Sequence[tuple[str, tuple[float, float], str]],
    lines: Sequence[Sequence[Point]],
) -> None:
    """Write (text, place (x, y), colour) beside each place of a figure that is otherwise drawn.

    Where a text covers no dot, no other text and none of the lines, if there is such a place.
    """
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    dots = [axis.transData.transform(place) for _, place, _ in texts]
    along = []
    for line in lines:
        ends = [axis.transData.transform((p.x, p.value)) for p in line]
        pairs = zip(ends[:-1], ends[1:], strict=True)
        along += [p + t * (q - p) for p, q in pairs for t in np.linspace(0, 1, 40)]
    taken = [_square(dot, 5) for dot in dots] + [_square(place, 1) for place in along]
    for text, place, colour in texts:
        look = {"textcoords": "offset points", "fontsize": 7.5, "color": colour, "va": "center"}
        for right, up, side in SIDES:
            note = axis.annotate(text, place, (right, up), ha=side, **look)
            box = note.get_window_extent(renderer)
            inside = axis.bbox.contains(box.x0, box.y0) and axis.bbox.contains(box.x1, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
            note.remove()
        else:
            right, up, side = SIDES[0]
            box = axis.annotate(text, place, (right, up), ha=side, **look).get_window_extent()
        taken.append(box)


def _square(centre: np.ndarray, half: float) -> Bbox:
    (x, y) = centre
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _errors(points: Collection[Point]) -> np.ndarray:
    # Of equal values the mean may lie beside the interval by its last digit.
    sides = [[p.value - p.low for p in points], [p.high - p.value for p in points]]
    return np.maximum(sides, 0.0)


def _look(number: int) -> dict[str, Any]:
    colours, markers = plots.COLOURS, plots.MARKERS
    return {"color": colours[number % len(colours)], "marker": markers[number % len(markers)]}
