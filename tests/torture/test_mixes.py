"""Things that do not belong together, and values at the edge: each is refused or well defined."""

import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from transformers import BertTokenizer
from typer.testing import CliRunner

from disco_lib.cli import app
from disco_lib.conversations import Limits
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.sampling import WindowSampler
from disco_lib.teachers import DistillationRun, teach
from disco_lib.training import DistilSettings, distil
from disco_lib.vectors import Vectors, load_vectors, save_vectors

pytestmark = pytest.mark.usefixtures("short_collections")

SETTINGS = DistilSettings(
    steps=2, batch_size=4, limits=Limits(16, 16, 48), document_length=48,
    sampler=WindowSampler(4, 0, 20), objective={"kl_divergence": 1.0},
)  # fmt: skip


def disco(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def teacher(collection, encoder):
    return teach(collection, "train", ["gold"], encoder, 20, max_length=48)


def with_tokens(encoder, words):
    """The encoder with another tokenizer, and as many dimensions as that has tokens."""
    other = copy.deepcopy(encoder)
    if len(words) != other.vocabulary_size:
        other.model.resize_token_embeddings(len(words))
    return SpladeEncoder(other.model, BertTokenizer(vocab=words)).eval()


@pytest.mark.parametrize("kind", ["more tokens", "other tokens"])
def test_documents_of_another_vocabulary_are_refused(kind, encoder, collection, teacher, tmp_path):
    words = dict(encoder.tokenizer.get_vocab())
    if kind == "more tokens":
        words["harp"] = len(words)
    else:  # as many dimensions, but each of another word
        last = max(words, key=words.get)
        words["tea"], words[last] = words[last], words["tea"]
    other = with_tokens(encoder, words)
    with pytest.raises(DiscoError, match="student's vocabulary.*documents' encoder.*tokenizer"):
        distil(
            encoder, collection, teacher, SETTINGS, tmp_path / "s", document_encoder=other,
            progress=False,
        )  # fmt: skip
    assert not (tmp_path / "s").exists()


def test_a_student_with_another_tokenizer_is_not_gone_on_with(
    encoder, collection, teacher, tmp_path
):
    distil(encoder, collection, teacher, SETTINGS, tmp_path / "s", progress=False)
    words = dict(encoder.tokenizer.get_vocab())
    words["tea"], words["lemon"] = words["lemon"], words["tea"]
    other = with_tokens(encoder, words)
    assert other.fingerprint() != encoder.fingerprint()
    with pytest.raises(DiscoError, match="holds a student of other settings"):
        distil(other, collection, teacher, SETTINGS, tmp_path / "s", progress=False)


def test_a_model_whose_tokenizer_has_more_tokens_than_it_is_refused(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "model")
    words = {**encoder.tokenizer.get_vocab(), "harp": encoder.vocabulary_size}
    BertTokenizer(vocab=words).save_pretrained(tmp_path / "model")
    n = encoder.vocabulary_size
    with pytest.raises(DiscoError, match=f"its tokenizer has {n + 1} tokens, its weights {n}"):
        SpladeEncoder.from_pretrained(tmp_path / "model")


def test_a_run_searched_in_another_collection_is_told(
    collection_folder, collection, encoder, tmp_path
):
    turns = collection.iter_turns("test")
    queries = encoder.encode([turn.utterance for turn in turns])
    ids = [f"other-{i}" for i in range(45)]
    index = InvertedIndex.build(encoder.encode(collection.passage_texts()), ids)
    index.save(tmp_path / "index")
    save_vectors(tmp_path / "queries", Vectors(queries, [turn.turn_id for turn in turns], {}))
    run = tmp_path / "run.trec"
    result = disco("search", tmp_path / "index", "--queries", tmp_path / "queries", "--out", run)
    assert result.exit_code == 0
    result = disco("evaluate", run, "--data", collection_folder)
    assert result.exit_code == 2 and result.stderr.startswith(f"disco: {run}: turn ")
    assert "which" in result.stderr and "does not hold. Give the data set" in result.stderr
    # As a teacher's run it is refused too.
    with pytest.raises(DiscoError, match="which the collection does not hold"):
        DistillationRun.load(run, collection.pids)


@pytest.mark.parametrize("storage", ["float32", "uint8"])
def test_values_at_the_edge_of_a_search(storage):
    documents = sparse.csr_matrix(np.array([[1.0, 0, 2], [0, 0, 1], [0, 0, 0]], np.float32))
    index = InvertedIndex.build(documents, list("abc"), storage)
    query = sparse.csr_matrix(np.array([[0, 0, 1.0]]))  # float64
    assert index.search_arrays(query, 10**9)[0].tolist() == [[0, 1, -1]]
    for k in (0, -3):
        with pytest.raises(DiscoError, match=f"k is {k}; it must be at least 1"):
            index.search(query, k)
    empty = sparse.csr_matrix((1, 3), dtype=np.float32)
    assert index.search_arrays(empty, 2)[0].tolist() == [[-1, -1]]
    assert index.search(empty, 2).to_dict() == {}
    with pytest.raises(DiscoError, match="2 dimensions, the index 3.*different vocabularies"):
        index.search(sparse.csr_matrix((1, 2), dtype=np.float32), 2)
    for value in (np.nan, np.inf, -1.0):
        wrong = sparse.csr_matrix(np.array([[value, 0, 1]]))
        with pytest.raises(DiscoError, match="weight of the queries"):
            index.search(wrong, 2)
        with pytest.raises(DiscoError, match="weight of the documents"):
            InvertedIndex.build(wrong, ["a"], storage)


def test_a_depth_of_0_is_refused(collection, encoder):
    with pytest.raises(DiscoError, match="k is 0"):
        teach(collection, "train", ["gold"], encoder, 0, max_length=48)


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_saved_vectors_that_cannot_be_indexed_are_refused(value, tmp_path):
    rows = sparse.csr_matrix(np.array([[value, 1]], np.float32))
    save_vectors(tmp_path / "v", Vectors(rows, ["a"], {}))
    result = disco("index", tmp_path / "v", "--out", tmp_path / "i")
    assert result.exit_code == 2 and "A weight of the documents is" in result.stderr
    assert not (tmp_path / "i").exists()


def test_float64_and_unsorted_vectors_are_saved_as_the_same_vectors(tmp_path):
    rows = sparse.csr_matrix(
        (np.array([1.0, 2, 3, 4]), np.array([2, 0, 2, 1]), np.array([0, 2, 4])), (2, 3)
    )
    assert not rows.has_sorted_indices and rows.data.dtype == np.float64
    save_vectors(tmp_path / "v", Vectors(rows, ["a", "b"], {}))
    stored = load_vectors(tmp_path / "v").rows
    assert stored.dtype == np.float32 and stored.toarray().tolist() == [[2, 0, 1], [0, 4, 3]]
    found = InvertedIndex.build(stored, ["a", "b"]).search_arrays(rows, 2)
    assert found[0].tolist() == [[0, 1], [1, 0]] and found[1].tolist() == [[5, 3], [25, 3]]


def test_empty_texts_are_encoded_and_searched(encoder, collection):
    texts = ["", " ", "\n", "\u200b", "\x00", "tea"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (6, encoder.vocabulary_size) and np.isfinite(vectors.data).all()
    np.testing.assert_allclose(vectors[0].toarray(), vectors[1].toarray(), atol=1e-6)
    index = InvertedIndex.build(encoder.encode(collection.passage_texts()), collection.pids)
    assert index.search_arrays(vectors, 3)[0].shape == (6, 3)


def test_a_network_without_a_finite_number_is_named(encoder):
    with torch.no_grad():
        encoder.model.get_output_embeddings().bias[3] = float("nan")
    vectors = encoder.encode(["tea"])
    assert np.isnan(vectors.data).any()  # not hidden as an empty vector
    with pytest.raises(DiscoError, match="not a finite float32 number"):
        InvertedIndex.build(vectors, ["a"])
