import json

import numpy as np
import pytest
from scipy import sparse

from disco_lib.conversations import Turn
from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.teachers import (
    DistillationRun,
    from_scores,
    mean_over_teachers,
    read_disco_json,
    teach,
)

PIDS = ["a", "b", "c", "d", "e"]


def run(scores, queries=None):
    made = from_scores(scores, PIDS, "test")
    made.queries = None if queries is None else sparse.csr_matrix(np.array(queries, np.float32))
    return made


def scores_of(made):
    """Return {turn: [(pid, score), ...]} in the run's order."""
    found = {}
    for row, turn in enumerate(made.turn_ids):
        documents, scores = made.ranking(row)
        found[turn] = [
            (made.pids[d], pytest.approx(float(s))) for d, s in zip(documents, scores, strict=True)
        ]
    return found


# Runs


def test_from_scores_sorts_and_fills_up():
    made = run({"t1": {"c": 1.0, "a": 3.0, "e": 2.0}, "t2": {}, "t3": {"b": 0.5}})
    assert len(made) == 3 and made.turn_ids == ["t1", "t2", "t3"]
    assert made.documents.tolist() == [[0, 4, 2], [-1, -1, -1], [1, -1, -1]]
    assert made.scores.tolist() == [[3, 2, 1], [0, 0, 0], [0.5, 0, 0]]
    assert made.documents.dtype == np.int32 and made.scores.dtype == np.float32
    documents, scores = made.ranking(2)
    assert (documents.tolist(), scores.tolist()) == ([1], [0.5])
    assert made.ranking(1)[0].tolist() == []
    assert made.to_run().to_dict() == {"t1": {"a": 3, "e": 2, "c": 1}, "t3": {"b": 0.5}}


def test_from_scores_keeps_the_order_of_equal_scores():
    made = run({"t1": {"d": 1.0, "b": 1.0, "e": 2.0, "a": 1.0}})
    assert made.documents.tolist() == [[4, 3, 1, 0]]


def test_a_document_of_another_collection_is_named():
    with pytest.raises(DiscoError, match="test: turn 't1' lists 'z', which the collection"):
        run({"t1": {"a": 1.0, "z": 2.0}})


def test_the_run_of_some_turns():
    scores = {"t1": {"a": 1.0}, "t2": {"b": 2.0, "c": 1.0}, "t3": {"d": 3.0}}
    made = run(scores, queries=np.eye(3))
    some = made.of_turns(["t3", "t2", "unknown"])
    assert (
        some.turn_ids == ["t2", "t3"] and some.queries.toarray().tolist() == np.eye(3)[1:].tolist()
    )
    assert scores_of(some) == {turn: scores_of(made)[turn] for turn in ("t2", "t3")}
    assert len(made) == 3 and run(scores).of_turns({"t1"}).queries is None
    with pytest.raises(DiscoError, match="none of these turns"):
        made.of_turns(["unknown"])


# The mean over teachers

FIRST = {"t1": {"a": 4.0, "b": 3.0, "c": 1.0}, "t2": {"e": 1.0}}
SECOND = {"t1": {"b": 6.0, "d": 2.0}, "t3": {"a": 2.0}}
#: What the teachers would say of documents that they do not list for t1.
UNLISTED = {(0, "d"): 0.5, (1, "a"): 1.0, (1, "c"): 0.25}


def score(teacher, turn_id, positions):
    assert turn_id == "t1", "t2 and t3 have one teacher, who is not asked about his own documents"
    return np.array([UNLISTED[teacher, PIDS[p]] for p in positions])


def test_mean_with_rescoring_by_hand():
    # a (4 + 1) / 2, b (3 + 6) / 2, c (1 + 1/4) / 2, d (1/2 + 2) / 2
    found = scores_of(mean_over_teachers([run(FIRST), run(SECOND)], "rescore", score))
    assert found["t1"] == [("b", 4.5), ("a", 2.5), ("d", 1.25)]
    assert found["t2"] == [("e", 1.0)] and found["t3"] == [("a", 2.0)]


