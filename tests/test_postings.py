import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.postings import pack


def names(n):
    return [f"p{i}" for i in range(n)]


def skewed(seed, n, vocabulary):
    """Draw vectors as learned ones are: some terms in nearly every document, most in very few."""
    draw = np.random.default_rng(seed)
    share = draw.random(vocabulary) ** 6
    weights = draw.gamma(2.0, 0.4, (n, vocabulary)).astype(np.float32)
    return sparse.csr_matrix(weights * (draw.random((n, vocabulary)) < share))


def forms(postings):
    """Count the lists of each form."""
    weights = np.diff(postings.weight_starts.astype(np.int64), axis=1)
    steps = np.diff(postings.step_starts.astype(np.int64), axis=1)
    held = weights > 0
    return {
        "dense": int((held & (steps == 0)).sum()),
        "gaps": int((held & (steps == weights)).sum()),
        "places": int((held & (steps == 2 * weights)).sum()),
    }


def plain_search(vectors, query, k):
    """Search term at a time in one accumulator a document, as the blocks do but without them."""
    columns = vectors.tocsc()
    scores = np.zeros(vectors.shape[0], dtype=np.float32)
    for term, weight in zip(query.indices, query.data, strict=True):
        at = slice(columns.indptr[term], columns.indptr[term + 1])
        scores[columns.indices[at]] += weight * columns.data[at]
    best = [d for d in np.argsort(-scores, kind="stable")[:k] if scores[d] > 0]
    return best, scores[best]


@pytest.mark.parametrize("storage", ["float32", "uint8"])
def test_all_three_forms_are_used_and_give_the_plain_accumulators_result(storage):
    vectors = skewed(1, 3000, 120)
    index = InvertedIndex.build(vectors, names(3000), storage, block=1024)
    assert min(forms(index.postings).values()) > 0
    stored = unpacked(index) if storage == "uint8" else vectors
    queries = skewed(2, 12, 120)
    positions, scores = index.search_arrays(queries, 50)
    for i in range(12):
        best, expected = plain_search(stored, queries[i], 50)
        np.testing.assert_allclose(scores[i, : len(best)], expected, rtol=1e-6)
        if storage == "float32":  # the same sums in the same order: equal to the last bit
            assert positions[i, : len(best)].tolist() == best
            np.testing.assert_array_equal(scores[i, : len(best)], expected)


def unpacked(index):
    """Read the stored weights back, one query of a single term at a time."""
    n, vocabulary = len(index), index.vocabulary_size
    one = sparse.identity(vocabulary, dtype=np.float32, format="csr")
    positions, scores = index.search_arrays(one, n)
    rows = np.zeros((n, vocabulary), dtype=np.float32)
    for term in range(vocabulary):
        found = positions[term] >= 0
        rows[positions[term][found], term] = scores[term][found]
    return sparse.csr_matrix(rows)


@pytest.mark.parametrize("storage", ["float32", "uint8"])
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 700), st.integers(1, 15), st.integers(1, 800),
    st.integers(1, 40),
)  # fmt: skip
def test_blocks_of_any_size_give_the_same_result(storage, seed, n, vocabulary, block, k):
    vectors, queries = skewed(seed, n, vocabulary), skewed(seed + 1, 3, vocabulary)
    whole = InvertedIndex.build(vectors, names(n), storage)
    parts = InvertedIndex.build(vectors, names(n), storage, block)
    for found, expected in zip(
        parts.search_arrays(queries, k), whole.search_arrays(queries, k), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_every_posting_comes_back():
    vectors = skewed(5, 900, 60)
    index = InvertedIndex.build(vectors, names(900), block=400)
    assert (unpacked(index) != vectors).nnz == 0
    np.testing.assert_array_equal(index.postings.counts, vectors.getnnz(axis=0))


def test_a_gap_of_any_width_is_bridged():
    for gap in (1, 2, 255, 256, 257, 510, 511, 2000, 40_000):
        rows = sparse.csr_matrix(
            (np.ones(40, np.float32), (np.r_[0:39, 38 + gap], np.zeros(40, int))), (38 + gap + 1, 1)
        )
        index = InvertedIndex.build(rows, names(rows.shape[0]), block=65_536)
        positions, _ = index.search_arrays(sparse.csr_matrix([[1.0]]), 100)
        assert positions[0][positions[0] >= 0].tolist() == [*range(39), 38 + gap]


def test_one_byte_is_off_by_half_a_step_at_most_and_loses_no_posting():
    vectors = skewed(6, 500, 40)
    vectors.data[::50] = 1e-6  # far below half a step
    stored = unpacked(InvertedIndex.build(vectors, names(500), "uint8"))
    assert stored.nnz == vectors.nnz
    scale = np.asarray(vectors.max(axis=0).todense()).ravel() / 255
    error = abs(stored - vectors).tocoo()
    small = np.asarray(vectors[error.row, error.col]).ravel() < scale[error.col] / 2
    assert (error.data[~small] <= 0.501 * scale[error.col][~small]).all()
    assert (error.data[small] <= scale[error.col][small]).all()


def test_one_byte_keeps_the_ranking_and_takes_a_third_of_the_bytes():
    vectors, queries = skewed(7, 20_000, 400), skewed(8, 20, 400)
    exact = InvertedIndex.build(vectors, names(20_000)).search_arrays(queries, 100)[0]
    packed = InvertedIndex.build(vectors, names(20_000), "uint8")
    found = packed.search_arrays(queries, 100)[0]
    shared = [len(set(a) & set(b)) / 100 for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) >= 0.99
    assert packed.postings.nbytes <= 0.35 * vectors.nnz * 8


def test_blocks_that_cannot_enter_the_result_change_nothing():
    # The second half scores far below the first, so its blocks are passed over.
    vectors = skewed(9, 2000, 30)
    vectors.data[vectors.indptr[1000] :] *= np.float32(1e-4)
    queries = skewed(10, 5, 30)
    found = InvertedIndex.build(vectors, names(2000), block=250).search_arrays(queries, 10)
    expected = InvertedIndex.build(vectors, names(2000), block=2000).search_arrays(queries, 10)
    np.testing.assert_array_equal(found[0], expected[0])


def test_threads_give_the_same_result():
    import numba

    vectors, queries = skewed(11, 1500, 50), skewed(12, 33, 50)
    index = InvertedIndex.build(vectors, names(1500), block=512)
    before = numba.get_num_threads()
    try:
        results = []
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            results.append(index.search_arrays(queries, 20))
    finally:
        numba.set_num_threads(before)
    alone = [index.search_arrays(queries[i], 20) for i in range(33)]
    for positions, scores in results:
        np.testing.assert_array_equal(positions, np.vstack([a[0] for a in alone]))
        np.testing.assert_array_equal(scores, np.vstack([a[1] for a in alone]))


def test_settings_that_cannot_be_are_refused():
    vectors = skewed(0, 5, 5)
    with pytest.raises(DiscoError, match="storage 'int4'; use 'uint8' or 'float32'"):
        pack(vectors, "int4")
    for block in (0, 65_537):
        with pytest.raises(DiscoError, match=f"block is {block}; use 1 to 65,536"):
            pack(vectors, block=block)
