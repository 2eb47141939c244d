"""What sparse and dense encoders share: tokens, batches of similar length, a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from disco_lib.errors import DiscoError

# Few distinct shapes keep the caches of kernels and of memory small.
PAD_TO = 8

Texts = Sequence[str] | Sequence[Sequence[int]]
Rows = TypeVar("Rows")


def default_device() -> torch.device:
    """The first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_dropout(model: nn.Module, share: float) -> None:
    """Let every dropout of a model leave out this share."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


class TextEncoder(nn.Module):
    """A transformer and its tokenizer; a kind of encoder says what vectors come out."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of weights and vocabulary: what a cached vector depends on."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._weights().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        for token, number in sorted(self.tokenizer.get_vocab().items()):
            digest.update(f"{token}\x00{number}\x00".encode())
        digest.update(self._way().encode())
        return digest.hexdigest()

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

    def _batches(
        self,
        texts: Texts,
        max_length: int,
        batch_size: int,
        progress: bool,
        convert: Callable[[np.ndarray], Rows],
    ) -> tuple[list[Rows], np.ndarray]:
        """Vectors of each batch of texts of similar length, converted, and each text's row."""
        ids = self.token_ids(texts, max_length)
        order = np.argsort([-len(row) for row in ids], kind="stable")
        rows: list[Rows] = []
        was_training = self.training
        self.eval()
        with torch.inference_mode(), _autocast(self.device):
            for start in tqdm(
                range(0, len(ids), batch_size), desc="encode", disable=not progress, unit="batch"
            ):
                batch = [ids[i] for i in order[start : start + batch_size]]
                rows.append(convert(self(*self.pad(batch)).float().cpu().numpy()))
        self.train(was_training)
        return rows, np.argsort(order, kind="stable")

    def _save_tokenizer(self, path: str) -> None:
        # A tokenizer remembers how it last cut and padded; what is saved must not depend on it.
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        self.tokenizer.save_pretrained(path)

    def _weights(self) -> Mapping[str, Tensor]:
        """What the fingerprint covers."""
        return self.model.state_dict()

    def _way(self) -> str:
        """What vectors depend on besides weights and vocabulary."""
        return ""

    def _positions(self) -> int:
        positions = int(getattr(self.model.config, "max_position_embeddings", 2**31))
        # RoBERTa and MPNet count positions from behind that of the padding token.
        embeddings = getattr(self.model.base_model, "embeddings", None)
        padding = getattr(embeddings, "padding_idx", None)
        return positions if padding is None else positions - padding - 1


def _autocast(device: torch.device) -> torch.autocast:
    usable = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=usable)
