"""What a student sees in training: drawn as its training draws it, with ranks and masses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.arms import Draw, draws, masses, teacher_ranks
from disco_lib.errors import DiscoError
from disco_lib.experiments import Laboratory
from disco_lib.kl_estimate import teacher_mass
from disco_lib.sampling import Sample
from disco_lib.teachers import DistillationRun
from disco_lib.tiers import Tier

WINDOW = {"negatives": 6, "start": 1, "end": 20}
DISTIL = {
    "input": "conversation",
    "limits": {"utterance": 16, "answer": 16, "total": 48},
    "document_length": 48,
    "sampler": WINDOW,
    "objective": {"kl_divergence": 1.0},
    "steps": 4,
    "batch_size": 4,
    "learning_rate": 0.003,
}
WHOLE = {"kl_divergence": {"weight": 1.0, "documents": "batch"}}
SYSTEMS = {
    "window": {"run": "student", "teachers": ["gold"]},
    "uniform": {
        "run": "student",
        "teachers": ["gold"],
        "sampler": {"kind": "uniform", "negatives": 6},
    },
    "batch": {"run": "student", "teachers": ["gold"], "objective": WHOLE},
    "contrast": {"run": "student", "teachers": ["gold"], "objective": {"info_nce": 1.0}},
}


@pytest.fixture
def laboratory(collection_folder, encoder_folder):
    tier = Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        seeds=(1, 2), depth=40, teacher_depth=30,
        evaluation={"later_turns": True, "remove_earlier_answers": False},
        distil=DISTIL, systems=SYSTEMS,
    )  # fmt: skip
    return Laboratory(tier, progress=False)


def exact(laboratory, teacher, draw):
    query = teacher.queries[draw.row]
    return (laboratory.documents[draw.sample.documents] @ query.T).toarray().ravel()


def test_a_draw_is_what_training_draws(laboratory):
    teacher = laboratory.teacher_of("window")
    sampler = laboratory.student_settings("window").sampler
    place = {pid: i for i, pid in enumerate(teacher.pids)}
    turns = {turn.turn_id: turn for turn in laboratory.collection.iter_turns("train")}
    found = draws(laboratory, ["window"], steps=3, seed=2)["window"]
    assert len(found) == 12
    for draw in found:
        positive = place[turns[teacher.turn_ids[draw.row]].positives[0]]
        rng = np.random.default_rng([2, 0, draw.row])  # seed, epoch, turn
        expected = sampler.sample(*teacher.ranking(draw.row), positive, len(teacher.pids), rng)
        np.testing.assert_array_equal(draw.sample.documents, expected.documents)
        np.testing.assert_array_equal(draw.sample.scores, expected.scores)
        assert draw.sample.positive == expected.positive == 0


def test_arms_see_the_same_turns_in_the_same_order(laboratory):
    found = draws(laboratory, ["window", "uniform", "batch"], steps=2)
    rows = {name: [draw.row for draw in own] for name, own in found.items()}
    assert rows["window"] == rows["uniform"] == rows["batch"]
    other = draws(laboratory, ["window"], steps=2, seed=2)["window"]
    assert [draw.row for draw in other] != rows["window"]


def test_documents_that_the_run_does_not_list_have_exact_scores_and_rank_0(laboratory):
    teacher = laboratory.teacher_of("uniform")
    own = draws(laboratory, ["uniform"], steps=4)["uniform"]
    assert any((draw.ranks == 0).any() for draw in own)
    for draw in own:
        np.testing.assert_allclose(draw.sample.scores, exact(laboratory, teacher, draw), atol=1e-4)


def test_over_the_batch_every_document_of_its_turns_counts_once(laboratory):
    teacher = laboratory.teacher_of("batch")
    batch = draws(laboratory, ["batch"], steps=1)["batch"]
    single = draws(laboratory, ["window"], steps=1)["window"]
    union = set(np.concatenate([draw.sample.documents for draw in single]).tolist())
    for draw, own in zip(batch, single, strict=True):
        documents = draw.sample.documents.tolist()
        assert set(documents) == union and len(documents) == len(union)
        np.testing.assert_array_equal(documents[: len(own.sample.documents)], own.sample.documents)
        np.testing.assert_array_equal(
            draw.sample.scores[: len(own.sample.scores)], own.sample.scores
        )
        others = slice(len(own.sample.scores), None)
        np.testing.assert_allclose(
            draw.sample.scores[others], exact(laboratory, teacher, draw)[others], atol=1e-4
        )


def test_no_more_steps_than_the_training_has(laboratory):
    assert len(draws(laboratory, ["window"], steps=99)["window"]) == 16


def test_what_cannot_be_looked_at_is_named(laboratory):
    with pytest.raises(DiscoError, match="steps is 0"):
        draws(laboratory, ["window"], steps=0)
    with pytest.raises(DiscoError, match="contrast learns no KL"):
        draws(laboratory, ["contrast"], steps=1)
    with pytest.raises(DiscoError, match="no system 'none'"):
        draws(laboratory, ["none"], steps=1)


# Ranks and masses


def run_of(listed):
    pids = [f"p{i}" for i in range(40)]
    documents = np.full((1, 20), -1, dtype=np.int32)
    documents[0, : len(listed)] = listed
    scores = np.linspace(5, 1, 20, dtype=np.float32)[None]
    return DistillationRun(["t"], pids, documents, scores)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 39), unique=True, max_size=20))
def test_ranks_count_from_1_and_are_0_where_nothing_is_listed(listed):
    wanted = np.arange(40)
    expected = [listed.index(d) + 1 if d in listed else 0 for d in wanted]
    assert teacher_ranks(run_of(listed), 0, wanted).tolist() == expected


def test_masses_are_those_of_the_turns_own_ranking():
    teacher = run_of([3, 1, 2])
    sample = Sample(np.array([1, 30]), np.array([4.0, 0.0], dtype=np.float32), -1)
    (found,) = masses(teacher, [Draw(0, sample, np.array([2, 0]))])
    assert found == teacher_mass(sample, *teacher.ranking(0))
    assert 0 < found.mass < 1
