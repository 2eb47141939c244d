import re

import pytest

from disco_lib import papers
from disco_lib.errors import DataError, DiscoError
from disco_lib.metrics import METRICS, MORE_METRICS
from disco_lib.pair_values import PAIR_MEASURES
from disco_lib.papers import FOLDER, load_paper, paper_names
from disco_lib.rules import COSTS, DIRECTIONS, OF_TURNS
from disco_lib.tiers import FOLDER as TIERS
from disco_lib.tiers import load_tier

PREFIXES = {"disco": "disco-", "efficiency": "eff-", "selective": "sel-"}
COLUMNS = {"R@100", "R@10", "MRR", "nDCG@3"}
GOOD = """
title: A title
reference: Someone, 2020
tables: {}
claims:
  - {id: a, statement: one, where: abstract, why: "published only: no system"}
"""
BEATS = "{a: x, b: y, metric: MRR, direction: greater}"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a paper's text where load_paper looks for papers."""
    monkeypatch.setattr(papers, "FOLDER", tmp_path)
    load_paper.cache_clear()

    def write_paper(text):
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")

    yield write_paper
    load_paper.cache_clear()


def all_claims():
    return [claim for name in paper_names() for claim in load_paper(name).claims]


def row_values(table, method, data):
    return load_paper("disco").row(table, method)["values"][data]


# The papers of the repository


def test_papers_that_are_there():
    assert {"disco", "efficiency", "selective"} <= set(paper_names())
    assert len(load_paper("efficiency").claims) == 4


