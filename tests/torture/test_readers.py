"""Any file gives what it holds, all of it, or an error that names file and line; never a crash."""

import gzip
import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from disco_lib.datasets import load
from disco_lib.errors import DataError, DiscoError
from disco_lib.native import read_passages, read_qrels, read_turns
from disco_lib.runs import read_trec, run_from_dict, write_trec
from disco_lib.teachers import DistillationRun, from_scores, read_disco_json

many = settings.get_profile("torture")

# What is written

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_control = "".join(map(chr, [*range(32), 127]))
_id = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=_control),
    min_size=1, max_size=5,
).filter(str.strip)  # fmt: skip
_short_id = st.sampled_from(["c", "c_1", "c_2", "p1", "p2", "é", "a b"]) | _id
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_own = st.dictionaries(
    _text.filter(lambda name: name not in ("", "pid", "text", "title")),
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _text | st.floats(-1e9, 1e9),
    max_size=2,
).filter(lambda row: not row.keys() & {"conv_id", "turn_id", "utterance", "history", "answer",
                                       "rewrites", "positives", "kind"})  # fmt: skip


def _turn(pids):
    sound = {
        "history": st.none() | st.lists(st.lists(_text, min_size=2, max_size=2), max_size=2),
        "answer": st.none() | _text,
        "rewrites": st.none() | st.dictionaries(_id, st.none() | _text, max_size=2),
        "positives": st.none() | st.lists(st.sampled_from(pids), max_size=2),
        "kind": st.none() | _text,
    }
    named = {"conv_id": st.sampled_from(["a", "b"]), "turn_id": _short_id, "utterance": _text}
    return st.fixed_dictionaries(named, optional=sound), named, sound


_sound_turn, _named, _optional = _turn(["p1", "p2"])
#: Mostly sound: a fault deep inside is met only by rows that are right up to there.
_odd_turn = st.fixed_dictionaries(
    {name: st.one_of(*[value] * 4, _json) for name, value in _named.items()},
    optional={name: st.one_of(*[value] * 4, _json) for name, value in _optional.items()},
)
_sound_passage = st.fixed_dictionaries(
    {"pid": _short_id, "text": _text}, optional={"title": st.none() | _text}
)
_odd_passage = st.fixed_dictionaries(
    {"pid": _short_id | _json, "text": _text | _json}, optional={"title": _json}
)
_ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\n"])


def _unique(rows, name):
    return list({row[name]: row for row in rows}.values())


@st.composite
def _files(draw, rows, escape=True):
    """Rows as lines, in one of the ways in which programs write them; whether it is compressed."""
    lines = []
    for row in rows:
        ascii_only = draw(st.booleans()) if escape else False
        text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=ascii_only)
        lines.append(text.encode("utf-8", "surrogatepass") + draw(_ends))
    content = b"".join(lines)
    if draw(st.booleans()) and content.endswith(b"\n"):
        content = content[:-1]  # no line end behind the last
    if draw(st.integers(0, 5)) == 0:
        content = b"\xef\xbb\xbf" + content
    return content


