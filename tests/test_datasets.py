import gzip
import json
import os
import shutil
import threading
from pathlib import Path

import datasets as hf
import pytest
import ranx

import disco_lib.datasets
from disco_lib.conversations import Turn
from disco_lib.datasets import load
from disco_lib.errors import DataError, DiscoError
from disco_lib.native import read_turns

REAL = os.environ.get("DISCO_DATA")

PASSAGES = [
    {"pid": "p1", "text": "The violin has four strings.", "title": "Violin: strings"},
    {"pid": "p2", "text": "A cello rests on a spike.", "title": "Cello: posture", "topic": "Cello"},
    {"pid": "p3", "text": "Bows carry horsehair."},
]
TRAIN = [
    {"conv_id": "a", "turn_id": "a_1", "utterance": "How many strings?", "answer": "Four.",
     "rewrites": {"gold": "How many strings has a violin?"}, "positives": ["p1"], "kind": "first"},
    {"conv_id": "b", "turn_id": "b_1", "utterance": "Why a spike?", "positives": ["p2"]},
    {"conv_id": "a", "turn_id": "a_2", "utterance": "And the bow?", "answer": "Horsehair.",
     "rewrites": {"hqe": "And the bow? strings"}, "positives": ["p3", "p1"], "domain": "music"},
    {"conv_id": "b", "turn_id": "b_2", "utterance": "Always?"},
    {"conv_id": "a", "turn_id": "a_3", "utterance": "Of what animal?"},
]  # fmt: skip
TEST = [{"conv_id": "c", "turn_id": "c_1", "utterance": "Who?", "history": [["x", "y"]]}]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DISCO_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    write(folder / "collection.jsonl", PASSAGES)
    write(folder / "turns_train.jsonl", TRAIN)
    write(folder / "turns_test.jsonl", TEST)
    (folder / "qrels_train.tsv").write_text("a_1\t0\tp1\t2\na_1\t0\tp2\t0\nb_2\t0\tp3\t1\n")
    return folder


def write(path, rows):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def stored(cache):
    """Folders of stored tables."""
    return sorted(p for p in (cache / "arrow").iterdir() if p.is_dir())


# What is loaded


def test_passages(folder):
    passages = load(folder).passages
    assert isinstance(passages, hf.Dataset)
    assert passages["pid"][:] == ["p1", "p2", "p3"]
    assert passages["title"][:] == ["Violin: strings", "Cello: posture", ""]
    assert passages[2]["text"] == "Bows carry horsehair."


def test_passage_texts_join_title_and_text(folder):
    collection = load(folder)
    assert collection.pids == ["p1", "p2", "p3"]
    assert collection.passage_texts() == [
        "Violin: strings. The violin has four strings.",
        "Cello: posture. A cello rests on a spike.",
        "Bows carry horsehair.",
    ]


def test_columns_of_turns(folder):
    turns = load(folder).turns("train")
    assert turns.column_names == [
        "conv_id", "turn_id", "utterance", "history", "answer", "rewrites", "positives", "kind",
        "extra",
    ]  # fmt: skip
    assert turns["turn_id"][:] == ["a_1", "b_1", "a_2", "b_2", "a_3"]
    assert turns["kind"][:] == ["first", None, None, None, None]
    assert turns["answer"][:] == ["Four.", "", "Horsehair.", "", ""]
    assert turns["positives"][:] == [["p1"], ["p2"], ["p3", "p1"], [], []]


def test_splits_follow_the_files(folder):
    assert load(folder).splits == ["test", "train"]


def test_an_unknown_split_lists_the_known_ones(folder):
    collection = load(folder)
    for method in (collection.turns, collection.iter_turns, collection.qrels):
        with pytest.raises(DiscoError, match="no split 'dev'; it has: test, train"):
            method("dev")


def test_a_missing_history_is_the_earlier_turns_of_the_same_conversation(folder):
    history = {row["turn_id"]: row["history"] for row in load(folder).turns("train")}
    assert history == {
        "a_1": [],
        "b_1": [],
        "a_2": [["How many strings?", "Four."]],
        "b_2": [["Why a spike?", ""]],
        "a_3": [["How many strings?", "Four."], ["And the bow?", "Horsehair."]],
    }


