"""Small GGUF files, unpacked once: transformers reads such a file four times over to load it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    cache_root,
    open_sealed,
    sha256_file,
    sole_writer,
)

#: Bytes; unpacked, a file is up to eight times as large, which for a large one is too much to keep.
LARGEST = 512 * 2**20
FORMAT = "disco-unpacked-gguf-1"
REBUILD = "removing this folder; it is made anew when the model is loaded"


def unpacked(file: Path) -> Path | None:
    """A folder with the model and tokenizer of a GGUF file as safetensors in float32.

    The folder is made in the cache when the file is seen for the first time, and checked
    whenever it is used. None for a file larger than LARGEST, which is to be read as it is. Raises
    what transformers raises for a file that holds no causal language model, and IntegrityError for
    a folder that has changed.
    """
    if file.stat().st_size > LARGEST:
        return None
    folder = cache_root() / "unpacked" / sha256_file(file)
    with sole_writer(folder):
        if not (folder / MANIFEST).is_file():
            _unpack(file, folder)
    open_sealed(folder, REBUILD, quick=True)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        file.parent, gguf_file=file.name, trust_remote_code=False
    )
    model, report = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        use_safetensors=True,  # and nothing that would have to be unpickled
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        # They would be drawn at random.
        raise ValueError(f"it has no weights {min(report['missing_keys'])}")
    # The same weights in a model that no longer counts as quantised, which cannot be saved.
    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    plain.load_state_dict(model.state_dict())
    with atomic_folder(folder, format=FORMAT) as target:
        plain.save_pretrained(target)
        tokenizer.save_pretrained(target)
