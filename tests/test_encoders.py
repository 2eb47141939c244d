import copy

import numpy as np
import pytest
import torch
from scipy import sparse

from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError

TEXTS = [
    "the violin",
    "a master makes the cello by hand from old wood in the winter",
    "",
    "people first wrote about the comet long ago in the north",
    "coffee",
    "the price of a good drum is high",
    "zebra ?!",
]


@pytest.fixture
def splade_tiny(request):
    try:
        return SpladeEncoder.from_pretrained("splade-tiny", "cpu")
    except DiscoError as error:
        pytest.skip(str(error))


def naive_vectors(encoder, ids):
    """Encode lists of token ids one by one, with the whole model and the head as written."""
    rows = []
    for row in ids:
        with torch.no_grad():
            logits = encoder.model(input_ids=torch.tensor([row])).logits
        rows.append(torch.log1p(torch.relu(logits)).amax(dim=1)[0].numpy())
    return np.stack(rows)


# Vectors


def test_vectors_are_those_of_the_formula(encoder):
    found = encoder.encode(TEXTS)
    ids = encoder.tokenizer(TEXTS)["input_ids"]
    assert found.dtype == np.float32 and isinstance(found, sparse.csr_matrix)
    np.testing.assert_allclose(found.toarray(), naive_vectors(encoder, ids), atol=1e-5)
    share = found.nnz / np.prod(found.shape)
    assert 0.02 < share < 0.6
    assert found.data.min() > 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_order_does_not_depend_on_the_batch_size(encoder, batch_size):
    expected = sparse.vstack([encoder.encode([text]) for text in TEXTS])
    found = encoder.encode(TEXTS, batch_size=batch_size)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-5)


def test_vectors_of_a_batch_carry_a_graph_and_those_of_encode_do_not(encoder):
    ids, mask = encoder.pad(encoder.token_ids(TEXTS, 32))
    vectors = encoder(ids, mask)
    np.testing.assert_allclose(vectors.detach(), encoder.encode(TEXTS).toarray(), atol=1e-6)
    vectors.sum().backward()
    silent = {name for name, p in encoder.model.named_parameters() if p.grad is None}
    assert not silent


def test_the_model_is_as_before_after_encoding(encoder):
    encoder.train()
    encoder.encode(["the violin"])
    assert encoder.training and encoder.model.training
    encoder.eval()
    encoder.encode(["the violin"])
    assert not encoder.model.training
    ids, mask = encoder.pad([[2, 5, 3]])
    logits = encoder.model(input_ids=ids, attention_mask=mask).logits
    assert logits.shape[-1] == encoder.vocabulary_size, "the decoder was left switched off"


def test_the_decoder_comes_back_after_an_error(encoder):
    with pytest.raises(IndexError):
        encoder(torch.tensor([[10_000]]), torch.tensor([[1]]))
    assert encoder.model(input_ids=torch.tensor([[5]])).logits.shape[-1] == encoder.vocabulary_size


def test_dropout_does_not_touch_encoding(encoder):
    encoder.train()
    first, second = encoder.encode(TEXTS), encoder.encode(TEXTS)
    assert (first != second).nnz == 0


# What goes in


def test_no_text_gives_no_row(encoder):
    assert encoder.encode([]).shape == (0, encoder.vocabulary_size)


def test_an_empty_text_is_its_special_tokens(encoder):
    found = encoder.encode(["", "the violin"])
    same = encoder.encode([[encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id]])
    np.testing.assert_allclose(found[0].toarray(), same.toarray(), atol=1e-6)


def test_no_token_at_all_is_an_empty_row(encoder):
    found = encoder.encode([[], encoder.token_ids(["the violin"], 32)[0]])
    assert found[0].nnz == 0
    assert found[1].nnz > 0


def test_token_ids_and_texts_may_be_mixed(encoder):
    ids = encoder.tokenizer(TEXTS[1])["input_ids"]
    mixed = encoder.encode([TEXTS[0], ids, tuple(ids), np.array(ids), TEXTS[3]])
    expected = encoder.encode([TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[1], TEXTS[3]])
    assert (mixed != expected).nnz == 0


def test_long_inputs_are_cut_and_keep_their_last_special_token(encoder):
    ids = encoder.tokenizer(TEXTS[1])["input_ids"]
    kept = [ids]
    from_text, from_ids = encoder.token_ids([TEXTS[1], ids], 6)
    assert from_text == from_ids == [*ids[:5], encoder.tokenizer.sep_token_id]
    assert kept == [encoder.tokenizer(TEXTS[1])["input_ids"]], "the caller's list was changed"
    assert encoder.token_ids([ids], len(ids)) == [ids]


@pytest.mark.parametrize("length", [-1, 0, 1, 257, 10_000])
def test_lengths_that_the_model_cannot_read_are_refused(encoder, length):
    with pytest.raises(DiscoError, match=rf"max_length {length}: this model reads 2 to 256 tokens"):
        encoder.encode(["the violin"], max_length=length)
    encoder.encode(["the violin " * 200], max_length=256)
    encoder.encode(["the violin"], max_length=2)


def test_one_string_is_refused(encoder):
    with pytest.raises(DiscoError, match="list of texts, not one string"):
        encoder.encode("the violin")


