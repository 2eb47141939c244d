"""A long list of ids on disk, of which a search needs a few: decoded only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np


class NameTable(Sequence[str]):
    """The strings that `write` left in a folder, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self._ends = np.load(folder / "id_ends.npy", mmap_mode="r", allow_pickle=False)
        self._text = np.load(folder / "id_text.npy", mmap_mode="r", allow_pickle=False)

    @staticmethod
    def write(folder: Path, names: Sequence[str]) -> None:
        """Write strings as their UTF-8 bytes (uint8) and where each ends (int64, one a string)."""
        coded = [name.encode("utf-8") for name in names]
        ends = np.cumsum([len(name) for name in coded], dtype=np.int64)
        np.save(folder / "id_ends.npy", ends, allow_pickle=False)
        text = np.frombuffer(b"".join(coded), dtype=np.uint8)
        np.save(folder / "id_text.npy", text, allow_pickle=False)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"name {place} of {len(self)}")
        place %= len(self)
        first = int(self._ends[place - 1]) if place else 0
        return self._text[first : int(self._ends[place])].tobytes().decode("utf-8")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]
