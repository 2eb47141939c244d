"""A collection's portrait: counts, topics, lengths and overlaps against values found by hand."""

import json

import numpy as np
import pytest

from disco_lib import portrait
from disco_lib.conversations import Limits, Turn
from disco_lib.datasets import load
from disco_lib.errors import DiscoError
from disco_lib.papers import load_paper
from disco_lib.verification import Check

TOPICS = {"a1": "A", "a2": "A", "b1": "B", "c1": "C"}


def turn(depth, positives=(), conv="c", utterance="why", answer="", kind=None, **rewrites):
    history = tuple((f"question {n}", f"reply {n}") for n in range(1, depth))
    return Turn(
        conv, f"{conv}_{depth}", utterance, history, answer, rewrites, tuple(positives), kind, {}
    )


def conversation(*positives, conv="c"):
    return [turn(n, pids, conv) for n, pids in enumerate(positives, 1)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# Sizes


def test_splits_come_in_their_usual_order(collection_folder):
    for split in ("ood", "dev"):
        row = {"conv_id": split, "turn_id": f"{split}_1", "utterance": "x", "positives": []}
        write(collection_folder / f"turns_{split}.jsonl", [row])
    splits = portrait.turns_by_split(load(collection_folder))
    assert list(splits) == ["train", "dev", "test", "ood"]
    assert [len(turns) for turns in splits.values()] == [30, 1, 15, 1]


def test_the_sizes_of_a_collection_are_counted(collection):
    splits = portrait.turns_by_split(collection)
    train, test = portrait.sizes(collection, splits)
    assert train == portrait.Size("tiny-collection train", "tiny-collection", 10, 30, 45)
    assert (test.conversations, test.turns, test.passages) == (5, 15, 45)
    assert portrait.sizes(collection, {"train": []}) == []


def test_the_published_sizes_are_those_of_the_paper():
    found = {size.name: size for size in portrait.published_sizes(load_paper("disco"), "1")}
    assert len(found) == 7
    size = found["TopiOCQA test"]
    assert (size.data, size.conversations, size.turns) == ("TopiOCQA", 205, 2514)
    assert size.row()["turns a conversation"] == "12.3"
    assert size.row()["passages"] == "25,000,000"


def test_conversations_are_put_in_order_of_depth():
    turns = [turn(2, conv="x"), turn(1, conv="y"), turn(1, conv="x")]
    found = portrait.by_conversation(turns)
    assert list(found) == ["x", "y"]
    assert [t.depth for t in found["x"]] == [1, 2]


def test_reach_is_a_share_of_all_conversations_even_where_first_turns_are_missing():
    turns = [turn(1, conv="x"), turn(2, conv="x"), turn(2, conv="y"), turn(4, conv="z")]
    assert portrait.reach(turns) == {1: 1 / 3, 2: 2 / 3, 4: 1 / 3}
    assert portrait.reach([]) == {}


# Conversations to read


def test_the_telling_conversation_has_the_usual_length_and_the_most_kinds():
    def rows(conv, *kinds, words="one two"):
        return [turn(n, conv=conv, kind=k, answer=words) for n, k in enumerate(kinds, 1)]

    short, long = rows("s", "first"), rows("l", "first", "shift", "return", "request")
    dull = rows("d", "first", "followup", "followup", words="one")
    wordy = rows("w", "first", "shift", "pronoun", words="one two three")
    lively = rows("v", "first", "shift", "ellipsis")
    same = rows("z", "first", "shift", "ellipsis")
    turns = [*short, *long, *dull, *wordy, *lively, *same]
    assert portrait.telling_conversation(turns) == lively
    unmarked = [rows("p", None, None), rows("q", None, None, words="one")]
    assert portrait.telling_conversation([t for rows in unmarked for t in rows]) == unmarked[1]
    with pytest.raises(DiscoError, match="No turn"):
        portrait.telling_conversation([])


def test_a_script_says_what_is_missing_and_keeps_to_its_width():
    first = turn(1, ["p1", "p2"], utterance="What  is it?", answer="x " * 60, kind="first",
                 gold="What  is it? ")  # fmt: skip
    second = turn(2, utterance="Why?")
    text = portrait.script([first, second], "gold", {"p1": "One", "p2": "Two"}, width=50)
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert max(len(line) for block in blocks for line in block) <= 50
    assert blocks[0][0] == "turn 1, first"
    assert blocks[0][1:3] == ["  user:    What is it?", "  rewrite: (the same)"]
    assert blocks[0][-1] == "  passage: One; Two"
    assert blocks[1] == [
        "turn 2", "  user:    Why?", "  rewrite: (none)", "  system:  (no answer is kept)",
        "  passage: (none)",
    ]  # fmt: skip


def test_rewrites_are_shown_under_the_exchange_before():
    later = turn(3, utterance="And it?", gold="And tea?")
    assert portrait.rewrites_script(later, ["gold", "machine"]).splitlines() == [
        "  before:  question 2",
        "  answer:  reply 2",
        "  user:    And it?",
        "  gold:    And tea?",
        "  machine: (none)",
    ]
    assert portrait.rewrites_script(turn(1, utterance="Hm"), []) == "  user: Hm"


def test_evenly_takes_equal_distances():
    turns = [turn(n) for n in range(1, 11)]
    assert [t.depth for t in portrait.evenly(turns, 5)] == [2, 4, 6, 8, 10]
    assert [t.depth for t in portrait.evenly(turns, 1)] == [6]
    assert portrait.evenly(turns[:3], 5) == turns[:3]
    assert portrait.evenly([], 5) == []


# Topics


def test_a_passages_topic_is_its_field_or_its_title_before_the_colon(tmp_path):
    write(
        tmp_path / "collection.jsonl",
        [
            {"pid": "p1", "text": "x", "title": "Go: origins", "topic": "Board games"},
            {"pid": "p2", "text": "x", "title": "Go: origins"},
            {"pid": "p3", "text": "x"},
            {"pid": "p4", "text": "x", "topic": 7},
        ],
    )
    row = {"conv_id": "c", "turn_id": "c_1", "utterance": "x", "positives": []}
    write(tmp_path / "turns_train.jsonl", [row])
    assert portrait.passage_topics(load(tmp_path)) == {"p1": "Board games", "p2": "Go"}


def test_moves_skip_turns_without_a_topic_and_know_a_return():
    turns = conversation(["a1"], [], ["a2"], ["b1"], ["unknown"], ["c1"], ["a1", "b1"])
    found = portrait.moves(turns, TOPICS)
    assert [(m.turn.depth, m.switched, m.back) for m in found] == [
        (3, False, False),  # from a1 over a turn without a positive to a2
        (4, True, False),
        (6, True, False),  # from b1 over a passage without a topic
        (7, True, True),
    ]


def test_a_stay_is_no_return_and_conversations_do_not_mix():
    turns = conversation(["a1"], ["a2"], conv="x") + conversation(["b1"], ["b1"], conv="y")
    found = portrait.moves(turns, TOPICS)
    assert len(found) == 2
    assert not any(m.switched or m.back for m in found)


def test_the_topic_of_a_turn_is_that_of_its_first_positive_with_one():
    assert portrait.turn_topic(turn(1, ["unknown", "b1", "a1"]), TOPICS) == "B"
    assert portrait.turn_topic(turn(1), TOPICS) is None


def test_topic_row_counts_conversations_that_switch_and_return():
    turns = [
        *conversation(["a1"], ["b1"], ["a1"], conv="back"),
        *conversation(["a1"], ["b1"], conv="once"),
        *conversation(["a1"], ["a2"], conv="never"),
        *conversation([], [], conv="untold"),
    ]
    assert portrait.topic_row(turns, TOPICS) == {
        "conversations": "3",
        "with a switch": "2 of 3 (67%)",
        "with a return": "1 of 3 (33%)",
        "topics a conversation": "1.7",
        "turns to a switch": "1.3",  # four moves, three of them switches
    }
    assert portrait.topic_row(conversation(["a1"], ["a1"]), TOPICS)["turns to a switch"] == ""
    assert portrait.topic_row(turns, {}) == {}
    assert portrait.topic_row([], TOPICS) == {}


def test_switches_by_depth_are_shares_of_ten_turns_or_more():
    turns = [t for n in range(10) for t in conversation(["a1"], ["b1" if n < 3 else "a2"], conv=n)]
    turns += conversation(["a1"], ["a1"], ["b1"], conv="deep")  # alone at depth 3
    (point,) = portrait.switches_by_depth(turns, TOPICS)
    assert (point.x, point.value) == (2, pytest.approx(3 / 11))
    assert 0 <= point.low < 3 / 11 < point.high < 1
    assert portrait.switches_by_depth(turns, {}) == []


# Lengths


def test_blank_texts_have_no_length():
    assert portrait.word_counts(["It's two.", "", "  ", "one"]).tolist() == [2, 1]
    assert portrait.word_counts([]).tolist() == []


def test_passages_are_counted_without_their_title(tmp_path):
    rows = [{"pid": "p1", "title": "A long title", "text": "one"}, {"pid": "p2", "text": "a b c"}]
    write(tmp_path / "collection.jsonl", rows)
    row = {"conv_id": "c", "turn_id": "c_1", "utterance": "x", "positives": []}
    write(tmp_path / "turns_train.jsonl", [row])
    assert portrait.passage_words(load(tmp_path)).tolist() == [1, 3]


def test_cumulative_ends_at_one_at_the_longest():
    lengths, shares = portrait.cumulative(np.array([1, 3, 3, 4]))
    assert lengths.tolist() == [0, 1, 2, 3, 4]
    assert shares.tolist() == [0, 0.25, 0.25, 0.75, 1]
    with pytest.raises(DiscoError, match="no length"):
        portrait.cumulative(np.array([], dtype=np.int64))


def test_pieces_count_special_tokens_and_are_cut_only_by_limits(encoder):
    turns = [
        Turn("c", "c_1", "tea", (), "", {}, (), None, {}),
        Turn("c", "c_2", "why", (("tea", "old tea"),), "", {}, (), None, {}),
        Turn("c", "c_3", "why", (("tea", ""), ("why", "old")), "", {}, (), None, {}),
    ]
    count = portrait.piece_counts
    # [CLS] tea [SEP]; [CLS] why [SEP] old tea [SEP] tea [SEP]; an empty answer takes no place.
    assert count(turns, "conversation", encoder.tokenizer).tolist() == [3, 8, 9]
    limits = Limits(utterance=4, answer=1, total=8)
    assert count(turns, "conversation", encoder.tokenizer, limits).tolist() == [
        3,
        7,
        7,
    ]  # and no separator at the end
    assert count(turns, "utterance", encoder.tokenizer).tolist() == [3, 3, 3]
    assert count([], "utterance", encoder.tokenizer).tolist() == []


def test_cut_rows_say_what_is_lost_at_each_depth(encoder):
    def said(text):
        return Turn("c", "c_2", "why", ((text, ""),), "", {}, (), None, {})

    turns = [said("tea"), said("tea tea tea tea tea")]  # 5 and 9 pieces
    limits = Limits(utterance=4, answer=4, total=7)
    (row,) = portrait.cut_rows(turns, encoder.tokenizer, limits, fewest=2)
    assert row == {
        "depth": 2, "turns": 2, "pieces (median)": "7", "turns cut": "50%", "pieces lost": "14%",
    }  # fmt: skip
    assert portrait.cut_rows(turns, encoder.tokenizer, limits, fewest=3) == []


def test_spread_by_gives_the_median_and_leaves_small_groups_out():
    values = np.array([0, 5, 10, 99])
    (point,) = portrait.spread_by(values, [2, 2, 2, 3], fewest=2)
    assert (point.x, point.value, point.low, point.high) == (2, 5, 1, 9)


# Kinds


def test_kinds_are_shares_of_the_turns_that_have_one():
    turns = [turn(1, kind=kind) for kind in ("shift", "pronoun", None, "pronoun", "pronoun")]
    shares = portrait.kind_shares(turns)
    assert list(shares.items()) == [("pronoun", 0.75), ("shift", 0.25)]
    assert portrait.kind_shares([turn(1)]) == {}


def test_the_example_of_a_kind_is_the_first():
    turns = [turn(1, utterance=text, kind=kind, gold=text.upper())
             for text, kind in (("a", "x"), ("b", None), ("c", "y"), ("d", "x"))]  # fmt: skip
    rows = portrait.kind_examples(turns, "gold")
    assert [(r["kind"], r["utterance"], r["rewrite"]) for r in rows] == [
        ("x", "a", "A"), ("y", "c", "C"),
    ]  # fmt: skip
    assert portrait.kind_examples([turn(1)], "gold") == []


# Rewriters


def test_rewriters_are_named_with_the_careful_one_first():
    turns = [turn(1, human="x", auto="y"), turn(2, zeta="z", blank=" ")]
    assert portrait.rewriter_names(turns, "human") == ["human", "auto", "zeta"]
    assert portrait.rewriter_names(turns, "nobody") == ["auto", "human", "zeta"]
    assert portrait.rewriter_names([turn(1)]) == []


def test_what_nobody_said_is_from_nowhere():
    later = turn(2, utterance="Do they melt?")  # after "question 1", "reply 1"
    assert portrait.content("What do questions melt?") == ["question", "melt"]
    assert portrait.from_nowhere(later, "Do questions melt?") == 0
    assert portrait.from_nowhere(later, "Do glaciers melt?") == 0.5
    assert portrait.from_nowhere(later, "Do they?") == 0
    assert portrait.from_nowhere(turn(1, utterance="Tea"), "Lemon") == 1


def test_rewriter_rows_count_only_what_a_rewriter_wrote():
    turns = [
        turn(2, utterance="does it melt", gold="Does it melt?", auto="glaciers melt"),
        turn(2, utterance="why it", gold="why glaciers melt now"),
    ]
    gold, auto, none = portrait.rewriter_rows(
        turns, ["gold", "auto", "none"], {"auto": {"command": "disco rewrite"}}
    )
    assert gold["turns"] == 2 and auto["turns"] == 1
    assert (gold["words"], gold["unchanged"]) == ("3.5", "50%")
    assert (auto["words"], auto["unchanged"], auto["from nowhere"]) == ("2.0", "0%", "50%")
    assert gold["made by"] == "comes with the data" and auto["made by"] == "disco rewrite"
    assert none == {"rewriter": "none", "turns": 0, "made by": "comes with the data"}


# What two splits share


def test_overlap_counts_passages_turns_rewrites_and_topics():
    train = [turn(1, ["a1"], "t", gold="What is tea?"), turn(2, ["b1"], "t", gold="")]
    test = [
        turn(1, ["a1", "c1"], "u", gold="what is tea"),
        turn(2, ["a2"], "u", gold="Who drinks it?"),
        turn(3, [], "u", gold=""),
    ]
    assert portrait.overlap_row(test, train, TOPICS, "gold") == {
        "conversations": "0 of 1 (0%)",
        "positive passages": "1 of 3 (33%)",
        "turns with one of these": "1 of 2 (50%)",
        "rewrites": "1 of 2 (50%)",
        "topics": "1 of 2 (50%)",
    }


def test_overlap_without_topics_rewrites_or_positives():
    row = portrait.overlap_row([turn(1)], [turn(1)], {}, "gold")
    assert "topics" not in row
    assert row["conversations"] == "1 of 1 (100%)"
    assert row["positive passages"] == row["rewrites"] == "0 of 0"


def test_a_check_without_a_rule_has_no_verdict():
    checks = [Check("a", 1234, True), Check("b", 0.25, False, "why"), Check.report("c", 3)]
    rows = portrait.check_rows(checks)
    assert [(r["value"], r["verdict"]) for r in rows] == [
        ("1,234", "ok"), ("0.250", "FAULT"), ("3", ""),
    ]  # fmt: skip
    assert rows[1]["note"] == "why"


# Figures


def test_share_dots_put_each_series_on_the_rows_of_its_names():
    figure = portrait.share_dots({"x": {"a": 0.7, "b": 0.3}, "y": {"c": 1.0}}, "share")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    first, second = axis.lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([0.7, 0.3], [0, 1])
    assert (list(second.get_xdata()), list(second.get_ydata())) == ([1.0], [2])
    with pytest.raises(DiscoError, match="Nothing to draw"):
        portrait.share_dots({"x": {}}, "share")


def test_levels_are_drawn_and_named():
    figure = portrait.share_dots({"x": {"a": 0.7}}, "share")
    before = len(figure.axes[0].lines)
    assert portrait.with_levels(figure, {"limit": 0.5}) is figure
    line = figure.axes[0].lines[before]
    assert list(line.get_ydata()) == [0.5, 0.5]
    assert [text.get_text() for text in figure.axes[0].texts] == ["limit"]
