import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Run

from disco_lib.errors import DataError, DiscoError
from disco_lib.runs import read_trec, run_from_arrays, run_from_dict, write_trec


def as_lists(run):
    """Return {query: [(document, score), ...]} in the run's order."""
    return {query: list(docs.items()) for query, docs in run.to_dict().items()}


# Runs of arrays and dictionaries


def test_run_from_arrays_names_documents_and_skips_the_filling():
    documents = np.array([[2, 0, -1], [-1, -1, -1], [1, -1, -1]], dtype=np.int32)
    scores = np.array([[2.5, 1.0, 0.0], [0, 0, 0], [0.5, 0, 0]], dtype=np.float32)
    run = run_from_arrays(["a", "b", "c"], ["x", "y", "z"], documents, scores)
    assert isinstance(run, Run)
    assert as_lists(run) == {"a": [("z", 2.5), ("x", 1.0)], "c": [("y", 0.5)]}


def test_lengths_that_differ_are_an_error():
    with pytest.raises(ValueError):
        run_from_arrays(["a"], ["x"], np.zeros((2, 1), dtype=np.int32), np.ones((2, 1)))


@pytest.mark.parametrize("results", [{}, {"q": {}}])
def test_a_run_without_a_result(results, tmp_path):
    run = run_from_dict(results, name="empty")
    assert len(run) == 0 and run.name == "empty"
    write_trec(run, tmp_path / "run.trec")
    assert read_trec(tmp_path / "run.trec") == {}


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdö", min_size=1, max_size=9),
        st.dictionaries(
            st.text("xyz0123", min_size=1, max_size=9), st.integers(-3, 3).map(float), max_size=40
        ),
        max_size=6,
    )
)
def test_rankings_are_best_first_and_ties_keep_their_order(results):
    kept = as_lists(run_from_dict(results))
    assert list(kept) == sorted(query for query, docs in results.items() if docs)
    for query, docs in kept.items():
        assert docs == sorted(results[query].items(), key=lambda item: -item[1])


@pytest.mark.parametrize("n", [15, 16, 17, 100, 1000])
def test_many_equal_scores_keep_the_collections_order(n):
    ids = [f"d{i}" for i in range(n)]
    run = run_from_arrays(["q"], ids, np.arange(n)[None], np.ones((1, n)))
    assert list(run.to_dict()["q"]) == ids


def test_ranx_computes_with_our_runs():
    import ranx

    run = run_from_dict({"q1": {"aa": 2.0, "bb": 1.0}, "q2": {"bb": 3.0}}, "mine")
    qrels = ranx.Qrels({"q1": {"bb": 1}, "q2": {"bb": 1}})
    assert ranx.evaluate(qrels, run, "mrr") == pytest.approx(0.75)
    assert len(run) == 2 and run.name == "mine"


def test_a_runs_dictionary_is_the_callers_to_change():
    run = run_from_dict({"q": {"a": 1.0}})
    run.to_dict()["q"]["b"] = 2.0
    assert run.to_dict() == {"q": {"a": 1.0}}


# TREC files


def test_trec_there_and_back(tmp_path):
    path = tmp_path / "new" / "run.trec"
    scores = {"t_1": {"b": 2.0, "ä": 1 / 3, "c": 1 / 3, "d": -1e-9}, "t_2": {"a": 3e20}}
    write_trec(run_from_dict(scores), path, tag="mine")
    found = read_trec(path)
    assert {query: list(docs) for query, docs in found.items()} == {
        query: list(docs) for query, docs in scores.items()
    }
    for query, docs in scores.items():
        for document, score in docs.items():
            assert np.float32(found[query][document]) == np.float32(score)
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [
        "t_1 Q0 b 1 2 mine",
        "t_1 Q0 ä 2 0.333333333 mine",
    ]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_score_survives_its_nine_digits(score):
    assert np.float32(f"{score:.9g}") == np.float32(score)


def test_peers_read_the_file(tmp_path):
    import ir_measures

    write_trec(run_from_dict({"t_1": {"a": 1.0, "b": 2.0}}), tmp_path / "run.trec")
    found = [tuple(row) for row in ir_measures.read_trec_run(str(tmp_path / "run.trec"))]
    assert found == [("t_1", "b", 2.0), ("t_1", "a", 1.0)]


@pytest.mark.parametrize(
    ("query", "document", "tag"),
    [("a turn", "x", "t"), ("q", "a b", "t"), ("q", "a\u2003b", "t"), ("q", "x", "my system")],
)
def test_an_id_with_a_space_cannot_stand_in_a_trec_file(tmp_path, query, document, tag):
    path = tmp_path / "run.trec"
    spaced = next(name for name in (query, document, tag) if len(name.split()) > 1)
    with pytest.raises(DiscoError, match=re.escape(f"run.trec: {spaced!r} holds white space")):
        write_trec(run_from_dict({query: {document: 1.0}}), path, tag)
    assert not path.exists()


def test_blank_lines_and_tabs_are_fine(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("\nt_1\tQ0  x 1 2.5 tag\r\n\nt_1 Q0 y 2 1e-3 tag\n")
    assert read_trec(path) == {"t_1": {"x": 2.5, "y": 0.001}}


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("t_1 Q0 x 1 2.5", None, "5 columns, not 6"),
        ("t_1 Q0 x y 1 2.5 tag", None, "7 columns, not 6"),
        ("t_1 Q0 x 1 high tag", "score", "'high' is no finite number"),
        ("t_1 Q0 x 1 nan tag", "score", "'nan' is no finite number"),
        ("t_1 Q0 x 1 inf tag", "score", "'inf' is no finite number"),
        ("t_1 Q0 first 1 2 tag", "pid", "first stands twice"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, field, problem):
    path = tmp_path / "run.trec"
    path.write_text(f"t_1 Q0 first 1 3 tag\n{line}\n")
    with pytest.raises(DataError, match=problem) as caught:
        read_trec(path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (path, 2, field)


def test_a_missing_file_and_other_encodings_are_named(tmp_path):
    with pytest.raises(DiscoError, match=r"none\.trec: no such run"):
        read_trec(tmp_path / "none.trec")
    (tmp_path / "run.trec").write_bytes("t_1 Q0 ä 1 2 tag\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_trec(tmp_path / "run.trec")
