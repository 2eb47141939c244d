import dataclasses

import numpy as np
import pytest

from disco_lib.collator import Collator
from disco_lib.distil_settings import DistilSettings
from disco_lib.document_side import FrozenDocuments
from disco_lib.errors import DiscoError
from disco_lib.exact_scores import ExactScores
from disco_lib.losses import Objective
from disco_lib.sampling import WindowSampler
from disco_lib.schedule import Example
from disco_lib.teachers import teach

LENGTH = 48
OBJECTIVE = Objective({"kl_divergence": 1.0, "info_nce": {"weight": 0.1, "negatives": "batch"}})
SETTINGS = DistilSettings(
    objective=OBJECTIVE.parts,
    sampler=WindowSampler(negatives=6, start=1, end=20),
    document_length=LENGTH,
    seed=5,
)


@pytest.fixture
def teacher(collection, encoder):
    return teach(collection, "train", ["gold"], encoder, 40, max_length=LENGTH)


@pytest.fixture
def frozen(collection, encoder):
    return FrozenDocuments(encoder.encode(collection.passage_texts(), LENGTH), OBJECTIVE)


@pytest.fixture
def collator(encoder, teacher, frozen):
    return Collator(encoder, teacher, frozen, SETTINGS, OBJECTIVE)


def test_a_batch_holds_what_its_examples_and_their_draws_say(collator, teacher):
    items = [(Example([2, 9, 3], 4, 7), 0), (Example([2, 9, 9, 3], 8, -1), 1)]
    batch = collator(items)
    assert batch["input_ids"][:, :4].tolist() == [[2, 9, 3, 0], [2, 9, 9, 3]]
    assert batch["attention_mask"][:, :4].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert not batch["attention_mask"][:, 4:].any()
    assert batch["chosen"].shape == batch["teacher_scores"].shape == (2, 7)
    assert batch["positive"].tolist() == [0, -1] and batch["chosen"][0, 0] == 7
    dense = batch["documents"].to_dense().numpy()
    chosen = batch["chosen"].numpy().ravel()
    np.testing.assert_array_equal(dense, collator.documents.rows[chosen].toarray())
    listed = dict(zip(*map(np.ndarray.tolist, teacher.ranking(8)), strict=True))
    for document, score in zip(batch["chosen"][1], batch["teacher_scores"][1], strict=True):
        assert listed[int(document)] == float(score)


def test_a_draw_depends_on_seed_epoch_and_turn_alone(collator):
    first, second = Example([2, 3], 4, 7), Example([2, 9, 3], 5, 8)
    together = collator([(first, 0), (second, 0)])["chosen"]
    turned = collator([(second, 0), (first, 0)])["chosen"]
    assert together.tolist() == turned.tolist()[::-1]
    assert collator([(first, 1)])["chosen"].tolist() != together[:1].tolist()


@pytest.mark.parametrize("kind", ["uniform", "stratified", "mixture"])
def test_documents_that_are_not_listed_have_the_teachers_exact_scores(
    collator, encoder, collection, kind
):
    short = teach(collection, "train", ["gold"], encoder, 5, max_length=LENGTH)
    parts = [{"kind": "top", "negatives": 9}, {"kind": "uniform", "negatives": 6}]
    own = {"parts": parts} if kind == "mixture" else {"negatives": 15}
    wanted = DistilSettings.from_dict({"sampler": {"kind": kind, **own}})
    exact = ExactScores(short.queries, collator.documents.rows)
    asked = dataclasses.replace(collator, teacher=short, settings=wanted, exact=exact)
    without = dataclasses.replace(asked, exact=None)
    items = [(Example([2, 9, 3], 4, 7), 0), (Example([2, 9, 9, 3], 8, -1), 1)]
    batch, plain = asked(items), without(items)
    assert batch["chosen"].tolist() == plain["chosen"].tolist()
    for i, row in enumerate((4, 8)):
        chosen = batch["chosen"][i].numpy()
        product = collator.documents.rows[chosen] @ short.queries[row].toarray().ravel()
        np.testing.assert_allclose(batch["teacher_scores"][i], product, rtol=1e-5)
        listed = np.isin(chosen, short.ranking(row)[0])
        assert not plain["teacher_scores"][i].numpy()[~listed].any()
        assert not listed.all() and product[~listed].any()


def test_a_window_asks_for_no_exact_score(collator, teacher):
    class NotAsked:
        def of(self, row, documents):
            raise AssertionError

    items = [(Example([2, 9, 3], 4, 7), 0)]
    found = dataclasses.replace(collator, exact=NotAsked())(items)
    assert found["teacher_scores"].tolist() == collator(items)["teacher_scores"].tolist()


def test_a_kl_over_the_batch_has_the_teachers_scores_of_all_its_documents(collator, teacher):
    objective = Objective({"kl_divergence": {"weight": 1.0, "documents": "batch"}})
    items = [(Example([2, 9, 3], 4, 7), 0), (Example([2, 9, 9, 3], 8, -1), 1)]
    assert "all_teacher_scores" not in collator(items)
    asked = dataclasses.replace(collator, objective=objective)
    with pytest.raises(DiscoError, match="over the batch needs the teacher's exact scores"):
        asked(items)
    rows = collator.documents.rows
    batch = dataclasses.replace(asked, exact=ExactScores(teacher.queries, rows))(items)
    product = (teacher.queries[[4, 8]] @ rows[batch["chosen"].numpy().ravel()].T).toarray()
    np.testing.assert_allclose(batch["all_teacher_scores"], product, rtol=1e-5)
    assert batch["all_teacher_scores"].dtype == batch["teacher_scores"].dtype


def test_vectors_of_the_teacher_come_where_a_part_looks_at_them(collator, encoder, teacher):
    items = [(Example([2, 9, 3], 4, 7), 0), (Example([2, 9, 9, 3], 8, -1), 1)]
    assert "teacher_queries" not in collator(items)
    for part in ("representation_mse", "filtered_representation_mse"):
        asked = dataclasses.replace(collator, objective=Objective({part: 1.0}))
        found = asked(items)["teacher_queries"].numpy()
        np.testing.assert_array_equal(found, teacher.queries[[4, 8]].toarray())
