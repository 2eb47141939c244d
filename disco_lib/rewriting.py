"""Rewriting by a language model: batched, greedy, and cached so that it resumes exactly."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.gguf_files import unpacked
from disco_lib.prompting import Prompt, load_prompt
from disco_lib.storage import (
    atomic_folder,
    cache_root,
    open_sealed,
    read_json,
    settings_hash,
    sha256_texts,
    sole_writer,
    write_json,
)
from disco_lib.weights import WEIGHTS, resolve

REBUILD = "disco rewrite"
BATCH = 16


class QueryRewriter(Protocol):
    """What turns the last utterance of a conversation into a query that stands alone."""

    def settings(self) -> dict[str, Any]:
        """Everything that decides a rewrite; part of the name that it is cached under."""

    def prompt_of(self, turn: Turn) -> str:
        """The text that a rewrite is made from."""

    def order(self, turns: Sequence[Turn]) -> list[int]:
        """The order in which to work, so that turns of like cost share a batch."""

    def rewrite(self, turns: Sequence[Turn]) -> list[str]:
        """One text for each turn."""

    def finish(self, turn: Turn, text: str) -> str:
        """The rewrite that is stored, from the text that was cached."""


@dataclass
class LanguageModelRewriter:
    """A causal or sequence-to-sequence model with a prompt, decoding greedily.

    max_new_tokens: longest rewrite. max_prompt: tokens; the oldest exchanges are left out of a
    prompt that is longer. exchanges: how many of the newest are shown (None: all that fit).
    A first utterance is its own rewrite; so is one for which the model writes nothing.
    keep_utterance: where the model changed something, the utterance stands before what it wrote: a
    small model loses words as often as it finds some.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    max_new_tokens: int = 64
    max_prompt: int = 1024
    exchanges: int | None = None
    keep_utterance: bool = False
    name: str = field(default="model", compare=False)

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_prompt"):
            if getattr(self, name) < 1:
                raise DiscoError(f"{name} is {getattr(self, name)}; use 1 token or more.")
        if self.exchanges is not None and self.exchanges < 0:
            raise DiscoError(f"exchanges is {self.exchanges}; use 0 or more.")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if self.prompt.form == "chat" and self.tokenizer.chat_template is None:
            raise DiscoError(
                f"Prompt {self.prompt.name!r} is for a chat model, but {self.name} has no chat "
                "template. Choose a prompt of another form, such as disco-few-shot."
            )
        self.tokenizer.padding_side = "right" if self._encodes else "left"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        prompt: str | Path | Prompt = "disco",
        dtype: str = "auto",
        device: str | None = None,
        **limits: Any,
    ) -> LanguageModelRewriter:
        """Load a model: "smollm2", a folder, a .gguf file, or a hub id.

        dtype: "float32", "bfloat16", "float16" or "auto" (float32 on a CPU, else bfloat16).
        Weights are read from safetensors or GGUF only, and no remote code is run. Raises
        DiscoError when there is no such model, or it writes no text.
        """
        chosen = prompt if isinstance(prompt, Prompt) else load_prompt(prompt)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind = {"auto": "float32" if device == "cpu" else "bfloat16"}.get(dtype, dtype)
        if kind not in ("float32", "bfloat16", "float16"):
            raise DiscoError(f"dtype {dtype!r}; use float32, bfloat16, float16 or auto.")
        try:
            folder, options = _source(name_or_path)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **options)
            family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            model, report = family.from_pretrained(
                folder,
                dtype=getattr(torch, kind),
                trust_remote_code=False,
                output_loading_info=True,
                **(options or {"use_safetensors": True}),
            )
            if report["missing_keys"]:
                # They would be drawn at random.
                raise ValueError(f"it has no weights {min(report['missing_keys'])}")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise DiscoError(
                f"{name_or_path}: no language model can be loaded from there ({reason}). "
                'Give "smollm2", a folder, a .gguf file, or a hub id.'
            ) from error
        return cls(model.to(device).eval(), tokenizer, chosen, name=str(name_or_path), **limits)

    @property
    def _encodes(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the weights, in the precision that they are used in."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def with_prompt(self, prompt: str | Path | Prompt) -> LanguageModelRewriter:
        """The same model with another prompt; its weights are not hashed again."""
        chosen = prompt if isinstance(prompt, Prompt) else load_prompt(prompt)
        other = replace(self, prompt=chosen)
        other.__dict__["fingerprint"] = self.fingerprint
        return other

    def settings(self) -> dict[str, Any]:
        """Model hash, prompt, limits and decoding."""
        return {
            "kind": "language model",
            "weights": self.fingerprint,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "prompt": asdict(self.prompt),
            "max_new_tokens": self.max_new_tokens,
            "max_prompt": self.max_prompt,
            "exchanges": self.exchanges,
            "decoding": "greedy",
        }

    def prompt_of(self, turn: Turn) -> str:
        """What the model is shown for a turn: the prompt, with as much history as fits.

        Of a first turn, which no model reads, the utterance. Raises DiscoError where a later
        utterance alone is too long.
        """
        if not turn.history:
            return turn.utterance.strip()
        most = len(turn.history) if self.exchanges is None else self.exchanges
        for exchanges in range(min(most, len(turn.history)), -1, -1):
            text = self._text(turn, exchanges)
            if len(self._tokens(text)) <= self.max_prompt:
                return text
        raise DiscoError(
            f"Turn {turn.turn_id!r}: the prompt is longer than {self.max_prompt} tokens even "
            "without history. Raise max_prompt or shorten the prompt."
        )

    def order(self, turns: Sequence[Turn]) -> list[int]:
        """First turns, then the others by the length of their prompt."""
        lengths = [len(self.prompt_of(turn)) if turn.history else 0 for turn in turns]
        return sorted(range(len(turns)), key=lambda i: (lengths[i], i))

    @torch.inference_mode()
    def rewrite(self, turns: Sequence[Turn]) -> list[str]:
        """One rewrite for each turn, all in one batch."""
        texts = [turn.utterance.strip() for turn in turns]
        later = [i for i, turn in enumerate(turns) if turn.history]
        if not later:
            return texts
        batch = self.tokenizer(
            [self.prompt_of(turns[i]) for i in later],
            return_tensors="pt",
            padding=True,
            add_special_tokens=self._special,
        ).to(self.model.device)
        batch.pop("token_type_ids", None)
        out = self.model.generate(
            **batch,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.pad_token_id,
            **self._stop(),
        )
        start = 0 if self._encodes else batch["input_ids"].shape[1]
        written = self.tokenizer.batch_decode(out[:, start:], skip_special_tokens=True)
        for i, text in zip(later, written, strict=True):
            texts[i] = clean(text) or texts[i]
        return texts

    def finish(self, turn: Turn, text: str) -> str:
        """The text, after the utterance where that is to be kept and differs."""
        said = turn.utterance.strip()
        return f"{said} {text}" if self.keep_utterance and text != said else text

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=self._special, verbose=False)["input_ids"]

    @property
    def _templated(self) -> bool:
        return self.prompt.form == "chat" or (
            self.prompt.form == "instruction" and self.tokenizer.chat_template is not None
        )

    @property
    def _special(self) -> bool:
        # A chat template writes its own special tokens.
        return self._encodes or not self._templated

    def _text(self, turn: Turn, exchanges: int) -> str:
        if not self._templated:
            return self.prompt.render(turn, exchanges)
        try:
            return self.tokenizer.apply_chat_template(
                self.prompt.messages(turn, exchanges), tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise DiscoError(
                f"The chat template of {self.name} does not take prompt {self.prompt.name!r} "
                f"({error}). Choose a prompt of another form, such as disco."
            ) from error

    def _stop(self) -> dict[str, Any]:
        if self.prompt.form != "completion" or self._encodes:
            return {}
        return {"stop_strings": ["\n"], "tokenizer": self.tokenizer}


def clean(written: str) -> str:
    """The first line that a model wrote, without quotation marks or a label around it."""
    lines = (" ".join(line.split()) for line in written.splitlines())
    unlabelled = (line.removeprefix("Re-written query:").strip() for line in lines)
    text = next(filter(None, unlabelled), "")
    quoted = _QUOTED.fullmatch(text)
    return next(filter(None, quoted.groups()), "").strip() if quoted else text


# One pair around the whole; an apostrophe inside a word is none of its marks.
_QUOTED = re.compile(r"""\"([^"]*)\"|“([^“”]*)”|'((?:[^']|(?<=\w)'(?=\w))*)'""")


def _source(name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """Folder or hub id of a model, and the options to read a large GGUF file with."""
    resolved = Path(resolve(name_or_path))
    weights = WEIGHTS.get(str(name_or_path))
    if weights is not None and weights.check.endswith(".gguf"):
        resolved = resolved / weights.check
    if resolved.suffix == ".gguf":
        if not resolved.is_file():
            raise DiscoError(f"{resolved}: no such file. Give a folder, a .gguf file or a hub id.")
        folder = unpacked(resolved)
        if folder is None:
            return str(resolved.parent), {"gguf_file": resolved.name}
        return str(folder), {}
    return resolve(name_or_path), {}


def rewrite_turns(
    rewriter: QueryRewriter,
    turns: Sequence[Turn],
    batch_size: int = BATCH,
    progress: bool = True,
) -> dict[str, str]:
    """{turn_id: rewrite}; each finished batch is kept in the cache, under settings and texts.

    Batches are fixed by the turns, the batch size and the rewriter's order, so the result does not
    depend on where it was interrupted. Raises DiscoError for a batch size below 1 and for a turn
    that is there twice.
    """
    if batch_size < 1:
        raise DiscoError(f"batch_size is {batch_size}; it must be at least 1 turn.")
    names = [turn.turn_id for turn in turns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DiscoError(f"Turn {twice!r} is there twice; give each turn once.")
    root = cache_root() / "rewrites" / settings_hash(rewriter.settings())
    order = rewriter.order(turns)
    found: dict[str, str] = {}
    with tqdm(total=len(turns), desc="rewrite", unit=" turns", disable=not progress) as bar:
        for start in range(0, len(order), batch_size):
            batch = [turns[i] for i in order[start : start + batch_size]]
            texts = _batch(root, rewriter, batch)
            for turn, text in zip(batch, texts, strict=True):
                found[turn.turn_id] = rewriter.finish(turn, text)
            bar.update(len(batch))
    return {name: found[name] for name in names}


def _batch(root: Path, rewriter: QueryRewriter, turns: list[Turn]) -> list[str]:
    # A first turn is never the same as a later one, though both may be shown as one utterance.
    shown = [rewriter.prompt_of(t) if t.history else f"first: {t.utterance}" for t in turns]
    folder = root / sha256_texts(shown)[:24]
    if (kept := _kept(folder)) is not None:
        return kept
    with sole_writer(folder):
        if (kept := _kept(folder)) is not None:  # another process has worked on it meanwhile
            return kept
        texts = rewriter.rewrite(turns)
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_folder(folder) as part:
            write_json(part / "rewrites.json", texts)
    return texts


def _kept(folder: Path) -> list[str] | None:
    try:
        open_sealed(folder, REBUILD)
        return list(read_json(folder / "rewrites.json"))
    except IntegrityError:  # not there yet, or damaged
        return None


def note_of(
    rewriter: QueryRewriter, command: str, model: str, turns: Sequence[Turn], texts: dict[str, str]
) -> dict[str, Any]:
    """What made a set of rewrites: command, model hash, settings, date, versions, and counts."""
    settings = rewriter.settings()
    if isinstance(rewriter, LanguageModelRewriter):
        settings["prompt"] = rewriter.prompt.name
        settings["keep_utterance"] = rewriter.keep_utterance
    unchanged = sum(texts[t.turn_id] == t.utterance.strip() for t in turns)
    return {
        "command": command,
        "model": model,
        **settings,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("torch", "transformers", "bm25s")},
        "turns": len(turns),
        "unchanged": unchanged,
    }
