"""The book's figures in one style: each function takes numbers and returns a matplotlib Figure.

Colours are those of Okabe and Ito, which readers with any colour vision tell apart; markers and
line styles differ too. Nothing of matplotlib's global state is left changed, and a figure is not
registered with pyplot: a notebook shows the one that a cell ends with, once.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from disco_lib.errors import DiscoError

#: Blue, vermilion, green, purple, orange, sky blue, black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#B5B5B5"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
SETTINGS = {
    "figure.dpi": 144,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
WIDTH = 7.0


@dataclass(frozen=True)
class Point:
    """A value with its 95 % interval, at x where a figure has an x: all in the axis's units."""

    value: float
    low: float
    high: float
    x: float = 0.0


@contextmanager
def style() -> Iterator[None]:
    """Draw in the book's style inside this context; matplotlib is as it was afterwards."""
    with plt.rc_context(SETTINGS):
        yield


def term_bars(
    panels: Mapping[str, Mapping[str, float]],
    marked: Mapping[str, Collection[str]],
    legend: tuple[str, str],
    xlabel: str = "weight (no unit)",
    k: int = 12,
    columns: int = 3,
) -> Figure:
    """The k heaviest terms of each text as bars, one panel a text.

    panels: {title: {term: weight}}; marked: {title: terms to draw in blue}, the others are grey;
    legend: what blue and grey mean. A panel's scale is its own, from 0 on.
    """
    _some(panels)
    rows = math.ceil(len(panels) / columns)
    with _figure(rows, columns, height=rows * (0.165 * k + 0.85)) as (figure, axes):
        figure.get_layout_engine().set(h_pad=0.08)
        for axis, (title, terms) in zip(axes, panels.items(), strict=False):
            _term_panel(axis, terms, marked.get(title, ()), k)
            axis.set_title(textwrap.fill(title, 78 // columns), loc="left")
            axis.set_xlabel(xlabel)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        keys = [Patch(color=colour) for colour in (COLOURS[0], GREY)]
        spare = len(panels) < rows * columns
        where = axes[-1] if spare else figure
        place = "center" if spare else "outside lower center"
        where.legend(keys, legend, loc=place, ncols=1 if spare else 2)
    return figure


def interval_bars(rows: Mapping[str, Point], xlabel: str) -> Figure:
    """One horizontal bar a row, first row on top, with its interval as a line and its value."""
    _some(rows)
    with _figure(1, 1, height=0.36 * len(rows) + 0.6) as (figure, (axis,)):
        places = np.arange(len(rows))
        values = np.array([p.value for p in rows.values()])
        axis.barh(places, values, color=COLOURS[0], alpha=0.35, height=0.62)
        axis.errorbar(values, places, xerr=_errors(rows.values()), fmt="o", color=COLOURS[0])
        for place, point in zip(places, rows.values(), strict=True):
            text = f"{point.value:.3f}"
            axis.annotate(
                text, (point.high, place), (6, 0), textcoords="offset points", va="center"
            )
        axis.set_yticks(places, list(rows))
        axis.set(xlabel=xlabel, xlim=(0, 1.12 * max(p.high for p in rows.values())))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    return figure


def lines(
    series: Mapping[str, Sequence[Point]], xlabel: str, ylabel: str, log: bool = False
) -> Figure:
    """One line a series through its points, with their intervals as a band."""
    _some(series)
    with _figure(1, 1, height=3.2) as (figure, (axis,)):
        for number, (label, points) in enumerate(series.items()):
            x = [p.x for p in points]
            kind = {"linestyle": DASHES[number % len(DASHES)], **_dot(number)}
            axis.plot(x, [p.value for p in points], label=label, **kind)
            low, high = [p.low for p in points], [p.high for p in points]
            axis.fill_between(x, low, high, color=_colour(number), alpha=0.15, linewidth=0)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.set(yscale="log") if log else axis.set(ylim=(0, None))
        axis.xaxis.get_major_locator().set_params(integer=True)
        _legend(figure, axis)
    return figure


def curves(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    xlabel: str,
    ylabel: str,
    log: bool = False,
) -> Figure:
    """One line a series through (x, y), without markers; log: both axes are logarithmic."""
    _some(series)
    with _figure(1, 1, height=3.2) as (figure, (axis,)):
        for number, (label, (x, y)) in enumerate(series.items()):
            kind = DASHES[number % len(DASHES)]
            axis.plot(x, y, label=label, color=_colour(number), linestyle=kind)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if log:
            axis.set(xscale="log", yscale="log")
        _legend(figure, axis)
    return figure


def scatter(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    xlabel: str,
    ylabel: str,
    names: Mapping[str, tuple[float, float]] | None = None,
    line: tuple[float, str] | None = None,
    log: bool = False,
) -> Figure:
    """One dot a pair (x, y) of each series.

    names: text to write at a place (x, y). line: slope through the origin and what it means.
    """
    _some(series)
    with _figure(1, 1, height=3.6) as (figure, (axis,)):
        for number, (label, (x, y)) in enumerate(series.items()):
            few = {"s": 70, "alpha": 0.9} if len(x) < 10 else {"s": 12, "alpha": 0.6}
            axis.scatter(x, y, label=label, linewidths=0, **few, **_dot(number))
        if line is not None:
            axis.axline((0, 0), slope=line[0], color="black", linewidth=1, label=line[1])
        for text, place in (names or {}).items():
            axis.annotate(text, place, (4, 3), textcoords="offset points", fontsize=8)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if log:
            axis.set(xscale="log", yscale="log")
        else:
            axis.set(xlim=(0, None), ylim=(0, None))
            for side in (axis.xaxis, axis.yaxis):
                if side.get_view_interval()[1] >= 10_000:
                    side.set_major_formatter("{x:,.0f}")
        _legend(figure, axis)
    return figure


def log_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str | Sequence[str],
) -> Figure:
    """Panels {ylabel: {series: (x, y)}} side by side, both axes logarithmic, a marker a point."""
    if not panels:
        raise DiscoError("Nothing to draw: give at least one panel.")
    names = [xlabel] * len(panels) if isinstance(xlabel, str) else list(xlabel)
    with _figure(1, len(panels), height=3.0) as (figure, axes):
        for axis, (ylabel, series), below in zip(axes, panels.items(), names, strict=True):
            for number, (label, (x, y)) in enumerate(series.items()):
                look = {"color": COLOURS[number], "marker": MARKERS[number]}
                axis.plot(x, y, label=label, linestyle=DASHES[number], **look)
            axis.set(xscale="log", yscale="log", xlabel=below, ylabel=ylabel)
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_minor_formatter(NullFormatter())
            if max(x) < 100 * min(x):  # too few powers of ten for ticks
                axis.set_xticks(list(x), [f"{value:,}" for value in x])
            axis.legend(fontsize=7, loc="upper left")
            low, high = axis.get_ylim()
            axis.set_ylim(low, high * (high / low) ** 0.4)  # room for the legend
    return figure


def histogram(values: np.ndarray, xlabel: str, ylabel: str, bins: int = 60) -> Figure:
    """How often values fall into equal bins, as shares of all values."""
    if not len(values):
        raise DiscoError("Nothing to draw: give at least one value.")
    with _figure(1, 1, height=2.6) as (figure, (axis,)):
        share = np.full(len(values), 1 / len(values))
        axis.hist(values, bins=bins, weights=share, color=COLOURS[0])
        axis.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def adjusted(figure: Figure, line: tuple[float, str] | None = None, **axis: Any) -> Figure:
    """A figure of one axis with other settings of that axis, and a dashed line up from x = line."""
    (only,) = figure.axes
    only.set(**axis)
    if line is not None:
        place, text = line
        only.axvline(place, color="black", linestyle="--", linewidth=1)
        top = only.get_xaxis_transform()
        only.annotate(text, (place, 0.93), (4, 0), xycoords=top, textcoords="offset points")
    return figure


@contextmanager
def _figure(rows: int, columns: int, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    with style():
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
        try:
            yield figure, list(axes.flat)
        finally:
            plt.close(figure)


def _term_panel(axis: Axes, terms: Mapping[str, float], marked: Collection[str], k: int) -> None:
    best = sorted(terms.items(), key=lambda item: -item[1])[:k]
    places = np.arange(len(best))
    colours = [COLOURS[0] if term in marked else GREY for term, _ in best]
    axis.barh(places, [weight for _, weight in best], color=colours, height=0.75)
    axis.set_yticks(places, [term for term, _ in best])
    axis.set(ylim=(k - 0.4, -0.6), xlim=(0, None))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def _errors(points: Collection[Point]) -> np.ndarray:
    return np.array([[p.value - p.low for p in points], [p.high - p.value for p in points]])


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dot(number: int) -> dict[str, str]:
    return {"color": _colour(number), "marker": MARKERS[number % len(MARKERS)]}


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if len(handles) > 1:
        columns = max(1, min(len(labels), 90 // (8 + max(map(len, labels)))))
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def _some(rows: Mapping[str, object]) -> None:
    if not rows:
        raise DiscoError("Nothing to draw: give at least one row.")
