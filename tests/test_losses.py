import math

import pytest
import torch
from torch.nn import functional as F

from disco_lib.errors import DiscoError
from disco_lib.losses import (
    PARTS,
    POSITIVE_PARTS,
    REGULARISERS,
    TEACHER_QUERY_PARTS,
    Batch,
    Objective,
    anti_zero,
    document_mse,
    filtered_representation_mse,
    flops,
    info_nce,
    kl_divergence,
    l1,
    margin_mse,
    representation_mse,
)
from disco_lib.trainer import _duplicates

INF = float("inf")
LN2, LN3 = math.log(2), math.log(3)


def tensor(rows, grad=False):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=grad)


def random_problem(batch=4, documents=5, width=12, seed=0):
    """Return random vectors of queries and their documents, and teacher scores."""
    draw = torch.Generator().manual_seed(seed)
    queries = torch.rand(batch, width, generator=draw, dtype=torch.float64).requires_grad_()
    texts = torch.rand(batch, documents, width, generator=draw, dtype=torch.float64)
    teacher = 3 * torch.rand(batch, documents, generator=draw, dtype=torch.float64)
    return queries, texts, teacher


def batch_of(queries, texts, teacher, positive=None, duplicates=None, teacher_queries=None):
    """Return the batch that a trainer would make of these vectors; each first text is relevant."""
    n, documents, _ = texts.shape
    every = queries @ texts.reshape(n * documents, -1).T
    scores = torch.einsum("qw,qdw->qd", queries, texts)
    if positive is None:
        positive = torch.zeros(n, dtype=torch.long)
    if duplicates is None:
        duplicates = torch.zeros(every.shape, dtype=torch.bool)
    return Batch(
        queries, scores, teacher, positive, every, duplicates, teacher_queries, texts[:, 0],
        texts.reshape(n * documents, -1),
    )  # fmt: skip


def assert_same_gradient(first, second, leaf):
    """Check two losses' values and gradients in `leaf` against each other."""
    (slope_a,) = torch.autograd.grad(first, leaf, retain_graph=True)
    (slope_b,) = torch.autograd.grad(second, leaf, retain_graph=True)
    torch.testing.assert_close(first, second, atol=1e-12, rtol=0)
    torch.testing.assert_close(slope_a, slope_b, atol=1e-12, rtol=0)


# KL divergence


def test_kl_divergence_by_hand():
    # Teacher softmax(ln 3, 0) = (3/4, 1/4), student softmax(0, 0) = (1/2, 1/2):
    # 3/4 ln(3/2) + 1/4 ln(1/2) = 3/4 ln 3 - ln 2. The second row has equal distributions: 0.
    loss = kl_divergence(tensor([[0.0, 0.0], [5.0, 6.0]]), tensor([[LN3, 0.0], [0.0, 1.0]]))
    assert loss.item() == pytest.approx((0.75 * LN3 - LN2) / 2)


def test_kl_divergence_gradient_by_hand():
    # d KL / d student = softmax(student) - softmax(teacher), over the batch of one.
    student = tensor([[0.0, 0.0]], grad=True)
    kl_divergence(student, tensor([[LN3, 0.0]])).backward()
    torch.testing.assert_close(student.grad, tensor([[-0.25, 0.25]]))


def test_kl_divergence_with_temperature_by_hand():
    # Scores of 2 ln 3 at temperature 2 are ln 3; the loss is 4 times that of the test above.
    loss = kl_divergence(tensor([[0.0, 0.0]]), tensor([[2 * LN3, 0.0]]), temperature=2.0)
    assert loss.item() == pytest.approx(4 * (0.75 * LN3 - LN2))


