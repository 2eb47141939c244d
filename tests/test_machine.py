import pytest

from disco_lib import machine
from disco_lib.bench import NAMES
from disco_lib.machine import (
    Speeds,
    copy_gb_per_second,
    machine_speeds,
    product_bounds,
    search_bounds,
)
from disco_lib.storage import cache_root
from disco_lib.tables import Words


def test_bounds_of_a_search(bench_records):
    speeds = Speeds(10.0, {128: 1.0}, {"gaps": 0.5, "places": 0.5, "dense": 0.1})
    rows = search_bounds(bench_records["growth"], speeds).frame.to_dict("records")
    # Short: 2 million postings of 2 bytes at 10 GB/s; the plain layout has 8 bytes.
    assert rows[0] == {
        "queries": "short", "search": "index", "postings": "2,000,000", "MB of lists": "4.0",
        "ms to read them": "0.40", "ms to add them": "1.00", "ms measured": "2.00",
        "ns a posting": "1.00",
    }  # fmt: skip
    assert rows[1]["MB of lists"] == "16.0" and rows[1]["ns a posting"] == "4.00"
    assert rows[2]["postings"] == "10,000,000"


def test_bounds_of_the_vocabulary_product(bench_records):
    # 39.06816 thousand million a second are 10,000 tokens of 128 x 30,522: 10 texts of 100 tokens
    # take 100 ms, one passage of 128 takes 12.8.
    rows = product_bounds(bench_records).frame.to_dict("records")
    assert rows[0]["ms of the product"] == "100.0" and rows[0]["times the product"] == "2.5"
    assert rows[-1]["ms of the product"] == "12.8" and rows[-1]["ms measured"] == "6.2"
    without = product_bounds(bench_records | {"encoding": None}).frame
    assert len(without) == len(rows) - 1


def test_without_records_every_bound_is_one_line_that_says_so():
    speeds = Speeds(10.0, {128: 1.0}, {"gaps": 1.0, "places": 1.0, "dense": 0.1})
    for view in (search_bounds(None, speeds), product_bounds(dict.fromkeys(NAMES))):
        assert isinstance(view, Words) and view.text == "no record yet: `make bench`"


def test_speeds_are_measured_once_and_kept(monkeypatch):
    monkeypatch.setattr(machine, "copy_gb_per_second", lambda: 12.5)
    monkeypatch.setattr(machine, "_scattered_ns", lambda size: size / 100)
    monkeypatch.setattr(machine, "_form_ns", lambda: {"gaps": 1.0, "places": 2.0, "dense": 0.1})
    first = machine_speeds()
    assert first.copy == 12.5 and first.scattered[128] == 1.28
    monkeypatch.setattr(machine, "copy_gb_per_second", lambda: 99.0)
    assert machine_speeds() == first
    (path,) = (cache_root() / "bench").glob("machine-*.json")
    path.write_text(path.read_text().replace("12.5", "13.5"))
    assert machine_speeds().copy == 99.0


@pytest.mark.parametrize("damage", ["[]", "{", "{}", '{"checksum": 1}'])
def test_damaged_speeds_are_measured_again(monkeypatch, damage):
    monkeypatch.setattr(machine, "copy_gb_per_second", lambda: 12.5)
    monkeypatch.setattr(machine, "_scattered_ns", lambda size: 1.0)
    monkeypatch.setattr(machine, "_form_ns", lambda: {"gaps": 1.0})
    machine_speeds()
    (path,) = (cache_root() / "bench").glob("machine-*.json")
    path.write_text(damage)
    assert machine_speeds().copy == 12.5


def test_the_kernels_measure_something_possible():
    assert 0.1 < copy_gb_per_second(8) < 10_000
    assert 0.01 < machine._scattered_ns(128, 10_000) < 1_000
    found = machine._form_ns(2)
    assert set(found) == {"gaps", "places", "dense"}
    # A row of weights is added many at a time, a list of gaps one by one.
    assert 0 < found["dense"] < found["gaps"] < 1_000
