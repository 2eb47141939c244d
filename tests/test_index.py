import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.index import InvertedIndex, check_vectors


def csr(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def names(n):
    return [f"p{i:03d}" for i in range(n)]


def random_vectors(seed, n, vocabulary, density):
    """Draw vectors whose weights are small whole numbers: scores are exact and often equal."""
    draw = np.random.default_rng(seed)
    weights = draw.integers(1, 5, (n, vocabulary))
    return csr(weights * (draw.random((n, vocabulary)) < density))


def by_product(queries, documents, k):
    """Return (positions, scores) of the k best of each query by the dense product, -1 padded."""
    product = queries.toarray().astype(np.float64) @ documents.toarray().T.astype(np.float64)
    depth = min(k, documents.shape[0])
    positions = np.full((len(product), depth), -1)
    scores = np.zeros((len(product), depth))
    for i, row in enumerate(product):
        best = [d for d in np.argsort(-row, kind="stable")[:depth] if row[d] > 0]
        positions[i, : len(best)], scores[i, : len(best)] = best, row[best]
    return positions, scores


# Search


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12), st.integers(0, 5),
    st.integers(1, 50), st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)  # fmt: skip
def test_search_is_the_dense_product(seed, n, vocabulary, n_queries, k, density):
    documents = random_vectors(seed, n, vocabulary, density)
    queries = random_vectors(seed + 1, n_queries, vocabulary, 0.5)
    positions, scores = InvertedIndex.build(documents, names(n)).search_arrays(queries, k)
    expected_positions, expected_scores = by_product(queries, documents, k)
    assert positions.dtype == np.int32 and scores.dtype == np.float32
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("seed", range(3))
def test_real_weights_give_the_products_scores(seed):
    draw = np.random.default_rng(seed)
    documents = sparse.random(500, 80, 0.1, "csr", np.float32, draw)
    queries = sparse.random(20, 80, 0.2, "csr", np.float32, draw)
    positions, scores = InvertedIndex.build(documents, names(500)).search_arrays(queries, 100)
    expected_positions, expected_scores = by_product(queries, documents, 100)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    # Rounding may exchange neighbours of nearly equal score, and nothing else.
    differ = positions != expected_positions
    assert differ.mean() < 0.01
    product = (queries @ documents.T).toarray()
    for query, rank in zip(*np.nonzero(differ), strict=True):
        found = product[query, positions[query, rank]]
        assert found == pytest.approx(expected_scores[query, rank], abs=1e-5)


def test_ties_keep_the_collections_order_in_arrays_and_run():
    documents = csr([[1.0, 0.0]] * 40 + [[2.0, 0.0]] + [[0.0, 1.0]])
    index = InvertedIndex.build(documents, names(42))
    positions, scores = index.search_arrays(csr([[3.0, 0.0]]), 30)
    assert positions[0].tolist() == [40, *range(29)]
    assert scores[0].tolist() == [6.0] + [3.0] * 29
    run = index.search(csr([[3.0, 0.0]]), 30).to_dict()
    assert list(run["0"]) == ["p040", *names(29)]


def test_a_run_is_named_by_its_query_ids():
    index = InvertedIndex.build(csr([[1, 0], [0, 2], [1, 1]]), ["aaaa", "bbbb", "cccc"])
    queries = csr([[1, 0], [0, 0], [0, 1]])
    run = index.search(queries, 5, ["t_1", "t_2", "t_3"]).to_dict()
    assert run == {"t_1": {"aaaa": 1.0, "cccc": 1.0}, "t_3": {"bbbb": 2.0, "cccc": 1.0}}
    assert list(index.search(queries, 1).to_dict()) == ["0", "2"]
    with pytest.raises(DiscoError, match="3 queries, but 2 query ids"):
        index.search(queries, 5, ["t_1", "t_2"])
    with pytest.raises(DiscoError, match="query id stands twice"):
        index.search(queries, 5, ["t_1", "t_2", "t_1"])


