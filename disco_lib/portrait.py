"""What a collection looks like: sizes, depth, topic switches, lengths, kinds, rewriters, overlap.

Everything is counted from turns and passages. The functions return numbers, or rows for a
`tables.Table`; the two figures at the end are those that `plots` does not have.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase

from disco_lib import plots
from disco_lib.bm25 import stems
from disco_lib.conversations import Limits, Turn, context_ids
from disco_lib.datasets import Collection
from disco_lib.errors import DiscoError
from disco_lib.papers import Paper
from disco_lib.plots import Point
from disco_lib.significance import intervals_by
from disco_lib.verification import Check
from disco_lib.wording import words

#: BM25's own list of stop words is short and keeps "what" and "do".
FUNCTION_WORDS = frozenset(STOPWORDS_EN_PLUS)
USUAL_ORDER = ("train", "dev", "test")
#: No conversation is as long, so nothing is cut.
UNCUT = Limits(utterance=10**6, answer=10**6, total=10**9)

# Sizes


def turns_by_split(collection: Collection) -> dict[str, list[Turn]]:
    """All turns of each split: train, dev, test, then the others by name."""
    known = [split for split in USUAL_ORDER if split in collection.splits]
    others = [split for split in collection.splits if split not in USUAL_ORDER]
    return {split: collection.iter_turns(split) for split in [*known, *others]}


def by_conversation(turns: Iterable[Turn]) -> dict[str, list[Turn]]:
    """The turns of each conversation by depth; conversations in the order of their first turn."""
    found: dict[str, list[Turn]] = {}
    for turn in turns:
        found.setdefault(turn.conv_id, []).append(turn)
    return {name: sorted(rows, key=lambda turn: turn.depth) for name, rows in found.items()}


@dataclass(frozen=True)
class Size:
    """How much a split holds, of a published set or of one at hand; `data` is the set's name."""

    name: str
    data: str
    conversations: int
    turns: int
    passages: int

    def row(self) -> dict[str, str]:
        """The size as a row of a table."""
        return {
            "data": self.name,
            "conversations": f"{self.conversations:,}",
            "turns": f"{self.turns:,}",
            "turns a conversation": f"{self.turns / self.conversations:.1f}",
            "passages": f"{self.passages:,}",
        }


def published_sizes(paper: Paper, table: str) -> list[Size]:
    """The sizes in a paper's table of data sets, in its order."""
    return [
        Size(row["method"], data, **values)
        for row in paper.tables[table]["rows"]
        for data, values in row["values"].items()
    ]


def sizes(collection: Collection, splits: Mapping[str, Sequence[Turn]]) -> list[Size]:
    """The size of each split of a collection; all splits search the same passages."""
    name, passages = collection.name, len(collection.passages)
    return [
        Size(f"{name} {split}", name, len(by_conversation(turns)), len(turns), passages)
        for split, turns in splits.items()
        if turns
    ]


def reach(turns: Iterable[Turn]) -> dict[int, float]:
    """For each depth the share of conversations that have a turn there."""
    turns = list(turns)
    depths = Counter(turn.depth for turn in turns)
    count = len({turn.conv_id for turn in turns})
    return {depth: depths[depth] / count for depth in sorted(depths)}


# Conversations to read


