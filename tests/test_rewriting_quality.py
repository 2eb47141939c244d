"""Rewrites compared: words kept, lost, borrowed and invented; searches; repairs; verdicts."""

import numpy as np
import pytest

from disco_lib.claims import NOT, PARTLY, REPRODUCED
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.papers import load_paper
from disco_lib.rewriting_quality import (
    Wording,
    by_kind,
    evaluate_texts,
    foremost,
    judge_values,
    kind_dots,
    mended,
    own_words,
    point,
    ranked_script,
    wording,
    wording_row,
)
from disco_lib.tiers import Tier


def turn(utterance, *history, conv="c", name="c_1", kind=None):
    return Turn(conv, name, utterance, tuple(history), "", {}, (), kind, {})


ASKED = turn("And what does it cost?", ("Who plays the violin?", "Musicians in an orchestra."))
CAREFUL = "What does a violin cost?"


@pytest.fixture
def lab(collection_folder, encoder_folder) -> Laboratory:
    tier = Tier(
        name="trial", what="a trial", data=str(collection_folder), train="train", test="test",
        encoder=str(encoder_folder), seeds=(5,), depth=45, teacher_depth=45,
        evaluation={"later_turns": True, "remove_earlier_answers": False},
        distil={
            "limits": {"utterance": 20, "answer": 20, "total": 48}, "document_length": 24,
            "sampler": {"negatives": 4, "start": 0, "end": 40}, "epochs": 1, "batch_size": 8,
            "learning_rate": 1e-2,
        },
        systems={"rewrite": {"run": "encoder", "input": "rewrite:gold"}},
    )  # fmt: skip
    return Laboratory(tier, progress=False)


# Words


def test_every_content_word_is_kept_lost_borrowed_or_invented():
    found = wording(ASKED, "What does it cost in the orchestra of Vienna?", CAREFUL)
    assert found == Wording(("cost",), ("violin",), ("orchestra",), ("vienna",), ("it",))


def test_words_are_compared_by_their_stems_and_counted_once():
    found = wording(ASKED, "violins, violin: costs of the violin", CAREFUL)
    assert (found.kept, found.lost, found.borrowed) == (("violin", "cost"), (), ())


def test_the_reference_loses_and_adds_nothing():
    found = wording(ASKED, CAREFUL, CAREFUL)
    assert found == Wording(("violin", "cost"), (), (), (), ())


def test_a_blank_rewrite_has_lost_everything():
    assert wording(ASKED, "  ", CAREFUL) == Wording((), ("violin", "cost"), (), (), ())


def test_a_row_counts_per_turn():
    row = wording_row(
        [
            Wording(("a", "b"), ("c",), (), (), ("it", "they")),
            Wording(("a",), (), ("x", "y", "z"), ("w",), ()),
        ]
    )
    assert row == {
        "kept": "1.5 of 2.0",
        "lost": "0.5",
        "borrowed": "1.5",
        "invented": "0.5",
        "with a pronoun": "50%",
    }
    with pytest.raises(DiscoError, match="at least one"):
        wording_row([])


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("And what does it cost? The violin's price?", "The violin's price?"),
        (" And what does it cost? ", "And what does it cost?"),
        ("The price?", "The price?"),
    ],
)
def test_own_words_are_what_follows_the_utterance(text, own):
    assert own_words(ASKED, text) == own


def test_mending_adds_what_was_lost_and_takes_out_what_is_too_many():
    text = "What does it cost in the orchestra of Vienna?"
    found = wording(ASKED, text, CAREFUL)
    assert mended(text, found) == f"{text} violin"
    assert mended(text, found, add=False) == text
    assert mended(text, found, False, True) == "What does it cost in the of ?"
    whole = mended(text, found, True, True)
    assert wording(ASKED, whole, CAREFUL) == Wording(("violin", "cost"), (), (), (), ("it",))


def test_a_mended_rewrite_has_exactly_the_references_content(collection):
    for t in (t for t in collection.iter_turns("train") if t.history):
        gold = t.rewrites["gold"]
        text = f"{t.utterance} volcanoes and other inventions {t.history[0][1]}"
        whole = wording(t, mended(text, wording(t, text, gold), True, True), gold)
        assert (whole.lost, whole.borrowed, whole.invented) == ((), (), ())


# Searches


