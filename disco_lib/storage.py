"""Files that are whole or absent: atomic writes, checksummed folders, the cache's place."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from filelock import FileLock

from disco_lib.errors import IntegrityError

MANIFEST = "MANIFEST.json"
_SUM_BLOCK = 65_536  # bytes


def cache_root() -> Path:
    """Folder of everything that can be computed again: $DISCO_CACHE, else ~/.cache/disco."""
    return Path(os.environ.get("DISCO_CACHE") or Path.home() / ".cache" / "disco")


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_texts(texts: Iterable[str]) -> str:
    """Hexadecimal SHA-256 of a sequence of strings; where one ends and the next begins counts."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def settings_hash(settings: dict[str, Any]) -> str:
    """A name for settings: twelve hexadecimal digits of their canonical JSON's SHA-256."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write; it takes the name `path` only when all is well.

    An interrupted writer leaves at most a hidden `.NAME.*.part` file, which no reader opens.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    part.chmod(0o644)
    try:
        yield part
        _flush(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, **extra: Any) -> Iterator[Path]:
    """Yield a temporary sibling folder; sealed and renamed to `folder` when all is well.

    `extra` goes into its manifest. A folder that was there before is replaced.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    part.chmod(0o755)
    try:
        yield part
        seal_folder(part, **extra)
        if folder.exists():
            old = Path(
                tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent)
            )
            os.replace(folder, old / "old")
            os.replace(part, folder)
            shutil.rmtree(old)
        else:
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, waiting for it; what killed writers of `path` left is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        remove_leftovers(path)
        yield


def remove_leftovers(path: Path) -> None:
    """Remove the `.NAME.*.part` and `.NAME.*.old` that killed writers of `path` left beside it.

    Only for the sole writer of `path`: those of a live one would go too.
    """
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.(part|old)")
    for found in path.parent.iterdir() if path.parent.is_dir() else ():
        if not ours.fullmatch(found.name):
            continue
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink(missing_ok=True)


def work_folder(path: Path, settings: dict[str, Any]) -> Path:
    """Where the finished pieces of an unfinished `path` with these settings wait: a sibling."""
    return path.parent / f".{path.name}.{settings_hash(settings)}.work"


def block_sums(path: Path) -> str:
    """Two 64-bit sums over a file's words, in hexadecimal: as fast as memory can be read.

    The first adds all words, so no single changed byte escapes it; the second adds the sums of
    64 KiB blocks times their place, so blocks that changed places do not either. It guards against
    damage, not against malice.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, "u1")
    whole = len(data) // _SUM_BLOCK * _SUM_BLOCK
    rest = np.zeros(_SUM_BLOCK, dtype=np.uint8)
    rest[: len(data) - whole] = data[whole:]
    words = data[:whole].view("<u8").reshape(-1, _SUM_BLOCK // 8)
    sums = np.append(words.sum(axis=1, dtype=np.uint64), rest.view("<u8").sum(dtype=np.uint64))
    placed = sums * np.arange(1, len(sums) + 1, dtype=np.uint64)
    return f"{int(sums.sum(dtype=np.uint64)):016x}{int(placed.sum(dtype=np.uint64)):016x}"


@contextmanager
def checked_path(path: Path) -> Iterator[Path]:
    """`atomic_path` for a file of a foreign format: its SHA-256 is kept beside it, NAME.sha256.

    The form is that of the command sha256sum, which can check it too.
    """
    beside = _beside(path)
    with atomic_path(path) as part:
        yield part
        digest = sha256_file(part)
        beside.unlink(missing_ok=True)  # it is not the new file's
    with atomic_path(beside) as part:
        part.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def check_path(path: Path, rebuild: str) -> None:
    """IntegrityError where a file is not what the SHA-256 beside it says; without one, nothing."""
    beside = _beside(path)
    if not beside.is_file():
        return
    kept = beside.read_bytes().split(maxsplit=1)
    if not kept or kept[0] != sha256_file(path).encode():
        raise IntegrityError(
            f"{path}: its bytes have changed since it was written. Rebuild it with: {rebuild} "
            f"(or, where the change is meant, remove {beside.name})"
        )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def seal_folder(folder: Path, **extra: Any) -> None:
    """Write MANIFEST.json with the size and checksums of every file below `folder`, and `extra`.

    The manifest carries a checksum of its own content too.
    """
    files = {
        file.relative_to(folder).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": sha256_file(file),
            **({"sums": block_sums(file)} if file.stat().st_size >= _SUM_BLOCK else {}),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    # As it will be read: with lists for tuples and strings for keys.
    content = json.loads(json.dumps({"files": files, **extra}))
    write_json(folder / MANIFEST, {**content, "checksum": settings_hash(content)})


def open_sealed(folder: Path, rebuild: str, quick: bool = False) -> dict[str, Any]:
    """Check every file of a sealed folder against its manifest and return the manifest.

    quick: large files are checked by `block_sums` instead of SHA-256.
    Raises IntegrityError naming the file that is missing or differs, and `rebuild`, the command
    that makes the folder anew.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise IntegrityError(f"{folder}: no {MANIFEST}. Rebuild it with: {rebuild}")
    try:
        manifest = read_json(path)
    except IntegrityError as error:
        raise IntegrityError(f"{error}. Rebuild it with: {rebuild}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise IntegrityError(f"{path}: not a manifest. Rebuild it with: {rebuild}")
    checksum = manifest.pop("checksum", None)
    if checksum is not None and checksum != settings_hash(manifest):
        raise IntegrityError(f"{path}: its content has changed. Rebuild it with: {rebuild}")
    for name, stored in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise IntegrityError(f"{file}: missing. Rebuild it with: {rebuild}")
        if not _as_sealed(file, stored, quick):
            raise IntegrityError(f"{file}: its bytes have changed. Rebuild it with: {rebuild}")
    return manifest


def _as_sealed(file: Path, stored: Any, quick: bool) -> bool:
    if not isinstance(stored, dict) or stored.get("bytes") != file.stat().st_size:
        return False
    if quick and "sums" in stored:
        return stored["sums"] == block_sums(file)
    return stored.get("sha256") == sha256_file(file)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: UTF-8, keys in the order given, a final newline."""
    with atomic_path(path) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; IntegrityError names the file and line where it is malformed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise IntegrityError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path}: not UTF-8 text ({error.reason})") from error
    except (ValueError, RecursionError) as error:  # a number too long, or lists too deep
        raise IntegrityError(f"{path}: JSON that cannot be kept ({error})") from error


def parse_yaml(text: str) -> Any:
    """Content of a YAML text, without making objects of any class; raises yaml.YAMLError.

    Parsed by libyaml where PyYAML was built with it, which is many times faster.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
