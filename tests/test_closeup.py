"""Queries seen up close: the same ranks, terms and values as the parts they are made of."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from disco_lib.bm25 import bm25_search, bm25_terms
from disco_lib.closeup import (
    Look,
    evaluate_queries,
    look,
    relevant_pids,
    side_by_side,
    telling_turn,
    titles,
    transcript,
    weighted_terms,
)
from disco_lib.conversations import Turn, context_ids
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.tiers import Tier

SYSTEMS = {
    "bm25": {"run": "bm25", "input": "conversation", "label": "BM25"},
    "plain": {"run": "encoder", "input": "conversation", "label": "Plain"},
    "alone": {"run": "encoder", "input": "utterance"},
    "rewrite": {"run": "encoder", "input": "rewrite:gold"},
    "student": {"run": "student", "teachers": ["gold"]},
}


@pytest.fixture
def lab(collection_folder, encoder_folder) -> Laboratory:
    tier = Tier(
        name="trial", what="a trial", data=str(collection_folder), train="train", test="test",
        encoder=str(encoder_folder), seeds=(5, 6), depth=45, teacher_depth=45,
        evaluation={"later_turns": False, "remove_earlier_answers": False},
        distil={
            "limits": {"utterance": 20, "answer": 20, "total": 48}, "document_length": 24,
            "sampler": {"negatives": 4, "start": 0, "end": 40}, "epochs": 1, "batch_size": 8,
            "learning_rate": 1e-2,
        },
        systems=SYSTEMS,
    )  # fmt: skip
    return Laboratory(tier, progress=False)


def turn(utterance, history=(), kind=None, turn_id="t", answer=""):
    return Turn("c", turn_id, utterance, tuple(history), answer, {}, (), kind, {})


def last(lab):
    return [t for t in lab.turns("test") if t.depth == 3][0]


def test_an_encoder_is_followed_as_the_measurement_does_it(lab):
    chosen = last(lab)
    seen = look(lab, "plain", chosen)
    ids = context_ids(chosen, "conversation", lab.encoder.tokenizer, lab.base_settings.limits)
    vector = lab.encoder.encode([ids], 48).toarray()[0]
    scores = lab.documents.toarray() @ vector
    assert seen.pids[0] == lab.collection.pids[int(np.argmax(scores))]
    assert len(seen.terms) == (vector > 0).sum()
    assert list(seen.terms.values()) == sorted(vector[vector > 0].tolist(), reverse=True)
    place = {c: i for i, c in enumerate(lab.measure("plain").turn_ids)}[chosen.turn_id]
    assert seen.rank == round(1 / lab.measure("plain").per_turn("MRR")[place])
    assert seen.label == "Plain" and seen.reads.startswith(chosen.utterance)


def test_bm25_is_followed_by_its_stems(lab):
    seen = look(lab, "bm25", last(lab))
    assert seen.terms == bm25_terms(lab.collection.passage_texts(), seen.reads)
    assert seen.rank == seen.pids.index(next(iter(relevant_pids(lab, last(lab))))) + 1


def test_a_student_is_the_one_of_the_seed_asked_for(lab):
    first, again, other = (look(lab, "student", last(lab), seed) for seed in (None, 5, 6))
    assert first == again
    assert first.terms != other.terms
    assert first.terms != look(lab, "plain", last(lab)).terms


def test_earlier_answers_leave_a_ranking_where_the_tier_says_so(lab):
    before = look(lab, "plain", last(lab))
    chosen = last(lab)
    said = {f"{chosen.conv_id}-{aspect}" for aspect in ("made", "cost", "history")}
    said -= set(chosen.positives)
    assert said <= set(before.pids)
    strict = dataclasses.replace(lab.tier, evaluation={"remove_earlier_answers": True})
    after = look(Laboratory(strict, progress=False), "plain", chosen)
    assert after.pids == [pid for pid in before.pids if pid not in said]


def test_evaluate_queries_gives_what_measure_gives(lab):
    turns = lab.turns("test")
    limits = lab.base_settings.limits
    ids = [context_ids(t, "conversation", lab.encoder.tokenizer, limits) for t in turns]
    found = evaluate_queries(lab, lab.encoder.encode(ids, limits.total), turns)
    np.testing.assert_allclose(found.values["MRR"], lab.measure("plain").per_turn("MRR"), atol=1e-6)


def test_queries_without_an_active_term_find_nothing(lab):
    empty = sparse.csr_matrix((15, lab.encoder.vocabulary_size), dtype=np.float32)
    assert evaluate_queries(lab, empty, lab.turns("test")).mean()["R@100"] == 0


def test_weighted_terms_are_sorted_by_weight_then_name(encoder):
    vocabulary = encoder.tokenizer.get_vocab()
    row = np.zeros((1, encoder.vocabulary_size), dtype=np.float32)
    row[0, [vocabulary[w] for w in ("lemon", "tea", "coffee")]] = [0.5, 2.0, 0.5]
    terms = weighted_terms(sparse.csr_matrix(row), encoder.tokenizer)
    assert list(terms.items()) == [("tea", 2.0), ("coffee", 0.5), ("lemon", 0.5)]
    with pytest.raises(DiscoError, match="one vector, not 2"):
        weighted_terms(sparse.csr_matrix(np.vstack([row, row])), encoder.tokenizer)


def record(ranks):
    class Measured:
        turn_ids = list(ranks)

        def per_turn(self, metric):
            assert metric == "MRR"
            return np.array([1 / rank for rank in ranks.values()])

    return Measured()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [((None, None, None, None), "c"), (("ellipsis", None, "ellipsis", "ellipsis"), "a")],
    ids=["shortest", "ellipsis first"],
)
def test_the_telling_turn_shows_the_problem(lab, monkeypatch, kinds, expected):
    # d is shorter but the utterance finds it; c is the shortest that fits; a is an ellipsis.
    texts = {"a": "a longer one", "b": "the longest of all", "c": "short", "d": "it"}
    turns = [turn(t, turn_id=i, kind=k) for (i, t), k in zip(texts.items(), kinds, strict=True)]
    turns = [dataclasses.replace(t, kind=None) if t.turn_id == "c" else t for t in turns]
    monkeypatch.setattr(lab, "turns", lambda split: turns)
    records = {
        "rewrite": record({"a": 1, "b": 1, "c": 1, "d": 1}),
        "alone": record({"a": 11, "b": 50, "c": 20, "d": 10}),
        "plain": record({"a": 3, "b": 9, "c": 4, "d": 3}),
    }
    monkeypatch.setattr(lab, "measure", lambda name: records[name])
    assert telling_turn(lab, "rewrite", "alone", "plain").turn_id == expected
    records["plain"] = record({"a": 2, "b": 1, "c": 2, "d": 1})
    with pytest.raises(DiscoError, match="No turn that rewrite finds"):
        telling_turn(lab, "rewrite", "alone", "plain")


def test_transcript_is_the_conversation_in_order_and_in_width():
    history = [("Who won?", "A very long answer " * 6), ("And then?", "")]
    lines = transcript(turn("Why?", history), width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == [
        "user", "system", "user", "system", "user",
    ]  # fmt: skip
    assert lines[-1].split() == ["user:", "Why?"]
    assert "(no answer is kept)" in lines[-2]


def test_a_passage_is_named_by_its_title_or_its_beginning(lab):
    name = titles(lab)["lemon-cost"]
    assert name.startswith("the price of a good lemon") and name.endswith("...")


def test_side_by_side_ticks_relevant_results_and_says_what_was_not_found():
    seen = Look("x", "X", "text", {"a": 1.0}, ["p1", "p2"], None)
    (row,) = side_by_side([seen], {"p1": "One", "p2": "Two"}, {"p2"}, k=3)
    assert row["rank of a relevant passage"] == "not found"
    assert (row["result 1"], row["result 2"]) == ("One", "Two ✓")
    assert "result 3" not in row


def test_bm25_terms_are_what_a_search_adds_up_where_length_and_count_do_not_matter():
    # With k1 = 0 a passage's score is the sum of idf over the query's stems that it holds.
    passages = ["glaciers melt in summer", "summer wine and summer bread", "old bread"]
    query = "Do glaciers melt faster in a summer of summers?"
    terms = bm25_terms(passages, query)
    run = bm25_search(passages, ["p1", "p2", "p3"], [query], ["q"], 3, k1=0.0).to_dict()["q"]
    assert run["p1"] == pytest.approx(terms["glacier"] + terms["melt"] + terms["summer"])
    assert run["p2"] == pytest.approx(terms["summer"])
    assert "p3" not in run and "faster" not in terms
    assert list(terms.values()) == sorted(terms.values(), reverse=True)
