"""Historical query expansion: salient words of earlier utterances appended, without any model.

Lin et al., Multi-Stage Conversational Passage Retrieval, TOIS 2021: a word of the history is a
topic word where its salience R(w), the highest BM25 score that it alone gives a passage, exceeds
R_topic; a word of the last M utterances is a subtopic word where it exceeds R_sub, and these are
added only where the utterance is ambiguous: where no passage's BM25 score for it reaches theta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

from disco_lib.bm25 import Bm25Index, bm25_salience, stems
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.storage import sha256_texts
from disco_lib.wording import words


@dataclass
class HistoricalExpansion:
    """Appends words of the history to an utterance; a first utterance stays as it is.

    passages: the texts that will be searched, which decide what is salient. topic and subtopic:
    what a word's BM25 salience must exceed; window: utterances that subtopic words may come from;
    ambiguous: the BM25 score of its best passage below which an utterance gets subtopic words.
    """

    passages: Sequence[str] = field(repr=False)
    topic: float = 4.5
    subtopic: float = 3.5
    window: int = 5
    ambiguous: float = 10.0

    def __post_init__(self) -> None:
        for name in ("topic", "subtopic", "ambiguous"):
            if not isfinite(getattr(self, name)):
                raise DiscoError(f"{name} is {getattr(self, name)}; use a finite number.")
        if self.subtopic > self.topic:
            raise DiscoError(
                f"subtopic is {self.subtopic}, above topic {self.topic}; a topic word must be at "
                "least as salient."
            )
        if self.window < 0:
            raise DiscoError(f"window is {self.window}; use 0 utterances or more.")

    @cached_property
    def salience(self) -> dict[str, float]:
        """The salience of each stem of the passages."""
        return bm25_salience(self.passages)

    @cached_property
    def _index(self) -> Bm25Index:
        return Bm25Index(self.passages, [str(i) for i in range(len(self.passages))])

    def settings(self) -> dict[str, Any]:
        """Thresholds, and the hash of the passages that they are held against."""
        return {
            "kind": "historical query expansion",
            "passages": sha256_texts(self.passages),
            "topic": self.topic,
            "subtopic": self.subtopic,
            "window": self.window,
            "ambiguous": self.ambiguous,
        }

    def prompt_of(self, turn: Turn) -> str:
        """All utterances so far, the newest last."""
        return "\n".join([*(utterance for utterance, _ in turn.history), turn.utterance])

    def order(self, turns: Sequence[Turn]) -> list[int]:
        """As they come."""
        return list(range(len(turns)))

    def rewrite(self, turns: Sequence[Turn]) -> list[str]:
        """The utterances, each followed by the words that were found for it."""
        unclear = self._unclear(turns)
        return [
            " ".join([turn.utterance.strip(), *self._words(turn, turn.turn_id in unclear)])
            for turn in turns
        ]

    def finish(self, turn: Turn, text: str) -> str:
        """The text as it is."""
        return text

    def _unclear(self, turns: Sequence[Turn]) -> set[str]:
        ids = [turn.turn_id for turn in turns]
        run = self._index.search([turn.utterance for turn in turns], ids, 1).to_dict()
        best = {name: max(run.get(name, {}).values(), default=0.0) for name in ids}
        return {name for name, score in best.items() if score < self.ambiguous}

    def _words(self, turn: Turn, unclear: bool) -> list[str]:
        said = {stem for word in words(turn.utterance) for stem in stems(word)}
        recent = max(0, len(turn.history) - self.window)
        found: list[str] = []
        for place, (utterance, _) in enumerate(turn.history):
            least = self.subtopic if unclear and place >= recent else self.topic
            for word in words(utterance):
                own = stems(word)
                if own and not said.intersection(own) and self._salience(own) > least:
                    found.append(word)
                    said.update(own)
        return found

    def _salience(self, own: tuple[str, ...]) -> float:
        return max(self.salience.get(stem, 0.0) for stem in own)
