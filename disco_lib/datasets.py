"""Conversations, passages and judgements as memory-mapped Hugging Face datasets.

    collection = load("mini")
    collection.passages; collection.turns("train"); collection.qrels("test")

The first use of a data set reads and checks every file and keeps the result in Arrow form below
the cache; later uses compare checksums and map the stored files into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value
from filelock import FileLock
from ranx import Qrels
from tqdm.auto import tqdm

from disco_lib.catalogue import Files, find_files, list_datasets, locate
from disco_lib.conversations import Turn
from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.native import read_passages, read_qrels, read_turns
from disco_lib.qrels import qrels_from_dict
from disco_lib.storage import (
    atomic_folder,
    cache_root,
    open_sealed,
    remove_leftovers,
    sha256_file,
)

__all__ = ["Collection", "list_datasets", "load"]

#: Counted up whenever the columns below, or what is checked before they are stored, change.
SCHEMA = 1

_STRING = Value("string")
_PASSAGES = Features({"pid": _STRING, "text": _STRING, "title": _STRING, "extra": _STRING})
_QRELS = Features({"turn_id": _STRING, "pid": _STRING, "grade": Value("int64")})
_ROWS_A_BATCH = 10_000
_TABLE = "table.arrow"


def load(name_or_folder: str | Path) -> Collection:
    """The data set of that name ("mini", or a folder below $DISCO_DATA) or in that folder.

    Every file is checked. Raises DiscoError for an unknown name, and DataError naming file, line,
    field and remedy for a fault in a file.
    """
    name, folder = locate(name_or_folder)
    return Collection(name, find_files(folder))


class Collection:
    """Passages, turns and judgements of one data set; see `load`."""

    def __init__(self, name: str, files: Files) -> None:
        self.name = name
        self.folder = files.folder
        self._hashes = {path: _hash(path) for path in files.all()}
        self._passages = self._table(files.collection, (), lambda: _passages(files.collection))
        self._turns = {s: self._turns_table(files, s) for s in files.turns}
        self._qrels = {s: self._qrels_table(files, s) for s in files.qrels}

    def __repr__(self) -> str:
        turns = ", ".join(f"{split} {len(rows)}" for split, rows in self._turns.items())
        return f"Collection({self.name!r}: {len(self.passages)} passages; turns: {turns})"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names and SHA-256 of the data set's files."""
        lines = (f"{digest}  {path.name}\n" for path, digest in sorted(self._hashes.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in alphabetical order."""
        return list(self._turns)

    @property
    def passages(self) -> Dataset:
        """Columns pid, text, title ("" without one) and extra (JSON of further fields)."""
        return self._passages

    @property
    def pids(self) -> list[str]:
        """Ids of the passages, in the collection's order."""
        return self.passages["pid"][:]

    def passage_texts(self) -> list[str]:
        """What is encoded of each passage: "title. text", or the text where there is no title."""
        columns = self.passages.select_columns(["title", "text"])[:]
        pairs = zip(columns["title"], columns["text"], strict=True)
        return [f"{title}. {text}" if title else text for title, text in pairs]

    def turns(self, split: str) -> Dataset:
        """Turns of a split in file order, one row a turn.

        Columns conv_id, turn_id, utterance, history (list of [utterance, answer], oldest first),
        answer, rewrites (name -> text or None), positives, kind and extra (JSON of further fields).
        Raises DiscoError for an unknown split.
        """
        if split not in self._turns:
            raise DiscoError(
                f"{self.name} has no split {split!r}; it has: {', '.join(self._turns)}."
            )
        return self._turns[split]

    def iter_turns(self, split: str) -> list[Turn]:
        """Turns of a split in file order. Raises DiscoError for an unknown split."""
        return [Turn.from_row(row) for row in self.turns(split)]

    def judgements(self, split: str) -> dict[str, dict[str, int]]:
        """{turn_id: {pid: grade}}: the split's qrels file, else its positives with grade 1.

        Turns without a judgement are left out. Raises DiscoError for an unknown split.
        """
        turns = self.turns(split)
        if split not in self._qrels:
            pairs = zip(turns["turn_id"][:], turns["positives"][:], strict=True)
            return {turn_id: dict.fromkeys(pids, 1) for turn_id, pids in pairs if pids}
        grades: dict[str, dict[str, int]] = {}
        columns = self._qrels[split][:]
        for turn_id, pid, grade in zip(*(columns[name] for name in _QRELS), strict=True):
            grades.setdefault(turn_id, {})[pid] = grade
        return grades

    def qrels(self, split: str) -> Qrels:
        """The judgements of a split for ranx. Raises DiscoError for an unknown split."""
        return qrels_from_dict(self.judgements(split))

    def _turns_table(self, files: Files, split: str) -> Dataset:
        path = files.turns[split]
        return self._table(path, (files.collection,), lambda: _turns(path, self._passages))

    def _qrels_table(self, files: Files, split: str) -> Dataset:
        path, turns = files.qrels[split], files.turns[split]
        known = (self._turns[split], self._passages)
        return self._table(path, (turns, files.collection), lambda: _qrels(path, turns, *known))

    def _table(
        self, path: Path, checked_against: Iterable[Path], read: Callable[[], _Content]
    ) -> Dataset:
        """The stored Arrow table of a file, made by `read` where it is absent or damaged."""
        sources = [self._hashes[p] for p in (path, *checked_against)]
        key = hashlib.sha256(" ".join([str(SCHEMA), path.name, *sources]).encode()).hexdigest()
        folder = cache_root() / "arrow" / key
        if not _is_whole(folder):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(folder.with_suffix(".lock")):
                    if not _is_whole(folder):  # another process may have made it meanwhile
                        self._store(folder, path, read)
            except OSError as error:
                raise DiscoError(
                    f"The cache {cache_root()} cannot be written ({error.strerror or error}). "
                    "Set DISCO_CACHE to a folder with room."
                ) from error
        return Dataset.from_file(str(folder / _TABLE))

    def _store(self, folder: Path, path: Path, read: Callable[[], _Content]) -> None:
        remove_leftovers(folder)
        with atomic_folder(folder, source=path.name, schema=SCHEMA) as part:
            _write(part / _TABLE, *read())
            if _hash(path) != self._hashes[path]:
                raise DataError(path, None, None, "changed while it was read", "Load it again.")


_Content = tuple[Features, Iterable[dict[str, Any]]]


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise DataError(path, None, None, problem, "Check the file's permissions.") from error


def _is_whole(folder: Path) -> bool:
    try:
        return _TABLE in open_sealed(folder, rebuild="disco data verify")["files"]
    except (IntegrityError, KeyError, TypeError):  # the latter two: a manifest of another form
        return False


def _write(path: Path, features: Features, rows: Iterable[dict[str, Any]]) -> None:
    schema = features.arrow_schema
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in _batches(rows):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(islice(rows, _ROWS_A_BATCH)):
        yield batch


def _passages(path: Path) -> _Content:
    rows = read_passages(path)
    return _PASSAGES, tqdm(rows, desc=f"reading {path.name}", unit=" passages", delay=2)


def _turns(path: Path, passages: Dataset) -> _Content:
    rows = read_turns(path)
    known = _known(passages, {pid for _, row in rows for pid in row["positives"]})
    for number, row in rows:
        for pid in row["positives"]:
            if pid not in known:
                problem = f"passage {pid!r} is not in the collection"
                raise DataError(path, number, "positives", problem, "Add it there or mend the pid.")
    names = sorted({name for _, row in rows for name in row["rewrites"]})
    return _turn_features(names), (row for _, row in rows)


def _turn_features(rewrites: list[str]) -> Features:
    return Features(
        {
            "conv_id": _STRING,
            "turn_id": _STRING,
            "utterance": _STRING,
            "history": List(List(_STRING)),
            "answer": _STRING,
            "rewrites": dict.fromkeys(rewrites, _STRING),
            "positives": List(_STRING),
            "kind": _STRING,
            "extra": _STRING,
        }
    )


def _qrels(path: Path, turns_path: Path, turns: Dataset, passages: Dataset) -> _Content:
    rows = list(read_qrels(path))
    turn_ids = set(turns["turn_id"][:])
    known = _known(passages, {pid for _, _, pid, _ in rows})
    for number, turn_id, pid, _ in rows:
        if turn_id not in turn_ids:
            problem = f"turn {turn_id!r} is not in {turns_path.name}"
            raise DataError(path, number, "turn_id", problem, "Mend the id or remove the line.")
        if pid not in known:
            problem = f"passage {pid!r} is not in the collection"
            raise DataError(path, number, "pid", problem, "Add it there or mend the pid.")
    return _QRELS, ({"turn_id": t, "pid": p, "grade": g} for _, t, p, g in rows)


def _known(passages: Dataset, pids: set[str]) -> set[str]:
    """Those of `pids` that the collection has, found without a Python copy of all its ids."""
    wanted = pa.array(sorted(pids), type=pa.string())
    column = passages.data.column("pid")
    return set(pc.filter(column, pc.is_in(column, value_set=wanted)).to_pylist())
