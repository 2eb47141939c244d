"""Sets of vectors on disk: checksummed, memory-mapped, encoded shard by shard."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    cache_root,
    open_sealed,
    read_json,
    remove_leftovers,
    settings_hash,
    sha256_texts,
    sole_writer,
    work_folder,
    write_json,
)

if TYPE_CHECKING:
    # Reading vectors, as an index does, need not wait for torch.
    from disco_lib.text_encoder import TextEncoder, Texts

REBUILD = "disco encode ... --out VECTORS"
FORMAT = "disco-vectors-1"
SHARD = 2048


@dataclass(frozen=True)
class Vectors:
    """Rows of vectors (n, dimensions), the id of each row, and how they were made.

    Rows are float32 CSR of a sparse encoder, or a float32 matrix of a dense one.
    """

    rows: sparse.csr_matrix | np.ndarray
    ids: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class RowForm:
    """How rows of an encoder's vectors are kept, and which command makes them anew.

    write(folder, rows), read(folder) -> rows, empty(encoder) -> no rows, stack(list of rows) ->
    rows; format names what lies in the folder.
    """

    format: str
    rebuild: str
    write: Callable[[Path, Any], None]
    read: Callable[[Path], Any]
    empty: Callable[[TextEncoder], Any]
    stack: Callable[[list[Any]], Any]


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


def _no_rows(encoder: TextEncoder) -> sparse.csr_matrix:
    return sparse.csr_matrix((0, encoder.vocabulary_size), dtype=np.float32)


def _stack_csr(rows: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    return sparse.vstack(rows, format="csr", dtype=np.float32)


#: Of sparse encoders.
SPARSE = RowForm(FORMAT, REBUILD, write_csr, read_csr, _no_rows, _stack_csr)


def save_vectors(path: Path, vectors: Vectors, form: RowForm = SPARSE) -> None:
    """Write vectors as a sealed folder of .npy arrays and an id list; replaces an older one."""
    with atomic_folder(path, format=form.format, settings=vectors.settings) as folder:
        form.write(folder, vectors.rows)
        write_json(folder / "ids.json", vectors.ids)


def load_vectors(path: str | Path, form: RowForm = SPARSE) -> Vectors:
    """Open saved vectors, memory-mapped. IntegrityError names a file that is missing or changed."""
    folder = Path(path)
    manifest = open_sealed(folder, form.rebuild)
    if manifest.get("format") != form.format:
        raise IntegrityError(
            f"{folder}: not vectors of format {form.format}. Rebuild: {form.rebuild}"
        )
    return Vectors(form.read(folder), read_json(folder / "ids.json"), manifest["settings"])


def encode_to(
    path: str | Path,
    encoder: TextEncoder,
    texts: Texts,
    ids: Sequence[str],
    max_length: int = 256,
    progress: bool = True,
    shard: int = SHARD,
    form: RowForm = SPARSE,
    fingerprint: str | None = None,
) -> Vectors:
    """Encode texts into a sealed folder; after an interruption, go on with the next shard.

    Shards are fixed runs of `shard` texts, so the result does not depend on where it was
    interrupted. Texts are padded with others of their shard, so two sizes of shard can differ in a
    weight's last bits; the size is one of the settings. A finished folder of the same settings is
    opened, not encoded again. fingerprint: the encoder's, where the caller has computed it. Raises
    DiscoError for a shard below 1 and for ids that do not match.
    """
    path = Path(path)
    if shard < 1:
        raise DiscoError(f"shard is {shard}; it must be at least 1 text.")
    if len(texts) != len(ids):
        raise DiscoError(f"{len(texts)} texts, but {len(ids)} ids. Give one id a text.")
    encoder.token_ids([], max_length)  # refuses a length that the model cannot read
    known = fingerprint or encoder.fingerprint()
    settings = {**_settings(known, texts, ids, max_length), "shard": shard}
    with sole_writer(path):
        work = work_folder(path, settings)
        if not _finished(path, settings, form):
            rows = _encode(work, encoder, texts, max_length, progress, shard, form)
            save_vectors(path, Vectors(rows, list(ids), settings), form)
        shutil.rmtree(work, ignore_errors=True)
        # Opened before another process may replace it by vectors of other settings.
        return load_vectors(path, form)


def cached_vectors(
    encoder: TextEncoder,
    texts: Texts,
    ids: Sequence[str],
    max_length: int = 256,
    progress: bool = False,
    form: RowForm = SPARSE,
    fingerprint: str | None = None,
) -> Vectors:
    """The vectors of these texts from the cache, encoded once for each encoder and length.

    fingerprint: the encoder's, where the caller has computed it.
    """
    known = fingerprint or encoder.fingerprint()
    path = cache_root() / "vectors" / settings_hash(_settings(known, texts, ids, max_length))
    return encode_to(path, encoder, texts, ids, max_length, progress, form=form, fingerprint=known)


def _settings(
    fingerprint: str, texts: Texts, ids: Sequence[str], max_length: int
) -> dict[str, Any]:
    coded = (text if isinstance(text, str) else str(list(text)) for text in texts)
    return {
        "encoder": fingerprint,
        "texts": sha256_texts(coded),
        "ids": sha256_texts(ids),
        "max_length": max_length,
    }


def _encode(
    work: Path,
    encoder: TextEncoder,
    texts: Texts,
    max_length: int,
    progress: bool,
    shard: int,
    form: RowForm,
) -> sparse.csr_matrix | np.ndarray:
    rows = [form.empty(encoder)]
    with tqdm(total=len(texts), desc="encode", unit=" texts", disable=not progress) as bar:
        for start in range(0, len(texts), shard):
            part = texts[start : start + shard]
            rows.append(_shard(work / f"shard-{start:09d}", encoder, part, max_length, form))
            bar.update(len(part))
    return form.stack(rows)


def _shard(
    folder: Path, encoder: TextEncoder, texts: Texts, max_length: int, form: RowForm
) -> sparse.csr_matrix | np.ndarray:
    try:
        open_sealed(folder, form.rebuild)
    except IntegrityError:
        shutil.rmtree(folder, ignore_errors=True)
        remove_leftovers(folder)
        with atomic_folder(folder) as part:
            form.write(part, encoder.encode(texts, max_length))
    return form.read(folder)


def _finished(path: Path, settings: dict[str, Any], form: RowForm) -> bool:
    if not (path / MANIFEST).is_file():
        return False
    try:
        manifest = open_sealed(path, form.rebuild)
    except IntegrityError:
        return False
    return manifest.get("settings") == settings and manifest.get("format") == form.format
