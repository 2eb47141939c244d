import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.pairs import (
    Extraction,
    Pair,
    PairCounts,
    extract,
    load_pairs,
    pairs_of_collection,
    pairs_of_qrecc,
    save_pairs,
)

ANSWER = "It was built in 1889."
#: A turn as QReCC writes it.
TURN = {
    "Context": ["who built the tower", "Gustave Eiffel's company."],
    "Question": "when was that",
    "Rewrite": "when was the Eiffel tower built",
    "Answer": ANSWER,
    "Answer_URL": "https://example.org/tower",
    "Conversation_no": 7,
    "Turn_no": 2,
    "Conversation_source": "quac",
}


def write(tmp_path, turns):
    path = tmp_path / "qrecc_train.json"
    path.write_text(json.dumps(turns), encoding="utf-8")
    return path


def turn(**fields):
    return {key: value for key, value in {**TURN, **fields}.items() if value is not ...}


# QReCC


def test_a_turn_of_qrecc(tmp_path):
    found = pairs_of_qrecc(write(tmp_path, [TURN]))
    expected = Pair("7_2", "when was the Eiffel tower built", ANSWER, "Rewrite", "Answer")
    assert found.pairs == [expected]
    counts = PairCounts(1, 0, 0, 0, 0, 0, 1, {"Rewrite": 1}, {"Answer": 1})
    assert found.counts == counts


@pytest.mark.parametrize(
    ("fields", "field", "query"),
    [
        ({}, "Rewrite", "when was the Eiffel tower built"),
        ({"Rewrite": "  padded rewrite\n"}, "Rewrite", "padded rewrite"),
        ({"Rewrite": " \t"}, "Question", "when was that"),
        ({"Rewrite": None}, "Question", "when was that"),
        ({"Rewrite": ..., "Question": ..., "query": "a bare query"}, "query", "a bare query"),
        ({"Rewrite": ..., "Question": "", "query": "a bare query"}, "query", "a bare query"),
    ],
)
def test_the_query_by_precedence(tmp_path, fields, field, query):
    (found,) = pairs_of_qrecc(write(tmp_path, [turn(**fields)])).pairs
    assert (found.query_field, found.query) == (field, query)


@pytest.mark.parametrize(
    ("fields", "field", "document"),
    [
        ({}, "Answer", ANSWER),
        ({"Answer": "", "relevant_passages": ["", "first passage", "second"]},
         "relevant_passages", "first passage"),
        ({"Answer": ..., "relevant_passages": "the only passage"},
         "relevant_passages", "the only passage"),
        ({"Answer": " ", "relevant_passages": []},
         "Context", "who built the tower Gustave Eiffel's company."),
        ({"Answer": None}, "Context", "who built the tower Gustave Eiffel's company."),
    ],
)  # fmt: skip
def test_the_document_by_precedence(tmp_path, fields, field, document):
    (found,) = pairs_of_qrecc(write(tmp_path, [turn(**fields)])).pairs
    assert (found.document_field, found.document) == (field, document)


def test_every_step_is_counted(tmp_path):
    turns = [
        turn(),
        turn(Turn_no=3),
        turn(Rewrite="  when was the Eiffel tower built "),
        turn(Rewrite=..., Question=" "),
        turn(Answer="", Context=[]),
        turn(Rewrite="why?"),
        turn(Rewrite="is it tall", Answer="Yes."),
        turn(Rewrite="is it high", Answer="", Context=["a tower", "high"]),
    ]
    found = pairs_of_qrecc(write(tmp_path, turns))
    assert found.counts == PairCounts(
        turns=8, no_query=1, no_document=1, repeats=2, short_queries=1, short_documents=1, kept=2,
        query_fields={"Rewrite": 2}, document_fields={"Answer": 1, "Context": 1},
    )  # fmt: skip
    assert [pair.query for pair in found.pairs] == [
        "when was the Eiffel tower built", "is it high",
    ]  # fmt: skip


def test_lengths_are_characters_at_the_bound():
    rows = [("a", [("q", "q" * n)], [("d", "d" * m)]) for n, m in ((4, 10), (5, 9), (5, 10))]
    found = extract(rows)
    assert (found.counts.short_queries, found.counts.short_documents) == (1, 1)
    assert found.pairs[0].query == "qqqqq" and found.pairs[0].document == "d" * 10
    assert len(extract(rows, shortest_query=1, shortest_document=1).pairs) == 3


def test_turns_without_numbers_are_named_by_their_place(tmp_path):
    turns = [turn(), turn(Turn_no=..., Rewrite="another question")]
    assert [p.turn_id for p in pairs_of_qrecc(write(tmp_path, turns)).pairs] == ["7_2", "1"]


def test_no_turn_is_no_pair(tmp_path):
    found = pairs_of_qrecc(write(tmp_path, []))
    assert found == Extraction([], PairCounts(0, 0, 0, 0, 0, 0, 0, {}, {}))


TEXT = st.sampled_from(["", " ", "why", "who built it", " who built it ", "long enough to keep"])
ROWS = st.lists(
    st.tuples(
        st.just("t"),
        st.lists(st.tuples(st.sampled_from("ab"), TEXT), max_size=3),
        st.lists(st.tuples(st.sampled_from("cd"), TEXT), max_size=3),
    )
)


