"""Ground: a data set with its passages' vectors and index in memory, on which systems are run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from scipy import sparse

from disco_lib.conversations import Turn
from disco_lib.datasets import Collection
from disco_lib.dense_rows import DenseIndex, Encoder, index_of
from disco_lib.index import InvertedIndex
from disco_lib.vectors import cached_vectors


class Ground:
    """A collection, and what an encoder makes of its passages: vectors (cached) and an index."""

    def __init__(
        self, collection: Collection, encoder: Encoder, length: int, progress: bool = True
    ) -> None:
        self.collection, self.encoder = collection, encoder
        self.length, self.progress = length, progress

    @cached_property
    def documents(self) -> sparse.csr_matrix:
        """The passages' vectors (passages, vocabulary)."""
        texts, pids = self.collection.passage_texts(), self.collection.pids
        return cached_vectors(self.encoder, texts, pids, self.length, self.progress).rows

    @cached_property
    def index(self) -> InvertedIndex | DenseIndex:
        """The index over the passages."""
        return index_of(self.encoder, self.documents, self.collection.pids)

    @cached_property
    def texts(self) -> dict[str, str]:
        """Text of each passage by its id."""
        return {row["pid"]: row["text"] for row in self.collection.passages}

    def turns(self, split: str, evaluation: Mapping[str, Any], *inputs: str) -> list[Turn]:
        """The collection's turns that count in an evaluation; see `counted_turns`."""
        return counted_turns(self.collection, split, evaluation, *inputs)


def counted_turns(
    collection: Collection, split: str, evaluation: Mapping[str, Any], *inputs: str
) -> list[Turn]:
    """The turns that count in an evaluation, and for which all the inputs exist."""
    qrels = collection.qrels(split).to_dict()
    later = evaluation.get("later_turns", False)
    rewrites = [i.removeprefix("rewrite:") for i in inputs if i.startswith("rewrite:")]
    return [
        turn
        for turn in collection.iter_turns(split)
        if any(grade > 0 for grade in qrels.get(turn.turn_id, {}).values())
        and (turn.history or not later)
        and all(turn.rewrites.get(rewrite, "").strip() for rewrite in rewrites)
    ]
