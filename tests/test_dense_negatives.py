import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.dense_losses import DenseBatch, DenseObjective
from disco_lib.dense_negatives import (
    KINDS,
    Columns,
    HardNegatives,
    InBatchNegatives,
    MemoryBank,
    Pool,
    RandomNegatives,
    negatives_from_dict,
    repeats,
)
from disco_lib.embedding_cache import Annotation
from disco_lib.errors import DiscoError
from disco_lib.pairs import Pair


def pairs_of(documents):
    return [Pair(str(i), f"query {i}", text, "q", "d") for i, text in enumerate(documents)]


def pool_of(n=12, depth=6, seed=0):
    """Return a pool of n documents with the ranking of random embeddings, and the embeddings."""
    draw = np.random.default_rng(seed)
    annotation = Annotation(*(draw.normal(size=(n, 4)).astype(np.float32) for _ in range(2)))
    return Pool.of(pairs_of(map(str, range(n)))).ranked(annotation, depth), annotation


def rng(seed=0):
    return np.random.default_rng(seed)


# The pool


def test_equal_documents_have_one_number():
    pool = Pool.of(pairs_of(["a", "b", "a", "c", "b"]))
    assert pool.numbers.tolist() == [0, 1, 0, 2, 1]
    assert pool.first.tolist() == [0, 1, 3] and pool.ranking.shape == (5, 0)


def test_the_ranking_is_the_teachers_without_the_own_document():
    pool, annotation = pool_of()
    scores = annotation.similarities()
    for i, row in enumerate(pool.ranking):
        others = [j for j in np.argsort(-scores[i]) if j != i]
        assert row.tolist() == others[:6]


def test_a_document_of_two_pairs_is_ranked_once():
    queries = np.array([[1.0, 0], [0, 1], [1, 0]], np.float32)
    documents = np.array([[1.0, 0], [0.9, 0.1], [1.0, 0]], np.float32)
    pool = Pool.of(pairs_of(["a", "b", "a"])).ranked(Annotation(queries, documents), 1)
    assert pool.ranking.tolist() == [[1], [0], [1]]


def test_equal_scores_count_in_the_pools_order():
    flat = np.ones((4, 2), np.float32)
    pool = Pool.of(pairs_of("abcd")).ranked(Annotation(flat, flat), 3)
    assert pool.ranking.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_a_pool_of_many_pairs_is_ranked_in_parts(monkeypatch):
    expected, annotation = pool_of(n=12)
    monkeypatch.setattr("disco_lib.dense_negatives._ROWS_AT_ONCE", 5)
    assert np.array_equal(pool_of(n=12)[0].ranking, expected.ranking)


@pytest.mark.parametrize("depth", [0, 12, -1])
def test_depths_that_there_are_not_are_named(depth):
    with pytest.raises(DiscoError, match=f"depth is {depth}; of 12 documents.* 1 to 11"):
        pool_of(depth=depth)


def test_other_pairs_and_no_pairs_are_named():
    _, annotation = pool_of()
    with pytest.raises(DiscoError, match="Embeddings of 12 pairs for a pool of 2"):
        Pool.of(pairs_of("ab")).ranked(annotation, 1)
    with pytest.raises(DiscoError, match="No pair to draw negatives from"):
        Pool.of([])


# What joins a batch


def test_in_batch_adds_nothing():
    pool = Pool.of(pairs_of(["a", "b", "a", "c"]))
    found = InBatchNegatives().columns([3, 0, 2], pool, rng())
    assert found.documents.tolist() == [2, 0, 0]
    assert found.duplicates.tolist() == [
        [True, False, False], [False, True, True], [False, True, True],
    ]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True),
    st.sampled_from([RandomNegatives(3), HardNegatives(2, 1, 5), InBatchNegatives()]),
    st.integers(0, 5),
)
def test_columns_hold_the_own_documents_first_and_mark_every_repeat(batch, negatives, seed):
    pool, _ = pool_of()
    found = negatives.columns(batch, pool, rng(seed))
    extra = getattr(negatives, "negatives", 0)
    assert len(found.documents) == len(batch) * (1 + extra)
    assert found.documents[: len(batch)].tolist() == pool.numbers[batch].tolist()
    drawn = found.documents[len(batch) :].reshape(len(batch), extra)
    for i, (own, row) in enumerate(zip(pool.numbers[batch], drawn, strict=True)):
        assert own not in row and len(set(row.tolist())) == extra
        assert (found.duplicates[i] == (found.documents == own)).all()
    again = negatives.columns(batch, pool, rng(seed))
    assert np.array_equal(again.documents, found.documents)


def test_random_negatives_are_uniform_over_the_others():
    pool, _ = pool_of(n=5, depth=1)
    drawn = RandomNegatives(1).draw(np.full(8000, 2), pool, rng())
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == 0 and np.allclose(counts[[0, 1, 3, 4]], 2000, atol=150)
    assert sorted(RandomNegatives(4).draw(np.array([2]), pool, rng())) == [0, 1, 3, 4]


