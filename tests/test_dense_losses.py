import math

import pytest
import torch
from torch.nn import functional as F

from disco_lib.dense_losses import (
    DENSE_PARTS,
    DenseBatch,
    DenseObjective,
    batch_kl,
    classical_distillation,
    diagonal_mse,
    hybrid_variants,
    in_batch_contrastive,
)
from disco_lib.errors import DiscoError
from disco_lib.losses import Objective

LN2, LN3 = math.log(2), math.log(3)


def tensor(rows, grad=False):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=grad)


def random_batch(pairs=4, extra=0, width=6, seed=0):
    """Return a batch of random unit vectors and a teacher's similarities."""
    draw = torch.Generator().manual_seed(seed)

    def vectors(n):
        return F.normalize(torch.randn(n, width, generator=draw, dtype=torch.float64), dim=1)

    queries, documents = vectors(pairs).requires_grad_(), vectors(pairs + extra).requires_grad_()
    return DenseBatch(queries, documents, vectors(pairs) @ vectors(pairs + extra).T)


def slopes(loss, batch):
    return torch.autograd.grad(loss, [batch.queries, batch.documents], retain_graph=True)


# Regression


def test_diagonal_mse_by_hand():
    # (0.9 - 0.5)^2 = 0.16 and (0.2 - 0.4)^2 = 0.04. Slope 2 (S_ii - t_i) / 2, elsewhere 0.
    similarities = tensor([[0.9, 5.0, 7.0], [5.0, 0.2, 7.0]], grad=True)
    loss = diagonal_mse(similarities, tensor([0.5, 0.4]))
    loss.backward()
    assert loss.item() == pytest.approx(0.10)
    assert similarities.grad.flatten().tolist() == pytest.approx([0.4, 0, 0, 0, -0.2, 0])


def test_diagonal_mse_of_one_pair():
    assert diagonal_mse(tensor([[0.5]]), tensor([1.0])).item() == 0.25


@pytest.mark.parametrize("shape", [(3,), (2, 2), (1,)])
def test_teacher_scores_of_other_pairs_are_named(shape):
    with pytest.raises(DiscoError, match="one teacher score a query"):
        diagonal_mse(torch.zeros(2, 2), torch.zeros(shape))


# Contrast


def test_in_batch_contrastive_by_hand():
    # At T = 0.5 logits (2 ln 3 / 2, 0): shares (3/4, 1/4); the second query's own has 1/2.
    similarities = tensor([[LN3 / 2, 0.0], [0.3, 0.3]])
    found = in_batch_contrastive(similarities, temperature=0.5)
    assert found.item() == pytest.approx((-math.log(0.75) + LN2) / 2)


@pytest.mark.parametrize("extra", [0, 3])
def test_in_batch_contrastive_against_sentence_transformers(extra):
    batch = random_batch(extra=extra)
    expected = F.cross_entropy(batch.similarities * 20, torch.arange(4))
    found = in_batch_contrastive(batch.similarities, temperature=0.05)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(slopes(found, batch), slopes(expected, batch))


def test_a_batch_of_one_has_nothing_to_contrast():
    batch = random_batch(pairs=1)
    loss = in_batch_contrastive(batch.similarities)
    assert loss.item() == 0.0 and not slopes(loss, batch)[0].any()


def test_duplicates_are_no_negatives():
    similarities = tensor([[0.9, 0.8, 0.1], [0.2, 0.5, 0.5]], grad=True)
    repeated = torch.tensor([[True, True, False], [False, False, False]])
    found = in_batch_contrastive(similarities, 1.0, repeated)
    first = -F.log_softmax(tensor([0.9, 0.1]), dim=0)[0]
    second = -F.log_softmax(tensor([0.2, 0.5, 0.5]), dim=0)[1]
    torch.testing.assert_close(found, (first + second) / 2)
    (slope,) = torch.autograd.grad(found, similarities)
    assert slope[0, 1] == 0 and slope[0, 0] < 0 and slope.isfinite().all()


# Divergence


