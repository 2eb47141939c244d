import copy
from pathlib import Path

import pytest

from disco_lib.errors import DataError, DiscoError, IntegrityError


def test_data_error_names_file_line_field_problem_and_remedy():
    error = DataError("turns_x.jsonl", 7, "answer", "a list where a string belongs", "Quote it.")
    expected = "turns_x.jsonl:7: field 'answer': a list where a string belongs. Quote it."
    assert str(error) == expected


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        (None, None, "f: empty. Fill it."),
        (3, None, "f:3: empty. Fill it."),
        (None, "pid", "f: field 'pid': empty. Fill it."),
    ],
)
def test_parts_that_a_fault_lacks_are_left_out(line, field, expected):
    assert str(DataError("f", line, field, "empty", "Fill it.")) == expected


def test_a_full_stop_is_not_doubled():
    assert str(DataError("f", None, None, "empty.", "Fill it.")) == "f: empty. Fill it."


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_data_error_survives_the_way_between_processes(again):
    # Both rebuild it by __reduce_ex__, as a worker process that hands it back does.
    error = DataError(Path("a/b"), 2, "pid", "twice", "Rename it.")
    other = again(error)
    assert type(other) is DataError
    assert str(other) == str(error)
    assert (other.file, other.line, other.field) == (Path("a/b"), 2, "pid")


def test_every_error_for_users_is_a_disco_error():
    assert issubclass(DataError, DiscoError)
    assert issubclass(IntegrityError, DiscoError)