@st.composite
def _spoilt(draw, content):
    """Bytes changed, taken away or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.integers(0, 2))
        if kind == 0 and place < len(content):
            content[place] = draw(st.integers(0, 255))
        elif kind == 1:
            content[place:place] = draw(st.binary(max_size=3))
        else:
            del content[place : place + draw(st.integers(1, 20))]
    return bytes(content)


def _write(folder, name, content, packed):
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content, compresslevel=1) if packed else content)
    return path


def _check_refusal(error, path, content):
    text = str(error)
    assert isinstance(error, DiscoError) and str(path) in text
    assert len(text) < 1000 + len(str(path)) and text.rstrip().endswith((".", '"}.', "}."))
    assert "\n" not in text.replace(str(path), "")
    if isinstance(error, DataError) and error.line is not None:
        lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
        assert 1 <= error.line <= lines
        assert text.startswith(f"{path}:{error.line}: ")


# What should be read: the plainest reader there is, which knows of no fault


def _rows(content):
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [json.loads(line) for line in lines if line.decode().strip()]


def _expected_turns(content):
    said, found = {}, []
    for row in _rows(content):
        earlier = said.setdefault(row["conv_id"], [])
        given_history = row.get("history")
        pairs = [[u, a or ""] for u, a in given_history or []]
        rewrites = row.get("rewrites") or {}
        found.append(
            {
                "conv_id": row["conv_id"], "turn_id": row["turn_id"], "utterance": row["utterance"],
                "history": [list(p) for p in earlier] if given_history is None else pairs,
                "answer": row.get("answer") or "",
                "rewrites": {name: text for name, text in rewrites.items() if text is not None},
                "positives": row.get("positives") or [], "kind": row.get("kind"),
                "extra": {k: v for k, v in row.items() if k not in {*_named, *_optional}},
            }
        )  # fmt: skip
        earlier.append([row["utterance"], row.get("answer") or ""])
    return found


def _expected_passages(content):
    known = ("pid", "text", "title")
    return [
        {
            "pid": row["pid"], "text": row["text"], "title": row.get("title") or "",
            "extra": {k: v for k, v in row.items() if k not in known},
        }
        for row in _rows(content)
    ]  # fmt: skip


def _plain(rows):
    return [{**row, "extra": json.loads(row["extra"])} for row in rows]


# Turns and passages


@many
@given(st.data(), st.lists(st.tuples(_sound_turn, _own), min_size=1, max_size=4), st.booleans())
def test_sound_turns_are_read_whole(tmp_path, data, rows, packed):
    rows = _unique([{**own, **row} for row, own in rows], "turn_id")
    content = data.draw(_files(rows))
    path = _write(tmp_path, "turns_x.jsonl", content, packed)
    found = read_turns(path)
    assert _plain(row for _, row in found) == _expected_turns(content)
    assert len(found) == len(rows)


@many
@given(st.data(), st.lists(_odd_turn | _json, max_size=3), st.integers(0, 9))
def test_any_turns_are_read_whole_or_refused(tmp_path, data, rows, packed):
    content = data.draw(_spoilt(data.draw(_files(rows))))
    path = _write(tmp_path, "turns_x.jsonl", content, packed == 0)
    try:
        found = read_turns(path)
    except DiscoError as error:
        event("refused")
        _check_refusal(error, path, content)
        return
    event("read")
    assert _plain(row for _, row in found) == _expected_turns(content)


@many
@given(st.data(), st.lists(st.tuples(_sound_passage, _own), min_size=1, max_size=4), st.booleans())
def test_sound_passages_are_read_whole(tmp_path, data, rows, packed):
    rows = _unique([{**own, **row} for row, own in rows], "pid")
    content = data.draw(_files(rows))
    path = _write(tmp_path, "collection.jsonl", content, packed)
    assert _plain(read_passages(path)) == _expected_passages(content)


@many
@given(st.data(), st.lists(_odd_passage | _json, max_size=3))
def test_any_passages_are_read_whole_or_refused(tmp_path, data, rows):
    content = data.draw(_spoilt(data.draw(_files(rows))))
    path = _write(tmp_path, "collection.jsonl", content, False)
    try:
        found = list(read_passages(path))
    except DiscoError as error:
        event("refused")
        _check_refusal(error, path, content)
        return
    event("read")
    assert _plain(found) == _expected_passages(content)


# Judgements

_column = st.text(
    st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=5
).filter(lambda text: text.split() == [text])


@many
@given(st.data(), st.dictionaries(st.tuples(_id, _id), st.integers(0, 9), min_size=1, max_size=5))
def test_sound_judgements_are_read_whole(tmp_path, data, grades):
    spaced = st.just("\t")
    if all(name.split() == [name] for pair in grades for name in pair):
        spaced = st.sampled_from(["\t", " ", "  "])
    lines = [
        between.join([turn, "0", pid, str(grade)])
        for (turn, pid), grade in grades.items()
        for between in [data.draw(spaced)]
    ]
    path = _write(tmp_path, "qrels_x.tsv", data.draw(_files(lines)), data.draw(st.booleans()))
    assume(not lines[0].startswith("\ufeff"))
    found = [(turn, pid, grade) for _, turn, pid, grade in read_qrels(path)]
    assert found == [(turn, pid, grade) for (turn, pid), grade in grades.items()]


_cells = st.lists(
    _column | st.sampled_from(["0", "1", "-1", "1.0", "", "x"]), min_size=3, max_size=5
)


@many
@given(st.data(), st.lists(_cells | _text, max_size=4), st.sampled_from(["\t", " "]))
def test_any_judgements_are_read_whole_or_refused(tmp_path, data, rows, between):
    lines = [row if isinstance(row, str) else between.join(row) for row in rows]
    content = data.draw(_spoilt(data.draw(_files(lines))))
    path = _write(tmp_path, "qrels_x.tsv", content, False)
    try:
        found = list(read_qrels(path))
    except DiscoError as error:
        event("refused")
        _check_refusal(error, path, content)
        return
    event("read")
    lines = content.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    assert [number for number, *_ in found] == [number for number, _ in kept]
    for (_, turn, pid, grade), (_, line) in zip(found, kept, strict=True):
        cells = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        assert (turn, pid, str(grade)) == (cells[0], cells[2], str(int(cells[3])))


# Whole data sets: what the files say of each other is checked too


@many
@given(st.data())
def test_data_sets_load_whole_or_are_refused(tmp_path, data):
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(tmp_path / "disco-cache", ignore_errors=True)
    folder.mkdir()
    passages = _unique(data.draw(st.lists(_sound_passage, min_size=1, max_size=3)), "pid")
    pids = [row["pid"] for row in passages]
    listed = pids if data.draw(st.integers(0, 3)) else [*pids, "another"]
    turns = data.draw(st.lists(_turn(listed)[0], min_size=1, max_size=4))
    if data.draw(st.integers(0, 3)):
        turns = _unique(turns, "turn_id")
    contents = {
        "collection.jsonl": data.draw(_files(passages)), "turns_x.jsonl": data.draw(_files(turns))
    }  # fmt: skip
    pairs = st.tuples(st.sampled_from([row["turn_id"] for row in turns]), st.sampled_from(listed))
    grades = data.draw(st.none() | st.dictionaries(pairs, st.integers(0, 3), min_size=1))
    if grades:
        lines = [f"{turn}\t0\t{pid}\t{grade}" for (turn, pid), grade in grades.items()]
        contents["qrels_x.tsv"] = data.draw(_files(lines))
    sound = "another" not in {p for row in turns for p in row.get("positives") or []}
    sound &= len(_unique(turns, "turn_id")) == len(turns)
    sound &= not any(pid == "another" for _, pid in grades or {})
    sound &= not (grades and next(iter(grades))[0].startswith("\ufeff"))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    try:
        found = load(folder)
    except DiscoError as error:
        event("refused")
        assert not sound and str(folder) in str(error)
        return
    event("loaded")
    assert sound
    assert _plain(found.passages) == _expected_passages(contents["collection.jsonl"])
    expected = _expected_turns(contents["turns_x.jsonl"])
    names = {name for row in expected for name in row["rewrites"]}
    for row in expected:
        row["rewrites"] = {name: row["rewrites"].get(name) for name in names}
    assert _plain(found.turns("x")) == expected
    judged = {}
    for (turn, pid), grade in (grades or {}).items():
        judged.setdefault(turn, {})[pid] = grade
    if not grades:
        positives = {row["turn_id"]: row["positives"] for row in expected if row["positives"]}
        judged = {turn: dict.fromkeys(pids, 1) for turn, pids in positives.items()}
    assert found.judgements("x") == judged


# Runs

_score = st.floats(allow_nan=False, allow_infinity=False, width=32)
_run = st.dictionaries(_column, st.dictionaries(_column, _score, max_size=5), max_size=4)


@many
@given(_run, _column)
def test_trec_runs_come_back_whole(tmp_path, scores, tag):
    assume(not any(turn.startswith("\ufeff") for turn in scores))
    path = tmp_path / "run.trec"
    write_trec(run_from_dict(scores), path, tag)
    found = read_trec(path)
    assert {turn: dict(ranking) for turn, ranking in scores.items() if ranking} == {
        turn: {pid: float(np.float32(s)) for pid, s in ranking.items()}
        for turn, ranking in found.items()
    }
    for ranking in found.values():
        assert list(ranking.values()) == sorted(ranking.values(), reverse=True)


_number = st.floats().map(repr) | st.sampled_from(["1_0", "\u0661", "0x1", "1e999", "-1e300", "+1"])


@many
@given(st.data())
def test_any_trec_run_is_read_whole_or_refused(tmp_path, data):
    name = st.sampled_from(["q", "d", "e"]) | _column
    line = st.tuples(name, st.just("Q0"), name, _text, _number | _text, _column)
    gap = st.sampled_from([" ", "\t", "  ", "\x0c", "\u2028"])
    lines = [
        data.draw(gap).join(cells) if isinstance(cells, tuple) else cells
        for cells in data.draw(st.lists(line | _text, max_size=4))
    ]
    content = data.draw(_spoilt(data.draw(_files(lines))))
    path = _write(tmp_path, "run.trec", content, False)
    try:
        found = read_trec(path)
    except DiscoError as error:
        event("refused")
        _check_refusal(error, path, content)
        return
    event("read")
    text = content.removeprefix(b"\xef\xbb\xbf").decode().replace("\r\n", "\n").replace("\r", "\n")
    rows = [line.split() for line in text.split("\n") if line.split()]
    assert all(len(row) == 6 for row in rows)
    assert sum(map(len, found.values())) == len(rows)
    for turn, _, pid, _, score, _ in rows:
        assert found[turn][pid] == float(score) and math.isfinite(found[turn][pid])


@many
@given(st.dictionaries(_text, st.dictionaries(_text, _score, max_size=5), max_size=4), st.data())
def test_disco_runs_come_back_whole(tmp_path, scores, data):
    path, given = tmp_path / "run.json", tmp_path / "given.json"
    text = json.dumps(scores, indent=data.draw(st.none() | st.just(1)), ensure_ascii=False)
    given.write_text(text, encoding="utf-8")
    assert read_disco_json(given) == scores
    pids = sorted({pid for ranking in scores.values() for pid in ranking})
    made = from_scores(scores, pids, "run.json")
    made.save(path)
    again = DistillationRun.load(path, pids)
    assert again.turn_ids == made.turn_ids == list(scores)
    for row, (turn, ranking) in enumerate(scores.items()):
        documents, values = again.ranking(row)
        found = {pids[d]: float(v) for d, v in zip(documents, values, strict=True)}
        assert found == {pid: float(np.float32(s)) for pid, s in ranking.items()}, turn
        assert all(a >= b for a, b in zip(values, values[1:], strict=False))


@st.composite
def _json_text(draw):
    """JSON of a run as anything may have written it: names may repeat, values be anything."""
    name = st.sampled_from(['"t"', '"p"', '"q"', '"\\ud800"']) | _text.map(json.dumps)
    odd = st.sampled_from(
        ["NaN", "1e999", "9" * 400, "9" * 5000, "-0", "1e300", "true", "[" * 1500]
    )
    value = odd | _json.map(json.dumps) | _score.map(repr)
    if draw(st.integers(0, 2)):
        value = _score.map(repr)

    def mapping(values):
        return st.lists(st.tuples(name, values), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{k}:\n{v}" for k, v in pairs) + "}"
        )

    return draw(mapping(mapping(value) | mapping(value) | value))


@many
@given(_json_text(), st.data())
def test_any_disco_run_is_read_whole_or_refused(tmp_path, text, data):
    content = data.draw(_spoilt(text.encode()))
    path = _write(tmp_path, "run.json", content, False)
    try:
        found = read_disco_json(path)
        pids = sorted({pid for ranking in found.values() for pid in ranking})
        made = DistillationRun.load(path, pids)
    except DiscoError as error:
        event("refused")
        _check_refusal(error, path, content)
        return
    event("read")
    pairs = json.loads(content.decode("utf-8-sig"), object_pairs_hook=list)
    assert list(found) == [turn for turn, _ in pairs]
    for row, (turn, ranking) in enumerate(pairs):
        assert list(found[turn].items()) == [tuple(pair) for pair in ranking]
        assert len(made.ranking(row)[0]) == len(ranking) and np.isfinite(made.scores).all()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"t": {"p": 1}, "t": {"q": 2}}', "field 't' is there twice"),
        ('{"t": {"p": 1, "p": 2}}', "field 'p' is there twice"),
        ('{"t": {"p": 1%s}}' % ("0" * 400), "score of 'p' is 1000"),
        ('{"t": {"p": 1%s}}' % ("0" * 5000), "JSON that cannot be kept"),
        ("[" * 100_000, "JSON that cannot be kept"),
        ('{"\\ud800": {"p": 1}}', "surrogate"),
        ('{"t": {"p": 1e300}}', "'t' gives 'p' the score 1e[+]300, too large for a float32"),
    ],
)
def test_what_a_disco_run_cannot_hold_is_named(tmp_path, content, problem):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(DiscoError, match=f"run.json.*{problem}"):
        DistillationRun.load(path, ["p", "q"])


@pytest.mark.parametrize("number", ["1_0", "\u0661", "1e999", "0x10", "one"])
def test_a_score_is_a_number_that_other_programs_read_too(tmp_path, number):
    (tmp_path / "run.trec").write_text(f"q Q0 d 1 2 x\nq Q0 e 2 {number} x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"run.trec:2: field 'score'.*no finite number"):
        read_trec(tmp_path / "run.trec")


def test_a_byte_order_mark_belongs_to_no_turn(tmp_path):
    (tmp_path / "run.trec").write_text("q Q0 d 1 2 x\n", encoding="utf-8-sig")
    (tmp_path / "run.json").write_text('{"q": {"d": 2}}', encoding="utf-8-sig")
    assert read_trec(tmp_path / "run.trec") == read_disco_json(tmp_path / "run.json")


def test_lines_are_counted_as_editors_count_them(tmp_path):
    (tmp_path / "run.trec").write_bytes("q Q0 d\x0c 1 2 x\nq Q0 e\u2028 2 1\n".encode())
    with pytest.raises(DataError, match=r"run.trec:2: 5 columns, not 6"):
        read_trec(tmp_path / "run.trec")
