"""A dense encoder as an ONNX graph, in float32 or with int8 weights, for onnxruntime on a CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.storage import atomic_folder, open_sealed, read_json, sha256_file, write_json
from disco_lib.text_encoder import TextEncoder, Texts

FORMAT = "disco-onnx-1"
REBUILD = "disco_lib.onnx_export.export_onnx"
GRAPH = "model.onnx"
SETTINGS = "onnx_settings.json"
OPSET = 17

_INPUTS = ("input_ids", "attention_mask")
_OUTPUT = "vectors"


class OnnxEncoder(TextEncoder):
    """A dense encoder that runs in onnxruntime: (texts) -> vectors, as `DenseEncoder.encode`."""

    def __init__(
        self,
        graph: Path,
        tokenizer: PreTrainedTokenizerBase,
        settings: Mapping[str, Any],
        threads: int = 0,
    ) -> None:
        super().__init__(nn.Identity(), tokenizer)
        self.graph = graph
        self.settings = dict(settings)
        self._session = _session(graph, threads)
        self.eval()

    @classmethod
    def load(cls, path: str | Path, threads: int = 0) -> OnnxEncoder:
        """Open a folder that `export_onnx` or `quantize_int8` wrote.

        threads: of one operator, 0 for as many as there are cores. Raises IntegrityError for a file
        that is missing or has changed, and DiscoError where onnxruntime is not installed.
        """
        folder = Path(path)
        settings = _settings(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        return cls(folder / GRAPH, tokenizer, settings, threads)

    @property
    def dimensions(self) -> int:
        """Number of dimensions of a vector."""
        return int(self.settings["dimensions"])

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def size(self) -> int:
        """Bytes of the graph with its weights."""
        return self.graph.stat().st_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask (batch, length) -> float32 vectors (batch, dimensions)."""
        inputs = zip(_INPUTS, (input_ids.numpy(), attention_mask.numpy()), strict=True)
        (vectors,) = self._session.run([_OUTPUT], dict(inputs))
        return torch.from_numpy(vectors)

    def encode(
        self,
        texts: Texts,
        max_length: int = 256,
        batch_size: int = 32,
        progress: bool = False,
    ) -> np.ndarray:
        """Encode texts, or lists of token ids: float32 (texts, dimensions), as `DenseEncoder`.

        The int8 graph takes one scale a batch for what goes into a product, so that a text's vector
        depends a little on the others of its batch.
        """
        rows, places = self._batches(texts, max_length, batch_size, progress, np.asarray)
        if not rows:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return np.concatenate(rows)[places]

    def _weights(self) -> Mapping[str, Tensor]:
        return {}

    def _way(self) -> str:
        return str(self.settings["graph"])

    def _positions(self) -> int:
        return int(self.settings["positions"])


def export_onnx(encoder: DenseEncoder, path: str | Path) -> OnnxEncoder:
    """Write an encoder as a sealed folder of graph and tokenizer, and open it.

    The graph takes token ids and mask (batch, length) of any size and gives vectors, pooled,
    projected and normalised as the encoder's; dropout is left out. An older folder of that name is
    replaced. Raises DiscoError for a folder that holds something else.
    """
    path = _free(path)
    graph = _Graph(encoder)
    graph.training = False  # not .eval(), which would reach into the encoder and stay
    ids, mask = encoder.pad([[encoder.tokenizer.pad_token_id] * n for n in (8, 5)])
    axes = {name: {0: "batch", 1: "length"} for name in _INPUTS} | {_OUTPUT: {0: "batch"}}
    settings = {"dimensions": encoder.dimensions, "positions": encoder._positions()}
    settings |= {"encoder": encoder.fingerprint(), "weights": "float32"}
    with atomic_folder(path, format=FORMAT) as folder:
        with _as_written(encoder), _quiet(), torch.no_grad():
            torch.onnx.export(
                graph,
                (ids, mask),
                str(folder / GRAPH),
                input_names=list(_INPUTS),
                output_names=[_OUTPUT],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        encoder._save_tokenizer(str(folder))
        _keep(folder, settings)
    return OnnxEncoder.load(path)


def quantize_int8(source: str | Path, path: str | Path, reduce_range: bool = False) -> OnnxEncoder:
    """The same graph with int8 weights, one scale a column, and inputs scaled as they come.

    reduce_range: 7 bits a weight, for processors whose 8-bit products overflow (without VNNI).
    Raises DiscoError where onnx or onnxruntime is not installed, and IntegrityError as
    `OnnxEncoder.load`.
    """
    source, path = Path(source), _free(path)
    settings = _settings(source)
    quantization = _installed("onnxruntime.quantization")
    with atomic_folder(path, format=FORMAT) as folder:
        with _quiet():
            quantization.quantize_dynamic(
                source / GRAPH,
                folder / GRAPH,
                per_channel=True,
                reduce_range=reduce_range,
                weight_type=quantization.QuantType.QInt8,
            )
        AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
        _keep(folder, settings | {"weights": "int8"})
    return OnnxEncoder.load(path)


class _Graph(nn.Module):
    """The encoder as one function of ids and mask, which is what the export traces."""

    def __init__(self, encoder: DenseEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(input_ids, attention_mask)


@contextmanager
def _as_written(encoder: DenseEncoder) -> Iterator[None]:
    # Attention as a formula, not as one operator of torch, is what every opset knows.
    config, was_training = encoder.model.config, encoder.training
    before = config._attn_implementation
    encoder.eval()
    encoder.model.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.model.set_attn_implementation(before)
        encoder.train(was_training)


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter tells of its own retirement, the quantiser of a step that it could take before.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _keep(folder: Path, settings: Mapping[str, Any]) -> None:
    write_json(folder / SETTINGS, {**settings, "graph": sha256_file(folder / GRAPH)})


def _settings(folder: Path) -> dict[str, Any]:
    if open_sealed(folder, REBUILD).get("format") != FORMAT:
        raise IntegrityError(f"{folder}: not of format {FORMAT}. Rebuild it with: {REBUILD}")
    return read_json(folder / SETTINGS)


def _free(path: str | Path) -> Path:
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / GRAPH).is_file()):
        raise DiscoError(f"{path}: holds something else than a graph. Give another folder.")
    return path


def _session(graph: Path, threads: int) -> Any:
    runtime = _installed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _installed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise DiscoError(
            f"{name} cannot be imported ({error}). Run `make venv`, or `pip install onnx "
            "onnxruntime`."
        ) from error
