"""A fusion of one turn, step by step: scores, what they are normalised to, and their mean."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from ranx import Qrels, Run

from disco_lib import plots
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.metrics import evaluate
from disco_lib.tables import GLUE


def min_max(ranking: Mapping[str, float]) -> dict[str, float]:
    """Scores of one turn brought to 0 (the worst listed) ... 1 (the best); equal scores all to 0.

    The last is ranx's rule: a ranking without an order has nothing to say.
    """
    low, high = min(ranking.values()), max(ranking.values())
    if high == low:
        return dict.fromkeys(ranking, 0.0)
    return {pid: (score - low) / (high - low) for pid, score in ranking.items()}


@dataclass(frozen=True)
class Step:
    """One document in the fusion of one turn.

    scores, normal: in each run, None and 0 where a run lacks it; ranks: in each run, from 1, or
    None; mean: of `normal`; relevant: whether it was judged so.
    """

    pid: str
    scores: tuple[float | None, ...]
    normal: tuple[float, ...]
    ranks: tuple[int | None, ...]
    mean: float
    relevant: bool


def steps(rankings: Sequence[Mapping[str, float]], relevant: Collection[str] = ()) -> list[Step]:
    """Every document of some rankings {pid: score} of one turn, by the mean of min-max scores.

    Best first, of equal ones by pid, as `fusion.fuse` orders them. Raises DiscoError for fewer
    than two rankings or an empty one.
    """
    if len(rankings) < 2 or not all(rankings):
        raise DiscoError("A fusion needs at least two rankings with a document each.")
    normal = [min_max(ranking) for ranking in rankings]
    orders = [sorted(ranking, key=lambda pid, r=ranking: -r[pid]) for ranking in rankings]
    ranks = [{pid: place for place, pid in enumerate(order, 1)} for order in orders]
    found = []
    for pid in sorted(set().union(*rankings)):
        shares = tuple(scores.get(pid, 0.0) for scores in normal)
        found.append(
            Step(
                pid, tuple(ranking.get(pid) for ranking in rankings), shares,
                tuple(places.get(pid) for places in ranks), float(np.mean(shares)),
                pid in relevant,
            )
        )  # fmt: skip
    return sorted(found, key=lambda step: (-step.mean, step.pid))


def rows(
    found: Sequence[Step], names: Sequence[str], titles: Mapping[str, str], k: int
) -> list[dict[str, object]]:
    """The k best documents of a fusion as rows of a table, and relevant ones that stand below.

    For each run: the rank, the score and what it is normalised to; blank where the run lacks it.
    """
    shown = [(place, step) for place, step in enumerate(found, 1) if place <= k or step.relevant]
    table = []
    for place, step in shown:
        row: dict[str, object] = {"fused": place}
        row["passage"] = f"{titles[step.pid]}{' ✓' if step.relevant else ''}"
        for name, rank, score, normal in zip(
            names, step.ranks, step.scores, step.normal, strict=True
        ):
            row[f"rank, {name}"] = rank or ""
            row[f"{name}'s score"] = (
                "" if score is None else f"{score:.2f}{GLUE}→{GLUE}{normal:.2f}"
            )
        table.append(row | {"mean": f"{step.mean:.3f}"})
    return table


OUTCOMES = ("above both", "as the better", "between", "as the worse", "below both")


@dataclass(frozen=True)
class Outcomes:
    """Reciprocal ranks of the first relevant passage: the fusion beside its parts.

    counts: {outcome: turns}, in the order of OUTCOMES; turns where all are equal count "as the
    better". by_gain: the turns by what the fusion gains on the better part, largest gain first; of
    equal gains the turn where the worse part does best. Turns picked from its ends explain what a
    fusion can do, they prove nothing.
    """

    counts: Mapping[str, int]
    by_gain: tuple[Turn, ...]


def outcomes(fused: Run, parts: Sequence[Run], qrels: Qrels, turns: Sequence[Turn]) -> Outcomes:
    """Compare a fusion with its parts on every turn."""
    names = [turn.turn_id for turn in turns]
    own, *others = (
        evaluate(qrels, run, ["MRR"], turn_ids=names).values["MRR"] for run in (fused, *parts)
    )
    better, worse = np.max(others, axis=0), np.min(others, axis=0)
    masks = (own > better, own == better, (own < better) & (own > worse), own == worse)
    left = np.ones(len(names), dtype=bool)
    counts = {}
    for outcome, mask in zip(OUTCOMES, (*masks, own < worse), strict=True):
        counts[outcome] = int((mask & left).sum())
        left &= ~mask
    order = np.lexsort((-worse, better - own))
    return Outcomes(counts, tuple(turns[place] for place in order))


def stacked_bars(
    found: Sequence[Step], names: Sequence[str], titles: Mapping[str, str], k: int = 8
) -> Figure:
    """The k best documents of a fusion: what each run adds to the mean, best document on top.

    Raises DiscoError without a document.
    """
    if not found:
        raise DiscoError("Nothing to draw: give at least one document.")
    shown = list(found[:k])
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.32 * len(shown) + 0.9))
        places, left = np.arange(len(shown)), np.zeros(len(shown))
        for number, name in enumerate(names):
            width = np.array([step.normal[number] for step in shown]) / len(names)
            hatch = (None, "///", "...")[number % 3]
            colour = plots.COLOURS[number % len(plots.COLOURS)]
            axis.barh(
                places, width, left=left, height=0.66, label=name, color=colour,
                hatch=hatch, edgecolor="white", linewidth=0,
            )  # fmt: skip
            left += width
        for place, step in zip(places, shown, strict=True):
            ranks = " + ".join(f"{rank or '–'}" for rank in step.ranks)
            axis.annotate(
                f"ranks {ranks}", (left[place], place), (5, 0), fontsize=8,
                textcoords="offset points", va="center",
            )  # fmt: skip
        labels = [
            f"{textwrap.shorten(titles[s.pid], 44, placeholder=' ...')}{' ✓' if s.relevant else ''}"
            for s in shown
        ]
        axis.set_yticks(places, labels)
        axis.set(xlabel="mean of the min-max scores (0 to 1)", xlim=(0, 1.2 * left.max()))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=len(names))
        plt.close(figure)
    return figure
