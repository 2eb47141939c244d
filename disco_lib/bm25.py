"""BM25, the lexical baseline, by bm25s (Lucene's variant; k1 0.9, b 0.4 as in Pyserini)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer
from ranx import Run

from disco_lib.runs import run_from_arrays

K1, B = 0.9, 0.4


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
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(_tokens(passages, stemmer), show_progress=False)
    # A corpus made of tokens, not of ids: words the collection lacks are left out by bm25s.
    documents, scores = index.retrieve(
        _tokens(queries, stemmer), k=min(k, len(passages)), show_progress=False
    )
    return run_from_arrays(
        query_ids, pids, np.where(scores > 0, documents, -1).astype(np.int64), scores
    )


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


def _tokens(texts: Sequence[str], stemmer: Stemmer.Stemmer) -> list[list[str]]:
    return bm25s.tokenize(
        list(texts), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False
    )
