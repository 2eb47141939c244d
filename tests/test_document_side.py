import copy

import numpy as np
import pytest
import torch

from disco_lib import document_side
from disco_lib.document_side import FrozenDocuments, TrainedDocuments, TwoEncoders, check_trainable
from disco_lib.errors import DiscoError
from disco_lib.losses import Objective
from disco_lib.sparsity import activation

LENGTH = 48
KL = Objective({"kl_divergence": 1.0})
# Documents 7 and 3 are drawn twice.
CHOSEN = np.array([[7, 3, 20], [41, 7, 3]])


@pytest.fixture
def rows(collection, encoder):
    return encoder.encode(collection.passage_texts(), LENGTH)


@pytest.fixture
def trained(collection, encoder):
    return TrainedDocuments(encoder, collection.passage_texts(), LENGTH)


def vectors_of(side, inputs):
    """Return the vectors of a batch's distinct documents."""
    return torch.cat([side.encoder(*tokens) for tokens in inputs["document_tokens"]])


def test_frozen_documents_come_as_one_sparse_matrix(rows):
    found = FrozenDocuments(rows, KL).inputs(CHOSEN, [7, -1])
    assert set(found) == {"documents"}
    dense = found["documents"].to_dense().numpy()
    np.testing.assert_array_equal(dense, rows[CHOSEN.ravel()].toarray())


def test_dense_vectors_come_where_the_objective_looks_at_them(rows):
    found = FrozenDocuments(rows, Objective({"document_flops": 1.0})).inputs(CHOSEN, [7, -1])
    np.testing.assert_array_equal(found["document_vectors"], rows[[3, 7, 20, 41]].toarray())
    assert "positive_documents" not in found
    for part in ("document_mse", "filtered_representation_mse"):
        positives = FrozenDocuments(rows, Objective({part: 1.0})).inputs(CHOSEN, [7, -1])
        np.testing.assert_array_equal(positives["positive_documents"][0], rows[7].toarray()[0])
        assert not positives["positive_documents"][1].any()
        assert "document_vectors" not in positives


def test_the_activation_of_frozen_documents_is_the_collections(rows):
    found = FrozenDocuments(rows, KL).activation(None)
    np.testing.assert_allclose(found, activation(rows), rtol=1e-6)


@pytest.mark.parametrize("group", [1, 3, 16])
def test_each_distinct_document_is_read_once(trained, rows, monkeypatch, group):
    monkeypatch.setattr(document_side, "GROUP", group)
    inputs = trained.inputs(CHOSEN, [7, -1])
    vectors = vectors_of(trained, inputs).detach()
    assert [len(ids) for ids, _ in inputs["document_tokens"]] == {
        1: [1] * 4, 3: [3, 1], 16: [4]
    }[group]  # fmt: skip
    for place, document in zip(inputs["place"].ravel(), CHOSEN.ravel(), strict=True):
        np.testing.assert_allclose(vectors[place], rows[document].toarray()[0], atol=1e-5)


def test_groups_are_of_similar_length(encoder, monkeypatch):
    monkeypatch.setattr(document_side, "GROUP", 2)
    texts = ["tea", "who first made the violin and the cello and the drum and the trumpet"] * 2
    inputs = TrainedDocuments(encoder, texts, LENGTH).inputs(np.array([[0, 1], [2, 3]]), [0, 1])
    (_, short), (_, long) = inputs["document_tokens"]
    assert short.sum(-1).max() < long.sum(-1).min()
    assert inputs["place"].tolist() == [[0, 2], [1, 3]]


def test_both_sides_give_the_same_scores(trained, rows):
    queries = torch.rand(2, rows.shape[1])
    inputs = trained.inputs(CHOSEN, [7, -1])
    found = trained.scores(queries, vectors_of(trained, inputs), inputs)
    frozen = FrozenDocuments(rows, KL)
    torch.testing.assert_close(found, frozen.scores(queries, None, frozen.inputs(CHOSEN, [7, -1])))


def test_two_encoders_learn_apart(trained, encoder, collection):
    pair = TwoEncoders(encoder, copy.deepcopy(encoder))
    side = TrainedDocuments(pair.documents, collection.passage_texts(), LENGTH)
    tokens = side.inputs(CHOSEN, [7, -1])["document_tokens"]
    queries, documents = pair(*encoder.pad([[2, 9, 3], [2, 30, 3]]), tokens)
    assert queries.shape[0] == 2 and documents.shape[0] == 4
    documents.sum().backward()
    assert all(weight.grad is None for weight in pair.queries.parameters())
    assert any(weight.grad is not None for weight in pair.documents.parameters())


@pytest.mark.parametrize(
    ("parts", "length", "problem"),
    [
        ({"kl_divergence": 1, "document_mse": 1}, LENGTH, "document_mse .* 'documents' 'frozen'"),
        ({"info_nce": 1, "filtered_representation_mse": 1}, LENGTH, "^filtered_representation_mse"),
        ({"representation_mse": 1}, LENGTH, "nothing in the objective scores .* kl_divergence"),
        ({"representation_mse": 1, "document_flops": 1, "kl_divergence": 0}, LENGTH, "nothing in"),
        ({"kl_divergence": 1}, 257, "'document_length': lower it. .*2 to 256"),
    ],
)
def test_what_cannot_be_trained_is_named(encoder, parts, length, problem):
    with pytest.raises(DiscoError, match=problem):
        check_trainable(Objective(parts), encoder, length)


def test_what_can_be_trained_passes(encoder):
    for part in ("kl_divergence", "margin_mse", "info_nce"):
        check_trainable(Objective({part: 1, "representation_mse": 1, "l1": 1}), encoder, LENGTH)
