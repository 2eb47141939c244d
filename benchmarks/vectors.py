"""Vectors to search: real ones, and as many as wanted recombined from them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from disco_lib.catalogue import data_root
from disco_lib.conversations import Limits, context_ids
from disco_lib.datasets import load
from disco_lib.encoders import SpladeEncoder
from disco_lib.vectors import cached_vectors

KEPT = 0.75  # share of its terms that each of two documents gives


def source() -> tuple[str, str, str]:
    """(data set, split, rewrite): QReCC where $DISCO_DATA has it, else the embedded collection."""
    root = data_root()
    if root is not None and (root / "qrecc").is_dir():
        return "qrecc", "dev", "human"
    return "mini", "test", "gold"


def real_vectors(limit: int = 200) -> tuple[sparse.csr_matrix, dict[str, sparse.csr_matrix]]:
    """Passages (n, vocabulary), and `limit` queries of each kind, by untrained SPLADE-tiny.

    Short queries are careful rewrites, long ones the same turns' full conversations.
    """
    data, split, rewrite = source()
    encoder, collection, limits = SpladeEncoder.from_pretrained("splade-tiny"), load(data), Limits()
    documents = cached_vectors(encoder, collection.passage_texts(), collection.pids, 192, True).rows
    turns = [t for t in collection.iter_turns(split) if t.history and t.rewrites.get(rewrite)]
    queries = {}
    for kind, given in (("short", f"rewrite:{rewrite}"), ("long", "conversation")):
        ids = [context_ids(t, given, encoder.tokenizer, limits) for t in turns[:limit]]
        queries[kind] = encoder.encode(ids, limits.total)
    return sparse.csr_matrix(documents), queries


def recombined(documents: sparse.csr_matrix, count: int, seed: int = 1) -> sparse.csr_matrix:
    """`count` documents, each a mix of the terms of two real ones, weights kept.

    Each of the two gives three quarters of its terms, drawn at random; of a term that both give,
    the higher weight stays.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        left, right = (_thinned(documents, size, rng) for _ in range(2))
        parts.append(left.maximum(right).astype(np.float32))
    return sparse.vstack(parts, format="csr", dtype=np.float32)


def _thinned(
    documents: sparse.csr_matrix, size: int, rng: np.random.Generator
) -> sparse.csr_matrix:
    chosen = documents[rng.integers(0, documents.shape[0], size)]
    chosen.data = np.where(rng.random(chosen.nnz) < KEPT, chosen.data, np.float32(0))
    chosen.eliminate_zeros()
    return chosen
