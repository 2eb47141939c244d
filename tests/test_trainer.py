import numpy as np
import pytest
import torch

from disco_lib.document_side import FrozenDocuments, TrainedDocuments
from disco_lib.losses import Objective
from disco_lib.trainer import DistilTrainer, score

LENGTH = 48
KL = Objective({"kl_divergence": 1.0})
WHOLE_BATCH = Objective({"info_nce": {"weight": 1.0, "negatives": "batch"}})
# The second query draws document 20 too, which is not its positive.
CHOSEN = np.array([[7, 3, 20], [41, 20, 8]])


@pytest.fixture
def rows(collection, encoder):
    return encoder.encode(collection.passage_texts(), LENGTH)


def inputs_of(side):
    """Return what the collator makes of two queries that draw `CHOSEN`."""
    return {
        "chosen": torch.as_tensor(CHOSEN),
        "teacher_scores": torch.zeros(2, 3),
        "positive": torch.tensor([0, 0]),
        **side.inputs(CHOSEN, [7, 41]),
    }


def test_scores_are_dot_products_and_duplicates_are_found(rows):
    side = FrozenDocuments(rows, WHOLE_BATCH)
    queries, dense = torch.rand(2, rows.shape[1]), torch.from_numpy(rows.toarray())
    batch = score(queries, None, inputs_of(side), side, WHOLE_BATCH)
    for i in range(2):
        torch.testing.assert_close(batch.scores[i], dense[CHOSEN[i]] @ queries[i])
        torch.testing.assert_close(batch.all_scores[i], dense[CHOSEN.ravel()] @ queries[i])
    # Column 4 is the second query's 20, which the first has too, and column 2 the other way round.
    assert torch.nonzero(batch.duplicates).tolist() == [[0, 4], [1, 2]]
    assert not batch.documents_trained
    assert score(queries, None, inputs_of(side), side, KL).all_scores is None


def test_scores_reach_the_queries_with_the_right_gradient(rows):
    side = FrozenDocuments(rows, KL)
    queries = torch.rand(2, rows.shape[1], requires_grad=True)
    score(queries, None, inputs_of(side), side, KL).scores.sum().backward()
    dense = torch.from_numpy(rows.toarray())
    torch.testing.assert_close(queries.grad, dense[CHOSEN].sum(dim=1))


def test_scores_reach_trained_documents_with_the_right_gradient(collection, encoder):
    side = TrainedDocuments(encoder, collection.passage_texts(), LENGTH)
    inputs = inputs_of(side)
    queries = torch.rand(2, encoder.vocabulary_size)
    vectors = torch.rand(5, encoder.vocabulary_size, requires_grad=True)
    batch = score(queries, vectors, inputs, side, KL)
    assert batch.documents_trained and batch.document_vectors is vectors
    batch.scores.sum().backward()
    # Document 20 belongs to both queries, every other one to its own alone.
    expected = torch.zeros_like(vectors)
    for query, places in enumerate(inputs["place"]):
        expected[places] += queries[query]
    torch.testing.assert_close(vectors.grad, expected)
    assert inputs["place"][0, 2] == inputs["place"][1, 1]


def test_regularisers_rise_quadratically():
    trainer = object.__new__(DistilTrainer)

    class State:
        global_step = 0

    trainer.state, trainer.ramp_steps = State, 4
    found = []
    for step in range(6):
        State.global_step = step
        found.append(trainer._regularisation())
    assert found == [1 / 16, 4 / 16, 9 / 16, 1, 1, 1]
    trainer.ramp_steps = 0
    assert trainer._regularisation() == 1.0
