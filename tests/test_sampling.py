import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disco_lib.errors import DiscoError
from disco_lib.sampling import POSITIVES, WindowSampler


def ranking(n, first=5000, top=1000.0):
    """Documents first, first + 1, ... with scores top, top - 1, ...: rank r scores top + 1 - r."""
    documents = np.arange(first, first + n, dtype=np.int32)
    return documents, (top - np.arange(n)).astype(np.float32)


def draw(sampler, documents, scores, positive, size=10_000, seed=0):
    return sampler.sample(documents, scores, positive, size, np.random.default_rng(seed))


# The public recipe


def test_negatives_come_from_ranks_11_to_960():
    documents, scores = ranking(1000)
    seen = set()
    for seed in range(300):
        found = draw(WindowSampler(), documents, scores, 4, seed=seed)
        assert len(found.documents) == len(found.scores) == 17
        seen |= set(found.documents[1:].tolist())
        # Each negative keeps its own score: rank r is document 4999 + r and scores 1001 - r.
        np.testing.assert_array_equal(found.scores[1:], 6000 - found.documents[1:])
    assert min(seen) == 5010 and max(seen) == 5959
    assert len(seen) > 900


def test_every_rank_of_the_window_is_as_likely():
    documents, scores = ranking(30)
    sampler = WindowSampler(negatives=5, start=10, end=30)
    drawn = [draw(sampler, documents, scores, 4, seed=seed).documents[1:] for seed in range(2000)]
    counts = np.bincount(np.concatenate(drawn) - 5010, minlength=20)
    # 2000 draws of 5 of 20: 500 each, with a standard deviation of 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4


@pytest.mark.parametrize("rank", [1, 5, 10])
def test_a_positive_above_the_window_ties_with_rank_11(rank):
    documents, scores = ranking(1000)
    found = draw(WindowSampler(), documents, scores, 4999 + rank)
    assert found.positive == 0 and found.documents[0] == 4999 + rank
    assert found.scores[0] == scores[10] == 990


@pytest.mark.parametrize("rank", [11, 500, 960])
def test_a_positive_inside_the_window_keeps_its_own_score(rank):
    documents, scores = ranking(1000)
    for seed in range(20):
        found = draw(WindowSampler(), documents, scores, 4999 + rank, seed=seed)
        assert found.documents[0] == 4999 + rank
        assert found.scores[0] == 1001 - rank
        assert 4999 + rank not in found.documents[1:]


@pytest.mark.parametrize("positive", [4999 + 961, 4999 + 1000, 3])
def test_a_positive_below_the_window_or_unlisted_gets_the_windows_largest_score(positive):
    documents, scores = ranking(1000)
    assert draw(WindowSampler(), documents, scores, positive).scores[0] == 990


def test_a_window_of_one_that_is_the_positive_still_has_its_score():
    documents, scores = ranking(20)
    sampler = WindowSampler(negatives=3, start=4, end=5)
    found = draw(sampler, documents, scores, 5004)
    assert found.scores.tolist() == [996, 0, 0, 0]


# Other positives


@pytest.mark.parametrize(("rank", "score"), [(1, 1000), (11, 990), (961, 40), (None, 0)])
def test_own_keeps_the_teachers_score_wherever_it_ranks(rank, score):
    documents, scores = ranking(1000)
    positive = 3 if rank is None else 4999 + rank
    found = draw(WindowSampler(positive="own"), documents, scores, positive)
    assert (found.documents[0], found.scores[0], found.positive) == (positive, score, 0)


@pytest.mark.parametrize(("kind", "positive"), [("none", 5020), ("window", -1), ("own", -1)])
def test_without_a_positive_there_is_one_more_document_of_the_window(kind, positive):
    documents, scores = ranking(1000)
    found = draw(WindowSampler(positive=kind), documents, scores, positive)
    assert found.positive == -1
    assert len(set(found.documents.tolist())) == 17
    assert found.documents.min() >= 5010 and found.documents.max() <= 5959
    np.testing.assert_array_equal(found.scores, 6000 - found.documents)


# Short rankings


@pytest.mark.parametrize("listed", [0, 5, 10, 11, 20])
def test_short_rankings_are_filled_with_documents_of_score_0(listed):
    documents, scores = ranking(listed, first=50)
    found = draw(WindowSampler(), documents, scores, 3, size=100)
    inside = max(0, listed - 10)
    assert len(set(found.documents.tolist())) == 17
    assert (found.scores[1:] > 0).sum() == inside
    from_window = found.documents[1:][found.scores[1:] > 0]
    assert set(from_window.tolist()) == set(range(60, 60 + inside))
    # What the teacher ranks above the window is no document of score 0.
    filled = set(found.documents[1:][found.scores[1:] == 0].tolist())
    assert not filled & set(documents.tolist()) and 3 not in filled
    assert found.scores[0] == (scores[10] if listed > 10 else 0)


def test_the_filling_is_as_random_as_the_rest():
    documents, scores = ranking(0)
    drawn = {tuple(draw(WindowSampler(), documents, scores, 3, seed=s).documents) for s in range(9)}
    assert len(drawn) == 9


def test_too_small_a_collection_is_named():
    documents, scores = ranking(5, first=0)
    with pytest.raises(DiscoError, match="17 documents a turn, but the collection has only 16"):
        draw(WindowSampler(), documents, scores, 3, size=16)
    # 4 documents of the ranking besides the positive are above the window: 20 - 5 remain.
    with pytest.raises(DiscoError, match="only 15 of 16 documents. Widen the window"):
        draw(WindowSampler(), documents, scores, 3, size=20)
    assert len(draw(WindowSampler(), documents, scores, 3, size=21).documents) == 17