@settings(deadline=None, max_examples=100)
@given(ROWS)
def test_the_steps_account_for_every_turn(rows):
    found = extract(rows)
    counts = found.counts
    lost = counts.no_query + counts.no_document + counts.repeats
    assert (
        counts.turns
        == len(rows)
        == lost + counts.short_queries + counts.short_documents + len(found.pairs)
    )
    assert counts.kept == sum(counts.query_fields.values()) == sum(counts.document_fields.values())
    texts = [(pair.query, pair.document) for pair in found.pairs]
    assert len(set(texts)) == len(texts)
    for query, document in texts:
        assert query == query.strip() and len(query) >= 5
        assert document == document.strip() and len(document) >= 10


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "an object where a list of turns belongs"),
        ("[1]", "turn 0 is a number, not an object"),
        ("[{}, null]", "turn 1 is null"),
        ('[{"Rewrite": 5}]', r"field '\[0\].Rewrite': a number where a text belongs"),
        ('[{"Question": ["a"]}]', r"field '\[0\].Question': a list where a text"),
        ('[{"Context": [["a"]]}]', r"field '\[0\].Context': a list where a text"),
        ('[{"relevant_passages": {"text": "a"}}]', r"relevant_passages': an object where"),
        ("[\n{]", "qrecc.json:2: not JSON"),
        ('[{"Answer": "a", "Answer": "b"}]', "field 'Answer' is there twice"),
        ("", "not JSON"),
    ],
)
def test_files_of_another_form_are_named(tmp_path, content, problem):
    path = tmp_path / "qrecc.json"
    path.write_text(content)
    with pytest.raises(DataError, match=problem):
        pairs_of_qrecc(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="absent.json: cannot be read"):
        pairs_of_qrecc(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(DataError, match="latin.json: not JSON in UTF-8"):
        pairs_of_qrecc(tmp_path / "latin.json")


# Native form


def test_pairs_of_a_collection(collection):
    found = pairs_of_collection(collection, "train", "gold")
    turns = collection.iter_turns("train")
    assert found.counts.turns == found.counts.kept == len(turns) == 30
    assert [(p.turn_id, p.query, p.document) for p in found.pairs] == [
        (t.turn_id, t.rewrites["gold"], t.answer) for t in turns
    ]
    assert found.counts.document_fields == {"answer": 30}


def test_a_turn_without_that_rewrite_has_its_utterance(collection):
    found = pairs_of_collection(collection, "train", "long")
    assert found.counts.query_fields == {"rewrite": 20, "utterance": 10}
    third = found.pairs[2]
    assert third.query == collection.iter_turns("train")[2].utterance


def test_a_turn_without_an_answer_has_its_passage_or_its_history(collection, monkeypatch):
    import dataclasses

    first, second, third = collection.iter_turns("test")[:3]
    turns = [
        first,
        dataclasses.replace(second, answer=" "),
        dataclasses.replace(third, answer="", positives=()),
        dataclasses.replace(third, answer="", positives=(), history=(), turn_id="x"),
    ]
    monkeypatch.setattr(collection, "iter_turns", lambda split: turns)
    found = pairs_of_collection(collection, "test")
    texts = dict(zip(collection.pids, collection.passage_texts(), strict=True))
    assert [p.document for p in found.pairs] == [
        first.answer,
        texts[second.positives[0]],
        " ".join(said for pair in third.history for said in pair),
    ]
    assert [p.document_field for p in found.pairs] == ["answer", "positive", "history"]
    assert found.counts.no_document == 1


def test_what_a_collection_has_not_is_named(collection):
    with pytest.raises(DiscoError, match="no turn of 'train' has a rewrite 'human'.*gold, long"):
        pairs_of_collection(collection, "train", "human")
    with pytest.raises(DiscoError, match="no split 'dev'"):
        pairs_of_collection(collection, "dev")


# Saved


def test_pairs_there_and_back(tmp_path):
    kept = pairs_of_qrecc(write(tmp_path, [TURN, turn(Rewrite="wie hoch ist der Turm, ö?")]))
    save_pairs(tmp_path / "pairs.json", kept)
    assert load_pairs(tmp_path / "pairs.json") == kept
    assert "ö" in (tmp_path / "pairs.json").read_text("utf-8")


def test_changed_pairs_are_named(tmp_path):
    path = tmp_path / "pairs.json"
    save_pairs(path, pairs_of_qrecc(write(tmp_path, [TURN])))
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match="pairs.json: its bytes have changed"):
            load_pairs(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"pairs": [1], "counts": {}}', '{"pairs": 1}'])
def test_what_are_no_pairs_is_named(tmp_path, content):
    (tmp_path / "pairs.json").write_text(content)
    with pytest.raises(IntegrityError, match="pairs.json: not pairs"):
        load_pairs(tmp_path / "pairs.json")
    with pytest.raises(IntegrityError, match="absent.json: missing"):
        load_pairs(tmp_path / "absent.json")
