"""Tables and sentences of the chapters: the numbers of the records, in a stable form."""

import dataclasses

import pytest

from disco_lib.claims import judge
from disco_lib.errors import DiscoError
from disco_lib.papers import Claim, Comparison, load_paper
from disco_lib.records import Record, intervals
from disco_lib.significance import compare
from disco_lib.tables import (
    Table,
    Words,
    beside_published,
    claim_words,
    find_claim,
    p_value,
    paired_rows,
    points,
    published_rows,
    results,
    tier_results,
    verdict_table,
    verdict_words,
    verdicts_by_tier,
)


def record(name, values, cost=None):
    values = {seed: {"MRR@10": v, "MRR": v, "R@10": [1.0] * len(v)} for seed, v in values.items()}
    costs = {seed: {"active_terms": cost, "flops": 2.5} if cost else {} for seed in values}
    turns = [f"t{i}" for i in range(len(next(iter(values.values()))["MRR@10"]))]
    settings = {"collection": "c", "split": "test", "depth": 10, "evaluation": {}}
    return Record(
        "mini", name, f"The {name}", settings, "x", turns, values, {}, costs, intervals(values), {}
    )  # fmt: skip


HIGH = record("high", {"1": [1.0, 1.0, 0.5, 1.0], "2": [1.0, 0.5, 0.5, 1.0]}, cost=40.25)
LOW = record("low", {"-": [0.0, 0.25, 0.1, 0.05]})
CLAIM = Claim("x", "disco", "High beats low.", "section 1", (
    Comparison("high", "low", "MRR@10", "greater"),
))  # fmt: skip


def test_results_hold_means_intervals_and_costs():
    rows = results([HIGH, LOW], ("MRR@10", "R@10")).frame
    low, high = HIGH.intervals["MRR@10"]
    assert rows["system"].tolist() == ["The high", "The low"]
    assert rows["MRR@10"][0] == f"0.812 [{low:.3f},\u00a0{high:.3f}]"
    assert rows["R@10"].tolist() == ["1.000", "1.000"]
    assert rows["active terms"].tolist() == ["40.2", ""]
    assert rows["FLOPS"].tolist() == ["2.5", ""]


def test_calls_of_a_language_model_are_a_column_where_given():
    assert "LLM calls" not in results([HIGH], ("MRR@10",)).frame
    rows = results([HIGH, LOW], ("MRR@10",), calls={"high": 0, "low": 5}).frame
    assert rows["LLM calls"].tolist() == ["0", "5"]


def test_paired_rows_are_corrected_for_their_number():
    (row,) = paired_rows(HIGH, [LOW], "MRR@10").frame.to_dict("records")
    assert row["The high, minus"] == "The low" and row["turns"] == 4
    found = compare(HIGH.per_turn("MRR@10"), LOW.per_turn("MRR@10"))
    assert row["MRR@10"].startswith(f"{found.difference:+.3f} [{found.low:+.3f},")
    assert row["p (t-test)"] == p_value(found.p_t)
    twice = paired_rows(HIGH, [LOW, LOW], "MRR@10").frame
    assert len(twice) == 2 and twice["p (t-test)"][0] == p_value(2 * found.p_t)


def test_points_are_the_records_means_and_intervals():
    point = points([LOW], "MRR@10")["The low"]
    assert point.value == pytest.approx(0.1)
    assert [point.low, point.high] == LOW.intervals["MRR@10"]


def test_a_table_shows_long_texts_whole_escapes_them_and_prints_the_same_every_time():
    rows = [{"text": "x" * 300 + " <b>", "n": 3}]
    shown = Table.of(rows)._repr_html_()
    assert "x" * 300 in shown and "&lt;b&gt;" in shown and "<b>" not in shown
    assert shown == Table.of(rows)._repr_html_()
    assert "x" * 300 in repr(Table.of(rows))
    with pytest.raises(DiscoError, match="at least one row"):
        Table.of([])


def test_a_claim_is_found_by_its_id_and_quoted_with_its_place():
    known = load_paper("disco").claims[0]
    assert find_claim("disco", known.id) == known
    text = claim_words(known).text
    assert known.statement in text and known.where[1:] in text
    with pytest.raises(DiscoError, match=known.id):
        find_claim("disco", "no-such-claim")


@pytest.mark.parametrize(
    ("high", "low", "kind", "words"),
    [
        (HIGH, LOW, "reproduced", "1 of 1 comparisons hold"),
        (LOW, HIGH, "not-reproduced", "0 of 1 comparisons hold"),
        (None, LOW, "not-run", "no record"),
    ],
)
def test_a_verdict_is_shown_under_its_own_name(high, low, kind, words):
    verdict = judge(CLAIM, "mini", {"high": high, "low": low}.get)
    text = verdict_words(verdict).text
    assert f'class="verdict {kind}">{verdict.verdict}</span>' in text and words in text