def test_texts_find_what_the_measurement_of_the_same_rewrites_found(lab):
    record = lab.measure("rewrite")
    turns = lab.turns("test", "rewrite:gold")
    found = evaluate_texts(lab, turns, [t.rewrites["gold"] for t in turns], "test")
    assert list(found.turn_ids) == list(record.turn_ids)
    assert found.values["MRR@10"] == pytest.approx(record.per_turn("MRR@10"), abs=1e-6)
    assert len(evaluate_texts(lab, lab.turns("train")[:3], ["cello"] * 3, "train").turn_ids) == 3
    with pytest.raises(DiscoError, match="1 texts for"):
        evaluate_texts(lab, turns, ["x"], "test")


def test_a_point_is_the_mean_within_its_interval():
    found = point(np.array([0.0, 0.5, 1.0, 0.5]))
    assert found.value == 0.5 and 0 <= found.low < 0.5 < found.high <= 1


def test_the_foremost_turns_are_of_different_conversations_and_the_first_of_equals():
    turns = [turn("x", conv=conv, name=name) for conv, name in ("aA", "aB", "bC", "cD", "cE")]
    chosen = foremost(turns, np.array([0.9, 1.0, 0.5, 0.5, 0.1]), 3)
    assert [t.turn_id for t in chosen] == ["B", "C", "D"]
    assert len(foremost(turns, np.ones(5), 9)) == 3


def test_a_script_shows_ranks_and_keeps_to_its_width():
    texts = {"program": "violin " * 20, "gold": CAREFUL, "none": "?"}
    shown = ranked_script(ASKED, texts, {"program": 0.25, "gold": 1.0, "none": 0.0}, width=50)
    assert "[4] violin" in shown and f"[1] {CAREFUL}" in shown and "[-] ?" in shown
    assert "before:" in shown and max(map(len, shown.splitlines())) <= 50
    twice = ranked_script(ASKED, {"utterance": ASKED.utterance}, {"utterance": 0.5})
    assert twice.count(ASKED.utterance) == 1 and "user:" in shown and "user:" not in twice
    assert ranked_script(turn("why", kind="first"), {}, {}).splitlines()[0] == "c_1, first"


# By kind


def test_kinds_are_counted_and_small_ones_left_out():
    turns = [turn("x", kind=kind) for kind in ["a"] * 10 + ["b"] * 12 + ["c"] * 9 + [None] * 20]
    values = np.concatenate([np.ones(10), np.zeros(12), np.ones(29)])
    found = by_kind(turns, values)
    assert {kind: (n, p.value) for kind, (n, p) in found.items()} == {"b": (12, 0), "a": (10, 1)}
    assert list(found) == ["b", "a"]
    assert by_kind([turn("x")] * 20, np.ones(20)) == {}


def test_dots_have_a_row_for_each_kind():
    turns = [turn("x", kind=kind) for kind in ["a"] * 10 + ["b"] * 12]
    rows = by_kind(turns, np.linspace(0, 1, 22))
    axis = kind_dots({"one": rows, "two": {"a": rows["a"]}}, "MRR@10").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b (12)", "a (10)"]
    assert axis.get_xlabel() == "MRR@10" and len(axis.containers) == 2
    with pytest.raises(DiscoError, match="kind"):
        kind_dots({"one": {}}, "MRR@10")


# The verdict

GOOD, BAD = np.tile([0.9, 0.8], 20), np.tile([0.2, 0.3], 20)


@pytest.mark.parametrize(
    ("pairs", "outcome", "holds"),
    [
        ([(GOOD, BAD), (GOOD, BAD)], REPRODUCED, [True, True]),
        ([(GOOD, BAD), (BAD, GOOD)], PARTLY, [True, False]),
        ([(BAD, GOOD), (BAD, GOOD)], NOT, [False, False]),
        # Above, but so little that it may be chance.
        ([(np.array([0.5, 0.1, 0.3]), np.array([0.1, 0.4, 0.2]))], PARTLY, [False]),
    ],
)
def test_a_verdict_follows_from_its_comparisons(pairs, outcome, holds):
    claim = load_paper("disco").claims[0]
    verdict = judge_values(claim, "mini", [("a", "b", x, y) for x, y in pairs], "MRR@10")
    assert verdict.verdict == outcome
    assert [finding.holds for finding in verdict.findings] == holds
    finding = verdict.findings[0]
    assert finding.effect == pytest.approx((pairs[0][0] - pairs[0][1]).mean())
    assert finding.interval[0] <= finding.effect <= finding.interval[1]