def test_mean_over_those_that_list_the_document_by_hand():
    # a 4, b (3 + 6) / 2, c 1, d 2
    found = scores_of(mean_over_teachers([run(FIRST), run(SECOND)], "available"))
    assert found["t1"] == [("b", 4.5), ("a", 4.0), ("d", 2.0)]
    assert found["t2"] == [("e", 1.0)] and found["t3"] == [("a", 2.0)]


def test_mean_with_zero_for_what_is_not_listed_by_hand():
    # a 4 / 2, b (3 + 6) / 2, c 1 / 2, d 2 / 2
    found = scores_of(mean_over_teachers([run(FIRST), run(SECOND)], "zero"))
    assert found["t1"] == [("b", 4.5), ("a", 2.0), ("d", 1.0)]
    # A teacher without a rewrite of the turn is none of its teachers.
    assert found["t2"] == [("e", 1.0)] and found["t3"] == [("a", 2.0)]


def test_the_mean_keeps_the_deepest_teachers_depth_and_ties_the_collections_order():
    made = mean_over_teachers([run({"t": {"e": 1.0, "c": 1.0}}), run({"t": {"a": 1.0}})], "zero")
    assert made.documents.shape == (1, 2)
    assert scores_of(made)["t"] == [("a", 0.5), ("c", 0.5)]


def test_one_teacher_is_its_own_mean():
    for missing in ("rescore", "available", "zero"):
        made = mean_over_teachers([run(FIRST)], missing)
        assert scores_of(made) == scores_of(run(FIRST))


def test_turns_come_in_the_order_asked_for():
    runs = [run(FIRST, [[1, 0], [0, 2]]), run(SECOND, [[3, 0], [0, 4]])]
    made = mean_over_teachers(runs, "zero", order=["t3", "t9", "t1", "t2"])
    assert made.turn_ids == ["t3", "t1", "t2"]
    assert made.queries.toarray().tolist() == [[0, 4], [2, 0], [0, 2]]
    assert mean_over_teachers(runs, "zero").turn_ids == ["t1", "t2", "t3"]


def test_turns_may_be_left_out():
    runs = [run(FIRST, [[1, 0], [0, 2]]), run(SECOND, [[3, 0], [0, 4]])]
    made = mean_over_teachers(runs, "zero", order=["t2", "t1"])
    assert made.turn_ids == ["t2", "t1"]
    assert made.queries.toarray().tolist() == [[0, 2], [2, 0]]


def test_query_vectors_are_left_out_where_a_teacher_has_none():
    assert mean_over_teachers([run(FIRST, [[1], [1]]), run(SECOND)], "zero").queries is None


def test_means_that_cannot_be_made_are_named():
    with pytest.raises(DiscoError, match="missing 'skip'; allowed: rescore, available, zero"):
        mean_over_teachers([run(FIRST)], "skip")
    with pytest.raises(DiscoError, match='missing="rescore" needs a scorer'):
        mean_over_teachers([run(FIRST), run(SECOND)])
    other = from_scores({"t1": {"a": 1.0}}, ["a", "x"], "other")
    with pytest.raises(DiscoError, match="different collections"):
        mean_over_teachers([run(FIRST), other], "zero")
    with pytest.raises(DiscoError, match="No teacher"):
        mean_over_teachers([], "zero")


# Teaching


def test_teach_lists_the_best_documents_of_each_rewrite(collection, encoder):
    made = teach(collection, "train", ["gold"], encoder, depth=7, max_length=64)
    turns = collection.iter_turns("train")
    assert made.turn_ids == [turn.turn_id for turn in turns] and made.pids == collection.pids
    documents = encoder.encode(collection.passage_texts(), 64).toarray()
    for row, turn in enumerate(turns):
        query = encoder.encode([turn.rewrites["gold"]], 64).toarray()[0]
        np.testing.assert_allclose(made.queries[row].toarray()[0], query, atol=1e-5)
        expected = np.sort(documents @ query)[::-1][:7]
        chosen, scores = made.ranking(row)
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        np.testing.assert_allclose((documents @ query)[chosen], scores, atol=1e-4)
    assert made.settings["collection"] == collection.fingerprint
    assert made.settings["encoder"] == encoder.fingerprint()
    assert made.settings["rewrites"] == ["gold"] and made.settings["depth"] == 7


