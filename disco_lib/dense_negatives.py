"""Where a batch's further negatives come from: nowhere, at random, the teacher's ranking, a queue.

Every pair's document is a negative for the other queries of its batch. What joins them are columns
of documents behind those of the pairs, the same for all queries. A document that a query holds
itself must not count against it, so equal documents have one number, and repeats are marked.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from disco_lib.embedding_cache import Annotation
from disco_lib.errors import DiscoError
from disco_lib.nested_settings import check_fields
from disco_lib.pairs import Pair

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Pool:
    """The documents that negatives are drawn from.

    numbers int64 (pairs,): the number of each pair's document; equal texts have one. first int64
    (documents,): the first pair with each document. ranking int64 (pairs, depth): the documents
    that the teacher scores best for each pair's query besides its own, best first; without it,
    (pairs, 0).
    """

    numbers: np.ndarray
    first: np.ndarray
    ranking: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Pool:
        """The pool of pairs, without a ranking. Raises DiscoError where there is no pair."""
        if not pairs:
            raise DiscoError("No pair to draw negatives from.")
        by_text: dict[str, int] = {}
        numbers = [by_text.setdefault(pair.document, len(by_text)) for pair in pairs]
        _, first = np.unique(numbers, return_index=True)
        return cls(np.array(numbers), first, np.zeros((len(pairs), 0), dtype=np.int64))

    def ranked(self, annotation: Annotation, depth: int = 50) -> Pool:
        """The pool with the teacher's ranking to that depth, of its embeddings of the pairs.

        Equal scores count in the pool's order. Raises DiscoError for a depth below 1 or above the
        number of other documents, and for an annotation of other pairs.
        """
        if len(annotation.queries) != len(self.numbers):
            raise DiscoError(
                f"Embeddings of {len(annotation.queries)} pairs for a pool of {len(self.numbers)}. "
                "Annotate the pool's pairs."
            )
        if not 1 <= depth < len(self.first):
            raise DiscoError(
                f"depth is {depth}; of {len(self.first)} documents, a ranking of others has 1 to "
                f"{len(self.first) - 1}."
            )
        rows = []
        for start in range(0, len(self.numbers), _ROWS_AT_ONCE):
            queries = range(start, min(start + _ROWS_AT_ONCE, len(self.numbers)))
            scores = annotation.similarities(queries, self.first)
            scores[np.arange(len(queries)), self.numbers[queries]] = -np.inf
            rows.append(np.argsort(-scores, axis=1, kind="stable")[:, :depth])
        return dataclasses.replace(self, ranking=np.concatenate(rows))


@dataclass(frozen=True)
class Columns:
    """The documents of a batch: int64 (N,), the pairs' own first; and which repeat a query's own.

    duplicates: bool (B, N), as the losses take it.
    """

    documents: np.ndarray
    duplicates: np.ndarray


@dataclass(frozen=True)
class Negatives(ABC):
    """Further negatives of a batch; a kind says where they are drawn.

    negatives: documents a query, so that a batch of B pairs has B * negatives of them.
    """

    kind: ClassVar[str]

    @abstractmethod
    def draw(self, batch: np.ndarray, pool: Pool, rng: np.random.Generator) -> np.ndarray:
        """Numbers of documents int64 (extra,) for a batch of pairs (B,)."""

    def columns(self, batch: np.ndarray, pool: Pool, rng: np.random.Generator) -> Columns:
        """The documents of a batch of pairs int (B,), drawn ones behind the pairs' own."""
        batch = np.asarray(batch, dtype=np.int64)
        documents = np.append(pool.numbers[batch], self.draw(batch, pool, rng)).astype(np.int64)
        return Columns(documents, repeats(pool.numbers[batch], documents))

    def to_dict(self) -> dict[str, Any]:
        """The kind as plain values, from which `negatives_from_dict` makes it again."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class InBatchNegatives(Negatives):
    """The batch's own documents alone."""

    kind: ClassVar[str] = "in-batch"

    def draw(self, batch: np.ndarray, pool: Pool, rng: np.random.Generator) -> np.ndarray:
        """None."""
        return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class RandomNegatives(Negatives):
    """Documents of the whole pool, each as likely: nearly all of them easy."""

    negatives: int = 1
    kind: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        _at_least_one(self.negatives)

    def draw(self, batch: np.ndarray, pool: Pool, rng: np.random.Generator) -> np.ndarray:
        """For each query, distinct documents besides its own."""
        others = len(pool.first) - 1
        _enough(self.negatives, others)
        drawn = np.stack([rng.choice(others, self.negatives, replace=False) for _ in batch])
        # Places among the others -> documents: one further from the query's own on.
        return (drawn + (drawn >= pool.numbers[batch][:, None])).ravel()


