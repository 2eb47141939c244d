import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from disco_lib.conversations import INPUTS, Limits, Turn, context_ids, context_text, segments
from disco_lib.errors import DiscoError

WORDS = [*"abcdefghij", "?", "[", "]", "sep"]
VOCABULARY = {
    word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
}
CLS, SEP = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]

TURN = Turn(
    conv_id="c1",
    turn_id="c1_3",
    utterance="e f?",
    history=(("a", "b c"), ("d", "g h i")),
    answer="j",
    rewrites={"gold": "a e f?", "hqe": "e f a d"},
    positives=("p1",),
    kind="ellipsis",
    extra={"domain": "music"},
)


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(vocab=VOCABULARY)


def ids(text):
    """Ids of words and special tokens separated by spaces."""
    return [VOCABULARY[word] for word in text.split()]


# Turn


def test_depth_counts_from_one():
    assert TURN.depth == 3
    assert replace(TURN, history=()).depth == 1


def test_from_row_restores_the_turn():
    row = {
        "conv_id": "c1",
        "turn_id": "c1_3",
        "utterance": "e f?",
        "history": [["a", "b c"], ["d", "g h i"]],
        "answer": "j",
        "rewrites": {"gold": "a e f?", "hqe": "e f a d"},
        "positives": ["p1"],
        "kind": "ellipsis",
        "extra": '{"domain": "music"}',
    }
    assert Turn.from_row(row) == TURN


def test_from_row_leaves_out_rewrites_that_only_other_turns_have():
    row = {
        "conv_id": "c", "turn_id": "t", "utterance": "a", "history": [], "answer": "",
        "rewrites": {"gold": "a", "human": None, "blank": ""}, "positives": [], "kind": None,
        "extra": "{}",
    }  # fmt: skip
    turn = Turn.from_row(row)
    assert turn.rewrites == {"gold": "a", "blank": ""}
    assert (turn.kind, turn.history, turn.positives, turn.extra) == (None, (), (), {})


def test_turns_cannot_be_changed():
    with pytest.raises(AttributeError):
        TURN.utterance = "other"


# Segments and text


def test_segments_of_the_utterance():
    assert segments(TURN, "utterance") == [("e f?", "utterance")]


def test_questions_are_newest_first_without_answers():
    assert [text for text, _ in segments(TURN, "questions")] == ["e f?", "d", "a"]
    assert {part for _, part in segments(TURN, "questions")} == {"utterance"}


def test_conversation_is_newest_first_each_answer_before_its_question():
    assert segments(TURN, "conversation") == [
        ("e f?", "utterance"),
        ("g h i", "answer"),
        ("d", "utterance"),
        ("b c", "answer"),
        ("a", "utterance"),
    ]


def test_the_answer_to_the_turn_itself_is_never_in_its_input():
    for name in ("utterance", "questions", "conversation", "rewrite:gold"):
        assert "j" not in context_text(TURN, name).split()


def test_blank_answers_and_questions_of_the_history_are_left_out():
    turn = replace(TURN, history=(("a", ""), ("", "b"), ("c", " \n")))
    assert [text for text, _ in segments(turn, "conversation")] == ["e f?", "c", "b", "a"]
    assert [text for text, _ in segments(turn, "questions")] == ["e f?", "c", "a"]


def test_a_blank_utterance_still_is_the_first_segment():
    assert segments(replace(TURN, utterance=""), "conversation")[0] == ("", "utterance")


def test_a_rewrite_by_name():
    assert segments(TURN, "rewrite:hqe") == [("e f a d", "rewrite")]


def test_a_missing_rewrite_is_named_with_the_turn_and_what_it_has():
    with pytest.raises(DiscoError) as caught:
        segments(TURN, "rewrite:human")
    assert all(part in str(caught.value) for part in ("c1_3", "'human'", "gold, hqe"))


def test_a_turn_without_rewrites_says_so():
    with pytest.raises(DiscoError, match="it has: none"):
        segments(replace(TURN, rewrites={}), "rewrite:gold")


@pytest.mark.parametrize("name", ["", "history", "Utterance", "rewrite", "rewrite:NAME"])
def test_an_unknown_input_lists_the_known_ones(name):
    with pytest.raises(DiscoError) as caught:
        segments(TURN, name)
    if not name.startswith("rewrite:"):
        assert all(known in str(caught.value) for known in INPUTS)


def test_context_text_is_readable():
    expected = "e f? [SEP] g h i [SEP] d [SEP] b c [SEP] a"
    assert context_text(TURN, "conversation") == expected
    assert context_text(TURN, "questions", separator=" | ") == "e f? | d | a"
    assert context_text(TURN, "rewrite:gold") == "a e f?"


# Token ids


def test_ids_of_a_whole_conversation(tokenizer):
    expected = "[CLS] e f ? [SEP] g h i [SEP] d [SEP] b c [SEP] a [SEP]"
    assert context_ids(TURN, "conversation", tokenizer) == ids(expected)


def test_ids_agree_with_the_tokenizer_on_a_single_segment(tokenizer):
    assert context_ids(TURN, "rewrite:gold", tokenizer) == tokenizer.encode("a e f?")


