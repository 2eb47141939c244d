"""Search gives what a dense product gives, for any vectors; what it cannot search it names."""

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy import sparse

from disco_lib.bm25 import Bm25Index, bm25_search, bm25_terms
from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex

many = settings.get_profile("torture")

_size = st.integers(0, 40)
_weight = st.one_of(
    st.just(0.0), st.just(0.0), st.integers(1, 3).map(float), st.floats(2**-20, 8, width=32)
)
STORAGES = ("float32", "uint8")


@st.composite
def _vectors(draw, rows, columns, weight=_weight):
    """Weights (rows, columns) with many zeros and ties; small cases shrink well."""
    if rows * columns <= 60:
        values = draw(st.lists(weight, min_size=rows * columns, max_size=rows * columns))
        return np.array(values, dtype=np.float32).reshape(rows, columns)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.02, 0.2, 0.6, 1.0]))
    values = rng.gamma(2, 0.4, (rows, columns))
    if draw(st.booleans()):
        values = np.ceil(values)
    return (values * (rng.random((rows, columns)) < share)).astype(np.float32)


def stored(documents, storage):
    """What an index of that storage keeps of each weight, by the definition."""
    if storage == "float32":
        return documents
    scale = documents.max(axis=0, initial=0) / np.float32(255)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.floor(documents / scale + np.float32(0.5))
    return np.where(documents > 0, np.clip(codes, 1, 255) * scale, 0).astype(np.float32)


def check(documents, queries, k, positions, scores):
    """The result of a search over these stored weights, against the product in float64."""
    product = queries.astype(np.float64) @ documents.T.astype(np.float64)
    assert positions.shape == scores.shape == (len(queries), min(k, len(documents)))
    for row in range(len(queries)):
        found = positions[row] >= 0
        n = int(found.sum())
        assert found[:n].all() and not scores[row, n:].any()
        assert n == min(k, int((product[row] > 0).sum()))
        chosen, values = positions[row, :n], scores[row, :n]
        assert len(set(chosen.tolist())) == n
        np.testing.assert_allclose(values, product[row, chosen], rtol=1e-5)
        assert (np.diff(values) <= 0).all()
        ties = np.diff(values) == 0
        assert (np.diff(chosen)[ties] > 0).all()  # the collection's order
        if n:
            missed = np.delete(product[row], chosen)
            assert missed.max(initial=0) <= values[-1] * (1 + 1e-5)


@st.composite
def _cases(draw):
    n, vocabulary = draw(_size | st.integers(200, 700)), draw(st.integers(1, 12))
    documents = draw(_vectors(n, vocabulary))
    queries = draw(_vectors(draw(st.integers(0, 4)), vocabulary))
    k = draw(st.integers(1, n + 5) | st.just(10**9))
    return documents, queries, k, draw(st.sampled_from([1, 3, 17, 256, 32_768]))


@many
@given(st.sampled_from(STORAGES), _cases())
def test_search_is_the_dense_product(storage, case):
    documents, queries, k, block = case
    ids = [f"d{i}" for i in range(len(documents))]
    index = InvertedIndex.build(sparse.csr_matrix(documents), ids, storage, block)
    positions, scores = index.search_arrays(sparse.csr_matrix(queries), k)
    kept = stored(documents, storage)
    assert (np.count_nonzero(kept, axis=0) == index.postings.counts).all()
    check(kept, queries, k, positions, scores)
    one_by_one = [index.search_arrays(sparse.csr_matrix(q[None]), k) for q in queries]
    for i, (alone, values) in enumerate(one_by_one):
        np.testing.assert_array_equal(alone[0], positions[i])
        np.testing.assert_array_equal(values[0], scores[i])


@many
@given(st.sampled_from(STORAGES), _cases(), st.text("abcdeé ", max_size=3))
def test_a_saved_index_is_the_same_index(tmp_path, storage, case, prefix):
    documents, queries, k, block = case
    ids = [f"{prefix}{i}" for i in range(len(documents))]
    built = InvertedIndex.build(sparse.csr_matrix(documents), ids, storage, block)
    built.save(tmp_path / "index")
    opened = InvertedIndex.load(tmp_path / "index")
    assert list(opened.ids) == ids and opened.storage == storage
    matrix = sparse.csr_matrix(queries)
    for a, b in zip(opened.search_arrays(matrix, k), built.search_arrays(matrix, k), strict=True):
        np.testing.assert_array_equal(a, b)
    assert opened.search(matrix, k).to_dict() == built.search(matrix, k).to_dict()


def _forms(draw, dense):
    """The same vectors as another sparse matrix."""
    form = draw(
        st.sampled_from(["float64", "unsorted", "repeated", "csc", "coo", "zeros", "array"])
    )
    rows = sparse.csr_matrix(dense)
    if form == "float64":
        return sparse.csr_matrix(dense.astype(np.float64))
    if form in ("csc", "coo"):
        return rows.asformat(form)
    if form == "array":
        return sparse.csr_array(rows)
    if form == "zeros":
        data = dense.ravel().copy()
        columns = np.tile(np.arange(dense.shape[1]), len(dense))
        starts = np.arange(len(dense) + 1) * dense.shape[1]
        return sparse.csr_matrix((data, columns, starts), dense.shape)
    coo = rows.tocoo()
    row, col, data = coo.row, coo.col, coo.data
    if form == "repeated":  # halves add up exactly
        row, col, data = np.tile(row, 2), np.tile(col, 2), np.tile(data / 2, 2)
    order = np.lexsort((np.random.default_rng(draw(st.integers(0, 99))).random(len(row)), row))
    starts = np.searchsorted(row[order], np.arange(len(dense) + 1))
    return sparse.csr_matrix((data[order], col[order], starts), dense.shape)


