import numpy as np
import pytest

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.embedding_cache import DENSE, Annotation, annotate, read_matrix, write_matrix
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.pairs import pairs_of_collection
from disco_lib.storage import cache_root
from disco_lib.vectors import Vectors, encode_to, load_vectors, save_vectors

SHARD = 6


@pytest.fixture
def pairs(collection):
    return pairs_of_collection(collection, "train").pairs[:20]


@pytest.fixture
def calls(monkeypatch):
    """Count the texts of each call of encode."""
    counts = []
    encode = DenseEncoder.encode

    def counted(self, texts, *arguments, **options):
        counts.append(len(texts))
        return encode(self, texts, *arguments, **options)

    monkeypatch.setattr(DenseEncoder, "encode", counted)
    return counts


def to_folder(path, encoder, texts, form=DENSE):
    ids = [str(i) for i in range(len(texts))]
    return encode_to(path, encoder, texts, ids, 64, progress=False, shard=SHARD, form=form)


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# Matrices on disk


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1, 1)])
def test_a_matrix_there_and_back(tmp_path, shape):
    rows = np.random.default_rng(0).random(shape)
    write_matrix(tmp_path, rows)
    again = read_matrix(tmp_path)
    assert isinstance(again, np.memmap) or not rows.size
    assert again.dtype == np.float32 and np.array_equal(again, rows.astype(np.float32))


def test_every_flipped_byte_is_found_and_its_file_named(tmp_path):
    rows = np.random.default_rng(0).random((5, 3), np.float32)
    folder = tmp_path / "v"
    save_vectors(folder, Vectors(rows, list("abcde"), {}), DENSE)
    for name in ("rows.npy", "ids.json"):
        path = folder / name
        content = path.read_bytes()
        for place in range(0, len(content), 5):
            changed = bytearray(content)
            changed[place] ^= 4
            path.write_bytes(changed)
            with pytest.raises(IntegrityError, match=f"{path}: its bytes.*annotate"):
                load_vectors(folder, DENSE)
        path.write_bytes(content)
    assert np.array_equal(load_vectors(folder, DENSE).rows, rows)


def test_dense_and_sparse_vectors_are_not_mixed_up(encoder, dense_encoder, tmp_path):
    texts = ["the violin", "the price of a good drum"]
    to_folder(tmp_path / "dense", dense_encoder, texts)
    with pytest.raises(IntegrityError, match="not vectors of format disco-vectors-1"):
        load_vectors(tmp_path / "dense")
    encode_to(tmp_path / "sparse", encoder, texts, ["0", "1"], progress=False)
    with pytest.raises(IntegrityError, match="not vectors of format disco-embeddings-1"):
        load_vectors(tmp_path / "sparse", DENSE)


# Encoding


def test_encode_to_gives_the_encoders_vectors(dense_encoder, pairs, tmp_path):
    texts = [pair.document for pair in pairs]
    found = to_folder(tmp_path / "v", dense_encoder, texts)
    assert found.rows.shape == (20, 16)
    np.testing.assert_allclose(found.rows, dense_encoder.encode(texts, 64), atol=1e-6)


@pytest.mark.parametrize("shards", [0, 1, 3])
def test_an_interrupted_encoding_goes_on_and_ends_with_the_same_bytes(
    dense_encoder, pairs, tmp_path, monkeypatch, calls, shards
):
    texts = [pair.document for pair in pairs]
    to_folder(tmp_path / "whole", dense_encoder, texts)
    assert calls == [6, 6, 6, 2]
    calls.clear()
    with monkeypatch.context() as patch:
        encode = DenseEncoder.encode

        def failing(self, *arguments, **options):
            if len(calls) == shards:
                raise KeyboardInterrupt
            return encode(self, *arguments, **options)

        patch.setattr(DenseEncoder, "encode", failing)
        with pytest.raises(KeyboardInterrupt):
            to_folder(tmp_path / "cut", dense_encoder, texts)
    assert not (tmp_path / "cut").exists()
    to_folder(tmp_path / "cut", dense_encoder, texts)
    assert calls == [6, 6, 6, 2], "a finished shard was encoded again"
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_no_text_gives_an_empty_set(dense_encoder, tmp_path):
    assert to_folder(tmp_path / "v", dense_encoder, []).rows.shape == (0, 16)


# Annotation


def test_annotation_is_the_teachers_cosine(dense_encoder, pairs):
    found = annotate(dense_encoder, pairs)
    queries = dense_encoder.encode([pair.query for pair in pairs])
    documents = dense_encoder.encode([pair.document for pair in pairs])
    np.testing.assert_allclose(found.scores, (queries * documents).sum(axis=1), atol=1e-5)
    assert found.scores.shape == (20,) and np.abs(found.scores).max() <= 1 + 1e-5
    np.testing.assert_allclose(found.similarities(), queries @ documents.T, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(found.similarities()), found.scores, atol=1e-5)


def test_similarities_of_a_batch(dense_encoder, pairs):
    found = annotate(dense_encoder, pairs)
    part = found.similarities([3, 1], [3, 1, 7])
    np.testing.assert_allclose(part, found.similarities()[[3, 1]][:, [3, 1, 7]], atol=1e-6)
    assert found.similarities([], [1]).shape == (0, 1)


@pytest.mark.parametrize("chosen", [[20], [-1], [0, 99]])
def test_pairs_that_there_are_not_are_named(dense_encoder, pairs, chosen):
    found = annotate(dense_encoder, pairs)
    with pytest.raises(DiscoError, match="queries: indices of pairs lie in 0 to 19"):
        found.similarities(chosen)
    with pytest.raises(DiscoError, match="documents: indices"):
        found.similarities([0], chosen)


def test_annotation_is_made_once(dense_encoder, pairs, calls):
    first = annotate(dense_encoder, pairs)
    assert calls == [20, 20]
    again = annotate(dense_encoder, pairs)
    assert calls == [20, 20] and np.array_equal(first.scores, again.scores)
    annotate(dense_encoder.first_layers(1), pairs)
    assert len(calls) == 4, "another teacher, other embeddings"
    annotate(dense_encoder, pairs, max_length=8)
    assert len(calls) == 6


def test_a_flipped_byte_in_the_cache_is_made_anew(dense_encoder, pairs, calls):
    first = annotate(dense_encoder, pairs).scores.copy()
    (path, _) = sorted((cache_root() / "vectors").glob("*/rows.npy"))
    content = bytearray(path.read_bytes())
    content[-2] ^= 64
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="rows.npy: its bytes have changed"):
        load_vectors(path.parent, DENSE)
    assert np.array_equal(annotate(dense_encoder, pairs).scores, first)
    assert calls == [20, 20, 20]


def test_no_pair_is_named(dense_encoder):
    with pytest.raises(DiscoError, match="No pair to annotate"):
        annotate(dense_encoder, [])


def test_scores_of_vectors_by_hand():
    found = Annotation(np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[0.0, 1.0], [0.6, 0.8]]))
    assert found.scores.tolist() == [0.0, pytest.approx(1.0)]
    assert found.similarities([0]).tolist() == [[0.0, 0.6]]
