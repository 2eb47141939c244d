"""Runs between arrays, ranx and TREC files."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba.typed import List as TypedList
from ranx import Run
from ranx.data_structures.common import create_bulk

from disco_lib.errors import DataError, DiscoError
from disco_lib.storage import check_path, checked_path

TREC_REMEDY = "A line is: turn_id Q0 pid rank score tag."


def run_from_arrays(
    query_ids: Sequence[str], ids: Sequence[str], documents: np.ndarray, scores: np.ndarray
) -> Run:
    """A ranx Run from positions (queries, k), -1 padded, and scores (queries, k)."""
    results = {}
    for query, row, row_scores in zip(query_ids, documents, scores, strict=True):
        found = row >= 0
        pids = map(ids.__getitem__, row[found].tolist())
        results[query] = dict(zip(pids, row_scores[found].tolist(), strict=True))
    return run_from_dict(results)


def run_from_dict(results: dict[str, dict[str, float]], name: str | None = None) -> Run:
    """A ranx Run from {query: {document: score}}; queries without a result are left out.

    Best first; equal scores keep the order given. A turn that a run lacks counts 0 in
    `metrics.evaluate`, so nothing is lost.
    """
    ranked = {query: _best_first(results[query]) for query in sorted(results) if results[query]}
    return _PlainRun(ranked, name)


def _best_first(ranking: dict[str, float]) -> dict[str, float]:
    scores = list(ranking.values())
    if scores == sorted(scores, reverse=True):  # as a search gives it
        return dict(ranking)
    return dict(sorted(ranking.items(), key=lambda item: -item[1]))


class _PlainRun(Run):
    """A ranx Run that stays in plain dictionaries until ranx itself needs it compiled.

    Compiling takes seconds in every process, and most runs are only written or evaluated here.
    """

    def __init__(self, ranked: dict[str, dict[str, float]], name: str | None) -> None:
        self._plain: dict[str, dict[str, float]] | None = ranked
        self._compiled: Any = None
        self.name, self.sorted = name, True
        self.metadata: dict[str, Any] = {}
        self.scores: dict[str, Any] = defaultdict(dict)
        self.mean_scores: dict[str, Any] = {}
        self.std_scores: dict[str, Any] = {}

    @property
    def run(self) -> Any:
        """What ranx computes with. It may be changed there, so from now on it alone counts."""
        if self._plain is not None:
            self._compiled, self._plain = _compiled(self._plain), None
        return self._compiled

    @run.setter
    def run(self, value: Any) -> None:
        self._compiled, self._plain = value, None

    def to_dict(self) -> dict[str, dict[str, float]]:
        """{query: {document: score}}, best first."""
        if self._plain is None:
            return super().to_dict()
        return {query: dict(ranking) for query, ranking in self._plain.items()}

    def __len__(self) -> int:
        return len(self.run if self._plain is None else self._plain)


def _compiled(ranked: dict[str, dict[str, float]]) -> Any:
    if not ranked:
        return Run().run
    # ranx compiles its code anew for every length of id; with lengths in steps, once. Its own
    # sorting would shuffle equal scores.
    longest = max(len(document) for ranking in ranked.values() for document in ranking)
    ids = f"<U{math.ceil(longest / 32) * 32}"
    documents = [np.array(list(ranking), dtype=ids) for ranking in ranked.values()]
    scores = [np.array(list(ranking.values()), dtype=np.float64) for ranking in ranked.values()]
    return create_bulk(TypedList(ranked), TypedList(documents), TypedList(scores))


def write_trec(run: Run, path: str | Path, tag: str = "disco") -> None:
    """Write a run as a TREC file, best first, atomically, with its checksum beside it.

    Raises DiscoError for an id with white space, which the file's columns cannot hold.
    """
    path = Path(path)
    with checked_path(path) as part, part.open("w", encoding="utf-8") as file:
        _require_word(tag, path)
        for query, documents in run.to_dict().items():
            _require_word(query, path)
            ranking = sorted(documents.items(), key=lambda item: -item[1])
            for rank, (document, score) in enumerate(ranking, 1):
                _require_word(document, path)
                file.write(f"{query} Q0 {document} {rank} {score:.9g} {tag}\n")


def read_trec(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a TREC run: {query: {document: score}} in the file's order.

    Raises DataError with file and line for a malformed line or a document that stands twice, and
    IntegrityError for a file that has changed since the library wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise DiscoError(f"{path}: no such run. Write one with `disco search`.")
    check_path(path, "disco search ... --out RUN.trec")
    results: dict[str, dict[str, float]] = {}
    try:
        # Decoded whole: read bit by bit, half of a byte order mark would be passed over.
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        for number, line in enumerate(text.split("\n"), 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 6:
                raise DataError(path, number, None, f"{len(fields)} columns, not 6", TREC_REMEDY)
            query, _, document, _, score, _ = fields
            ranking = results.setdefault(query, {})
            if document in ranking:
                raise DataError(path, number, "pid", f"{document} stands twice", "Keep one line.")
            ranking[document] = _score(score, path, number)
    except UnicodeDecodeError as error:
        raise DataError(path, None, None, "not UTF-8 text", "Save the run as UTF-8.") from error
    return results


def _require_word(name: str, path: Path) -> None:
    if name.split() != [name]:
        raise DiscoError(
            f"{path}: {name!r} holds white space, which separates the columns of a TREC file. "
            "Rename it, or save the run as .json."
        )


def _score(text: str, path: Path, number: int) -> float:
    try:
        # Python alone reads 1_0 and digits of other scripts as numbers.
        score = float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise DataError(path, number, "score", f"{text!r} is no finite number", TREC_REMEDY)
    return score
