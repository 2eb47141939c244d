import pytest
from hypothesis import given
from hypothesis import strategies as st

from disco_lib.wording import (
    commonest_opening,
    distinct_ngrams,
    names_topic,
    near_duplicates,
    ngrams,
    shared_run,
    words,
)


def test_words_are_lower_case_without_punctuation():
    text = "It's 3.5 m — THE “violin's” été, co-op_s!"
    expected = ["it's", "3", "5", "m", "the", "violin's", "été", "co", "op", "s"]
    assert words(text) == expected


def test_ngrams():
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []


# Near-duplicates


def test_similarity_is_of_three_word_shingles():
    # Shingles abc bcd cde against abc bcd cdf: two of four are shared.
    assert near_duplicates(["a b c d e", "A, b; c d f."]) == [(0, 1, 0.5)]
    assert near_duplicates(["a b c d e", "a b c d f"], threshold=0.51) == []


def test_a_pair_just_at_the_threshold_is_found_where_only_common_shingles_are_shared():
    assert near_duplicates(["a b c d e f", "c d e f"]) == [(0, 1, 0.5)]


def test_the_order_of_words_counts():
    assert near_duplicates(["a b c d", "d c b a"]) == []


def test_the_same_text_pairs_with_the_first_only():
    assert near_duplicates(["a b c", "x y z", "a b c!", "A B C"]) == [(0, 2, 1.0), (0, 3, 1.0)]


def test_short_and_blank_texts():
    assert near_duplicates(["", "yes", "!?", "Yes.", "yes no"]) == [(1, 3, 1.0)]


_texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=8)


@given(texts=_texts, threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 1.0]))
def test_prefix_filtering_finds_what_comparing_all_pairs_finds(texts, threshold):
    shingles = [set(ngrams(words(t), 3) or [tuple(words(t))]) - {()} for t in texts]
    expected, first = [], {}
    for j, b in enumerate(shingles):
        earlier = first.setdefault(frozenset(b), j)
        if b and earlier < j:
            expected.append((earlier, j, 1.0))
        elif b:
            for i, a in enumerate(shingles[:j]):
                if a and first[frozenset(a)] == i and len(a & b) / len(a | b) >= threshold:
                    expected.append((i, j, len(a & b) / len(a | b)))
    assert sorted(near_duplicates(texts, threshold)) == sorted(expected)


# Shared runs


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("the bow has hair", "a bow has long hair", "bow has"),
        ("one two three", "One, two; THREE!", "one two three"),
        ("a b a b c", "b a b a b c", "a b a b c"),
        ("a a a", "a a", "a a"),
        ("x", "y", ""),
        ("", "a", ""),
        ("a", "", ""),
    ],
)
def test_shared_run(text, other, expected):
    assert " ".join(shared_run(text, other)) == expected


@given(st.lists(st.sampled_from("abc"), max_size=10), st.lists(st.sampled_from("abc"), max_size=10))
def test_the_shared_run_is_the_longest_there_is(a, b):
    found = shared_run(" ".join(a), " ".join(b))
    common = [n for n in range(1, 11) if set(ngrams(a, n)) & set(ngrams(b, n))]
    assert len(found) == max(common, default=0)
    assert not found or tuple(found) in set(ngrams(a, len(found))) & set(ngrams(b, len(found)))


# Diversity


def test_distinct_ngrams():
    # abcd bcde, abcd: two distinct of three.
    assert distinct_ngrams(["a b c d e", "a b c d"]) == pytest.approx(2 / 3)
    assert distinct_ngrams(["a b c d", "a b c d"], size=1) == pytest.approx(4 / 8)
    assert distinct_ngrams(["a b", ""]) == 1.0


def test_ngrams_do_not_reach_across_texts():
    assert distinct_ngrams(["a b", "c d", "a b", "c d"], size=3) == 1.0


def test_commonest_opening_counts_all_texts():
    texts = ["What is the bow?", "what is the, hair", "What is a bow?", "why?"]
    assert commonest_opening(texts) == ("what is the", 0.5)
    assert commonest_opening(["why?", ""]) == ("", 0.0)
    assert commonest_opening([]) == ("", 0.0)


# Topics


@pytest.mark.parametrize(
    ("utterance", "topic"),
    [
        ("Is the violin old?", "Violin"),
        ("are violins old", "violin"),
        ("the violin's neck", "Violin"),
        ("THE VIOLIN’S NECK", "violins"),
        ("why does sea ice float", "Sea ice"),
        ("two foxes and a ferry", "Fox"),
        ("old ferries", "Ferry"),
        ("what churches", "church"),
        ("is glass a liquid", "Glass"),
        ("blown glasses", "Glass"),
        ("what gas is it", "Gas"),
        ("the moon's age", "Moon (satellite)"),
    ],
)
def test_an_utterance_that_names_its_topic(utterance, topic):
    assert names_topic(utterance, topic)


@pytest.mark.parametrize(
    ("utterance", "topic"),
    [
        ("how old is it?", "Violin"),
        ("what about ice at sea", "Sea ice"),
        ("is it classical", "Class"),
        ("ice", "Sea ice"),
        ("", "Violin"),
        ("any", "(album)"),
        ("any", ""),
    ],
)
def test_an_utterance_that_does_not(utterance, topic):
    assert not names_topic(utterance, topic)
