"""How far a student's scores are from its teacher's, on turns that it has not learnt from."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.kl_estimate import kl


def kl_to_teacher(
    student: sparse.csr_matrix,
    teacher: sparse.csr_matrix,
    documents: sparse.csr_matrix,
    depth: int = 1000,
) -> np.ndarray:
    """KL(teacher || student) of each turn in nats, (turns,), over the teacher's best documents.

    student, teacher: query vectors (turns, vocabulary), CSR; documents (collection, vocabulary).
    The sum runs over the `depth` documents that the teacher's vector scores best, whatever the
    student was trained on, so that students of different samples are compared on one ground. A turn
    whose teacher has no vector (a row without entries) is NaN. Raises DiscoError for shapes that
    do not fit, and for a depth below 2.
    """
    if student.shape != teacher.shape or student.shape[1] != documents.shape[1]:
        raise DiscoError(
            f"student {student.shape}, teacher {teacher.shape}, documents {documents.shape}: give "
            "vectors of the same turns and of one vocabulary."
        )
    if depth < 2:
        raise DiscoError(f"depth is {depth}; a distribution needs 2 documents at least.")
    by_term = sparse.csr_matrix(documents.T)
    turns = range(student.shape[0])
    return np.array([_of_turn(student[i], teacher[i], by_term, depth) for i in turns])


def _of_turn(
    student: sparse.csr_matrix, teacher: sparse.csr_matrix, by_term: sparse.csr_matrix, depth: int
) -> float:
    if not teacher.nnz:
        return float("nan")
    of_teacher, of_student = ((q @ by_term).toarray().ravel() for q in (teacher, student))
    best = np.argsort(-of_teacher, kind="stable")[:depth]
    return float(kl(of_student[best], of_teacher[best]))
