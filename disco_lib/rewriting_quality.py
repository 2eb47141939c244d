"""Rewrites compared: the words that they lose, borrow and invent, and what a search makes of them.

A careful rewrite is the reference. Words count by their stems, and only those that carry content.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from disco_lib import plots
from disco_lib.bm25 import stems
from disco_lib.claims import ALPHA, NOT, PARTLY, REPRODUCED, Finding, Verdict
from disco_lib.conversations import Turn, context_ids
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.metrics import Evaluation, evaluate, remove_earlier_answers
from disco_lib.papers import Claim, Comparison
from disco_lib.plots import Point
from disco_lib.portrait import FUNCTION_WORDS, content
from disco_lib.significance import bootstrap_interval, compare
from disco_lib.wording import words

#: Words that point to something said before. "That" also joins clauses: compare, do not count.
PRONOUNS = frozenset(
    "it its they them their theirs he him his she her hers this that these those".split()
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

# Words


@dataclass(frozen=True)
class Wording:
    """A rewrite's content words beside a reference's, each once, in their order.

    kept: the reference's that the rewrite has; lost: those that it lacks; borrowed: others that
    somebody has said before; invented: others that nobody has said. pronouns: those that it has.
    """

    kept: tuple[str, ...]
    lost: tuple[str, ...]
    borrowed: tuple[str, ...]
    invented: tuple[str, ...]
    pronouns: tuple[str, ...]


def wording(turn: Turn, text: str, reference: str) -> Wording:
    """Compare a rewrite of a turn with a reference, by the stems of their content words."""
    ours, theirs = _by_stem(text), _by_stem(reference)
    said = set(content(" ".join([turn.utterance, *(s for pair in turn.history for s in pair)])))
    foreign = {stem: word for stem, word in ours.items() if stem not in theirs}
    return Wording(
        tuple(word for stem, word in theirs.items() if stem in ours),
        tuple(word for stem, word in theirs.items() if stem not in ours),
        tuple(word for stem, word in foreign.items() if stem in said),
        tuple(word for stem, word in foreign.items() if stem not in said),
        tuple(word for word in words(text) if word in PRONOUNS),
    )


def _by_stem(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words(text):
        if word not in FUNCTION_WORDS:
            for stem in stems(word):
                found.setdefault(stem, word)
    return found


def own_words(turn: Turn, text: str) -> str:
    """A rewrite without the utterance that it begins with; all of it where nothing else is left."""
    return text.strip().removeprefix(turn.utterance.strip()).strip() or text.strip()


def wording_row(found: Sequence[Wording]) -> dict[str, str]:
    """Mean counts a turn of words kept, lost, borrowed and invented; turns with a pronoun left.

    Raises DiscoError without a wording.
    """
    if not found:
        raise DiscoError("No rewrite to compare: give at least one.")

    def mean(part: str) -> float:
        return float(np.mean([len(getattr(one, part)) for one in found]))

    row = {"kept": f"{mean('kept'):.1f} of {mean('kept') + mean('lost'):.1f}"}
    row |= {part: f"{mean(part):.1f}" for part in ("lost", "borrowed", "invented")}
    return row | {"with a pronoun": f"{np.mean([bool(one.pronouns) for one in found]):.0%}"}


def mended(text: str, found: Wording, add: bool = True, remove: bool = False) -> str:
    """A rewrite with the lost words added at its end, and without the words it has too many.

    found: what `wording` says of this text.
    """
    if remove:
        gone = {s for word in (*found.borrowed, *found.invented) for s in stems(word)}
        # Only content words: "his" has the stem of "hi", and says nothing that was invented.
        text = _WORD.sub(
            lambda match: "" if gone.intersection(_by_stem(match.group())) else match.group(), text
        )
    return " ".join([*text.split(), *(found.lost if add else ())])


# Searches


def evaluate_texts(
    lab: Laboratory, turns: Sequence[Turn], texts: Sequence[str], split: str
) -> Evaluation:
    """Search with one text for each turn of a split, encoded as the tier encodes rewrites.

    Raises DiscoError for another number of texts than of turns.
    """
    if len(turns) != len(texts):
        raise DiscoError(f"{len(texts)} texts for {len(turns)} turns: give one for each.")
    limits, tokenizer = lab.base_settings.limits, lab.encoder.tokenizer
    given = [replace(t, rewrites={"x": text}) for t, text in zip(turns, texts, strict=True)]
    ids = [context_ids(turn, "rewrite:x", tokenizer, limits) for turn in given]
    names = [turn.turn_id for turn in turns]
    run = lab.index.search(lab.encode(ids, limits.total), lab.tier.depth, names)
    if lab.tier.evaluation.get("remove_earlier_answers", False):
        run = remove_earlier_answers(run, turns, lab.texts)
    return evaluate(lab.collection.qrels(split), run, turn_ids=names)


def point(values: np.ndarray) -> Point:
    """Mean over turns and its 95 % interval."""
    return Point(float(np.mean(values)), *bootstrap_interval(np.asarray(values)))


def foremost(turns: Sequence[Turn], values: np.ndarray, count: int) -> list[Turn]:
    """The turns of the largest values, at most one a conversation; of equal ones the first."""
    chosen: list[Turn] = []
    for place in np.argsort(-np.asarray(values), kind="stable"):
        if len(chosen) < count and turns[place].conv_id not in {t.conv_id for t in chosen}:
            chosen.append(turns[place])
    return chosen


def ranked_script(
    turn: Turn, texts: Mapping[str, str], reciprocal: Mapping[str, float], width: int = 68
) -> str:
    """A turn with what each system searched for, as lines of at most `width` characters.

    texts: {system: text}; reciprocal: {system: reciprocal rank of the first relevant passage}. The
    rank stands before the text; "-" is one that was not found. The system "utterance" is the one
    that searched for what the user said.
    """
    rows = dict(zip(("before", "answer"), turn.history[-1], strict=True)) if turn.history else {}
    if "utterance" not in texts:
        rows["user"] = turn.utterance
    for name, text in texts.items():
        value = reciprocal[name]
        rows[name] = f"[{round(1 / value) if value > 0 else '-'}] {text}"
    margin = max(map(len, rows)) + 4
    lines = [f"{turn.turn_id}" + (f", {turn.kind}" if turn.kind else "")]
    for name, text in rows.items():
        shown = f"{'  ' + name + ':':{margin}}{' '.join(text.split()) or '(no answer is kept)'}"
        lines.append(textwrap.fill(shown, width, subsequent_indent=" " * margin))
    return "\n".join(lines)


# By kind of turn


def by_kind(
    turns: Sequence[Turn], values: np.ndarray, fewest: int = 10
) -> dict[str, tuple[int, Point]]:
    """Turns of each kind, with the mean of their values and its 95 % interval; commonest first.

    A kind of fewer than `fewest` turns is left out; {} where no turn has a kind.
    """
    kinds: dict[str, list[float]] = {}
    for turn, value in zip(turns, values, strict=True):
        if turn.kind:
            kinds.setdefault(turn.kind, []).append(float(value))
    found = {kind: (len(v), point(np.array(v))) for kind, v in kinds.items() if len(v) >= fewest}
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def kind_dots(series: Mapping[str, Mapping[str, tuple[int, Point]]], xlabel: str) -> Figure:
    """One row a kind with its number of turns, one dot a series with its interval as a line.

    series: {name: by_kind(...)}; the first gives the order. Raises DiscoError without a kind.
    """
    kinds = list(dict.fromkeys(kind for rows in series.values() for kind in rows))
    if not kinds:
        raise DiscoError("Nothing to draw: no turn has a kind.")
    counts = {kind: rows[kind][0] for rows in series.values() for kind in rows}
    step = 0.66 / len(series)
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.5 * len(kinds) + 0.9))
        for number, (label, rows) in enumerate(series.items()):
            shift = (number - (len(series) - 1) / 2) * step
            places = [place + shift for place, kind in enumerate(kinds) if kind in rows]
            points = [rows[kind][1] for kind in kinds if kind in rows]
            values = np.array([p.value for p in points])
            spread = [values - [p.low for p in points], [p.high for p in points] - values]
            axis.errorbar(
                values, places, xerr=spread, label=label, linestyle="none", elinewidth=1,
                marker=plots.MARKERS[number], color=plots.COLOURS[number],
            )  # fmt: skip
        axis.set_yticks(range(len(kinds)), [f"{kind} ({counts[kind]})" for kind in kinds])
        axis.set(xlabel=xlabel, xlim=(0, 1))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=len(series))
        plt.close(figure)
    return figure


# The verdict


def judge_values(
    claim: Claim,
    tier: str,
    pairs: Sequence[tuple[str, str, np.ndarray, np.ndarray]],
    metric: str,
) -> Verdict:
    """A verdict from "a is greater than b" on each (name of a, name of b, values a, values b).

    Values are paired by turn (turns,). The rule is that of `claims.judge` for one seed: positive,
    and p < 0.05 after Bonferroni's correction; all must hold for "reproduced".
    """
    findings = []
    for a, b, x, y in pairs:
        test = compare(x, y, comparisons=len(pairs))
        points = test.difference > 0
        findings.append(
            Finding(
                Comparison(a, b, metric, "greater"), test.difference, (test.low, test.high),
                test.p_t, test.n, points and test.p_t < ALPHA, points,
            )
        )  # fmt: skip
    holding = [finding.holds for finding in findings]
    partly = any(holding) or all(finding.points for finding in findings)
    outcome = REPRODUCED if all(holding) else PARTLY if partly else NOT
    return Verdict(claim, tier, outcome, tuple(findings))