@pytest.mark.parametrize(("longest", "padded"), [(1, 8), (3, 8), (8, 8), (9, 16), (253, 256)])
def test_padding_fills_up_to_steps_of_eight(encoder, longest, padded):
    rows = [[2, *[9] * (longest - 1)], [2], []]
    ids, mask = encoder.pad(rows)
    assert ids.shape == mask.shape == (3, padded)
    for row, own_ids, own_mask in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        assert own_ids == row + [encoder.tokenizer.pad_token_id] * (padded - len(row))
        assert own_mask == [1] * len(row) + [0] * (padded - len(row))


def test_padding_does_not_exceed_what_the_model_reads(encoder):
    encoder.model.config.max_position_embeddings = 12
    assert encoder.pad([[2, 3]])[0].shape == (1, 8)
    assert encoder.pad([[2] * 10])[0].shape == (1, 12)


# Saved and loaded


def test_a_saved_encoder_loads_equal(encoder, encoder_folder):
    again = SpladeEncoder.from_pretrained(encoder_folder, "cpu")
    assert again.fingerprint() == encoder.fingerprint()
    assert (again.encode(TEXTS) != encoder.encode(TEXTS)).nnz == 0
    assert not again.model.training


def test_what_was_encoded_before_leaves_no_trace_in_what_is_saved(
    encoder, encoder_folder, tmp_path
):
    encoder.encode(TEXTS, max_length=8)
    encoder.save_pretrained(tmp_path / "again")
    for path in encoder_folder.rglob("*"):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(encoder_folder)
            assert again.read_bytes() == path.read_bytes(), path.name


def test_a_saved_encoder_is_safetensors_alone(encoder_folder):
    kinds = {path.suffix for path in encoder_folder.rglob("*") if path.is_file()}
    assert ".safetensors" in kinds
    assert not kinds & {".bin", ".pt", ".pth", ".pkl", ".py"}


def test_sentence_transformers_loads_the_folder_with_the_same_vectors(encoder, encoder_folder):
    from sentence_transformers import SparseEncoder

    peer = SparseEncoder(str(encoder_folder), device="cpu")
    texts = [text for text in TEXTS if text]
    found = peer.encode(texts, convert_to_tensor=True).to_dense().numpy()
    np.testing.assert_allclose(found, encoder.encode(texts).toarray(), atol=1e-5)


@pytest.mark.parametrize("what", ["nothing there", "an empty folder", "a broken configuration"])
def test_what_is_no_model_is_refused_with_its_name(tmp_path, what):
    folder = tmp_path / "model"
    if what != "nothing there":
        folder.mkdir()
    if what == "a broken configuration":
        (folder / "config.json").write_text("{")
    with pytest.raises(DiscoError, match=f"{folder}: no masked language model can be loaded"):
        SpladeEncoder.from_pretrained(folder)


def test_a_model_without_weights_is_refused(encoder_folder, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((encoder_folder / name).read_bytes())
    with pytest.raises(DiscoError, match="no masked language model can be loaded"):
        SpladeEncoder.from_pretrained(folder)


def test_a_cut_weight_file_is_refused(encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path / "model")
    encoder.tokenizer.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DiscoError, match="no masked language model can be loaded"):
        SpladeEncoder.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("name", ["folder", "minilm"])
def test_a_model_without_a_vocabulary_head_is_refused(encoder, tmp_path, name):
    # Its head would be drawn at random, and every number after it would be noise.
    if name == "folder":
        encoder.model.bert.save_pretrained(tmp_path / name)
        encoder.tokenizer.save_pretrained(tmp_path / name)
        name = tmp_path / name
    with pytest.raises(DiscoError, match="no masked language model can be loaded"):
        SpladeEncoder.from_pretrained(name)


# Fingerprint


def test_the_fingerprint_sees_a_single_weight(encoder):
    before = encoder.fingerprint()
    other = copy.deepcopy(encoder)
    assert other.fingerprint() == before
    with torch.no_grad():
        weight = other.model.bert.encoder.layer[1].output.dense.weight
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    assert other.fingerprint() != before


def test_the_fingerprint_sees_the_vocabulary(encoder):
    from transformers import BertTokenizer

    words = dict(encoder.tokenizer.get_vocab())
    words["violin"], words["cello"] = words["cello"], words["violin"]
    other = SpladeEncoder(encoder.model, BertTokenizer(vocab=words))
    assert other.fingerprint() != encoder.fingerprint()


# The installed weights


def test_splade_tiny_expands_a_question(splade_tiny):
    vectors = splade_tiny.encode(["who invented the telephone?", "how tall is mount everest?"])
    assert vectors.shape == (2, 30522) and splade_tiny.vocabulary_size == 30522
    terms = np.diff(vectors.indptr)
    assert (terms > 5).all() and (terms < 300).all()
    for row, expected in ((0, {"telephone", "phone"}), (1, {"everest", "height"})):
        best = vectors[row].indices[np.argsort(-vectors[row].data)[:10]]
        assert expected <= set(splade_tiny.tokenizer.convert_ids_to_tokens(best))


def test_splade_tiny_ranks_the_answer_first(splade_tiny):
    query = splade_tiny.encode(["what do bees make?"])
    passages = splade_tiny.encode(
        ["Trains run on rails.", "Bees make honey from nectar.", "Bonds pay interest each year."]
    )
    scores = (query @ passages.T).toarray()[0]
    assert scores.argmax() == 1
