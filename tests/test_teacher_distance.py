import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax

from disco_lib.errors import DiscoError
from disco_lib.teacher_distance import kl_to_teacher


def vectors(rows, seed, width=12):
    drawn = np.random.default_rng(seed).random((rows, width)).astype(np.float32)
    return sparse.csr_matrix(np.where(drawn > 0.5, drawn, 0))


def test_it_is_the_kl_over_the_teachers_best_documents():
    student, teacher, documents = vectors(3, 0), vectors(3, 1), vectors(20, 2)
    found = kl_to_teacher(student, teacher, documents, depth=5)
    for i in range(3):
        t = (teacher[i] @ documents.T).toarray().ravel()
        s = (student[i] @ documents.T).toarray().ravel()
        best = np.argsort(-t, kind="stable")[:5]
        p, q = softmax(t[best].astype(float)), softmax(s[best].astype(float))
        assert found[i] == pytest.approx((p * np.log(p / q)).sum(), abs=1e-6)


def test_a_teacher_is_at_no_distance_from_itself_and_others_are():
    teacher, documents = vectors(4, 1), vectors(20, 2)
    assert np.allclose(kl_to_teacher(teacher, teacher, documents), 0, atol=1e-12)
    assert (kl_to_teacher(vectors(4, 5), teacher, documents) > 0).all()


def test_a_turn_without_a_teacher_is_not_a_number():
    teacher = sparse.csr_matrix(np.array([[0.0, 0.0], [1.0, 0.0]], dtype=np.float32))
    student = sparse.csr_matrix(np.ones((2, 2), dtype=np.float32))
    documents = sparse.csr_matrix(np.eye(2, dtype=np.float32))
    found = kl_to_teacher(student, teacher, documents)
    assert np.isnan(found[0]) and found[1] > 0


def test_shapes_and_depth_are_checked():
    with pytest.raises(DiscoError, match="one vocabulary"):
        kl_to_teacher(vectors(3, 0), vectors(2, 1), vectors(20, 2))
    with pytest.raises(DiscoError, match="one vocabulary"):
        kl_to_teacher(vectors(3, 0), vectors(3, 1), vectors(20, 2, width=13))
    with pytest.raises(DiscoError, match="depth is 1"):
        kl_to_teacher(vectors(3, 0), vectors(3, 1), vectors(20, 2), depth=1)
