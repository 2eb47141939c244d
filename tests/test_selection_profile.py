import numpy as np
import pytest
from scipy import stats

from disco_lib.errors import DiscoError
from disco_lib.selection_profile import profile, profile_table, quarters


def test_shares_of_groups_and_their_test():
    groups = ["b"] * 40 + ["a"] * 60
    kept = np.r_[0:30, 40:55]
    found = profile(groups, kept)
    assert [(g.group, g.n, g.kept) for g in found.groups] == [("a", 60, 15), ("b", 40, 30)]
    assert found.groups[0].share == 0.25
    expected = stats.chi2_contingency([[15, 45], [30, 10]], correction=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.v == pytest.approx(np.sqrt(expected.statistic / 100))


def test_a_group_that_decides_and_one_that_does_not():
    groups = [1] * 50 + [2] * 50
    assert profile(groups, np.arange(50)).v == pytest.approx(1)
    neutral = profile(groups, np.r_[0:10, 50:60])
    assert neutral.v == pytest.approx(0) and neutral.p == pytest.approx(1)


@pytest.mark.parametrize("kept", [np.arange(3), np.zeros(0)])
def test_where_there_is_nothing_to_compare_there_is_no_test(kept):
    assert np.isnan(profile(["a", "b", "c"], kept).p)
    assert np.isnan(profile(["a", "a", "a"], np.array([1])).p)


def test_a_table_has_a_column_a_selection():
    groups = ["a"] * 10 + ["b"] * 10
    found = {"top": profile(groups, np.arange(8)), "random": profile(groups, np.arange(0, 20, 2))}
    frame = profile_table(found, "topic").frame
    assert frame["topic"].tolist() == ["a", "b", "one share?"]
    assert frame["top"].tolist()[:2] == ["80%", "0%"] and frame["random"][0] == "50%"
    assert frame["top"][2].startswith("p ")


def test_quarters_of_values():
    assert len(set(quarters([1, 2, 3, 4]))) == 4
    assert quarters([1, 2, 3, 4])[-1] == "4: up to 4"
    assert len(set(quarters([5, 5, 5, 5]))) == 1
    names = quarters(range(100))
    assert [names.count(name) for name in dict.fromkeys(names)] == [25] * 4


def test_what_cannot_be_is_told():
    with pytest.raises(DiscoError, match="No pair"):
        profile([], np.zeros(0))
    with pytest.raises(DiscoError, match="0 to 1"):
        profile(["a", "b"], np.array([2]))
    with pytest.raises(DiscoError, match="No value"):
        quarters([])
