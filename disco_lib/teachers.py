"""Teachers: a rewrite read by an encoder, and the scores it gives to its best documents.

A teacher's distillation run is what the student learns from: for each turn the teacher's top
documents and its scores. Several teachers are averaged into one run (DiSCo, equation 6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ranx import Run
from scipy import sparse
from tqdm.auto import tqdm

from disco_lib.conversations import Limits, Turn, context_ids
from disco_lib.datasets import Collection
from disco_lib.dense_rows import DenseIndex, Encoder, index_of
from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.index import InvertedIndex
from disco_lib.jsonl import clip, no_repeats
from disco_lib.runs import read_trec, run_from_arrays, write_trec
from disco_lib.storage import (
    atomic_folder,
    check_path,
    checked_path,
    open_sealed,
    read_json,
    write_json,
)
from disco_lib.vectors import cached_vectors, read_csr, write_csr

MISSING = ("rescore", "available", "zero")
REBUILD = "disco teach ... --out TEACHER"
FORMAT = "disco-teacher-1"
_MOST = float(np.finfo(np.float64).max)

#: score(teacher, turn_id, positions of documents) -> scores, for documents a teacher did not list
Scorer = Callable[[int, str, np.ndarray], np.ndarray]


@dataclass
class DistillationRun:
    """A teacher's best documents and their scores for each turn, best first.

    documents int32 and scores float32, both (turns, depth); a document is a position in `pids`,
    and -1 fills rows that are shorter. queries: the teacher's query vectors (turns, vocabulary),
    where it has any. settings: how the run was made.
    """

    turn_ids: list[str]
    pids: list[str]
    documents: np.ndarray
    scores: np.ndarray
    queries: sparse.csr_matrix | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.turn_ids)

    def ranking(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Document positions and scores of one turn, without the filling."""
        length = int((self.documents[row] >= 0).sum())
        return self.documents[row, :length], self.scores[row, :length]

    def of_turns(self, turn_ids: Iterable[str]) -> DistillationRun:
        """The run of these turns alone, in its order; DiscoError where it has none of them."""
        wanted = set(turn_ids)
        rows = [i for i, turn_id in enumerate(self.turn_ids) if turn_id in wanted]
        if not rows:
            raise DiscoError("The teacher has none of these turns. Ask for turns with its rewrite.")
        return replace(
            self,
            turn_ids=[self.turn_ids[i] for i in rows],
            documents=self.documents[rows],
            scores=self.scores[rows],
            queries=None if self.queries is None else self.queries[rows],
        )

    def to_run(self) -> Run:
        """The run as ranx evaluates it."""
        return run_from_arrays(self.turn_ids, self.pids, self.documents, self.scores)

    def save(self, path: str | Path) -> None:
        """Write a sealed folder, or by suffix .json (DiSCo's form) or .trec."""
        path = Path(path)
        if path.suffix == ".json":
            _write_disco_json(self, path)
        elif path.suffix == ".trec":
            write_trec(self.to_run(), path, tag="teacher")
        else:
            _write_folder(self, path)

    @classmethod
    def load(cls, path: str | Path, pids: Sequence[str]) -> DistillationRun:
        """Read a run of the collection that holds `pids`, from a folder, .json or .trec.

        Raises DataError for a malformed file, and DiscoError for a document that the collection
        does not hold.
        """
        path = Path(path)
        if path.suffix == ".json":
            return from_scores(read_disco_json(path), pids, str(path))
        if path.suffix == ".trec":
            return from_scores(read_trec(path), pids, str(path))
        return _read_folder(path, pids)


def teach(
    collection: Collection,
    split: str,
    rewrites: Sequence[str],
    encoder: Encoder,
    depth: int = 1000,
    missing: str = "rescore",
    max_length: int = 256,
    progress: bool = False,
) -> DistillationRun:
    """Search each rewrite of each turn that has one, and average the teachers' scores.

    A turn takes part when it has at least one of the rewrites; its mean is over those it has.
    missing: see `mean_over_teachers`. Raises DiscoError when no turn has any of the rewrites.
    """
    texts = collection.passage_texts()
    documents = cached_vectors(encoder, texts, collection.pids, max_length, progress).rows
    index = index_of(encoder, documents, collection.pids)
    turns = collection.iter_turns(split)
    runs = [
        _teach_one(turns, name, encoder, index, depth, max_length, progress) for name in rewrites
    ]
    runs = [run for run in runs if len(run)]
    if not runs:
        raise DiscoError(
            f"{collection.name}: no turn of {split!r} has a rewrite called "
            f"{' or '.join(map(repr, rewrites))}. `disco data list` shows what there is."
        )
    vectors = [dict(zip(run.turn_ids, run.queries, strict=True)) for run in runs]

    def rescore(teacher: int, turn_id: str, positions: np.ndarray) -> np.ndarray:
        return (documents[positions] @ vectors[teacher][turn_id].T).toarray().ravel()

    order = [turn.turn_id for turn in turns]
    run = mean_over_teachers(runs, missing, rescore, order)
    run.settings = {
        "collection": collection.fingerprint,
        "split": split,
        "rewrites": list(rewrites),
        "encoder": encoder.fingerprint(),
        "depth": depth,
        "missing": missing,
        "max_length": max_length,
    }
    return run


