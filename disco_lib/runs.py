"""Runs between arrays, ranx and TREC files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ranx import Run

from disco_lib.errors import DataError, DiscoError
from disco_lib.storage import atomic_path

TREC_REMEDY = "A line is: turn_id Q0 pid rank score tag."


def run_from_arrays(
    query_ids: Sequence[str], ids: Sequence[str], documents: np.ndarray, scores: np.ndarray
) -> Run:
    """A ranx Run from positions (queries, k), -1 padded, and scores (queries, k)."""
    results = {}
    for query, row, row_scores in zip(query_ids, documents, scores, strict=True):
        found = row >= 0
        results[query] = {
            ids[d]: float(s) for d, s in zip(row[found], row_scores[found], strict=True)
        }
    return run_from_dict(results)


def run_from_dict(results: dict[str, dict[str, float]], name: str | None = None) -> Run:
    """A ranx Run from {query: {document: score}}; queries without a result are left out.

    A turn that a run lacks counts 0 in `metrics.evaluate`, so nothing is lost.
    """
    kept = {query: docs for query, docs in results.items() if docs}
    if not kept:
        # ranx cannot type an empty run.
        return Run(name=name)
    return Run.from_dict(kept, name=name)


def write_trec(run: Run, path: str | Path, tag: str = "disco") -> None:
    """Write a run as a TREC file, best first, atomically."""
    with atomic_path(Path(path)) as part, part.open("w", encoding="utf-8") as file:
        for query, documents in run.to_dict().items():
            ranking = sorted(documents.items(), key=lambda item: -item[1])
            for rank, (document, score) in enumerate(ranking, 1):
                file.write(f"{query} Q0 {document} {rank} {score:.9g} {tag}\n")


def read_trec(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a TREC run: {query: {document: score}} in the file's order.

    Raises DataError with file and line for a malformed line or a document that stands twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DiscoError(f"{path}: no such run. Write one with `disco search`.")
    results: dict[str, dict[str, float]] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
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


def _score(text: str, path: Path, number: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise DataError(path, number, "score", f"{text!r} is no finite number", TREC_REMEDY)
    return score
