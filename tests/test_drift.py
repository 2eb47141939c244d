import math

import numpy as np
import pytest

from disco_lib.alignment import align
from disco_lib.drift import search_drift, vector_drift
from disco_lib.errors import DiscoError


def rows(n=6, width=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def test_vector_drift_by_hand():
    found = vector_drift([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [1.5, 2.0]])
    # The second text: 4 / (2 * 2.5).
    assert (found.n, found.largest) == (2, 1.5)
    assert found.lowest_cosine == pytest.approx(0.8) and found.mean_cosine == pytest.approx(0.9)


def test_equal_vectors_have_not_drifted():
    found = vector_drift(rows(), rows())
    assert (found.largest, found.lowest_cosine) == (0.0, pytest.approx(1.0))
    assert found.lowest_cosine <= 1


def test_vectors_of_zeros_have_a_documented_cosine():
    found = vector_drift([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert (found.mean_cosine, found.lowest_cosine) == (0.5, 0.0)


def test_search_drift_by_hand():
    queries, documents = np.eye(2), np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    turned = documents[::-1]
    found = search_drift((queries, documents), (queries, turned), k=1)
    assert found.recovery.tolist() == [0.0, 0.0] and found.k == 1
    assert found.scores == align([3, 2, 1, 1, 2, 3], [1, 2, 3, 3, 2, 1])
    same = search_drift((queries, documents), (queries, documents), k=2)
    assert same.recovery.tolist() == [1.0, 1.0] and same.scores.mae == 0


def test_a_little_noise_is_a_little_drift():
    noise = 1e-4 * rows(60, seed=5)
    queries, documents = rows(20, seed=1), rows(60, seed=2)
    found = search_drift((queries, documents), (queries, documents + noise), k=10)
    assert found.scores.pearson > 0.9999 and found.recovery.mean() > 0.95
    assert 0 < vector_drift(documents, documents + noise).largest < 1e-3


@pytest.mark.parametrize(
    ("reference", "other", "problem"),
    [
        (rows(2), rows(3), r"shapes \(2, 4\) and \(3, 4\): encode the same texts"),
        (rows(0), rows(0), "one text at least"),
        (rows(2)[0], rows(2)[0], "encode the same texts"),
        ([[math.nan]], [[1.0]], "no finite number"),
        ([[1.0]], [[math.inf]], "no finite number"),
    ],
)
def test_vectors_that_cannot_be_compared_are_named(reference, other, problem):
    with pytest.raises(DiscoError, match=problem):
        vector_drift(reference, other)
    with pytest.raises(DiscoError, match=problem):
        search_drift((reference, reference), (other, other), 1)


@pytest.mark.parametrize("k", [0, 7])
def test_depths_that_there_are_not_are_named(k):
    with pytest.raises(DiscoError, match=f"K is {k}; of 6 documents"):
        search_drift((rows(), rows()), (rows(), rows()), k)
