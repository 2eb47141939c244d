import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    MPNetConfig,
    MPNetModel,
)

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_head import projection_head
from disco_lib.errors import DiscoError, IntegrityError

TEXTS = [
    "the violin",
    "a master makes the cello by hand from old wood in the winter",
    "",
    "people first wrote about the comet long ago in the north",
    "coffee",
    "the price of a good drum is high",
    "zebra ?!",
]
FORMS = {
    "mean": {},
    "mean, any length": {"normalize": False},
    "cls": {"pooling": "cls"},
    "cls, projected": {"pooling": "cls", "head": (16, 6, 0.1)},
    "projected, layer norm before": {"head": (16, 6, 0.1, "before")},
    "projected, layer norm after": {"head": (16, 24, 0.1, "after"), "normalize": False},
}


def form(encoder, name):
    """Return an encoder of one of the forms, its head's weights far from where they began."""
    options = dict(FORMS[name])
    head = projection_head(*options.pop("head")) if "head" in options else None
    if head is not None:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(3)
            for parameter in head.parameters():
                parameter.normal_()
    return DenseEncoder(encoder.model, encoder.tokenizer, head=head, **options).eval()


@pytest.fixture
def minilm():
    try:
        return DenseEncoder.from_pretrained("minilm", "cpu")
    except DiscoError as error:
        pytest.skip(str(error))


