import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from disco_lib import records
from disco_lib.errors import IntegrityError
from disco_lib.records import (
    Record,
    find,
    intervals,
    measured_root,
    provenance,
    published_records,
    read_record,
    write_record,
)
from disco_lib.significance import bootstrap_interval
from disco_lib.storage import cache_root, settings_hash

SETTINGS = {"tier": "tiny", "depth": 10, "limits": {"total": 48}, "seeds": [1, 2]}
VALUES = {
    "1": {"MRR": [1.0, 0.5, 0.0], "R@10": [1.0, 1.0, 0.0]},
    "2": {"MRR": [0.5, 0.5, 0.25], "R@10": [1.0, 1.0, 1.0]},
}


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    """Let data/measured lie in tmp_path."""
    monkeypatch.setattr(records, "ROOT", tmp_path / "repository")


@pytest.fixture
def record():
    return Record(
        tier="tiny",
        system="student",
        label="Ein Schüler",
        settings=SETTINGS,
        settings_hash=settings_hash(SETTINGS),
        turn_ids=["a", "b", "c"],
        values=VALUES,
        unremoved={"1": {"MRR": 0.4}, "2": {"MRR": 0.2}},
        costs={"1": {"seconds": 3.0, "flops": 0.5}, "2": {"seconds": 5.0}},
        intervals=intervals(VALUES),
        provenance={"python": "3.11"},
    )


# What a record says


def test_means_by_hand(record):
    assert record.seeds == ["1", "2"]
    assert record.per_turn("MRR").tolist() == [0.75, 0.5, 0.125]
    assert record.mean("MRR") == pytest.approx(1.375 / 3)
    assert record.seed_means("MRR") == [0.5, pytest.approx(1.25 / 3)]
    assert record.seed_means("R@10") == [pytest.approx(2 / 3), 1.0]
    assert record.unremoved_mean("MRR") == pytest.approx(0.3)
    assert record.cost("seconds") == 4.0 and record.cost("flops") == 0.5
    assert np.isnan(record.cost("active_terms"))


def test_intervals_are_over_turns_of_the_mean_over_seeds():
    found = intervals(VALUES)
    assert list(found) == ["MRR", "R@10"]
    assert found["MRR"] == list(bootstrap_interval(np.array([0.75, 0.5, 0.125])))
    low, high = found["R@10"]
    assert low <= 5 / 6 <= high


def test_provenance_says_what_ran_but_not_where():
    found = provenance()
    assert found["commit"] == "unknown", "tmp_path is no repository"
    assert found["versions"]["numpy"] == np.__version__
    assert {"date", "python", "machine", "device", "threads"} <= set(found)
    import getpass
    import socket

    text = json.dumps(found)
    assert socket.gethostname() not in text and "/" not in text.replace("+cpu", "")
    assert getpass.getuser() not in text


# Files


@pytest.mark.parametrize("publish", [True, False])
def test_there_and_back(record, tmp_path, publish):
    path = write_record(record, publish)
    assert read_record(path) == record
    root = measured_root() if publish else cache_root() / "measured"
    assert path.is_relative_to(root) and path.parent.name == "tiny"
    assert find("tiny", "student", SETTINGS) == record
    # A line a field, so that a change can be read.
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(asdict(record)) + 3 and "Schüler" in lines[3]


def test_the_same_record_is_the_same_file(record):
    path = write_record(record, True)
    before = path.read_bytes()
    assert write_record(read_record(path), True).read_bytes() == before


def test_only_the_record_of_exactly_these_settings_is_found(record):
    assert find("tiny", "student", SETTINGS) is None
    write_record(record, True)
    changed = {**SETTINGS, "depth": 11}
    assert find("tiny", "student", changed) is None
    assert find("tiny", "other", SETTINGS) is None
    assert find("large", "student", SETTINGS) is None
    other = replace(record, settings=changed, settings_hash=settings_hash(changed))
    write_record(other, False)
    assert find("tiny", "student", changed) == other
    assert find("tiny", "student", SETTINGS) == record
    # The order of settings is no setting.
    assert find("tiny", "student", dict(reversed(SETTINGS.items()))) == record


def test_published_records_are_listed_by_system(record):
    assert published_records("tiny") == {}
    write_record(record, True)
    write_record(replace(record, system="bm25"), True)
    write_record(replace(record, system="in the cache"), False)
    assert list(published_records("tiny")) == ["bm25", "student"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["settings"].update(depth=1000),
        lambda content: content.update(settings_hash="0" * 12),
        lambda content: content["values"]["1"]["MRR"].__setitem__(2, 1.0),
        lambda content: content["intervals"].update(MRR=[0.9, 1.0]),
        lambda content: content.update(label="The best"),
        lambda content: content["turn_ids"].reverse(),
        lambda content: content["provenance"].update(commit="another"),
    ],
)
def test_an_edited_record_is_refused(record, change):
    path = write_record(record, True)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    for read in (lambda: read_record(path), lambda: find("tiny", "student", SETTINGS)):
        with pytest.raises(IntegrityError, match=r"student\.json: .*Measure again"):
            read()


@pytest.mark.parametrize("content", ["{}", "[]", '{"tier": "tiny"}', "3", "null", "{", ""])
def test_what_is_no_record_is_refused(record, content):
    path = write_record(record, True)
    path.write_text(content)
    with pytest.raises(IntegrityError, match=r"student\.json"):
        read_record(path)


def test_a_record_holds_no_nan(record):
    with pytest.raises(ValueError):
        write_record(replace(record, costs={"1": {"flops": float("nan")}}), True)
    assert published_records("tiny") == {}
