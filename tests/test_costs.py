import numba
import numpy as np
import pytest
from scipy import sparse

from disco_lib.costs import TIMED, collection_costs, search_ms
from disco_lib.index import InvertedIndex

VECTORS = sparse.csr_matrix(np.array([[1.0, 0, 2], [0, 3, 0]], dtype=np.float32))


class Watched:
    """An index that notes how many threads each of its searches may use."""

    def __init__(self, fails=False):
        self.threads, self.fails = [], fails

    def search_arrays(self, queries, k):
        self.threads.append(numba.get_num_threads())
        if self.fails:
            raise ValueError("broken")


def test_a_search_is_timed_on_one_thread_and_leaves_the_others_as_they_were():
    before = numba.get_num_threads()
    index = Watched()
    assert search_ms(index, VECTORS) > 0
    assert index.threads == [1] * TIMED
    with pytest.raises(ValueError, match="broken"):
        search_ms(Watched(fails=True), VECTORS)
    assert numba.get_num_threads() == before


def test_the_fastest_of_all_searches_counts_a_query(monkeypatch):
    ticks = iter(np.cumsum([0.0] + [5.0, 1.0] * TIMED))
    monkeypatch.setattr("disco_lib.costs.time.process_time", lambda: float(next(ticks)))
    # Every search lasts 5 seconds, and 1 passes between two.
    assert search_ms(Watched(), VECTORS) == pytest.approx(5000 / 2)


def test_no_query_costs_no_division_by_zero():
    index = InvertedIndex.build(VECTORS, ["a", "b"])
    assert search_ms(index, VECTORS[:0]) >= 0


def test_the_size_of_a_collection():
    index = InvertedIndex.build(VECTORS, ["a", "b"])
    costs = collection_costs(VECTORS, index)
    assert costs["document_terms"] == 1.5 and costs["postings"] == 3
    assert costs["index_mb"] == pytest.approx(index.postings.nbytes / 1e6, abs=1e-4)
