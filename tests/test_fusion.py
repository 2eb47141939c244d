import pytest

from disco_lib.errors import DiscoError
from disco_lib.fusion import METHODS, fuse
from disco_lib.runs import run_from_dict

A = {"q1": {"a": 3.0, "b": 2.0, "c": 1.0}, "q2": {"a": 1.0, "b": 0.5}}
B = {"q1": {"b": 40.0, "d": 20.0, "a": 0.0}, "q2": {"b": 9.0, "c": 3.0}}


def fused(*runs, **options):
    return fuse([run_from_dict(run) for run in runs], **options).to_dict()


def test_the_papers_fusion_is_the_mean_of_min_max_scores():
    found = fused(A, B)["q1"]
    # A: a 1, b .5, c 0; B: b 1, d .5, a 0. A sum ranks as the mean of two does.
    assert found == pytest.approx({"b": 1.5, "a": 1.0, "d": 0.5, "c": 0.0})
    assert list(found) == ["b", "a", "d", "c"]


def test_reciprocal_ranks_look_at_no_score():
    stretched = {q: {d: s**3 for d, s in ranking.items()} for q, ranking in A.items()}
    assert fused(A, B, method="rrf") == fused(stretched, B, method="rrf")


def test_max_and_mnz_differ_from_the_mean():
    assert fused(A, B, method="max")["q1"]["a"] == pytest.approx(1.0)
    assert fused(A, B, method="mnz")["q1"]["b"] == pytest.approx(3.0)


def test_only_the_best_are_kept_and_equal_scores_have_one_order():
    tied = {"q1": {"b": 1.0, "a": 1.0, "c": 0.0}}
    assert list(fused(tied, tied, depth=2)["q1"]) == ["a", "b"]


@pytest.mark.parametrize("method", METHODS)
def test_a_turn_that_one_run_lacks_keeps_the_others_ranking(method):
    found = fused({"q1": A["q1"]}, B, method=method)
    assert set(found) == {"q1", "q2"} and found["q2"] == B["q2"]
    assert fused({}, {}, method=method) == {}


def test_fusing_a_run_with_itself_changes_no_ranking():
    for ranking, again in zip(A.values(), fused(A, A).values(), strict=True):
        assert list(again) == list(ranking)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"method": "vote"}, "methods are mean"), ({"norm": "log"}, "norms min-max")],
)
def test_an_unknown_method_or_norm_lists_those_there_are(options, named):
    with pytest.raises(DiscoError, match=named):
        fused(A, B, **options)


def test_one_run_is_no_fusion():
    with pytest.raises(DiscoError, match="two runs"):
        fused(A)
