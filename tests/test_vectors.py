import json

import numpy as np
import pytest
import torch
from scipy import sparse

from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.storage import cache_root, seal_folder
from disco_lib.vectors import (
    Vectors,
    cached_vectors,
    encode_to,
    load_vectors,
    read_csr,
    save_vectors,
    write_csr,
)

SHARD = 6


@pytest.fixture
def texts(collection):
    return collection.passage_texts()[:25]


@pytest.fixture
def ids(collection):
    return collection.pids[:25]


@pytest.fixture
def calls(monkeypatch):
    """Count the texts of each call of encode."""
    counts = []
    encode = SpladeEncoder.encode

    def counted(self, texts, *arguments, **options):
        counts.append(len(texts))
        return encode(self, texts, *arguments, **options)

    monkeypatch.setattr(SpladeEncoder, "encode", counted)
    return counts


def to_folder(path, encoder, texts, ids, max_length=64, shard=SHARD):
    return encode_to(path, encoder, texts, ids, max_length, progress=False, shard=shard)


def contents(folder):
    """Return the bytes of each file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stop_after(monkeypatch, shards):
    """Let encode fail, as an interruption would, after so many calls."""
    encode, calls = SpladeEncoder.encode, []

    def failing(self, texts, *arguments, **options):
        calls.append(len(texts))
        if len(calls) > shards:
            raise KeyboardInterrupt
        return encode(self, texts, *arguments, **options)

    monkeypatch.setattr(SpladeEncoder, "encode", failing)


def is_mapped(array):
    """Return whether an array is a view of a mapped file."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


# Sets of vectors on disk


def test_csr_there_and_back(tmp_path):
    rows = sparse.random(7, 9, 0.3, "csr", np.float32, np.random.default_rng(0))
    write_csr(tmp_path, rows)
    again = read_csr(tmp_path)
    assert again.shape == (7, 9) and (again != rows).nnz == 0
    assert again.data.dtype == np.float32
    assert is_mapped(again.data) and is_mapped(again.indices)


@pytest.mark.parametrize("shape", [(0, 5), (3, 5), (3, 0)])
def test_empty_csr_there_and_back(tmp_path, shape):
    write_csr(tmp_path, sparse.csr_matrix(shape, dtype=np.float32))
    assert read_csr(tmp_path).shape == shape and read_csr(tmp_path).nnz == 0


def test_vectors_there_and_back(tmp_path):
    rows = sparse.csr_matrix(np.array([[0, 1.5], [2, 0]], np.float32))
    save_vectors(tmp_path / "v", Vectors(rows, ["ä", "b"], {"max_length": 9}))
    again = load_vectors(tmp_path / "v")
    assert again.ids == ["ä", "b"] and again.settings == {"max_length": 9}
    assert again.rows.toarray().tolist() == [[0, 1.5], [2, 0]]


def test_every_flipped_byte_is_found_and_its_file_named(tmp_path):
    rows = sparse.random(5, 9, 0.4, "csr", np.float32, np.random.default_rng(0))
    folder = tmp_path / "v"
    save_vectors(folder, Vectors(rows, list("abcde"), {}))
    files = [path for path in folder.iterdir() if path.name != "MANIFEST.json"]
    assert len(files) == 5
    for path in files:
        content = path.read_bytes()
        for place in range(0, len(content), 5):
            changed = bytearray(content)
            changed[place] ^= 4
            path.write_bytes(changed)
            with pytest.raises(IntegrityError, match=f"{path}: its bytes.*disco encode"):
                load_vectors(folder)
        path.write_bytes(content)
    assert load_vectors(folder).ids == list("abcde")


def test_what_is_no_set_of_vectors_is_named(tmp_path):
    with pytest.raises(IntegrityError, match="no MANIFEST.json.*disco encode"):
        load_vectors(tmp_path)
    (tmp_path / "x").mkdir()
    seal_folder(tmp_path / "x", format="disco-index-1")
    with pytest.raises(IntegrityError, match="not vectors of format disco-vectors-1"):
        load_vectors(tmp_path / "x")


# Encoding


def test_encode_to_gives_the_encoders_vectors(encoder, texts, ids, tmp_path):
    found = to_folder(tmp_path / "new" / "v", encoder, texts, ids)
    expected = encoder.encode(texts, 64)
    assert found.ids == ids and found.rows.shape == expected.shape
    np.testing.assert_allclose(found.rows.toarray(), expected.toarray(), atol=1e-6)
    assert [path.name for path in (tmp_path / "new").iterdir() if path.is_dir()] == ["v"]


@pytest.mark.parametrize("shards", [0, 1, 2, 4])
def test_an_interrupted_encoding_goes_on_and_ends_with_the_same_bytes(
    encoder, texts, ids, tmp_path, monkeypatch, shards
):
    to_folder(tmp_path / "whole", encoder, texts, ids)
    with monkeypatch.context() as patch:
        stop_after(patch, shards)
        with pytest.raises(KeyboardInterrupt):
            to_folder(tmp_path / "cut", encoder, texts, ids)
    assert not (tmp_path / "cut").exists()
    with monkeypatch.context() as patch:
        # 25 texts are 5 shards; those that were finished are not encoded again.
        stop_after(patch, 5 - shards)
        to_folder(tmp_path / "cut", encoder, texts, ids)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob("*.work"))