def hidden_states(encoder, text):
    ids = torch.tensor([encoder.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        return encoder.model(input_ids=ids).last_hidden_state[0].numpy()


# Vectors


def test_mean_pooling_is_equation_1_and_2(dense_encoder):
    found = dense_encoder.encode(TEXTS)
    means = np.stack([hidden_states(dense_encoder, text).mean(axis=0) for text in TEXTS])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert found.dtype == np.float32 and found.shape == (7, 16) == (7, dense_encoder.dimensions)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cls_pooling_projection_and_length_are_equations_5_and_6(dense_encoder):
    encoder = form(dense_encoder, "cls, projected")
    first = np.stack([hidden_states(encoder, text)[0] for text in TEXTS])
    linear = encoder.head[-1]
    projected = first @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    assert encoder.dimensions == 6 and encoder.width == 16
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_neither_padding_nor_order_changes_a_vector(dense_encoder, name, batch_size):
    encoder = form(dense_encoder, name)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=batch_size), alone, atol=1e-5)
    lengths = np.linalg.norm(alone, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == encoder.normalize


def test_a_batch_carries_a_graph_and_encode_does_not(dense_encoder):
    encoder = form(dense_encoder, "projected, layer norm after")
    vectors = encoder(*encoder.pad(encoder.token_ids(TEXTS, 32)))
    np.testing.assert_allclose(vectors.detach(), encoder.encode(TEXTS), atol=1e-5)
    vectors.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_dropout_does_not_touch_encoding(dense_encoder):
    encoder = form(dense_encoder, "cls, projected").train()
    first, second = encoder.encode(TEXTS), encoder.encode(TEXTS)
    assert np.array_equal(first, second) and encoder.training and encoder.head.training


def test_no_text_gives_no_row(dense_encoder):
    assert dense_encoder.encode([]).shape == (0, 16)
    assert form(dense_encoder, "cls, projected").encode([]).shape == (0, 6)


def test_no_token_at_all_is_a_vector_of_zeros(dense_encoder):
    found = dense_encoder.encode([[], dense_encoder.token_ids(["the violin"], 32)[0]])
    assert not found[0].any() and np.isfinite(found).all()
    np.testing.assert_allclose(found[1], dense_encoder.encode(["the violin"])[0], atol=1e-6)


def test_token_ids_are_as_good_as_texts(dense_encoder):
    ids = dense_encoder.token_ids(TEXTS, 64)
    assert np.array_equal(dense_encoder.encode(ids), dense_encoder.encode(TEXTS))


@pytest.mark.parametrize("length", [0, 1, 257])
def test_lengths_that_the_model_cannot_read_are_refused(dense_encoder, length):
    with pytest.raises(DiscoError, match=rf"max_length {length}: this model reads 2 to 256 tokens"):
        dense_encoder.encode(["the violin"], max_length=length)


def test_one_string_is_refused(dense_encoder):
    with pytest.raises(DiscoError, match="list of texts, not one string"):
        dense_encoder.encode("the violin")


def test_an_unknown_pooling_is_named(dense_encoder):
    with pytest.raises(DiscoError, match="pooling 'max'; there are: mean, cls"):
        DenseEncoder(dense_encoder.model, dense_encoder.tokenizer, pooling="max")


# First layers


def test_the_first_layers_are_the_teachers(dense_encoder):
    student = dense_encoder.first_layers(1)
    assert (student.layers, dense_encoder.layers) == (1, 2)
    assert student.model.config.num_hidden_layers == 1
    with torch.no_grad():
        ids, mask = dense_encoder.pad(dense_encoder.token_ids(TEXTS, 32))
        teacher = dense_encoder.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states[1]
        own = student.model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(own[mask == 1], teacher[mask == 1])


def test_a_student_of_all_layers_is_the_teacher_and_has_weights_of_its_own(dense_encoder):
    student = dense_encoder.first_layers(2)
    assert student.fingerprint() == dense_encoder.fingerprint()
    before = dense_encoder.fingerprint()
    with torch.no_grad():
        next(student.parameters()).add_(1)
    assert dense_encoder.fingerprint() == before != student.fingerprint()


def test_a_student_can_have_a_head_of_its_own(dense_encoder):
    student = dense_encoder.first_layers(1, "cls", projection_head(16, 4), normalize=False)
    assert (student.dimensions, student.pooling, student.normalize) == (4, "cls", False)
    assert dense_encoder.dimensions == 16
    kept = form(dense_encoder, "projected, layer norm before").first_layers(1)
    assert (kept.dimensions, kept.pooling, kept.normalize) == (6, "mean", True)


@pytest.mark.parametrize("layers", [0, -1, 3])
def test_layers_that_there_are_not_are_named(dense_encoder, layers):
    with pytest.raises(DiscoError, match=f"layers is {layers}; this encoder has 2"):
        dense_encoder.first_layers(layers)


@pytest.mark.parametrize("kind", ["mpnet", "distilbert"])
def test_other_transformers(dense_encoder, kind, tmp_path):
    words = len(dense_encoder.tokenizer.get_vocab())
    if kind == "mpnet":
        small = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
        config = MPNetConfig(vocab_size=words, num_hidden_layers=3, pad_token_id=0,
                             max_position_embeddings=21, **small)  # fmt: skip
        model = MPNetModel(config)
    else:
        config = DistilBertConfig(vocab_size=words, dim=8, hidden_dim=8, n_layers=3, n_heads=2,
                                  max_position_embeddings=19)  # fmt: skip
        model = DistilBertModel(config)
    encoder = DenseEncoder(model, dense_encoder.tokenizer).eval()
    # Of MPNet's 21 positions, the padding token and what stands before it take two.
    assert encoder.encode([TEXTS[1] * 5], max_length=19).shape == (1, 8)
    with pytest.raises(DiscoError, match="reads 2 to 19 tokens"):
        encoder.encode(TEXTS, max_length=20)
    student = encoder.first_layers(1)
    student.save_pretrained(tmp_path / kind)
    again = DenseEncoder.from_pretrained(tmp_path / kind, "cpu")
    assert again.layers == 1 and np.array_equal(again.encode(TEXTS, 19), student.encode(TEXTS, 19))


def test_a_transformer_with_layers_elsewhere_is_named(dense_encoder):
    config = GPT2Config(vocab_size=200, n_embd=8, n_layer=2, n_head=2)
    encoder = DenseEncoder(GPT2Model(config), dense_encoder.tokenizer)
    with pytest.raises(DiscoError, match="GPT2Model: its layers are not where"):
        encoder.first_layers(1)


# Saved and loaded


@pytest.mark.parametrize("name", FORMS)
def test_saved_and_loaded_here_and_by_sentence_transformers(dense_encoder, name, tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder = form(dense_encoder, name)
    encoder.save_pretrained(tmp_path / "model")
    again = DenseEncoder.from_pretrained(tmp_path / "model", "cpu")
    assert again.fingerprint() == encoder.fingerprint() and not again.training
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    peer = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(peer.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)


def test_saving_and_loading_say_nothing(dense_encoder, tmp_path, capfd):
    form(dense_encoder, "cls, projected").save_pretrained(tmp_path / "model")
    DenseEncoder.from_pretrained(tmp_path / "model", "cpu")
    assert capfd.readouterr() == ("", "")


def test_nothing_that_is_saved_is_pickled(dense_encoder, tmp_path):
    form(dense_encoder, "projected, layer norm after").save_pretrained(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {p.name for p in files if p.suffix == ".safetensors"} == {"model.safetensors"}
    assert not {p.suffix for p in files} & {".bin", ".pt", ".pth", ".pkl", ".py"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"], "something was left aside"


def test_what_was_encoded_before_leaves_no_trace_in_what_is_saved(dense_encoder, tmp_path):
    dense_encoder.save_pretrained(tmp_path / "one")
    dense_encoder.encode(TEXTS, max_length=8)
    dense_encoder.save_pretrained(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            again = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert again.read_bytes() == path.read_bytes(), path.name


def test_an_older_model_is_replaced_and_nothing_else(dense_encoder, tmp_path):
    path = tmp_path / "model"
    dense_encoder.save_pretrained(path)
    student = dense_encoder.first_layers(1)
    student.save_pretrained(path)
    assert DenseEncoder.from_pretrained(path).fingerprint() == student.fingerprint()
    for other in (tmp_path / "notes", tmp_path / "notes.txt"):
        if other.suffix:
            other.write_text("mine")
        else:
            other.mkdir()
            (other / "a.txt").write_text("mine")
        with pytest.raises(DiscoError, match=f"{other}: holds something else than a model"):
            dense_encoder.save_pretrained(other)
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_an_interrupted_save_leaves_no_folder(dense_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(dense_encoder.model, "save_pretrained", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dense_encoder.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["model.safetensors", "1_Pooling/config.json", "modules.json"])
def test_a_flipped_byte_is_named(dense_encoder, tmp_path, file):
    dense_encoder.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{path}: its bytes have changed"):
        DenseEncoder.from_pretrained(tmp_path / "model")


def test_a_folder_by_sentence_transformers_loads_equal(dense_encoder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    dense_encoder.model.save_pretrained(tmp_path / "body")
    dense_encoder.tokenizer.save_pretrained(tmp_path / "body")
    body = Transformer(str(tmp_path / "body"))
    torch.manual_seed(0)
    modules = [body, Pooling(16, "cls"), Dense(16, 5, activation_function=nn.Identity()),
               LayerNorm(5), Normalize()]  # fmt: skip
    peer = SentenceTransformer(modules=modules, device="cpu")
    peer.save_pretrained(str(tmp_path / "model"))
    found = DenseEncoder.from_pretrained(tmp_path / "model", "cpu")
    assert (found.pooling, found.dimensions, found.normalize) == ("cls", 5, True)
    np.testing.assert_allclose(found.encode(TEXTS), peer.encode(TEXTS), atol=1e-5)


def test_a_bare_transformer_is_pooled_by_its_mean(dense_encoder, tmp_path):
    dense_encoder.model.save_pretrained(tmp_path)
    dense_encoder.tokenizer.save_pretrained(tmp_path)
    found = DenseEncoder.from_pretrained(tmp_path, "cpu")
    assert (found.pooling, found.normalize) == ("mean", False)
    chosen = DenseEncoder.from_pretrained(tmp_path, "cpu", pooling="cls", normalize=True)
    assert (chosen.pooling, chosen.normalize) == ("cls", True)
    expected = form(dense_encoder, "cls")
    assert np.array_equal(chosen.encode(TEXTS), expected.encode(TEXTS))
    with pytest.raises(DiscoError, match="pooling 'last'"):
        DenseEncoder.from_pretrained(tmp_path, "cpu", pooling="last")


@pytest.mark.parametrize("what", ["nothing there", "an empty folder", "a broken configuration"])
def test_what_is_no_model_is_refused_with_its_name(tmp_path, what):
    folder = tmp_path / "model"
    if what != "nothing there":
        folder.mkdir()
    if what == "a broken configuration":
        (folder / "config.json").write_text("{")
    with pytest.raises(DiscoError, match=f"{folder}: no sentence encoder can be loaded"):
        DenseEncoder.from_pretrained(folder)


@pytest.mark.parametrize("what", ["cut", "absent", "more layers"])
def test_weights_that_do_not_fit_are_refused(dense_encoder, tmp_path, what):
    dense_encoder.model.save_pretrained(tmp_path)
    dense_encoder.tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if what == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif what == "absent":
        path.unlink()
    else:
        config = tmp_path / "config.json"
        two, three = ('"num_hidden_layers": 2', '"num_hidden_layers": 3')
        config.write_text(config.read_text().replace(two, three))
    with pytest.raises(DiscoError, match="no sentence encoder can be loaded"):
        DenseEncoder.from_pretrained(tmp_path)


def test_a_tokenizer_of_more_words_is_refused(dense_encoder, tmp_path):
    dense_encoder.model.save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(dense_encoder.tokenizer)
    tokenizer.add_tokens(["theremin"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DiscoError, match="its tokenizer has .* tokens, its weights"):
        DenseEncoder.from_pretrained(tmp_path)


# Fingerprint


@pytest.mark.parametrize("name", [name for name in FORMS if name != "mean"])
def test_the_fingerprint_sees_every_part(dense_encoder, name):
    encoder = form(dense_encoder, name)
    before = encoder.fingerprint()
    assert copy.deepcopy(encoder).fingerprint() == before != dense_encoder.fingerprint()
    if len(encoder.head):
        with torch.no_grad():
            next(encoder.head.parameters()).view(-1)[0].add_(1e-3)
        assert encoder.fingerprint() != before


def test_dropout_is_no_part_of_the_fingerprint(dense_encoder):
    model, tokenizer = dense_encoder.model, dense_encoder.tokenizer
    heads = [projection_head(16, 4, dropout) for dropout in (0.0, 0.3)]
    found = {DenseEncoder(model, tokenizer, head=head).fingerprint() for head in heads}
    assert len(found) == 1


# The installed weights


def test_minilm_is_that_of_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer

    from disco_lib.weights import resolve

    texts = ["who invented the telephone?", "Bees make honey from nectar.", "", "how tall"] * 3
    peer = SentenceTransformer(resolve("minilm"), device="cpu")
    found = minilm.encode(texts, max_length=peer.max_seq_length)
    np.testing.assert_allclose(found, peer.encode(texts), atol=1e-5)
    assert (minilm.pooling, minilm.normalize, minilm.dimensions) == ("mean", True, 384)


def test_minilm_ranks_the_answer_first(minilm):
    query = minilm.encode(["what do bees make?"])
    passages = minilm.encode(
        ["Trains run on rails.", "Bees make honey from nectar.", "Bonds pay interest each year."]
    )
    assert (query @ passages.T)[0].argmax() == 1


def test_minilms_first_three_layers(minilm):
    student = minilm.first_layers(3, "cls", projection_head(384, 256))
    assert (student.layers, student.dimensions) == (3, 256)
    assert student.encode(["what do bees make?"]).shape == (1, 256)
