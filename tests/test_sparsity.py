import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.sparsity import activation, active_terms, flops, postings_touched, shrink


def csr(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


QUERIES = csr([[2, 0, 1, 0], [0, 0, 3, 0]])
DOCUMENTS = csr([[1, 0, 0, 5], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]])


def stored_zero():
    """Return the queries with an entry that is stored although it is 0."""
    vectors = QUERIES.copy()
    return sparse.csr_matrix(
        (np.append(vectors.data, 0), np.append(vectors.indices, 3), [0, 2, 4]), vectors.shape
    )


def test_active_terms_by_hand():
    assert active_terms(QUERIES).tolist() == [2, 1]
    assert active_terms(stored_zero()).tolist() == [2, 1]
    assert active_terms(sparse.csr_matrix((0, 4))).tolist() == []
    assert active_terms(QUERIES).dtype == np.int64


def test_activation_by_hand():
    assert activation(QUERIES).tolist() == [0.5, 0, 1, 0]
    assert activation(stored_zero()).tolist() == [0.5, 0, 1, 0]
    assert activation(DOCUMENTS).tolist() == [0.5, 0.25, 0.75, 0.25]
    assert activation(sparse.csr_matrix((0, 4))).tolist() == [0, 0, 0, 0]


def test_flops_by_hand():
    # 0.5 * 0.5 + 1 * 0.75
    assert flops(QUERIES, DOCUMENTS) == 1.0
    assert flops(QUERIES, sparse.csr_matrix((0, 4))) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 8), st.floats(0, 1))
def test_flops_is_the_mean_number_of_shared_terms(seed, n, m, density):
    draw = np.random.default_rng(seed)
    queries, documents = (
        sparse.random(rows, 15, density, "csr", np.float32, draw) for rows in (n, m)
    )
    shared = (queries != 0).astype(int) @ (documents != 0).astype(int).T
    assert flops(queries, documents) == pytest.approx(shared.toarray().mean())
    if density > 0:
        index = InvertedIndex.build(documents, [str(i) for i in range(m)])
        touched = postings_touched(queries, index)
        np.testing.assert_array_equal(touched, shared.toarray().sum(axis=1))
        assert touched.mean() == pytest.approx(flops(queries, documents) * m)


def test_postings_touched_by_hand():
    index = InvertedIndex.build(DOCUMENTS, list("abcd"))
    # Terms 0 and 2 have 2 and 3 postings.
    assert postings_touched(QUERIES, index).tolist() == [5, 3]


def test_shrink_by_hand():
    vectors = csr([[1, 2, 3, 4], [8, 2, 0, 0]])
    pull = np.ones(4)
    # After a step of 2, the smallest of which half of the six live, 3, 4 and 8 are 1, 2 and 6.
    assert shrink(vectors, pull, 0.5).toarray().tolist() == [[0, 0, 1, 2], [6, 0, 0, 0]]
    # Twice the pull on term 0: its weights live for 1/2 and 4 steps; 2 steps take 4 from the 8.
    pull[0] = 2
    assert shrink(vectors, pull, 0.5).toarray().tolist() == [[0, 0, 1, 2], [4, 0, 0, 0]]
    assert vectors.toarray().tolist() == [[1, 2, 3, 4], [8, 2, 0, 0]], "the input was changed"
    assert shrink(sparse.csr_matrix((2, 4)), pull, 0.5).nnz == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_shrink_keeps_at_most_its_share(seed, keep):
    draw = np.random.default_rng(seed)
    vectors = sparse.random(10, 30, 0.4, "csr", np.float32, draw)
    shrunk = shrink(vectors, 0.1 + draw.random(30), keep)
    assert keep * vectors.nnz - 2 < shrunk.nnz <= keep * vectors.nnz
    assert (shrunk.data > 0).all() and shrunk.dtype == np.float32
    assert ((vectors - shrunk).toarray() >= -1e-6).all()


@pytest.mark.parametrize("keep", [0, 1, -0.5, 2])
def test_a_share_out_of_range_is_named(keep):
    with pytest.raises(DiscoError, match=f"keep is {keep}; give a share between 0 and 1"):
        shrink(QUERIES, np.ones(4), keep)
