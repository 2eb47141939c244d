"""Out of domain: what another domain means in a collection, and what a system loses there.

Two sets of turns are compared, so nothing is paired: a difference is that of two means.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import sparse, stats

from disco_lib import plots
from disco_lib.claims import paired_values
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.gains import plain_label, span
from disco_lib.papers import Paper
from disco_lib.plots import Point
from disco_lib.portrait import content
from disco_lib.records import Record
from disco_lib.tables import GLUE, Table, p_value
from disco_lib.teachers import DistillationRun
from disco_lib.tiers import AT, Tier, load_tier

#: Rewriters that are no language model, and what they are.
OTHERS = {"gold": "a person", "human": "a person", "hqe": "history expansion"}

# What a query costs before the search


def rewritten_by(tier: Tier, name: str) -> str:
    """Who rewrites a system's queries: "a person", "2 language models", "" for nobody."""
    rewriters, models = tier.rewriters(name), tier.llm_calls(name)
    others = (r for r in rewriters if r not in tier.language_models)
    known = list(dict.fromkeys(OTHERS.get(rewriter, rewriter) for rewriter in others))
    if models:
        known.append("a language model" if models == 1 else f"{models} language models")
    return " and ".join(known)


def results_with_calls(
    tier: Tier, records: Mapping[str, Record], metrics: Sequence[str], digits: int = 3
) -> Table:
    """One row a system: who rewrites, calls a query, and means; the first with its interval."""
    rows = []
    for name, record in records.items():
        low, high = record.intervals[metrics[0]]
        row: dict[str, object] = {"system": plain_label(tier, record)}
        row |= {"rewrite by": rewritten_by(tier, name), "LLM calls": tier.llm_calls(name)}
        row |= {metric: f"{record.mean(metric):.{digits}f}" for metric in metrics}
        row[metrics[0]] = f"{row[metrics[0]]} [{low:.{digits}f},{GLUE}{high:.{digits}f}]"
        rows.append(row)
    return Table.of(rows)


def published_with_calls(
    paper: Paper, table: str, datasets: Sequence[str], metrics: Sequence[str]
) -> Table:
    """The rows of a published table with their calls; a data set's metrics in one cell: "a / b"."""
    rows = []
    for row in paper.tables[table]["rows"]:
        shown = {"method": row["method"], "rewrite": row["rewrite"], "LLM calls": row["llm_calls"]}
        for dataset in datasets:
            values = [row["values"].get(dataset, {}).get(metric) for metric in metrics]
            cell = f"{GLUE}/{GLUE}".join(
                "–" if value is None else f"{value:.3f}" for value in values
            )
            shown[dataset] = cell if any(value is not None for value in values) else ""
        rows.append(shown)
    return Table.of(rows)


def advantage(
    paper: Paper, table: str, better: Sequence[str], worse: Sequence[str]
) -> dict[tuple[str, str], float]:
    """{(data set, metric): relative difference of the means of two sets of published rows}.

    Only cells that all the rows have; raises DiscoError where there is none.
    """
    a, b = ([paper.row(table, method)["values"] for method in side] for side in (better, worse))
    found = {}
    for dataset, metrics in a[0].items():
        for metric in metrics:
            x, y = ([v.get(dataset, {}).get(metric) for v in side] for side in (a, b))
            if None not in (*x, *y):
                found[dataset, metric] = float(np.mean(x) / np.mean(y) - 1)
    if not found:
        raise DiscoError("The rows share no cell with a value: choose others.")
    return found


# What is foreign in a split


def unseen_words(texts: Iterable[str], known: Iterable[str]) -> tuple[float, float]:
    """Shares of a text's content that stands in none of the known texts: (of stems, of uses).

    The first counts every stem once, the second as often as it is used. NaN without content.
    """
    seen = {stem for text in known for stem in content(text)}
    uses = [stem for text in texts for stem in content(text)]
    if not uses:
        return float("nan"), float("nan")
    stems = set(uses)
    return len(stems - seen) / len(stems), sum(stem not in seen for stem in uses) / len(uses)


def said(turns: Iterable[Turn]) -> list[str]:
    """Every utterance and answer of the turns."""
    return [text for turn in turns for text in (turn.utterance, turn.answer)]


def unseen_weight(queries: sparse.csr_matrix, known: sparse.csr_matrix) -> np.ndarray:
    """Share of each vector's weight on terms that no known vector activates (queries,).

    queries and known are over the same vocabulary; a vector without a term has the share 0.
    """
    # Plain arrays and products: a teacher's vectors may be mapped from a file, read-only.
    seen = np.bincount(known.indices[known.data > 0], minlength=queries.shape[1]) > 0
    total = queries @ np.ones(queries.shape[1], dtype=np.float64)
    foreign = queries @ (~seen).astype(np.float64)
    return np.divide(foreign, total, out=np.zeros_like(total), where=total > 0)


def times_shown(turns: Sequence[Turn], teacher: DistillationRun, end: int) -> np.ndarray:
    """Of how many training turns a turn's positive stands among the best `end` (turns,).

    Of several positives the one that stands there most often; 0 without one in the collection.
    """
    listed = teacher.documents[:, :end]
    counts = np.bincount(listed[listed >= 0], minlength=len(teacher.pids))
    often = dict(zip(teacher.pids, counts.tolist(), strict=True))
    return np.array([max((often.get(p, 0) for p in t.positives), default=0) for t in turns])


# What is lost


@dataclass(frozen=True)
class Shift:
    """Means here and there, and there - here with its 95 % interval and p (Welch's t-test)."""

    here: float
    there: float
    difference: float
    low: float
    high: float
    p: float


