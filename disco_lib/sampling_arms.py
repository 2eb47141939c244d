"""Sampling arms of the KL beside the window: top, uniform, stratified, and mixtures of arms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.nested_settings import check_fields
from disco_lib.sampling import Ranking, Sampler, WindowSampler, fill


@dataclass(frozen=True)
class TopSampler(Sampler):
    """The best of the teacher's ranking besides the positive: the hardest negatives.

    The same documents at every epoch. A ranking that is too short is filled with documents that
    it does not list, drawn uniformly.
    """

    negatives: int = 16
    positive: str = "own"
    kind: ClassVar[str] = "top"

    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """The `wanted` best documents that are not among `taken`, best first."""
        return fill(ranking.without(taken)[:wanted], ranking, taken, wanted, rng)


@dataclass(frozen=True)
class UniformSampler(Sampler):
    """Documents of the whole collection, each as likely: nearly all of them easy."""

    negatives: int = 16
    positive: str = "own"
    kind: ClassVar[str] = "uniform"

    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` documents of the collection that are not among `taken`."""
        taken = np.unique(taken)
        drawn = rng.choice(ranking.collection_size - len(taken), wanted, replace=False)
        # Places among the free documents -> documents: one further for each taken one before.
        return drawn + np.searchsorted(taken - np.arange(len(taken)), drawn, side="right")


@dataclass(frozen=True)
class StratifiedSampler(Sampler):
    """Documents from all over the teacher's score range, not only from where most of them lie.

    The range from the lowest to the highest listed score is cut to `strata` of equal width. Each
    gives as equal a number as it holds, drawn uniformly; what one lacks comes from the others, and
    who gives one more is drawn. A ranking that is too short is filled with documents that it does
    not list. Equal scores are one stratum.
    """

    negatives: int = 16
    strata: int = 8
    positive: str = "own"
    kind: ClassVar[str] = "stratified"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strata < 1:
            raise DiscoError(f"strata is {self.strata}; at least 1 is needed.")

    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` documents that are not among `taken`, the highest stratum's first."""
        free = ~np.isin(ranking.documents, taken)
        listed, stratum = ranking.documents[free], self.stratum_of(ranking.scores)[free]
        held = np.bincount(stratum, minlength=self.strata)
        shares = even_shares(held, wanted, rng)
        drawn = [
            rng.permutation(listed[stratum == i])[: shares[i]] for i in reversed(range(self.strata))
        ]
        return fill(np.concatenate(drawn), ranking, taken, wanted, rng)

    def stratum_of(self, scores: np.ndarray) -> np.ndarray:
        """The stratum int64 of each of a turn's scores (listed,): 0 is the lowest."""
        if len(scores) == 0 or np.ptp(scores) == 0:
            return np.zeros(len(scores), dtype=np.int64)
        scores = np.asarray(scores, dtype=np.float64)
        share = (scores - scores.min()) / np.ptp(scores)
        return np.minimum((share * self.strata).astype(np.int64), self.strata - 1)


@dataclass(frozen=True)
class MixtureSampler(Sampler):
    """Several samplers, each with negatives of its own; no document stands in the sample twice.

    The parts draw one after another, each from what those before it have left. A turn without a
    positive has one more document of the first part. What a part says of the positive does not
    count: the mixture says it.
    """

    parts: tuple[Sampler, ...] = ()
    positive: str = "own"
    kind: ClassVar[str] = "mixture"

    def __post_init__(self) -> None:
        if not self.parts:
            raise DiscoError("A mixture needs parts: a list of samplers with their negatives.")
        for part in self.parts:
            if not isinstance(part, Sampler):
                raise DiscoError(f"A mixture's part is {part!r}; give samplers.")
        object.__setattr__(self, "parts", tuple(self.parts))
        super().__post_init__()

    @property
    def negatives(self) -> int:
        """Documents besides the positive: the sum of the parts'."""
        return sum(part.negatives for part in self.parts)

    def draw(
        self, ranking: Ranking, taken: np.ndarray, wanted: int, rng: np.random.Generator
    ) -> np.ndarray:
        """`wanted` documents that are not among `taken`, the first part's first."""
        drawn = np.array([], dtype=np.int64)
        more = wanted - self.negatives
        for part in self.parts:
            own = part.draw(ranking, np.append(taken, drawn), part.negatives + more, rng)
            drawn, more = np.append(drawn, own), 0
        return drawn

    def with_negatives(self, negatives: int) -> MixtureSampler:
        """The mixture of another number of negatives, shared as before as nearly as it can be.

        Largest remainders first; a part whose share comes to 0 is left out.
        """
        exact = np.array([part.negatives for part in self.parts]) * negatives / self.negatives
        shares = np.floor(exact).astype(np.int64)
        order = np.argsort(shares - exact, kind="stable")
        shares[order[: negatives - shares.sum()]] += 1
        parts = zip(self.parts, shares.tolist(), strict=True)
        return dataclasses.replace(
            self, parts=tuple(part.with_negatives(n) for part, n in parts if n > 0)
        )

    def to_dict(self) -> dict[str, Any]:
        """The mixture as plain values, from which `sampler_from_dict` makes it again."""
        return super().to_dict() | {"parts": [part.to_dict() for part in self.parts]}


KINDS: dict[str, type[Sampler]] = {
    arm.kind: arm
    for arm in (WindowSampler, TopSampler, UniformSampler, StratifiedSampler, MixtureSampler)
}


def sampler_from_dict(values: Mapping[str, Any]) -> Sampler:
    """A sampler from a mapping, as YAML holds it: {kind: top, negatives: 16}.

    kind is "window" where it is not given; a mixture's parts are such mappings. Raises DiscoError
    for a kind or a setting that there is not, and for a value of the wrong form.
    """
    own = dict(values)
    kind = own.pop("kind", WindowSampler.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise DiscoError(f"sampler: no kind {kind!r}; there are: {', '.join(KINDS)}.")
    check_fields("sampler", KINDS[kind], own, besides=["kind"])
    if "parts" in own:
        own["parts"] = tuple(map(_part, _list_of_parts(own["parts"])))
    return KINDS[kind](**own)


def even_shares(held: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """How many each gives, (groups,), so that all give as equally as they hold, int64.

    held (groups,): how many each group holds. The sum is `wanted`, or all that is held; where
    equal shares do not come out, `rng` says who gives one more.
    """
    shares = np.zeros(len(held), dtype=np.int64)
    while (left := min(wanted, int(held.sum())) - int(shares.sum())) > 0:
        able = rng.permutation(np.flatnonzero(shares < held))[:left]
        shares[able] = np.minimum(held[able], shares[able] + max(1, left // len(able)))
    return shares


def _list_of_parts(values: Any) -> Sequence[Any]:
    if isinstance(values, Sequence) and not isinstance(values, str):
        return values
    raise DiscoError(f"sampler: 'parts' is {values!r}; give a list of samplers.")


def _part(value: Any) -> Sampler:
    if isinstance(value, Sampler):
        return value
    if not isinstance(value, Mapping):
        raise DiscoError(f"sampler: a mixture's part is {value!r}; give a mapping.")
    return sampler_from_dict(value)