def mean_over_teachers(
    runs: Sequence[DistillationRun],
    missing: str = "rescore",
    score: Scorer | None = None,
    order: Sequence[str] | None = None,
) -> DistillationRun:
    """The mean of the teachers' scores for each turn and document (DiSCo, equation 6).

    A document that only some of a turn's teachers list is, for the others,
    "rescore": scored by them (equation 6 as written; needs `score`),
    "available": left out of the mean,
    "zero": worth 0.
    The result keeps the deepest teacher's depth. Its query vectors are the teachers' mean, whose
    dot products are the mean scores. Raises DiscoError for runs over different collections.
    """
    if not runs:
        raise DiscoError("No teacher's run was given to take the mean of.")
    if missing not in MISSING:
        raise DiscoError(f"missing {missing!r}; allowed: {', '.join(MISSING)}.")
    if missing == "rescore" and score is None and len(runs) > 1:
        raise DiscoError('missing="rescore" needs a scorer; without one use "available" or "zero".')
    if any(run.pids != runs[0].pids for run in runs):
        raise DiscoError("The teachers' runs are over different collections.")
    rows = [{turn: i for i, turn in enumerate(run.turn_ids)} for run in runs]
    seen = dict.fromkeys(turn for run in runs for turn in run.turn_ids)
    turn_ids = [turn for turn in order if turn in seen] if order is not None else list(seen)
    depth = max(run.documents.shape[1] for run in runs)
    documents = np.full((len(turn_ids), depth), -1, dtype=np.int32)
    scores = np.zeros((len(turn_ids), depth), dtype=np.float32)
    for i, turn in enumerate(turn_ids):
        own = [t for t in range(len(runs)) if turn in rows[t]]
        listed = [runs[t].ranking(rows[t][turn]) for t in own]
        union, mean = _mean_of_turn(turn, own, listed, missing, score)
        best = np.lexsort((union, -mean))[:depth]
        documents[i, : len(best)], scores[i, : len(best)] = union[best], mean[best]
    return DistillationRun(turn_ids, runs[0].pids, documents, scores, _mean_queries(runs, turn_ids))


def from_scores(
    scores: dict[str, dict[str, float]], pids: Sequence[str], source: str
) -> DistillationRun:
    """A run from {turn_id: {pid: score}}; best first, equal scores in the order given."""
    place = {pid: i for i, pid in enumerate(pids)}
    depth = max((len(ranking) for ranking in scores.values()), default=0)
    documents = np.full((len(scores), depth), -1, dtype=np.int32)
    values = np.zeros((len(scores), depth), dtype=np.float32)
    for i, (turn, ranking) in enumerate(scores.items()):
        best = sorted(ranking.items(), key=lambda item: -item[1])
        for j, (pid, _) in enumerate(best):
            if pid not in place:
                raise DiscoError(
                    f"{source}: turn {turn!r} lists {pid!r}, which the collection does not hold. "
                    "Give the run and the collection it was made on."
                )
            documents[i, j] = place[pid]
        with np.errstate(over="ignore"):
            values[i, : len(best)] = [value for _, value in best]
        if not np.isfinite(values[i]).all():
            pid, value = best[int(np.argmin(np.isfinite(values[i])))]
            raise DiscoError(
                f"{source}: turn {turn!r} gives {pid!r} the score {value!r}, too large for a "
                "float32 number. Scale the scores down."
            )
    return DistillationRun(list(scores), list(pids), documents, values)


