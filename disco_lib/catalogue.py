"""Which data sets there are, where they lie, and what is known about them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from disco_lib.errors import DataError, DiscoError
from disco_lib.jsonl import read_lines

#: The embedded collection lies beside the package in the repository; a wheel does not carry it.
EMBEDDED = Path(__file__).resolve().parent.parent / "data" / "mini"

_COUNTED_BYTES = 256 * 2**20
_FILE = re.compile(
    r"(collection\.jsonl|turns_(?P<turns>[\w.-]+)\.jsonl|qrels_(?P<qrels>[\w.-]+)\.tsv)(\.gz)?"
)


@dataclass(frozen=True)
class Source:
    """What a data set is, its licence, and where it comes from."""

    what: str
    licence: str
    source: str


KNOWN: dict[str, Source] = {
    "mini": Source(
        "authored conversations and passages for learning and testing",
        "CC BY 4.0",
        "this repository",
    ),
    "qrecc": Source(
        "QReCC training conversations with a collection of their answers",
        "CC BY-SA 3.0",
        "https://github.com/apple/ml-qrecc",
    ),
    "cast2020": Source(
        "TREC CAsT 2020 with its judged passages, out of domain",
        "topics MIT; passages as MS MARCO and TREC CAR",
        "https://github.com/daltonj/treccastweb",
    ),
    "canard": Source(
        "CANARD dev: human rewrites of QuAC questions",
        "CC BY-SA 4.0",
        "https://sites.google.com/view/qanta/projects/canard",
    ),
}


@dataclass(frozen=True)
class Files:
    """The files of one data set: its collection, and by split its turns and judgements."""

    folder: Path
    collection: Path
    turns: dict[str, Path]
    qrels: dict[str, Path]

    def all(self) -> list[Path]:
        """Every file, by name."""
        return sorted([self.collection, *self.turns.values(), *self.qrels.values()])


@dataclass(frozen=True)
class Listing:
    """One row of `disco data list`; counts are None where a file is too large to count quickly."""

    name: str
    folder: Path | None
    present: bool
    about: Source
    turns: dict[str, int | None] = field(default_factory=dict)
    passages: int | None = None
    problem: str | None = None

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.turns)


def data_root() -> Path | None:
    """The folder that holds data sets, $DISCO_DATA; None where it is not set."""
    value = os.environ.get("DISCO_DATA")
    return Path(value).expanduser() if value else None


def locate(name_or_folder: str | Path) -> tuple[str, Path]:
    """Name and folder of a data set: the embedded one, one below $DISCO_DATA, or any folder.

    Raises DiscoError that lists the known names and the places that were looked in.
    """
    places = _places(name_or_folder)
    for place in places:
        if _is_folder(place):
            return place.resolve().name, place
    names = ", ".join([*KNOWN, *_others()])
    looked = ", ".join(str(place) for place in places)
    remedy = "Set DISCO_DATA to the folder that holds data sets, or give a data set's folder."
    if str(name_or_folder) == "mini":
        remedy = (
            "The embedded collection comes with a clone of the repository, not with the installed "
            "package: work in a clone, or give the folder of one."
        )
    root = data_root()
    state = "is not set" if root is None else f"is {root}"
    raise DiscoError(
        f"No data set {str(name_or_folder)!r}: looked in {looked}; DISCO_DATA {state}. "
        f"Known: {names}. {remedy}"
    )


def _places(name_or_folder: str | Path) -> list[Path]:
    path = Path(name_or_folder).expanduser()
    if isinstance(name_or_folder, Path) or len(path.parts) != 1 or path.name in ("", ".."):
        return [path]
    return [*_homes(path.name), path]


def _homes(name: str) -> list[Path]:
    root = data_root()
    return [*([EMBEDDED] if name == "mini" else []), *([root / name] if root else [])]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, or one that no file can have
        return False


def find_files(folder: Path) -> Files:
    """The files of the native form in a folder.

    Raises DataError when there is no collection or no turns, when a file is there both plain and
    compressed, and for judgements of a split without turns.
    """
    found: dict[str, Path] = {}
    turns: dict[str, Path] = {}
    qrels: dict[str, Path] = {}
    for path in _entries(folder):
        match = _FILE.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        plain = match[1]
        if plain in found:
            problem = f"{plain} and {plain}.gz are both there"
            raise DataError(folder, None, None, problem, "Keep one of them.")
        found[plain] = path
        if match["turns"]:
            turns[match["turns"]] = path
        elif match["qrels"]:
            qrels[match["qrels"]] = path
    for wanted, here in (
        ("collection.jsonl", "collection.jsonl" in found),
        ("turns_<split>.jsonl", bool(turns)),
    ):
        if not here:
            remedy = "Put it there, or choose another folder."
            raise DataError(folder, None, None, f"no {wanted}[.gz] in this folder", remedy)
    for split, path in qrels.items():
        if split not in turns:
            problem = f"judgements without turns_{split}.jsonl beside them"
            raise DataError(path, None, None, problem, "Add the turns, or remove this file.")
    return Files(folder, found["collection.jsonl"], turns, qrels)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        problem = f"cannot be listed ({error.strerror or error})"
        raise DataError(folder, None, None, problem, "Check the folder's permissions.") from error


def front_matter(folder: Path) -> dict[str, Any]:
    """The YAML front matter of a folder's README.md; {} where there is none.

    Raises DataError where it is not a YAML mapping.
    """
    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Save the file as UTF-8, readable."
        raise DataError(path, None, None, f"cannot be read ({error})", remedy) from error
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return {}
    try:
        card = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = "the front matter is not YAML: " + " ".join(str(error).split())
        remedy = "Mend the lines between the two '---'."
        raise DataError(path, None, None, problem, remedy) from error
    if card is None:
        return {}
    if not isinstance(card, dict):
        remedy = "Write 'name: value' lines between the two '---'."
        raise DataError(path, None, None, "the front matter is no mapping", remedy)
    return card


def list_datasets() -> list[Listing]:
    """The known data sets, there or not, and every other data set below $DISCO_DATA."""
    return [_listing(name) for name in [*KNOWN, *_others()]]


def _others() -> list[str]:
    root = data_root()
    if root is None or not _is_folder(root):
        return []
    folders = [p for p in _entries(root) if p.name not in KNOWN and _is_folder(p)]
    return [p.name for p in folders if any(_FILE.fullmatch(f.name) for f in _entries(p))]


def _listing(name: str) -> Listing:
    about = KNOWN.get(name, Source("", "", ""))
    folder = next(filter(_is_folder, _homes(name)), None)
    if folder is None:
        return Listing(name, None, False, about)
    try:
        if name not in KNOWN:
            about = _about(front_matter(folder))
        files = find_files(folder)
        turns = {split: _count(path) for split, path in files.turns.items()}
        return Listing(name, folder, True, about, turns, _count(files.collection))
    except DiscoError as error:
        return Listing(name, folder, True, about, problem=str(error))


def _about(card: dict[str, Any]) -> Source:
    named = {**card, "licence": card.get("licence", card.get("license"))}
    values = (named.get(name) for name in ("what", "licence", "source"))
    return Source(*("" if value is None else " ".join(str(value).split()) for value in values))


def _count(path: Path) -> int | None:
    if path.stat().st_size > _COUNTED_BYTES:
        return None
    return sum(1 for _ in read_lines(path))
