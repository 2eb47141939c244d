import pytest

from disco_lib import bench
from disco_lib.bench import NAMES, bench_table, load_bench, load_benches, measured_on
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.storage import read_json, settings_hash, write_json
from disco_lib.tables import Words

MILLION = 1_000_000


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


def test_a_record_is_read_as_it_was_written(root, bench_records):
    store(root, bench_records["growth"])
    assert load_bench("growth") == bench_records["growth"]
    found = load_benches()
    assert found["growth"] == bench_records["growth"]
    assert [name for name in NAMES if found[name] is None] == ["search", "encoding", "training"]


def test_what_benchmarks_write_is_what_is_read(root, monkeypatch, bench_records):
    report = pytest.importorskip("benchmarks.report")
    monkeypatch.setattr(report, "measured_root", bench.measured_root)
    rows = bench_records["growth"]["rows"]
    report.write_report("growth", {"data": "mini"}, rows)
    found = load_bench("growth")
    assert found["rows"] == rows
    assert "mini" in repr(measured_on({"growth": found}))


def test_a_missing_record_says_what_to_run(root):
    with pytest.raises(DiscoError, match="search.*make bench"):
        load_bench("search")


@pytest.mark.parametrize("how", ["edited", "without checksum", "a list", "cut"])
def test_a_record_that_was_changed_is_refused(root, bench_records, how):
    path = store(root, bench_records["growth"])
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


def test_a_table_of_chosen_rows_and_columns(bench_records):
    table = bench_table(bench_records["search"], ["engine", "median ms"], documents=MILLION, k=100)
    assert list(table.frame.columns) == ["engine", "median ms"]
    assert len(table.frame) == 2 * (6 - 1)  # Lucene was not run at that size
    assert table.frame["median ms"].tolist()[:2] == ["12", "24"]
    assert bench_table(bench_records["encoding"]).frame["times faster"].tolist() == ["1", "3.2", ""]
    assert "k" not in bench_table(bench_records["search"], k=100).frame
    assert "no such row" in repr(bench_table(bench_records["search"], documents=7))


def test_without_records_every_table_is_one_line_that_says_so():
    for view in (bench_table(None), measured_on(dict.fromkeys(NAMES))):
        assert isinstance(view, Words) and view.text == "no record yet: `make bench`"
