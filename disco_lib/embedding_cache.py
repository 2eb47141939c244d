"""A teacher's embeddings of pairs, made once and kept, and its scores of them: annotation.

Made shard by shard, so that an interrupted annotation goes on; checksummed, so that a changed byte
is found; memory-mapped. See `vectors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disco_lib.dense_encoder import DenseEncoder
from disco_lib.errors import DiscoError
from disco_lib.pairs import Pair
from disco_lib.vectors import RowForm, cached_vectors


def write_matrix(folder: Path, rows: np.ndarray) -> None:
    """Write a matrix (n, dimensions) as float32 rows.npy, without pickle."""
    np.save(folder / "rows.npy", np.asarray(rows, dtype=np.float32), allow_pickle=False)


def read_matrix(folder: Path) -> np.ndarray:
    """Open a matrix written by `write_matrix`, memory-mapped."""
    return np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)


def _no_rows(encoder: DenseEncoder) -> np.ndarray:
    return np.zeros((0, encoder.dimensions), dtype=np.float32)


#: Of dense encoders.
DENSE = RowForm(
    "disco-embeddings-1",
    "disco_lib.embedding_cache.annotate",
    write_matrix,
    read_matrix,
    _no_rows,
    np.concatenate,
)


@dataclass(frozen=True)
class Annotation:
    """A teacher's embeddings of pairs: queries, documents float32 (pairs, dimensions)."""

    queries: np.ndarray
    documents: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """s_t(q, d) of each pair, float32 (pairs,): the report's equation 3, its soft labels.

        Cosines where the teacher's vectors have unit length.
        """
        return np.einsum("pd,pd->p", self.queries, self.documents)

    def similarities(
        self, queries: Sequence[int] | None = None, documents: Sequence[int] | None = None
    ) -> np.ndarray:
        """Scores float32 (queries, documents) of any queries with any documents, all by default.

        queries, documents: indices of pairs. Raises DiscoError for an index that there is not.
        """
        sides = []
        for name, rows, chosen in (
            ("queries", self.queries, queries),
            ("documents", self.documents, documents),
        ):
            places = np.arange(len(rows)) if chosen is None else np.asarray(chosen, dtype=np.int64)
            if len(places) and not (0 <= places.min() and places.max() < len(rows)):
                raise DiscoError(f"{name}: indices of pairs lie in 0 to {len(rows) - 1}.")
            sides.append(rows[places])
        return sides[0] @ sides[1].T


def annotate(
    teacher: DenseEncoder, pairs: Sequence[Pair], max_length: int = 256, progress: bool = False
) -> Annotation:
    """The teacher's embeddings of pairs from the cache, made once for each teacher and length.

    Raises DiscoError where there is no pair.
    """
    if not pairs:
        raise DiscoError("No pair to annotate.")
    ids = [pair.turn_id for pair in pairs]
    queries, documents = (
        cached_vectors(teacher, texts, ids, max_length, progress, DENSE).rows
        for texts in ([pair.query for pair in pairs], [pair.document for pair in pairs])
    )
    return Annotation(queries, documents)
