import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.errors import DiscoError
from disco_lib.sampling import WindowSampler
from disco_lib.sampling_arms import (
    KINDS,
    MixtureSampler,
    StratifiedSampler,
    TopSampler,
    UniformSampler,
    even_shares,
    sampler_from_dict,
)


def ranking(n, first=50):
    """Documents first, first + 1, ... with scores n, n - 1, ..."""
    return np.arange(first, first + n, dtype=np.int32), np.arange(n, 0, -1).astype(np.float32)


def draw(sampler, documents, scores, positive=-1, size=100, seed=0, score=None):
    rng = np.random.default_rng(seed)
    return sampler.sample(documents, scores, positive, size, rng, score)


# Top


def test_top_takes_the_best_besides_the_positive():
    found = draw(TopSampler(4), *ranking(20), positive=51)
    assert found.documents.tolist() == [51, 50, 52, 53, 54] and found.positive == 0
    assert found.scores.tolist() == [19, 20, 18, 17, 16]
    without = draw(TopSampler(4, positive="none"), *ranking(20), positive=51)
    assert without.documents.tolist() == [50, 51, 52, 53, 54] and without.positive == -1


def test_top_of_a_short_ranking_is_filled():
    found = draw(TopSampler(6), *ranking(2), positive=50, size=60)
    assert found.documents[:2].tolist() == [50, 51] and found.scores[2:].tolist() == [0] * 5
    assert not set(found.documents[2:].tolist()) & {50, 51}


# Uniform


@pytest.mark.parametrize("positive", [0, 7, 11])
def test_uniform_draws_every_document_but_the_positive_as_often(positive):
    documents, scores = ranking(3, first=4)
    drawn = [
        draw(UniformSampler(3), documents, scores, positive, 12, seed).documents
        for seed in range(2200)
    ]
    assert {int(sample[0]) for sample in drawn} == {positive}
    counts = np.bincount(np.concatenate([sample[1:] for sample in drawn]), minlength=12)
    # 2200 draws of 3 of 11: 600 each, with a standard deviation of 21.
    assert counts[positive] == 0
    assert np.abs(np.delete(counts, positive) - 600).max() < 5 * 21


def test_uniform_counts_0_what_is_not_listed_or_asks_for_its_score():
    documents, scores = ranking(30)
    plain = draw(UniformSampler(60), documents, scores, positive=3)
    exact = draw(UniformSampler(60), documents, scores, 3, score=lambda wanted: wanted / 1000)
    assert plain.documents.tolist() == exact.documents.tolist()
    for document, without, score in zip(plain.documents, plain.scores, exact.scores, strict=True):
        listed = 50 <= document < 80
        assert without == (80 - document if listed else 0)
        assert score == (80 - document if listed else np.float32(document / 1000))


# Strata


def test_strata_are_of_equal_width_between_the_lowest_and_the_highest_score():
    scores = np.array([10.0, 7.6, 7.5, 7.4, 5.0, 2.5, 0.1, 0.0])
    assert StratifiedSampler(strata=4).stratum_of(scores).tolist() == [3, 3, 3, 2, 2, 1, 0, 0]
    assert StratifiedSampler(strata=4).stratum_of(np.array([3.0, 3.0])).tolist() == [0, 0]


def test_each_stratum_gives_as_equal_a_number_as_it_holds():
    # 2 documents near 9, 4 at 5, 94 up to 1: of 12, 2 + 4 + 6; of 6, 2 each.
    scores = np.concatenate([[9.0, 8.9], np.full(4, 5.0), np.linspace(1, 0, 94)])
    documents = np.arange(100, dtype=np.int32)
    for negatives, expected in ((12, [2, 4, 6]), (6, [2, 2, 2])):
        sampler = StratifiedSampler(negatives, strata=3)
        found = draw(sampler, documents, scores.astype(np.float32), positive=99)
        high, middle = found.documents < 2, (found.documents >= 2) & (found.documents < 6)
        low = found.documents[1:] >= 6
        assert [high.sum(), middle.sum(), low.sum()] == expected
        assert found.documents[0] == 99 and 99 not in found.documents[1:]


