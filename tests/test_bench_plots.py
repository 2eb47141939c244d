import numpy as np
import pytest

from disco_lib.bench_plots import growth_lines, search_dots
from disco_lib.tables import Words


def test_dots_of_engines(bench_records):
    figure = search_dots(bench_records["search"])
    (axis,) = figure.axes
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels[0] == "InvertedIndex uint8"
    assert labels[-1] == "BMP"
    assert axis.get_title("left").startswith("200,000 documents")  # the most that Lucene ran with
    assert axis.get_xscale() == "log"
    short, long = axis.get_lines()
    assert min(short.get_xdata()) == pytest.approx(0.6)
    assert max(long.get_xdata()) == pytest.approx(36.0)
    assert "overlap 90.0%" in [text.get_text() for text in axis.texts]


def test_lines_of_growth(bench_records):
    figure = growth_lines(bench_records["growth"])
    times, sizes, seconds = figure.axes
    assert times.get_ylabel() == "milliseconds a query" and len(times.get_lines()) == 4
    index, plain = sizes.get_lines()
    np.testing.assert_allclose(plain.get_ydata(), 4 * np.array(index.get_ydata()))
    np.testing.assert_allclose(seconds.get_lines()[0].get_ydata()[-1], 1e6 / 140_000)
    assert {axis.get_xlabel() for axis in figure.axes} == {"documents"}


def test_without_records_every_figure_is_one_line_that_says_so():
    for view in (search_dots(None), growth_lines(None)):
        assert isinstance(view, Words) and view.text == "no record yet: `make bench`"
