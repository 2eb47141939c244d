"""Judgements as ranx takes them, compiled only where ranx itself needs that."""

from __future__ import annotations

from typing import Any

from ranx import Qrels


def qrels_from_dict(judgements: dict[str, dict[str, int]], name: str | None = None) -> Qrels:
    """A ranx Qrels of {query: {document: grade}}; it may be empty."""
    return _PlainQrels(judgements, name)


class _PlainQrels(Qrels):
    """A ranx Qrels that stays in plain dictionaries until ranx itself needs it compiled.

    ranx compiles anew for each length of id, for seconds, and `metrics.evaluate` needs none of it.
    """

    def __init__(self, judgements: dict[str, dict[str, int]], name: str | None) -> None:
        self._plain: dict[str, dict[str, int]] | None = judgements
        self._compiled: Any = None
        self.name, self.sorted = name, True

    @property
    def qrels(self) -> Any:
        """What ranx computes with. It may be changed there, so from now on it alone counts."""
        if self._plain is not None:
            self._compiled = Qrels(self._plain).qrels if self._plain else Qrels().qrels
            self._plain = None
        return self._compiled

    @qrels.setter
    def qrels(self, value: Any) -> None:
        self._compiled, self._plain = value, None

    def to_dict(self) -> dict[str, dict[str, int]]:
        """{query: {document: grade}}."""
        if self._plain is None:
            return super().to_dict()
        return {query: dict(grades) for query, grades in self._plain.items()}

    def __len__(self) -> int:
        return len(self.qrels if self._plain is None else self._plain)