def telling_conversation(turns: Iterable[Turn]) -> list[Turn]:
    """A conversation to read: of usual length (the median), the one with the most kinds of turn.

    Of equals the one with the fewest words of utterances and answers, then the first. Raises
    DiscoError without a turn.
    """
    conversations = list(by_conversation(turns).values())
    if not conversations:
        raise DiscoError("No turn, so no conversation to read: choose another split.")
    lengths = sorted(map(len, conversations))
    usual = lengths[len(lengths) // 2]
    return min(
        (rows for rows in conversations if len(rows) == usual),
        key=lambda rows: (
            -len({turn.kind for turn in rows if turn.kind}),
            sum(len(words(f"{turn.utterance} {turn.answer}")) for turn in rows),
        ),
    )


def script(turns: Sequence[Turn], rewrite: str, titles: Mapping[str, str], width: int = 68) -> str:
    """A conversation with all that is known of each turn, as lines of at most `width` characters.

    rewrite: the rewriter whose text is shown; titles: short name of each passage by its id.
    """
    blocks = []
    for turn in turns:
        text = turn.rewrites.get(rewrite, "")
        same = text.strip() == turn.utterance.strip()
        parts = {
            "user": turn.utterance,
            "rewrite": "(the same)" if same else text or "(none)",
            "system": turn.answer or "(no answer is kept)",
            "passage": "; ".join(titles[pid] for pid in turn.positives) or "(none)",
        }
        head = f"turn {turn.depth}" + (f", {turn.kind}" if turn.kind else "")
        blocks.append("\n".join([head, *_labelled(parts, width)]))
    return "\n\n".join(blocks)


def rewrites_script(turn: Turn, names: Sequence[str], width: int = 68) -> str:
    """The exchange before a turn, its utterance, and what each rewriter made of it."""
    parts = dict(zip(("before", "answer"), turn.history[-1], strict=True)) if turn.history else {}
    parts = {name: text or "(no answer is kept)" for name, text in parts.items()}
    parts["user"] = turn.utterance
    parts |= {name: turn.rewrites.get(name) or "(none)" for name in names}
    return "\n".join(_labelled(parts, width))


def _labelled(parts: Mapping[str, str], width: int) -> list[str]:
    margin = max(len(name) for name in parts) + 4
    return [
        textwrap.fill(
            f"{'  ' + name + ':':{margin}}{' '.join(text.split())}",
            width,
            subsequent_indent=" " * margin,
        )
        for name, text in parts.items()
    ]


def evenly(turns: Sequence[Turn], count: int) -> list[Turn]:
    """`count` turns at equal distances, so that nobody picks; all where there are fewer."""
    if len(turns) <= count:
        return list(turns)
    return [turns[int((place + 0.5) * len(turns) / count)] for place in range(count)]


# Topics


def passage_topics(collection: Collection) -> dict[str, str]:
    """The topic of each passage that has one: its field, else the title before the colon."""
    found = {}
    columns = collection.passages.select_columns(["pid", "title", "extra"])
    for batch in columns.iter(batch_size=10_000):
        for pid, title, extra in zip(*(batch[name] for name in columns.features), strict=True):
            topic = json.loads(extra).get("topic") or title.split(":")[0]
            if isinstance(topic, str) and topic.strip():
                found[pid] = topic.strip()
    return found


def turn_topic(turn: Turn, topics: Mapping[str, str]) -> str | None:
    """The topic of a turn's first positive that has one; None without."""
    return next((topics[pid] for pid in turn.positives if pid in topics), None)


@dataclass(frozen=True)
class Move:
    """A turn with a topic, seen from the last turn before it that has one.

    switched: the topics differ; back: they differ, and this one was there earlier.
    """

    turn: Turn
    switched: bool
    back: bool


def moves(turns: Iterable[Turn], topics: Mapping[str, str]) -> list[Move]:
    """Every turn that has a topic and follows one that has; [] where nothing has a topic."""
    found = []
    for rows in by_conversation(turns).values():
        placed = [(turn, topic) for turn in rows if (topic := turn_topic(turn, topics))]
        seen: set[str] = set()
        for (_, before), (turn, topic) in pairwise(placed):
            seen.add(before)
            switched = topic != before
            found.append(Move(turn, switched, switched and topic in seen))
    return found


def switches_by_depth(turns: Iterable[Turn], topics: Mapping[str, str]) -> list[Point]:
    """Share of turns that switch, with its 95 % interval, at x = depth; [] without topics.

    Of turns that `moves` finds; a depth of fewer than ten is left out.
    """
    steps = moves(turns, topics)
    switched = np.array([move.switched for move in steps], dtype=np.float64)
    rows = intervals_by(switched, [move.turn.depth for move in steps])
    return [Point(mean, low, high, x=depth) for depth, mean, low, high in rows]


def topic_row(turns: Sequence[Turn], topics: Mapping[str, str]) -> dict[str, str]:
    """Conversations that switch and that return, topics each, turns a switch; {} without topics."""
    named = {
        name: {topic for turn in rows if (topic := turn_topic(turn, topics))}
        for name, rows in by_conversation(turns).items()
    }
    named = {name: found for name, found in named.items() if found}
    if not named:
        return {}
    steps = moves(turns, topics)
    switched = [move for move in steps if move.switched]
    switching = {move.turn.conv_id for move in switched}
    returning = {move.turn.conv_id for move in steps if move.back}
    return {
        "conversations": f"{len(named):,}",
        "with a switch": _of(len(switching), len(named)),
        "with a return": _of(len(returning), len(named)),
        "topics a conversation": f"{np.mean([len(found) for found in named.values()]):.1f}",
        "turns to a switch": f"{len(steps) / len(switched):.1f}" if switched else "",
    }


# Lengths


def word_counts(texts: Iterable[str]) -> np.ndarray:
    """Length in words of every text that is not blank (texts,)."""
    return np.array([len(words(text)) for text in texts if text.strip()], dtype=np.int64)


def passage_words(collection: Collection) -> np.ndarray:
    """Length in words of every passage (passages,), without its title."""
    batches = collection.passages.select_columns(["text"]).iter(batch_size=10_000)
    return np.concatenate([np.empty(0, np.int64), *(word_counts(b["text"]) for b in batches)])


def cumulative(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From 0 up to the longest: each length, and the share of texts of at most that length.

    Raises DiscoError without a length.
    """
    if len(lengths) == 0:
        raise DiscoError("No text, so no length to count: leave this curve out.")
    counts = np.bincount(lengths)
    return np.arange(len(counts)), np.cumsum(counts) / len(lengths)


def piece_counts(
    turns: Sequence[Turn],
    given: str,
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits = UNCUT,
) -> np.ndarray:
    """Length of an input in word pieces, special tokens included (turns,); by default uncut."""
    return np.array([len(context_ids(t, given, tokenizer, limits)) for t in turns], dtype=np.int64)


def spread_by(values: np.ndarray, groups: Sequence[int], fewest: int = 10) -> list[Point]:
    """Median of the values in each group, with the 10th and 90th percentiles, at x = the group.

    A group of fewer than `fewest` values is left out.
    """
    groups = np.asarray(groups)
    parts = {int(group): values[groups == group] for group in np.unique(groups)}
    return [
        Point(*(float(np.percentile(part, p)) for p in (50, 10, 90)), x=group)
        for group, part in parts.items()
        if len(part) >= fewest
    ]


def cut_rows(
    turns: Sequence[Turn],
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
    fewest: int = 10,
) -> list[dict[str, str]]:
    """By depth: the median length of the full conversation, how many are cut, what is lost."""
    whole = piece_counts(turns, "conversation", tokenizer)
    kept = piece_counts(turns, "conversation", tokenizer, limits)
    depths = np.array([turn.depth for turn in turns])
    rows = []
    for depth in np.unique(depths):
        here = depths == depth
        if here.sum() >= fewest:
            rows.append(
                {
                    "depth": int(depth),
                    "turns": int(here.sum()),
                    "pieces (median)": f"{np.median(whole[here]):.0f}",
                    "turns cut": f"{np.mean(kept[here] < whole[here]):.0%}",
                    "pieces lost": f"{1 - kept[here].sum() / whole[here].sum():.0%}",
                }
            )
    return rows


# Kinds of turn


def kind_shares(turns: Iterable[Turn]) -> dict[str, float]:
    """Share of each kind among the turns that have one, commonest first; {} where none has."""
    kinds = Counter(turn.kind for turn in turns if turn.kind)
    return {kind: count / kinds.total() for kind, count in kinds.most_common()}


def kind_examples(turns: Iterable[Turn], rewrite: str) -> list[dict[str, str]]:
    """The first turn of every kind: its utterance and its rewrite; [] where no turn has a kind."""
    first: dict[str, Turn] = {}
    for turn in turns:
        if turn.kind:
            first.setdefault(turn.kind, turn)
    return [
        {"kind": kind, "utterance": turn.utterance, "rewrite": turn.rewrites.get(rewrite, "")}
        for kind, turn in first.items()
    ]


# Rewriters


def rewriter_names(turns: Iterable[Turn], first: str = "") -> list[str]:
    """The rewriters whose texts the turns have: `first` in front, the others by name."""
    names = {name for turn in turns for name, text in turn.rewrites.items() if text.strip()}
    return sorted(names, key=lambda name: (name != first, name))


def rewriter_rows(
    turns: Sequence[Turn], names: Sequence[str], notes: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row a rewriter: turns that it rewrote, mean words, unchanged ones, words from nowhere.

    notes: what is known of each, as `rewrites.read_notes` gives it.
    """
    rows = []
    for name in names:
        done = [turn for turn in turns if turn.rewrites.get(name, "").strip()]
        row: dict[str, Any] = {"rewriter": name, "turns": len(done)}
        if done:
            texts = [turn.rewrites[name] for turn in done]
            same = np.mean([words(t.utterance) == words(t.rewrites[name]) for t in done])
            row["words"] = f"{word_counts(texts).mean():.1f}"
            row["unchanged"] = f"{same:.0%}"
            row["from nowhere"] = (
                f"{np.mean([from_nowhere(t, t.rewrites[name]) for t in done]):.0%}"
            )
        note = notes.get(name, {})
        rows.append(row | {"made by": note.get("command", "comes with the data")})
    return rows


def content(text: str) -> list[str]:
    """The stems of a text's words that carry content: no question words, no auxiliaries."""
    return list(stems(" ".join(word for word in words(text) if word not in FUNCTION_WORDS)))


def from_nowhere(turn: Turn, text: str) -> float:
    """Share of a text's content that nobody has said: neither the utterance nor its history.

    A text without content has none from nowhere, 0.
    """
    said = [turn.utterance, *(part for exchange in turn.history for part in exchange)]
    known = set(content(" ".join(said)))
    found = content(text)
    return sum(stem not in known for stem in found) / len(found) if found else 0.0


# What two splits share


def overlap_row(
    turns: Sequence[Turn], train: Sequence[Turn], topics: Mapping[str, str], rewrite: str
) -> dict[str, str]:
    """What a split has in common with the training split; a column of topics where there are any.

    Counted are conversations, passages that are a positive, turns with such a passage, and
    rewrites that stand word for word in both, first turns included.
    """
    seen = {pid for turn in train for pid in turn.positives}
    own = {pid for turn in turns for pid in turn.positives}
    judged = [turn for turn in turns if turn.positives]
    told = {turn.conv_id for turn in train}
    asked = {tuple(words(turn.rewrites.get(rewrite, ""))) for turn in train} - {()}
    texts = [found for turn in turns if (found := tuple(words(turn.rewrites.get(rewrite, ""))))]
    row = {
        "conversations": _of(*_shared({turn.conv_id for turn in turns}, told)),
        "positive passages": _of(*_shared(own, seen)),
        "turns with one of these": _of(
            sum(not seen.isdisjoint(t.positives) for t in judged), len(judged)
        ),
        "rewrites": _of(sum(text in asked for text in texts), len(texts)),
    }
    if topics:
        here, there = ({topics[pid] for pid in pids if pid in topics} for pids in (own, seen))
        row["topics"] = _of(*_shared(here, there))
    return row


def _shared(own: set[str], other: set[str]) -> tuple[int, int]:
    return len(own & other), len(own)


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.0%})" if whole else "0 of 0"


