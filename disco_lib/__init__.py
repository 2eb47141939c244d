"""Distil LLM query rewriting into fast conversational retrievers: the library behind the book."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disco_lib.datasets import load
    from disco_lib.dense_encoder import DenseEncoder
    from disco_lib.encoders import SpladeEncoder
    from disco_lib.index import InvertedIndex
    from disco_lib.metrics import evaluate
    from disco_lib.training import distil

__version__ = "0.1.0"
__all__ = ["DenseEncoder", "InvertedIndex", "SpladeEncoder", "distil", "evaluate", "load"]

_HOMES = {
    "DenseEncoder": "dense_encoder",
    "InvertedIndex": "index",
    "SpladeEncoder": "encoders",
    "distil": "training",
    "evaluate": "metrics",
    "load": "datasets",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `disco --help` need not import torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'disco_lib' has no attribute {name!r}")
    return getattr(import_module(f"disco_lib.{_HOMES[name]}"), name)