def test_the_rest_of_equal_shares_is_drawn():
    held = np.array([9, 9, 9])
    shares = [even_shares(held, 7, np.random.default_rng(seed)).tolist() for seed in range(30)]
    assert {tuple(sorted(s)) for s in shares} == {(2, 2, 3)} and len(set(map(tuple, shares))) == 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.integers(0, 120), st.integers(0, 9))
def test_shares_are_as_equal_as_what_is_held(held, wanted, seed):
    held = np.array(held)
    shares = even_shares(held, wanted, np.random.default_rng(seed))
    assert shares.sum() == min(wanted, held.sum()) and (shares <= held).all()
    # Who could give more gives no less than anyone else does, but for one.
    able = shares < held
    assert not able.any() or shares[able].min() >= shares.max() - 1


# Mixtures


def test_a_mixture_draws_its_parts_one_after_another():
    parts = (TopSampler(3), WindowSampler(4, 0, 10), UniformSampler(5))
    found = draw(MixtureSampler(parts), *ranking(30), positive=50)
    assert len(found.documents) == 13 == len(set(found.documents.tolist()))
    assert found.documents[:4].tolist() == [50, 51, 52, 53]
    # The window holds 50 to 59; what is left of it is 54 to 59.
    assert set(found.documents[4:8].tolist()) <= set(range(54, 60))
    assert found.scores[0] == 30
    without = draw(MixtureSampler(parts, positive="none"), *ranking(30), positive=50)
    assert without.documents[:4].tolist() == [50, 51, 52, 53] and without.positive == -1
    assert len(set(without.documents.tolist())) == 13


def test_a_mixture_shares_another_number_as_nearly_as_it_can():
    inner = MixtureSampler((TopSampler(1), UniformSampler(1)))
    mixture = MixtureSampler((TopSampler(4), inner, UniformSampler(2)))
    assert mixture.negatives == 8
    assert [part.negatives for part in mixture.with_negatives(16).parts] == [8, 4, 4]
    assert [part.negatives for part in mixture.with_negatives(7).parts] == [3, 2, 2]
    assert mixture.with_negatives(1).parts == (TopSampler(1),)
    assert all(mixture.with_negatives(n).negatives == n for n in range(1, 40))


# Settings


@pytest.mark.parametrize(
    ("values", "sampler"),
    [
        ({}, WindowSampler()),
        ({"negatives": 3, "start": 0}, WindowSampler(3, 0)),
        ({"kind": "window", "end": 20}, WindowSampler(end=20)),
        ({"kind": "top", "negatives": 4, "positive": "none"}, TopSampler(4, "none")),
        ({"kind": "uniform"}, UniformSampler()),
        ({"kind": "stratified", "strata": 3}, StratifiedSampler(strata=3)),
        (
            {"kind": "mixture", "parts": [{"kind": "top", "negatives": 2}, {"negatives": 1}]},
            MixtureSampler((TopSampler(2), WindowSampler(1))),
        ),
    ],
)
def test_samplers_from_mappings_and_back(values, sampler):
    assert sampler_from_dict(values) == sampler
    assert sampler_from_dict(sampler.to_dict()) == sampler
    assert hash(sampler) == hash(sampler_from_dict(sampler.to_dict()))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kind": "best"}, "no kind 'best'; there are: window, top, uniform, stratified, mixture"),
        ({"kind": ["top"]}, "no kind"),
        ({"kind": "top", "start": 3}, "no setting 'start'; there are: negatives, positive, kind"),
        ({"kind": "top", "negatives": 0}, "negatives is 0; at least 1"),
        ({"kind": "uniform", "negatives": 2.5}, "'negatives' is 2.5; give a whole number"),
        ({"kind": "uniform", "positive": "window"}, "positive 'window'; allowed: own, none"),
        ({"kind": "stratified", "strata": 0}, "strata is 0; at least 1"),
        ({"kind": "mixture"}, "A mixture needs parts"),
        ({"kind": "mixture", "parts": []}, "A mixture needs parts"),
        ({"kind": "mixture", "parts": "top"}, "'parts' is 'top'; give a list"),
        ({"kind": "mixture", "parts": ["top"]}, "part is 'top'; give a mapping"),
        ({"kind": "mixture", "negatives": 3}, "no setting 'negatives'; there are: parts"),
        ({"kind": "mixture", "parts": [{"kind": "top", "negatives": 0}]}, "negatives is 0"),
    ],
)
def test_samplers_that_cannot_be_are_named(values, problem):
    with pytest.raises(DiscoError, match=problem):
        sampler_from_dict(values)


