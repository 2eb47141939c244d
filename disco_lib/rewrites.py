"""Rewrites stored in a data set's folder, with a note of what made them."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disco_lib.catalogue import Files, find_files
from disco_lib.errors import DataError, DiscoError
from disco_lib.jsonl import read_lines, read_objects
from disco_lib.storage import atomic_path, read_json, remove_leftovers, sha256_file, write_json

NOTES = "rewriters.json"
_ASIDE = re.compile(r"\..*\.(lock|part)")


def store_rewrites(
    source: Path,
    out: Path,
    name: str,
    rewrites: Mapping[str, Mapping[str, str]],
    note: Mapping[str, Any],
) -> None:
    """Write a data set with one more rewrite: `rewrites` maps each split to {turn_id: text}.

    out: the data set's own folder, whose turns files are replaced, or a folder that does not exist
    yet, which becomes a copy; one that is this copy already is written again. Every other field of
    a turn stays as it was. `note` is kept under the rewriter's name in rewriters.json. What killed
    writers of `out` left is removed, so only one process may write it at a time. Raises DiscoError
    as `check_target` does, and for an unknown split or turn; nothing is written then.
    """
    check_target(source, out, name)
    files = find_files(source)
    for split in rewrites:
        if split not in files.turns:
            known = ", ".join(files.turns)
            raise DiscoError(f"{source} has no split {split!r}; it has: {known}.")
    if out.exists():
        _add(find_files(out), out, name, rewrites, note)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    # Named so that it is removed if this process is killed.
    names = {"prefix": f".{out.name}.", "suffix": ".part"}
    with tempfile.TemporaryDirectory(**names, dir=out.parent) as aside:
        part = Path(aside) / out.name
        shutil.copytree(source, part, ignore=shutil.ignore_patterns(".*.lock", ".*.part"))
        _add(find_files(part), part, name, rewrites, note)
        part.rename(out)


def check_target(source: Path, out: Path, name: str) -> None:
    """Refuse what `store_rewrites` could not write, before hours are spent on rewrites.

    Raises DiscoError for a name that is not one word, for a folder that is there already and is
    another one or lies inside the source, and where the notes that are there cannot be read.
    """
    if name.split() != [name] or not name.isprintable():
        raise DiscoError(f"A rewrite's name {name!r}: give one word.")
    here = source.resolve()
    taken = out.exists() and not _is_copy(source, out, name)
    if out.resolve() != here and (taken or here in out.resolve().parents):
        fault = "there already" if out.exists() else f"inside {source}"
        raise DiscoError(f"{out}: {fault}. Give {source} itself, or a new folder.")
    read_notes(source)


def _is_copy(source: Path, out: Path, name: str) -> bool:
    """Whether `out` differs from the source only in rewrites of that name, and their note."""
    try:
        return name in read_notes(out) and _without(out, name) == _without(source, name)
    except DiscoError:
        return False


def _without(folder: Path, name: str) -> dict[str, Any]:
    turns = find_files(folder).turns.values()
    found: dict[str, Any] = {NOTES: {k: v for k, v in read_notes(folder).items() if k != name}}
    for path in folder.rglob("*"):
        if path in turns:
            rows = [dict(row) for _, row in read_objects(path)]
            for row in rows:
                kept = {k: v for k, v in (row.get("rewrites") or {}).items() if k != name}
                row["rewrites"] = kept
            found[path.name] = rows
        elif path.is_file() and path.name != NOTES and not _ASIDE.fullmatch(path.name):
            found[path.relative_to(folder).as_posix()] = sha256_file(path)
    return found


def read_notes(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known of each rewriter of a data set, by name; {} where nothing was noted.

    Raises IntegrityError for a file that is not JSON and DataError for one of another form.
    """
    path = folder / NOTES
    if not path.is_file():
        return {}
    notes = read_json(path)
    if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
        raise DataError(path, None, None, "not an object of objects", "Restore or remove the file.")
    return notes


def _add(
    files: Files,
    folder: Path,
    name: str,
    rewrites: Mapping[str, Mapping[str, str]],
    note: Mapping[str, Any],
) -> None:
    notes = {**read_notes(folder), name: dict(note)}
    contents = {
        files.turns[split]: _with(files.turns[split], name, texts)
        for split, texts in rewrites.items()
    }
    for path in (*contents, folder / NOTES):
        remove_leftovers(path)
    for path, content in contents.items():
        with atomic_path(path) as part:
            # No time stamp in a compressed file: the same content gives the same bytes.
            part.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    write_json(folder / NOTES, notes)


def _with(path: Path, name: str, texts: Mapping[str, str]) -> bytes:
    lines = []
    missing = dict(texts)
    for (_, line), (_, row) in zip(read_lines(path), read_objects(path), strict=True):
        if row.get("turn_id") in texts:
            row["rewrites"] = {**(row.get("rewrites") or {}), name: texts[row["turn_id"]]}
            line = json.dumps(row, ensure_ascii=False)
            missing.pop(row["turn_id"], None)
        lines.append(line.rstrip("\r\n") + "\n")
    if missing:
        raise DiscoError(f"{path} has no turn {next(iter(missing))!r}. Rewrite its own turns.")
    return "".join(lines).encode("utf-8")
