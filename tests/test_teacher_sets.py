"""Sets of teachers: mean vectors and mean scores agree, and gaps in lists are counted."""

import numpy as np
import pytest
from scipy import sparse

from disco_lib.closeup import evaluate_queries
from disco_lib.conversations import Turn
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.plots import COLOURS, Point
from disco_lib.teacher_sets import (
    cut,
    disagreeing,
    entropy,
    gaps,
    mean_teachers,
    scores_on,
    set_panels,
    shared_best,
    sharpness,
    softmax,
    target_values,
    teacher_queries,
)
from disco_lib.teachers import DistillationRun
from disco_lib.tiers import Tier


@pytest.fixture
def lab(collection_folder, encoder_folder) -> Laboratory:
    tier = Tier(
        name="trial", what="a trial", data=str(collection_folder), train="train", test="test",
        encoder=str(encoder_folder), seeds=(5,), depth=45, teacher_depth=45,
        evaluation={"later_turns": True, "remove_earlier_answers": False},
        distil={"limits": {"utterance": 20, "answer": 20, "total": 48}, "document_length": 24},
        systems={
            "gold": {"run": "encoder", "input": "rewrite:gold"},
            "both": {"run": "aggregate", "inputs": ["rewrite:gold", "rewrite:long"]},
        },
    )  # fmt: skip
    return Laboratory(tier, progress=False)


def run(names, documents, scores=None, queries=None):
    documents = np.array(documents, np.int32)
    scores = np.ones(documents.shape, np.float32) if scores is None else scores
    return DistillationRun(names, list("abcdefgh"), documents, np.array(scores), queries)


# Teachers


def test_a_mean_teacher_is_the_aggregate_system(lab):
    turns, vectors = teacher_queries(lab, ["gold", "long"])
    found = mean_teachers(lab, turns, vectors, {"gold": ["gold"], "both": ["gold", "long"]})
    named, queries = lab.queries("both")
    assert [t.turn_id for t in turns] == [t.turn_id for t in named]
    expected = evaluate_queries(lab, queries, named)
    for metric, values in expected.values.items():
        assert found["both"].values[metric].tolist() == values.tolist()


def test_the_mean_of_scores_is_the_score_of_the_mean_vector(lab):
    single = [lab.teacher([name]) for name in ("gold", "long")]
    mean = lab.teacher(["gold", "long"])
    turn = single[1].turn_ids[0]
    places = np.arange(20)
    each = [scores_on(lab, teacher, turn, places) for teacher in single]
    assert scores_on(lab, mean, turn, places) == pytest.approx(np.mean(each, axis=0), abs=1e-4)


def test_turns_are_found_where_teachers_disagree_and_their_mean_is_right():
    names = ["same", "wrong", "deep", "short", "opening"]
    a = run(names, [[0], [0], [0], [0], [0]])
    b = run(names, [[0], [1], [1], [1], [1]])
    mean = run(names, [[0], [3], [2], [2], [2]])
    turns = [
        Turn("c", name, "u", (("x", "y"),) * (2 if name == "deep" else 1), "", {}, ("c",), None, {})
        for name in names[:4]
    ]
    turns.append(Turn("c", "opening", "u", (), "", {}, ("c",), None, {}))
    assert [t.turn_id for t in disagreeing([a, b], mean, turns)] == ["short", "deep"]


# Distributions


def test_entropy_is_that_of_the_softmax():
    assert entropy(np.zeros(4)) == pytest.approx(np.log(4))
    assert entropy(np.array([[100.0, 0.0], [0.0, 0.0]])) == pytest.approx([0.0, np.log(2)])
    assert softmax(np.array([1e4, 1e4 + np.log(3)])) == pytest.approx([0.25, 0.75])


def test_the_mean_of_opposed_teachers_is_flatter_than_either(lab):
    eye = sparse.csr_matrix(np.eye(8, lab.encoder.vocabulary_size, dtype=np.float32))
    lab.__dict__["ground"] = lambda name="": type("G", (), {"documents": eye})()
    a, b = np.zeros((2, 1, lab.encoder.vocabulary_size), np.float32)
    a[0, 0], b[0, 1] = 6.0, 6.0
    singles = [run(["q"], [list(range(8))], queries=sparse.csr_matrix(v)) for v in (a, b)]
    mean = run(["q"], [list(range(8))], queries=sparse.csr_matrix((a + b) / 2))
    found = sharpness(lab, singles, mean, window=8)
    assert found.singles.shape == (1, 2) and found.agreement.tolist() == [0.0]
    assert found.mean[0] > found.singles.max()
    assert found.mean[0] == pytest.approx(entropy(np.array([3.0, 3.0] + [0.0] * 6)))
    with pytest.raises(DiscoError, match="No turn"):
        sharpness(lab, [run(["other"], [[0]], queries=sparse.csr_matrix(a))], mean, 8)


# Gaps


def test_lists_are_cut_and_what_they_lack_is_counted(lab):
    teachers = [lab.teacher([name]) for name in ("gold", "long")]
    shallow, deep = (gaps(lab, teachers, d, ("rescore", "available", "zero")) for d in (3, 45))
    assert cut(teachers[0], 3).documents.shape[1] == 3
    assert 0 < shallow.missing <= 0.5 and deep.missing < shallow.missing
    assert set(shallow.by_way) == {"rescore", "available", "zero"}
    assert shared_best(shallow.by_way["zero"], shallow.by_way["zero"], 3) == 1.0
    assert shared_best(shallow.by_way["available"], shallow.by_way["rescore"], 3) <= 1.0


def test_target_values_judge_a_teacher_by_the_turns_positives(lab):
    teacher = lab.teacher(["gold"])
    turns = [t for t in lab.collection.iter_turns("train") if t.turn_id in set(teacher.turn_ids)]
    values = target_values(teacher, turns[:4])
    for turn, value in zip(turns, values, strict=False):
        places = teacher.ranking(teacher.turn_ids.index(turn.turn_id))[0].tolist()
        rank = places.index(teacher.pids.index(turn.positives[0])) + 1
        assert value == pytest.approx(1 / rank if rank <= 10 else 0.0)


# Figure


def test_panels_share_their_rows_and_mark_the_best():
    at = Point(0.5, 0.4, 0.6)
    figure = set_panels(
        {"Teachers": {"gold": at, "hqe": at}, "Students": {"gold": at, "gold+hqe": at}},
        {"Students": "gold+hqe"},
        "MRR@10",
        {"Teachers": ["hqe"]},
    )
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["gold", "hqe", "gold + hqe"]
    assert [t.get_text() for t in right.texts] == ["0.500", "0.500 best"]
    assert right.texts[1].get_color() == COLOURS[1]
    faces = [line.get_markerfacecolor() for line in left.get_lines() if line.get_marker() == "o"]
    assert faces == [COLOURS[0], "white"]
    with pytest.raises(DiscoError, match="at least one set"):
        set_panels({"Teachers": {}}, {}, "MRR@10")
