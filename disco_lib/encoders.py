"""Encoders: text in, vectors out. SPLADE on any masked language model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from scipy import sparse
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging

from disco_lib.errors import DiscoError
from disco_lib.splade_head import splade_max
from disco_lib.storage import MANIFEST, open_sealed
from disco_lib.text_encoder import TextEncoder, Texts, default_device
from disco_lib.weights import resolve

REBUILD = "disco distil ... --out STUDENT, after removing that folder"
STUDENT_SETTINGS = "distil_settings.json"


class SpladeEncoder(TextEncoder):
    """A SPLADE encoder: (texts) -> non-negative vectors over the vocabulary.

    The document's and the query's encoder may differ, as long as they share a vocabulary.
    """

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
        rows, places = self._batches(texts, max_length, batch_size, progress, sparse.csr_matrix)
        if not rows:
            return sparse.csr_matrix((0, self.vocabulary_size), dtype=np.float32)
        return sparse.vstack(rows, format="csr", dtype=np.float32)[places]

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model in the layout that sentence_transformers.SparseEncoder loads."""
        from sentence_transformers import SparseEncoder
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        os.makedirs(path, exist_ok=True)
        self.model.save_pretrained(path)
        self._save_tokenizer(str(path))
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