def shift(
    here: np.ndarray,
    there: np.ndarray,
    comparisons: int = 1,
    seed: int = 0,
    resamples: int = 10_000,
) -> Shift:
    """Compare the values of two sets of turns (m,) and (n,), which share none.

    Percentile bootstrap of both sets; Welch's two-sided t-test, p times `comparisons`
    (Bonferroni), at most 1. Raises DiscoError for fewer than two turns in a set.
    """
    here, there = np.asarray(here, dtype=np.float64), np.asarray(there, dtype=np.float64)
    if min(len(here), len(there)) < 2:
        raise DiscoError("A comparison of two sets of turns needs at least two turns in each.")
    difference = float(there.mean() - here.mean())
    if np.ptp(here) == 0 and np.ptp(there) == 0:
        p = float(difference == 0)
        return Shift(here.mean(), there.mean(), difference, difference, difference, p)
    interval = stats.bootstrap(
        (there, here),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=resamples,
        method="percentile",
        vectorized=True,
        batch=200,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    p = float(stats.ttest_ind(there, here, equal_var=False).pvalue)
    return Shift(
        float(here.mean()), float(there.mean()), difference,
        float(interval.low), float(interval.high), min(1.0, p * comparisons),
    )  # fmt: skip


def lead(a: Record, b: Record, metric: str) -> np.ndarray:
    """The lead of a over b on each turn that both records have (turns,), mean over seeds."""
    x, y = paired_values(a, b, metric)
    return x - y


def by_conversation(record: Record, metric: str) -> np.ndarray:
    """The mean of each conversation's turns (conversations,), mean over seeds.

    Raises DiscoError for a record without conversations.
    """
    if not record.conversations:
        raise DiscoError(f"The record of {record.system} names no conversations: measure it again.")
    values, names = record.per_turn(metric), np.array(record.conversations)
    return np.array([values[names == name].mean() for name in dict.fromkeys(record.conversations)])


def lead_rows(
    tier: Tier,
    here: Mapping[str, Record],
    there: Mapping[str, Record],
    names: Sequence[str],
    over: str,
    metric: str,
) -> list[dict[str, str]]:
    """One row a system: its lead over one other in domain and out of it, and how it changes.

    here, there: records by the systems' names without a place. p: Welch's, times the number of
    systems (Bonferroni).
    """
    rows = []
    for name in names:
        found = shift(
            lead(here[name], here[over], metric),
            lead(there[name], there[over], metric),
            comparisons=len(names),
        )
        rows.append(
            {
                "system": plain_label(tier, here[name]),
                "in domain": f"{found.here:+.3f}",
                "out of domain": f"{found.there:+.3f}",
                "change": span(found.difference, found.low, found.high),
                "p": p_value(found.p),
            }
        )
    return rows


def shift_rows(
    tier: Tier,
    here: Mapping[str, Record],
    there: Mapping[str, Record],
    names: Sequence[str],
    metric: str,
) -> list[dict[str, str]]:
    """One row a system: its means in domain and out of it, what it loses, and as a share."""
    rows = []
    for name in names:
        found = shift(
            here[name].per_turn(metric), there[name].per_turn(metric), comparisons=len(names)
        )
        rows.append(
            {
                "system": plain_label(tier, here[name]),
                "in domain": f"{found.here:.3f}",
                "out of domain": f"{found.there:.3f}",
                "change": span(found.difference, found.low, found.high),
                "of its value": f"{found.difference / found.here:+.0%}" if found.here else "",
                "p": p_value(found.p),
            }
        )
    return rows


def taken_results(
    stored: Mapping[str, Mapping[str, Record]], metrics: Sequence[str]
) -> list[dict[str, object]]:
    """Rows of every stored record of a system that was taken elsewhere, tier by tier; may be [].

    stored: {tier: {system: record}}. The first metric is shown in domain too, where it was run.
    """
    rows = []
    for name, records in stored.items():
        tier = load_tier(name)
        for place, about in tier.elsewhere.items():
            for base in tier.taken_to(place):
                record = records.get(f"{base}{AT}{place}")
                if record is None:
                    continue
                own = records.get(base)
                row: dict[str, object] = {"where": f"{name}: {about.get('label', place)}"}
                row["system"] = plain_label(tier, record)
                row["LLM calls"] = tier.llm_calls(f"{base}{AT}{place}")
                row["in domain"] = "" if own is None else f"{own.mean(metrics[0]):.3f}"
                row |= {metric: f"{record.mean(metric):.3f}" for metric in metrics}
                rows.append(row)
    return rows


# Figures


def dumbbells(
    rows: Mapping[str, tuple[Point, Point]], xlabel: str, names: tuple[str, str]
) -> Figure:
    """One row a system: two dots with their intervals, joined by a line; first row on top.

    names: what the first and the second dot are. Raises DiscoError without a row.
    """
    if not rows:
        raise DiscoError("Nothing to draw: give at least one row.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.36 * len(rows) + 0.9))
        places = np.arange(len(rows))
        for place, (a, b) in zip(places, rows.values(), strict=True):
            ends = [place - 0.11, place + 0.11]
            axis.plot([a.value, b.value], ends, color=plots.GREY, linewidth=2.4, zorder=1)
        for number, name in enumerate(names):
            points = [pair[number] for pair in rows.values()]
            values = np.array([p.value for p in points])
            spread = [values - [p.low for p in points], [p.high for p in points] - values]
            axis.errorbar(
                values, places + (-0.11, 0.11)[number], xerr=spread, label=name,
                linestyle="none", elinewidth=1, marker=plots.MARKERS[number],
                color=plots.COLOURS[number],
            )  # fmt: skip
        axis.set_yticks(places, [textwrap.fill(name, 38) for name in rows])
        axis.set(xlabel=xlabel, xlim=(0, None), ylim=(len(rows) - 0.4, -0.6))
        axis.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=2)
        plt.close(figure)
    return figure
