"""Rewrites that a system of a tier asks a language model for, where the data has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from disco_lib.conversations import Turn
from disco_lib.prompting import load_prompt
from disco_lib.rewriting import LanguageModelRewriter, rewrite_turns

#: The rewrite's name on the turns that come back.
FRESH = "fresh"
LIMITS = ("max_new_tokens", "max_prompt", "exchanges", "keep_utterance")
BATCH = 4


def rewritten(
    turns: Sequence[Turn], system: Mapping[str, Any], progress: bool = True
) -> list[Turn]:
    """The turns with a rewrite FRESH by system["model"] under system["prompt"].

    Limits of the rewriter may stand beside them. Batches are kept in the cache, so that an
    interrupted run goes on. Raises DiscoError for a model or a prompt that there is not.
    """
    limits = {name: system[name] for name in LIMITS if name in system}
    rewriter = LanguageModelRewriter.from_pretrained(system["model"], system["prompt"], **limits)
    texts = rewrite_turns(rewriter, turns, BATCH, progress)
    return [replace(t, rewrites={**t.rewrites, FRESH: texts[t.turn_id]}) for t in turns]


def rewriter_settings(system: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt's text, which a record is found by besides the system's own settings."""
    return {"prompt": asdict(load_prompt(system["prompt"]))}
