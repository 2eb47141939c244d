"""Faults in data files: each must name file, line and field, and say what to do about it."""

import gzip
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disco_lib.conversations import Turn
from disco_lib.datasets import load
from disco_lib.errors import DataError, DiscoError
from disco_lib.jsonl import read_lines, read_objects
from disco_lib.native import read_passages, read_qrels, read_turns

PASSAGES = b'{"pid": "p1", "text": "one"}\n{"pid": "p2", "text": "two"}\n'
TURNS = b'{"conv_id": "c", "turn_id": "c_1", "utterance": "why?", "positives": ["p1"]}\n'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """A small data set without fault."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "collection.jsonl").write_bytes(PASSAGES)
    (folder / "turns_x.jsonl").write_bytes(TURNS)
    return folder


def turn(**fields):
    """A line of a turns file: a turn without fault, but for `fields`; ... takes a field away."""
    row = {"conv_id": "c", "turn_id": "c_2", "utterance": "how?", **fields}
    return json.dumps({k: v for k, v in row.items() if v is not ...}).encode() + b"\n"


def fault(folder, name, content):
    """The error of loading the data set with this file in it."""
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder / name}")
    assert "\n" not in str(caught.value)
    assert caught.value.remedy.endswith(".")
    return caught.value


# Faults of turns


@pytest.mark.parametrize(
    ("line", "field", "problem", "remedy"),
    [
        (b"{oops}\n", None, "not JSON", "one JSON object a line"),
        (b'{"conv_id": "c"\n', None, "not JSON", "one JSON object a line"),
        (b'["c", "c_2"]\n', None, "a list where an object belongs", "one JSON object a line"),
        (b'"c_2"\n', None, "a string where an object belongs", "one JSON object a line"),
        (b"null\n", None, "null where an object belongs", "one JSON object a line"),
        (b"\xff\xfe{}\n", None, "not UTF-8: byte 0xff at column 1", "UTF-8"),
        (turn(utterance="xy").replace(b"x", b"\xe9"), None, "not UTF-8: byte 0xe9", "UTF-8"),
        (turn(a=1)[:-2] + b', "a": 2}\n', None, "field 'a' is there twice", "Mend"),
        (turn(a=0).replace(b": 0", b": NaN"), None, "NaN is no JSON number", "Mend"),
        (turn(a=0).replace(b": 0", b": -1e999"), None, "-1e999 is no JSON number", "Mend"),
        (turn(a=0).replace(b": 0", b": " + b"9" * 5000), None, "cannot be kept", "Mend"),
        (turn(a=0).replace(b": 0", b": " + b"[" * 65 + b"]" * 65), None, "more than 64", "Mend"),
        (b"[" * 100_000 + b"\n", None, "cannot be kept", "Mend"),
        (turn(conv_id=...), "conv_id", "missing", 'Add "conv_id"'),
        (turn(turn_id=...), "turn_id", "missing", 'Add "turn_id"'),
        (turn(utterance=...), "utterance", "missing", 'Add "utterance"'),
        (turn(utterance=None), "utterance", "missing", 'Add "utterance"'),
        (turn(conv_id=7), "conv_id", "a number where a string belongs", "double quotes"),
        (turn(turn_id=True), "turn_id", "true or false where a string", "double quotes"),
        (turn(utterance=["a"]), "utterance", "a list where a string belongs", "double quotes"),
        (turn(turn_id=""), "turn_id", "'' is no id", "not blank"),
        (turn(turn_id=" "), "turn_id", "' ' is no id", "not blank"),
        (turn(turn_id="a\tb"), "turn_id", "is no id", "without tabs"),
        (turn(conv_id="a\nb"), "conv_id", "is no id", "line ends"),
        (turn(utterance="\ud800"), "utterance", "surrogate", "whole character"),
        (turn(note={"deep": ["\udfff"]}), "note", "surrogate", "whole character"),
        (turn(turn_id="c_1"), "turn_id", "'c_1' is in line 1 already", "its own turn_id"),
        (turn(answer=3.5), "answer", "a number where a string belongs", "double quotes"),
        (turn(kind=["first"]), "kind", "a list where a string belongs", "double quotes"),
        (turn(positives="p1"), "positives", "a string where a list of pids", "[] for none"),
        (turn(positives=["p1", 2]), "positives", "a number where a string", "double quotes"),
        (turn(positives=["p3"]), "positives", "passage 'p3' is not in the collection", "mend"),
        (turn(rewrites=["a"]), "rewrites", "a list where an object belongs", '{"NAME"'),
        (turn(rewrites={"gold": 1}), "rewrites.gold", "a number where a string", "quotes"),
        (turn(rewrites={"": "a"}), "rewrites", "'' is no name for a rewrite", "who wrote it"),
        (turn(rewrites={"a\nb": "a"}), "rewrites", "is no name for a rewrite", "who wrote it"),
        (turn(history="a"), "history", "a string where a list of", "[] for none"),
        (turn(history=[["a"]]), "history[0]", "a list of 1 where [utterance, answer]", "two"),
        (turn(history=[["a", "b"], "c"]), "history[1]", "a string where [utterance, ans", "two"),
        (turn(history=[[None, "b"]]), "history[0]", "null where a string belongs", "quotes"),
        (turn(history=[["a", 5]]), "history[0]", "a number where a string belongs", "quotes"),
    ],
)
def test_a_fault_in_turns_names_file_line_field_and_remedy(folder, line, field, problem, remedy):
    error = fault(folder, "turns_x.jsonl", TURNS + b"\n" + line)
    assert (error.line, error.field) == (3, field)  # the blank line counts
    assert problem in error.problem
    assert remedy in error.remedy
    assert str(error).startswith(f"{folder / 'turns_x.jsonl'}:3: ")


def test_too_many_names_of_rewrites_are_refused(folder):
    lines = [turn(turn_id=f"t{i}", rewrites={f"name{i}": "a"}) for i in range(201)]
    error = fault(folder, "turns_x.jsonl", b"".join(lines))
    assert (error.line, error.field) == (201, "rewrites")
    assert "by who wrote them" in error.remedy


def test_long_values_are_shortened_in_messages(folder):
    name = "p" * 10_000
    lines = turn(turn_id=name) + turn(turn_id=name)
    error = fault(folder, "turns_x.jsonl", lines)
    assert len(error.problem) < 200


# Faults of passages


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        (b"{", None, "not JSON"),
        (b'{"pid": "p3", "text": "\xff"}', None, "not UTF-8"),
        (b"3", None, "a number where an object belongs"),
        (b'{"text": "t"}', "pid", "missing"),
        (b'{"pid": "p3"}', "text", "missing"),
        (b'{"pid": 3, "text": "t"}', "pid", "a number where a string belongs"),
        (b'{"pid": "p3", "text": {}}', "text", "an object where a string belongs"),
        (b'{"pid": "p3", "text": "t", "title": 1}', "title", "a number where a string belongs"),
        (b'{"pid": "p1", "text": "t"}', "pid", "'p1' is there already"),
        (b'{"pid": "", "text": "t"}', "pid", "'' is no id"),
    ],
)
def test_a_fault_in_passages_names_file_line_and_field(folder, line, field, problem):
    error = fault(folder, "collection.jsonl", PASSAGES + line)
    assert (error.line, error.field) == (3, field)
    assert problem in error.problem


# Faults of judgements


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        (b"c_1\t0\tp1", None, "3 columns"),
        (b"c_1\t0\tp1\t1\tx", None, "5 columns"),
        (b"c_1\t0\t\t1", None, "an empty id"),
        (b"c_1 p1 1", None, "3 columns"),
        (b"c_1\t0\tp1\tone", "grade", "'one' is no grade"),
        (b"c_1\t0\tp1\t1.0", "grade", "'1.0' is no grade"),
        (b"c_1\t0\tp1\t-1", "grade", "'-1' is no grade"),
        (b"c_1\t0\tp1\t", "grade", "'' is no grade"),
        (b"c_1\t0\tp1\t99999999999999999999", "grade", "is no grade"),
        ("c_1\t0\tp1\t\u0661".encode(), "grade", "is no grade"),
        (b"c_9\t0\tp1\t1", "turn_id", "turn 'c_9' is not in turns_x.jsonl"),
        (b"c_1\t0\tp9\t1", "pid", "passage 'p9' is not in the collection"),
        (b"c_1\t0\tp2\t1", "pid", "'p2' was judged for 'c_1' in line 1 already"),
        (b"c_1\t0\t\xff\t1", None, "not UTF-8"),
    ],
)
def test_a_fault_in_judgements_names_file_line_and_field(folder, line, field, problem):
    error = fault(folder, "qrels_x.tsv", b"c_1\t0\tp2\t0\n" + line)
    assert (error.line, error.field) == (2, field)
    assert problem in error.problem


# Faults of whole files


@pytest.mark.parametrize("name", ["collection.jsonl", "turns_x.jsonl", "qrels_x.tsv"])
@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_named(folder, name, content):
    error = fault(folder, name, content)
    assert error.problem == "the file is empty"


@pytest.mark.parametrize("name", ["collection.jsonl", "turns_x.jsonl"])
def test_a_gzip_file_cut_anywhere_is_named(folder, name):
    content = gzip.compress((folder / name).read_bytes(), mtime=0)
    (folder / name).unlink()
    for length in range(len(content)):
        error = fault(folder, f"{name}.gz", content[:length])
        if length:
            assert "cut short or damaged" in error.problem
            assert "again" in error.remedy


def test_the_line_where_a_gzip_stream_breaks_is_named(folder):
    lines = b"".join(turn(turn_id=f"t{i}", utterance=f"{i * 7919} why?") for i in range(3000))
    (folder / "turns_x.jsonl").unlink()
    content = gzip.compress(lines)
    error = fault(folder, "turns_x.jsonl.gz", content[: len(content) // 2])
    assert 100 < error.line < 3000


def test_a_gzip_file_with_any_byte_flipped_loads_or_is_named(folder):
    content = gzip.compress(TURNS, mtime=0)
    (folder / "turns_x.jsonl").unlink()
    named = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (folder / "turns_x.jsonl.gz").write_bytes(damaged)
        try:  # the header's time, for one, does not matter
            assert load(folder).turns("x")["turn_id"][:] == ["c_1"]
        except DataError as error:
            assert "turns_x.jsonl.gz" in str(error)
            named += 1
    assert named > len(content) - 10


def test_plain_text_that_is_called_gz(folder):
    (folder / "turns_x.jsonl").unlink()
    assert "gzip" in fault(folder, "turns_x.jsonl.gz", TURNS).problem


def test_gzip_content_without_the_ending_says_what_to_rename(folder):
    error = fault(folder, "turns_x.jsonl", gzip.compress(TURNS))
    assert error.remedy == "Rename it to turns_x.jsonl.gz."


def test_utf16_is_named(folder):
    content = TURNS.decode().encode("utf-16")
    assert "not UTF-8" in fault(folder, "turns_x.jsonl", content).problem


def test_a_file_that_is_no_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path / "absent.jsonl"))


# What is accepted


def test_byte_order_mark_line_ends_and_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert list(read_objects(path)) == [(1, {"a": 1}), (4, {"a": 2})]


def test_unicode_line_separators_inside_text_do_not_end_a_line(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": "x\u2028y\u0085z"}\n', encoding="utf-8")
    assert list(read_objects(path)) == [(1, {"a": "x\u2028y\u0085z"})]


def test_escaped_pairs_make_one_character(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}\n')
    assert list(read_objects(path)) == [(1, {"a": "\N{GRINNING FACE}"})]


def test_null_stands_for_a_field_that_is_left_out(tmp_path):
    path = tmp_path / "turns_x.jsonl"
    names = ("history", "answer", "rewrites", "positives", "kind")
    path.write_bytes(turn(**dict.fromkeys(names)) + turn(turn_id="c_3", rewrites={"gold": None}))
    (_, first), (_, second) = read_turns(path)
    assert {name: first[name] for name in names} == {
        "history": [], "answer": "", "rewrites": {}, "positives": [], "kind": None,
    }  # fmt: skip
    assert second["rewrites"] == {}
    assert second["history"] == [["how?", ""]]


def test_a_missing_answer_in_a_history_may_be_null(tmp_path):
    path = tmp_path / "turns_x.jsonl"
    path.write_bytes(turn(history=[["a", None], ["b", ""]]))
    assert read_turns(path)[0][1]["history"] == [["a", ""], ["b", ""]]


def test_passages_keep_title_and_further_fields(tmp_path):
    path = tmp_path / "collection.jsonl"
    row = {"pid": "p", "text": "t", "title": "T", "topic": "é", "aspect": {"n": [1, None, 0.5]}}
    path.write_text(json.dumps(row) + "\n")
    (found,) = read_passages(path)
    extra = json.loads(found.pop("extra"))
    assert found == {"pid": "p", "text": "t", "title": "T"}
    assert extra == {"topic": "é", "aspect": {"n": [1, None, 0.5]}}


def test_judgements_may_be_separated_by_spaces_and_ids_may_hold_them_between_tabs(tmp_path):
    path = tmp_path / "qrels_x.tsv"
    path.write_bytes(b"t1 0 p1 2\r\nt 2\t0\tp 2\t0\n")
    assert list(read_qrels(path)) == [(1, "t1", "p1", 2), (2, "t 2", "p 2", 0)]


# Any bytes


@pytest.fixture
def loads_or_says_why(tmp_path):
    """Whether a data set loads; an error that is not meant for users fails the test."""
    folder = tmp_path / "any"

    def attempt(turns, collection=PASSAGES, qrels=None):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "collection.jsonl").write_bytes(collection)
        (folder / "turns_x.jsonl").write_bytes(turns)
        if qrels is not None:
            (folder / "qrels_x.tsv").write_bytes(qrels)
        try:
            found = load(folder)
        except DiscoError as error:
            assert str(folder) in str(error)
            return False
        rows = found.turns("x")
        assert [Turn.from_row(row).turn_id for row in rows] == rows["turn_id"][:]
        assert found.judgements("x").keys() <= set(rows["turn_id"])
        assert len(found.passage_texts()) == len(found.pids)
        return True

    return attempt


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
_id = st.sampled_from(["c_1", "c_2", "p1", "p2", "a b", "", "\x00"]) | st.text(max_size=4)
_string = st.text(max_size=8)
# Mostly right, at times of any other form: errors deep inside are only met by rows that are
# right up to there.
_turn_row = st.fixed_dictionaries(
    {"conv_id": st.sampled_from("ab"), "turn_id": _id, "utterance": _string},
    optional={
        "history": st.lists(st.lists(_string, min_size=2, max_size=2), max_size=2) | _json,
        "answer": _string | _json,
        "rewrites": st.dictionaries(_string, _string, max_size=2) | _json,
        "positives": st.lists(st.sampled_from(["p1", "p2"]), max_size=2) | _json,
        "kind": _string | _json,
        "further": _json,
    },
)


def _lines(rows):
    # Half surrogates, NaN and the like: whatever Python can write, someone else has written.
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


_patient = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_patient
@given(turns=st.binary(max_size=60))
def test_any_bytes_in_turns_load_or_are_refused(loads_or_says_why, turns):
    loads_or_says_why(turns)


@_patient
@given(rows=st.lists(_turn_row | _json, min_size=1, max_size=4))
def test_any_json_in_turns_loads_or_is_refused(loads_or_says_why, rows):
    loads_or_says_why(_lines(rows))


@_patient
@given(data=st.data(), rows=st.lists(_turn_row, min_size=1, max_size=3))
def test_turns_with_flipped_bytes_load_or_are_refused(loads_or_says_why, data, rows):
    content = bytearray(TURNS + _lines(rows))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    loads_or_says_why(bytes(content))


@_patient
@given(
    passages=st.lists(
        st.fixed_dictionaries({"pid": _id, "text": _string}, optional={"title": _json}), max_size=3
    ),
    qrels=st.binary(max_size=30)
    | st.lists(_id, min_size=4, max_size=4)
    .map("\t".join)
    .map(lambda line: line.encode("utf-8", "surrogatepass")),
)
def test_any_passages_and_judgements_load_or_are_refused(loads_or_says_why, passages, qrels):
    loads_or_says_why(TURNS, PASSAGES + _lines(passages), qrels)


def test_the_search_for_faults_reaches_data_sets_that_load(loads_or_says_why):
    assert loads_or_says_why(TURNS + turn(further=[1]), qrels=b"c_2\t0\tp1\t2\n")
    assert not loads_or_says_why(TURNS + turn(rewrites={"": "a"}))