def test_batch_kl_by_hand():
    # At T = 2: teacher (3/4, 1/4), student (1/2, 1/2); the second rows are equal.
    student, teacher = tensor([[0.0, 0.0], [4.0, 9.0]]), tensor([[2 * LN3, 0.0], [4.0, 9.0]])
    whole = (0.75 * LN3 - LN2) / 2
    assert batch_kl(student, teacher, temperature=2.0).item() == pytest.approx(whole)
    assert batch_kl(student, teacher, 2.0, scaled=True).item() == pytest.approx(4 * whole)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_batch_kl_against_torch(temperature):
    batch = random_batch(extra=2)
    shares = [F.log_softmax(s / temperature, dim=1) for s in (batch.similarities, batch.teacher)]
    expected = F.kl_div(*shares, log_target=True, reduction="batchmean")
    found = batch_kl(batch.similarities, batch.teacher, temperature)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(slopes(found, batch), slopes(expected, batch))


def test_scaling_keeps_the_gradients_size():
    batch = random_batch()
    found = {}
    for scaled in (False, True):
        for temperature in (1.0, 10.0):
            loss = batch_kl(batch.similarities, batch.teacher, temperature, scaled)
            found[scaled, temperature] = slopes(loss, batch)[0].norm().item()
    assert found[True, 10.0] == pytest.approx(found[True, 1.0], rel=0.2)
    assert found[False, 10.0] < found[False, 1.0] / 50


def test_duplicates_do_not_enter_the_kl():
    batch = random_batch()
    repeated = torch.zeros(4, 4, dtype=torch.bool)
    repeated[:, 3] = True
    kept = batch.similarities[:3, :3], batch.teacher[:3, :3]
    found = batch_kl(batch.similarities, batch.teacher, 0.1, duplicates=repeated)
    # A query keeps its own document, marked or not.
    rows = (F.log_softmax(scores[3] / 0.1, 0) for scores in (batch.similarities, batch.teacher))
    last = F.kl_div(*rows, log_target=True, reduction="sum")
    torch.testing.assert_close(found, (3 * batch_kl(*kept, 0.1) + last) / 4)
    assert all(slope.isfinite().all() for slope in slopes(found, batch))


# The classical procedure


def test_classical_distillation_by_hand():
    # CE of (0, 0): ln 2. KL at T = 2 of (3/4, 1/4) and (1/2, 1/2).
    student, teacher = tensor([[0.0, 0.0]]), tensor([[2 * LN3, 0.0]])
    label, divergence = torch.tensor([1]), 0.75 * LN3 - LN2
    for alpha in (0.0, 0.3, 1.0):
        found = classical_distillation(student, teacher, label, alpha, 2.0)
        assert found.item() == pytest.approx((1 - alpha) * LN2 + alpha * divergence)
    scaled = classical_distillation(student, teacher, label, 0.5, 2.0, scaled=True)
    assert scaled.item() == pytest.approx(0.5 * LN2 + 0.5 * 4 * divergence)


def test_the_cross_entropy_is_not_tempered():
    batch = random_batch()
    labels = torch.tensor([2, 0, 1, 1])
    found = classical_distillation(batch.similarities, batch.teacher, labels, 0.0, 4.0)
    torch.testing.assert_close(found, F.cross_entropy(batch.similarities, labels))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_an_alpha_outside_0_to_1_is_named(alpha):
    with pytest.raises(DiscoError, match="alpha is"):
        classical_distillation(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1).long(), alpha)


def test_labels_of_other_queries_are_named():
    with pytest.raises(DiscoError, match=r"\(3,\) labels for scores \(2, 2\)"):
        classical_distillation(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(3).long())


# What goes in


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_temperatures_that_are_not_above_0_are_named(temperature):
    scores, labels = torch.zeros(2, 2), torch.zeros(2).long()
    for loss in (
        lambda: in_batch_contrastive(scores, temperature),
        lambda: batch_kl(scores, scores, temperature),
        lambda: classical_distillation(scores, scores, labels, 0.5, temperature),
        lambda: hybrid_variants(temperature),
    ):
        with pytest.raises(DiscoError, match="temperature is"):
            loss()