def test_the_mean_of_scores_is_the_score_of_the_mean_query(collection, encoder):
    # Every third turn has no "long" rewrite: its mean is the other teacher's score.
    made = teach(collection, "train", ["gold", "long"], encoder, depth=45, max_length=64)
    documents = encoder.encode(collection.passage_texts(), 64)
    alone = {
        name: teach(collection, "train", [name], encoder, 45, max_length=64)
        for name in ("gold", "long")
    }
    assert len(alone["gold"]) == 30 and len(alone["long"]) == 20
    for row, turn in enumerate(collection.iter_turns("train")):
        chosen, scores = made.ranking(row)
        product = (documents[chosen] @ made.queries[row].T).toarray().ravel()
        np.testing.assert_allclose(scores, product, atol=1e-4)
        own = [t.queries[t.turn_ids.index(turn.turn_id)] for t in alone.values()
               if turn.turn_id in t.turn_ids]  # fmt: skip
        assert len(own) == (1 if turn.turn_id.endswith("3") else 2)
        np.testing.assert_allclose(
            made.queries[row].toarray(), sum(own).toarray() / len(own), atol=1e-5
        )


def test_rescoring_asks_each_teacher_about_the_others_documents(collection, encoder):
    # Cut to 3, the teachers list different documents; all means must be those of full depth.
    shallow = teach(collection, "train", ["gold", "long"], encoder, 3, "rescore", 64)
    full = teach(collection, "train", ["gold", "long"], encoder, 45, "rescore", 64)
    zero = teach(collection, "train", ["gold", "long"], encoder, 3, "zero", 64)
    for row in range(30):
        everywhere = dict(zip(*map(np.ndarray.tolist, full.ranking(row)), strict=True))
        for document, value in zip(*shallow.ranking(row), strict=True):
            assert value == pytest.approx(everywhere[document], abs=1e-4)
    assert not np.allclose(zero.scores, shallow.scores, atol=1e-3)


def test_teaching_twice_gives_the_same(collection, encoder):
    first, second = (teach(collection, "train", ["gold"], encoder, 9, max_length=64) for _ in "ab")
    np.testing.assert_array_equal(first.documents, second.documents)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_a_rewrite_that_no_turn_has_is_named(collection, encoder):
    with pytest.raises(DiscoError, match="no turn of 'train' has a rewrite called 'llama' or 'x'"):
        teach(collection, "train", ["llama", "x"], encoder, 5, max_length=64)


def test_a_blank_rewrite_is_no_rewrite(collection, encoder, monkeypatch):
    kept = collection.iter_turns("train")[:3]
    blank = Turn("x", "x_1", "why?", (), "", {"gold": "  "}, (), None, {})
    monkeypatch.setattr(collection, "iter_turns", lambda split: [*kept, blank])
    made = teach(collection, "train", ["gold"], encoder, 5, max_length=64)
    assert made.turn_ids == [turn.turn_id for turn in kept]


# Files


@pytest.fixture
def made(collection, encoder):
    return teach(collection, "train", ["gold"], encoder, 12, max_length=64)


@pytest.mark.parametrize("suffix", [".json", ".trec", ""])
def test_there_and_back(made, tmp_path, suffix):
    path = tmp_path / f"teacher{suffix}"
    made.save(path)
    again = DistillationRun.load(path, made.pids)
    # A ranx run is in the order of its names.
    expected = sorted(made.turn_ids) if suffix == ".trec" else made.turn_ids
    assert (again.turn_ids, again.pids) == (expected, made.pids)
    rows = [again.turn_ids.index(turn) for turn in made.turn_ids]
    np.testing.assert_array_equal(again.scores[rows], made.scores)
    np.testing.assert_array_equal(again.documents[rows], made.documents)
    if suffix:
        assert again.queries is None
    else:
        assert again.settings == made.settings
        assert (again.queries != made.queries).nnz == 0


