"""Errors meant for the reader: each is one line that says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path


class DiscoError(Exception):
    """An error that a user can act on; the command line prints its one line and exits with 2."""


class DataError(DiscoError):
    """A fault in a data file: "FILE:LINE: field 'F': PROBLEM. REMEDY".

    `line` counts from 1; `line` and `field` are None where the fault has none.
    """

    def __init__(
        self, file: str | Path, line: int | None, field: str | None, problem: str, remedy: str
    ) -> None:
        self.file, self.line, self.field = Path(file), line, field
        self.problem, self.remedy = problem, remedy
        place = str(file) if line is None else f"{file}:{line}"
        named = "" if field is None else f"field {field!r}: "
        super().__init__(f"{place}: {named}{problem.rstrip('.')}. {remedy}")

    def __reduce__(self) -> tuple[type[DataError], tuple[object, ...]]:
        # Exceptions are rebuilt from their message by default, which has fewer parts than we need;
        # worker processes hand errors back by copying them.
        return type(self), (str(self.file), self.line, self.field, self.problem, self.remedy)


class IntegrityError(DiscoError):
    """A stored artefact does not match the checksums that were written with it."""
