"""Prompts: what a language model is shown of a turn so that it rewrites the last utterance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from disco_lib.conversations import Turn
from disco_lib.errors import DataError, DiscoError

FOLDER = Path(__file__).parent / "prompts"
FORMS = {
    "instruction": "for a model that follows instructions: one message, in its chat template",
    "chat": "for a small chat model: the examples as earlier messages and replies",
    "completion": "for any causal model: the text itself, to be continued",
    "joined": "for a model that was fine-tuned for rewriting: the texts, joined",
}


@dataclass(frozen=True)
class Example:
    """A conversation and how its last utterance is to be rewritten."""

    history: tuple[tuple[str, str], ...]
    utterance: str
    rewrite: str


@dataclass(frozen=True)
class Prompt:
    """A template; `render` fills it in for one turn.

    form is one of FORMS. As an instruction or a completion, examples and turn are numbered and
    laid out as in DiSCo's appendix C; in a chat they are messages; joined texts stand alone.
    """

    name: str
    form: str
    instruction: str = ""
    examples: tuple[Example, ...] = ()
    separator: str = " ||| "
    source: str = ""

    def render(self, turn: Turn, exchanges: int | None = None) -> str:
        """The prompt as one text, with the newest `exchanges` of the history (None: all)."""
        if self.form == "joined":
            said = [text for pair in _newest(turn, exchanges) for text in pair]
            lines = map(_line, [*said, turn.utterance])
            return self.separator.join(line for line in lines if line)
        shown = [*self.examples, Example(_newest(turn, exchanges), turn.utterance, "")]
        numbers = range(1, len(shown) + 1) if self.examples else [None]
        blocks = [
            "\n".join(
                [*([f"Example {number}:"] if number else []), _question(example), _ANSWER]
                + ([example.rewrite] if example.rewrite else [])
            )
            for example, number in zip(shown, numbers, strict=True)
        ]
        text = "\n\n".join([self.instruction.strip(), *blocks])
        # What is to be continued ends where the examples' rewrites begin: on a new line.
        return text + "\n" if self.form == "completion" else text

    def messages(self, turn: Turn, exchanges: int | None = None) -> list[dict[str, str]]:
        """The prompt as messages for a chat template; in form "chat" with the examples as replies.

        Each message is {"role": "system", "user" or "assistant", "content": text}.
        """
        if self.form != "chat":
            return [{"role": "user", "content": self.render(turn, exchanges)}]
        messages = [{"role": "system", "content": self.instruction.strip()}]
        for example in self.examples:
            messages.append({"role": "user", "content": _question(example)})
            messages.append({"role": "assistant", "content": example.rewrite})
        asked = Example(_newest(turn, exchanges), turn.utterance, "")
        return [*messages, {"role": "user", "content": _question(asked)}]


_ANSWER = "Re-written query:"


def _newest(turn: Turn, exchanges: int | None) -> tuple[tuple[str, str], ...]:
    if exchanges is None:
        return turn.history
    return turn.history[max(0, len(turn.history) - exchanges) :]


def _question(example: Example) -> str:
    lines = ["Context:"]
    for utterance, answer in example.history:
        lines += [f"user: {_line(utterance)}", f"system: {_line(answer)}"]
    return "\n".join(
        [*lines, "", "Please rewrite the following user question:", _line(example.utterance)]
    )


def _line(text: str) -> str:
    """One line: a line break in an utterance must not look like the next part of the prompt."""
    return " ".join(text.split())


def prompt_names() -> list[str]:
    """Names of the prompts that come with the library."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_prompt(name_or_file: str | Path) -> Prompt:
    """The prompt of that name, or in that YAML file.

    Raises DiscoError for an unknown name and DataError for a file of another form.
    """
    path = FOLDER / f"{name_or_file}.yaml"
    if str(name_or_file) not in prompt_names():
        path = Path(name_or_file)
        if not path.is_file():
            raise DiscoError(
                f"No prompt {str(name_or_file)!r}; there are: {', '.join(prompt_names())}. "
                "Choose one, or give a YAML file of the same form."
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        number = None if line is None else line + 1
        problem = f"not YAML ({getattr(error, 'problem', None) or 'malformed'})"
        raise DataError(path, number, None, problem, "Mend its syntax.") from error
    except UnicodeDecodeError as error:
        raise DataError(path, None, None, "not UTF-8", "Save the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:  # a date such as 2024-99-99
        raise DataError(path, None, None, f"not YAML ({error})", "Mend its syntax.") from error
    return _prompt(path, content)


def _prompt(path: Path, content: Any) -> Prompt:
    if not isinstance(content, dict):
        raise DataError(path, None, None, "not a mapping", "Write fields such as instruction: ...")
    known = {"form", "instruction", "examples", "separator", "source"}
    if unknown := sorted(map(str, content.keys() - known)):
        remedy = f"Use only {', '.join(sorted(known))}."
        raise DataError(path, None, unknown[0], "an unknown field", remedy)
    form = content.get("form", "completion")
    if not isinstance(form, str) or form not in FORMS:
        remedy = f"Give one of {', '.join(FORMS)}."
        raise DataError(path, None, "form", f"{form!r} is unknown", remedy)
    for name in ("instruction", "separator", "source"):
        if not isinstance(content.get(name, ""), str):
            raise DataError(path, None, name, "not a text", "Put it between quotes.")
    if form != "joined" and not content.get("instruction", "").strip():
        raise DataError(path, None, "instruction", "missing", "Say what the model is to do.")
    examples = content.get("examples") or []
    if not isinstance(examples, list):
        raise DataError(path, None, "examples", "not a list", "Begin each example with a dash.")
    texts = {key: content[key] for key in ("instruction", "separator", "source") if key in content}
    return Prompt(path.stem, form, examples=tuple(_example(path, e) for e in examples), **texts)


def _example(path: Path, row: Any) -> Example:
    try:
        if not all(isinstance(pair, list) for pair in row["history"]):
            raise TypeError("history is no list of pairs")
        history = tuple((_text(said), _text(answer)) for said, answer in row["history"])
        return Example(history, _text(row["utterance"]), _text(row["rewrite"]))
    except (KeyError, TypeError, ValueError) as error:
        remedy = "Give history (pairs of utterance and answer), utterance and rewrite, in quotes."
        raise DataError(path, None, "examples", f"malformed example ({error!r})", remedy) from error


def _text(value: Any) -> str:
    # Without quotes YAML reads Yes as true, and 1_000 as a number.
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} where a text belongs")
    return value