def test_kl_divergence_leaves_out_what_the_teacher_scores_minus_infinity():
    # The teacher's distribution is (3/4, 1/4, 0); the student gives the third 1/3:
    # 3/4 ln(9/4) + 1/4 ln(3/4), and its gradient is (1/3 - 3/4, 1/3 - 1/4, 1/3).
    student = tensor([[0.0, 0.0, 0.0]], grad=True)
    loss = kl_divergence(student, tensor([[LN3, 0.0, -INF]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.75 * math.log(9 / 4) + 0.25 * math.log(3 / 4))
    torch.testing.assert_close(student.grad, tensor([[-5 / 12, 1 / 12, 1 / 3]]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_kl_divergence_against_torch(temperature):
    queries, texts, teacher = random_problem()
    scores = batch_of(queries, texts, teacher).scores
    expected = F.kl_div(
        F.log_softmax(scores / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
        reduction="batchmean",
        log_target=True,
    )
    found = kl_divergence(scores, teacher, temperature)
    assert_same_gradient(found, expected * temperature**2, queries)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_kl_divergence_against_sentence_transformers(temperature):
    from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss

    queries, texts, teacher = random_problem()
    peer = SparseDistillKLDivLoss(None, temperature=temperature)
    expected = peer.compute_loss_from_embeddings([queries, *texts.unbind(1)], teacher)
    found = kl_divergence(batch_of(queries, texts, teacher).scores, teacher, temperature)
    assert_same_gradient(found, expected, queries)


def test_kl_divergence_stays_finite_with_large_scores():
    student = tensor([[1e4, -1e4, 0.0]], grad=True)
    loss = kl_divergence(student, tensor([[1e4, -1e4, 9e3]]))
    loss.backward()
    assert math.isfinite(loss.item()) and torch.isfinite(student.grad).all()


# KL over the documents of the batch

BATCH_KL = Objective({"kl_divergence": {"weight": 1.0, "documents": "batch"}})


def naive_batch_kl(queries, texts, chosen, own_scores, all_teacher, temperature=1.0):
    """Query by query: own documents, then those of the others that it did not draw itself."""
    n, documents = chosen.shape
    vectors = texts.reshape(n * documents, -1)
    total = 0.0
    for i in range(n):
        columns, teacher = [], []
        for column in range(n * documents):
            turn, place = divmod(column, documents)
            if turn == i or chosen[turn, place] not in chosen[i]:
                columns.append(column)
                teacher.append(own_scores[i, place] if turn == i else all_teacher[i, column])
        p = torch.softmax(torch.stack(teacher) / temperature, -1)
        q = torch.softmax(vectors[columns] @ queries[i] / temperature, -1)
        total = total + (p * (p.log() - q.log())).sum()
    return total / n * temperature**2


def shared_problem():
    """Return a batch in which queries share documents, and what the naive KL needs of it."""
    queries, texts, teacher = random_problem()
    chosen = torch.arange(20).reshape(4, 5)
    for query, place, other in ((1, 2, 3), (1, 3, 17), (2, 0, 3), (3, 4, 0)):
        chosen[query, place] = other
        texts[query, place] = texts[divmod(other, 5)]
    batch = batch_of(queries, texts, teacher, duplicates=_duplicates(chosen))
    draw = torch.Generator().manual_seed(9)
    batch.all_teacher_scores = 3 * torch.rand(4, 20, generator=draw, dtype=torch.float64)
    return batch, (queries, texts, chosen, teacher, batch.all_teacher_scores)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_batch_kl_against_a_naive_computation(temperature):
    batch, given = shared_problem()
    assert batch.duplicates.any()
    options = {"weight": 1.0, "documents": "batch", "temperature": temperature}
    found = Objective({"kl_divergence": options})(batch)
    assert_same_gradient(found["kl_divergence"], naive_batch_kl(*given, temperature), given[0])


def test_batch_kl_has_finite_gradients_where_entries_are_masked():
    batch, _ = shared_problem()
    every = batch.all_scores.detach().requires_grad_()
    batch.all_scores = every
    with torch.autograd.set_detect_anomaly(True):
        BATCH_KL(batch)["loss"].backward()
    assert torch.isfinite(every.grad).all()
    assert not every.grad[batch.duplicates].any() and every.grad[~batch.duplicates].all()


def test_batch_kl_of_one_query_is_that_of_its_own_documents():
    queries, texts, teacher = random_problem(batch=1)
    batch = batch_of(queries, texts, teacher)
    batch.all_teacher_scores = torch.full((1, 5), 99.0, dtype=torch.float64)
    found = BATCH_KL(batch)["kl_divergence"]
    assert_same_gradient(found, kl_divergence(batch.scores, teacher), queries)
    own = Objective({"kl_divergence": {"weight": 1.0, "documents": "own"}})(batch)
    assert own["loss"].item() == Objective({"kl_divergence": 1.0})(batch)["loss"].item()


def test_documents_of_the_batch_are_asked_for_by_name():
    batch, _ = shared_problem()
    assert BATCH_KL.needs_all_teacher_scores and BATCH_KL.needs_batch_scores
    for parts in ({"kl_divergence": 1.0}, {"kl_divergence": {"weight": 0, "documents": "batch"}}):
        quiet = Objective({"l1": 1.0, **parts})
        assert not quiet.needs_all_teacher_scores and not quiet.needs_batch_scores
    contrast = Objective({"info_nce": {"weight": 1.0, "negatives": "batch"}})
    assert contrast.needs_batch_scores and not contrast.needs_all_teacher_scores
    with pytest.raises(DiscoError, match='documents \'all\'; allowed: "own", "batch"'):
        Objective({"kl_divergence": {"weight": 1, "documents": "all"}})(batch)
    batch.all_teacher_scores = None
    with pytest.raises(DiscoError, match="all_teacher_scores"):
        BATCH_KL(batch)


# Margins


def test_margin_mse_by_hand():
    # Margins of the student: 3 - 1 = 2 and 3 - 5 = -2; of the teacher 1 and 0: (1 + 4) / 2.
    student = tensor([[3.0, 1.0, 5.0]], grad=True)
    loss = margin_mse(student, tensor([[4.0, 3.0, 4.0]]))
    loss.backward()
    assert loss.item() == 2.5
    # With errors 1 and -2, d / d positive = 2 (1 - 2) / 2, d / d negative = -2 error / 2.
    torch.testing.assert_close(student.grad, tensor([[-1.0, -1.0, 2.0]]))


@pytest.mark.parametrize("documents", [2, 5])
def test_margin_mse_against_sentence_transformers(documents):
    from sentence_transformers.sparse_encoder.losses import SparseMarginMSELoss

    queries, texts, teacher = random_problem(documents=documents)
    peer = SparseMarginMSELoss(None)
    expected = peer.compute_loss_from_embeddings([queries, *texts.unbind(1)], teacher)
    found = margin_mse(batch_of(queries, texts, teacher).scores, teacher)
    assert_same_gradient(found, expected, queries)


# Contrast


def test_info_nce_by_hand():
    # softmax(ln 3, 0) of the first column is 3/4, of the second row's 1/2.
    loss = info_nce(tensor([[LN3, 0.0], [7.0, 7.0]]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + LN2) / 2)


def test_info_nce_with_positives_elsewhere_and_none():
    # Only the first and the last row count: 1/4 of the second column, 3/4 of the first.
    scores = tensor([[LN3, 0.0], [9.0, 0.0], [LN3, 0.0]], grad=True)
    loss = info_nce(scores, torch.tensor([1, -1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    assert scores.grad[1].tolist() == [0.0, 0.0]


def test_info_nce_without_any_positive_is_zero_and_has_a_gradient_of_zero():
    scores = tensor([[1.0, 2.0]], grad=True)
    loss = info_nce(scores, torch.tensor([-1]))
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad.tolist() == [[0.0, 0.0]]


def test_info_nce_with_temperature_by_hand():
    # ln 3 / 2 apart at temperature 1/2 is ln 3.
    loss = info_nce(tensor([[LN3 / 2, 0.0]]), temperature=0.5)
    assert loss.item() == pytest.approx(math.log(4 / 3))


def test_in_batch_info_nce_against_sentence_transformers():
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss

    queries, texts, teacher = random_problem()
    peer = SparseMultipleNegativesRankingLoss(None, scale=4.0)
    expected = peer.compute_loss_from_embeddings([queries, *texts.unbind(1)], None)
    objective = Objective({"info_nce": {"weight": 1, "negatives": "batch", "temperature": 0.25}})
    found = objective(batch_of(queries, texts, teacher))["info_nce"]
    assert_same_gradient(found, expected, queries)


def test_in_batch_duplicates_are_no_negatives():
    # Two queries, two documents each; query 1's first document is query 0's positive, and so
    # must not count against query 0. Query 0 scores its own (0, 0), query 1's (5, 0) -> (-, 0):
    # 1/3. Query 1's positive is its second document: of (0, 0, 0, ln 3) it has 3/6.
    every = tensor([[0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, LN3]], grad=True)
    duplicates = torch.tensor([[False, False, True, False], [False] * 4])
    own = torch.stack([every[0, :2], every[1, 2:]])
    queries = tensor([[1.0], [1.0]])
    batch = Batch(queries, own, own.detach(), torch.tensor([0, 1]), every, duplicates)
    loss = Objective({"info_nce": {"weight": 1.0, "negatives": "batch"}})(batch)["loss"]
    loss.backward()
    assert loss.item() == pytest.approx((LN3 + LN2) / 2)
    assert every.grad[0, 2] == 0 and torch.isfinite(every.grad).all()


def test_in_batch_query_without_a_positive_does_not_count():
    queries, texts, teacher = random_problem()
    objective = Objective({"info_nce": {"weight": 1.0, "negatives": "batch"}})
    positive = torch.tensor([0, -1, 3, -1])
    batch = batch_of(queries, texts, teacher, positive)
    # By hand: the logarithm of a softmax over all 20 documents, at 0 * 5 + 0 and 2 * 5 + 3.
    logs = batch.all_scores.log_softmax(-1)
    expected = -(logs[0, 0] + logs[2, 13]) / 2
    assert_same_gradient(objective(batch)["loss"], expected, queries)


def test_unknown_negatives_and_missing_batch_scores_are_named():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher)
    with pytest.raises(DiscoError, match='negatives \'all\'; allowed: "own", "batch"'):
        Objective({"info_nce": {"weight": 1, "negatives": "all"}})(batch)
    batch.all_scores = None
    with pytest.raises(DiscoError, match="all_scores"):
        Objective({"info_nce": {"weight": 1, "negatives": "batch"}})(batch)


# Vectors


def test_representation_mse_by_hand():
    # Squares (1, 4) and (0, 1), two queries, two dimensions.
    student, teacher = tensor([[1.0, 2.0], [3.0, 0.0]], grad=True), tensor([[2.0, 0.0], [3.0, 1.0]])
    assert representation_mse(student, teacher).item() == 3.0
    assert representation_mse(student, teacher, "mean").item() == 1.5
    representation_mse(student, teacher).backward()
    # 2 (student - teacher) / 2 queries
    assert student.grad.tolist() == [[-1.0, 2.0], [0.0, -1.0]]
    assert representation_mse(student, teacher, "mean").item() == F.mse_loss(student, teacher)


def test_unknown_reduction_is_named():
    with pytest.raises(DiscoError, match='reduction \'max\'; allowed: "sum", "mean"'):
        representation_mse(tensor([[1.0]]), tensor([[1.0]]), "max")


def test_document_mse_by_hand():
    # (1 - 0)^2 + (2 - 4)^2 = 5 and (3 - 1)^2 = 4; the third query has no passage: 9 / 2.
    # Slope 2 (student - document) / 2.
    student = tensor([[1.0, 2.0], [3.0, 0.0], [7.0, 7.0]], grad=True)
    documents = tensor([[0.0, 4.0], [1.0, 0.0], [0.0, 0.0]])
    loss = document_mse(student, documents)
    loss.backward()
    assert loss.item() == 4.5
    assert student.grad.tolist() == [[1.0, -2.0], [2.0, 0.0], [0.0, 0.0]]


def test_filtered_representation_mse_by_hand():
    # The first passage holds the last two entries: (2 - 4)^2 + (1 - 0)^2 = 5; the second holds
    # the first: (3 - 1)^2 = 4; the third query has no passage: 9 / 2.
    student = tensor([[9.0, 2.0, 1.0], [3.0, 5.0, 5.0], [7.0, 7.0, 7.0]], grad=True)
    teacher = tensor([[1.0, 4.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    documents = tensor([[0.0, 0.5, 2.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]])
    loss = filtered_representation_mse(student, teacher, documents)
    loss.backward()
    assert loss.item() == 4.5
    assert student.grad.tolist() == [[0.0, -2.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_passage_that_holds_every_entry_filters_nothing():
    queries, texts, _ = random_problem()
    teacher, everything = texts[:, 1], torch.ones_like(queries)
    found = filtered_representation_mse(queries, teacher, everything)
    assert_same_gradient(found, representation_mse(queries, teacher), queries)


@pytest.mark.parametrize(
    "loss", [document_mse, lambda q, d: filtered_representation_mse(q, torch.ones_like(q), d)]
)
def test_queries_without_a_passage_give_0_and_no_gradient(loss):
    queries = tensor([[1.0, 2.0], [3.0, 4.0]], grad=True)
    found = loss(queries, torch.zeros(2, 2, dtype=torch.float64))
    found.backward()
    assert found.item() == 0.0 and not queries.grad.any()


@pytest.mark.parametrize(
    "loss",
    [
        kl_divergence,
        margin_mse,
        representation_mse,
        document_mse,
        lambda q, d: filtered_representation_mse(q, d, q),
        lambda q, d: filtered_representation_mse(q, q, d),
    ],
)
def test_shapes_that_differ_are_named(loss):
    with pytest.raises(DiscoError, match=r"student \(1, 2\) and teacher \(1, 3\) differ in shape"):
        loss(tensor([[1.0, 2.0]]), tensor([[1.0, 2.0, 3.0]]))


def test_l1_by_hand():
    vectors = tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.5]], grad=True)
    assert l1(vectors).item() == 1.75
    l1(vectors).backward()
    assert vectors.grad.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.5]]


def test_flops_by_hand():
    # Means (2, 0, 1): 4 + 0 + 1. d / d entry = 2 mean / 2 texts.
    vectors = tensor([[3.0, 0.0, 0.0], [1.0, 0.0, 2.0]], grad=True)
    assert flops(vectors).item() == 5.0
    flops(vectors).backward()
    # The slope of |x| at 0 is taken as 0.
    assert vectors.grad.tolist() == [[2.0, 0.0, 0.0], [2.0, 0.0, 1.0]]


def test_flops_against_sentence_transformers():
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    queries, _, _ = random_problem()
    expected = FlopsLoss(None).compute_loss_from_embeddings(queries)
    assert_same_gradient(flops(queries), expected, queries)


def test_anti_zero_by_hand():
    # 1 / (1 + 1)^2, and with documents 1 / 4 + 1 / (1/2)^2. Slope -2 / 2^3.
    queries, documents = tensor([[1.0, 0.0], [0.5, 0.5]], grad=True), tensor([[0.5]])
    assert anti_zero(queries).item() == 0.25
    assert anti_zero(queries, documents).item() == 4.25
    anti_zero(queries).backward()
    assert queries.grad.tolist() == [[-0.25, -0.25], [-0.25, -0.25]]
    assert math.isfinite(anti_zero(torch.zeros(2, 2)).item())


# Objective


def test_the_parts_come_back_by_name_and_add_up():
    queries, texts, teacher = random_problem()
    objective = Objective(
        {"kl_divergence": 0.9, "info_nce": {"weight": 0.1}, "l1": 1e-3, "flops": 2e-3}
    )
    batch = batch_of(queries, texts, teacher)
    found = objective(batch)
    assert set(found) == {"loss", "kl_divergence", "info_nce", "l1", "flops"}
    for name, value in (
        ("kl_divergence", kl_divergence(batch.scores, teacher)),
        ("info_nce", info_nce(batch.scores)),
        ("l1", l1(queries)),
        ("flops", flops(queries)),
    ):
        torch.testing.assert_close(found[name], value)
    total = 0.9 * found["kl_divergence"] + 0.1 * found["info_nce"]
    total = total + 1e-3 * found["l1"] + 2e-3 * found["flops"]
    assert_same_gradient(found["loss"], total, queries)


@pytest.mark.parametrize("name", sorted(PARTS.keys() - {"document_flops"}))
def test_every_part_reaches_the_queries(name):
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher, teacher_queries=torch.zeros_like(queries))
    parts = Objective({name: 2.0})(batch)
    assert parts["loss"].item() == pytest.approx(2 * parts[name].item())
    (slope,) = torch.autograd.grad(parts["loss"], queries)
    assert slope.abs().sum() > 0


def test_document_flops_is_that_of_the_documents():
    queries, texts, teacher = random_problem()
    learning = texts.clone().requires_grad_()
    parts = Objective({"document_flops": 2.0})(batch_of(queries, learning, teacher))
    torch.testing.assert_close(parts["document_flops"], flops(texts.reshape(20, 12)))
    of_queries, of_documents = torch.autograd.grad(parts["loss"], [queries, learning])
    assert not of_queries.any() and of_documents.abs().sum() > 0


def test_document_flops_of_frozen_documents_is_a_value_without_gradient():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher)
    found = Objective({"kl_divergence": 1.0, "document_flops": 3.0})(batch)
    alone = Objective({"kl_divergence": 1.0})(batch)
    assert not found["document_flops"].requires_grad
    torch.testing.assert_close(found["loss"], alone["loss"] + 3 * found["document_flops"])
    (slope,) = torch.autograd.grad(found["loss"], queries, retain_graph=True)
    assert torch.equal(slope, torch.autograd.grad(alone["loss"], queries)[0])


def test_anti_zero_looks_at_documents_where_they_are_trained():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher)
    objective = Objective({"anti_zero": 1.0})
    assert objective(batch)["loss"].item() == anti_zero(queries).item()
    batch.documents_trained = True
    assert objective(batch)["loss"].item() == anti_zero(queries, texts).item()


def test_the_schedule_scales_the_regularisers_alone():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher)
    for name in PARTS.keys() - set(TEACHER_QUERY_PARTS):
        found = Objective({name: 0.5})(batch, regularisation=0.25)
        share = 0.25 if name in REGULARISERS else 1.0
        assert found["loss"].item() == pytest.approx(0.5 * share * found[name].item())
    nothing = Objective({"kl_divergence": 1.0, "l1": 5.0})(batch, regularisation=0.0)
    torch.testing.assert_close(nothing["loss"], nothing["kl_divergence"])


def test_a_part_of_weight_zero_is_not_computed():
    queries, texts, teacher = random_problem()
    objective = Objective({"kl_divergence": 1.0, "representation_mse": 0.0})
    assert not objective.uses("representation_mse") and not objective.uses("l1")
    assert set(objective(batch_of(queries, texts, teacher))) == {"loss", "kl_divergence"}


def test_options_reach_their_loss():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher, teacher_queries=torch.ones_like(queries))
    found = Objective(
        {
            "kl_divergence": {"weight": 1.0, "temperature": 3.0},
            "representation_mse": {"weight": 1.0, "reduction": "mean"},
        }
    )(batch)
    torch.testing.assert_close(found["kl_divergence"], kl_divergence(batch.scores, teacher, 3.0))
    torch.testing.assert_close(found["representation_mse"], (queries - 1).square().mean())


def test_batch_scores_are_needed_only_where_a_part_looks_at_them():
    assert not Objective({"kl_divergence": 1}).needs_batch_scores
    assert not Objective({"info_nce": 1}).needs_batch_scores
    assert not Objective({"info_nce": {"weight": 0, "negatives": "batch"}}).needs_batch_scores
    assert Objective({"info_nce": {"weight": 1, "negatives": "batch"}}).needs_batch_scores


def test_an_unknown_loss_lists_those_there_are():
    with pytest.raises(DiscoError) as caught:
        Objective({"kl": 1.0})
    assert "'kl'" in str(caught.value)
    assert all(name in str(caught.value) for name in PARTS)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({}, "needs a loss"),
        ({"l1": {"temperature": 2}}, 'l1: a mapping of options needs a "weight"'),
        ({"kl_divergence": {"weight": 1, "tau": 2}}, "kl_divergence: .*'tau'"),
        ({"l1": {"weight": 1, "reduction": "sum"}}, "l1: .*'reduction'"),
        ({"l1": "much"}, "l1: .*'much'"),
        ({"l1": None}, "l1: .*None"),
        ({"l1": {"weight": []}}, r"l1: .*\[\]"),
        ({"l1": math.nan}, "l1: .*nan"),
    ],
)
def test_parts_that_cannot_be_used_are_named_at_once(parts, problem):
    with pytest.raises(DiscoError, match=problem):
        Objective(parts)