def test_a_given_history_is_used_as_it_is(folder):
    rows = [
        {"conv_id": "c", "turn_id": "c_1", "utterance": "one", "answer": "A"},
        {"conv_id": "c", "turn_id": "c_2", "utterance": "two", "history": []},
        {"conv_id": "c", "turn_id": "c_3", "utterance": "three", "history": [["x", "y"]]},
        {"conv_id": "c", "turn_id": "c_4", "utterance": "four"},
    ]
    write(folder / "turns_test.jsonl", rows)
    assert load(folder).turns("test")["history"][:] == [
        [],
        [],
        [["x", "y"]],
        [["one", "A"], ["two", ""], ["three", ""]],
    ]


def test_history_does_not_reach_across_files(folder):
    rows = [{"conv_id": "a", "turn_id": "a_9", "utterance": "And?"}]
    write(folder / "turns_test.jsonl", rows)
    assert load(folder).turns("test")["history"][:] == [[]]


def test_rewrites_have_a_column_for_every_name(folder):
    rewrites = load(folder).turns("train")["rewrites"][:]
    assert rewrites[0] == {"gold": "How many strings has a violin?", "hqe": None}
    assert rewrites[1] == {"gold": None, "hqe": None}
    assert load(folder).turns("test")["rewrites"][:] == [{}]


def test_fields_of_other_names_are_kept(folder):
    collection = load(folder)
    assert json.loads(collection.turns("train")[2]["extra"]) == {"domain": "music"}
    assert [json.loads(e) for e in collection.passages["extra"]] == [{}, {"topic": "Cello"}, {}]


def test_iter_turns(folder):
    turns = load(folder).iter_turns("train")
    assert turns[2] == Turn(
        conv_id="a",
        turn_id="a_2",
        utterance="And the bow?",
        history=(("How many strings?", "Four."),),
        answer="Horsehair.",
        rewrites={"hqe": "And the bow? strings"},
        positives=("p3", "p1"),
        kind=None,
        extra={"domain": "music"},
    )
    assert [turn.depth for turn in turns] == [1, 1, 2, 2, 3]


def test_judgements_come_from_the_qrels_file(folder):
    qrels = load(folder).qrels("train")
    assert isinstance(qrels, ranx.Qrels)
    assert qrels.to_dict() == {"a_1": {"p1": 2, "p2": 0}, "b_2": {"p3": 1}}


def test_judgements_come_from_positives_where_there_is_no_file(folder):
    (folder / "qrels_train.tsv").unlink()
    expected = {"a_1": {"p1": 1}, "b_1": {"p2": 1}, "a_2": {"p3": 1, "p1": 1}}
    assert load(folder).qrels("train").to_dict() == expected


def test_no_judgements_at_all_give_empty_qrels(folder):
    assert len(load(folder).qrels("test")) == 0


