import math

import pytest

from disco_lib.bm25 import Bm25Index, bm25_salience, bm25_search, bm25_terms, stems

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


def test_the_size_of_an_index_is_that_of_its_postings():
    index = Bm25Index(PASSAGES, PIDS)
    found = [set(stems(passage)) for passage in PASSAGES]
    terms, postings = set().union(*found), sum(map(len, found))
    # float32 weights and int32 passages of every posting, and where each term begins.
    assert index.nbytes == pytest.approx(8 * postings + 8 * (len(terms) + 1), rel=0.5)
    assert Bm25Index(PASSAGES * 10, PIDS * 10).nbytes > 5 * index.nbytes
    assert Bm25Index(["the"], ["p1"]).nbytes == 0


def test_an_index_searches_as_often_as_one_likes():
    index = Bm25Index(PASSAGES, PIDS)
    for queries in (["strings of a violin", "zebra"], ["trumpet"], ["four"]):
        names = [f"t{i}" for i in range(len(queries))]
        assert index.search(queries, names, 2).to_dict() == search(queries, k=2)


# Salience


@pytest.mark.parametrize(
    "passages",
    [
        PASSAGES,
        [*PASSAGES, "drum drum drum drum on a drum", "", "a violin of the trumpet " * 9],
        ["drum", "", "of the", "", ""],  # less than one stem a passage
    ],
)
@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.5, 0.75), (0.9, 0.0)])
def test_salience_is_the_best_score_of_a_query_of_one_word(passages, k1, b):
    salience = bm25_salience(passages, k1, b)
    pids = [f"p{i}" for i in range(len(passages))]
    words = sorted({word.strip(";.,") for passage in passages for word in passage.split()})
    found = bm25_search(passages, pids, words, words, len(pids), k1, b).to_dict()
    best = {stems(word)[0]: max(scores.values()) for word, scores in found.items()}
    assert best.keys() == salience.keys() and len(best) >= 1
    for stem, score in best.items():
        assert salience[stem] == pytest.approx(score, abs=1e-5)


def test_salience_by_hand():
    # The best passage for "drum" is the first: twice among 3 stems, where the mean is 4.
    passages = ["drum drum stick", "drum stick stick bell bell"]
    norm = 0.9 * (0.6 + 0.4 * 3 / 4)
    both = math.log(1 + (2 - 2 + 0.5) / (2 + 0.5))
    found = bm25_salience(passages)
    assert found["drum"] == pytest.approx(both * 2 / (2 + norm))
    assert set(found) == {"drum", "stick", "bell"}


def test_stems():
    assert stems("Strings") == ("string",)
    assert stems("the") == stems("?") == stems("") == ()
    assert stems("violin's bows") == ("violin", "bow")
