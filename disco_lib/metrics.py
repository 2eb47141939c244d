"""Retrieval metrics: per-turn values first, means after. Computed by ranx."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ranx
from numba.core.errors import NumbaTypeSafetyWarning
from numba.typed import List as TypedList
from ranx import Qrels, Run

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.runs import run_from_dict

#: The book's names, and how ranx spells them. nDCG has linear gain, as in the papers.
METRICS: dict[str, str] = {
    "MRR@10": "mrr@10",
    "MRR": "mrr",
    "R@10": "recall@10",
    "R@100": "recall@100",
    "nDCG@3": "ndcg@3",
}
#: Those that are computed only where they are asked for.
MORE_METRICS = {"nDCG@10": "ndcg@10"}
_SPELLINGS = METRICS | MORE_METRICS


@dataclass(frozen=True)
class Evaluation:
    """Values of every metric for every turn, in the order of `turn_ids`."""

    turn_ids: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def mean(self) -> dict[str, float]:
        """Mean over turns of each metric."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def evaluate(
    qrels: Qrels,
    run: Run,
    metrics: Sequence[str] = tuple(METRICS),
    turn_ids: Iterable[str] | None = None,
) -> Evaluation:
    """Evaluate a run on the turns that have a relevant passage, or on `turn_ids` among them.

    A turn that the run lacks counts 0; equal scores count in the run's order. Raises DiscoError
    for a metric that is not in METRICS or MORE_METRICS, and for a turn without judgements.
    """
    unknown = [name for name in metrics if name not in _SPELLINGS]
    if unknown:
        raise DiscoError(f"No metric {unknown[0]!r}; there are: {', '.join(_SPELLINGS)}.")
    judged = {
        turn: grades
        for turn, grades in qrels.to_dict().items()
        if any(g > 0 for g in grades.values())
    }
    chosen = tuple(judged) if turn_ids is None else tuple(dict.fromkeys(turn_ids))
    missing = [turn for turn in chosen if turn not in judged]
    if missing:
        raise DiscoError(f"Turn {missing[0]!r} has no relevant passage in the qrels.")
    if not chosen:
        raise DiscoError("No turn to evaluate: the qrels hold no relevant passage.")
    results = run.to_dict() if len(run) else {}
    spelled = [_SPELLINGS[name] for name in metrics]
    with warnings.catch_warnings():
        # Told once, when ranx is compiled for the first time.
        warnings.simplefilter("ignore", NumbaTypeSafetyWarning)
        table = ranx.evaluate(
            TypedList([_judgements(judged[turn]) for turn in chosen]),
            TypedList([_by_rank(results.get(turn, {}), judged[turn]) for turn in chosen]),
            [*spelled, *spelled],  # of a single metric's values ranx loses the name
            return_mean=False,
        )
    return Evaluation(chosen, {name: table[_SPELLINGS[name]] for name in metrics})


def remove_earlier_answers(run: Run, turns: Iterable[Turn], texts: Mapping[str, str]) -> Run:
    """Take the answers that a conversation has already given out of its turns' rankings.

    In a collection of answers, a query made of the whole conversation finds what was said before
    word for word, which no reader wants. texts: {pid: text of the passage}. A passage is removed
    from a turn when its text is an answer of the turn's history, unless it is the turn's positive.
    """
    by_text: dict[str, list[str]] = {}
    for pid, text in texts.items():
        by_text.setdefault(_plain(text), []).append(pid)
    results = run.to_dict() if len(run) else {}
    for turn in turns:
        ranking = results.get(turn.turn_id)
        if not ranking:
            continue
        said = {pid for _, answer in turn.history for pid in by_text.get(_plain(answer), ())}
        gone = said - set(turn.positives)
        results[turn.turn_id] = {pid: s for pid, s in ranking.items() if pid not in gone}
    return run_from_dict(results)


# What ranx computes with: rows of (document, grade) and of (document, score), best first, where a
# turn's judged documents are numbered from 0 in the order of the judgements.


def _judgements(grades: Mapping[str, int]) -> np.ndarray:
    rows = np.array(list(enumerate(grades.values())), dtype=np.float64)
    return rows[np.argsort(-rows[:, 1], kind="stable")]


def _by_rank(ranking: Mapping[str, float], grades: Mapping[str, int]) -> np.ndarray:
    numbers = {pid: number for number, pid in enumerate(grades)}
    scores = list(ranking.values())
    ordered = scores == sorted(scores, reverse=True)
    best = list(ranking) if ordered else sorted(ranking, key=ranking.__getitem__, reverse=True)
    relevant = [best.index(pid) for pid, grade in grades.items() if grade > 0 and pid in ranking]
    # No metric looks further than the last relevant document; ranx needs one for every turn.
    documents = [numbers.get(pid, -1) for pid in best[: max(relevant, default=-1) + 1]] or [-1]
    return np.column_stack([documents, -np.arange(len(documents), dtype=np.float64)])


def _plain(text: str) -> str:
    return " ".join(text.split())