def test_gzip_gives_the_same_as_plain_files(folder, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in folder.iterdir():
        (packed / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    plain, other = load(folder), load(packed)
    assert other.splits == plain.splits
    assert other.passages[:] == plain.passages[:]
    for split in plain.splits:
        assert other.turns(split)[:] == plain.turns(split)[:]
        assert other.judgements(split) == plain.judgements(split)


def test_many_rows_keep_their_order_across_batches(folder, monkeypatch):
    monkeypatch.setattr(disco_lib.datasets, "_ROWS_A_BATCH", 7)
    rows = [{"pid": f"p{i}", "text": f"text {i}"} for i in range(1, 52)]
    write(folder / "collection.jsonl", rows)
    assert load(folder).pids == [row["pid"] for row in rows]


def test_repr_says_how_large_it_is(folder):
    assert repr(load(folder)) == "Collection('small': 3 passages; turns: test 1, train 5)"


# The fingerprint


def test_the_fingerprint_is_of_the_content_not_the_place(folder, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("# Notes")
    assert load(copy).fingerprint == load(folder).fingerprint


@pytest.mark.parametrize("name", ["collection.jsonl", "turns_train.jsonl", "qrels_train.tsv"])
def test_the_fingerprint_changes_with_every_file(folder, name):
    before = load(folder).fingerprint
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert load(folder).fingerprint != before
    assert len(before) == 64


# References between files


def test_a_positive_outside_the_collection_is_found_after_the_collection_changed(folder):
    load(folder)
    write(folder / "collection.jsonl", PASSAGES[:2])
    (folder / "qrels_train.tsv").unlink()
    with pytest.raises(DataError, match=r"turns_train.jsonl:3: field 'positives': passage 'p3'"):
        load(folder)


def test_a_judged_turn_that_went_away_is_found(folder):
    load(folder)
    write(folder / "turns_train.jsonl", TRAIN[:3])
    with pytest.raises(DataError, match=r"qrels_train.tsv:3: field 'turn_id': turn 'b_2'"):
        load(folder)


# The cache


def test_tables_are_mapped_from_the_cache(folder, cache):
    collection = load(folder)
    for table in (collection.passages, collection.turns("train")):
        assert Path(table.cache_files[0]["filename"]).is_relative_to(cache)
    assert len(stored(cache)) == 4


def test_a_second_load_does_not_parse_the_files_again(folder, monkeypatch):
    first = load(folder)

    def parsed(path):
        raise AssertionError(f"{path} was parsed again")

    for name in ("read_passages", "read_turns", "read_qrels"):
        monkeypatch.setattr(disco_lib.datasets, name, parsed)
    again = load(folder)
    assert again.turns("train")[:] == first.turns("train")[:]
    assert again.passages[:] == first.passages[:]


def test_a_changed_file_is_read_anew(folder):
    load(folder)
    write(folder / "collection.jsonl", [*PASSAGES, {"pid": "p4", "text": "new"}])
    assert load(folder).pids == ["p1", "p2", "p3", "p4"]


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: flip(f / "table.arrow"),
        lambda f: (f / "table.arrow").write_bytes(b""),
        lambda f: (f / "table.arrow").unlink(),
        lambda f: (f / "MANIFEST.json").unlink(),
        lambda f: (f / "MANIFEST.json").write_text("{"),
        lambda f: (f / "MANIFEST.json").write_text('{"files": {}}'),
        lambda f: (f / "MANIFEST.json").write_text('{"files": {"table.arrow": {}}}'),
        lambda f: (f / "MANIFEST.json").write_text('{"files": {"table.arrow": 1}}'),
        lambda f: (f / "MANIFEST.json").write_bytes(b"\xff\x00"),
    ],
)
def test_a_damaged_cache_is_found_and_made_again(folder, cache, damage):
    load(folder)
    for table in stored(cache):
        damage(table)
    collection = load(folder)
    assert collection.pids == ["p1", "p2", "p3"]
    assert [turn.turn_id for turn in collection.iter_turns("train")][2] == "a_2"
    assert collection.judgements("train")["a_1"] == {"p1": 2, "p2": 0}


def test_a_load_that_fails_leaves_no_table(folder, cache):
    with (folder / "collection.jsonl").open("ab") as file:
        file.write(b"{")
    with pytest.raises(DataError):
        load(folder)
    assert stored(cache) == []


def test_a_file_that_changes_while_it_is_read_is_refused(folder, cache, monkeypatch):
    def read_and_change(path):
        rows = read_turns(path)
        with path.open("ab") as file:
            file.write(b"\n")
        return rows

    monkeypatch.setattr(disco_lib.datasets, "read_turns", read_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        load(folder)
    assert len(stored(cache)) == 1  # the collection, which was whole


def test_a_cache_that_cannot_be_written_says_what_to_set(folder, cache):
    cache.write_text("a file where the folder belongs")
    with pytest.raises(DiscoError, match="cannot be written .* Set DISCO_CACHE"):
        load(folder)


def test_several_at_once_make_one_whole_cache(folder, cache):
    found, errors = [], []

    def run():
        try:
            found.append(load(folder).pids)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [["p1", "p2", "p3"]] * 6
    assert len(stored(cache)) == 4


# Real collections, where they are


@pytest.mark.skipif(not REAL, reason="DISCO_DATA is not set")
@pytest.mark.parametrize(
    ("name", "passages", "turns", "conversations"),
    [
        ("qrecc", 22_586, {"train": 23_823, "dev": 2_543}, {"train": 4_867, "dev": 510}),
        ("cast2020", 2_089, {"test": 216}, {"test": 25}),
        ("canard", 2_401, {"dev": 3_430}, {"dev": 490}),
    ],
)
def test_real_collections_load_whole(name, passages, turns, conversations):
    if not (Path(REAL) / name).is_dir():
        pytest.skip(f"no {name} in DISCO_DATA")
    collection = load(Path(REAL) / name)
    assert len(collection.passages) == passages
    assert {split: len(collection.turns(split)) for split in collection.splits} == turns
    for split, count in conversations.items():
        assert len(set(collection.turns(split)["conv_id"])) == count
        known = set(collection.turns(split)["turn_id"])
        assert collection.judgements(split).keys() <= known