# Settings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"negatives": 0}, "negatives is 0; at least 1"),
        ({"start": -1}, "window -1-960"),
        ({"start": 5, "end": 5}, "window 5-5: 0 <= start < end"),
        ({"positive": "best"}, "positive 'best'; allowed: window, own, none"),
    ],
)
def test_settings_out_of_range_are_named(settings, problem):
    with pytest.raises(DiscoError, match=problem):
        WindowSampler(**settings)


# In general


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_sample_is_what_its_settings_say(data):
    size = data.draw(st.integers(1, 60), label="collection")
    start = data.draw(st.integers(0, 12), label="start")
    sampler = WindowSampler(
        negatives=data.draw(st.integers(1, 12), label="negatives"),
        start=start,
        end=start + data.draw(st.integers(1, 30), label="width"),
        positive=data.draw(st.sampled_from(POSITIVES), label="kind"),
    )
    seed = data.draw(st.integers(0, 99), label="seed")
    shuffled = np.random.default_rng(seed).permutation(size)
    documents = shuffled[: data.draw(st.integers(0, size), label="listed")].astype(np.int32)
    values = np.random.default_rng(seed).integers(1, 9, len(documents))
    scores = -np.sort(-values).astype(np.float32)
    positive = data.draw(st.integers(-1, size - 1), label="positive")

    try:
        found = draw(sampler, documents, scores, positive, size, seed)
    except DiscoError:
        # Refused only where there are indeed too few documents: those of the window, and those
        # that the teacher does not list, the positive apart.
        listed = set(documents.tolist())
        usable = set(documents[start : sampler.end].tolist()) | (set(range(size)) - listed)
        assert len(usable - {positive}) <= sampler.negatives
        return
    again = draw(sampler, documents.copy(), scores.copy(), positive, size, seed)
    assert found.documents.tolist() == again.documents.tolist()
    assert found.scores.tolist() == again.scores.tolist()

    chosen = found.documents.tolist()
    assert found.documents.dtype == np.int64 and found.scores.dtype == np.float32
    assert len(chosen) == len(found.scores) == len(set(chosen)) == sampler.negatives + 1
    assert all(0 <= document < size for document in chosen)
    with_positive = positive >= 0 and sampler.positive != "none"
    assert found.positive == (0 if with_positive else -1)
    place = {document: rank for rank, document in enumerate(documents.tolist())}
    for document, score in list(zip(chosen, found.scores, strict=True))[with_positive:]:
        rank = place.get(document)
        if rank is None:
            assert score == 0
        else:
            assert start <= rank < sampler.end and score == scores[rank]
    if with_positive:
        assert chosen[0] == positive
        rank = place.get(positive)
        inside = rank is not None and start <= rank < sampler.end
        if inside or (sampler.positive == "own" and rank is not None):
            assert found.scores[0] == scores[rank]
        elif sampler.positive == "own":
            assert found.scores[0] == 0
        else:
            assert found.scores[0] == (scores[start] if len(scores) > start else 0)


# The exact scores of what is not listed


def test_what_is_not_listed_may_have_its_exact_score():
    documents, scores = ranking(12, first=50)
    exact = np.linspace(0.1, 0.2, 100, dtype=np.float32)
    asked = []

    def score(wanted):
        asked.extend(wanted.tolist())
        return exact[wanted]

    for kind, own in (("own", exact[3]), ("window", 990.0)):
        sampler = WindowSampler(negatives=6, positive=kind)
        found = sampler.sample(documents, scores, 3, 100, np.random.default_rng(0), score)
        plain = sampler.sample(documents, scores, 3, 100, np.random.default_rng(0))
        assert found.documents.tolist() == plain.documents.tolist()
        listed = (found.documents >= 50) & (found.documents < 62)
        listed[0] = True
        assert listed.sum() == 3  # the positive, and ranks 11 and 12
        np.testing.assert_array_equal(found.scores[1:][listed[1:]], plain.scores[1:][listed[1:]])
        np.testing.assert_array_equal(found.scores[~listed], exact[found.documents[~listed]])
        assert found.scores[0] == np.float32(own) and not plain.scores[~listed].any()
    assert not set(asked) & set(range(50, 62))
    assert not WindowSampler.needs_scores


def test_the_window_draws_what_it_always_drew():
    # Students are found by their settings, so a sampler's draws must not change under them.
    documents, scores = ranking(40, first=20)
    drawn = {
        kind: draw(WindowSampler(5, 2, 30, kind), documents, scores, 20, 90, 7)
        for kind in POSITIVES
    }
    short = draw(WindowSampler(5, 2, 30), documents[:4], scores[:4], 8, 30, 7)
    found = {kind: sample.documents.tolist() for kind, sample in drawn.items()}
    assert found == {
        "window": [20, 39, 26, 48, 35, 25],
        "own": [20, 39, 26, 48, 35, 25],
        "none": [39, 26, 48, 35, 25, 36],
    }
    assert short.documents.tolist() == [8, 22, 23, 15, 27, 17] and short.scores.tolist() == [
        998.0,
        998.0,
        997.0,
        0.0,
        0.0,
        0.0,
    ]


def test_another_number_of_negatives_and_plain_values():
    sampler = WindowSampler(5, 2, 30, "own").with_negatives(9)
    assert sampler == WindowSampler(9, 2, 30, "own")
    assert list(sampler.to_dict().items()) == [
        ("negatives", 9), ("start", 2), ("end", 30), ("positive", "own"),
    ]  # fmt: skip
