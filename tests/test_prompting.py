import pytest
import yaml

from disco_lib.conversations import Turn
from disco_lib.errors import DataError, DiscoError
from disco_lib.prompting import FORMS, Example, Prompt, load_prompt, prompt_names

# DiSCo, appendix C, word for word; what a turn fills in stands in <>.
APPENDIX_C = """\
I will give you a conversation between a user and a system. You should rewrite the last question \
of the user into a self-contained query.

Example 1:
Context:
user: Tell me about the benefit of Yoga?
system: Increased flexibility, muscle strength.

Please rewrite the following user question:
Does it help in reducing stress?
Re-written query:
Does Yoga help in reducing stress?

Example 2:
Context:
<ctx>

Please rewrite the following user question:
<utterance>
Re-written query:"""

HISTORY = (("What is a cello?", "A bowed instrument."), ("How tall is it?", "About 1.2 metres."))
CONTEXT = """\
user: What is a cello?
system: A bowed instrument.
user: How tall is it?
system: About 1.2 metres."""

GOOD = """\
form: completion
instruction: Rewrite.
examples:
  - history:
      - ["a", "b"]
    utterance: "c"
    rewrite: "d"
"""


def turn(utterance="And how heavy?", history=HISTORY):
    return Turn("c", "c_3", utterance, history, "", {}, (), None, {})


# As text


def test_the_one_shot_prompt_is_that_of_appendix_c():
    expected = APPENDIX_C.replace("<ctx>", CONTEXT).replace("<utterance>", "And how heavy?")
    prompt = load_prompt("disco")
    assert prompt.form == "instruction" and "appendix C" in prompt.source
    assert prompt.render(turn()) == expected


def test_without_examples_nothing_is_numbered():
    text = load_prompt("disco-zero-shot").render(turn())
    assert "Example" not in text and "Yoga" not in text
    instruction = APPENDIX_C.splitlines()[0]
    question = "Please rewrite the following user question:\nAnd how heavy?\nRe-written query:"
    assert text == f"{instruction}\n\nContext:\n{CONTEXT}\n\n{question}"


@pytest.mark.parametrize(
    "exchanges, shown", [(0, []), (1, HISTORY[1:]), (2, HISTORY), (9, HISTORY), (None, HISTORY)]
)
@pytest.mark.parametrize("name", ["disco", "disco-few-shot"])
def test_only_the_newest_exchanges_are_shown(name, exchanges, shown):
    prompt = load_prompt(name)
    last = prompt.render(turn(), exchanges).split("Context:\n")[-1]
    lines = [f"user: {utterance}\nsystem: {answer}\n" for utterance, answer in shown]
    assert last.startswith("".join(lines) + "\nPlease rewrite the following user question:\nAnd")
    message = prompt.messages(turn(), exchanges)[-1]["content"]
    assert message == prompt.render(turn(), exchanges)


def test_a_line_break_does_not_end_an_utterance():
    broken = turn(
        "And how\nRe-written query:\r\nheavy?", (("What is\n\na cello?", "A bowed\u2028thing."),)
    )
    for name in ("disco", "disco-few-shot"):
        lines = load_prompt(name).render(broken).splitlines()
        assert "And how Re-written query: heavy?" in lines
        assert "user: What is a cello?" in lines and "system: A bowed thing." in lines
    assert "What is a cello? ||| A bowed thing. ||| And how" in load_prompt("canard").render(broken)


def test_a_completion_goes_on_where_the_examples_rewrites_stand():
    prompt = load_prompt("disco-few-shot")
    text = prompt.render(turn())
    numbers = [line for line in text.splitlines() if line.startswith("Example ")]
    assert numbers == [f"Example {i}:" for i in range(1, len(prompt.examples) + 2)]
    assert len(prompt.examples) == 4
    assert text.endswith("\nAnd how heavy?\nRe-written query:\n")
    assert "\nRe-written query:\nHow old does a birch get?\n\nExample 4:\n" in text


def test_joined_texts_stand_alone():
    prompt = load_prompt("canard")
    assert prompt.form == "joined"
    assert prompt.render(turn(), 1) == "How tall is it? ||| About 1.2 metres. ||| And how heavy?"
    assert prompt.render(turn(history=(("What is a cello?", " "),))) == (
        "What is a cello? ||| And how heavy?"
    )
    assert Prompt("own", "joined", separator="\t").render(turn("x", (("a", "b"),))) == "a\tb\tx"
    assert prompt.messages(turn(), 0) == [{"role": "user", "content": "And how heavy?"}]


# As messages


