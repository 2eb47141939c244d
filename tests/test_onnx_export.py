import logging

import numpy as np
import pytest
import torch

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_head import projection_head
from disco_lib.drift import search_drift, vector_drift
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.onnx_export import GRAPH, OnnxEncoder, export_onnx, quantize_int8

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = [
    "the violin",
    "a master makes the cello by hand from old wood in the winter",
    "",
    "people first wrote about the comet long ago in the north",
    "coffee",
    "the price of a good drum is high " * 6,
    "zebra ?!",
]


def form(encoder, name):
    """Return an encoder of one of the forms that a graph must keep."""
    head = projection_head(16, 6, 0.1, "after") if name == "cls, projected" else None
    pooling = "cls" if head is not None else "mean"
    made = DenseEncoder(encoder.model, encoder.tokenizer, pooling, head, name != "any length")
    return made.eval()


@pytest.fixture
def graph(dense_encoder, tmp_path):
    return export_onnx(dense_encoder, tmp_path / "graph")


# Equality


@pytest.mark.parametrize("name", ["mean", "any length", "cls, projected"])
def test_the_graph_gives_the_encoders_vectors(dense_encoder, tmp_path, name):
    encoder = form(dense_encoder, name)
    found = export_onnx(encoder, tmp_path / "graph")
    expected = encoder.encode(TEXTS)
    assert vector_drift(expected, found.encode(TEXTS)).largest < 1e-5
    # Shapes that the export did not see: one text, one batch of all, one token.
    for batch_size in (1, 100):
        assert vector_drift(expected, found.encode(TEXTS, batch_size=batch_size)).largest < 1e-5
    assert np.abs(found.encode([[2]]) - encoder.encode([[2]])).max() < 1e-5
    assert found.dimensions == encoder.dimensions and found.encode([]).shape[0] == 0


def test_no_token_at_all_is_a_vector_of_zeros(graph):
    found = graph.encode([[], [2, 9, 3]])
    assert not found[0].any() and np.isfinite(found).all() and found[1].any()


def test_the_encoder_is_as_it_was_after_the_export(dense_encoder, tmp_path, capfd):
    dense_encoder.train()
    before = dense_encoder.model.config._attn_implementation
    level = logging.root.manager.disable
    export_onnx(dense_encoder, tmp_path / "graph")
    assert dense_encoder.training and dense_encoder.model.training
    assert dense_encoder.model.config._attn_implementation == before
    assert logging.root.manager.disable == level
    assert capfd.readouterr().err == ""


def test_dropout_is_left_out(dense_encoder, tmp_path):
    encoder = form(dense_encoder, "cls, projected").train()
    found = export_onnx(encoder, tmp_path / "graph")
    assert np.array_equal(found.encode(TEXTS), found.encode(TEXTS))
    assert vector_drift(encoder.encode(TEXTS), found.encode(TEXTS)).largest < 1e-5


# Quantisation


def test_int8_drifts_a_little_and_is_smaller(dense_encoder, graph, tmp_path, capfd):
    quantised = quantize_int8(tmp_path / "graph", tmp_path / "int8")
    assert capfd.readouterr().err == ""
    drift = vector_drift(dense_encoder.encode(TEXTS), quantised.encode(TEXTS))
    assert 0 < drift.largest < 0.2 and drift.mean_cosine > 0.95
    assert quantised.settings["weights"] == "int8" and graph.settings["weights"] == "float32"
    assert quantised.settings["encoder"] == graph.settings["encoder"]
    assert quantised.fingerprint() != graph.fingerprint()


def test_int8_of_minilm_is_a_quarter_as_large_and_ranks_alike(tmp_path):
    try:
        encoder = DenseEncoder.from_pretrained("minilm", "cpu").first_layers(2)
    except DiscoError as error:
        pytest.skip(str(error))
    graph = export_onnx(encoder, tmp_path / "graph")
    quantised = quantize_int8(tmp_path / "graph", tmp_path / "int8")
    assert quantised.size < 0.3 * graph.size
    queries = ["what do bees make?", "who invented the telephone?"]
    passages = ["Trains run on rails.", "Bees make honey.", "Bell built the telephone.", "Bonds."]
    sides = [(e.encode(queries), e.encode(passages)) for e in (encoder, graph, quantised)]
    assert vector_drift(sides[0][1], sides[1][1]).largest < 1e-5
    found = search_drift(sides[0], sides[2], k=1)
    assert found.recovery.tolist() == [1.0, 1.0] and found.scores.pearson > 0.95


# Folders


def test_a_folder_opens_again(dense_encoder, graph, tmp_path):
    again = OnnxEncoder.load(tmp_path / "graph", threads=1)
    assert again.fingerprint() == graph.fingerprint()
    assert np.array_equal(again.encode(TEXTS), graph.encode(TEXTS))
    assert again.device == torch.device("cpu") and again.size == graph.size > 1000
    with pytest.raises(DiscoError, match="max_length 257: this model reads 2 to 256 tokens"):
        again.encode(TEXTS, max_length=257)
    assert {path.name for path in tmp_path.iterdir()} <= {"graph", "disco-cache"}


@pytest.mark.parametrize("file", [GRAPH, "tokenizer.json", "onnx_settings.json"])
def test_a_flipped_byte_is_named(graph, tmp_path, file):
    path = tmp_path / "graph" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    for use in (OnnxEncoder.load, lambda folder: quantize_int8(folder, tmp_path / "int8")):
        with pytest.raises(IntegrityError, match=f"{path}: its bytes have changed.*export_onnx"):
            use(tmp_path / "graph")


def test_a_folder_that_holds_something_else_is_left_alone(dense_encoder, graph, tmp_path):
    dense_encoder.save_pretrained(tmp_path / "model")
    (tmp_path / "notes.txt").write_text("mine")
    for other in (tmp_path / "model", tmp_path / "notes.txt"):
        with pytest.raises(DiscoError, match=f"{other}: holds something else than a graph"):
            export_onnx(dense_encoder, other)
        with pytest.raises(DiscoError, match="holds something else than a graph"):
            quantize_int8(tmp_path / "graph", other)
    with pytest.raises(IntegrityError, match="not of format disco-onnx-1"):
        OnnxEncoder.load(tmp_path / "model")
    with pytest.raises(IntegrityError, match="no MANIFEST.json"):
        OnnxEncoder.load(tmp_path)
    export_onnx(dense_encoder.first_layers(1), tmp_path / "graph")
    assert OnnxEncoder.load(tmp_path / "graph").fingerprint() != graph.fingerprint()


def test_an_interrupted_export_leaves_no_folder(dense_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_onnx(dense_encoder, tmp_path / "graph")
    assert not (tmp_path / "graph").exists()
    assert dense_encoder.model.config._attn_implementation != "eager"


def test_a_missing_package_is_named_with_the_remedy(graph, tmp_path, monkeypatch):
    def missing(name, *arguments):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("disco_lib.onnx_export.import_module", missing)
    with pytest.raises(DiscoError, match="onnxruntime cannot be imported.*make venv"):
        OnnxEncoder.load(tmp_path / "graph")
    with pytest.raises(DiscoError, match="onnxruntime.quantization cannot be imported"):
        quantize_int8(tmp_path / "graph", tmp_path / "int8")
