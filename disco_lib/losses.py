"""Losses as pure functions on tensors, and Objective, their weighted sum with named parts.

Scores are dot products of a query's vector with documents' vectors: (batch, documents), where
column 0 is the positive unless said otherwise. Every function returns a scalar.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from disco_lib.errors import DiscoError


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) over each query's documents, mean over queries (DiSCo, equation 3).

    student, teacher: scores (batch, documents). Scores are divided by `temperature` and the loss
    multiplied by its square, so that gradients keep their size (Hinton et al., 2015). A teacher
    score of -inf takes its document out of the teacher's distribution, and one on both sides out
    of the KL; a row needs one finite score at least. Raises DiscoError when the shapes differ.
    """
    _same_shape(student, teacher)
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    share = log_teacher.exp()
    terms = torch.where(share > 0, share * (log_teacher - log_student), torch.zeros_like(share))
    return terms.sum(-1).mean() * temperature**2


def margin_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the margins positive minus negative (Hofstätter et al., 2020).

    student, teacher: scores (batch, 1 + negatives). Mean over queries and negatives.
    """
    _same_shape(student, teacher)
    return F.mse_loss(student[:, :1] - student[:, 1:], teacher[:, :1] - teacher[:, 1:])


def info_nce(scores: Tensor, positive: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """-log softmax of the positive's score (van den Oord et al., 2018), mean over queries.

    scores (batch, documents): own negatives, or the whole batch's documents. positive (batch,):
    the positive's column, 0 by default; a query with -1 has no positive and does not count.
    """
    if positive is None:
        positive = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    if not bool((positive >= 0).any()):
        return scores.sum() * 0.0
    return F.cross_entropy(scores / temperature, positive, ignore_index=-1)


def representation_mse(student: Tensor, teacher: Tensor, reduction: str = "sum") -> Tensor:
    """Squared distance of vectors (DiSCo, equation 4), mean over queries.

    student, teacher: (batch, dimensions). reduction "sum" adds the dimensions up, "mean" averages
    them too: with 30,522 dimensions of which few are active, the mean is close to 0.
    """
    _same_shape(student, teacher)
    if reduction not in ("sum", "mean"):
        raise DiscoError(f'representation_mse: reduction {reduction!r}; allowed: "sum", "mean".')
    squares = (student - teacher).square()
    return squares.sum(-1).mean() if reduction == "sum" else squares.mean()


def document_mse(student: Tensor, documents: Tensor) -> Tensor:
    """Squared distance to the relevant passage's vector, mean over queries that have one.

    student, documents: (batch, vocabulary); a row of zeros in `documents` says that the query has
    no such passage. With `representation_mse` and `info_nce` it draws the query to both its rewrite
    and its passage, as query representation alignment does. Raises DiscoError when the shapes
    differ.
    """
    _same_shape(student, documents)
    return _mean_where((student - documents).square().sum(-1), documents)


def filtered_representation_mse(student: Tensor, teacher: Tensor, documents: Tensor) -> Tensor:
    """Squared distance to the teacher's vector over entries that the relevant passage holds.

    What the rewrite says besides counts as noise and is left out, as LeCoRe denoises what it
    distils (Mao et al., 2023). student, teacher, documents: (batch, vocabulary). Mean over queries
    that have a passage; a row of zeros in `documents` says that there is none. Raises DiscoError
    when the shapes differ.
    """
    _same_shape(student, teacher)
    _same_shape(student, documents)
    squares = ((student - teacher) * (documents != 0)).square().sum(-1)
    return _mean_where(squares, documents)


def _mean_where(values: Tensor, documents: Tensor) -> Tensor:
    has_one = (documents != 0).any(-1)
    return (values * has_one).sum() / has_one.sum().clamp_min(1)


def l1(vectors: Tensor) -> Tensor:
    """Mean L1 norm of the vectors (batch, vocabulary)."""
    return vectors.abs().sum(-1).mean()


def flops(vectors: Tensor) -> Tensor:
    """Sum over the vocabulary of the squared mean activation (Paria et al., 2020).

    vectors (batch, vocabulary). It presses most on entries that many texts share, and is a smooth
    stand-in for the FLOPS that `sparsity.flops` counts.
    """
    return vectors.abs().mean(0).square().sum()


def anti_zero(queries: Tensor, documents: Tensor | None = None) -> Tensor:
    """1 / (sum of weights)^2, over the batch: grows without bound as vectors die.

    queries (batch, vocabulary), documents likewise where they are trained; the two terms add up.
    """
    loss = queries.sum().square().clamp_min(1e-12).reciprocal()
    if documents is not None:
        loss = loss + documents.sum().square().clamp_min(1e-12).reciprocal()
    return loss


@dataclass
class Batch:
    """What a loss may look at, for one batch of queries.

    queries (batch, dimensions): student vectors. scores (batch, documents): student, own documents.
    teacher_scores: the same documents. positive (batch,): column of the positive, or -1.
    all_scores (batch, batch * documents): student, every document of the batch, where query i's
    own documents begin at column i * documents. duplicates: bool, the same shape, True where a
    column repeats a document that is query i's own. teacher_queries (batch, dimensions): vectors
    of the teacher's rewrite, where an objective asks for them. positive_documents (batch,
    vocabulary): vectors of the relevant passages, zeros where a query has none, likewise.
    document_vectors (distinct documents, vocabulary): the batch's documents, each once, likewise
    and wherever documents_trained says that their encoder learns too. all_teacher_scores: the
    teacher's exact scores, of the shape of all_scores, likewise.
    """

    queries: Tensor
    scores: Tensor
    teacher_scores: Tensor
    positive: Tensor
    all_scores: Tensor | None = None
    duplicates: Tensor | None = None
    teacher_queries: Tensor | None = None
    positive_documents: Tensor | None = None
    document_vectors: Tensor | None = None
    documents_trained: bool = False
    all_teacher_scores: Tensor | None = None


def _kl_part(batch: Batch, temperature: float = 1.0, documents: str = "own") -> Tensor:
    if documents == "own":
        return kl_divergence(batch.scores, batch.teacher_scores, temperature)
    if documents != "batch":
        raise DiscoError(f'kl_divergence: documents {documents!r}; allowed: "own", "batch".')
    if batch.all_scores is None or batch.duplicates is None or batch.all_teacher_scores is None:
        raise DiscoError(
            "kl_divergence over the batch needs the batch's scores by student and teacher "
            "(all_scores, all_teacher_scores)."
        )
    # A query's own documents keep the sample's scores: there the positive's may differ.
    n_own = batch.scores.shape[1]
    first = torch.arange(len(batch.queries), device=batch.scores.device).unsqueeze(1) * n_own
    own = first + torch.arange(n_own, device=batch.scores.device)
    teacher = batch.all_teacher_scores.scatter(1, own, batch.teacher_scores)
    out = float("-inf")
    return kl_divergence(
        batch.all_scores.masked_fill(batch.duplicates, out),
        teacher.masked_fill(batch.duplicates, out),
        temperature,
    )


def _margin_part(batch: Batch) -> Tensor:
    return margin_mse(batch.scores, batch.teacher_scores)


def _nce_part(batch: Batch, negatives: str = "own", temperature: float = 1.0) -> Tensor:
    if negatives == "own":
        return info_nce(batch.scores, batch.positive, temperature)
    if negatives != "batch":
        raise DiscoError(f'info_nce: negatives {negatives!r}; allowed: "own", "batch".')
    if batch.all_scores is None or batch.duplicates is None:
        raise DiscoError("info_nce over the batch needs the batch's scores (all_scores).")
    own = torch.arange(len(batch.queries), device=batch.positive.device) * batch.scores.shape[1]
    column = torch.where(batch.positive >= 0, own + batch.positive, -1)
    scores = batch.all_scores.masked_fill(batch.duplicates, float("-inf"))
    return info_nce(scores, column, temperature)


def _representation_part(batch: Batch, reduction: str = "sum") -> Tensor:
    return representation_mse(batch.queries, _of_teacher(batch, "representation_mse"), reduction)


def _document_part(batch: Batch) -> Tensor:
    return document_mse(batch.queries, _of_positives(batch, "document_mse"))


def _filtered_part(batch: Batch) -> Tensor:
    name = "filtered_representation_mse"
    return filtered_representation_mse(
        batch.queries, _of_teacher(batch, name), _of_positives(batch, name)
    )


def _of_teacher(batch: Batch, part: str) -> Tensor:
    if batch.teacher_queries is None:
        raise DiscoError(f"{part} needs the teacher's query vectors (teacher_queries).")
    return batch.teacher_queries


def _of_positives(batch: Batch, part: str) -> Tensor:
    if batch.positive_documents is None:
        raise DiscoError(f"{part} needs the relevant passages' vectors (positive_documents).")
    return batch.positive_documents


def _document_flops_part(batch: Batch) -> Tensor:
    if batch.document_vectors is None:
        raise DiscoError("document_flops needs the batch's documents (document_vectors).")
    return flops(batch.document_vectors)


def _anti_zero_part(batch: Batch) -> Tensor:
    return anti_zero(batch.queries, batch.document_vectors if batch.documents_trained else None)


PARTS: dict[str, Callable[..., Tensor]] = {
    "kl_divergence": _kl_part,
    "margin_mse": _margin_part,
    "info_nce": _nce_part,
    "representation_mse": _representation_part,
    "document_mse": _document_part,
    "filtered_representation_mse": _filtered_part,
    "l1": lambda batch: l1(batch.queries),
    "flops": lambda batch: flops(batch.queries),
    "document_flops": _document_flops_part,
    "anti_zero": _anti_zero_part,
}
#: Parts that look at the scores of documents.
SCORE_PARTS = ("kl_divergence", "margin_mse", "info_nce")
#: Parts that look at the vectors of the teacher's queries, and of the relevant passages.
TEACHER_QUERY_PARTS = ("representation_mse", "filtered_representation_mse")
POSITIVE_PARTS = ("document_mse", "filtered_representation_mse")
REGULARISERS = frozenset({"l1", "flops", "document_flops", "anti_zero"})


@dataclass(frozen=True)
class Objective:
    """A weighted sum of named losses: Objective({"kl_divergence": 0.99, "l1": 1e-3}).

    A value is a weight, or a mapping with "weight" and the loss's options, as in
    {"info_nce": {"weight": 0.01, "negatives": "batch", "temperature": 0.05}}. Raises DiscoError
    for an unknown name or option, listing those that exist, and for a weight that is no number.

    {"kl_divergence": {"weight": 1.0, "documents": "batch"}} takes the KL over the documents of the
    whole batch, with the teacher's exact scores of those that other queries drew. A document that
    a query drew itself counts once for it, with the score that its sample gives.

    document_flops is FLOPS of the documents, the papers' lambda_d. Of frozen documents it is a
    constant: it stands in the log and in the total, and changes nothing that is learnt.
    """

    parts: Mapping[str, float | Mapping[str, Any]] = field(default_factory=dict)
    #: The losses there are, by name.
    losses: ClassVar[Mapping[str, Callable[..., Tensor]]] = PARTS

    def __post_init__(self) -> None:
        there = ", ".join(sorted(self.losses))
        if not self.parts:
            raise DiscoError(f"An objective needs a loss; there are: {there}.")
        for name in self.parts:
            if name not in self.losses:
                raise DiscoError(f"No loss {name!r}; there are: {there}.")
            self.weight(name)
            known = list(inspect.signature(self.losses[name]).parameters)[1:]
            for option in self.options(name):
                if option not in known:
                    there = ", ".join(known) or "none"
                    raise DiscoError(f"{name}: no option {option!r}; there are: {there}.")

    def weight(self, name: str) -> float:
        """The weight of a part; DiscoError where there is none, or it is no number."""
        value = self.parts[name]
        if isinstance(value, Mapping):
            if "weight" not in value:
                raise DiscoError(f'{name}: a mapping of options needs a "weight".')
            value = value["weight"]
        try:
            weight = float(value)
        except (TypeError, ValueError):
            weight = math.nan
        if not math.isfinite(weight):
            raise DiscoError(f"{name}: its weight is {value!r}; give a number.")
        return weight

    def options(self, name: str) -> dict[str, Any]:
        """The options of a part without its weight."""
        value = self.parts[name]
        return (
            {k: v for k, v in value.items() if k != "weight"} if isinstance(value, Mapping) else {}
        )

    def uses(self, name: str) -> bool:
        """Whether a part is present with a weight other than 0."""
        return name in self.parts and self.weight(name) != 0

    @property
    def needs_batch_scores(self) -> bool:
        """Whether a part looks at the documents of other queries."""
        contrast = self.uses("info_nce") and self.options("info_nce").get("negatives") == "batch"
        return contrast or self.needs_all_teacher_scores

    @property
    def needs_all_teacher_scores(self) -> bool:
        """Whether a part looks at the teacher's scores of other queries' documents."""
        part = "kl_divergence"
        return self.uses(part) and self.options(part).get("documents") == "batch"

    @property
    def needs_teacher_queries(self) -> bool:
        """Whether a part looks at the vectors of the teacher's queries."""
        return any(self.uses(name) for name in TEACHER_QUERY_PARTS)

    @property
    def needs_positive_documents(self) -> bool:
        """Whether a part looks at the vectors of the relevant passages."""
        return any(self.uses(name) for name in POSITIVE_PARTS)

    def __call__(self, batch: Batch, regularisation: float = 1.0) -> dict[str, Tensor]:
        """The total under "loss", and each part, unweighted, under its name.

        regularisation in [0, 1] scales the regularisers' weights: the schedule of SPLADE, which
        lets a model learn before it is made sparse.
        """
        values = {
            name: self.losses[name](batch, **self.options(name))
            for name in self.parts
            if self.uses(name)
        }
        total = sum(
            (
                value * self.weight(name) * (regularisation if name in REGULARISERS else 1.0)
                for name, value in values.items()
            ),
            start=batch.queries.sum() * 0.0,
        )
        return {"loss": total, **values}


def _same_shape(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise DiscoError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape."
        )