@many
@given(st.data(), _cases(), st.sampled_from(STORAGES))
def test_any_form_of_the_same_vectors_gives_the_same(data, case, storage):
    documents, queries, k, block = case
    ids = [f"d{i}" for i in range(len(documents))]
    plain = InvertedIndex.build(sparse.csr_matrix(documents), ids, storage, block)
    other = InvertedIndex.build(_forms(data.draw, documents), ids, storage, block)
    expected = plain.search_arrays(sparse.csr_matrix(queries), k)
    found = other.search_arrays(_forms(data.draw, queries), k)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


_any_number = st.floats(width=32) | st.sampled_from([0.0, 1.0, 1e-45, 3e38, -1.0, np.nan, np.inf])


@many
@given(st.data(), st.sampled_from(STORAGES), st.integers(1, 5), st.integers(1, 3))
def test_any_numbers_are_searched_or_named(data, storage, n, vocabulary):
    numbers = _any_number if data.draw(st.booleans()) else _any_number.filter(lambda x: x >= 0)
    documents = data.draw(_vectors(n, vocabulary, numbers))
    queries = data.draw(_vectors(2, vocabulary, numbers))
    try:
        index = InvertedIndex.build(sparse.csr_matrix(documents), list("abcde")[:n], storage)
        positions, scores = index.search_arrays(sparse.csr_matrix(queries), n)
    except DiscoError as error:
        event("refused")
        with np.errstate(all="ignore"):
            product = queries.astype(np.float64) @ documents.T.astype(np.float64)
            least = (documents < 0).any() or (queries < 0).any()
            top = queries.max(initial=0).astype(np.float64) * documents.max(initial=0)
        large = np.nanmax(np.where(np.isfinite(product), product, 0), initial=0) > 3.4e38
        finite = np.isfinite(documents).all() and np.isfinite(queries).all()
        assert least or not finite or large or top > 3.4e38, error
        return
    event("searched")
    assert np.isfinite(scores).all()
    kept = stored(documents, "float32").astype(np.float64)
    product = queries.astype(np.float64) @ kept.T
    for row in range(2):
        found = set(positions[row][positions[row] >= 0].tolist())
        # Nothing is lost but what float32 has no number for.
        assert {d for d in range(n) if product[row, d] > 1e-36} <= found
        assert {d for d in range(n) if product[row, d] == 0}.isdisjoint(found)


def test_scores_that_no_float32_holds_are_named():
    documents = sparse.csr_matrix(np.array([[1e30, 0], [0, 2e38]], np.float32))
    queries = sparse.csr_matrix(np.array([[1e30, 3e38]], np.float32))
    for storage in STORAGES:
        index = InvertedIndex.build(documents, ["a", "b"], storage)
        with pytest.raises(DiscoError, match="larger than any float32 number. Scale the weights"):
            index.search_arrays(queries, 2)
        assert index.search_arrays(queries * np.float32(1e-39), 2)[1].any()


def test_one_byte_loses_no_weight_however_small():
    documents = sparse.csr_matrix(np.array([[1e-44], [1e-45], [0]], np.float32))
    index = InvertedIndex.build(documents, list("abc"), "uint8")
    positions, _ = index.search_arrays(sparse.csr_matrix(np.array([[1e30]], np.float32)), 3)
    assert positions.tolist() == [[0, 1, -1]]


# BM25

_words = st.sampled_from(["violin", "cello", "the", "of", "", "red", "é"])
_passage = st.lists(_words, max_size=5).map(" ".join)


@many
@given(st.lists(_passage, max_size=5), st.lists(_passage, max_size=3), st.integers(1, 7))
def test_bm25_takes_any_passages_and_queries(passages, queries, k):
    pids = [f"p{i}" for i in range(len(passages))]
    found = bm25_search(
        passages, pids, queries, [f"q{i}" for i in range(len(queries))], k
    ).to_dict()
    for i, query in enumerate(queries):
        ranking = found.get(f"q{i}", {})
        terms = bm25_terms(passages, query) if passages else {}
        holding = [p for p, text in zip(pids, passages, strict=True) if {*text.split()} & {*terms}]
        assert len(ranking) == min(k, len(holding)) and set(ranking) <= set(holding)
        assert list(ranking.values()) == sorted(ranking.values(), reverse=True)
        assert all(score > 0 for score in ranking.values())


def test_bm25_refuses_a_k_below_1_and_other_ids():
    index = Bm25Index(["a violin"], ["p"])
    for k in (0, -1):
        with pytest.raises(DiscoError, match=f"k is {k}; it must be at least 1"):
            index.search(["violin"], ["q"], k)
    with pytest.raises(DiscoError, match="1 passages, but 2 ids"):
        Bm25Index(["a violin"], ["p", "q"])
