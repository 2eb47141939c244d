import numpy as np
import pytest
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.exact_scores import ExactScores

QUERIES = sparse.csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]], np.float32))
DOCUMENTS = sparse.csr_matrix(np.array([[1, 1, 1], [0, 2, 0], [5, 0, 0], [0, 0, 1]], np.float32))


def test_exact_scores_are_dot_products():
    exact = ExactScores(QUERIES, DOCUMENTS)
    assert exact.of(0, np.array([3, 0, 2])).tolist() == [2, 3, 5]
    assert exact.of(1, np.array([0])).tolist() == [0]
    assert exact.of(2, np.array([], dtype=np.int64)).tolist() == []
    every = exact.of_all([2, 0], np.array([0, 1, 1, 2]))
    assert every.tolist() == [[3, 6, 6, 0], [3, 0, 0, 5]]
    assert every.dtype == np.float32 and exact.of(0, np.array([3])).dtype == np.float32


def test_other_vocabularies_are_named():
    with pytest.raises(DiscoError, match="have 3 dimensions, the documents' 2"):
        ExactScores(QUERIES, DOCUMENTS[:, :2])
