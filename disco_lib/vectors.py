"""Sets of sparse vectors on disk: checksummed, memory-mapped, encoded shard by shard."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.encoders import SpladeEncoder, Texts
from disco_lib.errors import IntegrityError
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    cache_root,
    open_sealed,
    read_json,
    settings_hash,
    sha256_texts,
    write_json,
)

REBUILD = "disco encode ... --out VECTORS"
FORMAT = "disco-vectors-1"
SHARD = 2048


@dataclass(frozen=True)
class Vectors:
    """Rows of float32 CSR (n, vocabulary), the id of each row, and how they were made."""

    rows: sparse.csr_matrix
    ids: list[str]
    settings: dict[str, Any]


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Write vectors as a sealed folder of .npy arrays and an id list; replaces an older one."""
    with atomic_folder(path, format=FORMAT, settings=vectors.settings) as folder:
        write_csr(folder, vectors.rows)
        write_json(folder / "ids.json", vectors.ids)


def load_vectors(path: str | Path) -> Vectors:
    """Open saved vectors, memory-mapped. IntegrityError names a file that is missing or changed."""
    folder = Path(path)
    manifest = open_sealed(folder, REBUILD)
    if manifest.get("format") != FORMAT:
        raise IntegrityError(f"{folder}: not vectors of format {FORMAT}. Rebuild: {REBUILD}")
    return Vectors(read_csr(folder), read_json(folder / "ids.json"), manifest["settings"])


def write_csr(folder: Path, rows: sparse.csr_matrix) -> None:
    """Write a CSR matrix as four .npy files, without pickle."""
    np.save(folder / "indptr.npy", rows.indptr.astype(np.int64), allow_pickle=False)
    np.save(folder / "indices.npy", rows.indices.astype(np.int32), allow_pickle=False)
    np.save(folder / "data.npy", rows.data.astype(np.float32), allow_pickle=False)
    np.save(folder / "shape.npy", np.asarray(rows.shape, dtype=np.int64), allow_pickle=False)


def read_csr(folder: Path) -> sparse.csr_matrix:
    """Open a CSR matrix written by `write_csr`, memory-mapped."""
    indptr, indices, data = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("indptr", "indices", "data")
    )
    shape = tuple(int(n) for n in np.load(folder / "shape.npy", allow_pickle=False))
    return sparse.csr_matrix((data, indices, indptr), shape=shape, copy=False)


def encode_to(
    path: Path,
    encoder: SpladeEncoder,
    texts: Texts,
    ids: Sequence[str],
    max_length: int = 256,
    progress: bool = True,
) -> Vectors:
    """Encode texts into a sealed folder; after an interruption, go on with the next shard.

    Shards are fixed runs of texts, so the result does not depend on where it was interrupted.
    A finished folder of the same settings is opened, not encoded again.
    """
    settings = {
        "encoder": encoder.fingerprint(),
        "texts": sha256_texts(text if isinstance(text, str) else str(list(text)) for text in texts),
        "ids": sha256_texts(ids),
        "max_length": max_length,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        if _finished(path, settings):
            return load_vectors(path)
        work = path.parent / f".{path.name}.{settings_hash(settings)}.work"
        shards = []
        starts = range(0, len(ids), SHARD)
        for start in tqdm(starts, desc="encode", unit="shard", disable=not progress):
            part = texts[start : start + SHARD]
            shards.append(_shard(work / f"shard-{start:09d}", encoder, part, max_length))
        empty = sparse.csr_matrix((0, encoder.vocabulary_size), dtype=np.float32)
        rows = sparse.vstack([empty, *shards], format="csr", dtype=np.float32)
        save_vectors(path, Vectors(rows, list(ids), settings))
        shutil.rmtree(work, ignore_errors=True)
    return load_vectors(path)


def cached_vectors(
    encoder: SpladeEncoder,
    texts: Texts,
    ids: Sequence[str],
    max_length: int = 256,
    progress: bool = False,
) -> Vectors:
    """The vectors of these texts from the cache, encoded once for each encoder and length."""
    coded = (text if isinstance(text, str) else str(list(text)) for text in texts)
    key = settings_hash(
        {
            "encoder": encoder.fingerprint(),
            "texts": sha256_texts(coded),
            "ids": sha256_texts(ids),
            "max_length": max_length,
        }
    )
    return encode_to(cache_root() / "vectors" / key, encoder, texts, ids, max_length, progress)


def _shard(
    folder: Path, encoder: SpladeEncoder, texts: Texts, max_length: int
) -> sparse.csr_matrix:
    try:
        open_sealed(folder, REBUILD)
    except IntegrityError:
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_folder(folder) as part:
            write_csr(part, encoder.encode(texts, max_length))
    return read_csr(folder)


def _finished(path: Path, settings: dict[str, Any]) -> bool:
    if not (path / MANIFEST).is_file():
        return False
    try:
        return open_sealed(path, REBUILD).get("settings") == settings
    except IntegrityError:
        return False
