import math

import pytest

from disco_lib.bm25 import bm25_search, bm25_terms

PASSAGES = [
    "Violins have four strings; a violin is played with a bow.",
    "The cello has four strings and a spike.",
    "A drum is struck with two sticks.",
    "The trumpet is blown.",
]
PIDS = ["p1", "p2", "p3", "p4"]


def search(queries, k=10, **options):
    names = [f"t{i}" for i in range(len(queries))]
    return bm25_search(PASSAGES, PIDS, queries, names, k, **options).to_dict()


def weight(n):
    """Return Lucene's idf of a stem that n of the four passages hold."""
    return math.log(1 + (4 - n + 0.5) / (n + 0.5))


def test_a_score_by_hand():
    # Stop words apart the passages have 6, 4, 4 and 2 stems (mean 4). "drum" stands once in a
    # passage of 4: idf * 1 / (1 + k1 (1 - b + b 4 / 4)) with k1 0.9 and b 0.4.
    found = search(["drums"])["t0"]
    assert found == {"p3": pytest.approx(weight(1) / 1.9, rel=0.05)}


def test_stems_stop_words_and_ranking():
    found = search(["the violin's strings", "four", "of the and"])
    assert list(found["t0"]) == ["p1", "p2"]
    # Both hold "four" once, and the shorter passage scores more.
    assert list(found["t1"]) == ["p2", "p1"]
    assert "t2" not in found, "stop words find nothing"


def test_words_that_no_passage_holds_find_nothing():
    assert search(["zebra", ""]) == {}
    assert list(search(["zebra drum"])["t0"]) == ["p3"]


def test_k_cuts_the_ranking():
    assert list(search(["strings of a violin"], k=1)["t0"]) == ["p1"]
    assert len(search(["four drum trumpet"], k=100)["t0"]) == 4


def test_b_0_does_not_look_at_length():
    found = search(["four"], b=0.0)["t0"]
    assert found["p1"] == pytest.approx(found["p2"])


def test_terms_by_hand():
    # "string" is in two passages and stands twice in the query, "drum" in one and once.
    found = bm25_terms(PASSAGES, "strings, string or drum? zebra!")
    assert found == {"string": pytest.approx(2 * weight(2)), "drum": pytest.approx(weight(1))}
    assert list(found) == ["string", "drum"]
    assert bm25_terms(PASSAGES, "of the zebra") == {}


def test_terms_bound_the_scores():
    for query in ("four strings", "violins and drums", "trumpet trumpet bow"):
        bound = sum(bm25_terms(PASSAGES, query).values())
        assert all(score <= bound for score in search([query])["t0"].values())
