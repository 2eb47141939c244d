"""Sets of teachers: their mean scores, how sharp these are, and which set is best by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import sparse

from disco_lib import plots
from disco_lib.closeup import evaluate_queries
from disco_lib.conversations import Turn, context_ids
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.metrics import Evaluation, evaluate
from disco_lib.plots import Point
from disco_lib.qrels import qrels_from_dict
from disco_lib.teachers import DistillationRun, mean_over_teachers

# Teachers on the test turns


def teacher_queries(
    lab: Laboratory, names: Sequence[str]
) -> tuple[list[Turn], dict[str, sparse.csr_matrix]]:
    """The test turns that have every one of these rewrites, and {rewrite: query vectors} there."""
    inputs = [f"rewrite:{name}" for name in names]
    turns = lab.ground().turns(lab.tier.test, lab.tier.evaluation, *inputs)
    limits, tokenizer = lab.base_settings.limits, lab.encoder.tokenizer
    vectors = {
        name: lab.encode(
            [context_ids(turn, given, tokenizer, limits) for turn in turns], limits.total
        )
        for name, given in zip(names, inputs, strict=True)
    }
    return turns, vectors


def mean_teachers(
    lab: Laboratory,
    turns: Sequence[Turn],
    vectors: Mapping[str, sparse.csr_matrix],
    sets: Mapping[str, Sequence[str]],
) -> dict[str, Evaluation]:
    """How each set's mean teacher ranks on turns whose query vectors are given for each rewrite.

    A mean of scores is the score of the mean vector, so a set of teachers searches as one query.
    A name that stands in a set several times has as many times the weight.
    """
    return {
        label: evaluate_queries(
            lab, sum(vectors[name] for name in members) / np.float32(len(members)), turns
        )
        for label, members in sets.items()
    }


# Equation 6, on the training turns


def disagreeing(
    teachers: Sequence[DistillationRun], mean: DistillationRun, turns: Sequence[Turn]
) -> list[Turn]:
    """Training turns whose teachers have different best passages, while their mean is right.

    Turns whose positive is best for the mean, and no two teachers agree on the best one; shortest
    conversation first, then shortest utterance. Picked like this they explain, they prove nothing.
    """
    rows = [{turn: i for i, turn in enumerate(run.turn_ids)} for run in (*teachers, mean)]
    found = []
    for turn in turns:
        if not turn.history or any(turn.turn_id not in row for row in rows):
            continue
        *first, best = (
            run.pids[run.documents[row[turn.turn_id], 0]]
            for run, row in zip((*teachers, mean), rows, strict=True)
        )
        if len(set(first)) == len(first) and best in turn.positives:
            found.append(turn)
    return sorted(found, key=lambda turn: (turn.depth, len(turn.utterance)))


def scores_on(
    lab: Laboratory, run: DistillationRun, turn_id: str, places: np.ndarray
) -> np.ndarray:
    """A teacher's scores for documents (n,) of the tier's collection, listed by it or not (n,)."""
    query = run.queries[run.turn_ids.index(turn_id)]
    return (lab.documents[places] @ query.T).toarray().ravel()


def softmax(scores: np.ndarray) -> np.ndarray:
    """Shares exp(s) / sum exp(s) along the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def entropy(scores: np.ndarray) -> np.ndarray:
    """Entropy in nats of the softmax of scores (..., n); at most log n."""
    shares = softmax(scores)
    return -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=-1)


@dataclass(frozen=True)
class Sharpness:
    """For each turn the entropies of single teachers (turns, teachers) and of their mean (turns,).

    Over the same documents: the `window` that the mean ranks best. agreement: share of a turn's
    pairs of teachers with the same best document there (turns,).
    """

    turn_ids: tuple[str, ...]
    singles: np.ndarray
    mean: np.ndarray
    agreement: np.ndarray


def sharpness(
    lab: Laboratory, teachers: Sequence[DistillationRun], mean: DistillationRun, window: int
) -> Sharpness:
    """Entropies of the softmax of scores; of the turns that all the teachers have."""
    rows = [{turn: i for i, turn in enumerate(run.turn_ids)} for run in teachers]
    turns, singles, means, agreement = [], [], [], []
    for row, turn in enumerate(mean.turn_ids):
        places = mean.ranking(row)[0][:window]
        if any(turn not in r for r in rows) or len(places) < 2:
            continue
        documents = lab.documents[places]
        scores = np.stack(
            [
                (documents @ run.queries[r[turn]].T).toarray().ravel()
                for run, r in zip(teachers, rows, strict=True)
            ]
        )
        best = scores.argmax(axis=1)
        pairs = [a == b for i, a in enumerate(best) for b in best[i + 1 :]]
        turns.append(turn)
        singles.append(entropy(scores))
        means.append(entropy(scores.mean(axis=0)))
        agreement.append(np.mean(pairs))
    if not turns:
        raise DiscoError("No turn that all the teachers have.")
    return Sharpness(tuple(turns), np.array(singles), np.array(means), np.array(agreement))


# Where a document lacks a teacher's score