@dataclass(frozen=True)
class HardNegatives(Negatives):
    """Documents of the teacher's ranking: uniform over ranks start + 1 to end.

    A start above 0 leaves out what the teacher scores so high that it may well be relevant.
    """

    negatives: int = 1
    start: int = 0
    end: int = 20
    kind: ClassVar[str] = "hard"

    def __post_init__(self) -> None:
        _at_least_one(self.negatives)
        if not 0 <= self.start < self.end:
            raise DiscoError(f"ranks {self.start}-{self.end}: 0 <= start < end must hold.")
        _enough(self.negatives, self.end - self.start)

    def draw(self, batch: np.ndarray, pool: Pool, rng: np.random.Generator) -> np.ndarray:
        """For each query, distinct documents of its ranking."""
        depth = pool.ranking.shape[1]
        if depth < self.end:
            raise DiscoError(
                f"Hard negatives to rank {self.end} of a ranking of {depth}. Rank deeper "
                "(Pool.ranked), or lower end."
            )
        window = pool.ranking[batch, self.start : self.end]
        return rng.permuted(window, axis=1)[:, : self.negatives].ravel()


KINDS: dict[str, type[Negatives]] = {
    kind.kind: kind for kind in (InBatchNegatives, RandomNegatives, HardNegatives)
}


def negatives_from_dict(values: Mapping[str, Any]) -> Negatives:
    """A kind of negatives from a mapping, as YAML holds it: {kind: hard, negatives: 2}.

    Raises DiscoError for a kind or a setting that there is not, and for a value out of range.
    """
    own = dict(values)
    kind = own.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise DiscoError(f"negatives: no kind {kind!r}; there are: {', '.join(KINDS)}.")
    check_fields("negatives", KINDS[kind], own, besides=["kind"])
    return KINDS[kind](**own)


class MemoryBank:
    """A queue of the student's latest document vectors, as further negatives without a gradient.

    They cost memory and no encoding. A vector is as old as the queue is long: what the student
    made of that document some steps ago. Raises DiscoError for a size below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise DiscoError(f"size is {size}; a memory bank holds 1 vector or more.")
        self.size = size
        self.numbers = np.zeros(0, dtype=np.int64)
        self.vectors: Tensor | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def push(self, vectors: Tensor, numbers: np.ndarray) -> None:
        """Add a batch's document vectors (n, dimensions) with their numbers (n,).

        The oldest leave first. Raises DiscoError for shapes that do not fit.
        """
        if vectors.ndim != 2 or len(vectors) != len(numbers):
            raise DiscoError(
                f"{tuple(vectors.shape)} vectors and {len(numbers)} numbers: give one a vector."
            )
        if self.vectors is not None and self.vectors.shape[1] != vectors.shape[1]:
            raise DiscoError(
                f"The bank's vectors have {self.vectors.shape[1]} dimensions, these "
                f"{vectors.shape[1]}."
            )
        held = [] if self.vectors is None else [self.vectors]
        # A copy, so that the batch's graph and memory can go.
        self.vectors = torch.cat([*held, vectors.detach().clone()])[-self.size :]
        self.numbers = np.append(self.numbers, np.asarray(numbers, dtype=np.int64))[-self.size :]

    def join(self, documents: Tensor, columns: Columns) -> tuple[Tensor, Columns]:
        """The batch's document vectors (N, dimensions) and columns with the bank's behind them.

        duplicates marks what the bank holds of a query's own document.
        """
        if self.vectors is None:
            return documents, columns
        own = columns.documents[: len(columns.duplicates)]
        marks = [columns.duplicates, repeats(own, self.numbers)]
        joined = Columns(np.append(columns.documents, self.numbers), np.concatenate(marks, axis=1))
        return torch.cat([documents, self.vectors.to(documents)]), joined


def repeats(own: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Whether each of the documents (N,) is a query's own (B,): bool (B, N)."""
    return np.asarray(own)[:, None] == np.asarray(documents)[None, :]


def _at_least_one(negatives: int) -> None:
    if negatives < 1:
        raise DiscoError(f"negatives is {negatives}; at least 1 is needed.")


def _enough(negatives: int, there: int) -> None:
    if negatives > there:
        raise DiscoError(f"{negatives} negatives a query, but there are only {there} documents.")