def test_a_damaged_shard_is_encoded_again(encoder, texts, ids, tmp_path, monkeypatch, calls):
    to_folder(tmp_path / "whole", encoder, texts, ids)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            to_folder(tmp_path / "cut", encoder, texts, ids)
    shards = sorted(tmp_path.glob(".cut.*.work/shard-*"))
    assert len(shards) == 3
    path = shards[1] / "data.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    calls.clear()
    to_folder(tmp_path / "cut", encoder, texts, ids)
    assert calls == [6, 6, 1]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_what_is_finished_is_not_encoded_again(encoder, texts, ids, tmp_path, calls):
    to_folder(tmp_path / "v", encoder, texts, ids)
    before = contents(tmp_path / "v")
    assert calls == [6, 6, 6, 6, 1]
    to_folder(tmp_path / "v", encoder, texts, ids)
    assert len(calls) == 5 and contents(tmp_path / "v") == before


def test_a_finished_folder_that_was_damaged_is_encoded_again(encoder, texts, ids, tmp_path):
    to_folder(tmp_path / "v", encoder, texts, ids)
    before = contents(tmp_path / "v")
    (tmp_path / "v" / "data.npy").write_bytes(before["data.npy"][:-1] + b"\x7f")
    to_folder(tmp_path / "v", encoder, texts, ids)
    assert contents(tmp_path / "v") == before


def change_a_weight(encoder):
    with torch.no_grad():
        encoder.model.get_output_embeddings().bias[7] += 1


@pytest.mark.parametrize("what", ["text", "ids", "length", "weights", "fewer", "shard"])
def test_other_settings_are_not_mixed_up(encoder, texts, ids, tmp_path, monkeypatch, what):
    # The first encoding is cut short, so that its finished shards lie there too.
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            to_folder(tmp_path / "v", encoder, texts, ids)
    to_folder(tmp_path / "finished", encoder, texts, ids)
    length, shard = 64, SHARD
    if what == "text":
        texts = ["the violin", *texts[1:]]
    elif what == "ids":
        ids = ids[::-1]
    elif what == "length":
        length = 4
    elif what == "weights":
        change_a_weight(encoder)
    elif what == "fewer":
        texts, ids = texts[:13], ids[:13]
    else:
        shard = 4
    to_folder(tmp_path / "expected", encoder, texts, ids, length, shard)
    for name in ("v", "finished"):
        to_folder(tmp_path / name, encoder, texts, ids, length, shard)
        assert contents(tmp_path / name) == contents(tmp_path / "expected")


def test_ids_and_token_lists_may_stand_for_texts(encoder, texts, ids, tmp_path):
    tokens = encoder.token_ids(texts, 64)
    found = to_folder(tmp_path / "tokens", encoder, tokens, ids)
    expected = to_folder(tmp_path / "texts", encoder, texts, ids)
    assert (found.rows != expected.rows).nnz == 0
    assert found.settings != expected.settings


def test_no_text_gives_an_empty_set(encoder, tmp_path):
    found = to_folder(tmp_path / "v", encoder, [], [])
    assert found.rows.shape == (0, encoder.vocabulary_size) and found.ids == []


def test_what_cannot_be_encoded_is_named_before_anything_is_written(encoder, texts, tmp_path):
    with pytest.raises(DiscoError, match="25 texts, but 2 ids"):
        to_folder(tmp_path / "v", encoder, texts, ["a", "b"])
    with pytest.raises(DiscoError, match="shard is 0"):
        to_folder(tmp_path / "v", encoder, ["x"], ["a"], shard=0)
    with pytest.raises(DiscoError, match="max_length 1"):
        to_folder(tmp_path / "v", encoder, ["x"], ["a"], max_length=1)
    assert not (tmp_path / "v").exists()


# The cache


def test_cached_vectors_are_encoded_once(encoder, texts, ids, calls):
    first = cached_vectors(encoder, texts, ids, 64)
    count = len(calls)
    again = cached_vectors(encoder, texts, ids, 64)
    assert count > 0 and len(calls) == count
    assert (first.rows != again.rows).nnz == 0
    stored = list((cache_root() / "vectors").glob("[0-9a-f]*"))
    assert len(stored) == 1
    manifest = json.loads((stored[0] / "MANIFEST.json").read_text())
    assert manifest["settings"]["encoder"] == encoder.fingerprint()


def test_the_cache_tells_encoders_and_lengths_apart(encoder, texts, ids):
    first = cached_vectors(encoder, texts, ids, 64).rows.toarray()
    short = cached_vectors(encoder, texts, ids, 4).rows.toarray()
    change_a_weight(encoder)
    other = cached_vectors(encoder, texts, ids, 64).rows.toarray()
    assert not np.allclose(first, short) and not np.allclose(first, other)
    np.testing.assert_allclose(other, encoder.encode(texts, 64).toarray(), atol=1e-6)