def test_missing_teacher_queries_are_named():
    for name in TEACHER_QUERY_PARTS:
        with pytest.raises(DiscoError, match=f"^{name} needs the teacher's query vectors"):
            Objective({name: 1.0})(batch_of(*random_problem()))


def test_missing_vectors_of_passages_are_named():
    queries, texts, teacher = random_problem()
    batch = batch_of(queries, texts, teacher, teacher_queries=torch.ones_like(queries))
    batch.positive_documents = None
    for name in POSITIVE_PARTS:
        with pytest.raises(DiscoError, match=f"^{name} needs the relevant passages' vectors"):
            Objective({name: 1.0})(batch)


def test_missing_documents_are_named():
    batch = batch_of(*random_problem())
    batch.document_vectors = None
    with pytest.raises(DiscoError, match="document_flops needs the batch's documents"):
        Objective({"document_flops": 1.0})(batch)


def test_what_a_batch_must_hold_follows_from_the_parts():
    for name in PARTS:
        used, unused = Objective({name: 0.5}), Objective({name: 0.0, "kl_divergence": 1})
        assert used.needs_teacher_queries == (name in TEACHER_QUERY_PARTS)
        assert used.needs_positive_documents == (name in POSITIVE_PARTS)
        if name != "kl_divergence":
            assert not unused.needs_teacher_queries and not unused.needs_positive_documents