def test_parts_that_are_no_samplers_are_named():
    with pytest.raises(DiscoError, match="A mixture's part is 3; give samplers"):
        MixtureSampler((3,))


@pytest.mark.parametrize("kind", ["top", "uniform", "stratified", "mixture"])
def test_too_small_a_collection_is_named(kind):
    parts = {"parts": [{"kind": "top", "negatives": 16}]} if kind == "mixture" else {}
    sampler = sampler_from_dict({"kind": kind, **parts})
    assert sampler.needs_scores
    documents, scores = ranking(5, first=0)
    with pytest.raises(DiscoError, match="17 documents a turn, but the collection has only 16"):
        draw(sampler, documents, scores, 3, size=16)
    assert sorted(draw(sampler, documents, scores, 3, size=17).documents) == list(range(17))


# In general

NEGATIVES = st.integers(1, 8)
ARMS = st.one_of(
    st.builds(TopSampler, NEGATIVES, st.sampled_from(["own", "none"])),
    st.builds(UniformSampler, NEGATIVES, st.sampled_from(["own", "none"])),
    st.builds(StratifiedSampler, NEGATIVES, st.integers(1, 9), st.sampled_from(["own", "none"])),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_sample_is_what_its_settings_say(data):
    parts = st.lists(ARMS, min_size=1, max_size=3).map(tuple)
    mixtures = st.builds(MixtureSampler, parts, st.sampled_from(["own", "none"]))
    sampler = data.draw(st.one_of(ARMS, mixtures), label="sampler")
    size, seed = data.draw(st.integers(1, 60), label="size"), data.draw(st.integers(0, 99))
    documents = np.random.default_rng(seed).permutation(size).astype(np.int32)
    documents = documents[: data.draw(st.integers(0, size), label="listed")]
    values = np.random.default_rng(seed).integers(1, 9, len(documents))
    scores = -np.sort(-values).astype(np.float32)
    positive = data.draw(st.integers(-1, size - 1), label="positive")
    exact = data.draw(st.sampled_from([None, lambda wanted: wanted / 100 + 20]), label="exact")

    with_positive = positive >= 0 and sampler.positive == "own"
    if sampler.negatives + 1 > size:
        with pytest.raises(DiscoError, match="Lower negatives"):
            draw(sampler, documents, scores, positive, size, seed, exact)
        return
    found = draw(sampler, documents, scores, positive, size, seed, exact)
    again = draw(sampler, documents.copy(), scores.copy(), positive, size, seed, exact)
    assert found.documents.tolist() == again.documents.tolist()
    assert found.scores.tolist() == again.scores.tolist()
    chosen = found.documents.tolist()
    assert found.documents.dtype == np.int64 and found.scores.dtype == np.float32
    assert len(chosen) == len(found.scores) == len(set(chosen)) == sampler.negatives + 1
    assert all(0 <= document < size for document in chosen)
    assert found.positive == (0 if with_positive else -1)
    assert not with_positive or chosen[0] == positive
    listed = dict(zip(documents.tolist(), scores.tolist(), strict=True))
    for document, score in zip(chosen, found.scores, strict=True):
        other = 0.0 if exact is None else document / 100 + 20
        assert math.isclose(score, listed.get(document, other), rel_tol=1e-6)


def test_every_kind_has_its_name():
    assert list(KINDS) == ["window", "top", "uniform", "stratified", "mixture"]
    assert all(arm.kind == kind for kind, arm in KINDS.items())