def test_claim_ids_are_unique_over_all_papers():
    ids = [claim.id for claim in all_claims()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_claims_are_complete(name):
    for claim in load_paper(name).claims:
        assert re.fullmatch(PREFIXES[name] + r"[a-z0-9-]+", claim.id)
        assert claim.statement.endswith(".") and "\n" not in claim.statement
        assert claim.where
        without = not claim.comparisons or not all(claim.by_tier.values())
        assert without == bool(claim.why), claim.id


def test_every_table_and_row_says_what_it_is():
    for name in paper_names():
        for number, table in load_paper(name).tables.items():
            assert isinstance(number, str) and table["where"] and table["caption"]
            methods = [row["method"] for row in table["rows"]]
            assert len(methods) == len(set(methods)), (name, number)


@pytest.mark.parametrize(
    ("number", "rows", "cells", "empty"), [("2", 17, 136, 14), ("3", 14, 126, 33), ("4", 3, 12, 0)]
)
def test_disco_tables_are_whole(number, rows, cells, empty):
    table = load_paper("disco").tables[number]["rows"]
    values = [x for row in table for data in row["values"].values() for x in data.values()]
    assert (len(table), len(values), values.count(None)) == (rows, cells, empty)
    assert all(x is None or 0 < x < 1 for x in values)
    for row in table:
        assert all(set(data) <= COLUMNS for data in row["values"].values())
        assert isinstance(row["llm_calls"], int) and row["rewrite"] and row["group"]
        for data, metric in row.get("significant", []):
            assert row["values"][data][metric] is not None


# Typed from the paper's pages, not from the YAML file.
@pytest.mark.parametrize(
    ("table", "method", "data", "expected"),
    [
        ("2", "DiSCo multi-teach", "QReCC", [0.928, 0.754, 0.498, 0.487]),
        ("2", "DiSCo multi-teach", "TopiOCQA", [0.859, 0.640, 0.390, 0.375]),
        ("2", "DiSCo Mistral", "TopiOCQA", [0.842, 0.634, 0.387, 0.370]),
        ("2", "DiSCo Human", "QReCC", [0.927, 0.741, 0.483, 0.470]),
        ("2", "DiSCo Human", "TopiOCQA", [None, None, None, None]),
        ("2", "SPLADE HumanQR", "QReCC", [0.912, 0.714, 0.448, 0.433]),
        ("2", "convSPLADE", "TopiOCQA", [0.720, 0.521, 0.295, 0.307]),
        ("2", "LLM4CS", "QReCC", [None, 0.664, 0.448, 0.421]),
        ("2", "QRACDR", "QReCC", [0.897, 0.748, 0.516, 0.516]),
        ("2", "LeCoRe", "TopiOCQA", [0.735, 0.543, 0.320, 0.314]),
        ("3", "DiSCo Fusion", "CAsT 2022", [0.379, 0.578, 0.384]),
        ("3", "DiSCo multi-teach", "iKAT 2023", [0.147, 0.192, 0.125]),
        ("3", "SPLADE MistralQR", "CAsT 2020", [0.572, 0.553, 0.403]),
        ("3", "LeCoRe", "CAsT 2020", [0.467, None, 0.290]),
        ("3", "convSPLADE (ours)", "iKAT 2023", [0.101, 0.144, 0.085]),
        ("4", "DiSCo MSE-margin", "QReCC", [0.924, 0.485]),
        ("4", "DiSCo KLD", "CAsT 2020", [0.523, 0.455]),
        ("1", "TopiOCQA train", "TopiOCQA", [3509, 45450, 25_000_000]),
        ("1", "QReCC test", "QReCC", [2775, 16451, 54_000_000]),
    ],
)
def test_numbers_of_the_tables(table, method, data, expected):
    assert list(row_values(table, method, data).values()) == expected


def test_columns_stand_in_the_papers_order():
    rows = load_paper("disco").tables
    assert list(rows["2"]["rows"][0]["values"]["QReCC"]) == ["R@100", "R@10", "MRR", "nDCG@3"]
    assert list(rows["3"]["rows"][0]["values"]["CAsT 2020"]) == ["R@100", "MRR", "nDCG@3"]


def test_marks_of_significance():
    row = load_paper("disco").row("2", "DiSCo multi-teach")
    marked = [("QReCC", "R@10"), ("QReCC", "MRR"), ("QReCC", "nDCG@3"), ("TopiOCQA", "R@100")]
    assert sorted(map(tuple, row["significant"])) == sorted(marked)


def test_groups_and_calls():
    disco = load_paper("disco")
    assert disco.row("2", "CHIQ-Fusion")["llm_calls"] == 6
    assert disco.row("2", "convSPLADE")["group"] == "sft"
    assert disco.row("2", "QRACDR")["group"] == disco.row("3", "QRACDR")["group"] == "distillation"
    assert disco.row("3", "DiSCo Fusion")["rewrite"] == "Mistral 2"


def test_tables_agree_with_each_other():
    # Table 4 repeats cells of Tables 2 and 3.
    for method, other in [("SPLADE Human", "SPLADE HumanQR"), ("DiSCo KLD", "DiSCo Human")]:
        for number, data in [("2", "QReCC"), ("3", "CAsT 2020")]:
            cells = row_values("4", method, data)
            assert cells.items() <= row_values(number, other, data).items()


def test_numbers_in_words_agree_with_the_tables():
    disco = load_paper("disco")

    def points(table, a, b, data, metric):
        return 100 * (row_values(table, a, data)[metric] - row_values(table, b, data)[metric])

    gain = points("2", "DiSCo Human", "SPLADE HumanQR", "QReCC", "MRR")
    assert gain == pytest.approx(disco.fact("student-over-teacher")["value"])
    gain = points("2", "DiSCo Mistral", "LeCoRe", "QReCC", "R@100")
    assert gain == pytest.approx(disco.fact("qrecc-over-lecore")["value"])
    assert disco.fact("rewrite-seconds")["value"] == 4.4
    assert disco.fact("active-terms-most")["value"] == 55


def test_facts_are_numbers_with_a_place():
    for name in paper_names():
        facts = load_paper(name).facts
        assert len({fact["id"] for fact in facts}) == len(facts)
        for fact in facts:
            assert isinstance(fact["value"], int | float) and fact["unit"]
            assert fact["where"] and fact["what"]


def test_recipe_holds_numbers():
    # YAML reads 2e-5 as text; 2.0e-5 is a number.
    recipe = load_paper("disco").recipe
    numbers = [recipe[k] for k in ("learning_rate", "lambda_q", "lambda_d", "epochs", "negatives")]
    assert numbers == [2e-5, 1e-3, 5e-4, 5, 16]


@pytest.mark.parametrize("fields", ["", ", measured: [x], published_only: none was at hand"])
def test_a_row_has_either_a_counterpart_or_a_reason(write, fields):
    row = f'{{"1": {{where: x, rows: [{{method: A, values: {{}}{fields}}}]}}}}'
    write(GOOD.replace("tables: {}", f"tables: {row}"))
    with pytest.raises(DataError, match=r"p.yaml.*table 1, A.*Give measured"):
        load_paper("p")


# The report on selective distillation


# Typed from its pages, not from the YAML file.
@pytest.mark.parametrize(
    ("table", "method", "data", "expected"),
    [
        ("1", "Hybrid", "QReCC", [0.3531, 0.1454, 0.4, 0.7347, 0.6672]),
        ("1", "Contrastive + KL", "QReCC", [None] * 5),
        ("2", "None (All data)", "QReCC", [61344, None, None, None]),
        ("2", "80th Percentile", "QReCC", [12269, 0.3531, 0.1454, 0.4]),
        ("2", "Stratified", "QReCC", [14000, None, None, None]),
        ("3", "KD (baseline)", "unnamed", [0.438, 0.78]),
        ("3", "SD (alpha 0.5, T 2, threshold 0.7)", "unnamed", [0.445, 0.63]),
        ("3", "SD (alpha 0.5, T 4, threshold 0.7)", "unnamed", [0.443, 0.65]),
        ("3", "SD (alpha 0.5, T 2, threshold 0.9)", "unnamed", [0.437, 0.58]),
    ],
)
def test_numbers_of_the_report(table, method, data, expected):
    values = load_paper("selective").row(table, method)["values"][data]
    assert list(values.values()) == expected


def test_cells_that_were_never_filled_are_marked():
    tables = load_paper("selective").tables
    empty = {"1": 20, "2": 12, "3": 0}
    for number, table in tables.items():
        unfilled = 0
        for row in table["rows"]:
            ((data, values),) = row["values"].items()
            nulls = [[data, metric] for metric, value in values.items() if value is None]
            assert row.get("unfilled", []) == nulls, row["method"]
            unfilled += len(nulls)
        assert unfilled == empty[number]
    assert [len(table["rows"]) for table in tables.values()] == [5, 5, 8]


def test_the_report_agrees_with_itself():
    report = load_paper("selective")
    hybrid = report.row("1", "Hybrid")["values"]["QReCC"]
    for name, metric in (("pearson", "Pearson"), ("mae", "MAE"), ("recall-at-10", "R@10"),
                         ("ndcg-at-10", "nDCG@10"), ("f1", "F1")):  # fmt: skip
        assert report.fact(name)["value"] == hybrid[metric]
    pairs = {r["method"]: r["values"]["QReCC"]["pairs"] for r in report.tables["2"]["rows"]}
    assert pairs["None (All data)"] == report.fact("pairs")["value"]
    assert pairs["80th Percentile"] == report.fact("selected-pairs")["value"]
    precision, recall = report.fact("precision")["value"], report.fact("recall")["value"]
    f1 = 2 * precision * recall / (precision + recall)
    assert f1 == pytest.approx(report.fact("f1")["value"], abs=5e-5)


def test_rules_of_the_report_use_whole_grids():
    tier, claims = load_tier("mini"), {c.id: c for c in load_paper("selective").claims}

    def systems(name):
        return {system for item in claims[name].comparisons for system in item.systems}

    assert systems("sel-sd-best") == {"dense-kd", *tier.grid("sd").values()}
    assert systems("sel-lambda-mae") == set(tier.grid("regression-weight").values())
    assert systems("sel-temperature-range") == set(tier.grid("temperature").values())
    assert systems("sel-hard-negatives") == set(tier.grid("negatives").values())
    recipe = load_paper("selective").recipe
    assert list(map(float, tier.grid("regression-weight"))) == recipe["regression_weights"]
    assert list(map(float, tier.grid("temperature"))) == recipe["temperatures"]
    assert list(tier.grid("projection")) == ["none", *map(str, recipe["projections"])]


# Claims against the tiers


def test_compared_systems_exist_in_a_tier():
    tiers = [load_tier(path.stem) for path in TIERS.glob("*.yaml")]
    named = {name for claim in all_claims() for c in claim.comparisons for name in c.systems}
    missing = sorted(name for name in named if not any(tier.has(name) for tier in tiers))
    assert not missing, f"in no tier: {missing}"
    for claim in all_claims():
        for tier, rule in claim.by_tier.items():
            names = {name for c in rule for name in c.systems}
            assert all(load_tier(tier).has(name) for name in names), f"not in {tier}: {names}"


def test_a_tier_may_have_a_rule_of_its_own(write):
    own = BEATS.replace("a: x", "a: z")
    rules = f"comparisons: [{BEATS}], by_tier: {{small: [{own}]}}"
    write(GOOD.replace('why: "published only: no system"', rules))
    claim = load_paper("p").claims[0]
    assert [c.a for c in claim.rule("small")] == ["z"] and [c.a for c in claim.rule("big")] == ["x"]
    assert claim.rule("big") == claim.comparisons


def test_counterparts_of_published_rows_exist_in_a_tier():
    tiers = [load_tier(path.stem) for path in TIERS.glob("*.yaml")]
    for name in paper_names():
        for table in load_paper(name).tables.values():
            for row in table["rows"]:
                found = [n for n in row.get("measured", ()) if any(t.has(n) for t in tiers)]
                assert found or row["published_only"], row["method"]


def test_comparisons_are_measurable():
    tiers = [load_tier(path.stem) for path in TIERS.glob("*.yaml")]
    unweighted = {
        n for t in tiers for n in t.names() if t.system(n)["run"] in ("bm25", "fusion")
    }  # their queries have no vectors
    for claim in all_claims():
        for item in claim.comparisons:
            dense = claim.paper == "selective"
            known = {
                *METRICS,
                *COSTS,
                *OF_TURNS,
                *((*MORE_METRICS, *PAIR_MEASURES) if dense else ()),
            }
            assert item.metric in known, claim.id
            assert item.direction in DIRECTIONS and item.a != item.b
            if item.metric in COSTS:
                assert not {*item.systems} & unweighted, claim.id


def test_rules_of_table_4_and_of_the_sparsity():
    claims = {claim.id: claim for claim in load_paper("disco").claims}
    similar = claims["disco-margin-mse-similar"].comparisons
    assert {(c.metric, c.direction, c.margin) for c in similar} == {
        ("R@100", "similar", 0.02),
        ("MRR", "similar", 0.02),
    }
    sparser = claims["disco-sparser-than-teacher"].comparisons
    assert {(c.a, c.b, c.metric, c.direction) for c in sparser} == {
        ("student-kl", "splade-rewrite", "active_terms", "less"),
        ("student-kl", "splade-rewrite", "flops", "less"),
    }


def compared(name):
    claim = next(claim for claim in load_paper("disco").claims if claim.id == name)
    return {(c.a, c.b) for c in claim.comparisons}


def test_the_rule_of_progressive_teachers_is_every_step_of_the_grid():
    students = {frozenset(v.split("+")): n for v, n in load_tier("mini").grid("teachers").items()}
    steps = {
        (students[more], students[fewer])
        for more in students
        for fewer in students
        if fewer < more and len(more) == len(fewer) + 1
    }
    assert len(steps) == 9 and compared("disco-multi-progressive") == steps


def test_the_rule_of_control_is_every_step_of_the_grid():
    names = list(load_tier("mini").grid("lambda-q").values())
    assert compared("disco-control-sparsity") == set(zip(names[1:], names, strict=False))
    assert compared("disco-sparsity-price") <= {(b, a) for a in names for b in names if a != b}


def test_rules_by_depth_and_out_of_domain():
    by_id = {claim.id: claim.comparisons for claim in load_paper("disco").claims}
    assert {c.bound for c in by_id["disco-depth-sparse"]} == {55}
    assert load_paper("disco").fact("active-terms-most")["value"] == 55
    assert all(c.growth for c in by_id["disco-depth-gain"])
    assert all(c.depth == (None, 4) for c in by_id["disco-depth-early-turns"])
    for name, comparisons in by_id.items():
        if "out-of-domain" in name or name == "disco-fusion-over-teacher":
            assert all(s.endswith("@ood") for c in comparisons for s in c.systems), name


# Reading


def test_a_paper_is_read(write):
    write(GOOD.replace("statement: one", 'statement: "one\n   two"'))
    paper = load_paper("p")
    assert (paper.id, paper.title, paper.facts, paper.recipe) == ("p", "A title", (), {})
    assert paper.claims[0].statement == "one two" and paper.claims[0].paper == "p"


def test_unknown_names_list_the_known_ones():
    disco = load_paper("disco")
    with pytest.raises(DiscoError, match="disco, efficiency, selective"):
        load_paper("no-such-paper")
    with pytest.raises(DiscoError, match="no table '9'; there are: 1, 2, 3, 4"):
        disco.row("9", "DiSCo KLD")
    with pytest.raises(DiscoError, match="no method 'DiSCo'.*DiSCo MSE-margin"):
        disco.row("4", "DiSCo")
    with pytest.raises(DiscoError, match="no number 'x'.*rewrite-seconds"):
        disco.fact("x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: A title", "titel: A title", "'title'"),
        ("claims:", "claims: [", "p.yaml:6: not YAML"),
        ("statement: one, ", "", "'statement'"),
        ("  - {id: a", "  - {id: a, statement: x, where: y, why: 'published only: z'}\n  - {id: a",
         "an id stands twice"),
        ('why: "published only: no system"', "note: x", "neither comparisons nor a 'why'"),
        ("published only: no system", "because", "begins with 'published only:'"),
        ('why: "published only: no system"',
         "comparisons: [" + BEATS.replace("greater", "more") + "]", "direction 'more'"),
        ('why: "published only: no system"',
         "comparisons: [" + BEATS.replace("greater", "similar") + "]", "similar with margin 0"),
        ('why: "published only: no system"',
         "comparisons: [" + BEATS.replace("greater", "less, margin: 0.1") + "]", "margin 0.1"),
        ('why: "published only: no system"',
         "comparisons: [" + BEATS.replace("metric", "metrics") + "]", "metrics"),
        ('why: "published only: no system"',
         "comparisons: [" + BEATS.replace("b: y, ", "") + "]", "nothing to compare a with"),
        ("- {id: a, statement: one, where: abstract,", "- just words  # {", "wrong form"),
    ],
)  # fmt: skip
def test_faults_are_named(write, old, new, message):
    assert old in GOOD
    write(GOOD.replace(old, new))
    with pytest.raises(DataError) as error:
        load_paper("p")
    assert message in str(error.value) and "p.yaml" in str(error.value)


def test_no_content(write):
    write("")
    with pytest.raises(DataError, match="wrong form"):
        load_paper("p")


def test_paper_files_repeat_no_key():
    # A key that stands twice would hide its first value without a word.
    yaml = papers.yaml

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
        return {k: loader.construct_object(v, deep=True) for k, (_, v) in zip(
            keys, node.value, strict=True)}  # fmt: skip

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    with pytest.raises(AssertionError):
        yaml.load("{a: 1, a: 2}", Loader=Strict)
    for path in FOLDER.glob("*.yaml"):
        assert yaml.load(path.read_text(encoding="utf-8"), Loader=Strict)
