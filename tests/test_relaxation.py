import numpy as np
import pytest

from disco_lib.errors import DiscoError
from disco_lib.losses import kl_divergence, representation_mse
from disco_lib.relaxation import Plane, each, relaxation_figure

PLANE = Plane(np.array([2.0, 1.0]), np.array([[1.0, 0.5], [0.5, 1.5]]))
VECTORS, SCORES = each(representation_mse, scores=False), each(kl_divergence, scores=True)


def test_losses_are_the_librarys_student_by_student():
    students = np.array([[2.0, 1.0], [3.0, 1.0], [1.5, 0.75]])
    np.testing.assert_allclose(PLANE.losses(VECTORS, students), [0, 1, 0.3125])
    found = PLANE.losses(SCORES, students)
    assert found[0] == pytest.approx(0, abs=1e-9)
    # The last differs from the teacher at a right angle to the passages' difference.
    assert found[1] > 0.01 and found[2] == pytest.approx(0, abs=1e-9)


def test_copying_the_vector_ends_at_the_teacher():
    ways = PLANE.descend(VECTORS, np.array([[0.1, 3.5], [3.5, 0.2]]))
    for end in ways[-1]:
        np.testing.assert_allclose(end, PLANE.teacher, atol=1e-6)
    # It has come to rest before the steps are used up, and every student goes as if alone.
    assert len(ways) < 4000
    alone = PLANE.descend(VECTORS, np.array([[3.5, 0.2]]))[:, 0]
    np.testing.assert_allclose(ways[: len(alone), 1][: len(ways)], alone[: len(ways)], atol=1e-12)


def test_copying_the_scores_ends_on_a_line_through_the_teacher():
    ends = PLANE.descend(SCORES, np.array([[0.1, 3.5], [3.5, 0.2], [3, 3]]))[-1]
    # Two passages: every student whose two scores differ as much as the teacher's is a solution.
    apart = PLANE.passages[0] - PLANE.passages[1]
    np.testing.assert_allclose((ends - PLANE.teacher) @ apart, 0, atol=1e-3)
    assert np.ptp(ends, axis=0).max() > 1  # and they are not one point
    np.testing.assert_allclose(PLANE.losses(SCORES, ends), 0, atol=1e-6)


def test_weights_stay_above_zero():
    assert PLANE.descend(SCORES, np.array([[0.0, 4.0]])).min() >= 0


def test_the_figure_has_a_panel_for_each_loss():
    figure = relaxation_figure(PLANE, {"vector": VECTORS, "scores": SCORES}, [[0.5, 3.0]])
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["vector", "scores"]


@pytest.mark.parametrize(
    ("teacher", "passages"), [([1.0], [[1.0, 2.0]]), ([1.0, 2.0], [[1.0]]), ([1.0, 2.0], [])]
)
def test_another_shape_is_refused(teacher, passages):
    with pytest.raises(DiscoError, match="shape"):
        Plane(np.array(teacher), np.array(passages))


def test_nothing_to_draw_is_told():
    with pytest.raises(DiscoError, match="Nothing to draw"):
        relaxation_figure(PLANE, {}, [[1, 1]])
