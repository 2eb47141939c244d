"""BM25, the lexical baseline, by bm25s (Lucene's variant; k1 0.9, b 0.4 as in Pyserini)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import bm25s
import numpy as np
import Stemmer
from ranx import Run

from disco_lib.errors import DiscoError
from disco_lib.runs import run_from_arrays, run_from_dict

K1, B = 0.9, 0.4


class Bm25Index:
    """Passages indexed for BM25 with English stemming and stop words; searched many times."""

    def __init__(
        self, passages: Sequence[str], pids: Sequence[str], k1: float = K1, b: float = B
    ) -> None:
        if len(passages) != len(pids):
            raise DiscoError(f"{len(passages)} passages, but {len(pids)} ids. Give each its id.")
        self.pids = pids
        self._stemmer = Stemmer.Stemmer("english")
        tokens = _tokens(passages, self._stemmer)
        self._empty = not any(tokens)
        if not self._empty:
            self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
            self._index.index(tokens, show_progress=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the postings, passages and weights of every term, without the vocabulary."""
        if self._empty:
            return 0
        parts = self._index.scores.values()
        return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))

    def search(self, queries: Sequence[str], query_ids: Sequence[str], k: int) -> Run:
        """The k best passages of every query; fewer where fewer score above 0.

        Raises DiscoError for a k below 1.
        """
        if k < 1:
            raise DiscoError(f"k is {k}; it must be at least 1.")
        if self._empty or not queries:
            return run_from_dict({})
        # A corpus made of tokens, not of ids: words the collection lacks are left out by bm25s.
        documents, scores = self._index.retrieve(
            _tokens(queries, self._stemmer), k=min(k, len(self.pids)), show_progress=False
        )
        found = np.where(scores > 0, documents, -1).astype(np.int64)
        return run_from_arrays(query_ids, self.pids, found, scores)


def bm25_search(
    passages: Sequence[str],
    pids: Sequence[str],
    queries: Sequence[str],
    query_ids: Sequence[str],
    k: int,
    k1: float = K1,
    b: float = B,
) -> Run:
    """Search passages by BM25 with English stemming and stop words; k results a query."""
    return Bm25Index(passages, pids, k1, b).search(queries, query_ids, k)


def bm25_terms(passages: Sequence[str], query: str) -> dict[str, float]:
    """The query's stems that the passages hold, with their weights, heaviest first.

    A weight is idf times the number of times the stem stands in the query: the most that the stem
    can add to a passage's score. idf = ln(1 + (N - n + 0.5) / (n + 0.5)) for a stem in n of the N
    passages, as in Lucene.
    """
    stemmer = Stemmer.Stemmer("english")
    held = Counter(stem for tokens in _tokens(passages, stemmer) for stem in set(tokens))
    times = Counter(_tokens([query], stemmer)[0])
    weights = {
        stem: count * math.log(1 + (len(passages) - held[stem] + 0.5) / (held[stem] + 0.5))
        for stem, count in times.items()
        if held[stem]
    }
    return dict(sorted(weights.items(), key=lambda item: (-item[1], item[0])))


def bm25_salience(passages: Sequence[str], k1: float = K1, b: float = B) -> dict[str, float]:
    """Of each stem that the passages hold, the highest score that it alone gives a passage.

    max_d idf tf / (tf + k1 (1 - b + b |d| / mean |d|)), the importance of a keyword in historical
    query expansion: high for a rare word that a passage is about.
    """
    tokens = _tokens(passages, Stemmer.Stemmer("english"))
    held = Counter(stem for row in tokens for stem in set(row))
    mean = sum(map(len, tokens)) / max(1, len(tokens)) or 1.0
    best: dict[str, float] = dict.fromkeys(held, 0.0)
    for row in tokens:
        norm = k1 * (1 - b + b * len(row) / mean)
        for stem, times in Counter(row).items():
            best[stem] = max(best[stem], times / (times + norm))
    count = len(tokens)
    return {
        stem: best[stem] * math.log(1 + (count - n + 0.5) / (n + 0.5)) for stem, n in held.items()
    }


@lru_cache(maxsize=1 << 16)
def stems(text: str) -> tuple[str, ...]:
    """The stems of a text's words as BM25 indexes them: none for a stop word."""
    return tuple(_tokens([text], Stemmer.Stemmer("english"))[0])


def _tokens(texts: Sequence[str], stemmer: Stemmer.Stemmer) -> list[list[str]]:
    return bm25s.tokenize(
        list(texts), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False
    )
