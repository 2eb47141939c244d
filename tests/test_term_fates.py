"""Terms kept, dropped and new: by hand, and what every split of a query's terms must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from disco_lib.errors import DiscoError
from disco_lib.term_fates import fate_difference_rows, fate_table, fates, share_inside

BEFORE = np.array([[1.0, 2, 0, 3, 0], [0, 1, 0, 0, 0]])
AFTER = np.array([[0.5, 0, 4, 1, 0], [0, 0, 0, 0, 0]])
REWRITE = np.array([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
SHARES = np.array([0.5, 0.25, 0.1, 0.1, 0.0])


def csr(rows):
    return sparse.csr_matrix(np.asarray(rows, dtype=np.float32))


def test_fates_by_hand():
    found = fates(csr(BEFORE), csr(AFTER))
    assert found.kept.toarray().tolist() == [[1, 0, 0, 3, 0], [0, 0, 0, 0, 0]]
    assert found.dropped.toarray().tolist() == [[0, 2, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert found.new.toarray().tolist() == [[0, 0, 4, 0, 0], [0, 0, 0, 0, 0]]
    assert list(found.groups()) == ["kept", "dropped", "new"]


weights = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.5]), min_size=4, max_size=4), min_size=3, max_size=3
)


@settings(deadline=None)
@given(before=weights, after=weights)
def test_every_term_has_one_fate_and_its_own_weight(before, after):
    found = fates(csr(before), csr(after))
    x, y = (np.asarray(rows, dtype=np.float32) for rows in (before, after))
    assert (found.kept + found.dropped).toarray().tolist() == x.tolist()
    assert ((found.kept.toarray() > 0) * y + found.new.toarray()).tolist() == y.tolist()
    sizes = [terms.nnz for terms in found.groups().values()]
    assert sum(sizes) == np.count_nonzero((x > 0) | (y > 0))


def test_shares_inside_a_mark():
    shares = share_inside(csr(BEFORE), csr(REWRITE))
    assert shares == pytest.approx([1 / 3, 1.0])
    assert np.isnan(share_inside(csr(AFTER), csr(REWRITE))[1])


def test_a_row_tells_number_cost_weight_and_marks():
    table = fate_table(fates(csr(BEFORE), csr(AFTER)), {"in the rewrite": csr(REWRITE)}, SHARES)
    kept, dropped, new = table.frame.to_dict("records")
    assert kept == {
        "terms": "kept", "a query": "1.0", "FLOPS": "0.30", "mean weight": "2.00",
        "in the rewrite": "50%",
    }  # fmt: skip
    assert (dropped["FLOPS"], dropped["in the rewrite"]) == ("0.25", "50%")
    assert (new["mean weight"], new["in the rewrite"]) == ("4.00", "0%")


def test_a_fate_of_no_term_has_blanks():
    same = fates(csr(BEFORE), csr(BEFORE))
    table = fate_table(same, {"in the rewrite": csr(REWRITE)}, SHARES).frame
    assert table["mean weight"].tolist()[1:] == ["", ""]
    assert table["in the rewrite"].tolist()[1:] == ["", ""]
    assert fate_difference_rows(same, {"in the rewrite": csr(REWRITE)}) == []


def test_dropped_against_kept_turn_by_turn():
    # Of twelve turns, term 0 is kept and in the rewrite, term 1 dropped, and in one rewrite.
    before = csr(np.tile([1.0, 1, 0], (12, 1)))
    after = csr(np.tile([1.0, 0, 0], (12, 1)))
    rewrite = np.tile([1.0, 0, 0], (12, 1))
    rewrite[3, 1] = 1
    (row,) = fate_difference_rows(fates(before, after), {"in the rewrite": csr(rewrite)})
    assert row["turns"] == 12 and row["dropped minus kept"].startswith("-0.92 [")
    assert row["p"] == "<\u00a00.001"


def test_other_shapes_are_named():
    with pytest.raises(DiscoError, match=r"before \(2, 5\), after \(1, 5\)"):
        fates(csr(BEFORE), csr(AFTER[:1]))
    with pytest.raises(DiscoError, match=r"terms \(2, 5\), mark \(2, 4\)"):
        share_inside(csr(BEFORE), csr(REWRITE[:, :4]))
    with pytest.raises(DiscoError, match=r"activation \(4,\)"):
        fate_table(fates(csr(BEFORE), csr(AFTER)), {}, SHARES[:4])
