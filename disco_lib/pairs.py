"""Pairs of a query and a document from conversations, as selective distillation makes them.

Of a turn the best query and the best document that it has, by the report's precedence; then
trimming, without empty ones, without repeats, without short ones. What each step takes away is
counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from disco_lib.datasets import Collection
from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.jsonl import clip, kind_of, no_repeats
from disco_lib.storage import check_path, checked_path, read_json

#: Shortest query and document, in characters.
SHORTEST_QUERY, SHORTEST_DOCUMENT = 5, 10
#: Fields of QReCC, the best first.
QUERY_FIELDS = ("Rewrite", "Question", "query")
DOCUMENT_FIELDS = ("Answer", "relevant_passages", "Context")

REBUILD = "disco_lib.pairs.save_pairs"

#: A field's name and its text, "" where a turn has none.
Choice = tuple[str, str]


@dataclass(frozen=True)
class Pair:
    """A query with its document, the turn they come from, and the fields they were taken from."""

    turn_id: str
    query: str
    document: str
    query_field: str
    document_field: str


@dataclass(frozen=True)
class PairCounts:
    """How many turns each step takes away, in this order, and from which fields pairs are kept.

    turns = no_query + no_document + repeats + short_queries + short_documents + kept.
    """

    turns: int
    no_query: int
    no_document: int
    repeats: int
    short_queries: int
    short_documents: int
    kept: int
    query_fields: Mapping[str, int]
    document_fields: Mapping[str, int]


@dataclass(frozen=True)
class Extraction:
    """The pairs in the order of their turns, and the counts."""

    pairs: list[Pair]
    counts: PairCounts


def pairs_of_qrecc(path: str | Path) -> Extraction:
    """Pairs of a file of QReCC in its own JSON form, a list of turns.

    Query: Rewrite, else Question, else query. Document: Answer, else the first of
    relevant_passages, else Context, whose utterances are joined by blanks. Raises DataError for a
    file that is no such list, naming turn and field.
    """
    return extract(_of_qrecc(Path(path)))


def pairs_of_collection(collection: Collection, split: str, rewriter: str = "gold") -> Extraction:
    """Pairs of a split in native form.

    Query: the rewrite of that name, else the utterance. Document: the answer, else the first
    positive's text, else the history, joined by blanks. Raises DiscoError for an unknown split, and
    for a rewriter that no turn of the split has.
    """
    turns = collection.iter_turns(split)
    known = sorted({name for turn in turns for name in turn.rewrites})
    if rewriter not in known:
        raise DiscoError(
            f"{collection.name}: no turn of {split!r} has a rewrite {rewriter!r}; there are: "
            f"{', '.join(known) or 'none'}."
        )
    wanted = {turn.positives[0] for turn in turns if turn.positives}
    passages = zip(collection.pids, collection.passage_texts(), strict=True)
    texts = {pid: text for pid, text in passages if pid in wanted}
    return extract(
        (
            turn.turn_id,
            [("rewrite", turn.rewrites.get(rewriter, "")), ("utterance", turn.utterance)],
            [
                ("answer", turn.answer),
                ("positive", texts[turn.positives[0]] if turn.positives else ""),
                ("history", " ".join(said for pair in turn.history for said in pair)),
            ],
        )
        for turn in turns
    )


def extract(
    turns: Iterable[tuple[str, Sequence[Choice], Sequence[Choice]]],
    shortest_query: int = SHORTEST_QUERY,
    shortest_document: int = SHORTEST_DOCUMENT,
) -> Extraction:
    """Pairs of any turns: (turn_id, choices of a query, choices of a document), the best first.

    The first text that is not blank is taken and trimmed. A pair that is too short, in characters,
    is left out even where a later choice is longer. Of equal pairs the first turn's is kept.
    """
    lost: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    pairs: list[Pair] = []
    for turn_id, queries, documents in turns:
        query_field, query = _first(queries)
        document_field, document = _first(documents)
        problem = (
            "no_query" if not query
            else "no_document" if not document
            else "repeats" if (query, document) in seen
            else "short_queries" if len(query) < shortest_query
            else "short_documents" if len(document) < shortest_document
            else None
        )  # fmt: skip
        seen.add((query, document))
        if problem is None:
            pairs.append(Pair(turn_id, query, document, query_field, document_field))
        else:
            lost[problem] += 1
    steps = ("no_query", "no_document", "repeats", "short_queries", "short_documents")
    fields = (Counter(p.query_field for p in pairs), Counter(p.document_field for p in pairs))
    turns_read = lost.total() + len(pairs)
    counts = PairCounts(turns_read, *(lost[s] for s in steps), len(pairs), *map(dict, fields))
    return Extraction(pairs, counts)


def save_pairs(path: str | Path, extraction: Extraction) -> None:
    """Write pairs and counts as JSON, whole or not at all, with a SHA-256 beside it."""
    content = {
        "counts": asdict(extraction.counts),
        "pairs": [asdict(pair) for pair in extraction.pairs],
    }
    with checked_path(Path(path)) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def load_pairs(path: str | Path) -> Extraction:
    """Read what `save_pairs` wrote. IntegrityError for a file that is absent, changed or other."""
    path = Path(path)
    if not path.is_file():
        raise IntegrityError(f"{path}: missing. Rebuild it with: {REBUILD}")
    check_path(path, REBUILD)
    content = read_json(path)
    try:
        pairs = [Pair(**pair) for pair in content["pairs"]]
        return Extraction(pairs, PairCounts(**content["counts"]))
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not pairs ({error}). Rebuild it with: {REBUILD}") from error


def _first(choices: Sequence[Choice]) -> Choice:
    for name, text in choices:
        if trimmed := text.strip():
            return name, trimmed
    return "", ""


def _of_qrecc(path: Path) -> Iterator[tuple[str, list[Choice], list[Choice]]]:
    for place, turn in enumerate(_qrecc_turns(path)):
        fields = _QreccFields(path, place, turn)
        yield (
            fields.turn_id(),
            [(name, fields.text(name)) for name in QUERY_FIELDS],
            [
                ("Answer", fields.text("Answer")),
                ("relevant_passages", next(iter(fields.texts("relevant_passages")), "")),
                ("Context", " ".join(fields.texts("Context"))),
            ],
        )


def _qrecc_turns(path: Path) -> list[Any]:
    try:
        turns = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=no_repeats)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise DataError(path, None, None, problem, "Check the path and its permissions.") from error
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg}"
        raise DataError(path, error.lineno, None, problem, "Download the file again.") from error
    except (ValueError, RecursionError) as error:
        problem = f"not JSON in UTF-8: {clip(str(error))}"
        raise DataError(path, None, None, problem, "Download the file again.") from error
    if not isinstance(turns, list):
        problem = f"{kind_of(turns)} where a list of turns belongs"
        raise DataError(path, None, None, problem, "Give one of QReCC's JSON files.")
    return turns


@dataclass(frozen=True)
class _QreccFields:
    """The fields of one turn, each checked when it is taken."""

    path: Path
    place: int
    turn: Any

    def __post_init__(self) -> None:
        if not isinstance(self.turn, dict):
            self._fail(None, f"turn {self.place} is {kind_of(self.turn)}, not an object")

    def turn_id(self) -> str:
        numbers = [self.turn.get(name) for name in ("Conversation_no", "Turn_no")]
        return str(self.place) if None in numbers else "_".join(map(str, numbers))

    def text(self, name: str) -> str:
        value = self.turn.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        self._fail(name, f"{kind_of(value)} where a text belongs")

    def texts(self, name: str) -> list[str]:
        """The texts of a list that are not blank; one text alone is a list of one."""
        value = self.turn.get(name)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        for text in listed:
            if not isinstance(text, str):
                self._fail(name, f"{kind_of(text)} where a text belongs")
        return [text.strip() for text in listed if text.strip()]

    def _fail(self, name: str | None, problem: str) -> NoReturn:
        field = None if name is None else f"[{self.place}].{name}"
        raise DataError(self.path, None, field, problem, "Give one of QReCC's JSON files.")