def test_only_documents_that_share_a_term_are_found():
    index = InvertedIndex.build(csr([[1, 0, 0], [0, 1, 0], [0, 0, 0]]), names(3))
    positions, scores = index.search_arrays(csr([[0, 4, 0], [0, 0, 0], [0, 0, 9]]), 3)
    assert positions.tolist() == [[1, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert scores.tolist() == [[4, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_k_above_the_collection_is_cut_and_k_below_1_refused():
    index = InvertedIndex.build(csr([[1], [2]]), names(2))
    for k in (2, 3, 10**9):
        assert index.search_arrays(csr([[1]]), k)[0].tolist() == [[1, 0]]
    for k in (0, -1):
        with pytest.raises(DiscoError, match=f"k is {k}; it must be at least 1"):
            index.search_arrays(csr([[1]]), k)


def test_no_document_no_query_and_no_term():
    empty = InvertedIndex.build(sparse.csr_matrix((0, 3), dtype=np.float32), [])
    assert len(empty) == 0 and empty.vocabulary_size == 3
    assert empty.search_arrays(csr([[1, 0, 0]]), 5)[0].shape == (1, 0)
    assert len(empty.search(csr([[1, 0, 0]]), 5)) == 0
    index = InvertedIndex.build(csr([[1, 0, 0]]), ["p"])
    assert index.search_arrays(sparse.csr_matrix((0, 3), dtype=np.float32), 5)[0].shape == (0, 1)
    blank = InvertedIndex.build(sparse.csr_matrix((4, 3), dtype=np.float32), names(4))
    assert (blank.search_arrays(csr([[1, 1, 1]]), 2)[0] == -1).all()


# What goes in


def test_float64_other_formats_and_stored_zeros_give_the_same():
    documents, queries = random_vectors(0, 30, 12, 0.4), random_vectors(1, 4, 12, 0.5)
    expected = InvertedIndex.build(documents, names(30)).search_arrays(queries, 10)
    stored_zero = documents.copy()
    stored_zero.data[::3] = 0
    for given_documents, given_queries in [
        (documents.astype(np.float64), queries.astype(np.float64)),
        (documents.tocsc(), queries.tocoo()),
        (sparse.csr_array(documents), sparse.csr_array(queries)),
        (documents.astype(np.int64), queries.astype(np.int64)),
    ]:
        found = InvertedIndex.build(given_documents, names(30)).search_arrays(given_queries, 10)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    found = InvertedIndex.build(stored_zero, names(30)).search_arrays(queries, 10)
    np.testing.assert_array_equal(found[0], by_product(queries, stored_zero, 10)[0])


def test_unsorted_and_repeated_indices_are_put_in_order_without_touching_the_input():
    # Row 0 holds term 2 as 1 + 2 and term 0 as 4, in that order.
    unsorted = sparse.csr_matrix(
        (np.array([1, 2, 4, 5], np.float32), np.array([2, 2, 0, 1]), np.array([0, 3, 4])), (2, 3)
    )
    index = InvertedIndex.build(unsorted, names(2))
    assert unsorted.indices.tolist() == [2, 2, 0, 1] and unsorted.nnz == 4
    positions, scores = index.search_arrays(csr([[0, 0, 1]]), 2)
    assert (positions.tolist(), scores.tolist()) == ([[0, -1]], [[3, 0]])
    # The same matrix as query: 3 * 1 + 4 * 2 and 5 * 9.
    index = InvertedIndex.build(csr([[2, 9, 1]]), ["p"])
    assert index.search_arrays(unsorted, 1)[1].tolist() == [[11], [45]]


@pytest.mark.parametrize("what", ["documents", "queries"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.nan, "is not a finite float32 number"),
        (np.inf, "is not a finite float32 number"),
        (1e300, "is not a finite float32 number"),
        (-0.5, "is negative; sparse retrieval needs weights >= 0"),
    ],
)
def test_weights_that_cannot_be_searched_are_named(what, value, problem):
    vectors = sparse.csr_matrix(np.array([[0.0, 1.0], [value, 0.0]]))
    with pytest.raises(DiscoError, match=f"weight of the {what} {problem}"):
        if what == "documents":
            InvertedIndex.build(vectors, names(2))
        else:
            InvertedIndex.build(csr([[1, 1]]), ["p"]).search_arrays(vectors, 1)


def test_queries_of_another_vocabulary_are_refused():
    index = InvertedIndex.build(csr([[1, 0, 0]]), ["p"])
    with pytest.raises(DiscoError, match="queries have 2 dimensions, the index 3: .*different voc"):
        index.search(csr([[1, 0]]), 1)


def test_dense_vectors_and_wrong_ids_are_refused():
    with pytest.raises(DiscoError, match="documents must be a scipy sparse matrix, not ndarray"):
        InvertedIndex.build(np.ones((2, 2)), names(2))
    with pytest.raises(DiscoError, match="2 vectors, but 3 ids"):
        InvertedIndex.build(csr([[1], [1]]), names(3))
    with pytest.raises(DiscoError, match="An id stands twice"):
        InvertedIndex.build(csr([[1], [1]]), ["a", "a"])


def test_check_vectors_copies_nothing_that_is_in_order():
    vectors = csr([[0, 1], [2, 0]])
    assert np.shares_memory(check_vectors(vectors, "queries").data, vectors.data)


# Saved and loaded


@pytest.fixture
def saved(tmp_path):
    documents = random_vectors(3, 25, 10, 0.4)
    ids = [f"pässage {i}" for i in range(25)]
    InvertedIndex.build(documents, ids).save(tmp_path / "new" / "index")
    return tmp_path / "new" / "index"


def test_a_loaded_index_finds_the_same_and_is_memory_mapped(saved):
    built = InvertedIndex.build(random_vectors(3, 25, 10, 0.4), names(25))
    index = InvertedIndex.load(saved)
    assert len(index) == 25 and index.ids[3] == "pässage 3" and index.vocabulary_size == 10
    for array in (index.postings.weights, index.postings.steps, index.postings.weight_starts):
        assert isinstance(array, np.memmap)
    queries = random_vectors(4, 6, 10, 0.5)
    for found, expected in zip(
        index.search_arrays(queries, 7), built.search_arrays(queries, 7), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_saving_again_replaces_the_index_and_a_loaded_one_still_works(saved):
    index = InvertedIndex.load(saved)
    InvertedIndex.build(csr([[1.0]]), ["only"]).save(saved)
    assert list(InvertedIndex.load(saved).ids) == ["only"]
    index.save(saved)
    assert len(InvertedIndex.load(saved)) == 25


def test_an_index_without_a_posting_is_saved_and_loaded(tmp_path):
    for n in (0, 3):
        blank = sparse.csr_matrix((n, 5), dtype=np.float32)
        InvertedIndex.build(blank, names(n)).save(tmp_path / "blank")
        index = InvertedIndex.load(tmp_path / "blank")
        assert len(index) == n
        assert index.search_arrays(csr([[1, 1, 1, 1, 1]]), 2)[0].shape == (1, min(n, 2))


def test_the_same_vectors_give_the_same_bytes(saved, tmp_path):
    InvertedIndex.load(saved).save(tmp_path / "again")
    for path in saved.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_every_flipped_byte_is_found_and_its_file_named(saved):
    files = [path for path in saved.iterdir() if path.name != "MANIFEST.json"]
    assert {path.name for path in files} == {
        "weights.npy", "steps.npy", "weight_starts.npy", "step_starts.npy", "weight_bases.npy",
        "step_bases.npy", "scales.npy", "highest.npy", "counts.npy", "sizes.npy", "id_ends.npy",
        "id_text.npy",
    }  # fmt: skip
    for path in files:
        content = path.read_bytes()
        for place in range(0, len(content), 7):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            with pytest.raises(IntegrityError) as caught:
                InvertedIndex.load(saved)
            assert str(path) in str(caught.value) and "disco index" in str(caught.value)
        path.write_bytes(content)
    assert len(InvertedIndex.load(saved)) == 25


@pytest.mark.parametrize("name", ["steps.npy", "id_text.npy", "MANIFEST.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(IntegrityError, match=rf"{name}.*disco index"):
        InvertedIndex.load(saved)


def test_what_is_no_index_is_named(tmp_path, saved):
    with pytest.raises(IntegrityError, match="nowhere: no MANIFEST"):
        InvertedIndex.load(tmp_path / "nowhere")
    from disco_lib.storage import seal_folder

    manifest = json.loads((saved / "MANIFEST.json").read_text())
    assert manifest["format"] == "disco-index-2"
    (saved / "MANIFEST.json").unlink()
    seal_folder(saved, format="disco-index-1")
    with pytest.raises(IntegrityError, match="not an index of format disco-index-2"):
        InvertedIndex.load(saved)