def cut(run: DistillationRun, depth: int) -> DistillationRun:
    """The run as a shallower search would have given it."""
    return replace(run, documents=run.documents[:, :depth], scores=run.scores[:, :depth])


@dataclass(frozen=True)
class Gaps:
    """What lists of one depth lack, and what three ways of filling the gaps make of it.

    missing: share of (document, teacher) pairs without a score among a turn's listed documents;
    among_best: the same among the ten best of the mean of all scores; by_way: {way: mean run}.
    """

    depth: int
    missing: float
    among_best: float
    by_way: Mapping[str, DistillationRun]


def gaps(
    lab: Laboratory, teachers: Sequence[DistillationRun], depth: int, ways: Sequence[str]
) -> Gaps:
    """Cut the teachers' lists to a depth and take their mean in several ways."""
    runs = [cut(run, depth) for run in teachers]
    rows = [{turn: i for i, turn in enumerate(run.turn_ids)} for run in runs]

    def rescore(teacher: int, turn_id: str, places: np.ndarray) -> np.ndarray:
        # A product with a dense vector takes a third of the time of one with a sparse one.
        query = runs[teacher].queries[rows[teacher][turn_id]].toarray().ravel()
        return lab.documents[places] @ query

    by_way = {
        way: mean_over_teachers(runs, way, rescore if way == "rescore" else None) for way in ways
    }
    whole = by_way.get("rescore") or mean_over_teachers(runs, "rescore", rescore)
    lacking, best = [], []
    for row, turn in enumerate(whole.turn_ids):
        listed = [
            set(run.ranking(r[turn])[0].tolist())
            for run, r in zip(runs, rows, strict=True)
            if turn in r
        ]
        union = set().union(*listed)
        top = whole.ranking(row)[0][:10].tolist()
        if union:
            lacking.append(np.mean([len(union - own) / len(union) for own in listed]))
            best.append(np.mean([[place not in own for place in top] for own in listed]))
    return Gaps(depth, float(np.mean(lacking)), float(np.mean(best)), by_way)


def target_values(run: DistillationRun, turns: Sequence[Turn]) -> np.ndarray:
    """MRR@10 of a teacher on the positives of training turns (turns,); all must have one."""
    names = [turn.turn_id for turn in turns]
    qrels = qrels_from_dict({turn.turn_id: dict.fromkeys(turn.positives, 1) for turn in turns})
    return evaluate(qrels, cut(run, 10).to_run(), ["MRR@10"], turn_ids=names).values["MRR@10"]


def shared_best(a: DistillationRun, b: DistillationRun, k: int = 10) -> float:
    """Mean share of the k best documents that two runs of the same turns have in common."""
    rows = {turn: i for i, turn in enumerate(b.turn_ids)}
    shares = [
        len(set(a.ranking(i)[0][:k].tolist()) & set(b.ranking(rows[turn])[0][:k].tolist())) / k
        for i, turn in enumerate(a.turn_ids)
    ]
    return float(np.mean(shares))


# The figure


def set_panels(
    panels: Mapping[str, Mapping[str, Point]],
    marked: Mapping[str, str],
    xlabel: str,
    hollow: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Panels side by side over the same sets of teachers, one row a set: a dot and its interval.

    panels: {title: {set: point}}, the first panel that has a set gives its row; marked: {title: the
    best set}, drawn in vermilion; hollow: {title: sets drawn as hollow dots}. Raises DiscoError
    without a set.
    """
    sets = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    if not sets:
        raise DiscoError("Nothing to draw: give at least one set of teachers.")
    with plots.style():
        figure, axes = plt.subplots(
            1, len(panels), sharey=True, sharex=True, squeeze=False,
            figsize=(plots.WIDTH, 0.34 * len(sets) + 1.0),
        )  # fmt: skip
        for axis, (title, points) in zip(axes.flat, panels.items(), strict=True):
            for place, name in enumerate(sets):
                if name in points:
                    best = marked.get(title) == name
                    _dot(axis, place, points[name], best, name in (hollow or {}).get(title, ()))
            axis.set(title=title, xlabel=xlabel)
            axis.grid(axis="y", visible=False)
        first = axes.flat[0]
        first.set_yticks(range(len(sets)), [name.replace("+", " + ") for name in sets])
        first.set_ylim(len(sets) - 0.5, -0.5)
        first.margins(x=0.12)
        plt.close(figure)
    return figure


def _dot(axis: plt.Axes, place: int, at: Point, best: bool, hollow: bool) -> None:
    colour = plots.COLOURS[1] if best else plots.COLOURS[0]
    axis.errorbar(
        [at.value], [place], xerr=[[at.value - at.low], [at.high - at.value]], color=colour,
        marker="s" if best else "o", markerfacecolor="white" if hollow else colour,
        linestyle="none", elinewidth=1.2,
    )  # fmt: skip
    text = f"{at.value:.3f}" + (" best" if best else "")
    axis.annotate(
        text, (at.value, place), (0, 5), textcoords="offset points", ha="center", fontsize=7.5,
        color=colour if best else "black",
    )  # fmt: skip
