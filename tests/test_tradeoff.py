"""Costs beside metrics, vectors cut to their heaviest terms, correlations with their intervals."""

import numpy as np
import pytest
from scipy import sparse, stats

from disco_lib import tradeoff
from disco_lib.errors import DiscoError
from disco_lib.records import Record, intervals
from disco_lib.tradeoff import correlation

GROWTH = {
    "rows": [
        {"documents": 1000, "postings, short": 5000, "ms, short, index": 0.5,
         "postings, long": 20000, "ms, long, index": 1.0},
        {"documents": 100, "postings, short": 500, "ms, short, index": 0.2,
         "postings, long": 2000, "ms, long, index": 0.3},
    ]
}  # fmt: skip


def record(**costs):
    values = {"1": {"MRR@10": [1.0, 0.0, 0.5], "R@100": [1.0, 1.0, 0.0]}}
    return Record(
        "tiny", "one", "One", {}, "hash", ["a", "b", "c"], values, {}, {"1": costs},
        intervals(values), {},
    )  # fmt: skip


# Tables


def test_a_point_lies_at_its_cost():
    point = tradeoff.trade_off_point(record(flops=2.5, active_terms=7), "MRR@10")
    assert (point.x, point.value) == (2.5, 0.5) and point.low <= 0.5 <= point.high
    assert tradeoff.trade_off_point(record(active_terms=7), "MRR@10", "active_terms").x == 7


def test_a_table_has_the_costs_that_some_record_has():
    given = {"a": record(flops=2.5, search_ms=0.01234), "b": record(flops=1, postings=1234)}
    frame = tradeoff.trade_off_table(given, "λ", ["MRR@10", "R@100"]).frame
    heads = ["λ", "postings", "FLOPS", "ms a query", "MRR@10", "R@100"]
    assert list(frame.columns) == heads
    assert frame["postings"].tolist() == ["", "1,234"]
    assert frame["ms a query"].tolist() == ["0.012", ""]
    assert frame["MRR@10"][0].startswith("0.500 [") and frame["R@100"][0] == "0.667"
    fewer = tradeoff.trade_off_table(given, "λ", ["R@100"], costs=["flops"]).frame
    assert list(fewer.columns) == ["λ", "FLOPS", "R@100"]


def test_passages_that_all_seeds_share_add_their_costs():
    found = tradeoff.with_documents(record(flops=2.5), {"postings": 10})
    assert found.costs == {"1": {"flops": 2.5, "postings": 10}}


# Vectors


def test_only_the_heaviest_terms_stay():
    vectors = sparse.csr_matrix(np.array([[1.0, 0, 3, 2], [0, 5, 0, 0], [2, 2, 2, 0]]))
    before = vectors.copy()
    found = tradeoff.heaviest(vectors, 2)
    assert found.toarray().tolist() == [[0, 0, 3, 2], [0, 5, 0, 0], [2, 2, 0, 0]]
    assert found.nnz == 5 and (vectors != before).nnz == 0
    with pytest.raises(DiscoError, match="at least one term"):
        tradeoff.heaviest(vectors, 0)


# Records of benchmarks


def test_postings_and_milliseconds_of_growing_collections():
    found = tradeoff.walked_and_took(GROWTH)
    walked, took = found["short queries"]
    assert walked.tolist() == [500, 5000] and took.tolist() == [0.2, 0.5]
    frame = tradeoff.posting_table(GROWTH).frame
    assert frame["queries"].tolist() == ["short", "short", "long", "long"]
    assert frame["passages"].tolist() == ["100", "1,000"] * 2
    assert frame["FLOPS"].tolist() == ["5.0", "5.0", "20.0", "20.0"]
    assert frame["ns a posting"].tolist() == ["400.00", "100.00", "150.00", "50.00"]


# Correlation


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_coefficients_are_scipys_and_lie_in_their_interval(kind):
    rng = np.random.default_rng(3)
    x = rng.normal(size=30).round(1)  # with ties
    y = x + rng.normal(size=30)
    found = correlation(x, y, kind)
    reference = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[kind](x, y)
    assert found.value == pytest.approx(reference.statistic)
    assert found.low < found.value < found.high and found.n == 30
    assert found == correlation(x, y, kind)
    # Roughly Fisher's interval.
    half = 1.96 / np.sqrt(27)
    assert found.low == pytest.approx(np.tanh(np.arctanh(found.value) - half), abs=0.12)


def test_a_straight_line_is_certain_and_a_bent_one_keeps_its_ranks():
    x = np.arange(1.0, 9.0)
    line = correlation(x, -2 * x)
    assert (line.value, line.low, line.high) == pytest.approx((-1, -1, -1))
    assert correlation(x, np.exp(x), "spearman").low == pytest.approx(1)
    assert correlation(x, np.exp(x)).value < 0.9


def test_too_little_to_correlate():
    few = correlation(np.array([1.0, 2, 3]), np.array([1.0, 2, 4]))
    assert few.value > 0.9 and np.isnan(few.low) and np.isnan(few.high)
    assert np.isnan(correlation(np.ones(9), np.arange(9.0)).value)
    assert np.isnan(correlation(np.array([1.0]), np.array([1.0])).value)
    with pytest.raises(DiscoError, match="two equal lists"):
        correlation(np.ones(3), np.ones(4))
    with pytest.raises(DiscoError, match='"pearson", "spearman"'):
        correlation(np.ones(3), np.ones(3), "kendall")


def test_a_table_of_correlations():
    x = np.arange(1.0, 9.0)
    pairs = {"FLOPS": (x, x**2), "terms": (-x[:5], x[:5] ** 2)}
    frame = tradeoff.correlation_table(pairs, "ms a query with").frame
    assert frame["ms a query with"].tolist() == ["FLOPS", "terms"]
    assert frame["Spearman"].tolist()[0].startswith("+1.00 [+1.00,")
    assert frame["Spearman"].tolist()[1].startswith("-1.00 [")
    assert frame["points"].tolist() == [8, 5]
