"""The native form of a data set, read line by line; every fault is named by file, line and field.

    collection.jsonl[.gz]      {"pid", "text"[, "title"]}
    turns_<split>.jsonl[.gz]   {"conv_id", "turn_id", "utterance"[, "history", "answer", "rewrites",
                                "positives", "kind"]}
    qrels_<split>.tsv[.gz]     turn_id TAB 0 TAB pid TAB grade

Fields of other names are kept. Optional fields may be null. A missing history means the earlier
turns of the same conversation, in file order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from disco_lib.errors import DataError
from disco_lib.jsonl import Row, clip, kind_of, read_lines, read_objects

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_GRADE = re.compile(r"[0-9]{1,9}")
_MOST_REWRITES = 200
_TURN_FIELDS = (
    "conv_id",
    "turn_id",
    "utterance",
    "history",
    "answer",
    "rewrites",
    "positives",
    "kind",
)


def read_passages(path: Path) -> Iterator[Row]:
    """Rows {"pid", "text", "title", "extra"} of a collection file; `extra` is a JSON string.

    Raises DataError for a malformed row or a pid that is there twice.
    """
    seen: set[str] = set()
    for number, row in read_objects(path):
        fields = _Fields(path, number, row)
        pid = fields.identifier("pid")
        if pid in seen:
            fields.fail("pid", f"{clip(pid)!r} is there already", "Give each passage its own pid.")
        seen.add(pid)
        yield {
            "pid": pid,
            "text": fields.text("text"),
            "title": fields.optional_text("title") or "",
            "extra": fields.others("pid", "text", "title"),
        }


def read_turns(path: Path) -> list[tuple[int, Row]]:
    """Rows of a turns file with their line numbers; histories that were left out are filled in.

    `history` is a list of [utterance, answer], oldest first; `rewrites` a dictionary; `extra` a
    JSON string. Raises DataError for a malformed row or a turn_id that is there twice.
    """
    rows: list[tuple[int, Row]] = []
    lines: dict[str, int] = {}
    earlier: dict[str, list[list[str]]] = {}
    names: set[str] = set()
    for number, raw in read_objects(path):
        fields = _Fields(path, number, raw)
        row = _turn(fields)
        if (first := lines.setdefault(row["turn_id"], number)) != number:
            problem = f"{clip(row['turn_id'])!r} is in line {first} already"
            fields.fail("turn_id", problem, "Give each turn its own turn_id.")
        names.update(row["rewrites"])
        if len(names) > _MOST_REWRITES:
            problem = f"more than {_MOST_REWRITES} different names in one file"
            fields.fail("rewrites", problem, "Name rewrites by who wrote them, not by turn.")
        said = earlier.setdefault(row["conv_id"], [])
        if row["history"] is None:
            row["history"] = list(said)
        said.append([row["utterance"], row["answer"]])
        rows.append((number, row))
    return rows


def _turn(fields: _Fields) -> Row:
    return {
        "conv_id": fields.identifier("conv_id"),
        "turn_id": fields.identifier("turn_id"),
        "utterance": fields.text("utterance"),
        "history": fields.history(),
        "answer": fields.optional_text("answer") or "",
        "rewrites": fields.rewrites(),
        "positives": fields.positives(),
        "kind": fields.optional_text("kind"),
        "extra": fields.others(*_TURN_FIELDS),
    }


def read_qrels(path: Path) -> Iterator[tuple[int, str, str, int]]:
    """Judgements (line number, turn_id, pid, grade) of a qrels file.

    Columns are separated by tabs, or by white space where a line has no tab. Raises DataError for a
    line without four columns, a grade that is no whole number from 0, or a pair judged twice.
    """
    lines: dict[tuple[str, str], int] = {}
    for number, line in read_lines(path):
        line = line.rstrip("\r\n")
        cells = line.split("\t") if "\t" in line else line.split()
        if len(cells) != 4 or not cells[0] or not cells[2]:
            problem = f"{len(cells)} columns, or an empty id, where four columns belong"
            remedy = "Write turn_id TAB 0 TAB pid TAB grade."
            raise DataError(path, number, None, problem, remedy)
        turn_id, _, pid, grade = cells
        if not _GRADE.fullmatch(grade):
            problem = f"{clip(grade)!r} is no grade"
            remedy = "Write a whole number, 0 for not relevant."
            raise DataError(path, number, "grade", problem, remedy)
        if (first := lines.setdefault((turn_id, pid), number)) != number:
            problem = f"{clip(pid)!r} was judged for {clip(turn_id)!r} in line {first} already"
            raise DataError(path, number, "pid", problem, "Keep one grade a turn and passage.")
        yield number, turn_id, pid, int(grade)


class _Fields:
    """The fields of one row, each checked when it is taken."""

    def __init__(self, path: Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def fail(self, name: str, problem: str, remedy: str) -> NoReturn:
        raise DataError(self.path, self.number, name, problem, remedy)

    def text(self, name: str) -> str:
        if self.row.get(name) is None:
            self.fail(name, "missing", f'Add "{name}", a string, to the object.')
        return self._string(name, self.row[name])

    def optional_text(self, name: str) -> str | None:
        value = self.row.get(name)
        return None if value is None else self._string(name, value)

    def identifier(self, name: str) -> str:
        value = self.text(name)
        if not value.strip() or _CONTROL.search(value):
            # Runs and qrels hold ids in columns, one line a judgement.
            problem = f"{clip(value)!r} is no id"
            self.fail(name, problem, "Use a text that is not blank, without tabs and line ends.")
        return value

    def positives(self) -> list[str]:
        values = self._list("positives", "a list of pids")
        return [self._string("positives", value) for value in values or []]

    def rewrites(self) -> dict[str, str]:
        values = self.row.get("rewrites")
        if values is None:
            return {}
        if not isinstance(values, dict):
            problem = f"{kind_of(values)} where an object belongs"
            self.fail("rewrites", problem, 'Write {"NAME": "text", ...}.')
        for name in values:
            if not name.strip() or _CONTROL.search(name):
                problem = f"{clip(name)!r} is no name for a rewrite"
                self.fail("rewrites", problem, "Name the rewrite by who wrote it.")
        return {
            name: self._string(f"rewrites.{name}", value)
            for name, value in values.items()
            if value is not None
        }

    def history(self) -> list[list[str]] | None:
        """Pairs of utterance and answer; None where the field is left out."""
        pairs = self._list("history", "a list of [utterance, answer]")
        return None if pairs is None else [self._pair(i, pair) for i, pair in enumerate(pairs)]

    def others(self, *known: str) -> str:
        rest = {name: value for name, value in self.row.items() if name not in known}
        return json.dumps(rest, ensure_ascii=False)

    def _pair(self, place: int, pair: object) -> list[str]:
        name = f"history[{place}]"
        if not isinstance(pair, list) or len(pair) != 2:
            got = f"a list of {len(pair)}" if isinstance(pair, list) else kind_of(pair)
            self.fail(
                name,
                f"{got} where [utterance, answer] belongs",
                'Write two strings; "" where there was no answer.',
            )
        utterance, answer = pair
        return [self._string(name, utterance), self._string(name, "" if answer is None else answer)]

    def _list(self, name: str, what: str) -> list[Any] | None:
        value = self.row.get(name)
        if value is None or isinstance(value, list):
            return value
        self.fail(name, f"{kind_of(value)} where {what} belongs", f"Write {what}, [] for none.")

    def _string(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            problem = f"{kind_of(value)} where a string belongs"
            self.fail(name, problem, "Put the value in double quotes.")
        return value