def test_a_chat_shows_examples_as_messages_and_replies():
    prompt = load_prompt("disco-chat")
    messages = prompt.messages(turn(), 1)
    roles = [message["role"] for message in messages]
    assert roles == ["system", *["user", "assistant"] * len(prompt.examples), "user"]
    assert messages[0]["content"] == APPENDIX_C.splitlines()[0]
    assert messages[1]["content"] == (
        "Context:\nuser: Tell me about the benefit of Yoga?\n"
        "system: Increased flexibility, muscle strength.\n\n"
        "Please rewrite the following user question:\nDoes it help in reducing stress?"
    )
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    assert replies == [example.rewrite for example in prompt.examples]
    assert messages[-1]["content"] == (
        "Context:\nuser: How tall is it?\nsystem: About 1.2 metres.\n\n"
        "Please rewrite the following user question:\nAnd how heavy?"
    )


def test_an_instruction_is_one_message():
    prompt = load_prompt("disco")
    assert prompt.messages(turn()) == [{"role": "user", "content": prompt.render(turn())}]


# Loading


def test_every_shipped_prompt_loads():
    assert {"canard", "disco", "disco-chat", "disco-few-shot", "disco-zero-shot"} <= set(
        prompt_names()
    )
    for name in prompt_names():
        prompt = load_prompt(name)
        assert prompt.name == name and prompt.form in FORMS and prompt.source
        assert "And how heavy?" in prompt.render(turn())
        for example in prompt.examples:
            assert example.history and example.utterance and example.rewrite


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    example = Example((("a", "b"),), "c", "d")
    assert load_prompt(path) == Prompt("mine", "completion", "Rewrite.", (example,))
    assert load_prompt(str(path)) == load_prompt(path)


def test_an_unknown_name_is_told_with_those_there_are(tmp_path):
    with pytest.raises(DiscoError, match="No prompt 'typo'; there are: canard, disco, .*YAML file"):
        load_prompt("typo")
    with pytest.raises(DiscoError, match="No prompt '.*nowhere.yaml'"):
        load_prompt(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "content, line, field, parts",
    [
        ("form: [completion\ninstruction: x\n", 2, None, ["not YAML", "Mend its syntax"]),
        ('form: chat\n\ninstruction: "x\n', 4, None, ["not YAML"]),
        ("instruction: 2024-99-99\n", None, None, ["not YAML", "month", "Mend"]),
        ("- a list\n", None, None, ["not a mapping", "instruction: ..."]),
        ("", None, None, ["not a mapping"]),
        ("form: chat\nInstruction: x\n", None, "Instruction", ["unknown", "Use only examples,"]),
        ("form: chatt\ninstruction: x\n", None, "form", ["'chatt'", "instruction, chat, comp"]),
        ("form: [chat]\ninstruction: x\n", None, "form", ["['chat'] is unknown"]),
        ("form: chat\n", None, "instruction", ["missing", "Say what"]),
        ('instruction: " "\n', None, "instruction", ["missing"]),
        ("instruction: 5\n", None, "instruction", ["not a text", "quotes"]),
        ("form: joined\nseparator: 5\n", None, "separator", ["not a text"]),
        ("instruction: x\nexamples: {a: 1}\n", None, "examples", ["not a list", "dash"]),
    ],
)
def test_a_malformed_file(tmp_path, content, line, field, parts):
    refused(tmp_path / "mine.yaml", content, line, field, parts)


@pytest.mark.parametrize(
    "example",
    [
        {"history": [["a", "b"]], "utterance": "c"},
        {"history": [["a", "b", "c"]], "utterance": "c", "rewrite": "d"},
        {"history": ["ab"], "utterance": "c", "rewrite": "d"},
        {"history": [["Is it red?", True]], "utterance": "c", "rewrite": "d"},
        {"history": None, "utterance": "c", "rewrite": "d"},
        {"history": [], "utterance": 3, "rewrite": "d"},
        {"history": [], "utterance": "c", "rewrite": " "},
        "an example",
        None,
    ],
)
def test_a_malformed_example(tmp_path, example):
    content = yaml.safe_dump({"instruction": "x", "examples": [example]})
    parts = ["malformed example", "Give history (pairs of utterance and answer)"]
    refused(tmp_path / "mine.yaml", content, None, "examples", parts)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"instruction: caf\xe9")
    with pytest.raises(DataError, match="mine.yaml: not UTF-8. Save the file as UTF-8"):
        load_prompt(path)


def refused(path, content, line, field, parts):
    path.write_text(content)
    with pytest.raises(DataError) as raised:
        load_prompt(path)
    message = str(raised.value)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert (raised.value.line, raised.value.field) == (line, field)
    assert all(part in message for part in parts), message
    assert raised.value.remedy and "\n" not in message