def check_rows(checks: Iterable[Check]) -> list[dict[str, str]]:
    """The checks of `verification.verify` as rows; a value without a rule has no verdict."""
    return [
        {
            "check": check.name,
            "value": f"{check.value:,}" if isinstance(check.value, int) else f"{check.value:.3f}",
            "verdict": ("ok" if check.ok else "FAULT") if check.judged else "",
            "note": check.note,
        }
        for check in checks
    ]


# Figures


def share_dots(series: Mapping[str, Mapping[str, float]], xlabel: str) -> Figure:
    """One row a name, one dot a series: {series: {name: share}}; first series gives the order.

    Raises DiscoError without a name.
    """
    names = list(dict.fromkeys(name for shares in series.values() for name in shares))
    if not names:
        raise DiscoError("Nothing to draw: give at least one row.")
    with plots.style():
        figure, axis = plt.subplots(figsize=(plots.WIDTH, 0.27 * len(names) + 0.9))
        for number, (label, shares) in enumerate(series.items()):
            places = [place for place, name in enumerate(names) if name in shares]
            axis.plot(
                [shares[names[place]] for place in places],
                places,
                linestyle="none",
                marker=plots.MARKERS[number % len(plots.MARKERS)],
                color=plots.COLOURS[number % len(plots.COLOURS)],
                alpha=0.85,
                label=label,
            )
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel=xlabel, xlim=(0, None))
        axis.invert_yaxis()
        figure.legend(loc="outside upper left", ncols=max(1, len(series)))
        plt.close(figure)
    return figure


def with_levels(figure: Figure, levels: Mapping[str, float]) -> Figure:
    """The same figure with a named horizontal line at each level of its first panel."""
    axis = figure.axes[0]
    with plots.style():
        for name, level in levels.items():
            axis.axhline(level, color="black", linewidth=1, linestyle=(0, (4, 2)))
            axis.annotate(
                name, (0, level), (3, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
    return figure