@pytest.mark.parametrize("shape", [(3, 2), (4,), (0, 2), (2, 2, 2)])
def test_similarities_without_a_diagonal_are_named(shape):
    scores = torch.zeros(shape)
    for loss in (
        lambda: diagonal_mse(scores, torch.zeros(shape[0])),
        lambda: in_batch_contrastive(scores),
        lambda: batch_kl(scores, scores),
    ):
        with pytest.raises(DiscoError, match="document i is query i's own"):
            loss()


def test_shapes_that_differ_are_named():
    with pytest.raises(DiscoError, match="differ in shape"):
        batch_kl(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(DiscoError, match=r"duplicates \(2, 3\), scores \(2, 2\)"):
        in_batch_contrastive(torch.zeros(2, 2), 1.0, torch.zeros(2, 3, dtype=torch.bool))


# Objectives


def test_the_hybrid_is_equation_10():
    batch = random_batch()
    found = hybrid_variants(temperature=0.2, regression=0.5)["Hybrid"](batch)
    contrast = in_batch_contrastive(batch.similarities, 0.2)
    error = diagonal_mse(batch.similarities, batch.teacher.diagonal())
    assert set(found) == {"loss", "contrastive", "diagonal_mse"}
    torch.testing.assert_close(found["contrastive"], contrast)
    torch.testing.assert_close(found["diagonal_mse"], error)
    torch.testing.assert_close(found["loss"], contrast + 0.5 * error)


def test_the_variants_are_those_of_the_reports_table():
    parts = {name: set(objective.parts) for name, objective in hybrid_variants().items()}
    assert parts == {
        "Contrastive Only": {"contrastive"},
        "Regression Only": {"diagonal_mse"},
        "Contrastive + KL": {"contrastive", "batch_kl"},
        "Hybrid": {"contrastive", "diagonal_mse"},
        "Hybrid + KL": {"contrastive", "diagonal_mse", "batch_kl"},
    }
    needing = {n for n, o in hybrid_variants().items() if o.needs_teacher_matrix}
    assert needing == {"Contrastive + KL", "Hybrid + KL"}
    assert not DenseObjective({"batch_kl": 0, "contrastive": 1}).needs_teacher_matrix


@pytest.mark.parametrize("name", sorted(DENSE_PARTS))
def test_every_part_reaches_queries_and_documents(name):
    batch = random_batch(extra=2)
    parts = DenseObjective({name: 2.0})(batch)
    assert parts["loss"].item() == pytest.approx(2 * parts[name].item())
    assert all(slope.abs().sum() > 0 for slope in slopes(parts["loss"], batch))


@pytest.mark.parametrize("name", sorted(DENSE_PARTS))
def test_every_part_keeps_out_duplicates(name):
    batch = random_batch(extra=1)
    batch.duplicates = torch.zeros(4, 5, dtype=torch.bool)
    batch.duplicates[:, 4] = True
    found = DenseObjective({name: 1.0})(batch)["loss"]
    assert not slopes(found, batch)[1][4].any() and found.isfinite()


def test_regression_needs_the_pairs_own_scores_alone():
    batch = random_batch()
    whole = DenseObjective({"diagonal_mse": 1.0})(batch)["loss"]
    batch.teacher = batch.teacher.diagonal()
    torch.testing.assert_close(DenseObjective({"diagonal_mse": 1.0})(batch)["loss"], whole)
    for part in ("batch_kl", "classical_distillation"):
        with pytest.raises(DiscoError, match=f"^{part} needs the teacher's similarities of all"):
            DenseObjective({part: 1.0})(batch)


def test_dense_and_sparse_objectives_keep_their_losses_apart():
    with pytest.raises(DiscoError, match="No loss 'margin_mse'; there are: batch_kl, classical"):
        DenseObjective({"margin_mse": 1.0})
    with pytest.raises(DiscoError, match="No loss 'contrastive'"):
        Objective({"contrastive": 1.0})
    with pytest.raises(DiscoError, match="contrastive: no option 'tau'; there are: temperature"):
        DenseObjective({"contrastive": {"weight": 1, "tau": 2}})
    with pytest.raises(DiscoError, match="An objective needs a loss"):
        DenseObjective({})
