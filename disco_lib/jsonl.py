"""Lines and JSON objects of a text file, with line numbers; damaged files are named as such."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from disco_lib.errors import DataError

Row = dict[str, Any]

_GZIP_MAGIC = b"\x1f\x8b"
_DEEPEST = 64


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file, gzip-compressed if its name ends in .gz, with their numbers from 1.

    Blank lines are passed over. Raises DataError for a file that cannot be read, is cut short, is
    not UTF-8, or holds nothing.
    """
    found = False
    for number, raw in _raw_lines(path):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            _not_utf8(path, number, raw, error)
        if line.strip():
            found = True
            yield number, line
    if not found:
        raise DataError(path, None, None, "the file is empty", "Write it again or remove it.")


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            path,
            number + 1,
            None,
            f"the gzip stream is cut short or damaged ({error})",
            "Copy or download the file again.",
        ) from error
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise DataError(path, None, None, problem, "Check the path and its permissions.") from error


def _not_utf8(path: Path, number: int, raw: bytes, error: UnicodeDecodeError) -> NoReturn:
    if number == 1 and raw.startswith(_GZIP_MAGIC):
        raise DataError(
            path,
            1,
            None,
            "the content is gzip-compressed but the name does not say so",
            f"Rename it to {path.name}.gz.",
        ) from error
    problem = f"not UTF-8: byte 0x{error.object[error.start]:02x} at column {error.start + 1}"
    raise DataError(path, number, None, problem, "Save the file as UTF-8.") from error


def read_objects(path: Path) -> Iterator[tuple[int, Row]]:
    """JSON objects of a JSONL file with their line numbers; DataError for anything else."""
    for number, line in read_lines(path):
        try:
            row = _parse(line)
        except json.JSONDecodeError as error:
            problem = f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
            raise DataError(path, number, None, problem, "Write one JSON object a line.") from error
        except (ValueError, RecursionError) as error:
            problem = f"JSON that cannot be kept: {clip(str(error))}"
            raise DataError(path, number, None, problem, "Mend or remove the line.") from error
        if not isinstance(row, dict):
            problem = f"{kind_of(row)} where an object belongs"
            raise DataError(path, number, None, problem, "Write one JSON object a line.")
        _check_characters(path, number, row, line)
        yield number, row


def _parse(line: str) -> Any:
    value = json.loads(
        line, object_pairs_hook=no_repeats, parse_constant=_no_number, parse_float=_finite
    )
    if line.count("[") + line.count("{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    return value


def no_repeats(pairs: list[tuple[str, Any]]) -> Row:
    """An object of the pairs as JSON reads them; ValueError names a field that is there twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return row


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if isfinite(value) else _no_number(digits)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (dict, list))]:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return depth


def _check_characters(path: Path, number: int, row: Row, line: str) -> None:
    # Half of a surrogate pair can only enter a UTF-8 file as an escape, and is no text.
    if "\\u" not in line:
        return
    for name, value in row.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            problem = "half of a surrogate pair, which is no character"
            field = clip(ascii(name)[1:-1])
            remedy = "Write the whole character."
            raise DataError(path, number, field, problem, remedy) from error


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names[type(value)]


def clip(text: str, longest: int = 60) -> str:
    """The beginning of a text, short enough for an error's line."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
