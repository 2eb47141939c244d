import numpy as np
import pytest
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.index_views import (
    all_scores,
    blocks_skipped,
    bytes_touched,
    list_bytes,
    list_forms,
    list_parts,
    overlap,
    touched_by_frequency,
)
from disco_lib.postings import ALL, GAPS, PLACES, pack


def vectors_of_every_form(storage="uint8"):
    """Return 1,000 documents: term 0 in all, 1 in every 20th, 2 at 0 and 999, 3 in none."""
    dense = np.zeros((1_000, 4), dtype=np.float32)
    dense[:, 0], dense[::20, 1], dense[[0, 999], 2] = 1.0, 2.0, 3.0
    vectors = sparse.csr_matrix(dense)
    return vectors, pack(vectors, storage)


def test_forms_and_bytes_of_lists():
    _, postings = vectors_of_every_form()
    assert list_forms(postings).tolist() == [ALL, GAPS, PLACES, 0]
    assert list_bytes(postings).tolist() == [1_000, 100, 6, 0]
    _, floats = vectors_of_every_form("float32")
    assert list_bytes(floats).tolist()[:2] == [4_000, 250]


def test_the_parts_of_a_list():
    _, postings = vectors_of_every_form()
    steps, weights = list_parts(postings, 1)
    assert steps.tolist() == [1] + [20] * 49 and weights.tolist() == [255] * 50
    steps, weights = list_parts(postings, 2)
    assert steps.tolist() == [0, 0, 999 & 255, 999 >> 8] and len(weights) == 2
    assert [len(part) for part in list_parts(postings, 3)] == [0, 0]


def test_the_parts_of_a_list_in_a_later_block():
    vectors, _ = vectors_of_every_form()
    postings = pack(vectors, "uint8", block=400)
    steps, weights = list_parts(postings, 2, block=2)
    assert (len(weights), steps.tolist()) == (1, [200])
    assert list_forms(postings, 1).tolist() == [ALL, GAPS, 0, 0]


def test_bytes_touched_are_those_of_the_asked_lists_in_all_blocks():
    vectors, postings = vectors_of_every_form()
    queries = sparse.csr_matrix(np.array([[1, 0, 1, 1], [0, 5, 0, 0], [0, 0, 0, 0]]))
    assert bytes_touched(queries, postings).tolist() == [1_006, 100, 0]
    blocked = pack(vectors, "uint8", block=400)
    # Term 2 has one posting in the first block (gaps) and one in the last (a gap of 200).
    assert bytes_touched(queries, blocked).tolist() == [1_004, 100, 0]


def test_share_of_touched_postings_by_frequency():
    vectors, _ = vectors_of_every_form()
    queries = sparse.csr_matrix(np.array([[1.0, 1, 0, 0], [0, 1, 1, 1]]))
    frequency, share = touched_by_frequency(queries, vectors)
    # Term 0 is asked once (1,000 postings), term 1 twice (50), term 2 once (2).
    np.testing.assert_allclose(frequency, [0.002, 0.05, 1.0])
    np.testing.assert_allclose(share, np.array([1_102, 1_100, 1_000]) / 1_102)
    with pytest.raises(DiscoError, match="no posting"):
        touched_by_frequency(sparse.csr_matrix(np.array([[0.0, 0, 0, 1]])), vectors)


def random_vectors(n, seed, vocabulary=60, density=0.2):
    matrix = sparse.random(n, vocabulary, density, "csr", np.float32, seed)
    matrix.sort_indices()
    return matrix


def test_all_scores_are_the_product():
    queries, documents = random_vectors(3, 1), random_vectors(1_100, 2)
    expected = (queries.astype(np.float64) @ documents.astype(np.float64).T).toarray()
    np.testing.assert_allclose(all_scores(queries, documents), expected, rtol=1e-12)
    assert all_scores(queries, documents[:0]).shape == (3, 0)


def test_blocks_are_skipped_when_the_best_come_first():
    # One term; its weight falls from document to document, so the first block holds the ten best.
    falling = sparse.csr_matrix(np.linspace(2, 1, 100, dtype=np.float32)[:, None])
    query = sparse.csr_matrix(np.array([[1.0]], dtype=np.float32))
    for order, share in ((np.arange(100), 0.9), (np.arange(100)[::-1], 0.0)):
        documents = falling[order]
        scores = (query @ documents.T).toarray()
        postings = pack(documents, block=10)
        assert blocks_skipped(postings, query, scores, 10) == pytest.approx([share])
    # Eleven are not there before the second block is read.
    scores = (query @ falling.T).toarray()
    assert blocks_skipped(pack(falling, block=10), query, scores, 11) == pytest.approx([0.8])


def test_a_skipped_block_holds_none_of_the_best():
    documents, queries = random_vectors(600, 3), random_vectors(20, 4, density=0.05)
    scores = (queries @ documents.T).toarray()
    order = np.argsort(-scores.max(axis=0), kind="stable")
    postings = pack(documents[order], block=20)
    skipped = blocks_skipped(postings, queries, scores[:, order], 5)
    assert 0 < skipped.mean() < 1
    found = InvertedIndex(postings, [str(i) for i in order]).search_arrays(queries, 5)[1]
    best = -np.sort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(found, best, rtol=1e-6)


def test_overlap():
    expected = np.array([[1, 2, 3, -1], [4, 5, 6, 7], [-1, -1, -1, -1]])
    found = np.array([[3, 2, 9, -1], [4, 5, 6, 7], [8, -1, -1, -1]])
    assert overlap(expected, found) == pytest.approx((2 / 3 + 1) / 2)
    assert overlap(expected[2:], found[2:]) == 1.0
