import math
from itertools import combinations

import numpy as np
import pytest
import torch

from disco_lib.errors import DiscoError
from disco_lib.kl_estimate import kl, kl_estimates, teacher_mass
from disco_lib.losses import kl_divergence
from disco_lib.sampling import Sample, WindowSampler
from disco_lib.sampling_arms import MixtureSampler, StratifiedSampler, TopSampler, UniformSampler

RNG = np.random.default_rng(3)
TEACHER = RNG.gamma(2, 2, (4, 40)).astype(np.float32)
STUDENT = TEACHER + RNG.normal(0, 1, TEACHER.shape)
EVERY_ARM = [
    TopSampler(),
    UniformSampler(),
    StratifiedSampler(),
    WindowSampler(start=0, end=40, positive="own"),
    MixtureSampler((TopSampler(1), UniformSampler(1))),
]


def test_the_kl_is_that_of_the_losses():
    for temperature in (0.5, 1.0, 3.0):
        found = kl(STUDENT, TEACHER, temperature).mean()
        student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER, dtype=torch.float64)
        assert found == pytest.approx(kl_divergence(student, teacher, temperature).item())


@pytest.mark.parametrize("sampler", EVERY_ARM, ids=lambda sampler: sampler.kind)
def test_all_documents_have_neither_bias_nor_spread(sampler):
    (found,) = kl_estimates(STUDENT, TEACHER, sampler, [40], positives=[0, 5, -1, 9], draws=6)
    assert found.documents == 40 and found.full == pytest.approx(kl(STUDENT, TEACHER).mean())
    assert found.bias == pytest.approx(0, abs=1e-12) and found.deviation == 0
    assert found.bias_interval == pytest.approx((0, 0), abs=1e-12)
    assert found.deviation_interval == (0, 0)


def test_equal_scores_have_a_kl_of_0_in_every_sample():
    student, teacher = np.full((2, 30), 7.0), np.ones((2, 30))
    for found in kl_estimates(student, teacher, UniformSampler(), [2, 8, 30], draws=5):
        assert (found.full, found.mean, found.bias, found.deviation) == (0, 0, 0, 0)


def test_pairs_of_three_documents_by_hand():
    # Uniform teacher, student (ln 2, 0, 0): q = (1/2, 1/4, 1/4), and KL = ln(32 / 27) / 3. Two of
    # three pairs hold the first document: there q = (2/3, 1/3) and KL = ln(9 / 8) / 2; else 0.
    student, teacher = np.array([math.log(2), 0, 0]), np.zeros(3)
    (found,) = kl_estimates(student, teacher, UniformSampler(), [2], draws=4000)
    pairs = [kl(student[list(pair)], teacher[list(pair)]) for pair in combinations(range(3), 2)]
    assert pairs == pytest.approx([math.log(9 / 8) / 2] * 2 + [0], abs=1e-12)
    assert found.full == pytest.approx(math.log(32 / 27) / 3)
    assert found.mean == pytest.approx(np.mean(pairs), rel=0.05)
    assert found.deviation == pytest.approx(np.std(pairs), rel=0.05)
    for value, (low, high) in (
        (found.mean, found.mean_interval),
        (found.bias, found.bias_interval),
        (found.deviation, found.deviation_interval),
    ):
        assert low < value < high and high - low < 0.01
    assert found.bias == pytest.approx(found.mean - found.full)


def test_top_documents_have_a_bias_and_no_spread():
    (found,) = kl_estimates(STUDENT, TEACHER, TopSampler(), [5], depth=20, draws=4)
    best = np.argsort(-TEACHER, axis=1)
    of_student, of_teacher = (np.take_along_axis(x, best, axis=1) for x in (STUDENT, TEACHER))
    assert found.mean == pytest.approx(kl(of_student[:, :5], of_teacher[:, :5]).mean(), rel=1e-5)
    assert found.full == pytest.approx(kl(of_student[:, :20], of_teacher[:, :20]).mean(), rel=1e-5)
    assert found.deviation == 0 and abs(found.bias) > 1e-4


def test_a_seed_gives_the_same_estimates():
    first, again, other = (
        kl_estimates(STUDENT, TEACHER, UniformSampler(), [3, 9], draws=20, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again and first != other


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"teacher": TEACHER[:2]}, r"student \(4, 40\) and teacher \(2, 40\)"),
        ({"positives": [1]}, "1 positives for 4 turns"),
        ({"sizes": [1]}, "must be 2 or more"),
        ({"draws": 1}, "must be 2 or more"),
        ({"temperature": 0}, "temperature above 0"),
        ({"sizes": [41]}, "41 documents a turn, but the collection has only 40"),
    ],
)
def test_numbers_out_of_range_are_named(changes, problem):
    given = {"student": STUDENT, "teacher": TEACHER, "sizes": [4], "sampler": UniformSampler()}
    with pytest.raises(DiscoError, match=problem):
        kl_estimates(**{**given, **changes})


# Mass


def test_mass_and_entropy_by_hand():
    # Shares 1/2, 1/4, 1/4 of documents 8, 3, 5.
    documents, scores = np.array([8, 3, 5]), np.log([2.0, 1.0, 1.0])
    found = teacher_mass(Sample(np.array([5, 3]), scores[1:], -1), documents, scores)
    assert found.mass == pytest.approx(0.5) and found.entropy == pytest.approx(math.log(2))
    assert found.full_entropy == pytest.approx(1.5 * math.log(2))
    whole = teacher_mass(Sample(np.array([3, 5, 8]), scores[[1, 2, 0]], 0), documents, scores)
    assert whole.mass == 1.0 and whole.entropy == pytest.approx(whole.full_entropy)
    unlisted = teacher_mass(Sample(np.array([8, 77]), np.array([1.0, 1.0]), 0), documents, scores)
    assert unlisted.mass == pytest.approx(0.5)


def test_temperature_evens_the_mass_out():
    documents, scores = np.array([8, 3]), np.array([2 * math.log(3), 0.0])
    found = teacher_mass(Sample(np.array([8]), scores[:1], 0), documents, scores, 2.0)
    assert found.mass == pytest.approx(3 / 4) and found.entropy == 0


def test_an_empty_ranking_is_named():
    with pytest.raises(DiscoError, match="0 documents and 0 scores"):
        teacher_mass(Sample(np.array([8]), np.array([1.0]), 0), np.array([]), np.array([]))
