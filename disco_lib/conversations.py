"""A turn of a conversation, and the text or tokens that a system is given for it.

Serialisation follows DiSCo: the last utterance first, then the history from newest to oldest,
q_n [SEP] a_{n-1} [SEP] q_{n-1} [SEP] ..., cut on the right so that the oldest text is lost first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from disco_lib.errors import DiscoError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Part = Literal["utterance", "answer", "rewrite"]

INPUTS: dict[str, str] = {
    "utterance": "the last utterance alone",
    "questions": "all the user's utterances, newest first",
    "conversation": "the last utterance, then answers and utterances, newest first",
    "rewrite:NAME": "the rewrite called NAME",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance with what came before it and what is known about it.

    `history` holds (utterance, answer) pairs, oldest first; `rewrites` maps a rewriter's name to
    its text; `positives` are ids of relevant passages; `extra` keeps fields of other meaning.
    """

    conv_id: str
    turn_id: str
    utterance: str
    history: tuple[tuple[str, str], ...]
    answer: str
    rewrites: dict[str, str]
    positives: tuple[str, ...]
    kind: str | None
    extra: dict[str, Any]

    @property
    def depth(self) -> int:
        """Position in the conversation, counted from 1."""
        return len(self.history) + 1

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Turn:
        """The turn in a row of `Collection.turns(split)`."""
        return cls(
            conv_id=row["conv_id"],
            turn_id=row["turn_id"],
            utterance=row["utterance"],
            history=tuple((utterance, answer) for utterance, answer in row["history"]),
            answer=row["answer"],
            # Arrow keeps one column per rewriter: None where this turn has no such rewrite.
            rewrites={k: v for k, v in row["rewrites"].items() if v is not None},
            positives=tuple(row["positives"]),
            kind=row["kind"],
            extra=json.loads(row["extra"]),
        )


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens: of one utterance, of one answer, of the whole with special tokens.

    The defaults are the paper's (64 and 100) within 256.
    Raises DiscoError for a limit below 1, or an utterance that could not be kept whole in `total`.
    """

    utterance: int = 64
    answer: int = 100
    total: int = 256

    def __post_init__(self) -> None:
        for name in ("utterance", "answer", "total"):
            if getattr(self, name) < 1:
                raise DiscoError(f"Limit {name!r} is {getattr(self, name)}; use 1 token or more.")
        if self.utterance > self.total - 2:
            raise DiscoError(
                f"An utterance of {self.utterance} tokens and two special tokens do not fit into "
                f"{self.total}; lower the utterance limit or raise the total."
            )


def segments(turn: Turn, input: str) -> list[tuple[str, Part]]:
    """The texts of an input with what each is, newest first; blank history is left out.

    Raises DiscoError for an unknown input, or a rewrite that the turn does not have.
    """
    if input.startswith("rewrite:"):
        return [(_rewrite(turn, input.removeprefix("rewrite:")), "rewrite")]
    if input not in INPUTS:
        raise DiscoError(f"No input {input!r}; there are: {', '.join(INPUTS)}.")
    parts: list[tuple[str, Part]] = [(turn.utterance, "utterance")]
    if input == "utterance":
        return parts
    for utterance, answer in reversed(turn.history):
        if input == "conversation":
            parts.append((answer, "answer"))
        parts.append((utterance, "utterance"))
    return [parts[0], *((text, part) for text, part in parts[1:] if text.strip())]


def _rewrite(turn: Turn, name: str) -> str:
    if name not in turn.rewrites:
        known = ", ".join(turn.rewrites) or "none"
        raise DiscoError(
            f"Turn {turn.turn_id!r} has no rewrite {name!r}; it has: {known}. "
            "Choose one of these, or leave out the turns that lack it."
        )
    return turn.rewrites[name]


def context_text(turn: Turn, input: str, separator: str = " [SEP] ") -> str:
    """An input as readable text, uncut: what prints, logs and word-based systems use.

    Raises DiscoError as `segments` does.
    """
    return separator.join(text for text, _ in segments(turn, input))


def context_ids(
    turn: Turn, input: str, tokenizer: PreTrainedTokenizerBase, limits: Limits = Limits()
) -> list[int]:
    """Token ids [CLS] s_1 [SEP] s_2 [SEP] ... [SEP] of an input, at most `limits.total` of them.

    Each utterance and answer is cut to its own limit; then the whole is cut on the right, so the
    last utterance always stays. A rewrite is cut to the total only.
    Raises DiscoError as `segments` does, and for a tokenizer without [CLS] and [SEP].
    """
    start, separator = tokenizer.cls_token_id, tokenizer.sep_token_id
    if start is None or separator is None:
        raise DiscoError(
            f"{type(tokenizer).__name__} has no [CLS] or [SEP] token; use an encoder's tokenizer."
        )
    room = limits.total - 2
    longest = {"utterance": limits.utterance, "answer": limits.answer, "rewrite": room}
    body: list[int] = []
    for text, part in segments(turn, input):
        if len(body) >= room:
            break
        ids = _plain_ids(text, tokenizer)[: longest[part]]
        if ids and body:
            body.append(separator)
        body += ids
    body = body[:room]
    if body and body[-1] == separator:
        body.pop()  # the cut fell right behind a separator; the closing one follows
    return [start, *body, separator]


def _plain_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # A user who types "[SEP]" must not be able to end the segment: special tokens are only ours.
    return tokenizer.encode(
        text, add_special_tokens=False, split_special_tokens=True, verbose=False
    )
