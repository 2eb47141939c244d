"""Checks of a whole collection: its structure, and the language of an authored one.

What `load` refuses at once (malformed rows, a positive that is in no collection) is checked again
here from the loaded tables, together with what only shows across files and splits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from disco_lib.catalogue import front_matter
from disco_lib.conversations import Turn
from disco_lib.datasets import Collection
from disco_lib.wording import (
    commonest_opening,
    distinct_ngrams,
    names_topic,
    near_duplicates,
    shared_run,
)

NEAR_DUPLICATE = 0.5  # Jaccard similarity of three-word shingles
LONGEST_SHARED_RUN = 12  # words
FEWEST_DISTINCT_4GRAMS = 0.8
COMMONEST_OPENING = 0.03
FEWEST_WITHOUT_TOPIC = 0.6


@dataclass(frozen=True)
class Check:
    """One row of a report: `ok` is False for a fault only, `judged` True where there is a rule."""

    name: str
    value: int | float
    ok: bool
    note: str = ""
    judged: bool = True

    @classmethod
    def report(cls, name: str, value: int | float, note: str = "") -> Check:
        """A value that is reported without a verdict."""
        return cls(name, value, ok=True, note=note, judged=False)


def verify(collection: Collection) -> list[Check]:
    """Structure checks of any collection; checks of language and retrieval where its card asks.

    A card asks with `language_checks: true` and `retrieval_checks: true` in the YAML front matter
    of the folder's README.md. Raises DataError for front matter that is not YAML.
    """
    card = front_matter(collection.folder)
    checks = structure_checks(collection)
    if card.get("language_checks") is True:
        checks += language_checks(collection)
    if card.get("retrieval_checks") is True:
        from disco_lib.retrieval_checks import retrieval_checks  # which needs torch

        checks += retrieval_checks(collection)
    return checks


def structure_checks(collection: Collection) -> list[Check]:
    """Counts, ids, references, splits and gaps of a collection."""
    turns = {split: collection.iter_turns(split) for split in collection.splits}
    pids = collection.pids
    every = list(chain.from_iterable(turns.values()))
    return [
        Check.report("passages", len(pids)),
        *(_size(split, rows) for split, rows in turns.items()),
        _none("passage ids that are there twice", _repeated(pids)),
        _none("turn ids that are there twice", _repeated(turn.turn_id for turn in every)),
        _none(
            "ids with white space",
            _spaced(chain(pids, (turn.turn_id for turn in every))),
            "runs and qrels in TREC form separate columns by white space",
        ),
        _none("conversations in two splits", _shared_conversations(turns)),
        *_references(collection, turns, set(pids)),
        *_domains(collection, turns),
        _none("passages without text", _blank(collection)),
        _none("utterances without text", [t.turn_id for t in every if not t.utterance.strip()]),
        _share("turns without an answer", [not turn.answer.strip() for turn in every]),
        _share("turns without a positive", [not turn.positives for turn in every]),
        *(
            _share(f"turns with rewrite {name}", [name in turn.rewrites for turn in every])
            for name in sorted({name for turn in every for name in turn.rewrites})
        ),
    ]


def language_checks(collection: Collection) -> list[Check]:
    """Whether an authored collection reads like people: no copies, no mills, no giveaways."""
    turns = list(chain.from_iterable(map(collection.iter_turns, collection.splits)))
    columns = collection.passages[:]
    texts = dict(zip(columns["pid"], columns["text"], strict=True))
    utterances = [turn.utterance for turn in turns]
    distinct = distinct_ngrams(utterances, 4)
    opening, share = commonest_opening(utterances)
    return [
        _near_duplicates(columns["pid"], columns["text"]),
        _shared_run(turns, texts),
        Check(
            "distinct 4-grams of utterances",
            distinct,
            distinct >= FEWEST_DISTINCT_4GRAMS,
            f"at least {FEWEST_DISTINCT_4GRAMS:.0%}",
        ),
        Check(
            "commonest opening of three words",
            share,
            share <= COMMONEST_OPENING,
            f"{opening!r}; at most {COMMONEST_OPENING:.0%}",
        ),
        _without_topic(turns, _topics(collection)),
    ]


def _size(split: str, turns: Sequence[Turn]) -> Check:
    conversations = len({turn.conv_id for turn in turns})
    return Check.report(f"turns in {split}", len(turns), f"{conversations} conversations")


def _none(name: str, found: Sequence[str], why: str = "") -> Check:
    """A check that holds when nothing was found; otherwise the note names the first finds."""
    first = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    note = f"{first} ({why})" if first and why else first
    return Check(name, len(found), not found, note)


def _share(name: str, flags: Sequence[bool]) -> Check:
    count = sum(flags)
    return Check.report(name, count / max(1, len(flags)), f"{count} of {len(flags)}")


def _repeated(ids: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]


def _spaced(ids: Iterable[str]) -> list[str]:
    return [name for name in ids if name.split() != [name]]


def _shared_conversations(turns: dict[str, list[Turn]]) -> list[str]:
    return _repeated(chain.from_iterable({t.conv_id for t in rows} for rows in turns.values()))


def _blank(collection: Collection) -> list[str]:
    columns = collection.passages.select_columns(["pid", "text"])[:]
    pairs = zip(columns["pid"], columns["text"], strict=True)
    return [pid for pid, text in pairs if not text.strip()]


def _references(
    collection: Collection, turns: dict[str, list[Turn]], pids: set[str]
) -> list[Check]:
    lost = [t.turn_id for rows in turns.values() for t in rows if not pids.issuperset(t.positives)]
    twice = [t.turn_id for rows in turns.values() for t in rows if _repeated(t.positives)]
    unjudged, strangers = [], []
    for split, rows in turns.items():
        grades = collection.judgements(split)
        unjudged += [
            t.turn_id
            for t in rows
            if any(grades.get(t.turn_id, {}).get(pid, 0) < 1 for pid in t.positives)
        ]
        strangers += sorted(grades.keys() - {t.turn_id for t in rows})
        strangers += sorted({p for row in grades.values() for p in row if p not in pids})
    return [
        _none("turns with a positive that is in no collection", lost),
        _none("turns that name a positive twice", twice),
        _none("turns with a positive that the qrels do not call relevant", unjudged),
        _none("unknown turns or passages in the qrels", strangers),
    ]


def _domains(collection: Collection, turns: dict[str, list[Turn]]) -> list[Check]:
    """Domains of the splits named ood that training or development sees, by turn or positive."""
    outside = [split for split in turns if "ood" in split]
    of_passage = {
        pid: extra["domain"]
        for pid, extra in _extras(collection).items()
        if isinstance(extra.get("domain"), str)
    }

    def seen(splits: Iterable[str]) -> set[str]:
        rows = [turn for split in splits for turn in turns[split]]
        named = {turn.extra["domain"] for turn in rows if isinstance(turn.extra.get("domain"), str)}
        return named | {of_passage[p] for turn in rows for p in turn.positives if p in of_passage}

    training = seen(s for s in turns if s.startswith(("train", "dev")))
    if not outside or not training:
        return []
    return [_none("out-of-domain domains that training sees", sorted(training & seen(outside)))]


def _extras(collection: Collection) -> dict[str, dict]:
    columns = collection.passages.select_columns(["pid", "extra"])[:]
    return dict(zip(columns["pid"], map(json.loads, columns["extra"]), strict=True))


def _near_duplicates(pids: Sequence[str], texts: Sequence[str]) -> Check:
    pairs = near_duplicates(texts, NEAR_DUPLICATE)
    worst = max(pairs, key=lambda pair: pair[2], default=None)
    note = f"three-word shingles, Jaccard below {NEAR_DUPLICATE}"
    if worst:
        note = f"{pids[worst[0]]} and {pids[worst[1]]}: {worst[2]:.2f}; {note}"
    return Check("near-duplicate passages", len(pairs), not pairs, note)


def _shared_run(turns: Iterable[Turn], texts: dict[str, str]) -> Check:
    runs = ((shared_run(t.answer, texts[p]), t.turn_id) for t in turns for p in t.positives)
    words, turn_id = max(runs, key=lambda run: len(run[0]), default=([], ""))
    where = f"{turn_id}: {' '.join(words[:16])!r}; " if words else ""
    note = f"{where}at most {LONGEST_SHARED_RUN} words"
    name = "longest run of words that an answer shares with its passage"
    return Check(name, len(words), len(words) <= LONGEST_SHARED_RUN, note)


def _topics(collection: Collection) -> dict[str, str]:
    """The topic of each passage that has one: its field, else the title before the colon."""
    titles = zip(_extras(collection).items(), collection.passages["title"][:], strict=True)
    found = {pid: extra.get("topic") or title.split(":")[0] for (pid, extra), title in titles}
    return {pid: topic for pid, topic in found.items() if isinstance(topic, str) and topic.strip()}


def _without_topic(turns: Iterable[Turn], topics: dict[str, str]) -> Check:
    """Of the later turns whose passages have a topic, the share whose utterance names none."""
    name = "later utterances that do not name their topic"
    later = [
        (t.utterance, {topics[p] for p in t.positives if p in topics}) for t in turns if t.depth > 1
    ]
    free = [
        not any(names_topic(utterance, topic) for topic in known)
        for utterance, known in later
        if known
    ]
    if not free:
        return Check.report(name, 0.0, "no later turn has a passage with a topic")
    share = sum(free) / len(free)
    note = f"{sum(free)} of {len(free)}; at least {FEWEST_WITHOUT_TOPIC:.0%}"
    return Check(name, share, share >= FEWEST_WITHOUT_TOPIC, note)
