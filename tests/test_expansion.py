import math

import pytest

from disco_lib.bm25 import bm25_salience, bm25_search
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.expansion import HistoricalExpansion

# Four stems each, so a stem that stands once weighs idf / 1.9: 0.94 where one passage in eight has
# it, 0.67 of two, 0.17 of six, 0.03 of eight.
PASSAGES = [
    "violin strings wood sound",
    "violin bows wood sound",
    "cello strings wood sound",
    "drums sticks wood sound",
    "trumpet valves brass sound",
    "gongs mallet brass sound",
    "bell tower wood sound",
    "harp frame wood sound",
]


def idf(n):
    return math.log(1 + (8 - n + 0.5) / (n + 0.5))


def turn(utterance, *history, name="t"):
    pairs = tuple((said, "an answer about gongs and mallets") for said in history)
    return Turn("c", name, utterance, pairs, "", {}, (), None, {})


def expanded(turn, **options):
    return HistoricalExpansion(PASSAGES, **options).rewrite([turn])[0]


def test_the_salience_of_the_passages():
    salience = HistoricalExpansion(PASSAGES).salience
    assert salience["trumpet"] == pytest.approx(idf(1) / 1.9)
    assert salience["violin"] == pytest.approx(idf(2) / 1.9)
    assert salience["wood"] == pytest.approx(idf(6) / 1.9)
    assert salience["sound"] == pytest.approx(idf(8) / 1.9)


@pytest.mark.parametrize(
    "topic, words",
    [
        (0.95, ""),
        (0.93, " trumpet mallet"),
        (0.68, " trumpet mallet"),
        (0.66, " trumpet violins mallet"),
        (0.16, " trumpet violins wood mallet"),
        (0.0, " trumpet violins wood sound mallet"),
    ],
)
def test_a_word_that_exceeds_topic_is_added(topic, words):
    later = turn("and then?", "Is a trumpet like violins of wood?", "A zebra's sound? A mallet!")
    # Ambiguous or not: subtopic adds nothing that topic does not.
    for ambiguous in (-1.0, 100.0):
        found = expanded(later, topic=topic, subtopic=topic, ambiguous=ambiguous)
        assert found == "and then?" + words


def test_topic_has_to_be_exceeded():
    value = HistoricalExpansion(PASSAGES).salience["trumpet"]
    later = turn("why?", "a trumpet")
    assert expanded(later, topic=value, subtopic=value, ambiguous=9.0) == "why?"
    less = math.nextafter(value, 0)
    assert expanded(later, topic=less, subtopic=less, ambiguous=9.0) == "why? trumpet"


def test_answers_are_not_looked_at():
    assert expanded(turn("why?", "hello"), topic=0.1, subtopic=0.1) == "why?"


def test_subtopic_words_come_from_the_window_of_an_ambiguous_utterance():
    later = turn("how long?", "the violin", "a trumpet", "its strings", "the sound")
    options = {"topic": 0.8, "subtopic": 0.6}  # trumpet exceeds topic, violin and strings subtopic
    assert expanded(later, **options, window=0, ambiguous=9.0) == "how long? trumpet"
    assert expanded(later, **options, window=1, ambiguous=9.0) == "how long? trumpet"
    assert expanded(later, **options, window=2, ambiguous=9.0) == "how long? trumpet strings"
    assert expanded(later, **options, window=3, ambiguous=9.0) == "how long? trumpet strings"
    whole = "how long? violin trumpet strings"
    assert expanded(later, **options, window=4, ambiguous=9.0) == whole
    assert expanded(later, **options, window=50, ambiguous=9.0) == whole
    assert expanded(later, **options, window=4, ambiguous=-1.0) == "how long? trumpet"


def test_an_utterance_is_ambiguous_below_its_best_score():
    best = bm25_search(PASSAGES, [str(i) for i in range(8)], ["the harp frame"], ["q"], 1)
    score = max(best.to_dict()["q"].values())
    later = turn("the harp frame", "a violin")
    options = {"topic": 2.0, "subtopic": 0.5}
    assert expanded(later, **options, ambiguous=score - 1e-4) == "the harp frame"
    assert expanded(later, **options, ambiguous=score + 1e-4) == "the harp frame violin"
    # Words that no passage holds reach nothing, so the lowest bar above 0 is not reached.
    assert expanded(turn("zebras?", "a violin"), **options, ambiguous=0.1) == "zebras? violin"


def test_each_turn_of_a_batch_has_an_ambiguity_of_its_own():
    turns = [
        turn("the harp frame", "a violin", name="a"),
        turn("why?", "a violin", name="b"),
        turn("why?", name="c"),
    ]
    rewriter = HistoricalExpansion(PASSAGES, topic=2.0, subtopic=0.5, ambiguous=1.5)
    found = rewriter.rewrite(turns)
    assert found == ["the harp frame", "why? violin", "why?"]
    assert [rewriter.rewrite([turn])[0] for turn in turns] == found


def test_no_word_twice_and_none_that_the_utterance_has():
    options = {"topic": 0.5, "subtopic": 0.5}
    later = turn("Which bows?", "a violin and its Bow", "violins, the cello's bowing", "Violin!")
    assert expanded(later, **options) == "Which bows? violin cello's"


def test_stop_words_and_strange_words_are_not_added():
    later = turn("why?", "is it the one of zebras?", "...")
    assert expanded(later, topic=0.0, subtopic=0.0) == "why?"


def test_a_first_utterance_stays():
    assert expanded(turn("  the violin, the trumpet? "), topic=0.1, subtopic=0.1) == (
        "the violin, the trumpet?"
    )


def test_settings_name_thresholds_and_passages():
    rewriter = HistoricalExpansion(PASSAGES, 4.0, 3.0, 2, 1.0)
    settings = rewriter.settings()
    changed = [
        HistoricalExpansion(PASSAGES[::-1], 4.0, 3.0, 2, 1.0),
        HistoricalExpansion(PASSAGES, 4.1, 3.0, 2, 1.0),
        HistoricalExpansion(PASSAGES, 4.0, 3.1, 2, 1.0),
        HistoricalExpansion(PASSAGES, 4.0, 3.0, 3, 1.0),
        HistoricalExpansion(PASSAGES, 4.0, 3.0, 2, 1.1),
    ]
    assert HistoricalExpansion(list(PASSAGES), 4.0, 3.0, 2, 1.0).settings() == settings
    assert all(other.settings() != settings for other in changed)


def test_what_a_rewrite_is_made_from():
    rewriter = HistoricalExpansion(PASSAGES)
    assert rewriter.prompt_of(turn("c", "a", "b")) == "a\nb\nc"
    assert rewriter.order([turn("b"), turn("a")]) == [0, 1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"topic": 2.0, "subtopic": 2.5}, "subtopic is 2.5, above topic 2.0"),
        ({"window": -1}, "window is -1; use 0"),
        ({"topic": float("nan")}, "topic is nan; use a finite number"),
        ({"subtopic": float("-inf")}, "subtopic is -inf"),
        ({"ambiguous": float("inf")}, "ambiguous is inf"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(DiscoError, match=message):
        HistoricalExpansion(PASSAGES, **options)


def test_the_salience_is_that_of_the_search():
    assert HistoricalExpansion(PASSAGES).salience == bm25_salience(PASSAGES)
