"""Measures of wording: near-duplicates, copied runs, diversity of phrases, named topics."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import ceil

from tqdm.auto import tqdm

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    """Lower-case words of a text; an apostrophe inside a word belongs to it."""
    return _WORD.findall(text.lower())


def ngrams(sequence: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Every run of `size` words, in order."""
    return [tuple(sequence[i : i + size]) for i in range(len(sequence) - size + 1)]


def near_duplicates(
    texts: Sequence[str], threshold: float = 0.5, size: int = 3
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, similarity), i < j, whose shingle sets have Jaccard similarity >= threshold.

    Exact, by prefix filtering: with each set's shingles ordered from rare to common, two sets of
    similarity t share one among the first n - ceil(t n) + 1 of each, so only those are indexed.
    Of texts with the same shingles, each later one is paired with the first only. A text shorter
    than `size` words is one shingle; one without words is in no pair.
    """
    shingles = [_shingles(text, size) for text in texts]
    frequency = Counter(shingle for group in shingles for shingle in group)
    first: dict[frozenset[tuple[str, ...]], int] = {}
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs: list[tuple[int, int, float]] = []
    for j, group in enumerate(tqdm(shingles, desc="near-duplicates", unit=" texts", delay=2)):
        if not group:
            continue
        if group in first:
            pairs.append((first[group], j, 1.0))
            continue
        first[group] = j
        rare = sorted(group, key=lambda shingle: (frequency[shingle], shingle))
        # Rounding down a hair keeps a product such as 0.7 * 10 from being lifted to 8.
        prefix = rare[: len(rare) - ceil(threshold * len(rare) - 1e-9) + 1]
        for i in sorted({i for shingle in prefix for i in index[shingle]}):
            similarity = len(group & shingles[i]) / len(group | shingles[i])
            if similarity >= threshold:
                pairs.append((i, j, similarity))
        for shingle in prefix:
            index[shingle].append(j)
    return pairs


def _shingles(text: str, size: int) -> frozenset[tuple[str, ...]]:
    found = words(text)
    return frozenset(ngrams(found, size) or ([tuple(found)] if found else []))


def shared_run(text: str, other: str) -> list[str]:
    """The longest run of words that stands in both texts; [] where they share no word."""
    here, there = words(text), words(other)
    places: dict[str, list[int]] = defaultdict(list)
    for j, word in enumerate(there):
        places[word].append(j)
    best = end = 0
    lengths: dict[int, int] = {}  # length of the common run that ends at each place of `there`
    for i, word in enumerate(here):
        lengths = {j: lengths.get(j - 1, 0) + 1 for j in places.get(word, ())}
        longest = max(lengths.values(), default=0)
        if longest > best:
            best, end = longest, i + 1
    return here[end - best : end]


def distinct_ngrams(texts: Iterable[str], size: int = 4) -> float:
    """Share of distinct ones among the texts' n-grams (distinct-n); 1 where there are none."""
    found = [gram for text in texts for gram in ngrams(words(text), size)]
    return len(set(found)) / len(found) if found else 1.0


def commonest_opening(texts: Sequence[str], size: int = 3) -> tuple[str, float]:
    """The commonest first `size` words, and the share of all texts that begin with them.

    A text of fewer words has no such opening but counts among all; ("", 0.0) where none has one.
    """
    openings = Counter(" ".join(found[:size]) for found in map(words, texts) if len(found) >= size)
    if not openings:
        return "", 0.0
    opening, count = openings.most_common(1)[0]
    return opening, count / len(texts)


def names_topic(utterance: str, topic: str) -> bool:
    """Whether the topic's words stand in the utterance in a row; plurals and genitives count."""
    named = [_singular(word) for word in words(re.sub(r"\(.*?\)", " ", topic))]
    said = [_singular(word) for word in words(utterance)]
    return bool(named) and tuple(named) in ngrams(said, len(named))


def _singular(word: str) -> str:
    word = re.sub(r"['’]s$", "", word)
    if re.search(r"[^aeiou]ies$", word) and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:x|z|ss|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if re.search(r"[^su]s$", word) and len(word) > 3 else word
