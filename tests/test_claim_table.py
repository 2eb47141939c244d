import pytest

from disco_lib.claim_table import claims_by_tier, claims_table
from disco_lib.claims import Verdict, judge
from disco_lib.errors import DiscoError
from disco_lib.papers import Claim
from disco_lib.records import Record, intervals
from disco_lib.rules import Comparison
from disco_lib.tables import verdict_table

RULE = (Comparison("a", "b", "MRR@10", "greater"), Comparison("a", "b", "query_flops", "less"))
CLAIM = Claim("x", "p", "One is better.", "section 1", RULE)
WITHOUT = Claim("y", "p", "Nobody knows.", "section 2", why="published only: nothing measures it")


def record(name, low, flops):
    values = {"1": {"MRR@10": [low + 0.01 * i for i in range(30)]}}
    return Record(
        "tiny", name, name, {}, "hash", [str(i) for i in range(30)], values, {},
        {"1": {"query_flops": flops}}, intervals(values), {},
    )  # fmt: skip


@pytest.fixture
def verdict():
    found = {"a": record("a", 0.5, 2e8), "b": record("b", 0.2, 1e8)}
    return judge(CLAIM, "tiny", found.get)


def test_a_row_a_claim(verdict):
    frame = claims_table([verdict, Verdict(WITHOUT, "tiny", "published only")]).frame
    assert frame["claim"].tolist() == ["One is better.", "Nobody knows."]
    assert frame["holds"].tolist() == ["1 of 2", ""]
    assert frame["verdict"][0] == "partly reproduced"
    assert frame["verdict"][1] == "published only: nothing measures it"


def test_a_claim_without_a_record_says_so():
    assert claims_table([judge(CLAIM, "tiny", {}.get)]).frame["verdict"][0] == "not run: no record"


def test_operations_are_told_in_three_digits(verdict):
    frame = verdict_table(verdict).frame
    assert frame["difference"][0].startswith("+0.300 [") and frame["p"].tolist()[1] == ""
    assert frame["difference"][1].startswith("+1e+08 [+")


def test_nothing_to_show_is_told():
    with pytest.raises(DiscoError, match="at least one row"):
        claims_table([])


def test_a_column_a_tier_on_which_something_was_run(verdict):
    other = judge(CLAIM, "other", {"a": record("a", 0.2, 1e8), "b": record("b", 0.5, 2e8)}.get)
    never = [judge(CLAIM, "never", {}.get), Verdict(WITHOUT, "tiny", "published only")]
    frame = claims_by_tier([verdict, other, *never]).frame
    assert list(frame) == ["claim", "tiny", "other"]
    assert frame["tiny"].tolist() == ["partly reproduced, 1 of 2", "published only"]
    assert frame["other"].tolist() == ["partly reproduced, 1 of 2", ""]
    with pytest.raises(DiscoError, match="at least one row"):
        claims_by_tier([])