def test_a_verdicts_table_has_a_row_for_each_comparison():
    both = dataclasses.replace(
        CLAIM, comparisons=(*CLAIM.comparisons, Comparison("low", "high", "R@10", "similar", 0.1))
    )
    verdict = judge(both, "mini", {"high": HIGH, "low": LOW}.get)
    rows = verdict_table(verdict).frame
    assert rows["comparison"].tolist() == ["high > low", "low ≈ high ± 0.1"]
    effect = verdict.findings[0].effect
    assert rows["difference"][0].startswith(f"{effect:+.3f} [")
    assert rows["holds"].tolist()[1] == "yes"


def test_a_verdicts_tables_read_depth_growth_and_bounds():
    placed = {"depths": [1, 2, 1, 2], "conversations": ["c", "c", "d", "d"]}
    high, low = (dataclasses.replace(r, **placed) for r in (HIGH, LOW))
    item = dataclasses.replace(CLAIM, comparisons=(
        Comparison("high", "low", "MRR@10", "greater", depth=(None, 2)),
        Comparison("high", None, "MRR@10", "less", growth=True),
        Comparison("low", None, "MRR@10", "less", bound=0.5),
    ))  # fmt: skip
    verdict = judge(item, "mini", {"high": high, "low": low}.get)
    expected = ["high > low, depth up to 2", "high falls with depth", "low < 0.5"]
    assert verdict_table(verdict).frame["comparison"].tolist() == expected
    assert verdicts_by_tier([verdict]).frame["comparison"].tolist() == expected


def test_a_claim_whose_records_are_too_old_says_what_to_measure():
    item = dataclasses.replace(CLAIM, comparisons=(
        Comparison("high", "low", "MRR@10", "greater", growth=True),
    ))  # fmt: skip
    text = verdict_words(judge(item, "mini", {"high": HIGH, "low": LOW}.get)).text
    assert "not run</span>" in text and "disco measure --tier mini --system high" in text


def test_p_values_are_rounded_but_never_to_nothing():
    assert [p_value(p) for p in (1.0, 0.0123, 0.0009, 0.0)] == [
        "1.000", "0.012", "<\u00a00.001", "<\u00a00.001",
    ]  # fmt: skip


def test_words_are_markdown_on_a_page_and_text_elsewhere():
    assert Words("*a*")._repr_markdown_() == repr(Words("*a*")) == "*a*"


def test_tiers_stand_one_below_the_other_with_what_removal_changes():
    both = {name: [0.5, 1.0] for name in ("MRR@10", "R@10", "R@100")}
    stored = dataclasses.replace(
        record("student-kl", {"1": [1.0, 0.5]}, cost=30.0),
        values={"1": both},
        unremoved={"1": {"MRR@10": 0.25}},
    )
    rows = tier_results({"mini": {"student-kl": stored}, "qrecc": {}}).frame
    assert rows.to_dict("records") == [
        {
            "tier": "mini", "system": "The student-kl", "turns": 2, "seeds": 1, "MRR@10": "0.750",
            "R@10": "0.750", "R@100": "0.750", "kept": "0.250", "terms": "30",
        }
    ]  # fmt: skip


def test_each_published_row_stands_beside_its_counterpart_or_a_reason():
    found = {"student-kl": HIGH}
    rows = beside_published(load_paper("disco"), "2", "QReCC", found.get, ("MRR",))
    rows = rows.frame.set_index("published")
    human = load_paper("disco").row("2", "DiSCo Human")["values"]["QReCC"]["MRR"]
    assert rows.loc["DiSCo Human"].tolist() == [f"{human:.3f}", "The high", "0.812"]
    assert rows.loc["IterCQR"]["here"].startswith("another author")
    assert rows.loc["convSPLADE"]["here"] == "not run on this tier"
    assert rows.loc["convSPLADE"]["MRR here"] == ""
    assert len(rows) == len(load_paper("disco").tables["2"]["rows"])


def test_published_rows_leave_out_methods_without_a_value():
    rows = published_rows(load_paper("disco"), ("2", "4"), "QReCC").frame
    teacher = rows[(rows["table"] == "2") & rows["method"].str.contains("HumanQR")]
    assert teacher["R@100"].tolist() == ["0.912"]
    everywhere = published_rows(load_paper("disco"), ("2",), "TopiOCQA").frame
    assert not everywhere["method"].str.contains("HumanQR").any()


def test_without_a_record_the_tables_say_so():
    # A reader who has removed the records, or measures a tier of their own, still has a chapter.
    for table in (tier_results({}), tier_results({"mini": {}}), verdicts_by_tier([])):
        assert table.frame.to_dict("records") == [{"record": "none"}]
    unjudged = judge(CLAIM, "mini", lambda system: None)
    assert verdicts_by_tier([unjudged]).frame.to_dict("records") == [{"record": "none"}]


def test_verdicts_by_tier_have_a_row_a_comparison():
    found = {"high": HIGH, "low": LOW}
    rows = verdicts_by_tier([judge(CLAIM, tier, found.get) for tier in ("mini", "qrecc")]).frame
    assert rows["tier"].tolist() == ["mini", "qrecc"]
    assert set(rows["comparison"]) == {"high > low"}
    assert rows["difference"][0].startswith("+0.7")
