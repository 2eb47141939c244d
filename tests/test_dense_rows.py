from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_rows import DenseIndex, DenseRowEncoder, index_of
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.index import InvertedIndex
from disco_lib.tiers import Tier

SCALED = {"kl_divergence": {"weight": 400.0, "temperature": 0.05}}
DISTIL = {
    "limits": {"utterance": 12, "answer": 12, "total": 48}, "document_length": 48,
    "sampler": {"negatives": 4, "start": 0, "end": 20}, "objective": {"kl_divergence": 1.0},
    "steps": 4, "batch_size": 4, "learning_rate": 1e-3,
}  # fmt: skip
TAUGHT = {"run": "student", "teachers": ["gold"]}


@pytest.fixture
def folder(dense_encoder, tmp_path):
    dense_encoder.save_pretrained(tmp_path / "dense")
    return str(tmp_path / "dense")


@pytest.fixture
def laboratory(collection_folder, encoder_folder, folder):
    systems = {
        "sparse": TAUGHT,
        "conversation": {"run": "encoder", "input": "conversation", "dense": folder},
        "rewrite": {"run": "encoder", "input": "rewrite:gold", "dense": folder},
        "scores": {**TAUGHT, "dense": folder, "objective": SCALED},
        "copy": {**TAUGHT, "dense": folder, "objective": {"representation_mse": 1.0}},
    }
    tier = Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        seeds=(1,), depth=40, teacher_depth=40, evaluation={}, distil=DISTIL, systems=systems,
    )  # fmt: skip
    return Laboratory(tier, progress=False)


def test_the_search_is_the_whole_product():
    rng = np.random.default_rng(0)
    passages, queries = rng.normal(size=(30, 8)), rng.normal(size=(5, 8))
    index = DenseIndex.build(sparse.csr_matrix(passages), [f"p{i}" for i in range(30)])
    documents, scores = index.search_arrays(queries, 7)
    products = queries.astype("f4") @ passages.astype("f4").T
    assert (documents == np.argsort(-products, axis=1, kind="stable")[:, :7]).all()
    np.testing.assert_allclose(scores, -np.sort(-products, axis=1)[:, :7], rtol=1e-6)
    run = index.search(sparse.csr_matrix(queries), 100, list("abcde")).to_dict()
    assert set(run) == set("abcde") and all(len(found) == 30 for found in run.values())


def test_equal_scores_keep_the_collections_order():
    index = DenseIndex.build(np.ones((4, 2)), list("wxyz"))
    assert index.search_arrays(np.ones((1, 2)), 3)[0].tolist() == [[0, 1, 2]]


def test_what_does_not_fit_is_told():
    with pytest.raises(DiscoError, match="2 vectors, 1 ids"):
        DenseIndex.build(np.ones((2, 3)), ["a", "a"])
    with pytest.raises(DiscoError, match="not finite"):
        DenseIndex.build(np.array([[1.0, np.nan]]), ["a"])
    index = DenseIndex.build(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(DiscoError, match="k is 0"):
        index.search_arrays(np.ones((1, 3)), 0)
    with pytest.raises(DiscoError, match="2 dimensions, the index 3"):
        index.search_arrays(np.ones((1, 2)), 1)
    with pytest.raises(DiscoError, match="2 queries, 1 ids"):
        index.search(np.ones((2, 3)), 1, ["q", "q"])


def test_rows_are_the_dense_encoders_vectors(folder):
    texts = ["who wrote it", "when"]
    rows = DenseRowEncoder.from_pretrained(folder).encode(texts)
    expected = DenseEncoder.from_pretrained(folder).encode(texts)
    np.testing.assert_allclose(rows.toarray(), expected, atol=1e-6)


def test_each_kind_has_its_index(laboratory):
    for name, kind in (("sparse", InvertedIndex), ("scores", DenseIndex)):
        ground = laboratory.ground(name)
        assert isinstance(ground.index, kind)
        found = index_of(ground.encoder, ground.documents, ground.collection.pids)
        assert isinstance(found, kind)
    assert laboratory.ground("scores").collection is laboratory.ground().collection


@pytest.mark.parametrize("name", ["scores", "copy"])
def test_a_dense_student_learns_from_a_dense_teacher(laboratory, name):
    teacher = laboratory.teacher_of(name)
    dense = laboratory.encoder_of(name)
    assert teacher.queries.shape[1] == dense.dimensions
    row = dense.encode([t.rewrites["gold"] for t in laboratory.collection.iter_turns("train")][:1])
    documents = laboratory.ground(name).documents
    scores = (row @ documents.T).toarray().ravel()
    np.testing.assert_allclose(teacher.scores[0], -np.sort(-scores)[:40], atol=1e-5)
    student = laboratory.student(name, 1)
    assert isinstance(student, DenseRowEncoder)
    assert student.fingerprint() != dense.fingerprint()
    record = laboratory.measure(name)
    assert set(record.costs["1"]) <= {"seconds", "taught_turns"}
    assert 0 <= record.mean("MRR@10") <= 1


def test_a_finished_dense_student_is_found_again(laboratory):
    first = laboratory.student("scores", 1)
    again = laboratory.student("scores", 1)
    assert again.fingerprint() == first.fingerprint()
    folder = laboratory.student_folder("scores", 1)
    assert folder != laboratory.student_folder("sparse", 1)


def test_untrained_dense_systems_are_searched(laboratory):
    run = laboratory.run("rewrite")[1]
    assert len(run.to_dict()) == len(laboratory.measure("rewrite").turn_ids)
    settings = [laboratory.settings(name)["encoder"] for name in ("rewrite", "sparse")]
    assert settings[0] != settings[1]


def test_a_dense_encoder_that_there_is_not_is_told(laboratory):
    systems = {"odd": {**TAUGHT, "dense": "no/such-folder"}}
    tier = replace(laboratory.tier, systems=systems)
    with pytest.raises(DiscoError, match="no/such-folder"):
        Laboratory(tier, progress=False).encoder_of("odd")
