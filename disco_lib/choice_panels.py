"""Panels of a metric over choices: settings in their order, whatever the distance between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disco_lib import plots
from disco_lib.claims import paired_values
from disco_lib.errors import DiscoError
from disco_lib.gains import point
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.significance import compare

#: How far series of one panel stand apart, in steps between two choices.
APART = 0.12


@dataclass(frozen=True)
class Panel:
    """One panel: {series: {choice: point}}, and what its axes say.

    choices: texts below the axis, from left to right; a series may lack some of them.
    """

    series: Mapping[str, Mapping[str, Point]]
    choices: Sequence[str]
    xlabel: str
    ylabel: str


def means(records: Mapping[str, Record], metric: str) -> dict[str, Point]:
    """{choice: mean and 95 % interval of the metric over turns} of {choice: record}."""
    return {choice: point(record, metric) for choice, record in records.items()}


def differences(records: Mapping[str, Record], base: str, metric: str) -> dict[str, Point]:
    """{choice: difference from the base's, paired by turn, with its 95 % interval}.

    Of means over seeds; the base itself is 0. Raises DiscoError where it is not among the choices.
    """
    if base not in records:
        raise DiscoError(f"No record of {base!r}; there are: {', '.join(records)}.")
    found = {}
    for choice, record in records.items():
        x, y = paired_values(record, records[base], metric)
        test = compare(x, y)
        found[choice] = Point(test.difference, test.low, test.high)
    return found


def choice_panels(panels: Sequence[Panel], columns: int = 2) -> Figure:
    """The panels in rows; a series has one colour in all of them, and intervals as lines.

    Where a panel holds a value below 0, a dashed line marks 0. Raises DiscoError without a panel,
    and for a point at a choice that its panel does not have.
    """
    if not panels:
        raise DiscoError("Nothing to draw: give at least one panel.")
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    rows = math.ceil(len(panels) / columns)
    with plots.style():
        size = (plots.WIDTH, 2.2 * rows + 0.4)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        plt.close(figure)
        for axis, panel in zip(axes.flat, panels, strict=False):
            _draw(axis, panel, names)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        if len(names) > 1:
            handles = {
                label: handle
                for axis in axes.flat
                for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
            }
            ordered = {name: handles[name] for name in names if name in handles}
            figure.legend(ordered.values(), ordered, loc="outside upper left", ncols=3)
    return figure


def _draw(axis: Axes, panel: Panel, names: Sequence[str]) -> None:
    place = {choice: i for i, choice in enumerate(panel.choices)}
    for name, points in panel.series.items():
        unknown = [choice for choice in points if choice not in place]
        if unknown:
            known = ", ".join(panel.choices)
            raise DiscoError(f"{name}: no choice {unknown[0]!r}; there are: {known}.")
        number = names.index(name)
        shift = APART * (number - (len(names) - 1) / 2)
        values = np.array([p.value for p in points.values()])
        below = values - [p.low for p in points.values()]
        above = [p.high for p in points.values()] - values
        axis.errorbar(
            [place[choice] + shift for choice in points], values,
            yerr=np.maximum([below, above], 0.0),  # equal values: the mean's last digit may differ
            label=name, elinewidth=0.9, color=plots.COLOURS[number % len(plots.COLOURS)],
            marker=plots.MARKERS[number % len(plots.MARKERS)], linewidth=1.0,
            linestyle=plots.DASHES[number % len(plots.DASHES)],
        )  # fmt: skip
    if any(p.low < 0 for points in panel.series.values() for p in points.values()):
        axis.axhline(0, color="black", linestyle="--", linewidth=0.8)
    axis.set_xticks(range(len(panel.choices)), panel.choices)
    axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axis.grid(axis="x", visible=False)