def read_disco_json(path: Path) -> dict[str, dict[str, float]]:
    """Read DiSCo's distillation run, {turn_id: {pid: score}}.

    Raises DataError where it is not one, and for a turn or a document that stands twice, and
    IntegrityError for a file that has changed since the library wrote it.
    """
    if not path.is_file():
        raise DiscoError(f"{path}: no such distillation run. Write one with `disco teach`.")
    check_path(path, REBUILD)
    remedy = "The form is {turn_id: {pid: score}}."
    try:
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=no_repeats)
    except json.JSONDecodeError as error:
        raise DataError(path, error.lineno, None, f"not JSON ({error.msg})", remedy) from error
    except UnicodeDecodeError as error:
        raise DataError(path, None, None, "not UTF-8 text", "Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        problem = f"JSON that cannot be kept: {clip(str(error))}"
        raise DataError(path, None, None, problem, remedy) from error
    if not isinstance(content, dict):
        raise DataError(path, 1, None, f"a {type(content).__name__}, not an object", remedy)
    for turn, ranking in content.items():
        if not isinstance(ranking, dict):
            raise DataError(path, None, clip(turn), "not an object of scores", remedy)
        for pid, value in ranking.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            # A whole number may be larger than any float.
            if not number or not -_MOST <= value <= _MOST:
                problem = f"score of {clip(pid)!r} is {clip(repr(value))}"
                raise DataError(path, None, clip(turn), problem, remedy)
        if _halved("".join([turn, *ranking])):
            problem = "an id with half of a surrogate pair, which is no character"
            raise DataError(path, None, clip(turn), problem, "Write the whole character.")
    return content


def _halved(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _teach_one(
    turns: Sequence[Turn],
    name: str,
    encoder: Encoder,
    index: InvertedIndex | DenseIndex,
    depth: int,
    max_length: int,
    progress: bool,
) -> DistillationRun:
    chosen = [turn for turn in turns if turn.rewrites.get(name, "").strip()]
    limits = Limits(total=max_length, utterance=min(64, max_length - 2))
    ids = [context_ids(turn, f"rewrite:{name}", encoder.tokenizer, limits) for turn in chosen]
    queries = encoder.encode(ids, max_length, progress=progress)
    documents, scores = index.search_arrays(queries, depth)
    return DistillationRun([t.turn_id for t in chosen], index.ids, documents, scores, queries)


def _mean_of_turn(
    turn: str,
    own: Sequence[int],
    listed: Sequence[tuple[np.ndarray, np.ndarray]],
    missing: str,
    score: Scorer | None,
) -> tuple[np.ndarray, np.ndarray]:
    union = np.unique(np.concatenate([docs for docs, _ in listed]))
    table = np.full((len(own), len(union)), np.nan)
    for row, (teacher, (docs, values)) in enumerate(zip(own, listed, strict=True)):
        table[row, np.searchsorted(union, docs)] = values
        absent = np.isnan(table[row])
        if not absent.any() or missing == "available":
            continue
        table[row, absent] = 0.0 if missing == "zero" else score(teacher, turn, union[absent])
    return union, np.nanmean(table, axis=0)


def _mean_queries(
    runs: Sequence[DistillationRun], turn_ids: Sequence[str]
) -> sparse.csr_matrix | None:
    if any(run.queries is None for run in runs):
        return None
    place = {turn: i for i, turn in enumerate(turn_ids)}
    total = sparse.csr_matrix((len(turn_ids), runs[0].queries.shape[1]), dtype=np.float32)
    count = np.zeros(len(turn_ids), dtype=np.float32)
    for run in runs:
        own = np.array([i for i, turn in enumerate(run.turn_ids) if turn in place], dtype=np.int64)
        rows = np.array([place[run.turn_ids[i]] for i in own], dtype=np.int64)
        ones = np.ones(len(rows), dtype=np.float32)
        move = sparse.csr_matrix((ones, (rows, own)), (len(turn_ids), len(run)))
        total = total + move @ run.queries
        count[rows] += 1
    return sparse.csr_matrix(sparse.diags(1.0 / count) @ total, dtype=np.float32)


def _write_disco_json(run: DistillationRun, path: Path) -> None:
    with checked_path(path) as part, part.open("w", encoding="utf-8") as file:
        file.write("{")
        for row, turn in enumerate(tqdm(run.turn_ids, desc="write", disable=len(run) < 5000)):
            documents, scores = run.ranking(row)
            ranking = {
                run.pids[d]: float(f"{s:.9g}") for d, s in zip(documents, scores, strict=True)
            }
            file.write(f"{',' if row else ''}\n{json.dumps(turn)}: {json.dumps(ranking)}")
        file.write("\n}\n")


def _write_folder(run: DistillationRun, path: Path) -> None:
    with atomic_folder(path, format=FORMAT, settings=run.settings) as folder:
        np.save(folder / "documents.npy", run.documents, allow_pickle=False)
        np.save(folder / "scores.npy", run.scores, allow_pickle=False)
        write_json(folder / "turn_ids.json", run.turn_ids)
        write_json(folder / "pids.json", run.pids)
        if run.queries is not None:
            (folder / "queries").mkdir()
            write_csr(folder / "queries", run.queries)


def _read_folder(path: Path, pids: Sequence[str]) -> DistillationRun:
    manifest = open_sealed(path, REBUILD)
    if manifest.get("format") != FORMAT:
        raise IntegrityError(f"{path}: no distillation run of format {FORMAT}. Rebuild: {REBUILD}")
    stored = read_json(path / "pids.json")
    if stored != list(pids):
        raise DiscoError(f"{path}: made on another collection. Run `disco teach` on this one.")
    queries = path / "queries"
    return DistillationRun(
        read_json(path / "turn_ids.json"),
        stored,
        np.load(path / "documents.npy", mmap_mode="r", allow_pickle=False),
        np.load(path / "scores.npy", mmap_mode="r", allow_pickle=False),
        read_csr(queries) if queries.is_dir() else None,
        manifest["settings"],
    )