def test_disco_json_is_as_the_papers_code_reads_it(tmp_path):
    run({"t1": {"a": 1.5, "b": 0.125}, "t2": {"c": 3.0}}).save(tmp_path / "teacher.json")
    content = json.loads((tmp_path / "teacher.json").read_text())
    assert content == {"t1": {"a": 1.5, "b": 0.125}, "t2": {"c": 3.0}}
    assert list(content["t1"]) == ["a", "b"]


def test_shorter_rankings_and_ties_survive_every_form(tmp_path):
    ties = {pid: 0.5 for pid in reversed(PIDS)}
    made = run({"t1": {"a": 1.5, "b": 0.1}, "t2": ties})
    for name in ("teacher.json", "teacher.trec", "teacher"):
        made.save(tmp_path / name)
        again = DistillationRun.load(tmp_path / name, PIDS)
        assert scores_of(again) == scores_of(made), name


def test_another_collection_is_refused(made, tmp_path):
    for name, problem in (
        ("teacher", "made on another collection. Run `disco teach`"),
        ("teacher.json", "which the collection does not hold"),
        ("teacher.trec", "which the collection does not hold"),
    ):
        made.save(tmp_path / name)
        with pytest.raises(DiscoError, match=problem):
            DistillationRun.load(tmp_path / name, ["another"])
    with pytest.raises(DiscoError, match="another collection"):
        DistillationRun.load(tmp_path / "teacher", made.pids[::-1])


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ('{"t1": {"a": 1.0},\n "t2": {"a" 2.0}\n}', 2, "not JSON"),
        ("", 1, "not JSON"),
        ("[1, 2]", 1, "a list, not an object"),
        ('{"t1": ["a"]}', None, "field 't1': not an object of scores"),
        ('{"t1": {"a": "high"}}', None, "field 't1': score of 'a' is 'high'"),
        ('{"t1": {"a": NaN}}', None, "field 't1': score of 'a' is nan"),
        ('{"t1": {"a": true}}', None, "field 't1': score of 'a' is True"),
        ('{"t1": {"a": null}}', None, "field 't1': score of 'a' is None"),
        ('{"t1": {"a": 1e999}}', None, "field 't1': score of 'a' is inf"),
    ],
)
def test_malformed_json_is_named_with_its_line(tmp_path, content, line, problem):
    path = tmp_path / "teacher.json"
    path.write_text(content)
    with pytest.raises(DataError, match=problem) as caught:
        DistillationRun.load(path, PIDS)
    assert caught.value.line == line
    assert str(caught.value).startswith(str(path) if line is None else f"{path}:{line}: ")
    assert "{turn_id: {pid: score}}" in str(caught.value)


def test_other_encodings_and_missing_files_are_named(tmp_path):
    path = tmp_path / "teacher.json"
    path.write_bytes('{"ä": {}}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8 text. Save it as UTF-8"):
        read_disco_json(path)
    for name, problem in (
        ("none.json", "no such distillation run"),
        ("none.trec", "no such run"),
        ("none", "no MANIFEST"),
    ):
        with pytest.raises(DiscoError, match=problem):
            DistillationRun.load(tmp_path / name, PIDS)


def test_a_changed_file_of_the_folder_is_named(made, tmp_path):
    made.save(tmp_path / "teacher")
    for path in sorted((tmp_path / "teacher").rglob("*.npy")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=f"{path}: its bytes have changed.*disco teach"):
            DistillationRun.load(tmp_path / "teacher", made.pids)
        path.write_bytes(content)
    assert len(DistillationRun.load(tmp_path / "teacher", made.pids)) == 30


def test_a_folder_of_something_else_is_refused(encoder_folder, tmp_path):
    from disco_lib.index import InvertedIndex

    InvertedIndex.build(sparse.csr_matrix(np.ones((1, 2), np.float32)), ["a"]).save(tmp_path / "x")
    with pytest.raises(IntegrityError, match="no distillation run of format disco-teacher-1"):
        DistillationRun.load(tmp_path / "x", PIDS)
