import numpy as np
import pytest

from disco_lib.dense_settings import DenseSettings
from disco_lib.errors import DiscoError
from disco_lib.pair_set import PairSet, choose
from disco_lib.pairs import Pair, pairs_of_collection


@pytest.fixture
def pairs(collection, dense_encoder):
    found = pairs_of_collection(collection, "train").pairs
    return PairSet.of(found, dense_encoder, 48)


def chosen(pairs, **values):
    return choose(pairs, DenseSettings.from_dict(values)).places


def test_selected_are_the_pairs_of_the_highest_scores(pairs):
    places = chosen(pairs, selection={"kind": "percentile", "percentile": 70})
    scores = pairs.annotation.scores
    others = np.setdiff1d(np.arange(len(scores)), places)
    assert len(places) == 9 and scores[places].min() >= scores[others].max()


def test_a_share_is_drawn_before_and_a_number_kept_after(pairs):
    none = {"kind": "none"}
    half = chosen(pairs, selection=none, share=0.5)
    assert len(half) == 15 and np.all(np.diff(half) > 0)
    kept = chosen(pairs, selection=none, share=0.5, keep=0.2)
    assert len(kept) == 3 and set(kept) <= set(half)
    everything = chosen(pairs, selection=none)
    np.testing.assert_array_equal(everything, np.arange(30))
    # A rule that keeps fewer keeps its own.
    strict = {"kind": "percentile", "percentile": 90}
    np.testing.assert_array_equal(
        chosen(pairs, selection=strict, keep=0.5), chosen(pairs, selection=strict)
    )


def test_the_seed_decides_every_draw(pairs):
    draw = {"selection": {"kind": "random", "share": 0.5}, "share": 0.8, "keep": 0.3}
    one, again, other = (chosen(pairs, **draw, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_uncertainty_looks_at_every_distinct_document(pairs):
    rule = DenseSettings.from_dict({"selection": {"kind": "uncertainty"}}).selection
    assert pairs.judged(rule, np.arange(4)).shape == (4, len(pairs.pool.first))
    assert pairs.judged(DenseSettings().selection, np.arange(4)).shape == (4,)


def test_hard_negatives_get_a_ranking_and_others_none(pairs):
    hard = DenseSettings.from_dict({"negatives": {"kind": "hard", "end": 5}})
    assert pairs.ranked_for(hard).pool.ranking.shape == (30, 5)
    assert pairs.ranked_for(DenseSettings()) is pairs


def test_what_leaves_nothing_is_an_error(pairs, dense_encoder):
    with pytest.raises(DiscoError, match="share 0.001 of 30 pairs is none"):
        chosen(pairs, share=0.001)
    with pytest.raises(DiscoError, match="keep 0.001 of 30 pairs is none"):
        chosen(pairs, keep=0.001)
    with pytest.raises(DiscoError, match="No pair"):
        PairSet.of([], dense_encoder)


def test_two_pairs_with_one_document_share_its_number(dense_encoder):
    texts = (("a", "one violin"), ("b", "two drums"))
    same = [Pair(turn, query, "a cello", "q", "d") for turn, query in texts]
    assert PairSet.of(same, dense_encoder, 16).pool.numbers.tolist() == [0, 0]
