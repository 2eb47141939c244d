"""Dense encoders: text in, one short vector out, of a transformer, a pooling and a projection."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging

from disco_lib.dense_head import POOLINGS, Layout, head_width, read_layout, write_layout
from disco_lib.errors import DiscoError
from disco_lib.storage import MANIFEST, atomic_folder, open_sealed
from disco_lib.text_encoder import TextEncoder, Texts, default_device
from disco_lib.weights import resolve

REBUILD = "DenseEncoder.save_pretrained, after removing that folder"


class DenseEncoder(TextEncoder):
    """A dense encoder: (texts) -> vectors of a few hundred dimensions.

    pooling: "mean" of the hidden states of real tokens, E = sum_i H_i m_i / sum_i m_i (the report's
    equation 1), or "cls", the first token's. head: what follows, see `dense_head.projection_head`,
    nothing by default. normalize: vectors of unit length (equations 2 and 6), so that their dot
    product is a cosine (equation 3). Raises DiscoError for an unknown pooling.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str = "mean",
        head: nn.Sequential | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__(model, tokenizer)
        if pooling not in POOLINGS:
            raise DiscoError(f"pooling {pooling!r}; there are: {', '.join(POOLINGS)}.")
        if getattr(model, "pooler", None) is not None:
            # No vector depends on it, and where a file lacks it, it is drawn at random.
            model.pooler = None
        self.pooling = pooling
        self.head = nn.Sequential() if head is None else head
        self.normalize = normalize

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: torch.device | str | None = None,
        pooling: str | None = None,
        normalize: bool | None = None,
    ) -> DenseEncoder:
        """Load a sentence encoder: "minilm", a folder, or a hub id.

        pooling, normalize: where not given, what the folder says, or mean pooling without
        normalisation for a bare transformer, as sentence-transformers has it. Only safetensors
        weights are read and no code of the model's folder is run. Raises DiscoError when there is
        no such model, or it has modules that are not known here, and IntegrityError for a folder
        written by `save_pretrained` with a file that is missing or has changed.
        """
        source = resolve(name_or_path)
        if (Path(source) / MANIFEST).is_file():
            open_sealed(Path(source), REBUILD)
        try:
            layout = read_layout(source) or Layout("mean", nn.Sequential(), normalize=False)
            model, tokenizer = _transformer(source)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise DiscoError(
                f"{name_or_path}: no sentence encoder can be loaded from there ({reason}). "
                'Give "minilm", a folder in the layout of sentence-transformers, or a hub id.'
            ) from error
        made = cls(
            model,
            tokenizer,
            layout.pooling if pooling is None else pooling,
            layout.head,
            layout.normalize if normalize is None else normalize,
        )
        return made.to(device or default_device()).eval()

    @property
    def width(self) -> int:
        """Number of dimensions of a hidden state."""
        return int(self.model.config.hidden_size)

    @property
    def dimensions(self) -> int:
        """Number of dimensions of a vector."""
        return head_width(self.head, self.width)

    @property
    def layers(self) -> int:
        """Number of transformer layers. DiscoError where the model keeps them elsewhere."""
        return len(getattr(*_layers(self.model)))

    def first_layers(
        self,
        layers: int,
        pooling: str | None = None,
        head: nn.Sequential | None = None,
        normalize: bool | None = None,
    ) -> DenseEncoder:
        """A new encoder of this one's embeddings and first `layers` layers, with weights copied.

        pooling, head, normalize: this one's where they are not given. Raises DiscoError for a
        number of layers below 1 or above this one's.
        """
        if not 1 <= layers <= self.layers:
            raise DiscoError(f"layers is {layers}; this encoder has {self.layers}.")
        model = copy.deepcopy(self.model)
        holder, name = _layers(model)
        setattr(holder, name, getattr(holder, name)[:layers])
        model.config.num_hidden_layers = layers
        made = DenseEncoder(
            model,
            copy.deepcopy(self.tokenizer),
            self.pooling if pooling is None else pooling,
            copy.deepcopy(self.head) if head is None else head,
            self.normalize if normalize is None else normalize,
        )
        return made.to(self.device).train(self.training)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask (batch, length) -> float32 vectors (batch, dimensions), with a graph.

        A text without any token has a vector of zeros.
        """
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        vectors = self.head(self._pool(hidden.float(), attention_mask)).float()
        vectors = F.normalize(vectors, dim=-1) if self.normalize else vectors
        return vectors.masked_fill(attention_mask.sum(1, keepdim=True) == 0, 0.0)

    def _pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1).clamp_min(1e-9)

    def encode(
        self,
        texts: Texts,
        max_length: int = 256,
        batch_size: int = 32,
        progress: bool = False,
    ) -> np.ndarray:
        """Encode texts, or lists of token ids, in batches of similar length.

        Returns float32 (texts, dimensions) in the order of `texts`. On a GPU with bfloat16 the
        transformer runs in bfloat16. Raises DiscoError when max_length exceeds the model's
        positions.
        """
        rows, places = self._batches(texts, max_length, batch_size, progress, np.asarray)
        if not rows:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return np.concatenate(rows)[places]

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model in the layout that SentenceTransformer loads, safetensors alone.

        The folder is written aside, sealed with checksums and renamed, so it is whole or absent; an
        older model of that name is replaced. Raises DiscoError for a folder that holds something
        else.
        """
        path = Path(path)
        if path.is_file() or (path.is_dir() and not _replaceable(path)):
            raise DiscoError(f"{path}: holds something else than a model. Give another folder.")
        layout = Layout(self.pooling, self.head, self.normalize)
        with atomic_folder(path) as folder:
            self.model.save_pretrained(folder)
            self._save_tokenizer(str(folder))
            write_layout(folder, layout, self.width, self._positions())

    def _weights(self) -> Mapping[str, Tensor]:
        head = nn.Sequential(*self._steps())
        return {**self.model.state_dict(), **head.state_dict(prefix="head.")}

    def _way(self) -> str:
        steps = [type(step).__name__ for step in self._steps()]
        return " ".join([self.pooling, *steps, f"normalize {self.normalize}"])

    def _steps(self) -> list[nn.Module]:
        """What of the head a vector depends on."""
        return [step for step in self.head if not isinstance(step, nn.Dropout)]


def _transformer(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    # It would tell of a missing pooler, which is not used; what is missing besides is an error.
    logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model, report = AutoModel.from_pretrained(
            source,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(verbosity)
    # They would be drawn at random; of the pooler that does not matter.
    missing = sorted(k for k in report["missing_keys"] if not k.startswith("pooler."))
    if missing:
        raise ValueError(f"it has no weights {missing[0]}")
    words = max(tokenizer.get_vocab().values(), default=-1) + 1
    if words > (known := int(model.get_input_embeddings().weight.shape[0])):
        raise ValueError(f"its tokenizer has {words} tokens, its weights {known}")
    return model, tokenizer


def _layers(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds the list of layers, and the list's name."""
    for part in ("encoder", "transformer"):
        holder = getattr(model, part, None)
        for name in ("layer", "layers"):
            if isinstance(getattr(holder, name, None), nn.ModuleList):
                return holder, name
    raise DiscoError(
        f"{type(model).__name__}: its layers are not where BERT, MPNet, RoBERTa or DistilBERT keep "
        "theirs. Start the student from a model of its own."
    )


def _replaceable(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    return not names or "modules.json" in names
