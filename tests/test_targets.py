import copy

from disco_lib.bench import NAMES
from disco_lib.targets import targets

MILLION = 1_000_000


def by_name(rows):
    return {row["target"]: row for row in rows}


def test_targets_are_computed_from_the_records(bench_records):
    found = by_name(targets(bench_records))
    at = "1,000,000 documents"
    expected = {
        "overlap at 100, float storage": ("100.00%", "yes"),
        "overlap at 100, one byte a weight": ("99.80%", "yes"),
        f"faster than the plain accumulator, short queries, {at}": ("4.0x", "yes"),
        f"faster than the plain accumulator, long queries, {at}": ("4.0x", "yes"),
        f"faster than any other engine, long queries, {at}": ("2.0x (Seismic, ov", "yes"),
        "faster than Lucene, both kinds of query": ("10.0x (200,000 documents)", "yes"),
        "share of the bytes of int32 + float32": ("25.0%", "yes"),
        f"opening {at}": ("120 ms", "no"),
        "documents a second, built": ("140,000", "yes"),
        "encoding faster than sentence-transformers": ("3.2x", "yes"),
        "encoding, overlap at 100": ("99.90%", "yes"),
        "training faster than public recipe, documents of 128 tokens": ("24.0x", "no"),
        "training faster than sentence-transformers, documents of 128 tokens": ("26.0x", "yes"),
        "training faster than public recipe, shorter documents": ("16.0x", "yes"),
        "training, share of the public recipe's memory": ("15.0%", "yes"),
    }
    for name, (measured, reached) in expected.items():
        assert found[name]["measured"].startswith(measured), name
        assert found[name]["reached"] == reached, name
    assert not {row["reached"] for row in found.values()} & {"open"}
    assert found[f"opening {at}"]["wanted"] == "at most 100 ms"


def test_seismic_need_not_be_beaten_where_its_overlap_is_high(bench_records):
    name = "faster than any other engine, short queries, 1,000,000 documents"
    for row in bench_records["search"]["rows"]:
        if row["engine"] == "Seismic":
            row["median ms"], row["times faster"] = 1.0, 12.0
    assert by_name(targets(bench_records))[name]["reached"] == "no"
    for row in bench_records["search"]["rows"]:
        if row["engine"] == "Seismic":
            row["overlap"] = 0.995
    found = by_name(targets(bench_records))[name]["measured"]
    assert found == "30.0x (BMP, overlap 99.0%, 1,000,000 documents)"


def test_an_engine_that_was_not_run_is_not_beaten(bench_records):
    rows = bench_records["search"]["rows"]
    rows[:] = [r for r in rows if r["engine"] != "Seismic" or r["documents"] < MILLION]
    found = by_name(targets(bench_records))
    for kind in ("short", "long"):
        name = f"faster than any other engine, {kind} queries"
        assert found[f"{name}, 1,000,000 documents"]["reached"] == "open"
        where = found[f"{name}, where all were run"]
        assert where["measured"] == "2.0x (Seismic, overlap 90.0%, 200,000 documents)"


def test_the_worst_of_both_kinds_of_query_counts(bench_records):
    for row in bench_records["search"]["rows"]:
        if row["engine"] == "InvertedIndex uint8" and row["queries"] == "long":
            row["overlap"] = 0.99
    row = by_name(targets(bench_records))["overlap at 100, one byte a weight"]
    assert (row["measured"], row["reached"]) == ("99.00%", "no")


def test_a_target_at_a_size_that_was_not_run_stays_open(bench_records):
    smaller = copy.deepcopy(bench_records)
    for name in ("search", "growth"):
        rows = smaller[name]["rows"]
        smaller[name]["rows"] = [row for row in rows if row["documents"] < MILLION]
    smaller["training"]["rows"] = [
        row for row in smaller["training"]["rows"] if row["document tokens"] == 128
    ]
    found = by_name(targets(smaller))
    assert found["opening 1,000,000 documents"]["measured"] == "not measured"
    assert found["overlap at 100, float storage"]["reached"] == "open"
    short = "training faster than public recipe, shorter documents"
    assert found[short]["reached"] == "open"
    assert found["faster than Lucene, both kinds of query"]["reached"] == "yes"


def test_without_records_every_target_is_open():
    rows = targets(dict.fromkeys(NAMES))
    assert {row["reached"] for row in rows} == {"open"}
    assert {row["measured"] for row in rows} == {"no record yet"}