def test_each_segment_is_cut_to_its_own_limit(tokenizer):
    limits = Limits(utterance=2, answer=1, total=32)
    expected = "[CLS] e f [SEP] g [SEP] d [SEP] b [SEP] a [SEP]"
    assert context_ids(TURN, "conversation", tokenizer, limits) == ids(expected)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (16, "[CLS] e f ? [SEP] g h i [SEP] d [SEP] b c [SEP] a [SEP]"),
        (15, "[CLS] e f ? [SEP] g h i [SEP] d [SEP] b c [SEP]"),  # no separator before the last
        (14, "[CLS] e f ? [SEP] g h i [SEP] d [SEP] b c [SEP]"),
        (13, "[CLS] e f ? [SEP] g h i [SEP] d [SEP] b [SEP]"),
        (12, "[CLS] e f ? [SEP] g h i [SEP] d [SEP]"),
        (7, "[CLS] e f ? [SEP] g [SEP]"),
        (6, "[CLS] e f ? [SEP]"),
        (5, "[CLS] e f ? [SEP]"),
    ],
)
def test_the_oldest_is_lost_first_and_the_last_utterance_never(tokenizer, total, expected):
    limits = Limits(utterance=3, answer=10, total=total)
    assert context_ids(TURN, "conversation", tokenizer, limits) == ids(expected)


def test_a_rewrite_is_cut_to_the_total_only(tokenizer):
    turn = replace(TURN, rewrites={"long": "a b c d e f g h i j"})
    limits = Limits(utterance=2, answer=2, total=8)
    expected = ids("[CLS] a b c d e f [SEP]")
    assert context_ids(turn, "rewrite:long", tokenizer, limits) == expected


def test_blank_segments_leave_no_separator(tokenizer):
    turn = replace(TURN, history=(("a", ""), ("", "b")))
    assert context_ids(turn, "conversation", tokenizer) == ids("[CLS] e f ? [SEP] b [SEP] a [SEP]")


def test_a_blank_input_is_just_the_special_tokens(tokenizer):
    turn = replace(TURN, utterance=" ", history=())
    assert context_ids(turn, "conversation", tokenizer) == [CLS, SEP]


def test_special_tokens_typed_by_a_user_are_ordinary_text(tokenizer):
    turn = replace(TURN, utterance="a [SEP] b")
    expected = ids("[CLS] a [ sep ] b [SEP]")
    assert context_ids(turn, "utterance", tokenizer) == expected
    # ... and the tokenizer treats them as before when others use it.
    assert tokenizer.encode("a [SEP] b") == ids("[CLS] a [SEP] b [SEP]")


def test_the_defaults_are_the_papers_limits(tokenizer):
    assert Limits() == Limits(utterance=64, answer=100, total=256)
    turn = replace(TURN, utterance="a " * 300, history=(("b " * 300, "c " * 300),))
    found = context_ids(turn, "conversation", tokenizer)
    a, b, c = ids("a b c")
    assert found == [CLS, *[a] * 64, SEP, *[c] * 100, SEP, *[b] * 64, SEP]


def test_long_text_does_not_warn(capfd):
    tokenizer = BertTokenizer(vocab=VOCABULARY, model_max_length=8)
    handler = logging.StreamHandler()  # transformers' own logger does not propagate to pytest's
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        turn = replace(TURN, utterance="a " * 2000)
        context_ids(turn, "utterance", tokenizer)
        quiet = capfd.readouterr().err
        tokenizer.encode(turn.utterance)
    finally:
        logger.removeHandler(handler)
    assert quiet == ""
    assert "longer than the specified maximum" in capfd.readouterr().err


def test_a_tokenizer_without_the_special_tokens_is_refused():
    bare = BertTokenizer(vocab=VOCABULARY)
    bare.cls_token = None
    with pytest.raises(DiscoError, match=r"no \[CLS\] or \[SEP\]"):
        context_ids(TURN, "utterance", bare)


@pytest.mark.parametrize(
    "lengths", [{"utterance": 0}, {"answer": 0}, {"total": 0}, {"answer": -1}, {"total": 65}]
)
def test_limits_that_cannot_hold_are_refused(lengths):
    with pytest.raises(DiscoError):
        Limits(**lengths)


def test_an_utterance_limit_must_leave_room_for_two_special_tokens():
    assert Limits(utterance=10, total=12).utterance == 10
    with pytest.raises(DiscoError, match="lower the utterance limit or raise the total"):
        Limits(utterance=11, total=12)


_text = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
_limits = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 40)).map(
    lambda sizes: Limits(sizes[0], sizes[1], sizes[0] + 2 + sizes[2])
)


@given(
    utterance=_text,
    history=st.lists(st.tuples(_text, _text), max_size=5),
    limits=_limits,
    name=st.sampled_from(["utterance", "questions", "conversation"]),
)
def test_ids_keep_their_form_for_any_conversation(tokenizer, utterance, history, limits, name):
    turn = replace(TURN, utterance=utterance, history=tuple(history))
    found = context_ids(turn, name, tokenizer, limits)
    body = found[1:-1]
    last = tokenizer.encode(utterance, add_special_tokens=False)[: limits.utterance]
    assert len(found) <= limits.total
    assert (found[0], found[-1]) == (CLS, SEP)
    assert body[: len(last)] == last
    # Separators stand between segments only, never at an end or side by side.
    assert SEP not in (body[:1] + body[-1:])
    assert (SEP, SEP) not in zip(body, body[1:], strict=False)
    # What fits into less room is the beginning of what fits into more.
    wider = context_ids(turn, name, tokenizer, replace(limits, total=limits.total + 5))
    assert wider[: len(found) - 1] == found[:-1]
