"""Encoders: text in, vectors out. SPLADE on any masked language model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from scipy import sparse
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging

from disco_lib.errors import DiscoError
from disco_lib.splade_head import splade_max
from disco_lib.storage import MANIFEST, open_sealed
from disco_lib.weights import resolve

REBUILD = "disco distil ... --out STUDENT, after removing that folder"
STUDENT_SETTINGS = "distil_settings.json"
# Few distinct shapes keep the caches of kernels and of memory small.
PAD_TO = 8

Texts = Sequence[str] | Sequence[Sequence[int]]


def default_device() -> torch.device:
    """The first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class SpladeEncoder(nn.Module):
    """A SPLADE encoder: (texts) -> non-negative vectors over the vocabulary.

    The document's and the query's encoder may differ, as long as they share a vocabulary.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, device: torch.device | str | None = None
    ) -> SpladeEncoder:
        """Load a masked language model: "splade-tiny", a folder, or a hub id.

        Only safetensors weights are read and no code of the model's folder is run. Raises
        DiscoError when there is no such model, or it is no masked language model, and
        IntegrityError for a student's folder with a file that is missing or has changed.
        """
        source = resolve(name_or_path)
        if any((Path(source) / name).is_file() for name in (MANIFEST, STUDENT_SETTINGS)):
            open_sealed(Path(source), REBUILD)
        try:
            logging.disable_progress_bar()
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model, report = AutoModelForMaskedLM.from_pretrained(
                source,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
            if report["missing_keys"]:
                # They would be drawn at random.
                raise ValueError(f"it has no weights {min(report['missing_keys'])}")
            words = max(tokenizer.get_vocab().values(), default=-1) + 1
            if words > (known := int(model.get_output_embeddings().weight.shape[0])):
                raise ValueError(f"its tokenizer has {words} tokens, its weights {known}")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise DiscoError(
                f"{name_or_path}: no masked language model can be loaded from there ({reason}). "
                'Give "splade-tiny", a folder written by `disco distil`, or a hub id.'
            ) from error
        return cls(model, tokenizer).to(device or default_device()).eval()

    @property
    def vocabulary_size(self) -> int:
        """Number of dimensions of a vector."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of weights and vocabulary: what a cached vector depends on."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        for token, number in sorted(self.tokenizer.get_vocab().items()):
            digest.update(f"{token}\x00{number}\x00".encode())
        return digest.hexdigest()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask (batch, length) -> vectors (batch, vocabulary), with a graph."""
        decoder = self.model.get_output_embeddings()
        with _without_decoder(decoder):
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return splade_max(hidden, attention_mask, decoder.weight, decoder.bias)

    def encode(
        self,
        texts: Texts,
        max_length: int = 256,
        batch_size: int = 32,
        progress: bool = False,
    ) -> sparse.csr_matrix:
        """Encode texts, or lists of token ids, in batches of similar length.

        Returns float32 CSR (texts, vocabulary) in the order of `texts`; a text with no active
        entry is an empty row. On a GPU with bfloat16 the encoder runs in bfloat16. Raises
        DiscoError when max_length exceeds the model's positions.
        """
        ids = self.token_ids(texts, max_length)
        order = np.argsort([-len(row) for row in ids], kind="stable")
        rows: list[sparse.csr_matrix] = []
        was_training = self.training
        self.eval()
        with torch.inference_mode(), _autocast(self.device):
            for start in tqdm(
                range(0, len(ids), batch_size), desc="encode", disable=not progress, unit="batch"
            ):
                batch = [ids[i] for i in order[start : start + batch_size]]
                vectors = self(*self.pad(batch)).float().cpu()
                rows.append(sparse.csr_matrix(vectors.numpy()))
        self.train(was_training)
        if not rows:
            return sparse.csr_matrix((0, self.vocabulary_size), dtype=np.float32)
        inverse = np.argsort(order, kind="stable")
        return sparse.vstack(rows, format="csr", dtype=np.float32)[inverse]

    def token_ids(self, texts: Texts, max_length: int) -> list[list[int]]:
        """Token ids of each text, at most `max_length` with the closing special token."""
        limit = self._positions()
        if not 2 <= max_length <= limit:
            raise DiscoError(
                f"max_length {max_length}: this model reads 2 to {limit} tokens. Lower max_length."
            )
        if isinstance(texts, str):
            raise DiscoError("encode takes a list of texts, not one string. Write encode([text]).")
        strings = [i for i, text in enumerate(texts) if isinstance(text, str)]
        ids: list[list[int]] = [[] if isinstance(t, str) else list(t) for t in texts]
        for start in range(0, len(strings), 4096):
            chosen = strings[start : start + 4096]
            coded = self.tokenizer(
                [texts[i] for i in chosen], truncation=True, max_length=max_length
            )["input_ids"]
            for i, row in zip(chosen, coded, strict=True):
                ids[i] = row
        for row in ids:
            if len(row) > max_length:
                row[max_length - 1 :] = row[-1:]
        return ids

    def pad(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Pad lists of token ids to (batch, length): ids and mask on the encoder's device."""
        longest = max(1, max(len(row) for row in ids))
        length = min(-(-longest // PAD_TO) * PAD_TO, max(longest, self._positions()))
        padded = torch.full((len(ids), length), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(ids), length), dtype=torch.long)
        for i, row in enumerate(ids):
            padded[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
        return padded.to(self.device), mask.to(self.device)

    def _positions(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", 2**31))

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model in the layout that sentence_transformers.SparseEncoder loads."""
        from sentence_transformers import SparseEncoder
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        os.makedirs(path, exist_ok=True)
        self.model.save_pretrained(path)
        # A tokenizer remembers how it last cut and padded; what is saved must not depend on it.
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        self.tokenizer.save_pretrained(path)
        body = Transformer(str(path), transformer_task="fill-mask")
        layout = SparseEncoder(modules=[body, SpladePooling("max")], device="cpu")
        layout.save_pretrained(str(path), create_model_card=False)


@contextmanager
def _without_decoder(decoder: nn.Module) -> Iterator[None]:
    # The masked-LM head is transform, then decoder. With the decoder passing its input through,
    # the model returns what the decoder would have read: (batch, length, width).
    decoder.forward = lambda hidden: hidden
    try:
        yield
    finally:
        del decoder.forward


def _autocast(device: torch.device) -> torch.autocast:
    usable = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=usable)
