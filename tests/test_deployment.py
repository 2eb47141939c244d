import numpy as np
import pytest

from disco_lib.deployment import serve_bm25, serve_dense, serving_rows, weight_bytes
from disco_lib.errors import DiscoError


@pytest.fixture
def asked(collection):
    turns = [turn for turn in collection.iter_turns("test") if turn.history]
    return [turn.rewrites["gold"] for turn in turns], [turn.turn_id for turn in turns]


def test_a_row_a_system_on_the_same_queries(dense_encoder, collection, asked):
    passages = dense_encoder.encode(collection.passage_texts(), 32)
    size = weight_bytes(dense_encoder)
    systems = [
        serve_dense("dense", dense_encoder, passages, collection.pids, size, max_length=32),
        serve_bm25("BM25", collection.passage_texts(), collection.pids),
    ]
    dense, lexical = serving_rows(systems, *asked, collection.qrels("test"), batch=4, repeats=1)
    assert (dense["system"], lexical["system"]) == ("dense", "BM25")
    for row in (dense, lexical):
        assert 0 < row["ms a query"] <= row["ms, 95 %"] and row["queries a second"] > 0
    queries = dense_encoder.encode(asked[0], 32)
    order = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :10]
    relevant = {t.turn_id: t.positives[0] for t in collection.iter_turns("test")}
    ranks = [
        [collection.pids[place] for place in row].index(relevant[name]) + 1
        if relevant[name] in {collection.pids[place] for place in row}
        else np.inf
        for name, row in zip(asked[1], order, strict=True)
    ]
    assert dense["MRR@10"] == pytest.approx(np.mean([1 / r for r in ranks]), abs=1e-4)
    assert dense["index, MB"] == round(passages.nbytes / 1e6, 3)
    assert dense["weights, MB"] == round(size / 1e6, 2) and lexical["weights, MB"] == 0


def test_bytes_are_those_of_the_parameters(dense_encoder):
    expected = sum(p.numel() for p in dense_encoder.parameters()) * 4
    assert weight_bytes(dense_encoder) == expected


def test_each_query_needs_an_id(collection):
    with pytest.raises(DiscoError, match="1 queries, 2 ids"):
        serving_rows([], ["a"], ["x", "y"], collection.qrels("test"))
    with pytest.raises(DiscoError, match="0 queries"):
        serving_rows([], [], [], collection.qrels("test"))