def test_hard_negatives_are_uniform_over_their_ranks():
    pool, _ = pool_of()
    drawn = HardNegatives(1, start=2, end=6).draw(np.full(8000, 3), pool, rng())
    numbers, counts = np.unique(drawn, return_counts=True)
    assert set(numbers) == set(pool.ranking[3, 2:6]) and np.allclose(counts, 2000, atol=150)


def test_too_few_documents_are_named():
    pool, _ = pool_of()
    with pytest.raises(DiscoError, match="12 negatives a query, but there are only 11 documents"):
        RandomNegatives(12).draw(np.array([0]), pool, rng())
    with pytest.raises(DiscoError, match="to rank 7 of a ranking of 6. Rank deeper"):
        HardNegatives(1, end=7).draw(np.array([0]), pool, rng())
    with pytest.raises(DiscoError, match="to rank 20 of a ranking of 0"):
        HardNegatives().draw(np.array([0]), Pool.of(pairs_of("ab")), rng())


# Settings


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kinds_there_and_back(kind):
    made = negatives_from_dict({"kind": kind})
    assert negatives_from_dict(made.to_dict()) == made == KINDS[kind]()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "no kind None; there are: in-batch, random, hard"),
        ({"kind": "queue"}, "no kind 'queue'"),
        ({"kind": "in-batch", "negatives": 2}, "no setting 'negatives'"),
        ({"kind": "random", "negatives": 0}, "negatives is 0"),
        ({"kind": "random", "negatives": 1.5}, "'negatives' is 1.5; give a whole number"),
        ({"kind": "hard", "start": 5, "end": 5}, "ranks 5-5"),
        ({"kind": "hard", "start": -1}, "ranks -1-20"),
        ({"kind": "hard", "negatives": 21}, "21 negatives a query, but there are only 20"),
    ],
)
def test_settings_that_cannot_be_are_named(values, problem):
    with pytest.raises(DiscoError, match=problem):
        negatives_from_dict(values)


# The memory bank


def vectors(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_the_oldest_vectors_leave_first():
    bank = MemoryBank(3)
    assert len(bank) == 0
    bank.push(vectors([1.0], [2.0]), np.array([10, 11]))
    bank.push(vectors([3.0], [4.0]), np.array([12, 13]))
    assert len(bank) == 3 and bank.numbers.tolist() == [11, 12, 13]
    assert bank.vectors.flatten().tolist() == [2, 3, 4]
    bank.push(vectors(*[[float(i)] for i in range(9)]), np.arange(9))
    assert bank.numbers.tolist() == [6, 7, 8]


def test_the_bank_keeps_no_graph_and_no_memory_of_the_batch():
    made = vectors([1.0, 2.0]).requires_grad_()
    bank = MemoryBank(2)
    bank.push(made * 2, np.array([0]))
    assert not bank.vectors.requires_grad
    with torch.no_grad():
        made.add_(5)
    assert bank.vectors.tolist() == [[2.0, 4.0]]


def test_an_empty_bank_changes_nothing():
    columns = Columns(np.array([4]), np.array([[True]]))
    documents = vectors([1.0])
    assert MemoryBank(2).join(documents, columns) == (documents, columns)


def test_a_full_bank_joins_and_marks_stale_copies():
    bank = MemoryBank(2)
    bank.push(vectors([0.5, 0.5], [0.1, 0.9]), np.array([7, 4]))
    columns = Columns(np.array([4, 5]), np.eye(2, dtype=bool))
    documents = vectors([1.0, 0.0], [0.0, 1.0]).requires_grad_()
    joined, found = bank.join(documents, columns)
    assert found.documents.tolist() == [4, 5, 7, 4]
    assert found.duplicates.tolist() == [[True, False, False, True], [False, True, False, False]]
    assert joined.shape == (4, 2) and joined[2:].tolist() == bank.vectors.tolist()
    queries = vectors([0.3, 0.4], [0.2, 0.1]).requires_grad_()
    batch = DenseBatch(queries, joined, torch.zeros(2), torch.as_tensor(found.duplicates))
    loss = DenseObjective({"contrastive": 1.0})(batch)["loss"]
    alone = (
        -torch.log_softmax(queries[0] @ joined[[0, 1, 2]].T / 0.1, 0)[0]
        - torch.log_softmax(queries[1] @ joined.T / 0.1, 0)[1]
    ) / 2
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert documents.grad.abs().sum() > 0


def test_what_does_not_fit_the_bank_is_named():
    with pytest.raises(DiscoError, match="size is 0"):
        MemoryBank(0)
    bank = MemoryBank(2)
    with pytest.raises(DiscoError, match=r"\(1, 2\) vectors and 2 numbers"):
        bank.push(vectors([1.0, 2.0]), np.array([0, 1]))
    with pytest.raises(DiscoError, match="give one a vector"):
        bank.push(torch.zeros(3), np.array([0, 1, 2]))
    bank.push(vectors([1.0, 2.0]), np.array([0]))
    with pytest.raises(DiscoError, match="have 2 dimensions, these 1"):
        bank.push(vectors([1.0]), np.array([0]))


def test_repeats_by_hand():
    assert repeats([3, 1], [1, 3, 3]).tolist() == [[False, True, True], [True, False, False]]
